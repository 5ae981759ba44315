//! Create Database.

use http::StatusCode;
use serde_json::Value;

use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let body = call.json_body()?;
    let id = body
        .get("id")
        .and_then(Value::as_str)
        .ok_or_else(|| DocumentsError::bad_request("The database has no id."))?;
    let throughput = call.throughput()?;
    let database = call
        .documents
        .create_database(&call.account.name, id, throughput)
        .await?;
    let answer = Answer::json(StatusCode::CREATED, &database.to_resource(), 4.95);
    Ok(answer
        .with_etag(&database.record.etag)
        .with_session(database.version))
}
