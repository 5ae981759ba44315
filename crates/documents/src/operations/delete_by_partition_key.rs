//! Delete Items By Partition Key: every item that is there when the request comes, some per
//! commit.

use http::StatusCode;
use ledger::{Direction, KeyRange, Scan, Transaction};
use serde_json::Value;

use crate::error::DocumentsError;
use crate::limits::{COMMIT_ATTEMPTS_MAX, DELETE_BYTES_PER_COMMIT_MAX, INDEX_BUILD_ITEMS_PER_COMMIT_MAX};
use crate::rules::charge;
use crate::rules::partition_key::PartitionKey;
use crate::store::Container;
use crate::store::keys;
use crate::store::records::ItemRecord;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    call.refuse_triggers()?;
    let container = call.container().await?;
    let key = call.item_key(&container)?;
    let mut deleted = 0;
    let mut failures = 0;
    loop {
        match delete_some(call, &container, &key).await? {
            Some(0) => break,
            Some(count) => {
                deleted += count;
                failures = 0;
            }
            None => {
                failures += 1;
                call.documents.catalog.forget(&container);
                if failures >= COMMIT_ATTEMPTS_MAX {
                    return Err(DocumentsError::RetryWith);
                }
            }
        }
    }
    let sequence = call.documents.ledger.snapshot().await?.sequence();
    let answer = Answer::new(StatusCode::OK, "", charge::write(1, deleted));
    Ok(answer.with_session(sequence).with_owner(&container))
}

/// Deletes some items; how many, or `None` if others changed one of them meanwhile.
async fn delete_some(
    call: &Call<'_>,
    container: &Container,
    key: &PartitionKey,
) -> Result<Option<usize>, DocumentsError> {
    let container = call.documents.latest(container).await?;
    let snapshot = call.documents.ledger.snapshot().await?;
    let prefix = keys::partition(container.number, &container.place(key));
    let mut scan = Scan::new(snapshot.as_ref(), KeyRange::prefix(&prefix), Direction::Forward);
    let mut tx = Transaction::new();
    let mut count = 0;
    // What keeps versions writes each deleted item once more.
    while count < INDEX_BUILD_ITEMS_PER_COMMIT_MAX
        && tx.size_bytes() < DELETE_BYTES_PER_COMMIT_MAX
        && let Some(entry) = scan.next().await?
    {
        let Some(number) = keys::ending_number(&entry.key) else {
            continue;
        };
        let Some(found) = snapshot.get(&keys::item(container.number, number)).await? else {
            continue;
        };
        let document = ItemRecord::decode(&found.value)?.parse()?;
        let id = document.get("id").and_then(Value::as_str).unwrap_or_default();
        if let Some(current) = call
            .documents
            .find_even_expired(&tx, snapshot.as_ref(), &container, key, id)
            .await?
        {
            call.documents.delete_in(&mut tx, &container, key, id, &current)?;
            count += 1;
        }
    }
    if count == 0 {
        return Ok(Some(0));
    }
    Ok(call.documents.commit_or_conflict(tx).await?.map(|_| count))
}
