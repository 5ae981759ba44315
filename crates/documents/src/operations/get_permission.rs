//! Get Permission.

use http::StatusCode;

use super::permission_token;
use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let snapshot = call.snapshot().await?;
    let user = call.user(snapshot.as_ref()).await?;
    let permission = call
        .documents
        .permission(snapshot.as_ref(), &user, call.segment(5))
        .await?;
    permission_token::answer(call, StatusCode::OK, &user, &permission, 1.0).await
}
