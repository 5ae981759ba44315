//! Delete Permission. Its tokens end with it.

use http::StatusCode;

use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    call.documents
        .delete_permission(
            &call.account.name,
            call.segment(1),
            call.segment(3),
            call.segment(5),
            call.if_match().as_ref(),
        )
        .await?;
    Ok(Answer::new(StatusCode::NO_CONTENT, "", 4.95))
}
