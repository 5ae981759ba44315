//! An operation's answer, and how answers and errors become responses.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_semantics::Body;
use ledger::Sequence;
use serde_json::{Value, json};

use super::{headers, session};
use crate::error::DocumentsError;
use crate::store::Container;

/// What an operation answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
    headers: Vec<(&'static str, String)>,
    charge: f64,
}

impl Answer {
    pub(crate) fn new(status: StatusCode, body: impl Into<Bytes>, charge: f64) -> Self {
        Self {
            status,
            body: body.into(),
            headers: Vec::new(),
            charge,
        }
    }

    pub(crate) fn json(status: StatusCode, body: &Value, charge: f64) -> Self {
        Self::new(status, body.to_string(), charge)
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn with_etag(self, etag: &str) -> Self {
        self.with("etag", etag)
    }

    pub(crate) fn with_session(self, sequence: Sequence) -> Self {
        self.with(headers::SESSION_TOKEN, session::token(sequence))
    }

    pub(crate) fn with_continuation(self, continuation: Option<String>) -> Self {
        match continuation {
            Some(continuation) => self.with(headers::CONTINUATION, continuation),
            None => self,
        }
    }

    /// The container, as the owner of the items or scripts that are answered.
    pub(crate) fn with_owner(self, container: &Container) -> Self {
        self.with(headers::ALT_CONTENT_PATH, encode_path(&container.name_path()))
            .with(headers::CONTENT_PATH, container.rid.clone())
    }

    /// The database, as the owner of the container that is answered. The Java client builds the container's
    /// path from it, for the change feed.
    pub(crate) fn with_owner_of(self, container: &Container) -> Self {
        self.with(headers::ALT_CONTENT_PATH, encode_path(&container.database_path()))
            .with(headers::CONTENT_PATH, container.database_rid())
    }

    /// What a script logged.
    pub(crate) fn with_script_log(self, log: &str) -> Self {
        let encoded = percent_encoding::utf8_percent_encode(log, percent_encoding::NON_ALPHANUMERIC);
        self.with(headers::SCRIPT_LOG_RESULTS, encoded.to_string())
    }

    /// A feed of resources that are values.
    pub(crate) fn feed(rid: &str, kind: &str, resources: &[Value], charge: f64) -> Self {
        let body = json!({"_rid": rid, kind: resources, "_count": resources.len()});
        Self::json(StatusCode::OK, &body, charge).with(headers::ITEM_COUNT, resources.len().to_string())
    }

    /// What a feed of documents begins with; their texts follow, and [`Self::documents`] ends it.
    pub(crate) fn documents_head(rid: &str) -> String {
        format!("{{\"_rid\":\"{rid}\",\"Documents\":[")
    }

    /// A feed of documents that are text already, head and elements of the array.
    pub(crate) fn documents(mut body: Vec<u8>, count: usize, charge: f64) -> Self {
        body.extend_from_slice(format!("],\"_count\":{count}}}").as_bytes());
        Self::new(StatusCode::OK, body, charge).with(headers::ITEM_COUNT, count.to_string())
    }

    pub(crate) fn from_error(error: &DocumentsError) -> Self {
        let body = json!({"code": error.code(), "message": error.public_message()});
        let answer = Self::json(error.status(), &body, 1.0);
        let answer = match error {
            DocumentsError::TooManyRequests {
                retry_after_milliseconds,
            } => answer.with(headers::RETRY_AFTER, retry_after_milliseconds.to_string()),
            DocumentsError::TooManyScripts => answer.with(headers::RETRY_AFTER, "1000"),
            DocumentsError::Script { log, .. } if !log.is_empty() => answer.with_script_log(log),
            _ => answer,
        };
        match error.substatus() {
            0 => answer,
            substatus => answer.with(headers::SUBSTATUS, substatus.to_string()),
        }
    }

    /// With other request units, at least those of any request.
    pub(crate) fn with_charge(mut self, charge: f64) -> Self {
        self.charge = charge.max(1.0);
        self
    }

    /// Request units.
    pub(crate) fn charge(&self) -> f64 {
        self.charge
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| *known == name)
    }

    pub(crate) fn into_response(self, activity_id: &str) -> Response<Body> {
        let empty = self.body.is_empty();
        let mut response = Response::new(if empty {
            Body::empty()
        } else {
            Body::full(self.body)
        });
        *response.status_mut() = self.status;
        let target = response.headers_mut();
        let mut put = |name: &'static str, value: &str| {
            // Everything in a header here is a number, a token or encoded; what still isn't a
            // header value is better left away than guessed at.
            if let Ok(value) = HeaderValue::from_str(value) {
                target.insert(HeaderName::from_static(name), value);
            }
        };
        if !empty {
            put("content-type", "application/json");
        }
        put(headers::REQUEST_CHARGE, &format!("{:.2}", self.charge));
        put(headers::ACTIVITY_ID, activity_id);
        put("x-ms-serviceversion", "version=2.14.0.0");
        put("x-ms-gatewayversion", "version=2.14.0");
        for (name, value) in &self.headers {
            put(name, value);
        }
        response
    }
}

/// Names may hold any character, headers only ASCII.
fn encode_path(path: &str) -> String {
    percent_encoding::utf8_percent_encode(path, percent_encoding::CONTROLS).to_string()
}
