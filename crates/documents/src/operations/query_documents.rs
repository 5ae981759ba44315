//! Query Documents. Whatever the client asks to be split or merged by itself, the server runs the
//! whole text over everything that the request covers.

use crate::error::DocumentsError;
use crate::query::{Rows, metrics};
use crate::rules::charge;
use crate::scripting::Seat;
use crate::wire::answer::Answer;
use crate::wire::call::Call;
use crate::wire::headers;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let (sql, parameters) = call.query_body()?;
    // A composite index that is complete in the one must be so in the other.
    let (snapshot, container) = call.snapshot_of_container().await?;
    let request = call.items_request(&container)?;
    let page = call
        .documents
        .query_items(
            snapshot.as_ref(),
            &request,
            &sql,
            &parameters,
            Rows::text(&Answer::documents_head(&container.rid)),
            &mut Seat::Own,
        )
        .await?;
    let charge = charge::page(
        page.counters.bytes_loaded,
        page.counters.items_loaded,
        page.counters.index_keys,
    ) + charge::functions(page.counters.function_steps);
    let count = page.rows.count();
    let bytes = page.rows.text_bytes();
    let mut answer = Answer::documents(page.rows.into_text(), count, charge);
    if request.measured {
        let metrics = metrics::query_metrics(&page.counters, count, bytes);
        answer = answer.with(headers::QUERY_METRICS, metrics);
    }
    if let Some(compiled) = &page.compiled
        && (call.flag(headers::POPULATE_INDEX_METRICS) || call.flag(headers::POPULATE_INDEX_METRICS_EARLIER))
    {
        let used = metrics::index_utilization(&container, compiled.access(), &page.counters);
        answer = answer.with(headers::INDEX_UTILIZATION, used);
    }
    Ok(answer
        .with_continuation(page.continuation)
        .with_session(snapshot.sequence())
        .with_owner(&container))
}
