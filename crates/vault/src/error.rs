//! Errors as clients get them: the only place that knows code, status and shape.
//!
//! Source: "Key Vault REST API error codes". Nothing of a value is ever part of an error.

use http::StatusCode;
use http_semantics::BodyError;
use ledger::LedgerError;
use serde_json::{Value, json};

use crate::rules::names::Kind;
use crate::seal::SealError;

macro_rules! codes {
    ($($name:ident $status:literal;)*) => {
        /// The protocol's codes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = stringify!($status)] $name,)*
        }

        impl ErrorCode {
            /// As it is written.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The status that goes with it.
            #[must_use]
            pub fn status(self) -> StatusCode {
                let status: u16 = match self { $(Self::$name => $status,)* };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    };
}

codes! {
    BadParameter 400;
    Unauthorized 401;
    Forbidden 403;
    SecretNotFound 404;
    KeyNotFound 404;
    CertificateNotFound 404;
    NotFound 404;
    MethodNotAllowed 405;
    Conflict 409;
    RequestBodyTooLarge 413;
    InternalError 500;
    NotImplemented 501;
    ServiceUnavailable 503;
}

/// The finer code within an error (`innererror`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InnerCode {
    /// No role grants the action.
    ForbiddenByRbac,
    /// The secret is disabled.
    SecretDisabled,
    /// The key is disabled, or outside of its time.
    KeyDisabled,
    /// The key lacks the operation.
    KeyOperationForbidden,
    /// Purge protection is on.
    PurgeProtected,
    /// The name is that of a deleted object.
    ObjectIsDeletedButRecoverable,
}

impl InnerCode {
    fn name(self) -> &'static str {
        match self {
            Self::ForbiddenByRbac => "ForbiddenByRbac",
            Self::SecretDisabled => "SecretDisabled",
            Self::KeyDisabled => "KeyDisabled",
            Self::KeyOperationForbidden => "KeyOperationForbidden",
            Self::PurgeProtected => "PurgeProtected",
            Self::ObjectIsDeletedButRecoverable => "ObjectIsDeletedButRecoverable",
        }
    }
}

/// A failed operation, as the client is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", .code.name())]
pub struct VaultError {
    /// The protocol's code.
    pub code: ErrorCode,
    /// The finer one.
    pub inner: Option<InnerCode>,
    /// What exactly, and what to do. Never a value.
    pub message: String,
}

impl VaultError {
    /// An error without a finer code.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            inner: None,
            message: message.into(),
        }
    }

    /// An error with a finer code.
    #[must_use]
    pub fn with(code: ErrorCode, inner: InnerCode, message: impl Into<String>) -> Self {
        Self {
            inner: Some(inner),
            ..Self::new(code, message)
        }
    }

    /// What the client sent is wrong.
    #[must_use]
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::BadParameter, message)
    }

    /// No object is called so.
    #[must_use]
    pub fn not_found(kind: Kind, name: &str) -> Self {
        let (code, noun) = match kind {
            Kind::Secret => (ErrorCode::SecretNotFound, "secret"),
            Kind::Key => (ErrorCode::KeyNotFound, "key"),
            Kind::Certificate => (ErrorCode::CertificateNotFound, "certificate"),
        };
        Self::new(
            code,
            format!(
                "A {noun} with (name/id) {name} was not found in this key vault. If you recently deleted this {noun} you \
                 may be able to recover it using the correct recovery command."
            ),
        )
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> Value {
        let mut error = json!({"code": self.code.name(), "message": self.message});
        if let (Some(inner), Some(error)) = (self.inner, error.as_object_mut()) {
            error.insert("innererror".to_owned(), json!({"code": inner.name()}));
        }
        json!({ "error": error })
    }
}

impl From<LedgerError> for VaultError {
    fn from(error: LedgerError) -> Self {
        let busy = |text: &str| Self::new(ErrorCode::ServiceUnavailable, text);
        match error {
            LedgerError::Unavailable(_) | LedgerError::Closed => {
                busy("The vault's store can't be reached; try again.")
            }
            // Left over after all attempts: others changed the same object without pause.
            LedgerError::Conflict(_) => busy("The object was changed by others all the time; try again."),
            LedgerError::Unknown(_) => {
                busy("The store went away while it wrote; the change is there whole, or not at all.")
            }
            LedgerError::Full => Self::new(ErrorCode::InternalError, "The server's disk is full."),
            LedgerError::TooLarge(_) => {
                Self::new(ErrorCode::RequestBodyTooLarge, "The request is too large.")
            }
            other => {
                tracing::error!(error = %other, "the ledger failed");
                Self::new(ErrorCode::InternalError, "The vault's store failed.")
            }
        }
    }
}

impl From<SealError> for VaultError {
    fn from(error: SealError) -> Self {
        match error {
            // Why is for the log, which said it at the start: the cause names keys and files.
            SealError::Sealed(_) => Self::new(
                ErrorCode::ServiceUnavailable,
                "The vault is sealed: the server doesn't have its root key.",
            ),
            other => {
                tracing::error!(error = %other, "a sealed record can't be read or made");
                Self::new(ErrorCode::InternalError, "The vault's records can't be read.")
            }
        }
    }
}

impl From<BodyError> for VaultError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLong { .. } => {
                Self::new(ErrorCode::RequestBodyTooLarge, "The request's body is too large.")
            }
            other => Self::bad(format!("The request's body can't be read: {other}.")),
        }
    }
}
