//! The binary rows in which the .NET client sends the operations of batch and bulk requests, and reads
//! their results.
//!
//! A body is a row that opens the segment, and then, for each operation, a header (the row's length and
//! CRC-32) and the row. A row is a version byte, its schema's id, a byte that says which of the schema's
//! columns are there, these columns in order, and behind them fields that name themselves. Numbers are
//! little-endian, lengths of texts LEB128.
//!
//! Source: HybridRow's RecordIO layout and the schemas `BatchOperation` and `BatchResult` of the .NET SDK
//! v3 (`BatchSchemas.json`).

use crc_fast::CrcAlgorithm;

use super::batch::{BatchOperation, BatchResult, BatchVerb};
use super::index_policy::IndexingDirective;
use super::partition_key::PartitionKey;
use super::{binary_json, json};
use crate::error::DocumentsError;
use crate::limits::BATCH_OPERATIONS_MAX;

/// The first byte of such a body: the format's version.
pub const FIRST_BYTE: u8 = 0x81;

const SEGMENT: [u8; 5] = [FIRST_BYTE, 0xF0, 0xD8, 0xFF, 0x7F];
const RECORD: [u8; 5] = [FIRST_BYTE, 0xF1, 0xD8, 0xFF, 0x7F];
const OPERATION: [u8; 5] = [FIRST_BYTE, 0x70, 0x54, 0xE1, 0x7F];
const RESULT: [u8; 5] = [FIRST_BYTE, 0x71, 0x54, 0xE1, 0x7F];

/// The whole row that opens a segment, with the one column that it needs: its own length.
const SEGMENT_BYTES: u32 = 10;

/// The resource type of documents.
const DOCUMENT: u32 = 2;

// Types of the fields that name themselves.
const FALSE: u8 = 0x02;
const TRUE: u8 = 0x03;
const INT32: u8 = 0x07;
const FLOAT64: u8 = 0x10;
const UTF8: u8 = 0x14;

/// Reads the operations of a body.
///
/// # Errors
/// 400 with the offset of what can't be read; 400 for a batch without operations or with too many.
pub fn read(body: &[u8]) -> Result<Vec<BatchOperation>, DocumentsError> {
    let mut reader = Reader { bytes: body, at: 0 };
    reader.expect(&SEGMENT, "a segment")?;
    let present = reader.byte()?;
    if present & !0b111 != 0 {
        return Err(reader.bad("the segment has columns that aren't known"));
    }
    if present & 1 != 0 {
        let length = reader.u32()? as usize;
        if length < reader.at {
            return Err(reader.bad("the segment's row is shorter than its columns"));
        }
        // A comment and a schema may follow, which say nothing here.
        reader.take(length - reader.at)?;
    } else if present != 0 {
        return Err(reader.bad("the segment doesn't say how long its row is"));
    }
    let mut operations = Vec::new();
    while reader.at < body.len() {
        if operations.len() == BATCH_OPERATIONS_MAX {
            return Err(DocumentsError::bad_request(format!(
                "A batch has 1 to {BATCH_OPERATIONS_MAX} operations; this one has more."
            )));
        }
        operations.push(reader.record(operations.len())?);
    }
    if operations.is_empty() {
        return Err(DocumentsError::bad_request(format!(
            "A batch has 1 to {BATCH_OPERATIONS_MAX} operations; this one has none."
        )));
    }
    Ok(operations)
}

