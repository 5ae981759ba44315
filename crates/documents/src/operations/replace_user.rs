//! Replace User: only its id can change.

use http::StatusCode;

use super::create_user::id_of;
use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let body = call.json_body()?;
    let expected = call.if_match();
    let replaced = call.documents.replace_user(
        &call.account.name,
        call.segment(1),
        call.segment(3),
        id_of(&body)?,
        expected.as_ref(),
    );
    let user = replaced.await?;
    let answer = Answer::json(StatusCode::OK, &user.to_resource(), 4.95);
    Ok(answer.with_etag(&user.record.etag).with_session(user.version))
}
