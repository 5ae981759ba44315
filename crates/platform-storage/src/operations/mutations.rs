//! POST mutations: several changes of one instance, made together or not at all, once for each idempotency key.
//!
//! Invariant: contents are taken in first and refer to nothing; all that the mutation asks for is then one commit
//! under the instance's version, decided anew if others were quicker.

use std::collections::BTreeMap;

use blobs::StagedContent;
use http::header::CONTENT_TYPE;
use http::{Response, StatusCode};
use http_semantics::Body;
use ledger::Transaction;
use serde_json::json;
use uuid::Uuid;

use super::data::{elements_with, refuse_locked, size};
use super::instance_path::{InstancePath, Unknown};
use super::instances::check_retention;
use super::process;
use crate::Platform;
use crate::auth::Caller;
use crate::decision::Resource;
use crate::error::PlatformError;
use crate::limits::{DATA_BYTES_MAX, MUTATION_BYTES_MAX, TEXTS_MAX};
use crate::model::event::kind;
use crate::model::{
    Application, CompleteConfirmation, DataElement, DataType, Instance, InstanceEvent, Moment,
};
use crate::rules::multipart::{self, Parts};
use crate::rules::mutation::{ElementChange, MUTATION_PART, Mutation};
use crate::rules::read_status::{self, Change};
use crate::rules::versions::{self, Versions};
use crate::rules::{content_disposition, names, process_actions, texts};
use crate::service::Call;
use crate::store::{Attempts, Done, StoredElement, View, log};
use crate::wire::answer;

/// Names a mutation, so that it isn't made twice.
const KEY_HEADER: &str = "idempotency-key";

/// A content that came with the mutation.
struct Taken {
    content_type: Option<String>,
    filename: Option<String>,
    content: StagedContent,
}

pub(crate) async fn post(
    platform: &Platform,
    call: &Call,
    path: &InstancePath,
    body: Body,
) -> Result<Response<Body>, PlatformError> {
    let caller = call.caller()?;
    let key = idempotency_key(call)?;
    let (mutation, parts) = read(call, body).await?;
    mutation.check().map_err(PlatformError::BadRequest)?;
    if parts.is_none() && !mutation.parts().is_empty() {
        return Err(PlatformError::bad_request(
            "Contents come in a multipart/form-data body.",
        ));
    }
    // Asked before the contents are taken in, and again before the commit.
    let view = platform.view().await?;
    let stored = platform
        .find_permitted(&view, path, Unknown::Forbidden, caller, "write")
        .await?;
    if let Some(response) = replay(platform, call, &view, &stored.value, key).await? {
        return Ok(response);
    }
    check_state(call, &mutation, &stored.value)?;
    let app = platform.application_of(&view, &stored.value.app_id).await?;
    let no_app = || PlatformError::not_found(format!("There is no application {}.", stored.value.app_id));
    let app = app.ok_or_else(no_app)?;
    require_all(platform, caller, &view, &mutation, &stored.value, &app).await?;
    if mutation.delete_instance.is_some() {
        let now = Moment::stamped(platform.clock.now());
        check_retention(platform, &view, &stored.value, now).await?;
    }
    let org = stored.value.org.clone();
    drop((view, stored));
    let taken = match parts {
        Some(parts) => take_in(platform, &mutation, parts).await?,
        None => BTreeMap::new(),
    };
    platform.ensure_content_container(&org).await?;
    let mut attempts = Attempts::default();
    loop {
        let view = platform.view().await?;
        let stored = platform.find(&view, path, Unknown::NotFound).await?;
        if let Some(response) = replay(platform, call, &view, &stored.value, key).await? {
            return Ok(response);
        }
        check_state(call, &mutation, &stored.value)?;
        let mut work = Work {
            platform,
            caller,
            view: &view,
            path,
            app: &app,
            taken: &taken,
            tx: Transaction::new(),
            instance: stored.value.clone(),
            events: Vec::new(),
            created: Vec::new(),
        };
        work.apply(&mutation).await?;
        let Work {
            mut tx,
            instance,
            events,
            created,
            ..
        } = work;
        platform
            .stage_instance(&mut tx, &view, &stored, &instance)
            .await?;
        for event in &events {
            process::refuse_known(platform, &view, path, event).await?;
            platform.stage_event(&mut tx, &view, &instance, event).await?;
        }
        if let Some(key) = &key {
            let done = Done {
                instance: path.guid,
                previous: Versions::of(&stored.value).instance,
                produced: Versions::of(&instance).instance,
                created: created.clone(),
            };
            platform.stage_mutation(&mut tx, key, &done)?;
        }
        log(&mut tx, "mutation", &path.id(), caller);
        if platform.commit(tx, &mut attempts).await? {
            let view = platform.view().await?;
            return render(platform, call, &view, &instance, &created, false).await;
        }
    }
}

