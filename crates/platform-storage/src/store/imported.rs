//! Instances that came from elsewhere: written with all that belongs to them, and known to have come.
//!
//! Invariant: an instance is found only when all of it is there. What somebody has changed here since is never
//! overwritten.

use ledger::{Key, Transaction};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Attempts, StoredElement, View, instances::StoredInstance, keys, log, to_document};
use crate::Platform;
use crate::auth::Caller;
use crate::error::PlatformError;
use crate::import::{Incoming, Standing};
use crate::limits::{IMPORT_PART_BYTES_MAX, IMPORT_PART_WRITES_MAX};
use crate::model::{DataElement, Instance, ReadStatus};

/// What is known of an instance that came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// Where it came from.
    source: String,
    /// What was read there, as SHA-256; empty if it is to be read again.
    stamp: String,
    /// What was written here, as SHA-256; empty while it is being replaced in several commits.
    here: String,
}

impl Record {
    fn written(&self) -> Result<Vec<u8>, PlatformError> {
        serde_json::to_vec(self).map_err(|error| PlatformError::Internal(error.to_string()))
    }
}

/// Part of an import that is one commit.
struct Part {
    view: View,
    tx: Transaction,
    /// What must be known of an instance that is here, as long as not all of it is replaced.
    unfinished: Option<(Key, Vec<u8>)>,
}

impl Part {
    /// Whether it holds as much as one commit should.
    fn is_full(&self) -> bool {
        self.tx.size_bytes() > IMPORT_PART_BYTES_MAX || self.tx.writes().len() > IMPORT_PART_WRITES_MAX
    }
}

