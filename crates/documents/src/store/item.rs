//! The forms in which items are handed to services above: taken apart, as text, and as a transaction will write them.

use bytes::Bytes;
use ledger::Sequence;
use serde_json::Value;

use super::records::{ItemRecord, decode};
use crate::error::DocumentsError;

/// An item as its readers see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The document, system properties included.
    pub document: Value,
    /// The etag, quotes included, as in `_etag`.
    pub etag: String,
    /// The commit that wrote it; 0 while it is only staged.
    pub version: Sequence,
}

/// An item as it is stored, for readers who take it apart themselves: into a type of theirs, without a [`Value`] between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemText {
    /// The document as JSON, system properties included.
    pub text: Bytes,
    /// The etag, quotes included, as in `_etag`.
    pub etag: String,
    /// The commit that wrote it.
    pub version: Sequence,
}

impl ItemText {
    pub(crate) fn new(record: ItemRecord, version: Sequence) -> Self {
        Self {
            etag: record.etag_text(),
            text: record.text,
            version,
        }
    }

    pub(crate) fn into_item(self) -> Result<Item, DocumentsError> {
        Ok(Item {
            document: decode(&self.text, "an item's text")?,
            etag: self.etag,
            version: self.version,
        })
    }
}

/// An item that a transaction writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedItem {
    /// The etag that it will have, quotes included.
    pub etag: String,
    text: Bytes,
}

impl StagedItem {
    pub(crate) fn new(etag: String, text: Bytes) -> Self {
        Self { etag, text }
    }

    /// The document as it will be, system properties included.
    ///
    /// # Errors
    /// [`DocumentsError::Damaged`] if it can't be read back.
    pub fn document(&self) -> Result<Value, DocumentsError> {
        decode(&self.text, "a staged item")
    }
}
