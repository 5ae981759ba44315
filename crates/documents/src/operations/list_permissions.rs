//! List Permissions, in the order of their ids.

use super::permission_token;
use crate::error::DocumentsError;
use crate::query::FeedToken;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

/// Ties a token to this feed.
const FEED: u64 = 3;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let snapshot = call.snapshot().await?;
    let user = call.user(snapshot.as_ref()).await?;
    let feed = FEED << 32 | u64::from(user.record.number);
    let after = FeedToken::decode_name(call.continuation(), feed)?;
    let (permissions, more) = call
        .documents
        .list_permissions(snapshot.as_ref(), &user, after.as_deref(), call.items_max()?)
        .await?;
    let last = permissions
        .last()
        .map(|permission| permission.record.id.clone())
        .filter(|_| more);
    let mut resources = Vec::with_capacity(permissions.len());
    for permission in &permissions {
        resources.push(permission_token::resource(call, &user, permission).await?);
    }
    let continuation = last.map(|id| FeedToken::AfterName(id).encode(feed));
    Ok(Answer::feed(&user.rid(), "Permissions", &resources, 2.0).with_continuation(continuation))
}
