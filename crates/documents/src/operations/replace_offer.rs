//! Replace Offer: another throughput for a database or container.

use http::StatusCode;
use serde_json::Value;

use super::get_offer::find;
use super::list_offers::{Owner, container_offer, to_resource};
use crate::error::DocumentsError;
use crate::rules::resource_id;
use crate::wire::answer::Answer;
use crate::wire::call::{Call, autoscale, manual};

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let body = call.json_body()?;
    let content = body
        .get("content")
        .ok_or_else(|| DocumentsError::bad_request("The offer has no content."))?;
    let throughput = match content
        .get("offerAutopilotSettings")
        .filter(|settings| !settings.is_null())
    {
        Some(settings) => autoscale(settings)?,
        None => {
            let rus = content.get("offerThroughput").and_then(Value::as_i64);
            manual(rus.ok_or_else(|| DocumentsError::bad_request("offerThroughput must be a number."))?)?
        }
    };
    let offer = find(call).await?;
    let resource = match &offer.owner {
        Owner::Container(container) => {
            let container = call.documents.set_throughput(container, throughput).await?;
            container_offer(&container, throughput).resource
        }
        Owner::Database(database) => {
            let changed = call
                .documents
                .set_database_throughput(&call.account.name, &database.record.id, throughput)
                .await?;
            let rid = resource_id::database(changed.record.number);
            let record = &changed.record;
            to_resource(
                &offer.id,
                &format!("dbs/{rid}/"),
                &rid,
                throughput,
                &record.etag,
                record.ts,
            )
        }
    };
    Ok(Answer::json(StatusCode::OK, &resource, 9.9))
}
