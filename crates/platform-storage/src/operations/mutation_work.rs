//! What a mutation does to an instance and its elements: one attempt, staged into one transaction.

use std::collections::BTreeMap;

use blobs::StagedContent;
use ledger::Transaction;
use uuid::Uuid;

use super::data::{refuse_locked, require_content, size};
use super::instance_path::InstancePath;
use super::process;
use crate::Platform;
use crate::auth::Caller;
use crate::error::PlatformError;
use crate::limits::TEXTS_MAX;
use crate::model::event::kind;
use crate::model::{
    Application, CompleteConfirmation, DataElement, DataType, Instance, InstanceEvent, Moment,
};
use crate::rules::mutation::{ElementChange, Mutation};
use crate::rules::read_status::{self, Change};
use crate::rules::{names, texts};
use crate::store::{StoredElement, View};

/// A content that came with the mutation.
pub(super) struct Taken {
    pub(super) content_type: Option<String>,
    pub(super) filename: Option<String>,
    pub(super) content: StagedContent,
}

/// One attempt: what is staged so far, and the instance as it will be.
pub(super) struct Work<'a> {
    pub(super) platform: &'a Platform,
    pub(super) caller: &'a Caller,
    pub(super) view: &'a View,
    /// The elements that are there, read once for each attempt.
    pub(super) elements: &'a [StoredElement],
    pub(super) path: &'a InstancePath,
    pub(super) app: &'a Application,
    pub(super) taken: &'a BTreeMap<String, Taken>,
    pub(super) tx: Transaction,
    pub(super) instance: Instance,
    pub(super) events: Vec<InstanceEvent>,
    pub(super) created: Vec<String>,
    /// Elements that were there and are changed, or gone.
    pub(super) changed: BTreeMap<String, Option<DataElement>>,
    /// Whether the owner replaced content, or an element goes.
    pub(super) leaves_less: bool,
}

impl<'a> Work<'a> {
    /// Stages all that the mutation asks for but the instance and its events.
    pub(super) async fn apply(&mut self, mutation: &Mutation) -> Result<(), PlatformError> {
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
            let element = self.element(removal.data_element_id)?;
            if !removal.ignore_lock {
                refuse_locked(&element.value)?;
            }
            self.platform
                .stage_element_removal(&mut self.tx, self.view, &self.instance, element)
                .await?;
            self.changed.insert(element.value.id.clone(), None);
            self.leaves_less = true;
            self.say(kind::DELETED, Some(&element.value));
        }
        if self.leaves_less {
            self.mind_what_is_left();
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

    fn element(&self, id: Option<Uuid>) -> Result<&'a StoredElement, PlatformError> {
        find_element(self.elements, id)
    }

    /// An instance that was read may be unread again by what the elements have become: those that were there, without
    /// those that go.
    fn mind_what_is_left(&mut self) {
        let left: Vec<DataElement> = self
            .elements
            .iter()
            .filter_map(|element| match self.changed.get(&element.value.id) {
                Some(changed) => changed.clone(),
                None => Some(element.value.clone()),
            })
            .collect();
        read_status::apply(&mut self.instance, Change::ReplacedOrDeleted, &left);
    }

    fn taken(&self, change: &ElementChange) -> Option<&'a Taken> {
        let taken = self.taken;
        taken.get(change.part()?)
    }

    async fn create(&mut self, create: &ElementChange) -> Result<(), PlatformError> {
        let data_type = find_type(self.app, create.data_type.as_deref().unwrap_or_default())?;
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
            filename: said(&create.filename).or_else(|| taken.filename.clone()),
            content_type: said(&create.content_type).or_else(|| taken.content_type.clone()),
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
        let before = self.element(update.data_element_id)?;
        let data_type = find_type(self.app, &before.value.data_type)?;
        let taken = self.taken(update);
        check_update(update, before)?;
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
                element.content_type = said(&update.content_type).or_else(|| taken.content_type.clone());
                element.filename = said(&update.filename).or_else(|| taken.filename.clone());
                element.refs.clone_from(&update.refs);
                element.references = update.references();
                element.size = size(&taken.content);
                element.file_scan_result = self.platform.scan_result(data_type);
                element.blob_version_id = Some(self.platform.content_version());
                element.content_replaced = true;
                element.is_read = !self.caller.is_owner(&self.instance.org);
            }
            None => {
                element.content_type = said(&update.content_type).or(element.content_type);
                element.filename = said(&update.filename).or(element.filename);
                element.refs = update.refs.clone().or(element.refs);
                if update.generated_from_task.is_some() {
                    element.references = update.references();
                }
            }
        }
        self.platform
            .stage_element(&mut self.tx, self.view, &self.instance, before, &element)
            .await?;
        self.changed.insert(element.id.clone(), Some(element.clone()));
        if let Some(taken) = taken {
            self.platform
                .stage_content(&mut self.tx, self.view, &self.instance, &element, &taken.content)
                .await?;
            self.leaves_less |= self.caller.is_owner(&self.instance.org);
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

/// What is said, if anything is: an empty text says nothing.
fn said(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.trim().is_empty())
}

fn find_element(elements: &[StoredElement], id: Option<Uuid>) -> Result<&StoredElement, PlatformError> {
    let id = id.unwrap_or_default();
    let found = elements.iter().find(|element| element.value.guid() == Some(id));
    found.ok_or_else(|| PlatformError::not_found(format!("The instance has no data element {id}.")))
}

/// Whether an element takes a change as it is.
fn check_update(update: &ElementChange, before: &StoredElement) -> Result<(), PlatformError> {
    let unlocks = update.locked == Some(false) && update.part().is_none();
    if !unlocks {
        refuse_locked(&before.value)?;
    }
    if before.value.is_hard_deleted() {
        return Err(PlatformError::Conflict(format!(
            "The data element {} is deleted.",
            before.value.id
        )));
    }
    require_content(update.expected_current_blob_version.as_deref(), &before.value)
}

fn find_type<'a>(app: &'a Application, id: &str) -> Result<&'a DataType, PlatformError> {
    app.data_type(id).ok_or_else(|| {
        PlatformError::bad_request(format!("The application {} has no data type {id:?}.", app.id))
    })
}

/// Whether the elements take a mutation as they are: asked before its contents are taken in, so that none are in vain.
pub(super) fn check_elements(
    mutation: &Mutation,
    app: &Application,
    elements: &[StoredElement],
) -> Result<(), PlatformError> {
    for create in &mutation.create_data_elements {
        find_type(app, create.data_type.as_deref().unwrap_or_default())?;
    }
    for update in &mutation.update_data_elements {
        let before = find_element(elements, update.data_element_id)?;
        find_type(app, &before.value.data_type)?;
        check_update(update, before)?;
    }
    for removal in &mutation.delete_data_elements {
        let before = find_element(elements, removal.data_element_id)?;
        if !removal.ignore_lock {
            refuse_locked(&before.value)?;
        }
    }
    Ok(())
}
