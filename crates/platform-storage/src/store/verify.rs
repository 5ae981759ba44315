//! Checks that instances and what finds them agree, both ways, as do elements and records of imports with instances, and
//! that each element has its blob.

use ledger::{Direction, KeyRange, LedgerError, Scan, Snapshot, VerifyReport};

use uuid::Uuid;

use super::imported::Record;
use super::keys::List;
use super::{View, instances, keys};
use crate::Platform;
use crate::error::PlatformError;
use crate::model::{DataElement, Instance};

impl Platform {
    /// Adds what is wrong to the report. An error is one of reading, not of what was read.
    ///
    /// # Errors
    /// The ledger's.
    pub async fn verify(&self, report: &mut VerifyReport) -> Result<(), LedgerError> {
        match self.verify_all(report).await {
            Ok(()) => Ok(()),
            Err(PlatformError::Unavailable(cause)) => Err(LedgerError::Unavailable(cause)),
            Err(error) => {
                report.fault(format!("platform storage: {error}"));
                Ok(())
            }
        }
    }

    async fn verify_all(&self, report: &mut VerifyReport) -> Result<(), PlatformError> {
        let view = self.view().await?;
        let kinds = self.complete_kinds(&view).await?;
        let mut wanted_rows = 0_u64;
        let mut scan = Scan::new(view.snapshot(), keys::instances(), Direction::Forward);
        while let Some(entry) = scan.next().await? {
            report.records += 1;
            let party = String::from_utf8_lossy(&entry.versioned.value).into_owned();
            let Some(guid) = keys::read_guid(&entry.key) else {
                report.fault(format!("platform storage: the key {:?} is malformed", entry.key));
                continue;
            };
            match self.stored_instance(&view, &party, &guid).await? {
                None => report.fault(format!(
                    "platform storage: instance {party}/{guid} has no document"
                )),
                Some(stored) => {
                    wanted_rows += verify_rows(&view, &kinds, &stored.value, report).await?;
                    self.verify_elements(&view, &stored.value, report).await?;
                }
            }
        }
        let mut found = 0;
        for list in kinds {
            found += count(view.snapshot(), keys::lists(list)).await?;
        }
        if found != wanted_rows {
            report.fault(format!(
                "platform storage: the lists have {found} rows, the instances ask for {wanted_rows}"
            ));
        }
        self.verify_records(&view, report).await?;
        self.verify_owners(&view, report).await
    }

    /// Whether what is known of instances that came agrees with the instances that are here.
    async fn verify_records(&self, view: &View, report: &mut VerifyReport) -> Result<(), PlatformError> {
        let mut scan = Scan::new(view.snapshot(), keys::all_imported(), Direction::Forward);
        while let Some(entry) = scan.next().await? {
            report.records += 1;
            let (Some(guid), Some(record)) =
                (keys::read_guid(&entry.key), Record::parse(&entry.versioned.value))
            else {
                report.fault(format!(
                    "platform storage: the import record {:?} is malformed",
                    entry.key
                ));
                continue;
            };
            let is_here = self.party_of(view, &guid).await?.is_some();
            if is_here == record.is_without_instance() {
                let is = if is_here { "is" } else { "isn't" };
                report.fault(format!(
                    "platform storage: instance {guid} {is} here; the record of its import says otherwise"
                ));
            }
        }
        Ok(())
    }

    /// Whether each element has its instance, or one whose first import isn't through.
    async fn verify_owners(&self, view: &View, report: &mut VerifyReport) -> Result<(), PlatformError> {
        let mut from = Some(0);
        let mut last: Option<Uuid> = None;
        while let Some(number) = from {
            let page = self
                .documents
                .stored_page(view.snapshot(), &view.containers.data_elements, number)
                .await?;
            for item in &page.items {
                let element: DataElement = serde_json::from_slice(&item.text)
                    .map_err(|error| PlatformError::Internal(format!("an element: {error}")))?;
                let Ok(guid) = Uuid::parse_str(&element.instance_guid) else {
                    report.fault(format!(
                        "platform storage: element {} names no instance",
                        element.id
                    ));
                    continue;
                };
                if last == Some(guid) {
                    continue;
                }
                if self.party_of(view, &guid).await?.is_none() {
                    let found = view.snapshot.get(&keys::imported(&guid)).await?;
                    let record = found.and_then(|found| Record::parse(&found.value));
                    if !record.is_some_and(|record| record.is_begun()) {
                        report.fault(format!(
                            "platform storage: element {} is of instance {guid}, which isn't here",
                            element.id
                        ));
                        continue;
                    }
                }
                last = Some(guid);
            }
            from = page.next;
        }
        Ok(())
    }

    /// The kinds of lists that have rows of all instances.
    async fn complete_kinds(&self, view: &View) -> Result<Vec<List>, PlatformError> {
        let mut kinds = List::FIRST.to_vec();
        if self.has_added_lists(view).await? {
            kinds.extend(List::ADDED);
        }
        Ok(kinds)
    }

    async fn verify_elements(
        &self,
        view: &View,
        instance: &Instance,
        report: &mut VerifyReport,
    ) -> Result<(), PlatformError> {
        let elements = self.stored_elements(view, &instances::guid_of(instance)?).await?;
        for element in elements {
            report.records += 1;
            let opened = self.open_content(view, instance, &element.value).await;
            let fault = match opened {
                Ok(content) if i64::try_from(content.length_bytes) == Ok(element.value.size) => continue,
                Ok(content) => format!(
                    "its blob has {} bytes, its document says {}",
                    content.length_bytes, element.value.size
                ),
                Err(error) => error.to_string(),
            };
            report.fault(format!(
                "platform storage: element {} of instance {}: {fault}",
                element.value.id, instance.id
            ));
        }
        Ok(())
    }
}

async fn count(snapshot: &dyn Snapshot, range: KeyRange) -> Result<u64, PlatformError> {
    let mut scan = Scan::new(snapshot, range, Direction::Forward);
    let mut found = 0;
    while scan.next().await?.is_some() {
        found += 1;
    }
    Ok(found)
}

/// Whether the rows of an instance are there; how many it asks for.
async fn verify_rows(
    view: &View,
    kinds: &[List],
    instance: &Instance,
    report: &mut VerifyReport,
) -> Result<u64, PlatformError> {
    let (mut keys, value) = instances::rows(instance)?;
    keys.retain(|key| kinds.iter().any(|list| keys::lists(*list).contains(key)));
    for (key, found) in keys.iter().zip(view.snapshot.get_many(&keys).await?) {
        report.records += 1;
        if found.is_none_or(|found| found.value != value) {
            report.fault(format!(
                "platform storage: a list row of instance {} is missing or differs ({key:?})",
                instance.id
            ));
        }
    }
    Ok(keys.len() as u64)
}
