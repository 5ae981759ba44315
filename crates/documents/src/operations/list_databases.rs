//! List Databases, in the order of their ids.

use crate::error::DocumentsError;
use crate::query::FeedToken;
use crate::store::databases::Database;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

/// Ties a token to this feed.
const FEED: u64 = 1;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let after = FeedToken::decode_name(call.continuation(), FEED)?;
    let snapshot = call.snapshot().await?;
    let listed = call
        .documents
        .list_databases(
            snapshot.as_ref(),
            &call.account.name,
            after.as_deref(),
            call.items_max()?,
        )
        .await?;
    let (databases, more) = listed;
    let last = databases
        .last()
        .map(|database| database.record.id.clone())
        .filter(|_| more);
    let resources: Vec<_> = databases.iter().map(Database::to_resource).collect();
    let continuation = last.map(|id| FeedToken::AfterName(id).encode(FEED));
    Ok(Answer::feed("", "Databases", &resources, 2.0).with_continuation(continuation))
}
