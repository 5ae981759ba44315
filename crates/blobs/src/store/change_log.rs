//! What the log says of changed blobs, so that a change feed can be made of it.
//!
//! Invariant: accounts without a change feed get the record that they always got; and the feed's own container is
//! never in a feed.

use ledger::{Keyspace, LogRecord};
use serde::{Deserialize, Serialize};

use crate::Blobs;
use crate::rules::change_event::{self, Change, Changed};
use crate::service::Call;
use crate::store::change_feed::CONTAINER;
use crate::store::containers::{Container, log_record};
use crate::store::records::{BlobHeaders, BlobKind, BlobRecord};
use crate::store::states::time_text;
use crate::wire::headers;

/// The log's kind of records that say what was done.
pub(crate) const DONE: u8 = 1;

/// Its kind of records that say which request did what else the commit holds.
pub(crate) const REQUEST: u8 = 2;

/// A blob's `Content-Type` where nobody gave it one.
const CONTENT_TYPE_DEFAULT: &str = "application/octet-stream";

/// Bytes that are kept of a client's id for its request (`x-ms-client-request-id` has at most 1 KiB).
const CLIENT_REQUEST_ID_BYTES_MAX: usize = 1_024;

/// A record of kind [`DONE`].
#[derive(Debug, Deserialize)]
pub(crate) struct Done {
    pub(crate) op: String,
    pub(crate) account: String,
    pub(crate) container: String,
    #[serde(default)]
    pub(crate) blob: Option<String>,
    #[serde(default)]
    pub(crate) event: Option<Change>,
}

/// A record of kind [`REQUEST`].
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Requested {
    pub(crate) request: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) client: String,
}

impl Blobs {
    /// Whether an account's changes go into a feed.
    pub(crate) fn feeds(&self, account: &str) -> bool {
        self.account(account)
            .is_some_and(|account| account.change_feed.is_some())
    }

    /// The log record of an operation on a blob, or on a state below its name: `record` is what is there behind it,
    /// or what goes, `before` what was there.
    pub(crate) fn blob_log_record(
        &self,
        op: &str,
        container: &Container,
        before: Option<&BlobRecord>,
        record: &BlobRecord,
    ) -> LogRecord {
        let Container {
            account, record: of, ..
        } = container;
        let plain = log_record(op, account, &of.name, Some(&record.name));
        if change_event::named(op).is_none() || of.name == CONTAINER || !self.feeds(account) {
            return plain;
        }
        let with_event = serde_json::json!({
            "op": op,
            "account": account,
            "container": of.name,
            "blob": record.name,
            "event": change(op, before, record),
        });
        LogRecord {
            payload: with_event.to_string().into(),
            ..plain
        }
    }
}

/// The log record of the request itself.
pub(crate) fn request_record(call: &Call) -> LogRecord {
    let client = headers::text(&call.headers, "x-ms-client-request-id").unwrap_or("");
    let requested = Requested {
        request: call.context.request_id.to_string(),
        client: client.chars().take(CLIENT_REQUEST_ID_BYTES_MAX).collect(),
    };
    LogRecord {
        keyspace: Keyspace::Blobs,
        kind: REQUEST,
        payload: serde_json::json!(requested).to_string().into(),
    }
}

fn change(op: &str, before: Option<&BlobRecord>, record: &BlobRecord) -> Change {
    let mut change = Change {
        etag: record.etag.clone(),
        kind: record.kind.name().to_owned(),
        length: record.length,
        content_type: content_type(&record.headers).to_owned(),
        version: record.version.map(time_text),
        snapshot: record.snapshot.map(time_text),
        tier: tier(record).map(str::to_owned),
        ..Change::default()
    };
    let Some(before) = before else { return change };
    if let Some(last) = before.version.filter(|_| before.version != record.version) {
        change.previous.insert("LastVersion".to_owned(), time_text(last));
        if let Some(version) = &change.version {
            change.previous.insert("BlobVersion".to_owned(), version.clone());
        }
    }
    match op {
        "setTier" => {
            if let Some(tier) = tier(before) {
                change.previous.insert("PreviousTier".to_owned(), tier.to_owned());
            }
        }
        "setTags" => {
            change.tags = Some(Changed {
                previous: before.tags.clone(),
                current: record.tags.clone(),
            });
        }
        "setProperties" => {
            for ((name, previous), (_, current)) in
                named(&before.headers).into_iter().zip(named(&record.headers))
            {
                if previous != current {
                    let changed = Changed {
                        previous: previous.to_owned(),
                        current: current.to_owned(),
                    };
                    change.properties.insert(name.to_owned(), changed);
                }
            }
        }
        _ => {}
    }
    change
}

/// Block blobs alone have tiers (rules/tier.rs).
fn tier(record: &BlobRecord) -> Option<&'static str> {
    let given = record.tier.as_ref().map(|given| given.tier).unwrap_or_default();
    (record.kind == BlobKind::Block).then(|| given.name())
}

fn content_type(headers: &BlobHeaders) -> &str {
    headers.content_type.as_deref().unwrap_or(CONTENT_TYPE_DEFAULT)
}

/// Properties by the names that readers know.
fn named(headers: &BlobHeaders) -> [(&'static str, &str); 6] {
    let text = |value| Option::as_deref(value).unwrap_or("");
    [
        ("ContentType", content_type(headers)),
        ("ContentEncoding", text(&headers.content_encoding)),
        ("ContentLanguage", text(&headers.content_language)),
        ("ContentDisposition", text(&headers.content_disposition)),
        ("CacheControl", text(&headers.cache_control)),
        ("ContentMD5", text(&headers.content_md5)),
    ]
}
