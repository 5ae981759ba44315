//! The only place that knows code, status and public text of a registry's errors.
//!
//! Source: distribution-spec, "Error Codes"; distribution, "Errors" of the V2 API; Azure Container Registry's own.

use content::ContentError;
use http::header::{ALLOW, CONTENT_TYPE, LOCATION, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_semantics::{Body, BodyError};
use identity::IssuerError;
use ledger::LedgerError;
use serde_json::{Value, json};

use crate::limits::RETRY_AFTER_SECONDS;

macro_rules! codes {
    ($($name:ident $code:literal $status:literal $text:literal;)*) => {
        /// An error code of the protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the names are the protocol's own")]
        pub enum ErrorCode { $($name),* }

        impl ErrorCode {
            /// The code as clients see it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $code),* }
            }

            fn status(self) -> StatusCode {
                let number = match self { $(Self::$name => $status),* };
                StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }

            fn text(self) -> &'static str {
                match self { $(Self::$name => $text),* }
            }
        }
    };
}

codes! {
    BlobUnknown "BLOB_UNKNOWN" 404 "blob unknown to registry";
    BlobUploadInvalid "BLOB_UPLOAD_INVALID" 400 "blob upload invalid";
    BlobUploadUnknown "BLOB_UPLOAD_UNKNOWN" 404 "blob upload unknown to registry";
    DigestInvalid "DIGEST_INVALID" 400 "provided digest did not match uploaded content";
    ManifestBlobUnknown "MANIFEST_BLOB_UNKNOWN" 400 "manifest references a manifest or blob unknown to registry";
    ManifestInvalid "MANIFEST_INVALID" 400 "manifest invalid";
    ManifestUnknown "MANIFEST_UNKNOWN" 404 "manifest unknown to registry";
    NameInvalid "NAME_INVALID" 400 "invalid repository name";
    NameUnknown "NAME_UNKNOWN" 404 "repository name not known to registry";
    PaginationNumberInvalid "PAGINATION_NUMBER_INVALID" 400 "invalid number of results requested";
    SizeInvalid "SIZE_INVALID" 400 "provided length did not match content length";
    TagInvalid "TAG_INVALID" 400 "manifest tag did not match the grammar";
    TagUnknown "TAG_UNKNOWN" 404 "tag unknown to registry";
    Unauthorized "UNAUTHORIZED" 401 "authentication required";
    Denied "DENIED" 403 "requested access to the resource is denied";
    Unsupported "UNSUPPORTED" 405 "the operation is unsupported";
    OperationDisallowed "REGISTRY_DISALLOWED_OPERATION" 405 "The operation is disallowed on this registry, repository or image.";
    TooManyRequests "TOOMANYREQUESTS" 429 "too many requests";
    RegistryUnknown "REGISTRY_UNKNOWN" 404 "no registry has this host name";
    Unavailable "UNAVAILABLE" 503 "the registry is unavailable for now";
    Unknown "UNKNOWN" 500 "unknown error";
}

/// Where an upload stands, for those who must go on there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UploadPlace {
    pub(crate) location: String,
    pub(crate) offset: u64,
}

/// A failed operation.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}: {}", .code.name(), .message.as_deref().unwrap_or(.code.text()))]
pub struct RegistryError {
    /// The protocol's code.
    pub code: ErrorCode,
    /// What exactly, and what to do. Never a secret.
    pub message: Option<String>,
    /// Boxed, so that results stay small.
    detail: Box<Value>,
    status: Option<StatusCode>,
    /// `WWW-Authenticate`.
    challenge: Option<String>,
    upload: Option<UploadPlace>,
    content_range: Option<u64>,
}

impl From<ErrorCode> for RegistryError {
    fn from(code: ErrorCode) -> Self {
        Self {
            code,
            message: None,
            detail: Box::new(Value::Null),
            status: None,
            challenge: None,
            upload: None,
            content_range: None,
        }
    }
}

