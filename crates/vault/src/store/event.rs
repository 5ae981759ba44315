//! A row of the audit, as Azure Monitor has it.

use std::time::Duration;

use bytes::Bytes;
use ledger::Transaction;
use serde_json::{Map, Value, json};

use super::keys;
use super::refusals::Suppressed;
use crate::error::VaultError;
use crate::limits::AUDIT_TEXT_BYTES_MAX;
use crate::rules::roles::Principal;

/// What a request's row is made of. No value of a secret is ever among it.
pub(crate) struct Event<'a> {
    pub(crate) time: jiff::Timestamp,
    pub(crate) vault: &'a str,
    pub(crate) operation: &'a str,
    pub(crate) api_version: Option<&'a str>,
    pub(crate) principal: Option<&'a Principal>,
    pub(crate) caller: String,
    pub(crate) request_id: String,
    pub(crate) client_request_id: Option<&'a str>,
    pub(crate) client: Option<&'a str>,
    /// Without its query.
    pub(crate) uri: &'a str,
    /// The object, with its version where the request is about one.
    pub(crate) object: Option<String>,
    pub(crate) status: u16,
    pub(crate) error: Option<&'a VaultError>,
    pub(crate) duration: Duration,
    /// Refusals of the same caller that had no rows of their own since the last one.
    pub(crate) suppressed: Suppressed,
}

fn cut(text: &str) -> &str {
    text.get(..text.floor_char_boundary(AUDIT_TEXT_BYTES_MAX))
        .unwrap_or_default()
}

impl Event<'_> {
    /// The row, as Azure Monitor has it (category `AuditEvent`).
    pub(crate) fn row(&self) -> Vec<u8> {
        let mut claim = Map::new();
        if let Some(principal) = self.principal {
            claim.insert("oid".to_owned(), cut(&principal.object_id).into());
            for (name, value) in [("upn", &principal.user_name), ("appid", &principal.application)] {
                if let Some(value) = value {
                    claim.insert(name.to_owned(), cut(value).into());
                }
            }
        }
        let mut properties = Map::new();
        for (name, value) in [
            ("id", self.object.as_deref()),
            ("clientInfo", self.client),
            ("clientRequestId", self.client_request_id),
        ] {
            if let Some(value) = value {
                properties.insert(name.to_owned(), cut(value).into());
            }
        }
        properties.insert("requestUri".to_owned(), cut(self.uri).into());
        properties.insert("httpStatusCode".to_owned(), self.status.into());
        if let Some(last) = &self.suppressed.last {
            properties.insert("suppressed".to_owned(), self.suppressed.count.into());
            properties.insert("suppressedLastCaller".to_owned(), cut(&last.caller).into());
        }
        let description = self.error.map(|error| {
            let inner = error.body().pointer("/error/innererror/code").cloned();
            match inner.as_ref().and_then(Value::as_str) {
                Some(inner) => format!("{}/{inner}", error.code.name()),
                None => error.code.name().to_owned(),
            }
        });
        let row = json!({
            "time": self.time.to_string(),
            "resourceId": self.vault,
            "operationName": self.operation,
            "operationVersion": self.api_version.map(cut),
            "category": "AuditEvent",
            "resultType": if self.error.is_none() { "Success" } else { "Failed" },
            "resultSignature": http::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason()),
            "resultDescription": description,
            "durationMs": u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            "callerIpAddress": self.caller,
            "correlationId": self.request_id,
            "identity": {"claim": claim},
            "properties": properties,
        });
        row.to_string().into_bytes()
    }

    /// Stages the row.
    pub(crate) fn stage(&self, tx: &mut Transaction) {
        tx.put_sequenced(keys::audit_rows(self.vault), Bytes::new(), self.row());
    }
}
