//! What can go wrong in the content store.

use crate::ContentId;

/// A failed content operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentError {
    /// There is no such content.
    #[error("content {0} does not exist")]
    NotFound(ContentId),
    /// Stored bytes fail their checksum.
    #[error("content {id} is damaged: {cause}; restore it from a backup")]
    Corrupt {
        /// Which content.
        id: ContentId,
        /// What failed, and where.
        cause: String,
    },
    /// No space left; nothing was kept.
    #[error("the content store's disk is full; free space on it and retry")]
    Full,
    /// The store can't be reached, or says itself that it can't answer for now; nothing was kept, and
    /// trying again later may well succeed.
    #[error("the content store is unavailable: {0}")]
    Unavailable(String),
    /// The disk failed, or the store refused what would be refused again: its credentials, its bucket.
    #[error("the content store failed: {0}")]
    Io(String),
    /// More bytes than the caller bounded.
    #[error("content is longer than {bytes_max} bytes")]
    TooLong {
        /// The caller's bound.
        bytes_max: usize,
    },
}
