//! Replace Collection: indexing policy, time to live and the like. A changed indexing policy is
//! built into a new index, at once as far as a few seconds go, then in the background.

use http::StatusCode;

use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let body = call.json_body()?;
    let replaced = call
        .documents
        .replace_container(
            &call.account.name,
            call.segment(1),
            call.segment(3),
            &body,
            call.if_match().as_ref(),
        )
        .await?;
    let answer = Answer::json(StatusCode::OK, &replaced.to_resource(), 9.9);
    Ok(answer
        .with_etag(&replaced.etag)
        .with_session(replaced.version)
        .with_owner_of(&replaced))
}
