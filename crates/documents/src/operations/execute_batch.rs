//! Execute Transactional Batch: up to 100 operations on items of one partition key, in one commit.
//!
//! Invariant: if one fails it answers its own status, all others 424, and nothing is stored.

use std::sync::Arc;

use http::StatusCode;
use http_semantics::etag::TagList;
use ledger::{Key, LedgerError, Sequence, Transaction};
use serde_json::{Value, json};

use super::item_action::{self, Action, ItemAction, ItemResult};
use crate::error::DocumentsError;
use crate::limits::COMMIT_ATTEMPTS_MAX;
use crate::rules::batch::{self, BatchOperation, BatchVerb};
use crate::rules::partition_key::PartitionKey;
use crate::rules::patch;
use crate::store::Container;
use crate::store::items::{NewDocument, unique_conflict};
use crate::store::keys::{ConflictCause, conflict_cause};
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    call.refuse_triggers()?;
    let mut container = call.container().await?;
    let key = call.item_key(&container)?;
    let operations = batch::parse(&call.json_body()?)?;
    let items = operations
        .iter()
        .map(|operation| prepare(&container, operation, &key))
        .collect::<Vec<_>>();
    for _ in 0..COMMIT_ATTEMPTS_MAX {
        match attempt(call, &container, &items).await? {
            Attempt::Done(results, sequence) => return Ok(answer(&container, &results, sequence)),
            Attempt::Conflict(ConflictCause::Container) => {
                call.documents.catalog.forget(&container);
                container = call.documents.latest(&container).await?;
            }
            Attempt::Conflict(_) => {}
        }
    }
    Err(DocumentsError::RetryWith)
}

enum Attempt {
    Done(Vec<Result<ItemResult, DocumentsError>>, Sequence),
    Conflict(ConflictCause),
}

async fn attempt(
    call: &Call<'_>,
    container: &Arc<Container>,
    items: &[Result<ItemAction, DocumentsError>],
) -> Result<Attempt, DocumentsError> {
    let snapshot = call.snapshot().await?;
    let mut tx = Transaction::new();
    let mut results = Vec::with_capacity(items.len());
    // How many preconditions there were after each operation: whose one failed?
    let mut preconditions = Vec::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        let result = match item {
            Ok(item) => {
                item_action::stage(call.documents, &mut tx, Some(snapshot.as_ref()), container, item).await
            }
            Err(error) => Err(error.clone()),
        };
        match result {
            Ok(result) => results.push(Ok(result)),
            Err(error) if error.status().is_client_error() => {
                return Ok(Attempt::Done(
                    failed(items.len(), place, error),
                    snapshot.sequence(),
                ));
            }
            Err(error) => return Err(error),
        }
        preconditions.push(tx.preconditions().len());
    }
    if tx.is_empty() {
        return Ok(Attempt::Done(results, snapshot.sequence()));
    }
    let keys: Vec<Key> = tx
        .preconditions()
        .iter()
        .map(|precondition| precondition.key.clone())
        .collect();
    match call.documents.ledger.commit(tx).await {
        Ok(committed) => Ok(Attempt::Done(results, committed.sequence)),
        Err(LedgerError::Conflict(conflict)) => {
            let cause = conflict_cause(&conflict.key);
            let at = keys.iter().position(|key| *key == conflict.key).unwrap_or(0);
            let place = preconditions.partition_point(|count| *count <= at);
            match cause {
                ConflictCause::UniqueKey => Ok(Attempt::Done(
                    failed(items.len(), place, unique_conflict()),
                    snapshot.sequence(),
                )),
                other => Ok(Attempt::Conflict(other)),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn failed(count: usize, place: usize, error: DocumentsError) -> Vec<Result<ItemResult, DocumentsError>> {
    let mut error = Some(error);
    (0..count)
        .map(|at| match error.take() {
            Some(own) if at == place => Err(own),
            other => {
                error = other;
                Err(DocumentsError::FailedDependency)
            }
        })
        .collect()
}

/// Turns an operation of the batch into an action, with the checks that its own request would get.
pub(super) fn prepare(
    container: &Container,
    operation: &BatchOperation,
    key: &PartitionKey,
) -> Result<ItemAction, DocumentsError> {
    let document = || {
        let new = NewDocument::from_value(operation.body.clone().unwrap_or(Value::Null))?
            .directed(operation.directive);
        let extracted = container.partition_key.extract(new.value())?;
        if extracted != *key {
            return Err(DocumentsError::PartitionKeyMismatch(format!(
                "The document has {}, the batch {}.",
                extracted.to_json(),
                key.to_json()
            )));
        }
        Ok(new)
    };
    let action = match operation.verb {
        BatchVerb::Create => Action::Create(document()?),
        BatchVerb::Upsert => Action::Upsert(document()?),
        BatchVerb::Replace => {
            let new = document()?;
            if new.id() != operation.id {
                return Err(DocumentsError::bad_request(
                    "The id in the body differs from the operation's id.",
                ));
            }
            Action::Replace(new)
        }
        BatchVerb::Patch => {
            let body = operation.body.as_ref().unwrap_or(&Value::Null);
            Action::Patch(patch::parse(body, &container.partition_key.paths)?)
        }
        BatchVerb::Delete => Action::Delete,
        BatchVerb::Read => Action::Read,
    };
    let tags = |text: &Option<String>| {
        text.as_deref()
            .filter(|text| !text.is_empty())
            .map(TagList::parse)
    };
    Ok(ItemAction {
        action,
        id: operation.id.clone(),
        key: key.clone(),
        if_match: tags(&operation.if_match),
        if_none_match: tags(&operation.if_none_match),
    })
}

/// The answer to a batch or bulk request: 200 if every operation did well, else 207.
pub(super) fn answer(
    container: &Container,
    results: &[Result<ItemResult, DocumentsError>],
    sequence: Sequence,
) -> Answer {
    let mut body = Vec::with_capacity(256);
    let mut charge = 0.0;
    let mut all_well = true;
    body.push(b'[');
    for (place, result) in results.iter().enumerate() {
        if place > 0 {
            body.push(b',');
        }
        match result {
            Ok(result) => {
                charge += result.charge;
                let mut head = json!({
                    "statusCode": result.status.as_u16(),
                    "subStatusCode": 0,
                    "requestCharge": result.charge,
                });
                if let (Some(etag), Value::Object(head)) = (&result.etag, &mut head) {
                    head.insert("eTag".to_owned(), json!(etag));
                }
                let head = head.to_string();
                body.extend_from_slice(head.strip_suffix('}').unwrap_or(&head).as_bytes());
                if !result.body.is_empty() {
                    // The document's text goes in as it is stored.
                    body.extend_from_slice(b",\"resourceBody\":");
                    body.extend_from_slice(&result.body);
                }
                body.push(b'}');
            }
            Err(error) => {
                all_well = false;
                let failed = json!({
                    "statusCode": error.status().as_u16(),
                    "subStatusCode": error.substatus(),
                    "requestCharge": 0,
                    "message": error.public_message(),
                });
                body.extend_from_slice(failed.to_string().as_bytes());
            }
        }
    }
    body.push(b']');
    let status = if all_well {
        StatusCode::OK
    } else {
        StatusCode::MULTI_STATUS
    };
    Answer::new(status, body, charge)
        .with_session(sequence)
        .with_owner(container)
}