/// Writes a body with results.
#[must_use]
pub fn write<'a>(results: impl Iterator<Item = BatchResult<'a>>) -> Vec<u8> {
    let mut body = SEGMENT.to_vec();
    body.push(1);
    body.extend_from_slice(&SEGMENT_BYTES.to_le_bytes());
    let mut row = Vec::new();
    for result in results {
        row.clear();
        put_result(&mut row, &result);
        body.extend_from_slice(&RECORD);
        // An answer is far smaller than 4 GiB: its items are bounded, and so is their number.
        body.extend_from_slice(&u32::try_from(row.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend_from_slice(&checksum(&row).to_le_bytes());
        body.extend_from_slice(&row);
    }
    body
}

fn put_result(row: &mut Vec<u8>, result: &BatchResult<'_>) {
    row.extend_from_slice(&RESULT);
    let (etag, body) = (result.etag.is_some(), !result.body.is_empty());
    row.push(0b11 | u8::from(etag) << 2 | u8::from(body) << 3);
    row.extend_from_slice(&u32::from(result.status).to_le_bytes());
    row.extend_from_slice(&result.substatus.to_le_bytes());
    if let Some(etag) = result.etag {
        put_bytes(row, etag.as_bytes());
    }
    if body {
        put_bytes(row, result.body);
    }
    row.extend_from_slice(&[FLOAT64, 6]);
    row.extend_from_slice(&result.charge.to_le_bytes());
}

fn checksum(row: &[u8]) -> u32 {
    // The algorithm has 32 bits.
    u32::try_from(crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, row)).unwrap_or(u32::MAX)
}

fn put_bytes(row: &mut Vec<u8>, bytes: &[u8]) {
    let mut length = bytes.len();
    loop {
        let [low, ..] = length.to_le_bytes();
        length >>= 7;
        if length == 0 {
            row.push(low & 0x7F);
            break;
        }
        row.push(low | 0x80);
    }
    row.extend_from_slice(bytes);
}

/// The columns and fields of an operation.
#[derive(Debug, Default)]
struct Columns<'a> {
    verb: Option<u32>,
    resource: Option<u32>,
    partition_key: Option<&'a str>,
    id: Option<&'a str>,
    body: Option<&'a [u8]>,
    directive: Option<&'a str>,
    if_match: Option<&'a str>,
    if_none_match: Option<&'a str>,
    minimal: bool,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn bad(&self, why: &str) -> DocumentsError {
        DocumentsError::bad_request(format!(
            "The HybridRow body is invalid at offset {}: {why}.",
            self.at
        ))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DocumentsError> {
        let end = self.at.checked_add(length);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| self.bad("it ends early"))?;
        self.at += length;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, DocumentsError> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn u32(&mut self) -> Result<u32, DocumentsError> {
        let bytes = self.take(4)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    fn expect(&mut self, header: &[u8; 5], what: &str) -> Result<(), DocumentsError> {
        let at = self.at;
        if self.take(header.len())? == header {
            return Ok(());
        }
        self.at = at;
        Err(self.bad(&format!("{what} should begin here")))
    }

    fn varint(&mut self) -> Result<usize, DocumentsError> {
        let mut number = 0usize;
        // Five groups of seven bits are more than any body has bytes.
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            number |= usize::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.bad("a length is too long"))
    }

    fn counted(&mut self) -> Result<&'a [u8], DocumentsError> {
        let length = self.varint()?;
        self.take(length)
    }

    fn text(&mut self) -> Result<&'a str, DocumentsError> {
        let bytes = self.counted()?;
        std::str::from_utf8(bytes).map_err(|_| self.bad("a text isn't UTF-8"))
    }

    fn record(&mut self, place: usize) -> Result<BatchOperation, DocumentsError> {
        self.expect(&RECORD, "a record")?;
        let (length, sum) = (self.u32()? as usize, self.u32()?);
        let begin = self.at;
        let row = self.take(length)?;
        if checksum(row) != sum {
            return Err(self.bad("the record's checksum doesn't match"));
        }
        let mut inside = Reader {
            bytes: self.bytes.get(..self.at).unwrap_or_default(),
            at: begin,
        };
        inside.columns()?.operation(place)
    }

    fn columns(&mut self) -> Result<Columns<'a>, DocumentsError> {
        self.expect(&OPERATION, "an operation")?;
        let present = self.byte()?;
        let has = |bit: u8| present & 1 << bit != 0;
        let mut columns = Columns::default();
        if has(0) {
            columns.verb = Some(self.u32()?);
        }
        if has(1) {
            columns.resource = Some(self.u32()?);
        }
        if has(2) {
            columns.partition_key = Some(self.text()?);
        }
        // The hash of the partition key, which is computed from it here.
        if has(3) {
            self.counted()?;
        }
        if has(4) {
            columns.id = Some(self.text()?);
        }
        if has(5) {
            return Err(self.bad("binary ids aren't supported"));
        }
        if has(6) {
            columns.body = Some(self.counted()?);
        }
        while self.at < self.bytes.len() {
            self.field(&mut columns)?;
        }
        Ok(columns)
    }

    /// A field that names itself. One that isn't known could change what is done, so it is refused.
    fn field(&mut self, columns: &mut Columns<'a>) -> Result<(), DocumentsError> {
        let (kind, name) = (self.byte()?, self.varint()?);
        match (name, kind) {
            (8, UTF8) => columns.directive = Some(self.text()?),
            (9, UTF8) => columns.if_match = Some(self.text()?),
            (10, UTF8) => columns.if_none_match = Some(self.text()?),
            (12, TRUE) => columns.minimal = true,
            (12, FALSE) => {}
            (11, INT32) => {
                return Err(
                    self.bad("a time to live isn't taken from a batch's operation, but from its item")
                );
            }
            (name, kind) => {
                return Err(self.bad(&format!("field {name} of type {kind:#04x} isn't known")));
            }
        }
        Ok(())
    }
}

