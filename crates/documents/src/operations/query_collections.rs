//! Query Collections.

use serde_json::json;

use crate::error::DocumentsError;
use crate::limits::CONTAINERS_PER_DATABASE_MAX;
use crate::query::query_resources;
use crate::rules::resource_id;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let (sql, parameters) = call.query_body()?;
    let snapshot = call.snapshot().await?;
    let id = call.segment(1);
    let account = call.account.name.as_str();
    let owner = call.documents.database(snapshot.as_ref(), account, id).await?;
    let owner = owner.ok_or_else(|| DocumentsError::OwnerNotFound(format!("No database {}.", json!(id))))?;
    let listed = call
        .documents
        .list_containers(
            snapshot.as_ref(),
            account,
            &owner,
            None,
            CONTAINERS_PER_DATABASE_MAX,
        )
        .await?;
    let resources: Vec<_> = listed.0.iter().map(|container| container.to_resource()).collect();
    let rows = query_resources(call.documents, &resources, &sql, &parameters)?;
    Ok(Answer::feed(
        &resource_id::database(owner.record.number),
        "DocumentCollections",
        &rows,
        2.0,
    ))
}
