//! Removes what was deleted long enough ago: documents, blobs, rows, each step one commit, so a
//! job that is cut off leaves nothing half done.

use std::time::Duration;

use ledger::{Direction, KeyRange, Scan, Transaction};
use serde::Serialize;
use uuid::Uuid;

use crate::Platform;
use crate::auth::Caller;
use crate::error::PlatformError;
use crate::limits::{
    CLEANUP_ELEMENTS_PER_COMMIT_MAX, CLEANUP_EVENTS_PER_COMMIT_MAX, CLEANUP_PAGE_ENTRIES, CLEANUP_SECONDS_MAX,
};
use crate::model::Moment;
use crate::rules::cleanup;
use crate::rules::names::AppId;
use crate::store::{Attempts, keys, log};

/// What a job did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct CleanupReport {
    /// Instances removed.
    pub instances: u64,
    /// Data elements removed, those of removed instances included.
    pub elements: u64,
    /// Instances or elements that are due and couldn't be removed, such as those whose content is leased.
    /// The log says why; the next run tries them again.
    pub failed: u64,
    /// Whether all was looked at; if not, time was up and calling again goes on.
    pub complete: bool,
}

/// Which instances a job removes, and whether their events go in any case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Due,
    All,
}

/// Notes that one thing couldn't be removed, and how many that were: the rest doesn't wait for it. A
/// ledger that takes no writes would refuse the rest, too, and ends the job.
fn go_on(what: &str, error: PlatformError) -> Result<u64, PlatformError> {
    match error {
        PlatformError::Unavailable(_) | PlatformError::Full => Err(error),
        error => {
            tracing::warn!(what, %error, "couldn't be removed; the next clean-up tries it again");
            Ok(1)
        }
    }
}

