//! Get Database.

use http::StatusCode;
use serde_json::json;

use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let snapshot = call.snapshot().await?;
    let id = call.segment(1);
    let database = call
        .documents
        .database(snapshot.as_ref(), &call.account.name, id)
        .await?;
    let database = database.ok_or_else(|| DocumentsError::NotFound(format!("No database {}.", json!(id))))?;
    let etag = &database.record.etag;
    if call.if_none_match().is_some_and(|tags| tags.matches(etag)) {
        return Ok(Answer::new(StatusCode::NOT_MODIFIED, "", 1.0).with_etag(etag));
    }
    Ok(Answer::json(StatusCode::OK, &database.to_resource(), 2.0).with_etag(etag))
}
