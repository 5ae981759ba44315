//! Delete User, with its permissions.

use http::StatusCode;

use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    call.documents
        .delete_user(
            &call.account.name,
            call.segment(1),
            call.segment(3),
            call.if_match().as_ref(),
        )
        .await?;
    Ok(Answer::new(StatusCode::NO_CONTENT, "", 4.95))
}
