//! Instances that came from elsewhere: written with all that belongs to them, and known to have come.
//!
//! Invariant: an instance is found only when all of it is there. What somebody has changed here since is never
//! overwritten.

use std::collections::{BTreeMap, BTreeSet};

use ledger::Transaction;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Attempts, StoredElement, View, instances::StoredInstance, keys, log, to_document};
use crate::Platform;
use crate::auth::Caller;
use crate::error::PlatformError;
use crate::import::{Incoming, Standing};
use crate::limits::{CLEANUP_ELEMENTS_PER_COMMIT_MAX, IMPORT_PART_BYTES_MAX, IMPORT_PART_WRITES_MAX};
use crate::model::{DataElement, FileScanResult, Instance, ReadStatus};

/// What is known of an instance that came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// Where it came from.
    source: String,
    /// What was read there, as SHA-256; empty if it is to be read again.
    stamp: String,
    /// What was written here, as SHA-256: all of it, or, while it is being replaced in several commits, what is here by
    /// then. Empty as long as a first import isn't through: there is no instance yet.
    here: String,
    /// It was removed here, and doesn't come again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
}

impl Record {
    fn written(&self) -> Result<Vec<u8>, PlatformError> {
        serde_json::to_vec(self).map_err(|error| PlatformError::Internal(error.to_string()))
    }

    /// Whether it is that of an instance that isn't here: its first import isn't through, or it was removed.
    pub(super) fn is_without_instance(&self) -> bool {
        self.removed || self.here.is_empty()
    }

    /// Whether a first import isn't through, so that what belongs to the instance may be here without it.
    pub(super) fn is_begun(&self) -> bool {
        !self.removed && self.here.is_empty()
    }

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

/// An import of one instance under way.
struct Writing<'a> {
    source: &'a str,
    incoming: &'a Incoming,
    view: View,
    tx: Transaction,
    /// The instance that is replaced, as `view` has it.
    known: Option<StoredInstance>,
    /// The elements as they are when `tx` is committed, by their ids.
    elements: BTreeMap<String, DataElement>,
    /// Elements whose removal `tx` holds.
    removals: usize,
}

impl Writing<'_> {
    /// Whether it holds as much as one commit should.
    fn is_full(&self) -> bool {
        self.tx.size_bytes() > IMPORT_PART_BYTES_MAX
            || self.tx.writes().len() > IMPORT_PART_WRITES_MAX
            || self.removals >= CLEANUP_ELEMENTS_PER_COMMIT_MAX
    }
}