impl RegistryError {
    /// An error with more to say than its code does.
    #[must_use]
    pub fn with(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            message: Some(message.into()),
            ..code.into()
        }
    }

    /// With what it is about, for programs.
    #[must_use]
    pub(crate) fn about(self, detail: Value) -> Self {
        Self {
            detail: Box::new(detail),
            ..self
        }
    }

    /// With another status than its code's own.
    #[must_use]
    pub(crate) fn status(self, status: StatusCode) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }

    /// 401 with where to get a token.
    pub(crate) fn challenge(challenge: String, detail: Value) -> Self {
        Self {
            challenge: Some(challenge),
            ..Self::from(ErrorCode::Unauthorized).about(detail)
        }
    }

    /// 416: the chunk belongs elsewhere.
    pub(crate) fn out_of_order(place: UploadPlace) -> Self {
        Self {
            upload: Some(place),
            status: Some(StatusCode::RANGE_NOT_SATISFIABLE),
            ..Self::with(
                ErrorCode::BlobUploadInvalid,
                "the chunk doesn't begin where the upload ends",
            )
        }
    }

    /// 416: no byte of the range is there.
    pub(crate) fn unsatisfiable(length: u64) -> Self {
        Self {
            content_range: Some(length),
            status: Some(StatusCode::RANGE_NOT_SATISFIABLE),
            ..Self::with(ErrorCode::SizeInvalid, "the range lies outside of the blob")
        }
    }

    /// The answer's status.
    #[must_use]
    pub fn http_status(&self) -> StatusCode {
        self.status.unwrap_or(self.code.status())
    }

    /// The answer.
    pub(crate) fn render(&self) -> Response<Body> {
        let status = self.http_status();
        let body = json!({"errors": [{
            "code": self.code.name(),
            "message": self.message.as_deref().unwrap_or(self.code.text()),
            "detail": self.detail,
        }]});
        let body = body.to_string();
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(http::header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        if let Some(challenge) = &self.challenge {
            set(headers, WWW_AUTHENTICATE, challenge);
        }
        if let Some(upload) = &self.upload {
            set(headers, LOCATION, &upload.location);
            set(headers, RANGE, &upload_range(upload.offset));
        }
        if let Some(length) = self.content_range {
            set(headers, http::header::CONTENT_RANGE, &format!("bytes */{length}"));
        }
        if self.code == ErrorCode::TooManyRequests {
            headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        if self.code == ErrorCode::Unsupported {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        *response.body_mut() = Body::full(body);
        response
    }
}

/// How far an upload is: by custom the same for none and for one byte.
pub(crate) fn upload_range(offset: u64) -> String {
    format!("0-{}", offset.saturating_sub(1))
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

impl From<LedgerError> for RegistryError {
    fn from(error: LedgerError) -> Self {
        match error {
            // A conflict that is left: others changed the same thing without pause.
            LedgerError::Unavailable(_) | LedgerError::Closed | LedgerError::Conflict(_) => {
                ErrorCode::Unavailable.into()
            }
            LedgerError::Unknown(_) => Self::with(
                ErrorCode::Unavailable,
                "the store went away while it wrote; the change is there whole, or not at all",
            ),
            LedgerError::Full => disk_full(),
            LedgerError::TooLarge(text) => {
                Self::with(ErrorCode::ManifestInvalid, text).status(StatusCode::PAYLOAD_TOO_LARGE)
            }
            other => {
                tracing::error!(error = %other, "the ledger failed");
                ErrorCode::Unknown.into()
            }
        }
    }
}

/// As the original answers when its storage is full.
fn disk_full() -> RegistryError {
    RegistryError::with(ErrorCode::OperationDisallowed, "the registry's disk is full")
        .status(StatusCode::INSUFFICIENT_STORAGE)
}

impl From<ContentError> for RegistryError {
    fn from(error: ContentError) -> Self {
        if error == ContentError::Full {
            return disk_full();
        }
        if matches!(error, ContentError::Unavailable(_)) {
            tracing::warn!(%error, "a request needs content that is out of reach");
            return ErrorCode::Unavailable.into();
        }
        tracing::error!(%error, "the content store failed");
        ErrorCode::Unknown.into()
    }
}

impl From<BodyError> for RegistryError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLong { .. } => {
                Self::with(ErrorCode::SizeInvalid, error.to_string()).status(StatusCode::PAYLOAD_TOO_LARGE)
            }
            BodyError::TimedOut { .. } => Self::with(ErrorCode::BlobUploadInvalid, error.to_string())
                .status(StatusCode::REQUEST_TIMEOUT),
            other => Self::with(ErrorCode::SizeInvalid, other.to_string()),
        }
    }
}

impl From<IssuerError> for RegistryError {
    fn from(error: IssuerError) -> Self {
        tracing::error!(%error, "no token can be signed");
        match error {
            IssuerError::Ledger(error) => error.into(),
            IssuerError::Key(_) => ErrorCode::Unknown.into(),
        }
    }
}
