//! ORDER BY of a property that some items lack, whose places are remembered: right whatever happens
//! between two pages and whoever did it, and read once only.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod signed;

use std::collections::BTreeSet;
use std::sync::Arc;

use ledger::random::SeededRandom;
use ledger::{Random as _, Transaction};
use serde_json::{Value, json};
use signed::watched::{Slow, Watch, Watched};
use signed::{Fixture, fixture};

const CONTAINER: &str = "/dbs/d/colls/c";
const DOCS: &str = "/dbs/d/colls/c/docs";
const A: (&str, &str) = ("x-ms-documentdb-partitionkey", "[\"a\"]");
const EXCLUDE: (&str, &str) = ("x-ms-indexing-directive", "Exclude");

/// The rows of a page, and where to go on.
async fn page(f: &Fixture, sql: &str, size: usize, from: Option<&str>) -> (Vec<Value>, Option<String>) {
    let size = size.to_string();
    let mut headers = vec![
        ("x-ms-documentdb-isquery", "True"),
        ("x-ms-documentdb-query-enablecrosspartition", "True"),
        ("x-ms-max-item-count", size.as_str()),
    ];
    headers.extend(from.map(|from| ("x-ms-continuation", from)));
    let reply = f
        .json("POST", DOCS, &headers, json!({"query": sql}))
        .await
        .expect(200);
    let rows = reply.json()["Documents"].as_array().unwrap().clone();
    let next = reply.header("x-ms-continuation").to_owned();
    (rows, (!next.is_empty()).then_some(next))
}

/// All rows, and in how many pages.
async fn all(f: &Fixture, sql: &str, size: usize) -> (Vec<Value>, usize) {
    let (mut rows, mut pages, mut from) = (Vec::new(), 0, None);
    loop {
        let (found, next) = page(f, sql, size, from.as_deref()).await;
        rows.extend(found);
        pages += 1;
        assert!(pages < 10_000, "{sql}");
        match next {
            Some(next) => from = Some(next),
            None => return (rows, pages),
        }
    }
}

fn order(descending: bool) -> String {
    let direction = if descending { "DESC" } else { "ASC" };
    format!("SELECT VALUE c.id FROM c ORDER BY c.v {direction}")
}

/// What items are sorted by.
type Place = (Option<i64>, u64);

/// Items that come and go, on two nodes.
struct World {
    nodes: [Fixture; 2],
    chance: SeededRandom,
    ids: Vec<String>,
    unindexed: BTreeSet<String>,
    created: usize,
    policies: usize,
}

