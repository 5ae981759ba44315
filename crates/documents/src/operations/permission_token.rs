//! What the operations on permissions have in common: each answer has a new token in it.

use http::StatusCode;
use serde_json::{Value, json};

use crate::error::DocumentsError;
use crate::limits::{RESOURCE_TOKEN_SECONDS_DEFAULT, RESOURCE_TOKEN_SECONDS_MAX};
use crate::store::permissions::Permission;
use crate::store::users::User;
use crate::wire::answer::Answer;
use crate::wire::call::Call;
use crate::wire::headers;

/// How long the tokens of an answer are good for.
pub(super) fn seconds(call: &Call<'_>) -> Result<i64, DocumentsError> {
    let Some(text) = call.header(headers::TOKEN_EXPIRY) else {
        return Ok(RESOURCE_TOKEN_SECONDS_DEFAULT);
    };
    text.parse()
        .ok()
        .filter(|seconds| (1..=RESOURCE_TOKEN_SECONDS_MAX).contains(seconds))
        .ok_or_else(|| {
            DocumentsError::bad_request(format!(
                "x-ms-documentdb-expiry-seconds must be a number from 1 to {RESOURCE_TOKEN_SECONDS_MAX}."
            ))
        })
}

/// The permission as clients see it, with a token.
pub(super) async fn resource(
    call: &Call<'_>,
    user: &User,
    permission: &Permission,
) -> Result<Value, DocumentsError> {
    let token = call
        .documents
        .mint_token(&call.account.name, user, permission, seconds(call)?)
        .await?;
    let mut resource = permission.to_resource(user);
    if let Value::Object(object) = &mut resource {
        object.insert("_token".to_owned(), json!(token));
    }
    Ok(resource)
}

/// The answer of an operation on one permission.
pub(super) async fn answer(
    call: &Call<'_>,
    status: StatusCode,
    user: &User,
    permission: &Permission,
    charge: f64,
) -> Result<Answer, DocumentsError> {
    let resource = resource(call, user, permission).await?;
    Ok(Answer::json(status, &resource, charge)
        .with_etag(&permission.record.etag)
        .with_session(permission.version))
}
