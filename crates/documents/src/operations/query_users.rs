//! Query Users.

use crate::error::DocumentsError;
use crate::limits::PRINCIPALS_LISTED_MAX;
use crate::query::query_resources;
use crate::rules::resource_id;
use crate::store::users::User;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let (sql, parameters) = call.query_body()?;
    let snapshot = call.snapshot().await?;
    let owner = call
        .documents
        .owner_database(snapshot.as_ref(), &call.account.name, call.segment(1))
        .await?;
    let (users, _) = call
        .documents
        .list_users(snapshot.as_ref(), &owner, None, PRINCIPALS_LISTED_MAX)
        .await?;
    let resources: Vec<_> = users.iter().map(User::to_resource).collect();
    let rows = query_resources(call.documents, &resources, &sql, &parameters)?;
    let rid = resource_id::database(owner.record.number);
    Ok(Answer::feed(&rid, "Users", &rows, 2.0))
}
