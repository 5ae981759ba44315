//! Batches as they are sent: a JSON array of operations, or the rows of the .NET client.

use serde_json::{Value, json};

use crate::error::DocumentsError;
use crate::limits::BATCH_OPERATIONS_MAX;
use crate::rules::hybrid_row;
use crate::rules::index_policy::IndexingDirective;
use crate::rules::partition_key::PartitionKey;

/// The form of a request, in which it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchForm {
    /// A JSON array.
    Json,
    /// Rows: see [`hybrid_row`].
    HybridRow,
}

/// What a batch operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the protocol's own names")]
pub enum BatchVerb {
    Create,
    Upsert,
    Replace,
    Read,
    Delete,
    Patch,
}

/// One operation of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchOperation {
    /// What it does.
    pub verb: BatchVerb,
    /// The item's id: of the operation, else of its body.
    pub id: String,
    /// The item, or the patch.
    pub body: Option<Value>,
    /// Only an item with this etag is written.
    pub if_match: Option<String>,
    /// An item with this etag isn't read.
    pub if_none_match: Option<String>,
    /// Whether what it writes is to be indexed.
    pub directive: IndexingDirective,
    /// Only in bulk.
    pub partition_key: Option<PartitionKey>,
    /// Whether the result leaves the item away.
    pub minimal: bool,
}

impl BatchOperation {
    /// An operation without conditions; an error says what is missing.
    pub(crate) fn new(
        verb: BatchVerb,
        id: Option<String>,
        body: Option<Value>,
    ) -> Result<Self, &'static str> {
        if body.is_none() && !matches!(verb, BatchVerb::Read | BatchVerb::Delete) {
            return Err("resourceBody is missing");
        }
        let body_id = || {
            let id = body.as_ref()?.get("id")?.as_str()?;
            Some(id.to_owned())
        };
        Ok(Self {
            verb,
            id: id.or_else(body_id).ok_or("id is missing")?,
            body,
            if_match: None,
            if_none_match: None,
            directive: IndexingDirective::Default,
            partition_key: None,
            minimal: false,
        })
    }
}

/// What came of an operation, as it is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchResult<'a> {
    /// HTTP status.
    pub status: u16,
    /// The protocol's substatus; 0 for none.
    pub substatus: u32,
    /// The item's etag.
    pub etag: Option<&'a str>,
    /// The item's text; empty for none.
    pub body: &'a [u8],
    /// Request units.
    pub charge: f64,
    /// Why it failed.
    pub error: Option<String>,
}

/// Reads a request's body.
///
/// # Errors
/// 400 for a malformed batch, one without operations or with too many.
pub fn read(body: &[u8]) -> Result<(Vec<BatchOperation>, BatchForm), DocumentsError> {
    if body.first() == Some(&hybrid_row::FIRST_BYTE) {
        return Ok((hybrid_row::read(body)?, BatchForm::HybridRow));
    }
    Ok((parse(&super::json::parse(body)?.value)?, BatchForm::Json))
}

/// Reads the operations of a JSON batch.
fn parse(body: &Value) -> Result<Vec<BatchOperation>, DocumentsError> {
    let operations = body
        .as_array()
        .ok_or_else(|| DocumentsError::bad_request("A batch must be a JSON array of operations."))?;
    if operations.is_empty() || operations.len() > BATCH_OPERATIONS_MAX {
        return Err(DocumentsError::bad_request(format!(
            "A batch has 1 to {BATCH_OPERATIONS_MAX} operations; this one has {}.",
            operations.len()
        )));
    }
    operations
        .iter()
        .enumerate()
        .map(|(place, operation)| parse_one(place, operation))
        .collect()
}

fn parse_one(place: usize, operation: &Value) -> Result<BatchOperation, DocumentsError> {
    let bad =
        |why: &str| DocumentsError::bad_request(format!("Operation {place} of the batch is invalid: {why}."));
    let text = |name: &str| operation.get(name).and_then(Value::as_str).map(str::to_owned);
    let verb = match text("operationType").as_deref() {
        Some("Create") => BatchVerb::Create,
        Some("Upsert") => BatchVerb::Upsert,
        Some("Replace") => BatchVerb::Replace,
        Some("Read") => BatchVerb::Read,
        Some("Delete") => BatchVerb::Delete,
        Some("Patch") => BatchVerb::Patch,
        Some(_) => {
            return Err(bad(
                "operationType is none of Create, Upsert, Replace, Read, Delete, Patch",
            ));
        }
        None => return Err(bad("operationType is missing")),
    };
    let body = operation
        .get("resourceBody")
        .filter(|body| !body.is_null())
        .cloned();
    let partition_key = match operation.get("partitionKey") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(PartitionKey::from_header(text)?),
        Some(other) => Some(PartitionKey::from_header(&other.to_string())?),
    };
    let directive = match operation.get("indexingDirective") {
        None | Some(Value::Null) => IndexingDirective::Default,
        Some(Value::String(text)) => IndexingDirective::parse(text)?,
        Some(other) => IndexingDirective::parse(&other.to_string())?,
    };
    let parsed = BatchOperation::new(verb, text("id"), body).map_err(bad)?;
    Ok(BatchOperation {
        directive,
        if_match: text("ifMatch"),
        if_none_match: text("ifNoneMatch"),
        partition_key,
        ..parsed
    })
}

/// Writes the results of a JSON batch.
pub(crate) fn write(results: &[BatchResult<'_>]) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    body.push(b'[');
    for (place, result) in results.iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        let mut head = json!({
            "statusCode": result.status,
            "subStatusCode": result.substatus,
            "requestCharge": result.charge,
        });
        if let Value::Object(head) = &mut head {
            if let Some(etag) = result.etag {
                head.insert("eTag".to_owned(), json!(etag));
            }
            if let Some(error) = &result.error {
                head.insert("message".to_owned(), json!(error));
            }
        }
        let head = head.to_string();
        body.extend_from_slice(head.strip_suffix('}').unwrap_or(&head).as_bytes());
        if !result.body.is_empty() {
            // The document's text goes in as it is stored.
            body.extend_from_slice(b",\"resourceBody\":");
            body.extend_from_slice(result.body);
        }
        body.push(b'}');
    }
    body.push(b']');
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_operations() {
        let parsed = parse(&json!([
            {"operationType": "Create", "resourceBody": {"id": "a"}},
            {"operationType": "Delete", "id": "b", "ifMatch": "\"e\"", "partitionKey": "[\"p\"]"},
        ]))
        .unwrap();
        assert_eq!(parsed[0].id, "a");
        assert_eq!(parsed[1].verb, BatchVerb::Delete);
        assert_eq!(parsed[1].partition_key, Some(PartitionKey::string("p")));
    }

    #[test]
    fn refuses() {
        let many = vec![json!({"operationType": "Read", "id": "a"}); 101];
        for bad in [
            json!({}),
            json!([]),
            json!(many),
            json!([{}]),
            json!([{"operationType": "Drop", "id": "a"}]),
            json!([{"operationType": "Create"}]),
            json!([{"operationType": "Read"}]),
            json!([{"operationType": "Read", "id": "a", "partitionKey": "x"}]),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
    }
}
