//! What can go wrong, with the status and the text that the caller is told. The only place that
//! knows both.
//!
//! The original answers with plain texts or with problem details (RFC 9457); clients look at the
//! status and log the rest. Ours are always problem details.

use blobs::{BlobsError, ErrorCode};
use documents::DocumentsError;
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_semantics::{Body, BodyError};
use ledger::LedgerError;

use crate::rules::versions::{Differs, Versions};
use crate::wire::answer;

/// A failed operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// The request is malformed or breaks a rule (400).
    #[error("{0}")]
    BadRequest(String),
    /// No token, or none that is good (401).
    #[error("a valid bearer token is required")]
    Unauthorized,
    /// The caller may not do this (403).
    #[error("{0}")]
    Forbidden(String),
    /// There is no such thing (404).
    #[error("{0}")]
    NotFound(String),
    /// Its path is known, its method isn't (405).
    #[error("the method isn't allowed here")]
    MethodNotAllowed,
    /// The state doesn't allow it, or others change it without pause (409).
    #[error("{0}")]
    Conflict(String),
    /// The instance's process is going on by itself, or isn't in the status that was expected (409); the status
    /// that it is in.
    #[error("the process' status is {0:?}; another one was expected")]
    ProcessStatus(String),
    /// A version that was demanded isn't the one that is there (412).
    #[error("the {} isn't the one that was expected", match .0 {
        Differs::Instance => "instance's version",
        Differs::ProcessState => "process state's version",
    })]
    VersionMismatch(Differs, Versions),
    /// A version was demanded in a form that is none (400).
    #[error("{0}")]
    MalformedVersion(String),
    /// The content isn't the one that was expected (412).
    #[error("{0}")]
    PreconditionFailed(String),
    /// The body is too large (413).
    #[error("{0}")]
    TooLarge(String),
    /// Understood, but senseless (422).
    #[error("{0}")]
    Unprocessable(String),
    /// The original serves it, this server doesn't (501).
    #[error("{0}")]
    NotImplemented(String),
    /// The ledger can't be reached or takes no writes (503).
    #[error("{0}")]
    Unavailable(String),
    /// The disk is full (507).
    #[error("the server's disk is full")]
    Full,
    /// A fault of the server's (500). The text is for its log alone.
    #[error("{0}")]
    Internal(String),
}

impl PlatformError {
    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::BadRequest(text.into())
    }

    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::NotFound(text.into())
    }

    pub(crate) fn forbidden(text: impl Into<String>) -> Self {
        Self::Forbidden(text.into())
    }

    /// The response's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::MalformedVersion(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Conflict(_) | Self::ProcessStatus(_) => StatusCode::CONFLICT,
            Self::VersionMismatch(..) | Self::PreconditionFailed(_) => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Full => StatusCode::INSUFFICIENT_STORAGE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What clients tell problems of one status apart by, where they do.
    fn kind(&self) -> Option<&'static str> {
        Some(match self {
            Self::ProcessStatus(_) => "process_status_conflict",
            Self::VersionMismatch(Differs::Instance, _) => "instance_version_mismatch",
            Self::VersionMismatch(Differs::ProcessState, _) => "process_state_version_mismatch",
            Self::MalformedVersion(_) => "malformed_version_precondition",
            _ => return None,
        })
    }

    /// The response. What went wrong inside goes to the log, not to the caller.
    pub(crate) fn render(&self) -> Response<Body> {
        let status = self.status();
        let detail = match self {
            Self::Internal(cause) => {
                tracing::error!(cause, "a request to Platform Storage failed");
                "The server failed; its log says why, under this request's id.".to_owned()
            }
            other => other.to_string(),
        };
        let mut body = serde_json::json!({
            "title": status.canonical_reason().unwrap_or_default(),
            "status": status.as_u16(),
            "detail": detail,
        });
        if let (Some(kind), Some(body)) = (self.kind(), body.as_object_mut()) {
            body.insert("type".to_owned(), kind.into());
        }
        let mut response = Response::new(Body::full(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json; charset=utf-8"),
        );
        if *self == Self::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        match self {
            Self::VersionMismatch(_, versions) => answer::with_versions(response, *versions),
            _ => response,
        }
    }
}

impl From<LedgerError> for PlatformError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Full => Self::Full,
            LedgerError::TooLarge(what) => Self::TooLarge(format!("The change is too large: {what}.")),
            LedgerError::Conflict(_) => {
                Self::Conflict("Others changed the same thing at the same time; try again.".to_owned())
            }
            LedgerError::Unavailable(_) | LedgerError::Closed | LedgerError::Failed(_) => {
                Self::Unavailable("The store takes no requests for now; try again later.".to_owned())
            }
            LedgerError::Unknown(_) => Self::Unavailable(
                "The store went away while it wrote; the change is there whole, or not at all. Read before \
                 you try again."
                    .to_owned(),
            ),
            LedgerError::Corrupt(_) | LedgerError::LogTrimmed { .. } => Self::Internal(error.to_string()),
        }
    }
}

impl From<DocumentsError> for PlatformError {
    fn from(error: DocumentsError) -> Self {
        match error {
            DocumentsError::Ledger(error) => error.into(),
            DocumentsError::TooLarge(text) => Self::TooLarge(text),
            DocumentsError::BadRequest(text) => Self::BadRequest(text),
            DocumentsError::Conflict(_)
            | DocumentsError::PreconditionFailed(_)
            | DocumentsError::RetryWith => Self::Conflict(error.to_string()),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<BlobsError> for PlatformError {
    fn from(error: BlobsError) -> Self {
        match error.code {
            ErrorCode::RequestBodyTooLarge => Self::TooLarge("The content is too large.".to_owned()),
            ErrorCode::InvalidInput => Self::BadRequest(error.to_string()),
            ErrorCode::OperationTimedOut => {
                Self::BadRequest("The content came too slowly; nothing was stored.".to_owned())
            }
            ErrorCode::ServerBusy => {
                Self::Unavailable("The store takes no requests for now; try again later.".to_owned())
            }
            ErrorCode::LeaseIdMissing => Self::Conflict(
                "Somebody holds a lease on the content; try again when it has ended.".to_owned(),
            ),
            ErrorCode::BlobImmutableDueToLegalHold | ErrorCode::BlobImmutableDueToPolicy => Self::Conflict(
                "The content is protected by an immutability policy or a legal hold.".to_owned(),
            ),
            // The one internal error of the blob service that has a text of its own.
            ErrorCode::InternalError if error.detail.is_some() => Self::Full,
            _ => Self::Internal(error.to_string()),
        }
    }
}

impl From<BodyError> for PlatformError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLong { .. } => Self::TooLarge(format!("{error}.")),
            // A body of ours, read back: its fault isn't the caller's.
            BodyError::Source(cause) => Self::Internal(cause),
            other => Self::BadRequest(format!("{other}.")),
        }
    }
}