impl Columns<'_> {
    fn operation(self, place: usize) -> Result<BatchOperation, DocumentsError> {
        let bad = |why: &str| {
            DocumentsError::bad_request(format!("Operation {place} of the batch is invalid: {why}."))
        };
        let verb = match self.verb {
            Some(0) => BatchVerb::Create,
            Some(1) => BatchVerb::Patch,
            Some(2) => BatchVerb::Read,
            Some(4) => BatchVerb::Delete,
            Some(5) => BatchVerb::Replace,
            Some(20) => BatchVerb::Upsert,
            Some(_) => {
                return Err(bad(
                    "operationType is none of Create, Upsert, Replace, Read, Delete, Patch",
                ));
            }
            None => return Err(bad("operationType is missing")),
        };
        if self.resource.is_some_and(|resource| resource != DOCUMENT) {
            return Err(bad("resourceType isn't that of documents"));
        }
        let body = match self.body {
            Some(bytes) if bytes.first() == Some(&binary_json::FIRST_BYTE) => {
                Some(json::parse(&binary_json::to_text(bytes)?)?.value)
            }
            Some(bytes) => Some(json::parse(bytes)?.value),
            None => None,
        };
        let directive = match self.directive {
            Some(text) => IndexingDirective::parse(text)?,
            None => IndexingDirective::Default,
        };
        let id = self.id.map(str::to_owned);
        let key = self.partition_key.map(PartitionKey::from_header).transpose()?;
        let operation = BatchOperation::new(verb, id, body).map_err(bad)?;
        Ok(BatchOperation {
            directive,
            if_match: self.if_match.map(str::to_owned),
            if_none_match: self.if_none_match.map(str::to_owned),
            partition_key: key,
            minimal: self.minimal,
            ..operation
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Columns and fields as the client writes them.
    #[derive(Debug, Clone, Default)]
    struct Sent {
        verb: u32,
        key: Option<String>,
        id: Option<String>,
        body: Option<String>,
        if_match: Option<String>,
        minimal: Option<bool>,
    }

    fn rows(sent: &[Sent]) -> Vec<u8> {
        let mut body = SEGMENT.to_vec();
        body.push(1);
        body.extend_from_slice(&SEGMENT_BYTES.to_le_bytes());
        for one in sent {
            let mut row = OPERATION.to_vec();
            let columns = [(2, &one.key), (4, &one.id), (6, &one.body)];
            let there = columns.iter().filter(|(_, value)| value.is_some());
            row.push(there.fold(0b11, |bits, (bit, _)| bits | 1 << bit));
            row.extend_from_slice(&one.verb.to_le_bytes());
            row.extend_from_slice(&DOCUMENT.to_le_bytes());
            for (_, value) in columns {
                if let Some(value) = value {
                    put_bytes(&mut row, value.as_bytes());
                }
            }
            if let Some(tag) = &one.if_match {
                row.extend_from_slice(&[UTF8, 9]);
                put_bytes(&mut row, tag.as_bytes());
            }
            if let Some(minimal) = one.minimal {
                row.extend_from_slice(&[if minimal { TRUE } else { FALSE }, 12]);
            }
            body.extend_from_slice(&RECORD);
            body.extend_from_slice(&u32::try_from(row.len()).unwrap().to_le_bytes());
            body.extend_from_slice(&checksum(&row).to_le_bytes());
            body.extend_from_slice(&row);
        }
        body
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        digits
            .chunks(2)
            .map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap())
            .collect()
    }

    const OPENING: &str = "81F0D8FF7F 01 0A000000";

    #[test]
    fn reads_a_creation() {
        let record = "81F1D8FF7F 19000000 832FCDF9 817054E17F 43 00000000 02000000 0A 7B226964223A2231227D";
        let read = read(&hex(&format!("{OPENING}{record}"))).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!((read[0].verb, read[0].id.as_str()), (BatchVerb::Create, "1"));
    }

    #[test]
    fn writes_a_result() {
        let result = BatchResult {
            status: 201,
            substatus: 0,
            etag: Some("\"e\""),
            body: b"",
            charge: 1.0,
            error: None,
        };
        let record =
            "81F1D8FF7F 1C000000 169D1E1C 817154E17F 07 C9000000 00000000 03 226522 10 06 000000000000F03F";
        assert_eq!(write([result].into_iter()), hex(&format!("{OPENING}{record}")));
    }

    #[test]
    fn what_is_damaged_or_unknown_is_refused_with_its_place() {
        let good = rows(&[Sent {
            verb: 2,
            id: Some("a".to_owned()),
            if_match: Some("t".to_owned()),
            ..Sent::default()
        }]);
        assert!(read(&good).is_ok());
        for end in 0..good.len() {
            assert!(read(&good[..end]).is_err(), "{end} bytes");
        }
        for at in 0..good.len() {
            let mut flipped = good.clone();
            flipped[at] ^= 0x40;
            let error = read(&flipped).map(|_| at).unwrap_err();
            assert_eq!(error.status(), http::StatusCode::BAD_REQUEST);
        }
        let twice = [good.clone(), good].concat();
        assert!(read(&twice).is_err(), "a second segment");
        let unknown = |verb| {
            rows(&[Sent {
                verb,
                id: Some("a".to_owned()),
                ..Sent::default()
            }])
        };
        assert!(
            read(&unknown(3))
                .unwrap_err()
                .public_message()
                .contains("operationType")
        );
        let many = vec![
            Sent {
                verb: 2,
                id: Some("a".to_owned()),
                ..Sent::default()
            };
            BATCH_OPERATIONS_MAX + 1
        ];
        assert!(read(&rows(&many)).is_err());
        assert!(read(&rows(&many[1..])).is_ok());
        assert!(read(&rows(&[])).is_err());
    }

    fn sent() -> impl Strategy<Value = Sent> {
        let text = || proptest::option::of("[a-zå\"😀]{0,200}");
        (0u32..3, ".{1,200}", text(), any::<Option<bool>>(), any::<bool>()).prop_map(
            |(verb, id, if_match, minimal, keyed)| Sent {
                verb: [0, 2, 20][verb as usize],
                key: keyed.then(|| serde_json::json!([id]).to_string()),
                body: (verb != 1).then(|| serde_json::json!({"id": id, "long": "x".repeat(300)}).to_string()),
                id: Some(id),
                if_match,
                minimal,
            },
        )
    }

    proptest! {
        #[test]
        fn operations_are_read_as_they_were_written(sent in proptest::collection::vec(sent(), 1..20)) {
            let read = read(&rows(&sent)).unwrap();
            prop_assert_eq!(read.len(), sent.len());
            for (read, sent) in read.iter().zip(&sent) {
                prop_assert_eq!(Some(&read.id), sent.id.as_ref());
                prop_assert_eq!(read.body.is_some(), sent.body.is_some());
                prop_assert_eq!(&read.if_match, &sent.if_match);
                prop_assert_eq!(read.minimal, sent.minimal == Some(true));
                let key = sent.id.as_deref().filter(|_| sent.key.is_some()).map(PartitionKey::string);
                prop_assert_eq!(&read.partition_key, &key);
            }
        }

        #[test]
        fn bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
            let _ = read(&[&rows(&[])[..], &bytes].concat());
        }
    }
}