impl World {
    async fn new(seed: u64) -> Self {
        let one = fixture().with_container(json!({"defaultTtl": -1})).await;
        let two = one.another_node();
        Self {
            nodes: [one, two],
            chance: SeededRandom::new(seed.wrapping_mul(0xD134_2543_DE82_EF95)),
            ids: Vec::new(),
            unindexed: BTreeSet::new(),
            created: 0,
            policies: 0,
        }
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.chance.u64() % end as u64).unwrap()
    }

    fn node(&mut self) -> usize {
        self.below(2)
    }

    /// Something changes; whether orders have to begin anew.
    async fn change(&mut self) -> bool {
        let node = self.node();
        match self.below(40) {
            0 => {
                self.change_policy().await;
                return true;
            }
            1 => self.nodes[node].clock.advance_seconds(2),
            2 => drop(self.nodes[node].documents.sweep_once().await.unwrap()),
            3..10 => {
                if !self.ids.is_empty() {
                    let at = self.below(self.ids.len());
                    let id = self.ids.swap_remove(at);
                    self.unindexed.remove(&id);
                    // It may have been its time already.
                    self.nodes[node]
                        .send("DELETE", &format!("{DOCS}/{id}"), &[A], "")
                        .await;
                }
            }
            10..20 if !self.ids.is_empty() => {
                let at = self.below(self.ids.len());
                let id = self.ids[at].clone();
                self.upsert(node, &id).await;
            }
            _ => {
                self.created += 1;
                let id = self.created.to_string();
                self.ids.push(id.clone());
                self.upsert(node, &id).await;
            }
        }
        false
    }

    async fn upsert(&mut self, node: usize, id: &str) {
        let mut item = json!({"id": id, "pk": "a"});
        if self.below(2) == 0 {
            item["v"] = json!(self.below(5));
        }
        if self.below(8) == 0 {
            item["ttl"] = json!(1 + self.below(3));
        }
        let mut headers = vec![A, ("x-ms-documentdb-is-upsert", "True")];
        self.unindexed.remove(id);
        if self.below(8) == 0 {
            headers.push(EXCLUDE);
            self.unindexed.insert(id.to_owned());
        }
        let reply = self.nodes[node].json("POST", DOCS, &headers, item).await;
        assert!(reply.status.is_success());
    }

    async fn change_policy(&mut self) {
        self.policies += 1;
        let excluded = json!([{"path": format!("/none{}/?", self.policies)}]);
        let policy = json!({"indexingMode": "consistent", "includedPaths": [{"path": "/*"}], "excludedPaths": excluded});
        let mut container = self.nodes[0]
            .send("GET", CONTAINER, &[], "")
            .await
            .expect(200)
            .json();
        container["indexingPolicy"] = policy;
        self.nodes[0]
            .json("PUT", CONTAINER, &[], container)
            .await
            .expect(200);
        while self.nodes[0].documents.sweep_once().await.unwrap().more {}
        self.nodes[1].documents.follow_catalog(0).await.unwrap();
    }

    /// What there is, sorted without an index.
    async fn sorted(&self, descending: bool) -> Vec<(Place, String)> {
        let sql = "SELECT VALUE {id: c.id, v: c.v, n: DOCUMENTID(c)} FROM c";
        let items = all(&self.nodes[0], sql, 1_000).await.0;
        let items = items.iter().map(|item| {
            let place = (item["v"].as_i64(), item["n"].as_u64().unwrap());
            (place, item["id"].as_str().unwrap().to_owned())
        });
        let mut items: Vec<_> = items.filter(|(_, id)| !self.unindexed.contains(id)).collect();
        items.sort();
        if descending {
            items.reverse();
        }
        items
    }
}

#[tokio::test]
async fn pages_are_right_whatever_happens_between_them() {
    for seed in 0..10 {
        let mut world = World::new(seed).await;
        for _ in 0..60 {
            world.change().await;
        }
        // Walks that go on while things change: direction, where to go on, and from where on.
        let mut walks: Vec<(bool, Option<String>, Option<Place>)> =
            vec![(false, None, None), (true, None, None)];
        for step in 0..150 {
            for _ in 0..world.below(4) {
                if world.change().await {
                    walks.fill((false, None, None));
                    walks[1].0 = true;
                }
            }
            let (node, size, which) = (world.node(), 1 + world.below(9), world.below(2));
            let (descending, token, at) = walks[which].clone();
            let mut left = world.sorted(descending).await;
            left.retain(|(place, _)| {
                at.is_none_or(|at| if descending { *place <= at } else { *place >= at })
            });
            let (found, next) = page(&world.nodes[node], &order(descending), size, token.as_deref()).await;
            let wanted: Vec<&str> = left.iter().take(size).map(|(_, id)| id.as_str()).collect();
            assert_eq!(found, wanted, "seed {seed}, step {step}, descending {descending}");
            assert_eq!(next.is_some(), left.len() > size, "seed {seed}, step {step}");
            let place = left.get(size).map(|(place, _)| *place);
            walks[which] = (descending, next, place);
        }
        world.nodes[0].verify().await;
    }
}

/// A container of items of which each tenth lacks the property, on a ledger that is watched.
async fn watched(items: usize) -> (Fixture, Arc<Watch>) {
    watched_with(items, |number| number % 10 == 5).await
}

async fn watched_with(items: usize, lacks: impl Fn(usize) -> bool) -> (Fixture, Arc<Watch>) {
    let f = fixture().with_container(json!({})).await;
    for number in 0..items {
        let mut item = json!({"id": number.to_string(), "pk": "a", "list": [1, 2, 3]});
        if !lacks(number) {
            item["v"] = json!((number * 7) % items);
        }
        f.json("POST", DOCS, &[A], item).await.expect(201);
    }
    watching(&f)
}

/// A node that remembers nothing yet.
fn watching(f: &Fixture) -> (Fixture, Arc<Watch>) {
    let ledger = Watched::over(f.ledger.clone(), f.clock.clone());
    let watch = ledger.watch.clone();
    (f.another_node_on(ledger, |_| {}), watch)
}

