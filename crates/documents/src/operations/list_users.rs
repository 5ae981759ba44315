//! List Users, in the order of their ids.

use crate::error::DocumentsError;
use crate::query::FeedToken;
use crate::rules::resource_id;
use crate::store::users::User;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

/// Ties a token to this feed.
const FEED: u64 = 2;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let snapshot = call.snapshot().await?;
    let owner = call
        .documents
        .owner_database(snapshot.as_ref(), &call.account.name, call.segment(1))
        .await?;
    let feed = FEED << 32 | u64::from(owner.record.number);
    let after = FeedToken::decode_name(call.continuation(), feed)?;
    let (users, more) = call
        .documents
        .list_users(snapshot.as_ref(), &owner, after.as_deref(), call.items_max()?)
        .await?;
    let last = users.last().map(|user| user.record.id.clone()).filter(|_| more);
    let resources: Vec<_> = users.iter().map(User::to_resource).collect();
    let continuation = last.map(|id| FeedToken::AfterName(id).encode(feed));
    let rid = resource_id::database(owner.record.number);
    Ok(Answer::feed(&rid, "Users", &resources, 2.0).with_continuation(continuation))
}
