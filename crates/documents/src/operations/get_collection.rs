//! Get Collection (container).

use http::StatusCode;

use crate::error::DocumentsError;
use crate::wire::answer::Answer;
use crate::wire::call::Call;
use crate::wire::headers;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let snapshot = call.snapshot().await?;
    let container = call.container().await?;
    let answer = if call
        .if_none_match()
        .is_some_and(|tags| tags.matches(&container.etag))
    {
        Answer::new(StatusCode::NOT_MODIFIED, "", 1.0)
    } else {
        let progress = if container.all_indexes_complete() {
            "100"
        } else {
            "0"
        };
        let answer = Answer::json(StatusCode::OK, &container.to_resource(), 1.0).with(
            "x-ms-documentdb-collection-index-transformation-progress",
            progress,
        );
        if call.flag(headers::POPULATE_QUOTA_INFO) {
            let usage = call
                .documents
                .resource_usage(snapshot.as_ref(), &container)
                .await?;
            answer
                .with(headers::RESOURCE_QUOTA, usage.quota())
                .with(headers::RESOURCE_USAGE, usage.usage())
        } else {
            answer
        }
    };
    Ok(answer
        .with_etag(&container.etag)
        .with_session(snapshot.sequence())
        .with_owner_of(&container))
}
