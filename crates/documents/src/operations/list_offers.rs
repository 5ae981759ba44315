//! List Offers: the provisioned throughput of databases and containers.
//!
//! An offer isn't a record of its own: it is a view of its owner.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::error::DocumentsError;
use crate::limits::{CONTAINERS_PER_DATABASE_MAX, PAGE_ITEMS_MAX, THROUGHPUT_RUS_DEFAULT};
use crate::rules::resource_id;
use crate::store::Container;
use crate::store::databases::Database;
use crate::store::records::Throughput;
use crate::wire::answer::Answer;
use crate::wire::call::Call;

pub(super) async fn run(call: &Call<'_>) -> Result<Answer, DocumentsError> {
    let resources: Vec<Value> = offers(call)
        .await?
        .into_iter()
        .map(|offer| offer.resource)
        .collect();
    Ok(Answer::feed("", "Offers", &resources, 2.0))
}

/// Whose throughput it is.
pub(super) enum Owner {
    Database(Database),
    Container(Arc<Container>),
}

/// An offer.
pub(super) struct Offer {
    pub(super) id: String,
    pub(super) owner: Owner,
    pub(super) resource: Value,
}

/// The offers of the account.
pub(super) async fn offers(call: &Call<'_>) -> Result<Vec<Offer>, DocumentsError> {
    let snapshot = call.snapshot().await?;
    let account = call.account.name.as_str();
    let (databases, _) = call
        .documents
        .list_databases(snapshot.as_ref(), account, None, PAGE_ITEMS_MAX)
        .await?;
    let mut offers = Vec::new();
    for database in databases {
        let (containers, _) = call
            .documents
            .list_containers(
                snapshot.as_ref(),
                account,
                &database,
                None,
                CONTAINERS_PER_DATABASE_MAX,
            )
            .await?;
        for container in containers {
            // Containers of a database with throughput share it unless they have their own.
            let throughput = match (container.throughput, database.record.throughput) {
                (Some(own), _) => own,
                (None, Some(_)) => continue,
                (None, None) => Throughput {
                    rus: THROUGHPUT_RUS_DEFAULT,
                    autoscale_rus_max: None,
                },
            };
            offers.push(container_offer(&container, throughput));
        }
        if let Some(throughput) = database.record.throughput {
            let rid = resource_id::database(database.record.number);
            let id = resource_id::offer(database.record.number);
            let owner_link = format!("dbs/{rid}/");
            let record = &database.record;
            let resource = to_resource(&id, &owner_link, &rid, throughput, &record.etag, record.ts);
            offers.push(Offer {
                id,
                owner: Owner::Database(database),
                resource,
            });
        }
    }
    Ok(offers)
}

pub(super) fn container_offer(container: &Arc<Container>, throughput: Throughput) -> Offer {
    let id = resource_id::offer(container.number);
    let resource = to_resource(
        &id,
        &container.self_link(),
        &container.rid,
        throughput,
        &container.etag,
        container.ts,
    );
    Offer {
        id,
        owner: Owner::Container(container.clone()),
        resource,
    }
}

pub(super) fn to_resource(
    id: &str,
    owner_link: &str,
    owner_rid: &str,
    throughput: Throughput,
    etag: &str,
    ts: i64,
) -> Value {
    let mut content = json!({
        "offerThroughput": throughput.rus,
        "offerIsRUPerMinuteThroughputEnabled": false,
        "offerMinimumThroughputParameters": {"maxThroughputEverProvisioned": throughput.rus},
    });
    if let (Some(max), Value::Object(content)) = (throughput.autoscale_rus_max, &mut content) {
        content.insert("offerAutopilotSettings".to_owned(), json!({"maxThroughput": max}));
    }
    json!({
        "id": id,
        "_rid": id,
        "_self": format!("offers/{id}/"),
        "_etag": etag,
        "_ts": ts,
        "resource": owner_link,
        "offerType": "Invalid",
        "offerResourceId": owner_rid,
        "offerVersion": "V2",
        "content": content,
    })
}
