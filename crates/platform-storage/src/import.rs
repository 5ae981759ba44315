//! Instances, applications and texts that come from elsewhere, made fit for this server before they are written.
//!
//! What a source says keeps its guids, its times, its names. Where content lies, and what links lead where, is this
//! server's own.

use std::collections::BTreeSet;

use blobs::StagedContent;
use http_semantics::Body;
use ledger::Transaction;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::Platform;
use crate::auth::Caller;
use crate::error::PlatformError;
use crate::limits::{DATA_BYTES_MAX, ELEMENTS_PER_INSTANCE_MAX, EVENTS_PER_INSTANCE_MAX};
use crate::model::application::with_proper_names;
use crate::model::{Application, DataElement, Instance, InstanceEvent, Moment, TextResource, relaxed};
use crate::rules::names::{self, AppId};
use crate::rules::{content_version, versions};
use crate::store::{Attempts, log, text_id};

/// How an instance of a source stands here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It isn't here.
    New,
    /// It came, and the source says what it said then.
    Known,
    /// It came, and the source says something else since.
    Changed,
    /// It came, and was changed here since.
    ChangedHere,
    /// It came, and was removed here since.
    RemovedHere,
    /// It is here, and didn't come from this source.
    NotFromThere,
}

impl Standing {
    /// Whether it is to be written.
    #[must_use]
    pub fn comes(self) -> bool {
        matches!(self, Self::New | Self::Changed)
    }
}

/// An instance with all that belongs to it, as it will be written.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub(crate) guid: Uuid,
    pub(crate) instance: Instance,
    pub(crate) elements: Vec<(DataElement, StagedContent)>,
    pub(crate) events: Vec<InstanceEvent>,
    pub(crate) stamp: String,
}

fn refused(why: impl Into<String>) -> PlatformError {
    PlatformError::BadRequest(why.into())
}

/// What an instance's metadata says, if it can be one's; its guid.
///
/// # Errors
/// [`PlatformError::BadRequest`]: why it can't be one.
pub fn check_instance(instance: &Instance) -> Result<Uuid, PlatformError> {
    let guid = instance
        .guid()
        .ok_or_else(|| refused(format!("its id {:?} has no guid", instance.id)))?;
    if instance.party().parse::<i32>().is_err() {
        return Err(refused(format!(
            "its owner's party {:?} is no number",
            instance.party()
        )));
    }
    match AppId::parse(&instance.app_id) {
        Some(app) if app.org == instance.org => Ok(guid),
        Some(_) => Err(refused(format!(
            "its org {:?} isn't that of its app {:?}",
            instance.org, instance.app_id
        ))),
        None => Err(refused(format!(
            "its app {:?} isn't like org/app",
            instance.app_id
        ))),
    }
}

impl Incoming {
    /// An instance with its elements and their contents. `stamp` stands for what the source says, and is empty if the
    /// instance is to be read again the next time.
    ///
    /// # Errors
    /// [`PlatformError::BadRequest`]: what can't be kept as it is.
    pub fn new(
        platform: &Platform,
        instance: Instance,
        elements: Vec<(DataElement, StagedContent)>,
        events: Vec<InstanceEvent>,
        stamp: String,
    ) -> Result<Self, PlatformError> {
        let guid = check_instance(&instance)?;
        if elements.len() > ELEMENTS_PER_INSTANCE_MAX || events.len() > EVENTS_PER_INSTANCE_MAX {
            return Err(refused(format!(
                "it has {} elements and {} events; {ELEMENTS_PER_INSTANCE_MAX} and {EVENTS_PER_INSTANCE_MAX} are kept",
                elements.len(),
                events.len()
            )));
        }
        if versions::is_processing(&instance) {
            return Err(refused(
                "its process is going on by itself; import it when that is over",
            ));
        }
        let now = Moment::stamped(platform.clock.now());
        let instance = Instance {
            id: guid.to_string(),
            self_links: None,
            data: None,
            created: instance.created.or(instance.last_changed).or(Some(now)),
            last_changed: instance.last_changed.or(instance.created).or(Some(now)),
            ..instance
        };
        let mut ids = BTreeSet::new();
        let elements = elements
            .into_iter()
            .map(|(element, content)| {
                let element = element_of(platform, &instance, &guid, element, &content)?;
                if !ids.insert(element.id.clone()) {
                    return Err(refused(format!("its element {} comes twice", element.id)));
                }
                Ok((element, content))
            })
            .collect::<Result<Vec<_>, PlatformError>>()?;
        let id = format!("{}/{guid}", instance.party());
        let mut ids = BTreeSet::new();
        let events = events
            .into_iter()
            .map(|event| event_of(&instance, &id, event))
            .filter(|event| event.as_ref().map_or(true, |event| ids.insert(event.id)))
            .collect::<Result<Vec<_>, PlatformError>>()?;
        Ok(Self {
            guid,
            instance,
            elements,
            events,
            stamp,
        })
    }
}

