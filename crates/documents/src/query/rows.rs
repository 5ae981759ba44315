//! The rows of a page: values for services above, JSON text for the protocol.

use serde_json::Value;

use crate::error::DocumentsError;
use crate::limits::PAGE_BYTES_MAX;
use crate::store::records::ItemRecord;

/// A page's rows, as values or as JSON text, bounded either way.
#[derive(Debug)]
pub(crate) struct Rows {
    values: Option<Vec<Value>>,
    text: Vec<u8>,
    count: usize,
    bytes: usize,
}

impl Rows {
    /// Keeps values.
    pub(crate) fn values() -> Self {
        Self {
            values: Some(Vec::new()),
            text: Vec::new(),
            count: 0,
            bytes: 0,
        }
    }

    /// Writes the elements of a JSON array, commas between them.
    pub(crate) fn text() -> Self {
        Self {
            values: None,
            text: Vec::with_capacity(4_096),
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

    pub(crate) fn into_text(self) -> Vec<u8> {
        self.text
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
        self.bytes = self.text.len();
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
        self.text.extend_from_slice(&record.text);
        self.bytes = self.text.len();
        Ok(())
    }
}
