//! What can go wrong, and how the protocol says it. The only place that knows code, status,
//! substatus and public text.
//!
//! Invariant: a message names cause, place and next step, and never holds a key or a document.

use documents_sql::{ExecError, SqlErrors};
use http::StatusCode;
use ledger::LedgerError;

/// A failed operation of the documents service.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DocumentsError {
    /// The request can't be understood or breaks a rule (400).
    #[error("{0}")]
    BadRequest(String),
    /// The partition key sent differs from the one in the document (400/1001).
    #[error("PartitionKey extracted from document doesn't match the one specified in the header. {0}")]
    PartitionKeyMismatch(String),
    /// The client means an earlier container of this name (400/1024).
    #[error("The container was recreated since the client read it; its id is now {0}.")]
    ContainerRecreated(String),
    /// The query's text or parameters are wrong (400).
    #[error("{0}")]
    Query(SqlErrors),
    /// The query had to stop (400).
    #[error("{0}")]
    Execution(ExecError),
    /// No valid signature (401).
    #[error("{0}")]
    Unauthorized(String),
    /// Signed, but not allowed (403).
    #[error("{0}")]
    Forbidden(String),
    /// No such item or other leaf resource (404).
    #[error("Resource Not Found. {0}")]
    NotFound(String),
    /// The database or container of the resource doesn't exist (404/1003).
    #[error("Owner resource does not exist. {0}")]
    OwnerNotFound(String),
    /// The read asks for a state that this server hasn't reached (404/1002).
    #[error("The read session is not available for the input session token {0}.")]
    SessionNotAvailable(String),
    /// The method isn't defined for this resource (405).
    #[error("{0}")]
    MethodNotAllowed(String),
    /// The query needed more time than one request may take (408).
    #[error("The query took longer than {0} seconds. Narrow it with a filter on an indexed property.")]
    QueryTimeout(u64),
    /// Something of this id, or with this unique key, exists (409).
    #[error("{0}")]
    Conflict(String),
    /// The partition key range is gone or unknown (410/1002).
    #[error("Partition key range {0} does not exist; read the ranges again.")]
    PartitionKeyRangeGone(String),
    /// `If-Match` doesn't name the current etag (412).
    #[error("One of the specified pre-condition is not met. {0}")]
    PreconditionFailed(String),
    /// The condition of a patch is false (412/1110).
    #[error("One of the specified pre-condition is not met: the patch's condition is false for the item.")]
    PatchConditionFalse,
    /// The body or item is too large (413).
    #[error("{0}")]
    TooLarge(String),
    /// Another operation of the same batch failed (424).
    #[error("Another operation of the batch failed; nothing of the batch was stored.")]
    FailedDependency,
    /// A script threw, or is none (400; the thrown number is the substatus).
    #[error("{message}")]
    Script {
        /// What went wrong, in the service's form.
        message: String,
        /// The number of the error that was thrown.
        number: Option<u32>,
        /// What it logged.
        log: String,
    },
    /// A script took too long (408); nothing of it was stored.
    #[error(
        "The script exceeded the time that it may take; nothing of it was stored. Do less in one run: watch what the collection's functions return, and go on with another run."
    )]
    ScriptTimeout,
    /// User-defined functions of a query took too long (408).
    #[error(
        "The query's user-defined functions exceeded the time that they may take: 5 seconds for one call, 15 for a page. Let a filter on an indexed property leave them fewer items."
    )]
    FunctionTimeout,
    /// All places for scripts were taken for long (429/3092).
    #[error("Too many scripts run at once, so nothing was done. Try again later.")]
    TooManyScripts,
    /// No process can be started that runs scripts (503); nothing was done.
    #[error("Scripts can't be run for now, and nothing was done: {0}. The server's log says more.")]
    ScriptsUnavailable(String),
    /// The container's throughput is used up (429/3200).
    #[error(
        "Request rate is large: the throughput that is provisioned is used up, so nothing was done. Try again after {retry_after_milliseconds} ms, or provision more."
    )]
    TooManyRequests {
        /// When to try again.
        retry_after_milliseconds: u64,
    },
    /// Too many writers at the same item (449): try again.
    #[error("Conflicting writes to the same item; retry the operation.")]
    RetryWith,
    /// This server doesn't serve the operation (501).
    #[error("{0}")]
    NotImplemented(String),
    /// The ledger failed: 503 if nothing was written (the clients try such a write again), 408 if
    /// that isn't known (they don't), 507-like for a full disk.
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    /// Stored data can't be read back (500).
    #[error("Stored data is damaged: {0}. Run `stabbur ledger verify`.")]
    Damaged(String),
}

impl From<SqlErrors> for DocumentsError {
    fn from(errors: SqlErrors) -> Self {
        Self::Query(errors)
    }
}

