//! Execute Bulk: operations that have only the request in common. Each has its own partition key
//! and its own commit.

use super::execute_batch::{answer, prepare};
use super::item_action;
use crate::error::DocumentsError;
use crate::rules::batch;
use crate::wire::answer::Answer;
use crate::wire::call::Call;
use crate::wire::headers;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    call.refuse_triggers()?;
    let container = call.container().await?;
    call.scope(&container)?;
    let goes_on = call.flag(headers::BATCH_CONTINUE);
    let common_key = call.partition_key()?;
    let (operations, form) = batch::read(&call.batch_body()?)?;
    let mut results = Vec::with_capacity(operations.len());
    let mut sequence = call.documents.ledger.snapshot().await?.sequence();
    let mut stopped = false;
    for operation in &operations {
        if stopped {
            results.push(Err(DocumentsError::FailedDependency));
            continue;
        }
        let key = operation.partition_key.as_ref().or(common_key.as_ref());
        let prepared = match key {
            Some(key) if container.partition_key.is_complete(key) => prepare(&container, operation, key),
            _ => Err(DocumentsError::bad_request(
                "Each bulk operation needs its whole partitionKey.",
            )),
        };
        let result = match prepared {
            Ok(item) => item_action::run(call.documents, container.clone(), &item).await,
            Err(error) => Err(error),
        };
        match result {
            Ok((result, at)) => {
                sequence = sequence.max(at);
                results.push(Ok(result));
            }
            Err(error) => {
                stopped = !goes_on;
                results.push(Err(error));
            }
        }
    }
    Ok(answer(&container, &operations, &results, form, sequence))
}
