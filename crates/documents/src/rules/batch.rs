//! Batches as they are sent: a JSON array of operations.

use serde_json::Value;

use crate::error::DocumentsError;
use crate::limits::BATCH_OPERATIONS_MAX;
use crate::rules::index_policy::IndexingDirective;
use crate::rules::partition_key::PartitionKey;

/// What a batch operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BatchVerb {
    Create,
    Upsert,
    Replace,
    Read,
    Delete,
    Patch,
}

/// One operation of a batch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BatchOperation {
    pub(crate) verb: BatchVerb,
    /// The item's id: of the operation, else of its body.
    pub(crate) id: String,
    pub(crate) body: Option<Value>,
    pub(crate) if_match: Option<String>,
    pub(crate) if_none_match: Option<String>,
    /// Whether what it writes is to be indexed.
    pub(crate) directive: IndexingDirective,
    /// Only in bulk.
    pub(crate) partition_key: Option<PartitionKey>,
}

/// Reads the operations of a batch.
///
/// # Errors
/// 400 for a malformed batch, one without operations or with too many.
pub(crate) fn parse(body: &Value) -> Result<Vec<BatchOperation>, DocumentsError> {
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
    if body.is_none() && !matches!(verb, BatchVerb::Read | BatchVerb::Delete) {
        return Err(bad("resourceBody is missing"));
    }
    let body_id = || {
        body.as_ref()
            .and_then(|body| body.get("id"))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let id = text("id").or_else(body_id).ok_or_else(|| bad("id is missing"))?;
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
    Ok(BatchOperation {
        verb,
        directive,
        id,
        if_match: text("ifMatch"),
        if_none_match: text("ifNoneMatch"),
        partition_key,
        body,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