#[tokio::test]
async fn what_was_read_is_not_read_again() {
    for descending in [false, true] {
        let (f, watch) = watched(600).await;
        let sql = format!(
            "SELECT VALUE c.id FROM c WHERE NOT IS_DEFINED(c.v) ORDER BY c.v {}",
            if descending { "DESC" } else { "ASC" }
        );
        // The index's own part is read as well, where the order comes to it.
        let (rows, _) = all(&f, &sql, 10).await;
        assert_eq!(rows.len(), 60);
        watch.items();
        let (found, _) = page(&f, &order(false), 10, None).await;
        assert_eq!(found.len(), 10);
        let read = watch.items();
        assert!(read <= 2 * 16, "{read} items for a page of ten");
        // What another node wrote is read, and no more.
        let other = f.another_node_on(f.ledger.clone(), |_| {});
        for number in 0..300 {
            let item = json!({"id": format!("new {number}"), "pk": "a"});
            other.json("POST", DOCS, &[A], item).await.expect(201);
        }
        watch.items();
        let (found, _) = page(&f, &order(false), 10, None).await;
        assert_eq!(found[0], "5");
        let read = watch.items();
        assert!((300..340).contains(&read), "{read} items after 300 were written");
        page(&f, &order(false), 10, None).await;
        let read = watch.items();
        assert!(read <= 2 * 16, "{read} items once they are known");
    }
}

#[tokio::test]
async fn a_page_that_ends_by_time_was_not_for_nothing() {
    let (f, watch) = watched_with(600, |number| number >= 590).await;
    watch.slow(Slow::All);
    // Whoever begins anew finds what others have looked at already.
    let mut pages = 1;
    while page(&f, &order(false), 10, None).await.0.is_empty() {
        pages += 1;
        assert!(pages < 100, "each begins with the same items");
    }
    assert!(pages > 10, "the time of a page isn't over: {pages}");
    for descending in [false, true] {
        let (rows, _) = all(&f, &order(descending), 10).await;
        assert_eq!(rows.len(), 600);
    }
}

#[tokio::test]
async fn wherever_the_time_is_over_no_row_is_lost_or_repeated() {
    for descending in [false, true] {
        // Each is the first one behind a step in which there is none, from one end or the other.
        let (f, watch) = watched_with(130, |number| [16, 17, 48, 49, 81, 113].contains(&number)).await;
        let (wanted, _) = all(&f, &order(descending), 1_000).await;
        assert_eq!(wanted.len(), 130);
        for remembering in [false, true] {
            for at in 0.. {
                let (f, watch) = if remembering {
                    (f.another_node_on(f.ledger.clone(), |_| {}), watch.clone())
                } else {
                    watching(&f)
                };
                if remembering {
                    // With all that it knows, some of which has changed.
                    all(&f, &order(!descending), 50).await;
                    let again = json!({"id": "16", "pk": "a"});
                    f.json("PUT", &format!("{DOCS}/16"), &[A], again)
                        .await
                        .expect(200);
                }
                watch.slow(Slow::One(at));
                let (found, _) = all(&f, &order(descending), 40).await;
                let reads = watch.reads();
                watch.slow(Slow::None);
                assert_eq!(found, wanted, "descending {descending}, {at}");
                if at > reads {
                    break;
                }
            }
        }
    }
}

/// A page ends in the middle of an item's rows, and the next one may come no further than to take in some
/// of what was written meanwhile.
#[tokio::test]
async fn a_page_that_only_catches_up_repeats_no_row_of_the_item_it_began_in() {
    let batch = [
        A,
        ("x-ms-cosmos-is-batch-request", "True"),
        ("x-ms-cosmos-batch-atomic", "True"),
    ];
    let (f, _) = watched_with(400, |number| number < 6).await;
    // More than is taken in at once.
    let again: Vec<Value> = (6..400)
        .map(|number| json!({"id": number.to_string(), "pk": "a", "v": number, "list": []}))
        .map(|item| json!({"operationType": "Upsert", "resourceBody": item}))
        .collect();
    let mut caught_up = 0;
    for direction in ["ASC", "DESC"] {
        let sql = format!(
            "SELECT VALUE [c.id, t] FROM c JOIN t IN c.list WHERE NOT IS_DEFINED(c.v) ORDER BY c.v {direction}"
        );
        let (wanted, _) = all(&f, &sql, 1_000).await;
        assert_eq!(wanted.len(), 18);
        for at in 0.. {
            let (f, watch) = watching(&f);
            let (mut found, mut from) = page(&f, &sql, 4, None).await;
            for again in again.chunks(100) {
                f.json("POST", DOCS, &batch, json!(again)).await.expect(200);
            }
            watch.slow(Slow::One(at));
            let (rows, next) = page(&f, &sql, 4, from.as_deref()).await;
            let reads = watch.reads();
            watch.slow(Slow::None);
            caught_up += u32::from(rows.is_empty() && next.is_some());
            found.extend(rows);
            from = next;
            while let Some(token) = from {
                let (rows, next) = page(&f, &sql, 4, Some(&token)).await;
                found.extend(rows);
                from = next;
            }
            assert_eq!(found, wanted, "{direction}, {at}");
            if at > reads {
                break;
            }
        }
    }
    assert!(caught_up > 0, "no page only caught up");
}

