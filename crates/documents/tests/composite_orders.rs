//! A query gives the same rows in the same order whether a composite index serves it, indexes of
//! single paths do, or every item is read, whatever the page size; and what is written fits the items.
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

use documents::{Container, PartitionKey};
use ledger::Transaction;
use proptest::prelude::*;
use serde_json::{Value, json};
use signed::{Fixture, fixture};

/// Where queries look: the paths of composite indexes.
const PATHS: [&str; 5] = ["a", "b", "n.x", "pk", "_ts"];

/// A composite index: places in [`PATHS`], and whether each goes down.
type Composite = Vec<(usize, bool)>;

fn composite() -> impl Strategy<Value = Composite> {
    let places = Just((0..PATHS.len()).collect::<Vec<_>>()).prop_shuffle();
    let directions = prop::collection::vec(any::<bool>(), PATHS.len());
    (places, directions, 2usize..4)
        .prop_map(|(places, directions, count)| places.into_iter().zip(directions).take(count).collect())
}

fn policy(composites: &[Composite], automatic: bool) -> Value {
    let composites: Vec<Vec<Value>> = composites
        .iter()
        .map(|columns| {
            let column = |(place, down): &(usize, bool)| {
                let order = if *down { "descending" } else { "ascending" };
                json!({"path": format!("/{}", PATHS[*place].replace('.', "/")), "order": order})
            };
            columns.iter().map(column).collect()
        })
        .collect();
    json!({"compositeIndexes": composites, "automatic": automatic})
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (0i64..3).prop_map(Value::from),
        1 => Just(json!(1.5)),
        1 => Just(json!(9_007_199_254_740_993_i64)),
        4 => "[ab]{0,2}".prop_map(Value::from),
        1 => "[ab]".prop_map(|end| Value::from(format!("{}{end}", "x".repeat(300)))),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        8 => scalar(),
        1 => scalar().prop_map(|x| json!([x])),
        // These two share a hash.
        1 => (0i64..2).prop_map(|more| json!({"x": 9_007_199_254_740_992_i64 + more})),
    ]
}

fn document() -> impl Strategy<Value = Value> {
    let maybe = || prop::option::weighted(0.8, value());
    let tags = prop::collection::vec(0i64..3, 0..3);
    (maybe(), maybe(), maybe(), "[ab]", tags).prop_map(|(a, b, x, pk, tags)| {
        let mut document = json!({"pk": pk, "tags": tags});
        for (name, value) in [("a", a), ("b", b)] {
            if let Some(value) = value {
                document[name] = value;
            }
        }
        if let Some(x) = x {
            document["n"] = json!({"x": x});
        }
        document
    })
}

fn constant() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => (0i64..3).prop_map(|n| n.to_string()),
        4 => "[ab]{0,2}".prop_map(|s| format!("'{s}'")),
        1 => "[ab]".prop_map(|s| format!("'{}{s}'", "x".repeat(300))),
        1 => prop::sample::select(vec!["null", "true", "1.5", "9007199254740993"]).prop_map(str::to_owned),
    ]
}

/// What is asked: of which composite index, how many of its columns are bound by equality, how the
/// next one is, what else, and which order.
#[derive(Debug, Clone)]
struct Question {
    composite: usize,
    equal: Vec<String>,
    range: Option<(usize, String, String)>,
    beside: Option<String>,
    /// How many of the bound columns ORDER BY leaves out; `None` for no order.
    order: Option<usize>,
    backward: bool,
    kind: usize,
}

fn question() -> impl Strategy<Value = Question> {
    (
        0usize..3,
        prop::collection::vec(constant(), 0..4),
        prop::option::of((0usize..8, constant(), constant())),
        prop::option::weighted(0.2, constant()),
        prop::option::weighted(0.8, 0usize..2),
        any::<bool>(),
        0usize..8,
    )
        .prop_map(
            |(composite, equal, range, beside, order, backward, kind)| Question {
                composite,
                equal,
                range,
                beside,
                order,
                backward,
                kind,
            },
        )
}

