//! Create User.

use http::StatusCode;
use serde_json::Value;

use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let body = call.json_body()?;
    let id = id_of(&body)?;
    let user = call
        .documents
        .create_user(&call.account.name, call.segment(1), id)
        .await?;
    let answer = Answer::json(StatusCode::CREATED, &user.to_resource(), 4.95);
    Ok(answer.with_etag(&user.record.etag).with_session(user.version))
}

pub(super) fn id_of(body: &Value) -> Result<&str, DocumentsError> {
    body.get("id")
        .and_then(Value::as_str)
        .ok_or_else(|| DocumentsError::bad_request("The user has no id."))
}