impl Platform {
    /// Removes hard-deleted instances whose time has come.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn clean_up_instances(&self) -> Result<CleanupReport, PlatformError> {
        self.clean_up(keys::all_deleted(), Which::Due).await
    }

    /// Removes every instance of an app, with its events.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn clean_up_app(&self, app: &AppId) -> Result<CleanupReport, PlatformError> {
        let range = KeyRange::prefix(&keys::list(keys::List::App, &app.to_string()));
        self.clean_up(range, Which::All).await
    }

    /// Removes data elements whose time has come.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn clean_up_elements(&self) -> Result<CleanupReport, PlatformError> {
        let mut report = CleanupReport::default();
        let began = self.clock.monotonic();
        let mut rest = Some(keys::all_elements());
        while let Some(range) = rest {
            let (page, behind) = self.page(range).await?;
            rest = behind;
            for (key, value) in page {
                if self.is_late(began) {
                    return Ok(report);
                }
                let Some((instance, element)) = keys::read_element(&key) else {
                    continue;
                };
                let party = String::from_utf8_lossy(&value).into_owned();
                match self.clean_up_element(&party, &instance, &element).await {
                    Ok(removed) => report.elements += u64::from(removed),
                    Err(error) => {
                        let what = format!("data element {element} of instance {instance}");
                        report.failed += go_on(&what, error)?;
                    }
                }
            }
        }
        report.complete = true;
        Ok(report)
    }

    async fn clean_up(&self, range: KeyRange, which: Which) -> Result<CleanupReport, PlatformError> {
        let mut report = CleanupReport::default();
        let began = self.clock.monotonic();
        let mut rest = Some(range);
        while let Some(range) = rest {
            let (page, behind) = self.page(range).await?;
            rest = behind;
            for (key, _) in page {
                if self.is_late(began) {
                    return Ok(report);
                }
                let guid = match which {
                    Which::Due => keys::read_guid(&key),
                    Which::All => keys::read_list_row(&key).map(|(_, guid)| guid),
                };
                let Some(guid) = guid else { continue };
                match self.clean_up_instance(&guid, which).await {
                    Ok(Some(elements)) => {
                        report.instances += 1;
                        report.elements += elements;
                    }
                    Ok(None) => {}
                    Err(error) => report.failed += go_on(&format!("instance {guid}"), error)?,
                }
            }
        }
        report.complete = true;
        Ok(report)
    }

    fn is_late(&self, began: Duration) -> bool {
        self.clock.monotonic().saturating_sub(began) > Duration::from_secs(CLEANUP_SECONDS_MAX)
    }

    /// Some entries of a range and what is left of it.
    async fn page(
        &self,
        range: KeyRange,
    ) -> Result<(Vec<(ledger::Key, bytes::Bytes)>, Option<KeyRange>), PlatformError> {
        let snapshot = self.ledger.snapshot().await?;
        let mut scan = Scan::new(snapshot.as_ref(), range.clone(), Direction::Forward);
        let mut page = Vec::new();
        while page.len() < CLEANUP_PAGE_ENTRIES {
            let Some(entry) = scan.next().await? else {
                return Ok((page, None));
            };
            page.push((entry.key, entry.versioned.value));
        }
        let start = page.last().map(|(key, _)| key.successor());
        let rest = start.map(|start| KeyRange {
            start,
            end: range.end,
        });
        Ok((page, rest))
    }

    /// Removes an instance; how many elements went with it, `None` if it stays.
    async fn clean_up_instance(&self, guid: &Uuid, which: Which) -> Result<Option<u64>, PlatformError> {
        let mut attempts = Attempts::default();
        let mut removed = 0;
        loop {
            let view = self.view().await?;
            let Some(party) = self.party_of(&view, guid).await? else {
                return Ok(None);
            };
            let Some(stored) = self.stored_instance(&view, &party, guid).await? else {
                return Ok(None);
            };
            let instance = &stored.value;
            if which == Which::Due && !cleanup::instance_is_due(instance, Moment::stamped(self.clock.now())) {
                return Ok(None);
            }
            let mut tx = Transaction::new();
            let elements = self.stored_elements(&view, guid).await?;
            for element in elements.iter().take(CLEANUP_ELEMENTS_PER_COMMIT_MAX) {
                self.stage_element_removal(&mut tx, &view, instance, element)
                    .await?;
            }
            let mut is_last = elements.len() <= CLEANUP_ELEMENTS_PER_COMMIT_MAX;
            let events_go = which == Which::All
                || self
                    .application_of(&view, &instance.app_id)
                    .await?
                    .is_some_and(|app| app.auto_delete_on_process_end);
            if is_last && events_go {
                let id = format!("{party}/{guid}");
                let events = self.stored_events(&view, &id).await?;
                for event in events.iter().take(CLEANUP_EVENTS_PER_COMMIT_MAX) {
                    self.stage_event_removal(&mut tx, &view, &id, event).await?;
                }
                is_last = events.len() <= CLEANUP_EVENTS_PER_COMMIT_MAX;
            }
            if is_last {
                self.stage_instance_removal(&mut tx, &view, &stored).await?;
                log(
                    &mut tx,
                    "removeInstance",
                    &format!("{party}/{guid}"),
                    &Caller::default(),
                );
            }
            if self.commit(tx, &mut attempts).await? {
                removed += elements.len().min(CLEANUP_ELEMENTS_PER_COMMIT_MAX) as u64;
                attempts = Attempts::default();
                if is_last {
                    return Ok(Some(removed));
                }
            }
        }
    }

    /// Removes an element if its time has come; whether it did.
    async fn clean_up_element(
        &self,
        party: &str,
        instance: &Uuid,
        element: &Uuid,
    ) -> Result<bool, PlatformError> {
        let mut attempts = Attempts::default();
        loop {
            let view = self.view().await?;
            let Some(stored) = self.stored_instance(&view, party, instance).await? else {
                return Ok(false);
            };
            let Some(found) = self.stored_element(&view, instance, element).await? else {
                return Ok(false);
            };
            let now = Moment::stamped(self.clock.now());
            if !cleanup::element_is_due(&found.value, &stored.value, now) {
                return Ok(false);
            }
            let mut tx = Transaction::new();
            self.stage_element_removal(&mut tx, &view, &stored.value, &found)
                .await?;
            let subject = format!("{party}/{instance}/data/{element}");
            log(&mut tx, "removeDataElement", &subject, &Caller::default());
            if self.commit(tx, &mut attempts).await? {
                return Ok(true);
            }
        }
    }
}