impl Question {
    fn text(&self, composites: &[Composite]) -> String {
        let columns = &composites[self.composite % composites.len()];
        let path = |at: usize| format!("c.{}", PATHS[columns[at].0]);
        let equal = self.equal.len().min(columns.len());
        let mut filters: Vec<String> = (0..equal)
            .map(|at| format!("{} = {}", path(at), self.equal[at]))
            .collect();
        if let Some((kind, one, two)) = &self.range
            && equal < columns.len()
        {
            let path = path(equal);
            filters.push(match kind {
                0 => format!("{path} < {one}"),
                1 => format!("{path} <= {one}"),
                2 => format!("{path} > {one}"),
                3 => format!("{path} >= {one}"),
                4 => format!("{path} BETWEEN {one} AND {two}"),
                5 => format!("STARTSWITH({path}, 'a')"),
                6 => format!("STARTSWITH({path}, '{}')", "x".repeat(299)),
                _ => format!("IS_DEFINED({path})"),
            });
        }
        if let Some(value) = &self.beside {
            filters.push(format!("ARRAY_CONTAINS(c.tags, {value})"));
        }
        let filter = if filters.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", filters.join(" AND "))
        };
        let order = self.order.map_or(String::new(), |left_out| {
            let terms = (left_out.min(equal)..columns.len()).map(|at| {
                let down = if columns[at].1 == self.backward {
                    "ASC"
                } else {
                    "DESC"
                };
                format!("{} {down}", path(at))
            });
            let terms: Vec<String> = terms.collect();
            if terms.is_empty() {
                String::new()
            } else {
                format!(" ORDER BY {}", terms.join(", "))
            }
        });
        match self.kind {
            0 => format!("SELECT c.id, t FROM c JOIN t IN c.tags{filter}{order}"),
            1 => format!("SELECT TOP 3 VALUE c.id FROM c{filter}{order}"),
            2 => format!("SELECT VALUE c.id FROM c{filter}{order} OFFSET 2 LIMIT 4"),
            3 if order.is_empty() => format!("SELECT VALUE COUNT(1) FROM c{filter}"),
            4 if !order.is_empty() => format!("SELECT DISTINCT VALUE c.pk FROM c{filter}{order}"),
            _ => format!("SELECT c.id, c.a, c.b FROM c{filter}{order}"),
        }
    }
}

/// Writes the documents into each container, one commit each, a second later now and then; then the
/// changes, of which some are in one commit.
async fn write(
    f: &Fixture,
    containers: &[&Container],
    documents: &[Value],
    changes: &[(usize, Option<Value>)],
) {
    for (id, document) in documents.iter().enumerate() {
        let mut document = document.clone();
        document["id"] = json!(format!("{id:03}"));
        for c in containers {
            let mut tx = Transaction::new();
            let staged = f.documents.stage_create(&mut tx, c, document.clone()).await;
            staged.unwrap();
            f.ledger.commit(tx).await.unwrap();
        }
        if id % 4 == 3 {
            f.clock.advance_seconds(1);
        }
    }
    for together in changes.chunks(3) {
        for c in containers {
            change(f, c, documents, together).await;
        }
        f.clock.advance_seconds(1);
    }
}

async fn change(f: &Fixture, c: &Container, documents: &[Value], changes: &[(usize, Option<Value>)]) {
    let mut tx = Transaction::new();
    let snapshot = f.ledger.snapshot().await.unwrap();
    for (id, change) in changes {
        let Some(old) = documents.get(*id) else { continue };
        let key = PartitionKey::string(old["pk"].as_str().unwrap());
        let name = format!("{id:03}");
        match change {
            None => {
                let deleted = f
                    .documents
                    .stage_delete(&mut tx, snapshot.as_ref(), c, &key, &name, None);
                if let Err(error) = deleted.await {
                    assert!(error.is_not_found(), "{error}");
                }
            }
            Some(new) => {
                let mut new = new.clone();
                new["id"] = json!(name);
                new["pk"] = old["pk"].clone();
                let upserted = f.documents.stage_upsert(&mut tx, snapshot.as_ref(), c, new);
                upserted.await.unwrap();
            }
        }
    }
    f.ledger.commit(tx).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn composite_indexes_and_full_scans_agree(
        documents in prop::collection::vec(document(), 0..40),
        composites in prop::collection::vec(composite(), 1..4),
        questions in prop::collection::vec(question(), 16),
        page in 1usize..8,
        changes in prop::collection::vec((0usize..40, prop::option::of(document())), 0..9),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let f = fixture();
            let indexed = f.container("indexed", Some(policy(&composites, true))).await;
            let mut only = policy(&composites, true);
            only["excludedPaths"] = json!([{"path": "/*"}]);
            let only = f.container("only", Some(only)).await;
            let singles = f.container("singles", None).await;
            let plain = f.container("plain", Some(json!({"indexingMode": "none"}))).await;
            let manual = f.container("manual", Some(policy(&composites, false))).await;
            let containers = [&*indexed, &*only, &*singles, &*plain, &*manual];
            write(&f, &containers, &documents, &changes).await;
            f.verify().await;
            for question in &questions {
                let sql = question.text(&composites);
                for key in [None, Some(PartitionKey::string("a"))] {
                    let wanted = f.all_rows(&plain, &sql, key.as_ref(), 1_000).await;
                    for c in [&indexed, &only, &singles] {
                        let found = f.all_rows(c, &sql, key.as_ref(), page).await;
                        assert_eq!(found, wanted, "{sql} in {} by {page}, key {key:?}", c.id());
                    }
                    // What isn't indexed is found or isn't, whatever the page.
                    let found = f.all_rows(&manual, &sql, key.as_ref(), page).await;
                    assert_eq!(found, f.all_rows(&manual, &sql, key.as_ref(), 1_000).await, "{sql}");
                }
            }
        });
    }
}
