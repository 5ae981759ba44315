//! What the database's errors mean.

use ledger::LedgerError;
use tokio_postgres::error::SqlState;

/// Why the ledger can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The options can't be used: what, and what to do.
    #[error("{0}")]
    Options(String),
    /// The database can't be reached.
    #[error("PostgreSQL can't be reached: {0}")]
    Unreachable(String),
    /// It is too old, or set up so that acknowledged isn't on disk.
    #[error("this PostgreSQL can't be used: {0}")]
    Unfit(String),
    /// There is no ledger to copy.
    #[error("schema {schema} of this database holds no ledger; name the one that nodes were given")]
    NoLedger {
        /// The schema.
        schema: String,
    },
    /// A ledger is being copied into the schema.
    #[error(
        "schema {schema} holds half a copy of a ledger; the same `stabbur ledger copy` again goes on with it, or \
         `DROP SCHEMA {schema} CASCADE` gives it up"
    )]
    HalfCopied {
        /// The schema.
        schema: String,
    },
    /// A ledger can't be copied into the schema: why, and what to do.
    #[error("{0}")]
    NotForCopy(String),
    /// The schema is a newer program's.
    #[error("schema {schema} has version {found}, this program knows up to {known}; use a newer program")]
    Newer {
        /// The schema.
        schema: String,
        /// Its version.
        found: i32,
        /// The newest that is known.
        known: i32,
    },
}

/// What to do about a failed statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection is gone, or the database is: what it did last may have happened.
    Lost(String),
    /// Others were in the way; nothing happened.
    Again(String),
    /// No space; nothing happened.
    Full,
    /// Anything else; nothing happened.
    Other(String),
}

impl Failure {
    pub(crate) fn of(error: &tokio_postgres::Error) -> Self {
        let Some(database) = error.as_db_error() else {
            return Self::Lost(describe(error));
        };
        let text = database.message().to_owned();
        let code = database.code();
        let lost = [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
            SqlState::READ_ONLY_SQL_TRANSACTION,
        ];
        let again = [
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::QUERY_CANCELED,
        ];
        if lost.contains(code) || code.code().starts_with("08") {
            Self::Lost(text)
        } else if again.contains(code) {
            Self::Again(text)
        } else if *code == SqlState::DISK_FULL {
            Self::Full
        } else {
            Self::Other(text)
        }
    }

    pub(crate) fn into_error(self) -> LedgerError {
        match self {
            Self::Lost(text) | Self::Again(text) => LedgerError::Unavailable(format!("PostgreSQL: {text}")),
            Self::Full => LedgerError::Full,
            Self::Other(text) => LedgerError::Unavailable(format!("PostgreSQL refused a statement: {text}")),
        }
    }
}

/// An error with its causes, which its own text leaves out.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A failed read.
pub(crate) fn read_failed(error: &tokio_postgres::Error) -> LedgerError {
    let failure = Failure::of(error);
    if let Failure::Other(cause) = &failure {
        tracing::error!(cause, "PostgreSQL refused a read");
    }
    failure.into_error()
}
