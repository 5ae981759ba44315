//! What waits to be told to others: contents to scan, instances that the portal shows. What the messages say, when
//! they are due, and when a failed one is tried again.

use serde::{Deserialize, Serialize};

use crate::limits::{DELIVERY_RETRY_SECONDS_MAX, DELIVERY_RETRY_SECONDS_MIN};
use crate::model::event::kind;
use crate::model::{Application, DataElement, Instance, InstanceEvent, Moment};

/// The outboxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outbox {
    /// Contents to scan.
    Scan,
    /// Instances that the portal is to be told of.
    Portal,
}

/// A content that waits to be scanned, as it is kept and, save for the counters, sent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScanMessage {
    /// The element's guid.
    pub data_element_id: String,
    /// `{party}/{guid}`
    pub instance_id: String,
    /// The file's name.
    pub filename: Option<String>,
    /// When the content was written.
    pub timestamp: Option<Moment>,
    /// The blob that holds it.
    pub blob_storage_path: Option<String>,
    /// Which content it is: the answer must name it.
    pub blob_version_id: String,
    /// The owner's code.
    pub org: String,
    /// The owner's storage account, if it has several.
    pub storage_account_number: Option<i64>,
    /// Deliveries that failed.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// Those of them that the receiver refused.
    #[serde(skip_serializing_if = "is_zero")]
    pub refusals: u32,
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes fields by reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl ScanMessage {
    /// The message for an element's content as it is now; `None` if it has no version.
    #[must_use]
    pub fn new(instance: &Instance, element: &DataElement, app: Option<&Application>) -> Option<Self> {
        Some(Self {
            data_element_id: element.id.clone(),
            instance_id: format!("{}/{}", instance.party(), instance.guid()?),
            filename: element.filename.clone(),
            timestamp: element.last_changed,
            blob_storage_path: element.blob_storage_path.clone(),
            blob_version_id: element.blob_version_id.clone()?,
            org: instance.org.clone(),
            storage_account_number: app.and_then(|app| app.storage_account_number),
            attempts: 0,
            refusals: 0,
        })
    }

    /// The message as it is sent.
    ///
    /// # Errors
    /// None that a message can cause; as serde.
    pub fn message(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Self {
            attempts: 0,
            refusals: 0,
            ..self.clone()
        })
    }
}

/// An instance that the portal is to be told of. There is at most one row for each.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncRow {
    /// `{org}/{app}`
    pub app_id: String,
    /// The owner's party.
    pub party_id: String,
    /// The instance's guid.
    pub instance_id: String,
    /// When it was created.
    pub instance_created_at: Option<Moment>,
    /// What happened first.
    pub event_type: String,
    /// When it is due, in microseconds since 1970.
    pub due: i64,
    /// Deliveries that failed.
    #[serde(default)]
    pub attempts: u32,
    /// Those of them that the receiver refused.
    #[serde(default)]
    pub refusals: u32,
    /// Events that the row stands for: another one while it is being delivered makes it stay.
    #[serde(default)]
    pub events: u64,
}

/// What is sent of a row: the portal's adapter reads the instance itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SyncCommand<'a> {
    app_id: &'a str,
    party_id: &'a str,
    instance_id: &'a str,
    instance_created_at: Option<Moment>,
    is_migration: bool,
    event_type: &'a str,
}

impl SyncRow {
    /// The row behind `event` at `now`, in the place of `before`: the earliest wins.
    #[must_use]
    pub fn after(before: Option<&Self>, instance: &Instance, event: &InstanceEvent, now: i64) -> Self {
        let due = now.saturating_add(delay_seconds(event).saturating_mul(1_000_000));
        match before {
            Some(before) => Self {
                due: before.due.min(due),
                // An urgent event doesn't wait for the end of a failed one's pause.
                attempts: if due < before.due { 0 } else { before.attempts },
                events: before.events.saturating_add(1),
                ..before.clone()
            },
            None => Self {
                app_id: instance.app_id.clone(),
                party_id: instance.party().to_owned(),
                instance_id: instance.guid().map(|guid| guid.to_string()).unwrap_or_default(),
                instance_created_at: instance.created,
                event_type: event.event_type.clone().unwrap_or_default(),
                due,
                attempts: 0,
                refusals: 0,
                events: 1,
            },
        }
    }

