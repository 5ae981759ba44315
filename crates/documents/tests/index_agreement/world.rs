//! Containers with documents that change, and the question whether they answer as a scan would.
//!
//! The scan is the query run over every document that the container has, read without a condition:
//! none of the code that chooses, intersects or orders by an index has a part in it.

use std::fmt;
use std::sync::Arc;

use documents::{Component, Container, PartitionKey};
use documents_sql::{Compiled, EvalContext, OrderMode};
use serde_json::{Value, json};

use crate::chance::Chance;
use crate::queries::{Asker, Query};
use crate::signed::{Fixture, fixture};
use crate::values;

const COLLECTION: &str = "/dbs/d/colls/c";
const DOCUMENTS: &str = "/dbs/d/colls/c/docs";
const MEMORY_BYTES_MAX: usize = 1 << 30;
/// More pages than any query here has rows.
const PAGES_MAX: usize = 100_000;

/// What happens to a container once its documents are there.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    /// Puts a document over the one of its id.
    Upsert(Value),
    Delete {
        id: String,
        owner: Option<Value>,
    },
    Patch {
        id: String,
        owner: Option<Value>,
        operations: Value,
    },
    /// Another indexing policy: a new index begins, which `Sweep` completes.
    Policy(Value),
    Sweep,
}

/// A container's whole history.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) policy: Value,
    pub(crate) documents: Vec<Value>,
    pub(crate) changes: Vec<Change>,
}

/// A query and how it is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) query: Query,
    /// One partition, or all.
    pub(crate) partition: Option<PartitionKey>,
    pub(crate) page: usize,
}

/// Two answers that should be one.
#[derive(Debug, Clone)]
pub(crate) struct Difference {
    wanted: Vec<Value>,
    found: Result<Vec<Value>, String>,
}

/// What came of a question.
#[derive(Debug)]
pub(crate) enum Verdict {
    Agree {
        rows: usize,
    },
    /// The scan can't answer.
    Refused,
    Differ(Box<Difference>),
}

impl World {
    pub(crate) fn new(chance: &mut Chance, size: usize) -> Self {
        let mut documents = Vec::new();
        for at in 0..chance.below(size + 1) {
            let owner = values::owner(chance);
            documents.push(values::document(chance, &format!("{at:03}"), owner.as_ref()));
        }
        let policy = values::policy(chance);
        let mut changes = Vec::new();
        for _ in 0..chance.below(12) {
            changes.extend(change(chance, &documents));
        }
        changes.push(Change::Sweep);
        Self {
            policy,
            documents,
            changes,
        }
    }

    pub(crate) fn questions(&self, chance: &mut Chance, count: usize) -> Vec<Question> {
        let mut known = Vec::new();
        for document in &self.documents {
            values::gather(document, &mut known);
        }
        for change in &self.changes {
            if let Change::Upsert(document) = change {
                values::gather(document, &mut known);
            }
        }
        let ask = |_| Question {
            query: Asker::new(chance, &known).query(),
            partition: chance
                .one_in(3)
                .then(|| partition(values::owner(chance).as_ref())),
            page: *chance.pick(&[1, 2, 3, 7, 1_000]),
        };
        (0..count).map(ask).collect()
    }

    /// Lives through the history.
    pub(crate) async fn build(&self) -> Built {
        let more = json!({"indexingPolicy": self.policy});
        let f = fixture().with_container(more).await;
        for document in &self.documents {
            let key = header(document.get("pk"));
            let key = [("x-ms-documentdb-partitionkey", key.as_str())];
            f.json("POST", DOCUMENTS, &key, document.clone())
                .await
                .expect(201);
        }
        for change in &self.changes {
            change.happen(&f).await;
        }
        f.verify().await;
        let container = f.documents.find_container("test", "d", "c").await.unwrap();
        let mut built = Built {
            f,
            container,
            stored: Vec::new(),
        };
        built.stored = built.pages("SELECT * FROM c", &[], None, 1_000).await.unwrap();
        built
    }
}

