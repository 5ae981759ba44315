//! Elements that wait for a scan which nobody was asked for: a release before there was an outbox wrote them, or their
//! message was put aside and dropped.

use std::collections::BTreeSet;

use ledger::{Direction, Scan, Transaction};
use uuid::Uuid;

use super::{Attempts, StoredElement, View, keys, log};
use crate::Platform;
use crate::auth::Caller;
use crate::error::PlatformError;
use crate::limits::SETTLED_ELEMENTS_PER_COMMIT_MAX;
use crate::model::{DataElement, FileScanResult};
use crate::rules::outbox::ScanMessage;

/// What was found and done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PendingScans {
    /// Instances that were looked at.
    pub instances: u64,
    /// Elements that wait and that somebody was asked about.
    pub asked_before: u64,
    /// Elements that waited for nobody, and were helped.
    pub helped: u64,
}

/// What was asked.
struct Asked {
    /// When that was so.
    view: View,
    /// Contents that a message waits for or is put aside about: elements with versions.
    contents: BTreeSet<(Uuid, String)>,
}

impl Platform {
    /// Looks at all elements. For those that wait for a scan without a message it stages one, or, with `waive`, has all
    /// that wait, message or not, wait no longer: `NotApplicable`. `progress` is told after each instance.
    ///
    /// # Errors
    /// The ledger's; what was done by then stays done.
    pub async fn settle_pending(
        &self,
        waive: bool,
        progress: &(dyn Fn(PendingScans) + Sync),
    ) -> Result<PendingScans, PlatformError> {
        let view = self.view().await?;
        let mut asked = self.asked().await?;
        let mut report = PendingScans::default();
        let mut scan = Scan::new(view.snapshot(), keys::instances(), Direction::Forward);
        while let Some(entry) = scan.next().await? {
            let party = String::from_utf8_lossy(&entry.versioned.value).into_owned();
            if let Some(guid) = keys::read_guid(&entry.key) {
                self.settle_instance(&party, &guid, waive, &mut asked, &mut report)
                    .await?;
            }
            report.instances += 1;
            progress(report);
        }
        Ok(report)
    }

    async fn asked(&self) -> Result<Asked, PlatformError> {
        let view = self.view().await?;
        let mut asked = BTreeSet::new();
        let mut note = |text: &[u8]| {
            // One that can't be read is put aside by who delivers.
            if let Ok(message) = serde_json::from_slice::<ScanMessage>(text)
                && let Ok(element) = Uuid::parse_str(&message.data_element_id)
            {
                asked.insert((element, message.blob_version_id));
            }
        };
        let mut scan = Scan::new(view.snapshot(), keys::scans_until(i64::MAX), Direction::Forward);
        while let Some(entry) = scan.next().await? {
            note(&entry.versioned.value);
        }
        let mut last = None;
        loop {
            let page = self
                .put_aside(last.as_ref(), crate::limits::PUT_ASIDE_PAGE)
                .await?;
            for message in &page {
                note(message.row.as_bytes());
            }
            match page.into_iter().next_back() {
                Some(message) => last = Some(message),
                None => break,
            }
        }
        Ok(Asked {
            view,
            contents: asked,
        })
    }

    /// Whether an element is what it was when it was looked what is asked. Whoever made it wait since asked as well.
    async fn is_as_asked(
        &self,
        asked: &Asked,
        guid: &Uuid,
        element: &StoredElement,
    ) -> Result<bool, PlatformError> {
        let id = element.value.guid().unwrap_or_default();
        let then = self.stored_element(&asked.view, guid, &id).await?;
        Ok(then.is_some_and(|then| then.etag == element.etag))
    }

    async fn settle_instance(
        &self,
        party: &str,
        guid: &Uuid,
        waive: bool,
        asked: &mut Asked,
        report: &mut PendingScans,
    ) -> Result<(), PlatformError> {
        let mut attempts = Attempts::default();
        let mut done = BTreeSet::new();
        loop {
            let view = self.view().await?;
            let Some(stored) = self.stored_instance(&view, party, guid).await? else {
                return Ok(());
            };
            let mut tx = Transaction::new();
            let mut helped = Vec::new();
            let (mut known, mut is_all, mut is_behind) = (0, true, false);
            for before in self.stored_elements(&view, guid).await? {
                let element = &before.value;
                if element.file_scan_result != FileScanResult::Pending || done.contains(&element.id) {
                    continue;
                }
                let content = element.guid().zip(element.blob_version_id.clone());
                if !waive {
                    if content.is_some_and(|content| asked.contents.contains(&content)) {
                        known += 1;
                        continue;
                    }
                    if !self.is_as_asked(asked, guid, &before).await? {
                        is_behind = true;
                        break;
                    }
                }
                if helped.len() == SETTLED_ELEMENTS_PER_COMMIT_MAX {
                    is_all = false;
                    break;
                }
                let after = if waive {
                    DataElement {
                        file_scan_result: FileScanResult::NotApplicable,
                        ..element.clone()
                    }
                } else {
                    self.asking(element)
                };
                self.stage_element(&mut tx, &view, &stored.value, &before, &after)
                    .await?;
                self.stage_scan(&mut tx, &view, &stored.value, &after).await?;
                helped.push(element.id.clone());
            }
            if is_behind {
                *asked = self.asked().await?;
                continue;
            }
            if !helped.is_empty() {
                let operation = if waive { "waiveScans" } else { "askForScans" };
                log(&mut tx, operation, &format!("{party}/{guid}"), &Caller::default());
                if !self.commit(tx, &mut attempts).await? {
                    continue;
                }
                attempts = Attempts::default();
            }
            report.helped += helped.len() as u64;
            if is_all {
                report.asked_before += known;
                return Ok(());
            }
            done.extend(helped);
        }
    }

    /// An element that the scanner is asked about. What was written before contents had versions gets one: the answer
    /// must name it.
    fn asking(&self, element: &DataElement) -> DataElement {
        let version = element.blob_version_id.clone();
        DataElement {
            content_replaced: element.content_replaced
                || version.is_none() && element.created != element.last_changed,
            blob_version_id: version.or_else(|| Some(self.content_version())),
            ..element.clone()
        }
    }
}
