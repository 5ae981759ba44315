//! Queries and the change feed through the Cosmos client.

use std::num::NonZeroU32;

use azure_data_cosmos::clients::ContainerClient;
use azure_data_cosmos::feed::ContinuationToken;
use azure_data_cosmos::models::{ChangeFeedItem, ChangeFeedOperationType, ChangeFeedPolicy, ContainerProperties};
use azure_data_cosmos::options::{
    ChangeFeedMode, ChangeFeedOptions, ChangeFeedStartFrom, MaxItemCountHint, QueryOptions,
};
use azure_data_cosmos::{FeedScope, Query};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::documents::{Item, container, container_with, create, database, fails, item};
use crate::server::Server;

pub async fn numbers(container: &ContainerClient, query: impl Into<Query>, scope: FeedScope) -> Vec<i64> {
    let found = container.query_items::<i64>(query, scope, None).await.unwrap();
    found.try_collect().await.unwrap()
}

fn page_of(count: u32) -> MaxItemCountHint {
    MaxItemCountHint::Limit(NonZeroU32::new(count).unwrap())
}

/// 30 items in three partitions, written out of order.
async fn filled(server: &Server) -> ContainerClient {
    let container = container(server).await;
    for n in (0..30).map(|n| n * 7 % 30) {
        create(&container, &item(&format!("i{n}"), &format!("k{}", n % 3), n)).await;
    }
    container
}

#[tokio::test(flavor = "multi_thread")]
async fn with_parameters_and_across_partitions() {
    let server = Server::start();
    let container = filled(&server).await;
    let query = Query::from("SELECT VALUE c.n FROM c WHERE c.n >= @least AND ARRAY_CONTAINS(@ids, c.id) ORDER BY c.n")
        .with_parameter("@least", 6)
        .unwrap()
        .with_parameter("@ids", ["i3", "i6", "i9", "i7"])
        .unwrap();
    assert_eq!(numbers(&container, query, FeedScope::partition("k0")).await, [6, 9]);
    let all = |query: &'static str| numbers(&container, query, FeedScope::full_container());
    assert_eq!(all("SELECT VALUE c.n FROM c ORDER BY c.n").await, (0..30).collect::<Vec<_>>());
    assert_eq!(all("SELECT VALUE c.n FROM c ORDER BY c.n DESC OFFSET 5 LIMIT 3").await, [24, 23, 22]);
    assert_eq!(all("SELECT VALUE COUNT(1) FROM c").await, [30]);
    assert_eq!(all("SELECT VALUE SUM(c.n) FROM c WHERE c.pk = 'k1'").await, [145]);
    assert_eq!(all("SELECT VALUE MAX(c.n) FROM c").await, [29]);
    let wrong = container.query_items::<i64>("SELECT * FROM c WHERE", FeedScope::full_container(), None).await;
    match wrong {
        Ok(found) => fails(found.try_collect::<Vec<_>>().await, 400),
        Err(error) => fails::<()>(Err(error), 400),
    }
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_go_on_from_their_token() {
    let server = Server::start();
    let container = filled(&server).await;
    for scope in [FeedScope::partition("k0"), FeedScope::full_container()] {
        let expected = numbers(&container, "SELECT VALUE c.n FROM c", scope.clone()).await;
        let mut found = Vec::new();
        let mut token: Option<ContinuationToken> = None;
        loop {
            // Each page with a query of its own, as one request of a web application after another.
            let mut options = QueryOptions::default().with_max_item_count(page_of(4));
            if let Some(token) = token.take() {
                options = options.with_continuation_token(token);
            }
            let query = "SELECT VALUE c.n FROM c";
            let mut pages = container
                .query_items::<i64>(query, scope.clone(), Some(options))
                .await
                .unwrap()
                .into_pages();
            let Some(page) = pages.next().await else { break };
            let page = page.unwrap().into_items();
            assert!(page.len() <= 4);
            found.extend(page);
            if found.len() >= expected.len() {
                break;
            }
            token = Some(pages.to_continuation_token().unwrap());
        }
        assert_eq!(found, expected);
    }
    server.stop();
}

/// Reads what there is now; a change feed never ends by itself.
async fn drained(
    container: &ContainerClient, scope: FeedScope, from: ChangeFeedStartFrom, options: ChangeFeedOptions,
) -> (Vec<ChangeFeedItem<Item>>, ContinuationToken) {
    let mut pages = container
        .query_change_feed::<Item>(scope, from, Some(options))
        .await
        .unwrap();
    let mut all = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap().into_items();
        if page.is_empty() {
            break;
        }
        all.extend(page);
    }
    let token = pages.to_continuation_token().unwrap();
    (all, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_change_feed_goes_on_from_its_token() {
    let server = Server::start();
    let container = container(&server).await;
    for n in 0..6 {
        create(&container, &item(&format!("i{n}"), ["a", "b"][n as usize % 2], n)).await;
    }
    let numbers = |changes: &[ChangeFeedItem<Item>]| -> Vec<i64> {
        changes.iter().map(|change| change.current().unwrap().n).collect()
    };
    let beginning = ChangeFeedStartFrom::Beginning;
    let two = || ChangeFeedOptions::default().with_max_item_count(page_of(2));
    let (all, token) = drained(&container, FeedScope::full_container(), beginning.clone(), two()).await;
    assert_eq!(numbers(&all), [0, 1, 2, 3, 4, 5]);
    let (of_key, _) = drained(&container, FeedScope::partition("b"), beginning.clone(), two()).await;
    assert_eq!(numbers(&of_key), [1, 3, 5]);
    container.upsert_item("b", "i1", item("i1", "b", 11), None).await.unwrap();
    container.delete_item("b", "i3", None).await.unwrap();
    let on = ChangeFeedOptions::default().with_continuation_token(token);
    let (later, _) = drained(&container, FeedScope::full_container(), beginning, on).await;
    assert_eq!(numbers(&later), [11]);
    assert_eq!(container.read_feed_ranges(None).await.unwrap().len(), 1);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn all_versions_and_deletes() {
    let server = Server::start();
    let database = database(&server).await;
    let policy = ChangeFeedPolicy::default().with_retention_duration(std::time::Duration::from_secs(600));
    let properties = ContainerProperties::new("versions", "/pk".into()).with_change_feed_policy(policy);
    let container = container_with(&database, properties).await;
    create(&container, &item("before", "a", 0)).await;
    let mode = || ChangeFeedOptions::default().with_mode(ChangeFeedMode::AllVersionsAndDeletes);
    let whole = FeedScope::full_container;
    let (none, token) = drained(&container, whole(), ChangeFeedStartFrom::Now, mode()).await;
    assert!(none.is_empty());
    create(&container, &item("1", "a", 1)).await;
    container.upsert_item("a", "1", item("1", "a", 2), None).await.unwrap();
    container.delete_item("a", "1", None).await.unwrap();
    let on = mode().with_continuation_token(token);
    let (found, _) = drained(&container, whole(), ChangeFeedStartFrom::Now, on).await;
    let told: Vec<_> = found
        .iter()
        .map(|change| {
            let image = change.current().or(change.previous()).map(|image| image.n);
            (change.operation_type().unwrap(), image)
        })
        .collect();
    let expected = [
        (ChangeFeedOperationType::Create, Some(1)),
        (ChangeFeedOperationType::Replace, Some(2)),
        (ChangeFeedOperationType::Delete, Some(2)),
    ];
    assert_eq!(told, expected);
    server.stop();
}
