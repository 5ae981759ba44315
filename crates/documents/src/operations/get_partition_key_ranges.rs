//! Get Partition Key Ranges: one range, "" to "FF". Clients ask again with the etag until they
//! get 304, so there must be one and it must not change.

use http::StatusCode;
use serde_json::json;

use crate::error::DocumentsError;
use crate::rules::resource_id::{self, Kind};
use crate::wire::answer::Answer;
use crate::wire::call::Call;

const ETAG: &str = "\"1\"";

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let container = call.container().await?;
    let snapshot = call.snapshot().await?;
    if call.if_none_match().is_some_and(|tags| tags.matches(ETAG)) {
        let answer = Answer::new(StatusCode::NOT_MODIFIED, "", 1.0);
        return Ok(answer
            .with_etag(ETAG)
            .with_session(snapshot.sequence())
            .with_owner(&container));
    }
    let rid = resource_id::child(
        container.database_number,
        container.number,
        Kind::PartitionKeyRange,
        2,
    );
    let range = json!({
        "id": "0",
        "_rid": rid,
        "_self": format!("{}pkranges/{rid}/", container.self_link()),
        "_etag": container.etag,
        "_ts": container.ts,
        "minInclusive": "",
        "maxExclusive": "FF",
        "ridPrefix": 0,
        "throughputFraction": 1,
        "status": "online",
        "parents": [],
    });
    let answer = Answer::feed(&container.rid, "PartitionKeyRanges", &[range], 1.0);
    Ok(answer
        .with_etag(ETAG)
        .with_session(snapshot.sequence())
        .with_owner(&container))
}