fn change(chance: &mut Chance, documents: &[Value]) -> Option<Change> {
    let some = |chance: &mut Chance| {
        if documents.is_empty() {
            return None;
        }
        let document = chance.pick(documents);
        let id = document["id"].as_str()?.to_owned();
        Some((id, document.get("pk").cloned()))
    };
    Some(match chance.below(10) {
        0..=3 => {
            let (id, owner) = some(chance)?;
            Change::Upsert(values::document(chance, &id, owner.as_ref()))
        }
        4 => {
            let owner = values::owner(chance);
            let id = format!("new {}", chance.below(100));
            Change::Upsert(values::document(chance, &id, owner.as_ref()))
        }
        5 | 6 => {
            let (id, owner) = some(chance)?;
            Change::Delete { id, owner }
        }
        7 | 8 => {
            let (id, owner) = some(chance)?;
            let path = *chance.pick(&["/a", "/b", "/n", "/tags", "/é", "/fresh"]);
            let operation = if chance.one_in(3) {
                json!({"op": "remove", "path": path})
            } else {
                json!({"op": "set", "path": path, "value": values::value(chance, 3)})
            };
            Change::Patch {
                id,
                owner,
                operations: json!({"operations": [operation]}),
            }
        }
        _ if chance.one_in(3) => Change::Sweep,
        _ => Change::Policy(values::policy(chance)),
    })
}

fn header(owner: Option<&Value>) -> String {
    let key = owner.cloned().unwrap_or_else(|| json!({}));
    // Headers are ASCII.
    let text = json!([key]).to_string();
    let mut ascii = String::new();
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => ascii.push(char::from(byte)),
            _ => ascii.push_str(&format!("\\u{unit:04x}")),
        }
    }
    ascii
}

fn partition(owner: Option<&Value>) -> PartitionKey {
    PartitionKey::from_header(&header(owner)).unwrap()
}

impl Change {
    async fn happen(&self, f: &Fixture) {
        let item = |id: &str| format!("{DOCUMENTS}/{id}");
        match self {
            Self::Upsert(document) => {
                let key = header(document.get("pk"));
                let headers = [
                    ("x-ms-documentdb-partitionkey", key.as_str()),
                    ("x-ms-documentdb-is-upsert", "True"),
                ];
                let reply = f.json("POST", DOCUMENTS, &headers, document.clone()).await;
                assert!(reply.status.is_success(), "{self:?}: {}", reply.status);
            }
            Self::Delete { id, owner } => {
                let key = header(owner.as_ref());
                let key = [("x-ms-documentdb-partitionkey", key.as_str())];
                let reply = f.send("DELETE", &item(id), &key, "").await;
                assert!(
                    [204, 404].contains(&reply.status.as_u16()),
                    "{self:?}: {}",
                    reply.status
                );
            }
            Self::Patch {
                id,
                owner,
                operations,
            } => {
                let key = header(owner.as_ref());
                let headers = [
                    ("x-ms-documentdb-partitionkey", key.as_str()),
                    ("content-type", "application/json_patch+json"),
                ];
                let reply = f.json("PATCH", &item(id), &headers, operations.clone()).await;
                // What is to be removed may not be there.
                assert!(
                    [200, 400, 404].contains(&reply.status.as_u16()),
                    "{self:?}: {}",
                    reply.status
                );
            }
            Self::Policy(policy) => {
                let body = json!({
                    "id": "c", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2},
                    "indexingPolicy": policy,
                });
                f.json("PUT", COLLECTION, &[], body).await.expect(200);
            }
            Self::Sweep => while f.documents.sweep_once().await.unwrap().more {},
        }
    }
}

/// A world that is there to be asked.
pub(crate) struct Built {
    f: Fixture,
    container: Arc<Container>,
    /// Every document, in the order of creation.
    stored: Vec<Value>,
}

