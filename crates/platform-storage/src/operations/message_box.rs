//! The message box: search, one item, an item's events.

use std::collections::BTreeMap;

use http::{Response, StatusCode};
use http_semantics::Body;

use super::instance_path::{InstancePath, Unknown};
use crate::Platform;
use crate::decision::{Question, Resource};
use crate::error::PlatformError;
use crate::limits::JSON_BYTES_MAX;
use crate::model::{Application, Instance, InstanceEvent, TextResource};
use crate::rules::message_box::{self, Allowed, BoxItem, BoxQuery};
use crate::rules::names::AppId;
use crate::service::Call;
use crate::store::View;
use crate::wire::answer;

const SIGNING: &str = "signing";

fn is_signed_now(instance: &Instance) -> bool {
    instance
        .current_task()
        .and_then(|task| task.altinn_task_type.as_deref())
        .is_some_and(|kind| kind.eq_ignore_ascii_case(SIGNING))
}

/// POST search: newest first. What the caller may not read isn't told of.
pub(crate) async fn search(
    platform: &Platform,
    call: &Call,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let text = body.read_bounded(JSON_BYTES_MAX).await?;
    let query = BoxQuery::parse(&text).map_err(PlatformError::BadRequest)?;
    let view = platform.view().await?;
    let titled = match query.search() {
        Some(search) => {
            let stored = platform.stored_applications(&view, None).await?;
            let apps: Vec<Application> = stored
                .into_iter()
                .filter_map(|object| crate::model::relaxed::from_value(object.into()).ok())
                .collect();
            message_box::apps_titled(apps.iter().map(|app| (app.id.as_str(), &app.title)), search)
        }
        None => Default::default(),
    };
    let mut found = platform.search_box(&view, &query, &titled).await?;
    let mut words = Words::default();
    let mut shown = Vec::with_capacity(found.len());
    for instance in found.drain(..) {
        let app = words
            .of(platform, &view, &instance.app_id, query.language)
            .await?;
        let task = instance
            .current_task()
            .and_then(|task| task.element_id.as_deref());
        if !app.metadata.as_ref().is_some_and(|app| app.hides(task)) {
            shown.push(instance);
        }
    }
    let mut questions = Vec::with_capacity(shown.len() * 3);
    for instance in &shown {
        let resource = Resource::instance(instance);
        questions.push(Question::new("read", resource.clone()));
        questions.push(Question::new("delete", resource.clone()));
        if is_signed_now(instance) {
            questions.push(Question::new("sign", resource));
        }
    }
    let mut answers = platform.permits_each(caller, &questions).await?.into_iter();
    let mut next = || answers.next().unwrap_or(false);
    let mut items = Vec::with_capacity(shown.len());
    for instance in &shown {
        let (read, delete) = (next(), next());
        let sign = is_signed_now(instance) && next();
        if !read {
            continue;
        }
        let allowed = Allowed {
            delete,
            sign,
            ..Allowed::default()
        };
        let texts = words
            .of(platform, &view, &instance.app_id, query.language)
            .await?;
        items.push(BoxItem::new(instance, allowed, texts.texts.as_ref()));
    }
    answer::json(StatusCode::OK, &items)
}

/// What is known of an app while one request is answered.
#[derive(Default)]
struct Words(BTreeMap<String, AppWords>);

struct AppWords {
    metadata: Option<Application>,
    texts: Option<TextResource>,
}

impl Words {
    async fn of(
        &mut self,
        platform: &Platform,
        view: &View,
        app_id: &str,
        language: &str,
    ) -> Result<&AppWords, PlatformError> {
        if !self.0.contains_key(app_id) {
            let texts = match AppId::parse(app_id) {
                Some(app) => platform.stored_text(view, &app, language).await?,
                None => None,
            };
            let words = AppWords {
                metadata: platform.application_of(view, app_id).await?,
                texts: texts.map(|stored| stored.value),
            };
            self.0.insert(app_id.to_owned(), words);
        }
        let missing = || PlatformError::Internal(format!("the words of {app_id} got lost"));
        self.0.get(app_id).ok_or_else(missing)
    }
}

/// GET one item.
pub(crate) async fn get(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let view = platform.view().await?;
    let instance = platform.find(&view, path, Unknown::NotFound).await?.value;
    let language = message_box::language(call.query.get("language"));
    let mut words = Words::default();
    let app = words.of(platform, &view, &instance.app_id, language).await?;
    let copies = app
        .metadata
        .as_ref()
        .and_then(|app| app.copy_instance_settings.as_ref());
    let may_copy = instance.status.is_archived && copies.is_some_and(|settings| settings.enabled);
    let mut actions = vec!["read", "delete", "write"];
    if is_signed_now(&instance) {
        actions.push("sign");
    }
    let resource = Resource::instance(&instance);
    let mut questions: Vec<Question> = actions
        .iter()
        .map(|action| Question::new(action, resource.clone()))
        .collect();
    if may_copy {
        // A new instance, whatever has become of this one.
        let app = Resource::app(&instance.org, instance.app(), Some(instance.party()));
        actions.push("instantiate");
        questions.push(Question::new("instantiate", app));
    }
    let answers = platform.permits_each(caller, &questions).await?;
    let may = |action: &str| {
        let mut answers = actions.iter().zip(&answers);
        answers.any(|(asked, permitted)| *asked == action && *permitted)
    };
    if !may("read") {
        return Err(PlatformError::forbidden("The caller may not read this instance."));
    }
    let allowed = Allowed {
        write: may("write"),
        delete: may("delete"),
        sign: may("sign"),
        copy: may("instantiate"),
    };
    answer::json(
        StatusCode::OK,
        &BoxItem::new(&instance, allowed, app.texts.as_ref()),
    )
}

/// GET an item's events, folded.
pub(crate) async fn events(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
) -> Result<Response<Body>, PlatformError> {
    let view = platform.view().await?;
    platform
        .find_permitted(&view, path, Unknown::Forbidden, call.caller()?, "read")
        .await?;
    let events = platform.stored_events(&view, &path.id()).await?;
    let events: Vec<InstanceEvent> = events.into_iter().map(|event| event.value).collect();
    answer::json(StatusCode::OK, &message_box::fold(&events))
}
