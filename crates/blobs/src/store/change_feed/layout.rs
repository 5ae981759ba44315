//! Where a change feed's blobs are, and what those say that tell where the others are.
//!
//! Source: "Change feed support in Azure Blob Storage", "Change feed segments".

use http_semantics::Body;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ledger::{Snapshot, Transaction};

use crate::Blobs;
use crate::error::BlobsError;
use crate::limits::INLINE_BYTES_MAX;
use crate::rules::avro::Sync;
use crate::store::containers::Container;
use crate::store::records::BlobHeaders;
use crate::store::staging::Expected;

/// The container that holds an account's feed.
pub(crate) const CONTAINER: &str = "$blobchangefeed";

/// What says which segments may be read.
const SEGMENTS: &str = "meta/segments.json";

/// Where the segments' manifests are.
pub(super) const INDEX: &str = "idx/segments/";

/// The year in which the empty segment is that every feed begins with.
pub(super) const FIRST_YEAR: &str = "1601";

pub(super) fn end_of(segment: Timestamp) -> Timestamp {
    let hour = SignedDuration::from_hours(1);
    segment.checked_add(hour).unwrap_or(Timestamp::MAX)
}

/// A segment's part of a path.
fn path_of(segment: Timestamp) -> String {
    segment.strftime("%Y/%m/%d/%H00/").to_string()
}

fn manifest_path(segment: Timestamp) -> String {
    format!("{INDEX}{}meta.json", path_of(segment))
}

/// What all files of a segment's one shard begin with.
pub(super) fn shard_path(segment: Timestamp) -> String {
    format!("log/00/{}", path_of(segment))
}

pub(super) fn file_path(segment: Timestamp, number: u32) -> String {
    format!("{}{number:05}.avro", shard_path(segment))
}

/// The segment whose manifest has a path; `None` for what isn't one's.
pub(super) fn segment_of(path: &str) -> Option<Timestamp> {
    let hour = path.strip_prefix(INDEX)?.strip_suffix("/meta.json")?;
    let at = jiff::civil::DateTime::strptime("%Y/%m/%d/%H%M", hour).ok()?;
    TimeZone::UTC.to_timestamp(at).ok()
}

fn manifest(begin: &str, shard: Option<String>, is_finished: bool, etag: &str, now: Timestamp) -> String {
    let shards: Vec<_> = shard
        .into_iter()
        .map(|shard| format!("{CONTAINER}/{shard}"))
        .collect();
    serde_json::json!({
        "version": 0,
        "begin": begin,
        "intervalSecs": 3600,
        "status": if is_finished { "Finalized" } else { "Publishing" },
        "config": {
            "version": 0,
            "configVersionEtag": etag,
            "numShards": 1,
            "recordsFormat": "avro",
            "formatSchemaVersion": 5,
            "shardDistFnVersion": 1,
        },
        "chunkFilePaths": shards,
        "storageDiagnostics": { "version": 0, "lastModifiedTime": milliseconds(now), "data": {} },
    })
    .to_string()
}

fn milliseconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// A file's mark, the same at each of its pieces.
pub(super) fn sync_of(container: &Container, path: &str) -> Sync {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&container.record.generation);
    hasher.update(path.as_bytes());
    let hash = hasher.finalize();
    hash.as_bytes().first_chunk::<16>().copied().unwrap_or_default()
}

impl Blobs {
    /// Stages the empty segment that every feed begins with.
    pub(super) async fn stage_first(
        &self,
        tx: &mut Transaction,
        staging: (&dyn Snapshot, &Container),
    ) -> Result<(), BlobsError> {
        let begin = format!("{FIRST_YEAR}-01-01T00:00:00.000Z");
        let text = manifest(&begin, None, true, &staging.1.record.etag, self.clock.now());
        let path = format!("{INDEX}{FIRST_YEAR}/01/01/0000/meta.json");
        self.stage_document(tx, staging, &path, text).await
    }

    pub(super) async fn stage_manifest(
        &self,
        tx: &mut Transaction,
        staging: (&dyn Snapshot, &Container),
        segment: Timestamp,
        is_finished: bool,
    ) -> Result<(), BlobsError> {
        let etag = &staging.1.record.etag;
        let shard = Some(shard_path(segment));
        let text = manifest(&milliseconds(segment), shard, is_finished, etag, self.clock.now());
        self.stage_document(tx, staging, &manifest_path(segment), text)
            .await
    }

    pub(super) async fn stage_segments(
        &self,
        tx: &mut Transaction,
        staging: (&dyn Snapshot, &Container),
        last_consumable: Timestamp,
    ) -> Result<(), BlobsError> {
        let text = serde_json::json!({
            "version": 0,
            "lastConsumable": milliseconds(last_consumable),
            "storageDiagnostics": {
                "version": 0,
                "lastModifiedTime": milliseconds(self.clock.now()),
                "data": {},
            },
        });
        self.stage_document(tx, staging, SEGMENTS, text.to_string()).await
    }

    async fn stage_document(
        &self,
        tx: &mut Transaction,
        (snapshot, container): (&dyn Snapshot, &Container),
        path: &str,
        text: String,
    ) -> Result<(), BlobsError> {
        let before = self.blob(snapshot, container, path).await?;
        let expected = Expected {
            inline: true,
            bytes_max: INLINE_BYTES_MAX as u64,
            ..Expected::default()
        };
        let body = Body::full(text.into_bytes());
        let key = self.contents.account_key(&container.account)?;
        let staged = self.take_in(key, body, expected).await?;
        let headers = BlobHeaders {
            content_type: Some("application/json".to_owned()),
            ..BlobHeaders::default()
        };
        let (record, inline) = self.whole_record(path, before.as_ref(), &staged, headers)?;
        self.stage_blob(tx, container, before.as_ref(), &record, inline, "put")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_told_by_its_manifests_path() {
        let segment: Timestamp = "2023-11-14T22:00:00Z".parse().unwrap();
        let path = manifest_path(segment);
        assert_eq!(path, "idx/segments/2023/11/14/2200/meta.json");
        assert_eq!(segment_of(&path), Some(segment));
        assert_eq!(file_path(segment, 7), "log/00/2023/11/14/2200/00007.avro");
        for other in [
            "idx/segments/2023/11/14/meta.json",
            "meta/segments.json",
            "idx/segments/x/meta.json",
        ] {
            assert_eq!(segment_of(other), None, "{other}");
        }
    }
}
