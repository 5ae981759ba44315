//! Events of the change feed: which operations make which, what the ledger's log says for them, and how readers
//! get them.
//!
//! Source: "Change feed support in Azure Blob Storage", "Event record schemas", version 5; "Azure Event Grid event
//! schema for Blob Storage".

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::rules::avro::Encoder;
use crate::rules::tags::Tags;

/// The version of the records' schema, as the protocol counts.
const SCHEMA_VERSION: i64 = 5;

/// The records' schema. What may be missing is a union with `null`; what may be one of several names is a string,
/// so that a name that comes later changes no schema.
pub const SCHEMA: &str = concat!(
    r#"{"type":"record","name":"BlobChangeEvent","fields":["#,
    r#"{"name":"schemaVersion","type":"long"},"#,
    r#"{"name":"topic","type":"string"},"#,
    r#"{"name":"subject","type":"string"},"#,
    r#"{"name":"eventType","type":"string"},"#,
    r#"{"name":"eventTime","type":"string"},"#,
    r#"{"name":"id","type":"string"},"#,
    r#"{"name":"data","type":{"type":"record","name":"BlobChangeEventData","fields":["#,
    r#"{"name":"api","type":"string"},"#,
    r#"{"name":"clientRequestId","type":"string"},"#,
    r#"{"name":"requestId","type":"string"},"#,
    r#"{"name":"etag","type":"string"},"#,
    r#"{"name":"contentType","type":"string"},"#,
    r#"{"name":"contentLength","type":"long"},"#,
    r#"{"name":"blobType","type":"string"},"#,
    r#"{"name":"blobVersion","type":["null","string"]},"#,
    r#"{"name":"containerVersion","type":["null","string"]},"#,
    r#"{"name":"blobTier","type":["null","string"]},"#,
    r#"{"name":"url","type":"string"},"#,
    r#"{"name":"sequencer","type":"string"},"#,
    r#"{"name":"previousInfo","type":["null",{"type":"map","values":"string"}]},"#,
    r#"{"name":"snapshot","type":["null","string"]},"#,
    r#"{"name":"blobPropertiesUpdated","type":["null",{"type":"map","values":{"type":"map","values":"string"}}]},"#,
    r#"{"name":"asyncOperationInfo","type":["null",{"type":"map","values":"string"}]},"#,
    r#"{"name":"blobTagsUpdated","type":["null",{"type":"map","values":{"type":"map","values":"string"}}]}"#,
    r#"]}},"#,
    r#"{"name":"metadataVersion","type":["null","string"]}"#,
    r#"]}"#,
);

/// Event and operation, as readers call them, of what the log calls `op`; `None` for what makes no event.
#[must_use]
pub fn named(op: &str) -> Option<(&'static str, &'static str)> {
    Some(match op {
        "put" => ("BlobCreated", "PutBlob"),
        "putBlockList" => ("BlobCreated", "PutBlockList"),
        "copy" => ("BlobCreated", "CopyBlob"),
        "undelete" => ("BlobCreated", "UndeleteBlob"),
        "setProperties" => ("BlobPropertiesUpdated", "SetBlobProperties"),
        "setMetadata" => ("BlobPropertiesUpdated", "SetBlobMetadata"),
        "setTags" => ("BlobPropertiesUpdated", "SetBlobTags"),
        "setTier" => ("BlobTierChanged", "SetBlobTier"),
        "snapshot" => ("BlobSnapshotCreated", "SnapshotBlob"),
        "delete" | "deleteSnapshot" | "deleteVersion" => ("BlobDeleted", "DeleteBlob"),
        _ => return None,
    })
}

/// What was, and what is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed<T> {
    /// What was.
    pub previous: T,
    /// What is.
    pub current: T,
}

/// What the log's record of an operation says of the blob, in accounts that have a change feed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Without quotes.
    pub etag: String,
    /// `x-ms-blob-type`.
    pub kind: String,
    /// In bytes.
    pub length: u64,
    /// Its `Content-Type`.
    pub content_type: String,
    /// The version that it is, as the protocol writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The snapshot that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// Its tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<String>,
    /// What the blob was before: names as readers know them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub previous: BTreeMap<String, String>,
    /// Properties that it has other values of now, by the names that readers know.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, Changed<String>>,
    /// Its tags, for an operation that sets them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Changed<Tags>>,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Event and operation: what [`named`] gives.
    pub named: (&'static str, &'static str),
    /// The account.
    pub account: String,
    /// The container.
    pub container: String,
    /// The blob.
    pub blob: String,
    /// When it was committed, as the protocol writes it.
    pub time: String,
    /// Its own id.
    pub id: Uuid,
    /// The request's id.
    pub request_id: Uuid,
    /// The id that the client gave the request.
    pub client_request_id: String,
    /// Grows from event to event, compared as text.
    pub sequencer: String,
    /// What the log says.
    pub change: Change,
}

