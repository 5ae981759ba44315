//! Query Permissions.

use super::permission_token;
use crate::error::DocumentsError;
use crate::limits::PRINCIPALS_LISTED_MAX;
use crate::query::query_resources;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let (sql, parameters) = call.query_body()?;
    let snapshot = call.snapshot().await?;
    let user = call.user(snapshot.as_ref()).await?;
    let (permissions, _) = call
        .documents
        .list_permissions(snapshot.as_ref(), &user, None, PRINCIPALS_LISTED_MAX)
        .await?;
    let mut resources = Vec::with_capacity(permissions.len());
    for permission in &permissions {
        resources.push(permission_token::resource(call, &user, permission).await?);
    }
    let rows = query_resources(call.documents, &resources, &sql, &parameters)?;
    Ok(Answer::feed(&user.rid(), "Permissions", &rows, 2.0))
}
