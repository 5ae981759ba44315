//! The rows of a page: values for services above, JSON text for the protocol.

use serde_json::Value;

use crate::error::DocumentsError;
use crate::limits::{PAGE_BYTES_MAX, PAGE_ITEMS_DEFAULT};
use crate::store::records::ItemRecord;

/// What is taken at once for the rows that are expected to follow the first one, at most.
const ROOM_BYTES_MAX: usize = 256 * 1024;

/// A page's rows, as values or as JSON text, bounded either way.
#[derive(Debug)]
pub(crate) struct Rows {
    values: Option<Vec<Value>>,
    text: Vec<u8>,
    /// Bytes of the text before the first row.
    head: usize,
    count: usize,
    bytes: usize,
}

impl Rows {
    /// Keeps values.
    pub(crate) fn values() -> Self {
        Self {
            values: Some(Vec::new()),
            text: Vec::new(),
            head: 0,
            count: 0,
            bytes: 0,
        }
    }

    /// Writes the elements of a JSON array, commas between them, behind `head`: so the body of an answer is
    /// written once.
    pub(crate) fn text(head: &str) -> Self {
        let mut text = Vec::with_capacity(4_096);
        text.extend_from_slice(head.as_bytes());
        Self {
            values: None,
            text,
            head: head.len(),
            count: 0,
            bytes: 0,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn into_values(self) -> Vec<Value> {
        self.values.unwrap_or_default()
    }

    /// The head and the rows.
    pub(crate) fn into_text(self) -> Vec<u8> {
        self.text
    }

    /// Bytes of the rows' text.
    pub(crate) fn text_bytes(&self) -> usize {
        self.text.len() - self.head
    }

    pub(super) fn is_full(&self, items_max: usize) -> bool {
        self.count >= items_max || self.bytes >= PAGE_BYTES_MAX
    }

    /// How many rows are wanted yet, as far as their number bounds them.
    pub(super) fn missing(&self, items_max: usize) -> usize {
        items_max.saturating_sub(self.count)
    }

    fn separate(&mut self) {
        if self.count > 0 {
            self.text.push(b',');
        }
        self.count += 1;
    }

    /// Adds a row.
    pub(super) fn add(&mut self, row: Value) -> Result<(), DocumentsError> {
        if let Some(values) = &mut self.values {
            // The text isn't needed; its size is what bounds the page.
            self.bytes += row.to_string().len();
            self.count += 1;
            values.push(row);
            return Ok(());
        }
        self.separate();
        serde_json::to_writer(&mut self.text, &row)
            .map_err(|error| DocumentsError::Damaged(format!("a row: {error}")))?;
        self.bytes = self.text_bytes();
        Ok(())
    }

    /// Adds a document as a row, as it is stored.
    pub(super) fn add_stored(&mut self, record: &ItemRecord) -> Result<(), DocumentsError> {
        if let Some(values) = &mut self.values {
            values.push(record.parse()?);
            self.count += 1;
            self.bytes += record.text.len();
            return Ok(());
        }
        self.separate();
        if self.count == 2 {
            // The first row was not the only one: as many are likely as a page has.
            let room = self.text.len().saturating_mul(PAGE_ITEMS_DEFAULT);
            self.text.reserve(room.min(ROOM_BYTES_MAX));
        }
        self.text.extend_from_slice(&record.text);
        self.bytes = self.text_bytes();
        Ok(())
    }
}
