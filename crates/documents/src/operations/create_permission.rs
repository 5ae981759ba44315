//! Create Permission.

use http::StatusCode;

use super::permission_token;
use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let body = call.json_body()?;
    permission_token::seconds(call)?;
    let created =
        call.documents
            .create_permission(&call.account.name, call.segment(1), call.segment(3), &body);
    let (user, permission) = created.await?;
    permission_token::answer(call, StatusCode::CREATED, &user, &permission, 4.95).await
}