impl From<ExecError> for DocumentsError {
    fn from(error: ExecError) -> Self {
        Self::Execution(error)
    }
}

impl DocumentsError {
    pub(crate) fn bad_request(text: impl Into<String>) -> Self {
        Self::BadRequest(text.into())
    }

    /// The response's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_)
            | Self::PartitionKeyMismatch(_)
            | Self::ContainerRecreated(_)
            | Self::Query(_)
            | Self::Execution(_)
            | Self::Script { .. } => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) | Self::OwnerNotFound(_) | Self::SessionNotAvailable(_) => {
                StatusCode::NOT_FOUND
            }
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::QueryTimeout(_) | Self::ScriptTimeout | Self::FunctionTimeout => {
                StatusCode::REQUEST_TIMEOUT
            }
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::PartitionKeyRangeGone(_) => StatusCode::GONE,
            Self::PreconditionFailed(_) | Self::PatchConditionFalse => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::FailedDependency => StatusCode::FAILED_DEPENDENCY,
            Self::RetryWith => retry_with(),
            Self::TooManyRequests { .. } | Self::TooManyScripts => StatusCode::TOO_MANY_REQUESTS,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Damaged(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ScriptsUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Ledger(error) => match error {
                LedgerError::Conflict(_) => retry_with(),
                LedgerError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
                LedgerError::Full => StatusCode::FORBIDDEN,
                LedgerError::Unknown(_) => StatusCode::REQUEST_TIMEOUT,
                LedgerError::Corrupt(_) => StatusCode::INTERNAL_SERVER_ERROR,
                LedgerError::Unavailable(_)
                | LedgerError::Failed(_)
                | LedgerError::LogTrimmed { .. }
                | LedgerError::Closed => StatusCode::SERVICE_UNAVAILABLE,
            },
        }
    }

    /// The protocol's substatus (`x-ms-substatus`), 0 if there is none.
    #[must_use]
    pub fn substatus(&self) -> u32 {
        match self {
            Self::PartitionKeyMismatch(_) => 1001,
            Self::ContainerRecreated(_) => 1024,
            Self::OwnerNotFound(_) => 1003,
            Self::SessionNotAvailable(_) | Self::PartitionKeyRangeGone(_) => 1002,
            Self::PatchConditionFalse => 1110,
            Self::TooManyRequests { .. } => 3200,
            Self::TooManyScripts => 3092,
            Self::Script { number, .. } => number.unwrap_or(400),
            // "Storage quota exceeded": what the protocol has nearest to a full disk.
            Self::Ledger(LedgerError::Full) => 1014,
            // "Server-generated 503", as .NET's and Java's clients have it in their list.
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => 21008,
            _ => 0,
        }
    }

    /// The protocol's code, the first field of an error body.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self.status().as_u16() {
            400 => "BadRequest",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "NotFound",
            405 => "MethodNotAllowed",
            408 => "RequestTimeout",
            409 => "Conflict",
            410 => "Gone",
            412 => "PreconditionFailed",
            413 => "RequestEntityTooLarge",
            424 => "FailedDependency",
            429 => "TooManyRequests",
            449 => "RetryWith",
            501 => "NotImplemented",
            503 => "ServiceUnavailable",
            _ => "InternalServerError",
        }
    }

    /// The second field of an error body.
    #[must_use]
    pub fn public_message(&self) -> String {
        match self {
            // The client parses this one as JSON.
            Self::Query(errors) => errors.to_json().to_string(),
            Self::Script { message, .. } => serde_json::json!({"Errors": [message]}).to_string(),
            // Keys hold names that others than the owner may read in a log; the cause is enough.
            Self::Ledger(LedgerError::Conflict(_)) => Self::RetryWith.to_string(),
            Self::Ledger(LedgerError::Unavailable(_)) => {
                "The store takes no requests for now; nothing was written. Try again later.".to_owned()
            }
            Self::Ledger(LedgerError::Unknown(_)) => {
                "The store went away while it wrote; the change is there whole, or not at all. Read \
                 before you try again."
                    .to_owned()
            }
            other => other.to_string(),
        }
    }

    /// Whether nothing by that name exists.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound(_) | Self::OwnerNotFound(_))
    }
}

fn retry_with() -> StatusCode {
    StatusCode::from_u16(449).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_surely_not_written_says_503() {
        let told = |error: LedgerError| {
            let error = DocumentsError::from(error);
            (error.status().as_u16(), error.substatus(), error.code())
        };
        let (refused, unknown) = (
            LedgerError::Unavailable("away".to_owned()),
            LedgerError::Unknown("away".to_owned()),
        );
        assert_eq!(told(refused), (503, 21008, "ServiceUnavailable"));
        assert_eq!(told(unknown), (408, 0, "RequestTimeout"));
    }
}