fn idempotency_key(call: &Call) -> Result<Option<Uuid>, PlatformError> {
    let Some(value) = call.headers.get(KEY_HEADER) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or("?").trim();
    if text.is_empty() {
        return Ok(None);
    }
    let key =
        Uuid::parse_str(text).map_err(|_| PlatformError::bad_request("Idempotency-Key must be a guid."))?;
    if call.preconditions()?.instance.is_none() {
        return Err(PlatformError::bad_request(
            "Idempotency-Key needs If-Instance-Version-Match beside it.",
        ));
    }
    Ok(Some(key))
}

/// The mutation, and the parts behind it if the body has parts.
async fn read(call: &Call, body: Body) -> Result<(Mutation, Option<Parts>), PlatformError> {
    let kind = call
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default();
    let (text, parts) = if let Some(boundary) = multipart::boundary(kind) {
        let mut parts = Parts::new(body, &boundary);
        let first = parts.next().await.map_err(malformed)?;
        let named =
            |disposition: &Option<Vec<u8>>| disposition.as_deref().and_then(content_disposition::field);
        match first {
            Some((headers, content))
                if named(&headers.content_disposition).as_deref() == Some(MUTATION_PART) =>
            {
                (content.read_bounded(MUTATION_BYTES_MAX).await?, Some(parts))
            }
            _ => {
                return Err(PlatformError::bad_request(
                    "The first part must be called mutation, and be the mutation in JSON.",
                ));
            }
        }
    } else if kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .eq_ignore_ascii_case("application/json")
    {
        (body.read_bounded(MUTATION_BYTES_MAX).await?, None)
    } else {
        return Err(PlatformError::bad_request(
            "A mutation is application/json, or multipart/form-data.",
        ));
    };
    let mutation = crate::model::relaxed::from_slice(&text)
        .map_err(|error| PlatformError::bad_request(format!("The mutation can't be understood: {error}.")))?;
    Ok((mutation, parts))
}

#[allow(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn malformed(error: multipart::MultipartError) -> PlatformError {
    PlatformError::bad_request(format!("{error}."))
}

/// The answer to a mutation that was made before with the same key, if it was.
async fn replay(
    platform: &Platform,
    call: &Call,
    view: &View,
    instance: &Instance,
    key: Option<Uuid>,
) -> Result<Option<Response<Body>>, PlatformError> {
    let Some(key) = key else { return Ok(None) };
    let Some(done) = platform.stored_mutation(view, &key).await? else {
        return Ok(None);
    };
    if Some(done.instance) != instance.guid() {
        return Err(PlatformError::Conflict(
            "The idempotency key was used for another instance.".to_owned(),
        ));
    }
    let current = Versions::of(instance);
    let is_same = call.preconditions()?.instance == Some(done.previous);
    if !is_same || current.instance != done.produced {
        // Of another version, or others have changed the instance since: there is no answer to repeat.
        return Err(PlatformError::VersionMismatch(
            versions::Differs::Instance,
            current,
        ));
    }
    render(platform, call, view, instance, &done.created, true)
        .await
        .map(Some)
}

/// Versions, the process' status, and whether there is anything left to change.
fn check_state(call: &Call, mutation: &Mutation, instance: &Instance) -> Result<(), PlatformError> {
    call.require_versions(instance)?;
    if instance.status.is_hard_deleted {
        return Err(PlatformError::not_found("The instance is deleted for good."));
    }
    let is = versions::status(instance);
    let expected = mutation.expected_process_status.as_deref().unwrap_or("idle");
    if !is.eq_ignore_ascii_case(expected) {
        return Err(PlatformError::ProcessStatus(is.to_owned()));
    }
    Ok(())
}

