//! List Collections, in the order of their ids.

use serde_json::json;

use crate::error::DocumentsError;
use crate::query::FeedToken;
use crate::rules::resource_id;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let snapshot = call.snapshot().await?;
    let id = call.segment(1);
    let owner = call
        .documents
        .database(snapshot.as_ref(), &call.account.name, id)
        .await?;
    let owner = owner.ok_or_else(|| DocumentsError::OwnerNotFound(format!("No database {}.", json!(id))))?;
    let feed = u64::from(owner.record.number);
    let after = FeedToken::decode_name(call.continuation(), feed)?;
    let listed = call
        .documents
        .list_containers(
            snapshot.as_ref(),
            &call.account.name,
            &owner,
            after.as_deref(),
            call.items_max()?,
        )
        .await?;
    let (containers, more) = listed;
    let last = containers
        .last()
        .map(|container| container.id.clone())
        .filter(|_| more);
    let resources: Vec<_> = containers
        .iter()
        .map(|container| container.to_resource())
        .collect();
    let continuation = last.map(|id| FeedToken::AfterName(id).encode(feed));
    let rid = resource_id::database(owner.record.number);
    Ok(Answer::feed(&rid, "DocumentCollections", &resources, 2.0).with_continuation(continuation))
}
