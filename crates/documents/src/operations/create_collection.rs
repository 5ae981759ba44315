//! Create Collection (container).

use http::StatusCode;

use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let body = call.json_body()?;
    let throughput = call.throughput()?;
    let container = call
        .documents
        .create_container(&call.account.name, call.segment(1), &body, throughput)
        .await?;
    let answer = Answer::json(StatusCode::CREATED, &container.to_resource(), 4.95);
    Ok(answer
        .with_etag(&container.etag)
        .with_session(container.version)
        .with_owner_of(&container))
}
