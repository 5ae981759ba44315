//! Databases, containers and items through the Cosmos client.

use azure_data_cosmos::clients::{ContainerClient, DatabaseClient};
use azure_data_cosmos::models::{
    ContainerProperties, ItemResponse, PartitionKeyDefinition, PartitionKeyKind, PartitionKeyVersion,
    PatchInstructions, PatchOperation, ThroughputProperties, TimeToLive, TransactionalBatchResponse, UniqueKey,
    UniqueKeyPolicy,
};
use azure_data_cosmos::options::{
    BatchDeleteOptions, ContentResponseOnWrite, CreateContainerOptions, ItemReadOptions, ItemWriteOptions,
    OperationOptions, OperationOptionsBuilder, PatchItemOptions, Precondition,
};
use azure_data_cosmos::{
    AccountReference, CosmosClient, CosmosError, RoutingStrategy, TransactionalBatch,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::server::{DOCUMENTS_KEY, Server};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    pub id: String,
    pub pk: String,
    pub n: i64,
}

pub fn item(id: &str, pk: &str, n: i64) -> Item {
    Item { id: id.to_owned(), pk: pk.to_owned(), n }
}

pub async fn client(endpoint: &str, key: &str) -> azure_data_cosmos::Result<CosmosClient> {
    let account = AccountReference::with_authentication_key(endpoint.parse()?, key.to_owned());
    CosmosClient::builder().build(account, RoutingStrategy::PreferredRegions(Vec::new())).await
}

pub async fn database(server: &Server) -> DatabaseClient {
    let client = client(&server.documents(), DOCUMENTS_KEY).await.unwrap();
    client.create_database("d", None).await.unwrap();
    client.database_client("d")
}

pub async fn container_with(database: &DatabaseClient, properties: ContainerProperties) -> ContainerClient {
    let id = properties.id.clone().into_owned();
    database.create_container(properties, None).await.unwrap();
    database.container_client(id, None).await.unwrap()
}

pub async fn container(server: &Server) -> ContainerClient {
    container_with(&database(server).await, ContainerProperties::new("c", "/pk".into())).await
}

pub async fn create(container: &ContainerClient, one: &Item) -> ItemResponse {
    container.create_item(one.pk.clone(), &one.id, one, None).await.unwrap()
}

pub fn fails<T>(result: Result<T, CosmosError>, status: u16) {
    match result {
        Ok(_) => panic!("it succeeded instead of failing with {status}"),
        Err(error) => assert_eq!(u16::from(error.status().status_code()), status, "{error}"),
    }
}

fn status(response: &ItemResponse) -> u16 {
    response.status().status_code().into()
}

fn etag(response: &ItemResponse) -> String {
    response.headers().etag().unwrap().to_string()
}

fn if_match(etag: &str) -> Option<ItemWriteOptions> {
    Some(ItemWriteOptions::default().with_precondition(Precondition::if_match(etag.to_owned())))
}