impl Built {
    async fn pages(
        &self,
        sql: &str,
        parameters: &[(String, Value)],
        partition: Option<&PartitionKey>,
        page: usize,
    ) -> Result<Vec<Value>, String> {
        let mut rows = Vec::new();
        let mut continuation: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let found = self
                .f
                .documents
                .query(
                    &self.container,
                    sql,
                    parameters,
                    partition,
                    page,
                    continuation.as_deref(),
                )
                .await
                .map_err(|error| error.to_string())?;
            if found.rows.len() > page {
                return Err(format!("a page of {} rows", found.rows.len()));
            }
            rows.extend(found.rows);
            continuation = found.continuation;
            if continuation.is_none() {
                return Ok(rows);
            }
        }
        Err(format!("more than {PAGES_MAX} pages"))
    }

    /// The query over every document; `None` if it can't be answered.
    fn scan(&self, question: &Question) -> Option<Vec<Value>> {
        let query = documents_sql::parse(&question.query.to_string()).ok()?;
        let compiled = Compiled::compile(&query, &question.query.parameters).ok()?;
        let context = EvalContext {
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            random_seed: 1,
        };
        let mut execution = compiled.execution(context, MEMORY_BYTES_MAX, OrderMode::Sort);
        for (order, document) in (0u64..).zip(&self.stored) {
            let key = || self.container.partition_key().extract(document).unwrap();
            if question.partition.as_ref().is_none_or(|wanted| key() == *wanted) {
                execution.push(document, order).ok()?;
            }
        }
        execution.finish().ok()?;
        Some(std::iter::from_fn(|| execution.next_row()).collect())
    }

    pub(crate) async fn ask(&self, question: &Question) -> Verdict {
        let Question {
            query,
            partition,
            page,
        } = question;
        let Some(wanted) = self.scan(question) else {
            return Verdict::Refused;
        };
        let found = self
            .pages(&query.to_string(), &query.parameters, partition.as_ref(), *page)
            .await;
        if found.as_ref() == Ok(&wanted) {
            Verdict::Agree { rows: wanted.len() }
        } else {
            Verdict::Differ(Box::new(Difference { wanted, found }))
        }
    }
}

/// All that is needed to see a difference again.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) world: World,
    pub(crate) question: Question,
    pub(crate) difference: Difference,
}

impl Case {
    /// Leaves away documents, changes and conditions as long as there is a difference.
    pub(crate) async fn shrunk(mut self) -> Self {
        loop {
            let before = self.size();
            let mut step = self.world.documents.len().max(1);
            while step > 0 {
                let mut at = 0;
                while at < self.world.documents.len() {
                    let mut world = self.world.clone();
                    let end = (at + step).min(world.documents.len());
                    world.documents.drain(at..end);
                    if !self.replaced_by(world, self.question.clone()).await {
                        at += step;
                    }
                }
                step /= 2;
            }
            let mut at = 0;
            while at < self.world.changes.len() {
                let mut world = self.world.clone();
                world.changes.remove(at);
                if !self.replaced_by(world, self.question.clone()).await {
                    at += 1;
                }
            }
            let mut at = 0;
            while at < self.question.query.conjuncts.len() {
                let mut question = self.question.clone();
                question.query.conjuncts.remove(at);
                if !self.replaced_by(self.world.clone(), question).await {
                    at += 1;
                }
            }
            if self.size() == before {
                return self;
            }
        }
    }

    fn size(&self) -> usize {
        self.world.documents.len() + self.world.changes.len() + self.question.query.conjuncts.len()
    }

    async fn replaced_by(&mut self, world: World, question: Question) -> bool {
        match world.build().await.ask(&question).await {
            Verdict::Differ(difference) => {
                *self = Self {
                    world,
                    question,
                    difference: *difference,
                };
                true
            }
            Verdict::Agree { .. } | Verdict::Refused => false,
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            world,
            question,
            difference,
        } = self;
        writeln!(f, "query: {}", question.query)?;
        for (name, value) in &question.query.parameters {
            writeln!(f, "  {name} = {value}")?;
        }
        let partition = question.partition.as_ref().map(PartitionKey::to_json);
        writeln!(f, "partition: {partition:?}, page: {}", question.page)?;
        writeln!(f, "policy: {}", world.policy)?;
        for document in &world.documents {
            writeln!(f, "document: {document}")?;
        }
        for change in &world.changes {
            writeln!(f, "change: {change:?}")?;
        }
        writeln!(f, "a scan gives: {}", Value::from(difference.wanted.clone()))?;
        match &difference.found {
            Ok(rows) => write!(f, "the container: {}", Value::from(rows.clone())),
            Err(error) => write!(f, "the container: {error}"),
        }
    }
}

/// Whether two keys are one: what `scan` filters with.
#[test]
fn keys_are_told_apart() {
    assert_ne!(partition(None), partition(Some(&Value::Null)));
    assert_eq!(
        partition(Some(&json!("é😀"))),
        PartitionKey::new(vec![Component::String("é😀".to_owned())])
    );
}