impl Event {
    /// Writes it as a record of [`SCHEMA`].
    pub fn encode(&self, out: &mut Encoder) {
        let change = &self.change;
        out.long(SCHEMA_VERSION);
        out.string(&format!(
            "/subscriptions/{}/resourceGroups/stabbur/providers/Microsoft.Storage/storageAccounts/{}",
            Uuid::nil(),
            self.account
        ));
        out.string(&format!(
            "/blobServices/default/containers/{}/blobs/{}",
            self.container, self.blob
        ));
        let (event, api) = self.named;
        out.string(event);
        out.string(&self.time);
        out.string(&self.id.to_string());
        out.string(api);
        out.string(&self.client_request_id);
        out.string(&self.request_id.to_string());
        out.string(&change.etag);
        out.string(&change.content_type);
        out.long(i64::try_from(change.length).unwrap_or(i64::MAX));
        out.string(&change.kind);
        out.optional(change.version.as_deref(), Encoder::string);
        out.optional(None, Encoder::string);
        out.optional(change.tier.as_deref(), Encoder::string);
        out.string("");
        out.string(&self.sequencer);
        let previous = Some(&change.previous).filter(|previous| !previous.is_empty());
        out.optional(previous, encode_map);
        out.optional(change.snapshot.as_deref(), Encoder::string);
        let properties = Some(&change.properties).filter(|properties| !properties.is_empty());
        out.optional(properties, |out, properties| {
            let entries = properties.iter().map(|(name, values)| (name.as_str(), values));
            out.map(entries, |out, values| {
                let values = [
                    ("current", values.current.as_str()),
                    ("previous", values.previous.as_str()),
                ];
                out.map(values.into_iter(), Encoder::string);
            });
        });
        out.optional(None, encode_map);
        out.optional(change.tags.as_ref(), |out, tags| {
            let values = [("previous", &tags.previous), ("current", &tags.current)];
            out.map(values.into_iter(), encode_map);
        });
        out.optional(None, Encoder::string);
    }
}

fn encode_map(out: &mut Encoder, map: &BTreeMap<String, String>) {
    let entries = map.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    out.map(entries, Encoder::string);
}

/// The begin of the hour that a time is in.
#[must_use]
pub fn hour_of(at: Timestamp) -> Timestamp {
    let hours = at.as_nanosecond().div_euclid(3_600_000_000_000);
    let begin = i64::try_from(hours * 3_600).ok().map(Timestamp::from_second);
    begin.and_then(Result::ok).unwrap_or(at)
}

#[cfg(test)]
mod reading;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_begin_at_whole_ones() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for (time, hour) in [
            ("2023-11-14T22:13:20.5Z", "2023-11-14T22:00:00Z"),
            ("2023-11-14T22:00:00Z", "2023-11-14T22:00:00Z"),
            ("1969-12-31T23:59:59.9Z", "1969-12-31T23:00:00Z"),
        ] {
            assert_eq!(hour_of(at(time)), at(hour), "{time}");
        }
    }

    #[test]
    fn what_touches_no_whole_blob_makes_no_event() {
        for op in [
            "appendBlock",
            "putPage",
            "lease",
            "seal",
            "createContainer",
            "deleteContainer",
        ] {
            assert_eq!(named(op), None, "{op}");
        }
        assert_eq!(named("put"), Some(("BlobCreated", "PutBlob")));
    }

    #[test]
    fn a_change_from_the_log_is_read_without_what_came_later() {
        let text = r#"{"etag":"0x8D1","kind":"BlockBlob","length":3,"content_type":"text/plain"}"#;
        let change: Change = serde_json::from_str(text).unwrap();
        assert_eq!((change.length, change.version.as_deref()), (3, None));
        assert_eq!(serde_json::to_string(&change).unwrap(), text);
    }
}
