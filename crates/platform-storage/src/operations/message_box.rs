//! The message box: search, one item, an item's events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use http_semantics::Body;

use super::instance_path::{InstancePath, Unknown};
use crate::Platform;
use crate::auth::Caller;
use crate::decision::{Question, Resource};
use crate::error::PlatformError;
use crate::limits::{
    BOX_BYTES_MAX, BOX_DENIALS_MAX, BOX_INSTANCES_MAX, BOX_PAGE_INSTANCES, BOX_SECONDS_MAX, JSON_BYTES_MAX,
};
use crate::model::{Application, Instance, InstanceEvent, TextResource};
use crate::rules::message_box::{self, Allowed, BoxItem, BoxQuery};
use crate::rules::names::AppId;
use crate::service::Call;
use crate::store::{BoxSearch, View};
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
    let titled: BTreeSet<String> = match query.search() {
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
    let until = platform.clock.monotonic() + Duration::from_secs(BOX_SECONDS_MAX);
    let mut search = BoxSearch::new(platform, &view, &query, &titled).await?;
    let mut words = Words::default();
    let mut denied = Denied::default();
    let mut items = Vec::new();
    let mut bytes = 0;
    // Of what may not be read nothing is kept, and little is asked: parties that the caller has nothing to do with
    // cost one page each.
    while items.len() < BOX_INSTANCES_MAX && bytes < BOX_BYTES_MAX {
        let found = search.page(BOX_PAGE_INSTANCES).await?;
        if found.is_empty() {
            break;
        }
        if platform.clock.monotonic() > until {
            return Err(PlatformError::Unavailable(format!(
                "The search took more than {BOX_SECONDS_MAX} s; ask for fewer parties or a shorter time."
            )));
        }
        let mut shown = Vec::with_capacity(found.len());
        for instance in found {
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
        let questions: Vec<Question> = shown
            .iter()
            .map(|instance| Question::new("read", Resource::instance(instance)))
            .collect();
        let answers = platform.permits_each(caller, &questions).await?;
        let mut readable = Vec::with_capacity(shown.len());
        for (instance, read) in shown.into_iter().zip(answers) {
            if denied.is_hopeless(instance.party(), read) {
                search.give_up(instance.party());
            }
            if read {
                readable.push(instance);
            }
        }
        readable.truncate(BOX_INSTANCES_MAX - items.len());
        for (instance, allowed) in readable.iter().zip(allowed(platform, caller, &readable).await?) {
            let texts = words
                .of(platform, &view, &instance.app_id, query.language)
                .await?;
            let item = BoxItem::new(instance, allowed, texts.texts.as_ref());
            bytes += item.size_bytes();
            items.push(item);
        }
    }
    answer::json(StatusCode::OK, &items)
}

/// What the caller may do to instances that it may read.
async fn allowed(
    platform: &Platform,
    caller: &Caller,
    instances: &[Instance],
) -> Result<Vec<Allowed>, PlatformError> {
    let mut questions = Vec::with_capacity(instances.len() * 2);
    for instance in instances {
        let resource = Resource::instance(instance);
        questions.push(Question::new("delete", resource.clone()));
        if is_signed_now(instance) {
            questions.push(Question::new("sign", resource));
        }
    }
    let mut answers = platform.permits_each(caller, &questions).await?.into_iter();
    let mut next = || answers.next().unwrap_or(false);
    let allowed = |instance: &Instance| Allowed {
        delete: next(),
        sign: is_signed_now(instance) && next(),
        ..Allowed::default()
    };
    Ok(instances.iter().map(allowed).collect())
}

/// How often the caller was told no about each party's instances, until it is told yes.
#[derive(Default)]
struct Denied(BTreeMap<String, Option<usize>>);

impl Denied {
    /// Counts an answer. Whether nothing of the party's was readable, of so many that nothing will be.
    fn is_hopeless(&mut self, party: &str, read: bool) -> bool {
        let count = self.0.entry(party.to_owned()).or_insert(Some(0));
        match count {
            _ if read => *count = None,
            Some(count) => *count += 1,
            None => {}
        }
        count.is_some_and(|count| count >= BOX_DENIALS_MAX)
    }
}

/// What is known of an app while one request is answered.
#[derive(Default)]
struct Words(BTreeMap<String, AppWords>);

struct AppWords {
    metadata: Option<Arc<Application>>,
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