#[tokio::test]
async fn two_that_look_at_once_share_the_work() {
    let (f, watch) = watched(1_000).await;
    // Nothing is let through, so both come to the end: of the items, then of the index.
    let sql = "SELECT VALUE c.id FROM c WHERE LENGTH(c.pk) > 5 ORDER BY c.v";
    watch.items();
    let (one, two) = futures::future::join(all(&f, sql, 10), all(&f, sql, 10)).await;
    assert!(one.0.is_empty() && two.0.is_empty());
    let read = watch.items();
    // Each reads the 900 that have it and the 100 that don't; all of them, one or the other.
    assert!(read < 2 * 1_000 + 1_000 + 300, "{read} items");
}

#[tokio::test]
async fn others_may_write_and_learn_meanwhile() {
    for (descending, rounds) in [(false, 0), (false, 100), (true, 0), (true, 100)] {
        for at in 0.. {
            let (f, _) = watched_with(70, |number| number % 7 == 3).await;
            let (f, watch) = watching(&f);
            let other = f.another_node();
            let (node, clock) = (f.documents.clone(), f.clock.clone());
            let container = node
                .ensure_container(&signed::direct::spec("c", None))
                .await
                .unwrap();
            let (begun, learning) = futures::channel::oneshot::channel();
            let turn = async move {
                for (id, v) in [
                    ("3", json!(1_000)),
                    ("66", json!(1_001)),
                    ("20", Value::Null),
                    ("59", Value::Null),
                ] {
                    let mut item = json!({"id": id, "pk": "a"});
                    if !v.is_null() {
                        item["v"] = v;
                    }
                    let reply = other.json("PUT", &format!("{DOCS}/{id}"), &[A], item).await;
                    reply.expect(200);
                }
                let path = format!("{DOCS}/38");
                other.send("DELETE", &path, &[A], "").await.expect(204);
                clock.advance_seconds(3);
                // The read that is being made may be one that they wait for.
                let task = tokio::spawn(async move {
                    for _ in 0..2 {
                        let sql = order(!descending);
                        node.query(&container, &sql, &[], None, 40, None).await.unwrap();
                    }
                });
                begun.send(task).unwrap();
                for _ in 0..rounds {
                    tokio::task::yield_now().await;
                }
            };
            watch.meanwhile(at, turn);
            all(&f, &order(descending), 9).await;
            if watch.had_none() {
                break;
            }
            learning.await.unwrap().await.unwrap();
            // A node that remembers nothing reads all.
            let wanted = all(&f.another_node(), &order(descending), 100).await.0;
            for _ in 0..2 {
                let found = all(&f, &order(descending), 11).await.0;
                assert_eq!(found, wanted, "descending {descending}, at read {at}");
            }
        }
    }
}

#[tokio::test]
async fn a_container_of_the_same_name_is_another_one() {
    let f = fixture().with_container(json!({})).await;
    let other = f.another_node();
    for id in ["1", "2"] {
        f.json("POST", DOCS, &[A], json!({"id": id, "pk": "a"}))
            .await
            .expect(201);
    }
    assert_eq!(all(&other, &order(false), 10).await.0, ["1", "2"]);
    f.send("DELETE", CONTAINER, &[], "").await.expect(204);
    let again = json!({"id": "c", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}});
    f.json("POST", "/dbs/d/colls", &[], again).await.expect(201);
    other.documents.follow_catalog(0).await.unwrap();
    f.json("POST", DOCS, &[A], json!({"id": "2", "pk": "a", "v": 1}))
        .await
        .expect(201);
    f.json("POST", DOCS, &[A], json!({"id": "3", "pk": "a"}))
        .await
        .expect(201);
    assert_eq!(all(&other, &order(false), 10).await.0, ["3", "2"]);
}

