//! Whatever we write, another implementation of Avro reads it as it is.

use std::collections::BTreeMap;

use apache_avro::Reader;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::{Change, Changed, Event, SCHEMA};
use crate::rules::avro::{Encoder, Sync, file_header, write_block};

fn texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map(".{0,6}", ".{0,6}", 0..4)
}

prop_compose! {
    fn changes()(
        etag in ".{0,20}",
        kind in ".{0,9}",
        length in any::<u64>(),
        content_type in ".{0,80}",
        (version, snapshot, tier) in (option::of(".{0,9}"), option::of(".{0,9}"), option::of(".{0,9}")),
        previous in texts(),
        properties in btree_map(".{0,6}", (".{0,6}", ".{0,6}"), 0..3),
        tags in option::of((texts(), texts())),
    ) -> Change {
        let changed = |(previous, current)| Changed { previous, current };
        let properties = properties.into_iter().map(|(name, values)| (name, changed(values)));
        Change {
            etag, kind, length, content_type, version, snapshot, tier, previous,
            properties: properties.collect(),
            tags: tags.map(|(previous, current)| Changed { previous, current }),
        }
    }
}

prop_compose! {
    fn events()(
        (account, container, blob) in (".{0,9}", ".{0,9}", ".{0,300}"),
        (id, request) in (any::<u128>(), any::<u128>()),
        (time, client_request_id, sequencer) in (".{0,9}", ".{0,9}", ".{0,9}"),
        change in changes(),
    ) -> Event {
        Event {
            named: ("BlobCreated", "PutBlob"),
            account, container, blob, time,
            id: Uuid::from_u128(id),
            request_id: Uuid::from_u128(request),
            client_request_id, sequencer, change,
        }
    }
}

/// What a reader must get.
fn expected(event: &Event) -> serde_json::Value {
    let change = &event.change;
    let properties: BTreeMap<_, _> = change
        .properties
        .iter()
        .map(|(name, values)| {
            (
                name,
                json!({ "previous": values.previous, "current": values.current }),
            )
        })
        .collect();
    json!({
        "schemaVersion": 5,
        "topic": format!(
            "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/stabbur/providers/\
             Microsoft.Storage/storageAccounts/{}", event.account),
        "subject": format!("/blobServices/default/containers/{}/blobs/{}", event.container, event.blob),
        "eventType": "BlobCreated",
        "eventTime": event.time,
        "id": event.id.to_string(),
        "data": {
            "api": "PutBlob",
            "clientRequestId": event.client_request_id,
            "requestId": event.request_id.to_string(),
            "etag": change.etag,
            "contentType": change.content_type,
            "contentLength": i64::try_from(change.length).unwrap_or(i64::MAX),
            "blobType": change.kind,
            "blobVersion": change.version,
            "containerVersion": null,
            "blobTier": change.tier,
            "url": "",
            "sequencer": event.sequencer,
            "previousInfo": (!change.previous.is_empty()).then_some(&change.previous),
            "snapshot": change.snapshot,
            "blobPropertiesUpdated": (!properties.is_empty()).then_some(&properties),
            "asyncOperationInfo": null,
            "blobTagsUpdated": change.tags.as_ref()
                .map(|tags| json!({ "previous": tags.previous, "current": tags.current })),
        },
        "metadataVersion": null,
    })
}

proptest! {
    #[test]
    fn another_reader_reads_what_was_written(blocks in vec(vec(events(), 1..4), 0..4), sync: Sync) {
        let mut file = file_header(SCHEMA, &sync);
        for events in &blocks {
            let mut block = Encoder::default();
            events.iter().for_each(|event| event.encode(&mut block));
            write_block(&mut file, events.len(), &block, &sync);
        }
        let read: Vec<serde_json::Value> = Reader::new(file.as_slice())
            .unwrap()
            .map(|record| record.unwrap().try_into().unwrap())
            .collect();
        let written: Vec<_> = blocks.iter().flatten().map(expected).collect();
        prop_assert_eq!(read, written);
    }
}
