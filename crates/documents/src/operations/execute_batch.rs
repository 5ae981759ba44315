//! Execute Transactional Batch: up to 100 operations on items of one partition key, in one commit.
//!
//! Invariant: if one fails it answers its own status, all others 424, and nothing is stored.

use std::sync::Arc;

use http::StatusCode;
use http_semantics::etag::TagList;
use ledger::{Key, LedgerError, Sequence, Transaction};
use serde_json::Value;

use super::item_action::{self, Action, ItemAction, ItemResult};
use crate::error::DocumentsError;
use crate::limits::COMMIT_ATTEMPTS_MAX;
use crate::rules::batch::{self, BatchForm, BatchOperation, BatchResult, BatchVerb};
use crate::rules::hybrid_row;
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
    let (operations, form) = batch::read(&call.batch_body()?)?;
    let items = operations
        .iter()
        .map(|operation| prepare(&container, operation, &key))
        .collect::<Vec<_>>();
    for _ in 0..COMMIT_ATTEMPTS_MAX {
        match attempt(call, &container, &items).await? {
            Attempt::Done(results, sequence) => {
                return Ok(answer(&container, &operations, &results, form, sequence));
            }
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
    operations: &[BatchOperation],
    results: &[Result<ItemResult, DocumentsError>],
    form: BatchForm,
    sequence: Sequence,
) -> Answer {
    let results: Vec<BatchResult<'_>> = operations
        .iter()
        .zip(results)
        .map(|(operation, result)| row_result(operation, result))
        .collect();
    let charge = results.iter().map(|result| result.charge).sum();
    let status = if results.iter().all(|result| result.error.is_none()) {
        StatusCode::OK
    } else {
        StatusCode::MULTI_STATUS
    };
    let answer = match form {
        BatchForm::Json => Answer::new(status, batch::write(&results), charge),
        BatchForm::HybridRow => {
            let body = hybrid_row::write(results.into_iter());
            Answer::new(status, body, charge).with("content-type", "application/octet-stream")
        }
    };
    answer.with_session(sequence).with_owner(container)
}

fn row_result<'a>(
    operation: &BatchOperation,
    result: &'a Result<ItemResult, DocumentsError>,
) -> BatchResult<'a> {
    match result {
        Ok(result) => BatchResult {
            status: result.status.as_u16(),
            substatus: 0,
            etag: result.etag.as_deref(),
            body: if operation.minimal && operation.verb != BatchVerb::Read {
                &[]
            } else {
                &result.body
            },
            charge: result.charge,
            error: None,
        },
        Err(error) => BatchResult {
            status: error.status().as_u16(),
            substatus: error.substatus(),
            etag: None,
            body: &[],
            charge: 0.0,
            error: Some(error.public_message()),
        },
    }
}