/// Refuses the caller (403) unless it may do all of the mutation.
async fn require_all(
    platform: &Platform,
    caller: &Caller,
    view: &View,
    mutation: &Mutation,
    instance: &Instance,
    app: &Application,
) -> Result<(), PlatformError> {
    let resource = Resource::instance(instance);
    if mutation.delete_instance.is_some() {
        platform.require(caller, "delete", &resource).await?;
    }
    if mutation.add_complete_confirmation {
        platform.require(caller, "complete", &resource).await?;
        if caller.org.is_none() {
            return Err(PlatformError::forbidden(
                "Only an org confirms that an instance is complete.",
            ));
        }
    }
    if let Some(state) = mutation.state() {
        let question = process_actions::for_next(instance, state).ok_or_else(|| {
            PlatformError::forbidden("The instance is in no task, so its process can't go on.")
        })?;
        platform.require_any(caller, &question, instance).await?;
    }
    if !mutation.presentation_texts.is_empty() || !mutation.data_values.is_empty() {
        let question = process_actions::for_task(instance);
        platform.require_any(caller, &question, instance).await?;
    }
    let elements = platform
        .stored_elements(view, &instance.guid().unwrap_or_default())
        .await?;
    let type_of = |id: Option<Uuid>| {
        let element = elements.iter().find(|element| element.value.guid() == id)?;
        Some(element.value.data_type.clone())
    };
    let created = mutation
        .create_data_elements
        .iter()
        .map(|create| create.data_type.clone());
    let updated = mutation
        .update_data_elements
        .iter()
        .map(|update| type_of(update.data_element_id));
    let removed = mutation
        .delete_data_elements
        .iter()
        .map(|removal| type_of(removal.data_element_id));
    let types: std::collections::BTreeSet<String> = created.chain(updated).chain(removed).flatten().collect();
    for data_type in types {
        let action = app
            .data_type(&data_type)
            .and_then(|data_type| data_type.action_required_to_write.as_deref());
        platform.require_asked(caller, action, instance).await?;
    }
    Ok(())
}

/// Takes the contents in: each part that is asked for, once, and no other.
async fn take_in(
    platform: &Platform,
    mutation: &Mutation,
    mut parts: Parts,
) -> Result<BTreeMap<String, Taken>, PlatformError> {
    let wanted = mutation.parts();
    let mut taken = BTreeMap::new();
    while let Some((headers, content)) = parts.next().await.map_err(malformed)? {
        let disposition = headers.content_disposition.unwrap_or_default();
        let name = content_disposition::field(&disposition)
            .ok_or_else(|| PlatformError::bad_request("A part has no name."))?;
        if !wanted.contains(name.as_str()) || taken.contains_key(&name) {
            return Err(PlatformError::bad_request(format!(
                "The part {name:?} isn't asked for by the mutation, or comes twice."
            )));
        }
        let content = platform
            .blobs
            .write_content(&platform.settings.blobs_account, content, DATA_BYTES_MAX)
            .await?;
        if content.length_bytes == 0 {
            return Err(PlatformError::bad_request(format!("The part {name:?} is empty.")));
        }
        let part = Taken {
            content_type: headers.content_type,
            filename: content_disposition::filename(&disposition),
            content,
        };
        taken.insert(name, part);
    }
    match wanted.into_iter().find(|name| !taken.contains_key(*name)) {
        Some(missing) => Err(PlatformError::bad_request(format!(
            "The part {missing:?} is missing."
        ))),
        None => Ok(taken),
    }
}

/// One attempt: what is staged so far, and the instance as it will be.
struct Work<'a> {
    platform: &'a Platform,
    caller: &'a Caller,
    view: &'a View,
    path: &'a InstancePath,
    app: &'a Application,
    taken: &'a BTreeMap<String, Taken>,
    tx: Transaction,
    instance: Instance,
    events: Vec<InstanceEvent>,
    created: Vec<String>,
}

