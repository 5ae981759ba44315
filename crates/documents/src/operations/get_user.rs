//! Get User.

use http::StatusCode;

use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let snapshot = call.snapshot().await?;
    let user = call.user(snapshot.as_ref()).await?;
    let etag = &user.record.etag;
    if call.if_none_match().is_some_and(|tags| tags.matches(etag)) {
        return Ok(Answer::new(StatusCode::NOT_MODIFIED, "", 1.0).with_etag(etag));
    }
    Ok(Answer::json(StatusCode::OK, &user.to_resource(), 1.0).with_etag(etag))
}
