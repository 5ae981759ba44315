//! Applications' texts.

use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;

use super::applications::{app_id, check_language};
use crate::Platform;
use crate::error::PlatformError;
use crate::model::TextResource;
use crate::rules::names::AppId;
use crate::service::Call;
use crate::store::{Attempts, Stored, View, log, text_id};
use crate::wire::answer;

async fn find(
    platform: &Platform,
    view: &View,
    app: &AppId,
    language: &str,
) -> Result<Stored<TextResource>, PlatformError> {
    platform
        .stored_text(view, app, language)
        .await?
        .ok_or_else(|| PlatformError::not_found(format!("There are no texts of {app} in {language}.")))
}

pub(crate) async fn get(
    platform: &Platform,
    (org, app): (&str, &str),
    language: &str,
) -> Result<Response<Body>, PlatformError> {
    check_language(language)?;
    let app = app_id(org, app)?;
    let view = platform.view().await?;
    let stored = find(platform, &view, &app, language).await?;
    answer::json(StatusCode::OK, &stored.value)
}

/// POST creates or replaces; the language is in the body.
pub(crate) async fn post(
    platform: &Platform,
    call: &Call,
    (org, app): (&str, &str),
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    call.require_studio()?;
    let app = app_id(org, app)?;
    let text: TextResource = answer::read_json(body).await?;
    check_language(&text.language)?;
    write(platform, call, &app, text, false).await
}

/// PUT replaces; the language is in the path.
pub(crate) async fn put(
    platform: &Platform,
    call: &Call,
    (org, app): (&str, &str),
    language: &str,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    call.require_studio()?;
    check_language(language)?;
    let app = app_id(org, app)?;
    let mut text: TextResource = answer::read_json(body).await?;
    language.clone_into(&mut text.language);
    write(platform, call, &app, text, true).await
}

async fn write(
    platform: &Platform,
    call: &Call,
    app: &AppId,
    mut text: TextResource,
    must_exist: bool,
) -> Result<Response<Body>, PlatformError> {
    text.language = text.language.to_lowercase();
    text.id = text_id(app, &text.language);
    text.org.clone_from(&app.org);
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        if must_exist {
            find(platform, &view, app, &text.language).await?;
        }
        let mut tx = Transaction::new();
        platform.stage_text(&mut tx, &view, &text).await?;
        log(&mut tx, "putText", &text.id, call.caller()?);
        if platform.commit(tx, &mut attempts).await? {
            return answer::json(StatusCode::OK, &text);
        }
    }
}

pub(crate) async fn delete(
    platform: &Platform,
    call: &Call,
    (org, app): (&str, &str),
    language: &str,
) -> Result<Response<Body>, PlatformError> {
    call.require_studio()?;
    check_language(language)?;
    let app = app_id(org, app)?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = find(platform, &view, &app, language).await?;
        let mut tx = Transaction::new();
        platform.stage_text_removal(&mut tx, &view, &stored).await?;
        log(&mut tx, "deleteText", &stored.value.id, call.caller()?);
        if platform.commit(tx, &mut attempts).await? {
            return Ok(answer::empty(StatusCode::OK));
        }
    }
}
