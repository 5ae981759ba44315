//! Query Databases.

use crate::error::DocumentsError;
use crate::limits::PAGE_ITEMS_MAX;
use crate::query::query_resources;
use crate::store::databases::Database;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let (sql, parameters) = call.query_body()?;
    let snapshot = call.snapshot().await?;
    let listed = call
        .documents
        .list_databases(snapshot.as_ref(), &call.account.name, None, PAGE_ITEMS_MAX)
        .await?;
    let resources: Vec<_> = listed.0.iter().map(Database::to_resource).collect();
    let rows = query_resources(call.documents, &resources, &sql, &parameters)?;
    Ok(Answer::feed("", "Databases", &rows, 2.0))
}