#[tokio::test]
async fn items_that_cannot_lack_it_are_not_looked_for() {
    let (f, watch) = watched(600).await;
    for (sql, rows) in [
        ("SELECT VALUE c.id FROM c ORDER BY c.id", 10),
        ("SELECT VALUE c.id FROM c ORDER BY c._ts DESC", 10),
        ("SELECT VALUE c.id FROM c WHERE c.v != 3 ORDER BY c.v", 10),
        ("SELECT VALUE c.id FROM c WHERE c.v IN (1, 2, 3) ORDER BY c.v", 3),
        (
            "SELECT VALUE c.id FROM c WHERE c.v > -1 OR IS_STRING(c.v) ORDER BY c.v",
            10,
        ),
        (
            "SELECT VALUE c.id FROM c WHERE IS_DEFINED(c.v) ORDER BY c.v DESC",
            10,
        ),
    ] {
        watch.items();
        let (found, _) = page(&f, sql, 10, None).await;
        assert_eq!(found.len(), rows, "{sql}");
        let read = watch.items();
        assert!(read < 100, "{sql}: {read} items");
    }
}

/// So many items of partition `a` that an index orders what is asked of it.
async fn many(f: &Fixture, item: impl Fn(usize) -> Value) {
    let c = f.container("c", None).await;
    for first in (0..5_100).step_by(100) {
        let mut tx = Transaction::new();
        for number in first..first + 100 {
            f.documents.stage_create(&mut tx, &c, item(number)).await.unwrap();
        }
        f.ledger.commit(tx).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_script_has_not_committed_is_not_remembered() {
    let f = signed::fixture_with(|settings| settings.script_worker = Some(signed::script_worker()));
    many(&f, |number| {
        let mut item = json!({"id": number.to_string(), "pk": "a"});
        if number != 5 {
            item["v"] = json!(number);
        }
        item
    })
    .await;
    assert_eq!(page(&f, &order(false), 2, None).await.0, ["5", "0"]);
    let script = r#"function () {
        const c = __, link = c.getAltLink();
        c.replaceDocument(link + "/docs/5", {id: "5", pk: "a", v: -1.5}, (err) => {
            if (err) throw err;
            c.createDocument(c.getSelfLink(), {id: "new", pk: "a"}, (err) => {
                if (err) throw err;
                c.queryDocuments(c.getSelfLink(), "SELECT VALUE c.id FROM c ORDER BY c.v", {pageSize: 3}, (err, rows) => {
                    if (err) throw err;
                    throw new Error(418, JSON.stringify(rows));
                });
            });
        });
    }"#;
    signed::procedures::keep(&f, "s", script).await;
    let failed = signed::procedures::execute(&f, "s").await.expect(400);
    let told = signed::message(&failed).replace('\\', "");
    assert!(told.contains(r#"["new","5","0"]"#), "{told}");
    assert_eq!(page(&f, &order(false), 2, None).await.0, ["5", "0"]);
}

#[tokio::test]
async fn a_partition_key_says_that_its_property_is_there() {
    let f = fixture();
    many(&f, |number| json!({"id": number.to_string(), "pk": "a"})).await;
    let (f, watch) = watching(&f);
    // More than are sorted.
    for (key, undefined) in [("[\"a\"]", false), ("[{}]", true)] {
        watch.items();
        let key = ("x-ms-documentdb-partitionkey", key);
        let headers = [
            ("x-ms-documentdb-isquery", "True"),
            ("x-ms-max-item-count", "10"),
            key,
        ];
        let sql = json!({"query": "SELECT VALUE c.id FROM c ORDER BY c.pk"});
        let reply = f.json("POST", DOCS, &headers, sql).await.expect(200);
        let rows = reply.json()["Documents"].as_array().unwrap().len();
        assert_eq!(rows, if undefined { 0 } else { 10 });
        let read = watch.items();
        assert!(read < 100, "{read} items");
    }
}