impl<'a> Work<'a> {
    async fn apply(&mut self, mutation: &Mutation) -> Result<(), PlatformError> {
        if mutation.stamps() {
            self.instance
                .touch(self.platform.clock.now(), &self.caller.performed_by());
        } else {
            self.instance.count_change();
        }
        for create in &mutation.create_data_elements {
            self.create(create).await?;
        }
        for update in &mutation.update_data_elements {
            self.update(update).await?;
        }
        for removal in &mutation.delete_data_elements {
            let element = self.element(removal.data_element_id).await?;
            if !removal.ignore_lock {
                refuse_locked(&element.value)?;
            }
            self.platform
                .stage_element_removal(&mut self.tx, self.view, &self.instance, &element)
                .await?;
            let left = elements_with(self.platform, self.view, self.path, None, &element.value.id).await?;
            read_status::apply(&mut self.instance, Change::ReplacedOrDeleted, &left);
            self.say(kind::DELETED, Some(&element.value));
        }
        for (of, changes) in [
            (
                &mut self.instance.presentation_texts,
                &mutation.presentation_texts,
            ),
            (&mut self.instance.data_values, &mutation.data_values),
        ] {
            if !changes.is_empty() && !texts::merge(of, changes.clone()) {
                return Err(PlatformError::bad_request(format!(
                    "At most {TEXTS_MAX} entries are kept."
                )));
            }
        }
        self.go_on(mutation)?;
        if mutation.add_complete_confirmation {
            self.confirm();
        }
        if mutation.delete_instance.is_some() {
            let now = Moment::stamped(self.platform.clock.now());
            let status = &mut self.instance.status;
            status.is_soft_deleted = true;
            status.soft_deleted = status.soft_deleted.or(Some(now));
            status.is_hard_deleted = true;
            status.hard_deleted = status.hard_deleted.or(Some(now));
            self.say(kind::DELETED, None);
        }
        Ok(())
    }

    fn say(&mut self, kind: &str, element: Option<&DataElement>) {
        let event = self.platform.event(kind, &self.instance, element, self.caller);
        self.events.push(event);
    }

    async fn element(&self, id: Option<Uuid>) -> Result<StoredElement, PlatformError> {
        let id = id.unwrap_or_default();
        let found = self
            .platform
            .stored_element(self.view, &self.path.guid, &id)
            .await?;
        found.ok_or_else(|| PlatformError::not_found(format!("The instance has no data element {id}.")))
    }

