//! Two nodes over one ledger: what one does to a container, the other one soon sees.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod signed;

use std::sync::Arc;

use documents::{ContainerSpec, Documents, PartitionKey, Settings};
use ledger::random::SeededRandom;
use ledger::{Ledger, Transaction};
use serde_json::json;

fn spec(path: &str) -> ContainerSpec {
    ContainerSpec {
        account: "test".to_owned(),
        database: "d".to_owned(),
        container: "c".to_owned(),
        partition_key_paths: vec![path.to_owned()],
        default_ttl: None,
        indexing_policy: None,
    }
}

async fn create(node: &Documents, ledger: &Arc<dyn Ledger>, id: &str) -> bool {
    let container = node.ensure_container(&spec("/pk")).await.unwrap();
    let mut tx = Transaction::new();
    node.stage_create(&mut tx, &container, json!({"id": id, "pk": "p"}))
        .await
        .unwrap();
    ledger.commit(tx).await.is_ok()
}

async fn reads(node: &Documents, ledger: &Arc<dyn Ledger>, id: &str) -> bool {
    let container = node.ensure_container(&spec("/pk")).await.unwrap();
    let snapshot = ledger.snapshot().await.unwrap();
    node.read_item(snapshot.as_ref(), &container, &PartitionKey::string("p"), id)
        .await
        .unwrap()
        .is_some()
}

#[tokio::test]
async fn a_container_that_another_node_made_anew_is_the_one_that_is_read() {
    let fixture = signed::fixture();
    let (one, ledger) = (fixture.documents.clone(), fixture.ledger.clone());
    let two = Documents::new(
        ledger.clone(),
        fixture.clock.clone(),
        Arc::new(SeededRandom::new(2)),
        Settings::single("test", fixture.key.clone()),
    );
    assert!(create(&one, &ledger, "before").await);
    assert!(reads(&two, &ledger, "before").await, "both see what one wrote");
    let position = two.follow_catalog(0).await.unwrap();
    assert!(reads(&two, &ledger, "before").await);
    // The first node deletes the container and makes it anew, through its own protocol.
    let reply = fixture.send("DELETE", "/dbs/d/colls/c", &[], "").await;
    reply.expect(204);
    assert!(create(&one, &ledger, "after").await);
    assert!(
        !create(&two, &ledger, "stale").await,
        "memory never decides a write"
    );
    let reached = two.follow_catalog(position).await.unwrap();
    assert!(reached > position);
    assert!(reads(&two, &ledger, "after").await);
    assert!(!reads(&two, &ledger, "before").await);
    assert!(create(&two, &ledger, "fresh").await);
    assert_eq!(
        two.follow_catalog(reached).await.unwrap(),
        *ledger.head().borrow()
    );
}