    /// The message.
    ///
    /// # Errors
    /// None that a row can cause; as serde.
    pub fn message(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&SyncCommand {
            app_id: &self.app_id,
            party_id: &self.party_id,
            instance_id: &self.instance_id,
            instance_created_at: self.instance_created_at,
            is_migration: false,
            event_type: &self.event_type,
        })
    }
}

/// A message that nobody takes, kept for people to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeadLetter {
    /// Why it is here.
    pub cause: String,
    /// The row as it was.
    pub row: String,
}

/// How long an event waits for others of its instance.
fn delay_seconds(event: &InstanceEvent) -> i64 {
    let named = event.event_type.as_deref().unwrap_or_default();
    let is = |kind: &str| named.eq_ignore_ascii_case(kind);
    if is(kind::DELETED) || is(kind::CREATED) && event.data_id.is_none() {
        return 0;
    }
    let is_slow = is(kind::SAVED)
        || is(kind::SUBSTATUS_UPDATED)
        || named
            .get(..8)
            .is_some_and(|prefix| prefix.eq_ignore_ascii_case("process_"));
    if is_slow { 60 } else { 5 }
}

/// When a message whose delivery failed `attempts` times is tried again, in microseconds since 1970.
#[must_use]
pub fn again(now: i64, attempts: u32) -> i64 {
    let doubled = DELIVERY_RETRY_SECONDS_MIN.saturating_mul(1 << attempts.saturating_sub(1).min(20));
    now.saturating_add(doubled.min(DELIVERY_RETRY_SECONDS_MAX).saturating_mul(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, data: Option<&str>) -> InstanceEvent {
        InstanceEvent {
            event_type: Some(kind.to_owned()),
            data_id: data.map(str::to_owned),
            ..InstanceEvent::default()
        }
    }

    #[test]
    fn the_earliest_wins_and_each_event_counts() {
        let instance = Instance {
            app_id: "ttd/a".to_owned(),
            ..Instance::default()
        };
        let second = 1_000_000;
        let first = SyncRow::after(None, &instance, &event("Saved", Some("x")), 0);
        assert_eq!((first.due, first.events), (60 * second, 1));
        let later = SyncRow::after(
            Some(&first),
            &instance,
            &event("process_EndTask", None),
            30 * second,
        );
        assert_eq!(
            (later.due, later.events, later.event_type.as_str()),
            (60 * second, 2, "Saved")
        );
        let urgent = SyncRow::after(Some(&later), &instance, &event("Deleted", None), 31 * second);
        assert_eq!((urgent.due, urgent.events), (31 * second, 3));
        for (kind, data, delay) in [
            ("Created", None, 0),
            ("Created", Some("x"), 5),
            ("Submited", None, 5),
            ("Signed", None, 5),
            ("process_StartEvent", None, 60),
            ("SubstatusUpdated", None, 60),
        ] {
            assert_eq!(delay_seconds(&event(kind, data)), delay, "{kind}");
        }
        let text = String::from_utf8(first.message().unwrap()).unwrap();
        assert!(
            text.contains("\"AppId\":\"ttd/a\"") && text.contains("\"IsMigration\":false"),
            "{text}"
        );
    }

    #[test]
    fn pauses_grow_and_end_somewhere() {
        let seconds = |attempts| again(0, attempts) / 1_000_000;
        assert_eq!(seconds(1), DELIVERY_RETRY_SECONDS_MIN);
        assert_eq!(seconds(2), 2 * DELIVERY_RETRY_SECONDS_MIN);
        assert_eq!(seconds(30), DELIVERY_RETRY_SECONDS_MAX);
        assert_eq!(seconds(u32::MAX), DELIVERY_RETRY_SECONDS_MAX);
    }
}