/// SHA-256 of an instance with its elements, as documents, whether anybody has read them or not.
fn digest<'a>(
    instance: &Instance,
    elements: impl Iterator<Item = &'a DataElement>,
) -> Result<String, PlatformError> {
    let mut texts = elements
        .map(|element| {
            let unread = DataElement {
                is_read: false,
                ..element.clone()
            };
            Ok(to_document(&unread)?.to_string())
        })
        .collect::<Result<Vec<_>, PlatformError>>()?;
    texts.sort_unstable();
    let mut unread = instance.clone();
    unread.status.read_status = ReadStatus::Unread;
    let mut hash = Sha256::new();
    hash.update(to_document(&unread)?.to_string());
    for text in texts {
        hash.update([0]);
        hash.update(text);
    }
    let digest = hash.finalize();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

impl Platform {
    /// How an instance of a source stands here.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn standing(&self, source: &str, guid: &Uuid, stamp: &str) -> Result<Standing, PlatformError> {
        let view = self.view().await?;
        let found = self.standing_in(&view, source, guid, stamp).await?;
        Ok(found.0)
    }

    async fn standing_in(
        &self,
        view: &View,
        source: &str,
        guid: &Uuid,
        stamp: &str,
    ) -> Result<(Standing, Option<(StoredInstance, Vec<StoredElement>)>), PlatformError> {
        let Some(party) = self.party_of(view, guid).await? else {
            return Ok((Standing::New, None));
        };
        let found = view.snapshot.get(&keys::imported(guid)).await?;
        // One that can't be read is as good as none: what is here stays.
        let record = found.and_then(|found| serde_json::from_slice::<Record>(&found.value).ok());
        let Some(record) = record.filter(|record| record.source == source) else {
            return Ok((Standing::NotFromThere, None));
        };
        if record.stamp == stamp && !stamp.is_empty() {
            return Ok((Standing::Known, None));
        }
        let Some(instance) = self.stored_instance(view, &party, guid).await? else {
            return Err(PlatformError::Internal(format!(
                "instance {guid} has no document"
            )));
        };
        let elements = self.stored_elements(view, guid).await?;
        let here = digest(&instance.value, elements.iter().map(|element| &element.value))?;
        if here != record.here && !record.here.is_empty() {
            return Ok((Standing::ChangedHere, None));
        }
        Ok((Standing::Changed, Some((instance, elements))))
    }

    /// Writes an instance unless it stands here in a way that forbids it; how it stood.
    ///
    /// # Errors
    /// [`PlatformError::Conflict`] if it is another party's here; the ledger's.
    pub async fn import_instance(
        &self,
        source: &str,
        incoming: &Incoming,
    ) -> Result<Standing, PlatformError> {
        let guid = incoming.guid;
        self.ensure_content_container(&incoming.instance.org).await?;
        let mut attempts = Attempts::default();
        loop {
            let view = self.view().await?;
            let (standing, before) = self.standing_in(&view, source, &guid, &incoming.stamp).await?;
            if !standing.comes() {
                return Ok(standing);
            }
            if let Some((instance, _)) = &before
                && instance.value.party() != incoming.instance.party()
            {
                return Err(PlatformError::Conflict(format!(
                    "here it is the instance of party {}",
                    instance.value.party()
                )));
            }
            if self
                .write_import(view, source, incoming, before, &mut attempts)
                .await?
            {
                return Ok(standing);
            }
        }
    }

    /// Writes all of it, the instance last; false if others were quicker.
    async fn write_import(
        &self,
        view: View,
        source: &str,
        incoming: &Incoming,
        before: Option<(StoredInstance, Vec<StoredElement>)>,
        attempts: &mut Attempts,
    ) -> Result<bool, PlatformError> {
        let (instance, guid) = (&incoming.instance, incoming.guid);
        let unfinished = Record {
            source: source.to_owned(),
            stamp: String::new(),
            here: String::new(),
        };
        let unfinished = (keys::imported(&guid), unfinished.written()?);
        let mut part = Part {
            view,
            tx: Transaction::new(),
            unfinished: before.is_some().then_some(unfinished),
        };
        for (element, content) in &incoming.elements {
            let id = element.guid().unwrap_or_default();
            let tx = &mut part.tx;
            match self.stored_element(&part.view, &guid, &id).await? {
                Some(known) => {
                    self.stage_element(tx, &part.view, instance, &known, element)
                        .await?;
                    self.stage_content(tx, &part.view, instance, element, content)
                        .await?;
                }
                None => {
                    self.stage_element_creation(tx, &part.view, instance, element, content)
                        .await?;
                }
            }
            if element.is_hard_deleted() {
                tx.put(keys::element(&guid, &id), instance.party().as_bytes().to_vec());
            }
            if part.is_full() && !self.end_part(&mut part, attempts).await? {
                return Ok(false);
            }
        }
        let id = format!("{}/{guid}", instance.party());
        for event in &incoming.events {
            let known = event.id.unwrap_or_default();
            if self.stored_event(&part.view, &id, &known).await?.is_none() {
                self.stage_event(&mut part.tx, &part.view, instance, event)
                    .await?;
            }
            if part.is_full() && !self.end_part(&mut part, attempts).await? {
                return Ok(false);
            }
        }
        let Part { view, mut tx, .. } = part;
        match &before {
            Some((known, elements)) => {
                let gone = elements.iter().filter(|element| {
                    let mut coming = incoming.elements.iter();
                    !coming.any(|(coming, _)| coming.id == element.value.id)
                });
                for element in gone {
                    self.stage_element_removal(&mut tx, &view, instance, element)
                        .await?;
                }
                self.stage_instance(&mut tx, &view, known, instance).await?;
            }
            None => self.stage_instance_creation(&mut tx, &view, instance).await?,
        }
        if instance.status.is_hard_deleted {
            tx.put(keys::deleted(&guid), instance.party().as_bytes().to_vec());
        }
        let record = Record {
            source: source.to_owned(),
            stamp: incoming.stamp.clone(),
            here: digest(instance, incoming.elements.iter().map(|(element, _)| element))?,
        };
        tx.put(keys::imported(&guid), record.written()?);
        log(&mut tx, "importInstance", &id, &Caller::default());
        self.commit(tx, attempts).await
    }

    /// Commits a part of an instance that nothing finds yet, or that is replaced; what follows is decided by what is there
    /// then.
    async fn end_part(&self, part: &mut Part, attempts: &mut Attempts) -> Result<bool, PlatformError> {
        let mut tx = std::mem::take(&mut part.tx);
        if let Some((key, record)) = &part.unfinished {
            tx.put(key.clone(), record.clone());
        }
        let is_done = self.commit(tx, attempts).await?;
        if is_done {
            part.view = self.view().await?;
        }
        Ok(is_done)
    }

    /// How far a source's app was read; `None` if it never was.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn import_position(&self, source: &str, app: &str) -> Result<Option<String>, PlatformError> {
        let snapshot = self.ledger.snapshot().await?;
        let found = snapshot.get(&keys::import(source, app)).await?;
        Ok(found.map(|found| String::from_utf8_lossy(&found.value).into_owned()))
    }

    /// Keeps how far a source's app was read.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn keep_import_position(
        &self,
        source: &str,
        app: &str,
        position: &str,
    ) -> Result<(), PlatformError> {
        let mut tx = Transaction::new();
        tx.put(keys::import(source, app), position.as_bytes().to_vec());
        self.ledger.commit(tx).await?;
        Ok(())
    }
}