/// SHA-256 of an instance with its elements, as documents. What changes without anybody's work on it is left out:
/// reading marks, what scans found and which content they were asked about, and elements that wait for their removal,
/// which the clean-up takes. Content that somebody replaces shows in its element's last change.
fn digest<'a>(
    instance: &Instance,
    elements: impl Iterator<Item = &'a DataElement>,
) -> Result<String, PlatformError> {
    let mut texts = elements
        .filter(|element| !element.is_hard_deleted())
        .map(|element| {
            let own = DataElement {
                is_read: false,
                file_scan_result: FileScanResult::default(),
                blob_version_id: None,
                content_replaced: false,
                ..element.clone()
            };
            Ok(to_document(&own)?.to_string())
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

fn by_id<'a>(elements: impl Iterator<Item = &'a DataElement>) -> BTreeMap<String, DataElement> {
    elements
        .map(|element| (element.id.clone(), element.clone()))
        .collect()
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
        // One that can't be read is as good as none: what is here stays.
        let record = self.import_record(view, guid).await?;
        let Some(party) = self.party_of(view, guid).await? else {
            let is_removed = record.is_some_and(|record| record.removed);
            let standing = if is_removed {
                Standing::RemovedHere
            } else {
                Standing::New
            };
            return Ok((standing, None));
        };
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
        if here != record.here {
            return Ok((Standing::ChangedHere, None));
        }
        Ok((Standing::Changed, Some((instance, elements))))
    }

    async fn import_record(&self, view: &View, guid: &Uuid) -> Result<Option<Record>, PlatformError> {
        let found = view.snapshot.get(&keys::imported(guid)).await?;
        Ok(found.and_then(|found| Record::parse(&found.value)))
    }

    /// Stages that an instance which is removed here doesn't come again, if it came.
    pub(super) async fn stage_removed_import(
        &self,
        tx: &mut Transaction,
        view: &View,
        guid: &Uuid,
    ) -> Result<(), PlatformError> {
        if let Some(record) = self.import_record(view, guid).await? {
            let removed = Record {
                removed: true,
                stamp: String::new(),
                ..record
            };
            tx.put(keys::imported(guid), removed.written()?);
        }
        Ok(())
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
            let (known, elements) = match before {
                Some((instance, elements)) => (Some(instance), elements),
                // A first import that was interrupted may have left some.
                None => (None, self.stored_elements(&view, &guid).await?),
            };
            let writing = Writing {
                source,
                incoming,
                view,
                tx: Transaction::new(),
                known,
                elements: by_id(elements.iter().map(|element| &element.value)),
                removals: 0,
            };
            if self.write_import(writing, &mut attempts).await? {
                return Ok(standing);
            }
        }
    }

    /// Writes all of it, the instance last; false if others were quicker.
    async fn write_import(
        &self,
        mut part: Writing<'_>,
        attempts: &mut Attempts,
    ) -> Result<bool, PlatformError> {
        let incoming = part.incoming;
        let (instance, guid) = (&incoming.instance, incoming.guid);
        if !self.remove_gone(&mut part, attempts).await? {
            return Ok(false);
        }
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
            part.elements.insert(element.id.clone(), element.clone());
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
        let Writing {
            view, mut tx, known, ..
        } = part;
        match &known {
            Some(known) => self.stage_instance(&mut tx, &view, known, instance).await?,
            None => self.stage_instance_creation(&mut tx, &view, instance).await?,
        }
        if instance.status.is_hard_deleted {
            tx.put(keys::deleted(&guid), instance.party().as_bytes().to_vec());
        }
        let record = Record {
            source: part.source.to_owned(),
            stamp: incoming.stamp.clone(),
            here: digest(instance, incoming.elements.iter().map(|(element, _)| element))?,
            removed: false,
        };
        require_record(&mut tx, &view, &guid).await?;
        tx.put(keys::imported(&guid), record.written()?);
        log(&mut tx, "importInstance", &id, &Caller::default());
        self.commit(tx, attempts).await
    }

    /// Removes elements that are here and don't come: gone there since, or left by a first import that was interrupted.
    async fn remove_gone(
        &self,
        part: &mut Writing<'_>,
        attempts: &mut Attempts,
    ) -> Result<bool, PlatformError> {
        let incoming = part.incoming;
        let coming: BTreeSet<&String> = incoming.elements.iter().map(|(element, _)| &element.id).collect();
        let mut gone: Vec<String> = part.elements.keys().cloned().collect();
        gone.retain(|id| !coming.contains(id));
        for id in gone {
            let guid = Uuid::parse_str(&id).unwrap_or_default();
            if let Some(element) = self.stored_element(&part.view, &incoming.guid, &guid).await? {
                let of = part
                    .known
                    .as_ref()
                    .map_or(&incoming.instance, |known| &known.value);
                self.stage_element_removal(&mut part.tx, &part.view, of, &element)
                    .await?;
                part.removals += 1;
            }
            part.elements.remove(&id);
            if part.is_full() && !self.end_part(part, attempts).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Commits a part of an instance that nothing finds yet, or that is replaced. False if others were quicker, or if
    /// somebody changed behind it what is being replaced: what then is here is looked at anew.
    async fn end_part(&self, part: &mut Writing<'_>, attempts: &mut Attempts) -> Result<bool, PlatformError> {
        let guid = part.incoming.guid;
        let mut tx = std::mem::take(&mut part.tx);
        part.removals = 0;
        let here = match &part.known {
            Some(known) => {
                self.stage_instance_stays(&mut tx, &part.view, known).await?;
                digest(&known.value, part.elements.values())?
            }
            None => String::new(),
        };
        let record = Record {
            source: part.source.to_owned(),
            stamp: String::new(),
            here,
            removed: false,
        };
        require_record(&mut tx, &part.view, &guid).await?;
        tx.put(keys::imported(&guid), record.written()?);
        if !self.commit(tx, attempts).await? {
            return Ok(false);
        }
        *attempts = Attempts::default();
        part.view = self.view().await?;
        let Some(known) = &part.known else {
            return Ok(true);
        };
        let party = known.value.party().to_owned();
        let Some(known) = self.stored_instance(&part.view, &party, &guid).await? else {
            return Ok(false);
        };
        let elements = self.stored_elements(&part.view, &guid).await?;
        let here = digest(&known.value, elements.iter().map(|element| &element.value))?;
        // The clean-up may have taken some.
        part.elements = by_id(elements.iter().map(|element| &element.value));
        part.known = Some(known);
        Ok(here == record.here)
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

/// Makes it a precondition that nobody else imports the instance meanwhile.
async fn require_record(tx: &mut Transaction, view: &View, guid: &Uuid) -> Result<(), PlatformError> {
    let key = keys::imported(guid);
    let found = view.snapshot.get(&key).await?;
    tx.require_version(key, found.map(|found| found.version));
    Ok(())
}
