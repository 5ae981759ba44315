//! Replace Permission. The tokens of the old one end; the answer has a new one.

use http::StatusCode;

use super::permission_token;
use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let body = call.json_body()?;
    permission_token::seconds(call)?;
    let expected = call.if_match();
    let replaced = call.documents.replace_permission(
        &call.account.name,
        call.segment(1),
        call.segment(3),
        call.segment(5),
        &body,
        expected.as_ref(),
    );
    let (user, permission) = replaced.await?;
    permission_token::answer(call, StatusCode::OK, &user, &permission, 4.95).await
}