    fn data_type(&self, id: &str) -> Result<&'a DataType, PlatformError> {
        let app = self.app;
        app.data_type(id).ok_or_else(|| {
            PlatformError::bad_request(format!(
                "The application {} has no data type {id:?}.",
                self.app.id
            ))
        })
    }

    fn taken(&self, change: &ElementChange) -> Option<&'a Taken> {
        let taken = self.taken;
        taken.get(change.part()?)
    }

    async fn create(&mut self, create: &ElementChange) -> Result<(), PlatformError> {
        let data_type = self.data_type(create.data_type.as_deref().unwrap_or_default())?;
        let taken = self
            .taken(create)
            .ok_or_else(|| PlatformError::Internal("a content that was checked is missing".to_owned()))?;
        let id = self.platform.random.uuid().to_string();
        let who = self.caller.performed_by();
        let is_owner = self.caller.is_owner(&self.instance.org);
        let path = names::blob(&self.instance.app_id, &self.path.guid.to_string(), &id);
        let element = DataElement {
            blob_storage_path: Some(path),
            id,
            instance_guid: self.path.guid.to_string(),
            data_type: data_type.id.clone(),
            filename: create.filename.clone().or_else(|| taken.filename.clone()),
            content_type: create.content_type.clone().or_else(|| taken.content_type.clone()),
            size: size(&taken.content),
            locked: create.locked.unwrap_or(false),
            refs: create.refs.clone(),
            references: create.references(),
            is_read: !is_owner,
            tags: create.tags.clone().unwrap_or_default(),
            metadata: create.metadata.clone(),
            user_defined_metadata: create.user_defined_metadata.clone(),
            file_scan_result: self.platform.scan_result(data_type),
            blob_version_id: Some(self.platform.content_version()),
            created: self.instance.last_changed,
            created_by: Some(who.clone()),
            last_changed: self.instance.last_changed,
            last_changed_by: Some(who),
            ..DataElement::default()
        };
        self.platform
            .stage_element_creation(&mut self.tx, self.view, &self.instance, &element, &taken.content)
            .await?;
        if is_owner {
            read_status::apply(&mut self.instance, Change::OwnerAdded, &[]);
        }
        self.say(kind::CREATED, Some(&element));
        self.created.push(element.id);
        Ok(())
    }

    async fn update(&mut self, update: &ElementChange) -> Result<(), PlatformError> {
        let before = self.element(update.data_element_id).await?;
        let data_type = self.data_type(&before.value.data_type)?;
        let taken = self.taken(update);
        let unlocks = update.locked == Some(false) && taken.is_none();
        if !unlocks {
            refuse_locked(&before.value)?;
        }
        if before.value.is_hard_deleted() {
            return Err(PlatformError::Conflict(format!(
                "The data element {} is deleted.",
                before.value.id
            )));
        }
        let demanded = update.expected_current_blob_version.as_deref();
        super::data::require_content(demanded, &before.value)?;
        let mut element = before.value.clone();
        if let Some(tags) = &update.tags {
            element.tags.clone_from(tags);
        }
        element.metadata = update.metadata.clone().or(element.metadata);
        element.user_defined_metadata = update
            .user_defined_metadata
            .clone()
            .or(element.user_defined_metadata);
        element.locked = update.locked.unwrap_or(element.locked);
        element.last_changed = self.instance.last_changed;
        element.last_changed_by = Some(self.caller.performed_by());
        match taken {
            Some(taken) => {
                // As PUT of the content: what isn't said is gone.
                element.content_type = update.content_type.clone().or_else(|| taken.content_type.clone());
                element.filename = update.filename.clone().or_else(|| taken.filename.clone());
                element.refs.clone_from(&update.refs);
                element.references = update.references();
                element.size = size(&taken.content);
                element.file_scan_result = self.platform.scan_result(data_type);
                element.blob_version_id = Some(self.platform.content_version());
                element.content_replaced = true;
                element.is_read = !self.caller.is_owner(&self.instance.org);
            }
            None => {
                element.content_type = update.content_type.clone().or(element.content_type);
                element.filename = update.filename.clone().or(element.filename);
                element.refs = update.refs.clone().or(element.refs);
                if update.generated_from_task.is_some() {
                    element.references = update.references();
                }
            }
        }
        self.platform
            .stage_element(&mut self.tx, self.view, &self.instance, &before, &element)
            .await?;
        if let Some(taken) = taken {
            self.platform
                .stage_content(&mut self.tx, self.view, &self.instance, &element, &taken.content)
                .await?;
            if self.caller.is_owner(&self.instance.org) {
                let left =
                    elements_with(self.platform, self.view, self.path, Some(&element), &element.id).await?;
                read_status::apply(&mut self.instance, Change::ReplacedOrDeleted, &left);
            }
            self.say(kind::SAVED, Some(&element));
        }
        Ok(())
    }

    fn go_on(&mut self, mutation: &Mutation) -> Result<(), PlatformError> {
        for event in mutation.events() {
            let mut event = event.clone();
            event.instance_id.get_or_insert_with(|| self.path.id());
            process::check(self.platform, &mut event, self.path)?;
            self.events.push(event);
        }
        if let Some(state) = mutation.state() {
            process::apply(&mut self.instance, state);
            self.instance.count_process_change();
            if process::enters_signing(state) {
                self.say(kind::SENT_TO_SIGN, None);
            }
        }
        Ok(())
    }

    fn confirm(&mut self) {
        let Some(org) = self.caller.org.clone() else {
            return;
        };
        if self.instance.confirmed_by(&org).is_some() {
            return;
        }
        let confirmation = CompleteConfirmation {
            stakeholder_id: org,
            confirmed_on: Some(Moment::stamped(self.platform.clock.now())),
        };
        self.instance
            .complete_confirmations
            .get_or_insert_default()
            .push(confirmation);
        self.say(kind::CONFIRMED_COMPLETE, None);
    }
}

async fn render(
    platform: &Platform,
    call: &Call,
    view: &View,
    instance: &Instance,
    created: &[String],
    replayed: bool,
) -> Result<Response<Body>, PlatformError> {
    let sees_deleted = call.caller()?.is_owner(&instance.org);
    let filled = platform.fill_elements(view, instance, sees_deleted).await?;
    let body = json!({
        "instance": call.links.instance(filled), "createdDataElementIds": created, "replayed": replayed,
    });
    let response = answer::json(StatusCode::OK, &body)?;
    Ok(answer::with_versions(response, Versions::of(instance)))
}