fn with_content() -> OperationOptions {
    OperationOptionsBuilder::new().with_content_response_on_write(ContentResponseOnWrite::Enabled).build()
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_and_containers_are_made_read_and_deleted() {
    let server = Server::start();
    let client = client(&server.documents(), DOCUMENTS_KEY).await.unwrap();
    client.create_database("short-lived", None).await.unwrap();
    fails(client.create_database("short-lived", None).await, 409);
    let database = client.database_client("short-lived");
    let read = database.read(None).await.unwrap().into_model().unwrap();
    assert_eq!(read.id.as_deref(), Some("short-lived"));

    let unique = UniqueKeyPolicy::default().with_unique_key(UniqueKey::default().with_path("/n"));
    let properties = ContainerProperties::new("c", "/pk".into()).with_unique_key_policy(unique);
    database.create_container(properties.clone(), None).await.unwrap();
    fails(database.create_container(properties, None).await, 409);
    let container = database.container_client("c", None).await.unwrap();
    let read = container.read(None).await.unwrap().into_model().unwrap();
    assert_eq!(read.partition_key.paths(), ["/pk"]);
    container.replace(read.with_default_ttl(60), None).await.unwrap();
    let read = container.read(None).await.unwrap().into_model().unwrap();
    assert_eq!(read.default_ttl, TimeToLive::Seconds(60));
    create(&container, &item("1", "a", 1)).await;
    fails(container.create_item("a", "2", item("2", "a", 1), None).await, 409);
    create(&container, &item("2", "b", 1)).await;
    container.delete(None).await.unwrap();
    fails(container.read(None).await, 404);
    database.delete(None).await.unwrap();
    fails(database.read(None).await, 404);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn throughput_is_read_and_replaced() {
    let server = Server::start();
    let database = database(&server).await;
    for (id, throughput) in
        [("manual", ThroughputProperties::manual(400)), ("autoscale", ThroughputProperties::autoscale(4000, None))]
    {
        let options = CreateContainerOptions::default().with_throughput(throughput);
        let properties = ContainerProperties::new(id, "/pk".into());
        database.create_container(properties, Some(options)).await.unwrap();
    }
    let manual = database.container_client("manual", None).await.unwrap();
    assert_eq!(manual.read_throughput(None).await.unwrap().unwrap().throughput(), Some(400));
    manual.begin_replace_throughput(ThroughputProperties::manual(700), None).await.unwrap().await.unwrap();
    assert_eq!(manual.read_throughput(None).await.unwrap().unwrap().throughput(), Some(700));
    let autoscale = database.container_client("autoscale", None).await.unwrap();
    assert_eq!(autoscale.read_throughput(None).await.unwrap().unwrap().autoscale_maximum(), Some(4000));
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_items_life() {
    let server = Server::start();
    let container = container(&server).await;
    let created = create(&container, &item("1", "a", 1)).await;
    assert_eq!(status(&created), 201);
    fails(container.create_item("a", "1", item("1", "a", 2), None).await, 409);
    let replaced = container.replace_item("a", "1", item("1", "a", 2), None).await.unwrap();
    assert_ne!(etag(&created), etag(&replaced));
    let options = ItemWriteOptions::default().with_operation_options(with_content());
    let upserted = container.upsert_item("a", "1", item("1", "a", 3), Some(options)).await.unwrap();
    assert_eq!(status(&upserted), 200);
    assert_eq!(upserted.into_model::<Item>().unwrap(), item("1", "a", 3));
    let upserted = container.upsert_item("a", "2", item("2", "a", 4), None).await.unwrap();
    assert_eq!(status(&upserted), 201);
    let read = container.read_item("a", "1", None).await.unwrap();
    assert_eq!(read.into_model::<Item>().unwrap(), item("1", "a", 3));
    let deleted = container.delete_item("a", "1", None).await.unwrap();
    assert_eq!(status(&deleted), 204);
    fails(container.read_item("a", "1", None).await, 404);
    fails(container.delete_item("a", "1", None).await, 404);
    fails(container.replace_item("a", "1", item("1", "a", 5), None).await, 404);
    fails(container.read_item("b", "2", None).await, 404);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn etags_decide() {
    let server = Server::start();
    let container = container(&server).await;
    let first = etag(&create(&container, &item("1", "a", 1)).await);
    let second = container.upsert_item("a", "1", item("1", "a", 2), if_match(&first)).await.unwrap();
    fails(container.replace_item("a", "1", item("1", "a", 3), if_match(&first)).await, 412);
    fails(container.upsert_item("a", "1", item("1", "a", 3), if_match(&first)).await, 412);
    fails(container.delete_item("a", "1", if_match(&first)).await, 412);
    let unless = |etag: String| {
        Some(ItemReadOptions::default().with_precondition(Precondition::if_none_match(etag)))
    };
    let same = container.read_item("a", "1", unless(etag(&second))).await;
    let same = same.map_or_else(|error| error.status().status_code(), |read| read.status().status_code());
    assert_eq!(u16::from(same), 304);
    let newer = container.read_item("a", "1", unless(first)).await.unwrap();
    assert_eq!(newer.into_model::<Item>().unwrap().n, 2);
    container.delete_item("a", "1", if_match(&etag(&second))).await.unwrap();
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_patch_changes_parts_and_only_if_its_condition_holds() {
    let server = Server::start();
    let container = container(&server).await;
    create(&container, &item("1", "a", 1)).await;
    let patch = PatchInstructions::new()
        .with_operation(PatchOperation::add("/tags", json!(["x"])))
        .with_operation(PatchOperation::add("/tags/-", json!("y")))
        .with_operation(PatchOperation::replace("/tags/0", json!("z")))
        .with_operation(PatchOperation::set("/title", json!("blåbær")))
        .with_operation(PatchOperation::increment("/n", 4));
    container.patch_item("a", "1", patch, None).await.unwrap();
    let mut read: serde_json::Value = container.read_item("a", "1", None).await.unwrap().into_model().unwrap();
    read.as_object_mut().unwrap().retain(|name, _| !name.starts_with('_'));
    assert_eq!(read, json!({ "id": "1", "pk": "a", "n": 5, "tags": ["z", "y"], "title": "blåbær" }));
    let remove = || PatchInstructions::new().with_operation(PatchOperation::remove("/title"));
    let only = |etag: &str| Some(PatchItemOptions::default().with_precondition(Precondition::if_match(etag.to_owned())));
    fails(container.patch_item("a", "1", remove(), only("\"another\"")).await, 412);
    let now = etag(&container.read_item("a", "1", None).await.unwrap());
    container.patch_item("a", "1", remove(), only(&now)).await.unwrap();
    fails(container.patch_item("a", "1", remove(), None).await, 400);
    fails(container.patch_item("a", "2", remove(), None).await, 404);
    server.stop();
}

fn statuses(response: &TransactionalBatchResponse) -> Vec<u16> {
    response.results().iter().map(|result| result.status_code()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_all_or_nothing() {
    let server = Server::start();
    let container = container(&server).await;
    create(&container, &item("old", "a", 1)).await;
    let batch = TransactionalBatch::new("a")
        .create_item(item("1", "a", 1))
        .unwrap()
        .upsert_item(item("2", "a", 2), None)
        .unwrap()
        .replace_item("old", item("old", "a", 10), None)
        .unwrap()
        .read_item("old", None)
        .delete_item("2", None);
    let done = container.execute_transactional_batch(batch, None).await.unwrap().into_model().unwrap();
    assert_eq!(statuses(&done), [201, 201, 200, 200, 204]);
    assert_eq!(done.results()[3].into_model::<Item>().unwrap().unwrap().n, 10);

    let broken = TransactionalBatch::new("a")
        .create_item(item("3", "a", 3))
        .unwrap()
        .create_item(item("1", "a", 3))
        .unwrap()
        .delete_item("old", None);
    let refused = container.execute_transactional_batch(broken, None).await.unwrap();
    assert_eq!(u16::from(refused.status().status_code()), 207);
    assert_eq!(statuses(&refused.into_model().unwrap()), [424, 409, 424]);
    fails(container.read_item("a", "3", None).await, 404);

    let another = BatchDeleteOptions::default().with_precondition(Precondition::if_match("\"another\""));
    let stale = TransactionalBatch::new("a").delete_item("1", Some(another));
    let refused = container.execute_transactional_batch(stale, None).await.unwrap();
    assert_eq!(statuses(&refused.into_model().unwrap()), [412]);
    container.read_item("a", "1", None).await.unwrap();
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_several_levels() {
    let server = Server::start();
    let paths = vec!["/tenant".into(), "/user".into(), "/session".into()];
    let key = PartitionKeyDefinition::new(paths)
        .with_kind(PartitionKeyKind::MultiHash)
        .with_version(PartitionKeyVersion::V2);
    let database = database(&server).await;
    let container = container_with(&database, ContainerProperties::new("levels", key)).await;
    for n in 0..8_i64 {
        let (tenant, user) = (format!("t{}", n % 2), format!("u{}", n / 4));
        let one = json!({ "id": format!("i{n}"), "tenant": tenant, "user": user, "session": n, "n": n });
        container.create_item((tenant, user, n), &format!("i{n}"), one, None).await.unwrap();
    }
    let read = container.read_item(("t1", "u1", 5_i64), "i5", None).await.unwrap();
    assert_eq!(read.into_model::<serde_json::Value>().unwrap()["n"], 5);
    fails(container.read_item(("t1", "u0", 5_i64), "i5", None).await, 404);
    let of = |scope| crate::queries::numbers(&container, "SELECT VALUE c.n FROM c ORDER BY c.n", scope);
    use azure_data_cosmos::FeedScope;
    assert_eq!(of(FeedScope::partition(("t1", "u1", 5_i64))).await, [5]);
    assert_eq!(of(FeedScope::partition(("t1", "u0"))).await, [1, 3]);
    assert_eq!(of(FeedScope::partition("t1")).await, [1, 3, 5, 7]);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_is_refused() {
    let server = Server::start();
    let stranger = match client(&server.documents(), "d3Jvbmc=").await {
        Ok(stranger) => stranger.database_client("d").read(None).await.map(|_| ()),
        Err(error) => Err(error),
    };
    fails(stranger, 401);
    server.stop();
}
