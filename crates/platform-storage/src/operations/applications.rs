//! Applications' metadata.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;
use serde_json::{Map, Value, json};

use crate::Platform;
use crate::error::PlatformError;
use crate::model::Moment;
use crate::model::application::with_proper_names;
use crate::rules::names::{self, AppId};
use crate::service::Call;
use crate::store::{Attempts, log};
use crate::wire::answer;

/// The app of a path or query.
pub(crate) fn app_id(org: &str, app: &str) -> Result<AppId, PlatformError> {
    AppId::parse(&format!("{org}/{app}")).ok_or_else(|| {
        PlatformError::bad_request(
            "The application's id must be like org/app: lower-case letters and digits, hyphens in the app's name.",
        )
    })
}

pub(crate) async fn list(platform: &Platform, org: Option<&str>) -> Result<Response<Body>, PlatformError> {
    if let Some(org) = org
        && (org.is_empty() || org.contains('-') || org.contains(' '))
    {
        return Err(PlatformError::bad_request(
            "An org's code has no hyphen and no blank.",
        ));
    }
    let view = platform.view().await?;
    let applications = platform.stored_applications(&view, org).await?;
    answer::json(StatusCode::OK, &json!({ "applications": applications }))
}

pub(crate) async fn get(platform: &Platform, org: &str, app: &str) -> Result<Response<Body>, PlatformError> {
    let unknown = || PlatformError::not_found(format!("There is no application {org}/{app}."));
    let id = AppId::parse(&format!("{org}/{app}")).ok_or_else(unknown)?;
    let view = platform.view().await?;
    let stored = platform
        .stored_application(&view, &id)
        .await?
        .ok_or_else(unknown)?;
    answer::json(StatusCode::OK, &stored.object)
}

async fn metadata(body: Body) -> Result<Map<String, Value>, PlatformError> {
    match answer::read_value(body).await? {
        Value::Object(object) => Ok(with_proper_names(object)),
        _ => Err(PlatformError::bad_request("The body must be an object.")),
    }
}

/// POST: creates or replaces.
pub(crate) async fn post(
    platform: &Platform,
    call: &Call,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    call.require_studio()?;
    let id = call.query.get("appId").unwrap_or_default();
    let (org, app) = id.split_once('/').unwrap_or((id, ""));
    let app = app_id(org, app)?;
    let object = metadata(body).await?;
    write(platform, call, &app, object, StatusCode::CREATED, true).await
}

/// PUT: replaces.
pub(crate) async fn put(
    platform: &Platform,
    call: &Call,
    (org, app): (&str, &str),
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    call.require_studio()?;
    let app = app_id(org, app)?;
    let object = metadata(body).await?;
    let says = |name: &str, wanted: &str| object.get(name).and_then(Value::as_str) == Some(wanted);
    if !says("id", &app.to_string()) || !says("org", &app.org) {
        return Err(PlatformError::bad_request(
            "The body's id and org must be those of the path.",
        ));
    }
    write(platform, call, &app, object, StatusCode::OK, false).await
}

async fn write(
    platform: &Platform,
    call: &Call,
    app: &AppId,
    sent: Map<String, Value>,
    status: StatusCode,
    may_create: bool,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let who = who(call)?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let before = platform.stored_application(&view, app).await?;
        if before.is_none() && !may_create {
            return Err(PlatformError::not_found(format!(
                "There is no application {app}."
            )));
        }
        let now = Moment::stamped(platform.clock.now()).to_string();
        let mut object = sent.clone();
        object.insert("id".to_owned(), app.to_string().into());
        object.insert("org".to_owned(), app.org.clone().into());
        let kept = |name: &str| before.as_ref()?.object.get(name).cloned();
        object.insert(
            "created".to_owned(),
            kept("created").unwrap_or_else(|| now.clone().into()),
        );
        object.insert(
            "createdBy".to_owned(),
            kept("createdBy").unwrap_or_else(|| who.clone().into()),
        );
        object.insert("lastChanged".to_owned(), now.clone().into());
        object.insert("lastChangedBy".to_owned(), who.clone().into());
        if !object.contains_key("validFrom") {
            object.insert(
                "validFrom".to_owned(),
                kept("validFrom").unwrap_or_else(|| now.into()),
            );
        }
        if let Some(number) = kept("storageAccountNumber") {
            object.insert("storageAccountNumber".to_owned(), number);
        }
        // What this server looks at must be readable, now and not only when it is needed.
        crate::model::relaxed::from_value::<crate::model::Application>(Value::Object(object.clone()))
            .map_err(|error| {
                PlatformError::bad_request(format!("The metadata can't be understood: {error}."))
            })?;
        let mut tx = Transaction::new();
        platform
            .stage_application(&mut tx, &view, app, before.as_ref(), object.clone())
            .await?;
        log(&mut tx, "putApplication", &app.to_string(), caller);
        if platform.commit(tx, &mut attempts).await? {
            return answer::json(status, &object);
        }
    }
}

/// Studio's tokens name no user: the app that they are of is who did it.
fn who(call: &Call) -> Result<String, PlatformError> {
    let named = call.caller()?.performed_by();
    Ok(if named.is_empty() {
        "studio.designer".to_owned()
    } else {
        named
    })
}

/// DELETE: marks as no longer valid, or removes.
pub(crate) async fn delete(
    platform: &Platform,
    call: &Call,
    (org, app): (&str, &str),
) -> Result<Response<Body>, PlatformError> {
    call.require_studio()?;
    let hard = call.boolean("hard")?.unwrap_or(false);
    let app = app_id(org, app)?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform.stored_application(&view, &app).await?;
        let stored =
            stored.ok_or_else(|| PlatformError::not_found(format!("There is no application {app}.")))?;
        let mut tx = Transaction::new();
        let mut object = stored.object.clone();
        if hard {
            platform
                .stage_application_removal(&mut tx, &view, &app, &stored)
                .await?;
        } else {
            let now = Moment::stamped(platform.clock.now()).to_string();
            object.insert("validTo".to_owned(), now.clone().into());
            object.insert("lastChanged".to_owned(), now.into());
            object.insert("lastChangedBy".to_owned(), who(call)?.into());
            platform
                .stage_application(&mut tx, &view, &app, Some(&stored), object.clone())
                .await?;
        }
        log(&mut tx, "deleteApplication", &app.to_string(), call.caller()?);
        if platform.commit(tx, &mut attempts).await? {
            return answer::json(StatusCode::ACCEPTED, &object);
        }
    }
}

/// Whether a language can be one.
pub(crate) fn check_language(language: &str) -> Result<(), PlatformError> {
    if names::is_language(language) {
        return Ok(());
    }
    Err(PlatformError::bad_request("A language has two letters."))
}
