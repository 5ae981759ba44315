//! List Documents: the read feed of a container or of one partition.

use crate::error::DocumentsError;
use crate::query::Rows;
use crate::rules::charge;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let snapshot = call.snapshot().await?;
    let container = call.container().await?;
    let request = call.items_request(&container)?;
    let rows = Rows::text(&Answer::documents_head(&container.rid));
    let page = call
        .documents
        .read_feed(snapshot.as_ref(), &request, rows)
        .await?;
    let charge = charge::page(
        page.counters.bytes_loaded,
        page.counters.items_loaded,
        page.counters.index_keys,
    );
    let count = page.rows.count();
    let answer = Answer::documents(page.rows.into_text(), count, charge);
    Ok(answer
        .with_continuation(page.continuation)
        .with_session(snapshot.sequence())
        .with_owner(&container))
}