fn element_of(
    platform: &Platform,
    instance: &Instance,
    guid: &Uuid,
    element: DataElement,
    content: &StagedContent,
) -> Result<DataElement, PlatformError> {
    let id = element
        .guid()
        .ok_or_else(|| refused(format!("its element {:?} has no guid", element.id)))?;
    let is_elsewhere =
        !element.instance_guid.is_empty() && Uuid::parse_str(&element.instance_guid).ok() != Some(*guid);
    if is_elsewhere {
        return Err(refused(format!(
            "its element {id} says that it is of instance {:?}",
            element.instance_guid
        )));
    }
    if element.data_type.is_empty() {
        return Err(refused(format!("its element {id} has no data type")));
    }
    let version = element
        .blob_version_id
        .filter(|version| content_version::is_version(version));
    Ok(DataElement {
        id: id.to_string(),
        instance_guid: guid.to_string(),
        self_links: None,
        blob_storage_path: Some(names::blob(&instance.app_id, &guid.to_string(), &id.to_string())),
        size: i64::try_from(content.length_bytes).unwrap_or(i64::MAX),
        blob_version_id: version.or_else(|| Some(platform.content_version())),
        // Whether it was can't be known; that it wasn't can.
        content_replaced: element.created != element.last_changed,
        created: element.created.or(instance.created),
        last_changed: element.last_changed.or(element.created).or(instance.created),
        ..element
    })
}

fn event_of(instance: &Instance, id: &str, event: InstanceEvent) -> Result<InstanceEvent, PlatformError> {
    if event.id.is_none_or(|id| id.is_nil()) {
        return Err(refused("one of its events has no id"));
    }
    if event.instance_id.as_deref().is_some_and(|of| of != id) {
        return Err(refused(format!(
            "its event {:?} says that it is of instance {:?}",
            event.id, event.instance_id
        )));
    }
    Ok(InstanceEvent {
        instance_id: Some(id.to_owned()),
        created: event.created.or(instance.created),
        instance_owner_party_id: event
            .instance_owner_party_id
            .or_else(|| instance.instance_owner.party_id.clone()),
        ..event
    })
}

impl Platform {
    /// Takes in the content of an element that comes: nothing refers to it yet.
    ///
    /// # Errors
    /// [`PlatformError::TooLarge`]; the store's; [`PlatformError::BadRequest`] if the source breaks off.
    pub async fn take_content(&self, body: Body) -> Result<StagedContent, PlatformError> {
        let account = &self.settings.blobs_account;
        Ok(self.blobs.write_content(account, body, DATA_BYTES_MAX).await?)
    }

    /// Whether an application is here.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn has_application(&self, app: &AppId) -> Result<bool, PlatformError> {
        let view = self.view().await?;
        Ok(self.stored_application(&view, app).await?.is_some())
    }

    /// Keeps an application's metadata unless there is some; whether it did.
    ///
    /// # Errors
    /// [`PlatformError::BadRequest`] if it is none; the ledger's.
    pub async fn import_application(&self, object: Map<String, Value>) -> Result<bool, PlatformError> {
        let mut object = with_proper_names(object);
        let id = object.get("id").and_then(Value::as_str).unwrap_or_default();
        let app = AppId::parse(id)
            .ok_or_else(|| refused(format!("the application's id {id:?} isn't like org/app")))?;
        object.insert("org".to_owned(), app.org.clone().into());
        let read: Result<Application, _> = relaxed::from_value(Value::Object(object.clone()));
        read.map_err(|error| refused(format!("the application's metadata can't be understood: {error}")))?;
        let now = Moment::stamped(self.clock.now()).to_string();
        for name in ["created", "lastChanged", "validFrom"] {
            object.entry(name).or_insert_with(|| now.clone().into());
        }
        let mut attempts = Attempts::default();
        loop {
            let view = self.view().await?;
            if self.stored_application(&view, &app).await?.is_some() {
                return Ok(false);
            }
            let mut tx = Transaction::new();
            self.stage_application(&mut tx, &view, &app, None, object.clone())
                .await?;
            log(&mut tx, "importApplication", &app.to_string(), &Caller::default());
            if self.commit(tx, &mut attempts).await? {
                return Ok(true);
            }
        }
    }

    /// Keeps an application's texts in one language unless there are some; whether it did.
    ///
    /// # Errors
    /// [`PlatformError::BadRequest`] if the language is none; the ledger's.
    pub async fn import_text(&self, app: &AppId, mut text: TextResource) -> Result<bool, PlatformError> {
        if !names::is_language(&text.language) {
            return Err(refused(format!("the language {:?} is none", text.language)));
        }
        text.language = text.language.to_lowercase();
        text.id = text_id(app, &text.language);
        text.org.clone_from(&app.org);
        let mut attempts = Attempts::default();
        loop {
            let view = self.view().await?;
            if self.stored_text(&view, app, &text.language).await?.is_some() {
                return Ok(false);
            }
            let mut tx = Transaction::new();
            self.stage_text(&mut tx, &view, &text).await?;
            log(&mut tx, "importText", &text.id, &Caller::default());
            if self.commit(tx, &mut attempts).await? {
                return Ok(true);
            }
        }
    }
}
