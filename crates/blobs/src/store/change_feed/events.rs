//! What the log has for a change feed, and its events as blocks of a file.

use ledger::{Keyspace, LedgerError, LogEntry, Sequence};
use uuid::Uuid;

use crate::limits::FEED_BLOCK_BYTES_MAX;
use crate::rules::avro::{self, Encoder, Sync};
use crate::rules::change_event::{self, Event};
use crate::store::change_log::{DONE, Done, REQUEST, Requested};
use crate::store::states::time_text;

/// The events of a log entry that are an account's.
pub(super) fn events_of(account: &str, entry: &LogEntry) -> Result<Vec<Event>, LedgerError> {
    let own = |kind| {
        entry
            .records
            .iter()
            .filter(move |record| record.keyspace == Keyspace::Blobs && record.kind == kind)
    };
    let damaged = |error: serde_json::Error| {
        LedgerError::Corrupt(format!("the log's entry {} of blobs: {error}", entry.sequence))
    };
    let mut events = Vec::new();
    for (number, record) in own(DONE).enumerate() {
        let done: Done = serde_json::from_slice(&record.payload).map_err(damaged)?;
        let named = change_event::named(&done.op);
        let (Some(named), Some(blob), Some(change)) = (named, done.blob, done.event) else {
            continue;
        };
        if done.account != account {
            continue;
        }
        events.push(Event {
            named,
            container: done.container,
            blob,
            time: time_text(entry.time),
            id: event_id(account, entry.sequence, number),
            request_id: Uuid::nil(),
            client_request_id: String::new(),
            sequencer: format!("{:032x}{number:016x}", entry.sequence),
            change,
            account: done.account,
        });
    }
    if let Some(record) = own(REQUEST).next().filter(|_| !events.is_empty()) {
        let requested: Requested = serde_json::from_slice(&record.payload).map_err(damaged)?;
        for event in &mut events {
            event.request_id = Uuid::try_parse(&requested.request).unwrap_or_default();
            event.client_request_id.clone_from(&requested.client);
        }
    }
    Ok(events)
}

/// The same whenever it is asked.
fn event_id(account: &str, sequence: Sequence, number: usize) -> Uuid {
    let hash = blake3::hash(format!("{account}\n{sequence}\n{number}").as_bytes());
    let bytes = hash.as_bytes().first_chunk::<16>().copied().unwrap_or_default();
    Uuid::from_bytes(bytes)
}

/// Events as blocks of a file.
pub(super) fn blocks(out: &mut Vec<u8>, events: &[Event], sync: &Sync) {
    let (mut block, mut records) = (Encoder::default(), 0);
    for event in events {
        event.encode(&mut block);
        records += 1;
        if block.len() >= FEED_BLOCK_BYTES_MAX {
            avro::write_block(out, records, &block, sync);
            (block, records) = (Encoder::default(), 0);
        }
    }
    if records > 0 {
        avro::write_block(out, records, &block, sync);
    }
}
