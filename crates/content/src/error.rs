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
    /// The disk or the store behind it failed.
    #[error("the content store failed: {0}")]
    Io(String),
    /// More bytes than the caller bounded.
    #[error("content is longer than {bytes_max} bytes")]
    TooLong {
        /// The caller's bound.
        bytes_max: usize,
    },
}
