//! The tasks by the Cosmos protocol. A loader's bulk mode sends 100 creates of any partition keys in one
//! request, each committed for itself; a batch is one commit in one partition.

use std::rc::Rc;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};

use super::shape::{self, BULK, PAGE, Shape, TOGETHER};
use super::task::Task;
use crate::account::{Account, count, partition_key};
use crate::load::{Plan, Worker};

pub const DATABASE: &str = "million";
pub const COLLECTION: &str = "dbs/million/colls/items";
pub const ORDERED: &str = "SELECT * FROM c ORDER BY c.number";
/// A composite index gives it.
pub const COMPOSITE: &str = "SELECT * FROM c ORDER BY c.city, c.state, c.created";
/// Of a computed property, which is in no index: all documents are read and sorted.
pub const UNINDEXED: &str = "SELECT * FROM c ORDER BY c.place";
const CONTINUATION: &str = "x-ms-continuation";

/// A connection.
pub struct Client {
    pub account: Account,
    pub task: Task,
    /// Continuations of [`ORDERED`], in the middle.
    pub tokens: Rc<[String]>,
    shape: Shape,
}

impl Client {
    async fn create(&mut self, n: u64) -> Result<()> {
        let headers = [partition_key(&self.shape.owner(n))];
        let body = self.shape.document(n, 0).to_string();
        self.write("POST", None, &headers, body, 201).await
    }

    async fn bulk(&mut self, n: u64) -> Result<()> {
        let first = self.shape.bulk_from() + n * BULK;
        let operations: Vec<Value> = (first..first + BULK)
            .map(|n| {
                json!({"operationType": "Create", "partitionKey": json!([self.shape.owner(n)]).to_string(),
                    "resourceBody": self.shape.document(n, 0)})
            })
            .collect();
        let headers = [
            ("x-ms-cosmos-is-batch-request", "True".to_owned()),
            ("x-ms-cosmos-batch-atomic", "False".to_owned()),
            ("x-ms-cosmos-batch-continue-on-error", "True".to_owned()),
            ("x-ms-documentdb-partitionkeyrangeid", "0".to_owned()),
        ];
        self.all_created(&headers, &operations).await
    }

    async fn batch(&mut self, n: u64) -> Result<()> {
        let operations: Vec<Value> = (0..BULK)
            .map(|place| json!({"operationType": "Create", "resourceBody": self.shape.batched(n, place)}))
            .collect();
        let headers = [
            partition_key(&shape::batch_owner(n)),
            ("x-ms-cosmos-is-batch-request", "True".to_owned()),
            ("x-ms-cosmos-batch-atomic", "True".to_owned()),
        ];
        self.all_created(&headers, &operations).await
    }

    async fn all_created(&mut self, headers: &[(&str, String)], operations: &[Value]) -> Result<()> {
        let body = serde_json::to_vec(operations)?;
        let path = format!("/{COLLECTION}/docs");
        let (status, body) = self
            .account
            .send("POST", "docs", COLLECTION, &path, headers, body.into())
            .await?;
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));
        let results: Vec<Value> = serde_json::from_slice(&body)?;
        let created = results
            .iter()
            .filter(|result| result["statusCode"] == 201)
            .count();
        ensure!(created as u64 == BULK, "{created} of {BULK} are created");
        Ok(())
    }

    async fn write(
        &mut self,
        method: &str,
        id: Option<&str>,
        headers: &[(&str, String)],
        body: String,
        wanted: u16,
    ) -> Result<()> {
        let (link, path) = match id {
            Some(id) => {
                let link = format!("{COLLECTION}/docs/{id}");
                (link.clone(), format!("/{link}"))
            }
            None => (COLLECTION.to_owned(), format!("/{COLLECTION}/docs")),
        };
        let (status, body) = self
            .account
            .send(method, "docs", &link, &path, headers, body.into())
            .await?;
        ensure!(status == wanted, "{status}: {}", String::from_utf8_lossy(&body));
        Ok(())
    }

    async fn rows(&mut self, query: Query<'_>, wanted: std::ops::RangeInclusive<u64>) -> Result<()> {
        let mut rows = 0;
        let mut continuation = query.continuation.map(str::to_owned);
        loop {
            // A page may be short, even empty: clients ask again until they have what they want.
            let query = Query {
                continuation: continuation.as_deref(),
                ..query.clone()
            };
            let (body, next) = page(&mut self.account, query).await?;
            rows += count(&body)?;
            continuation = next;
            if continuation.is_none() || rows >= *wanted.end() {
                break;
            }
        }
        ensure!(wanted.contains(&rows), "{rows} rows, not {wanted:?}");
        Ok(())
    }

    async fn aggregate(&mut self, query: Query<'_>, wanted: std::ops::RangeInclusive<u64>) -> Result<()> {
        let (body, continuation) = page(&mut self.account, query).await?;
        ensure!(continuation.is_none(), "an aggregate in pieces");
        let body: Value = serde_json::from_slice(&body)?;
        let row = &body["Documents"][0];
        let count = row.as_u64().or_else(|| row["n"].as_u64());
        let count = count.with_context(|| format!("no count in {body}"))?;
        ensure!(wanted.contains(&count), "{count} counted, not {wanted:?}");
        Ok(())
    }
}

impl Worker for Client {
    async fn operate(&mut self, n: u64) -> Result<()> {
        let shape = self.shape;
        let any = shape.any(n);
        match self.task {
            Task::Create => self.create(n).await,
            Task::Bulk => self.bulk(n).await,
            Task::Batch => self.batch(n).await,
            Task::Read => {
                let headers = [partition_key(&shape.owner(any))];
                self.write("GET", Some(&shape::id(any)), &headers, String::new(), 200)
                    .await
            }
            Task::Replace => {
                let headers = [partition_key(&shape.owner(any))];
                let body = shape.document(any, n + 1).to_string();
                self.write("PUT", Some(&shape::id(any)), &headers, body, 200)
                    .await
            }
            Task::Patch => {
                let headers = [partition_key(&shape.owner(any))];
                let body = json!({"operations": [
                    {"op": "set", "path": "/amount", "value": shape::amount(any, n)},
                    {"op": "incr", "path": "/quantity", "value": 1}]});
                self.write("PATCH", Some(&shape::id(any)), &headers, body.to_string(), 200)
                    .await
            }
            Task::Equality => {
                let sql = "SELECT * FROM c WHERE c.customer = @customer";
                let query = Query::new(sql, json!([{"name": "@customer", "value": shape.customer(any)}]));
                self.rows(query.of(1_000), TOGETHER..=TOGETHER).await
            }
            Task::Range => {
                let sql = "SELECT * FROM c WHERE c.number >= @from AND c.number < @to";
                let from = any.min(shape.documents - PAGE);
                let query = Query::new(
                    sql,
                    json!([{"name": "@from", "value": from}, {"name": "@to", "value": from + PAGE}]),
                );
                self.rows(query.of(1_000), PAGE..=PAGE).await
            }
            Task::Partition => {
                let sql = "SELECT * FROM c WHERE c.state = @state";
                let mut query = Query::new(sql, json!([{"name": "@state", "value": shape::state(any)}]));
                let owner = shape.owner(any);
                query.owner = Some(&owner);
                self.rows(query.of(1_000), 1..=TOGETHER).await
            }
            Task::TwoProperties => {
                let sql = "SELECT * FROM c WHERE c.city = @city AND c.state = @state ORDER BY c.created DESC";
                let query = Query::new(
                    sql,
                    json!([{"name": "@city", "value": shape::city(any)},
                        {"name": "@state", "value": shape::state(any)}]),
                );
                self.rows(query.of(PAGE), 1..=PAGE).await
            }
            Task::OrderFirst => {
                let query = Query::new(ORDERED, json!([]));
                self.rows(query.of(PAGE), PAGE..=PAGE).await
            }
            Task::OrderFrom => {
                let sql = "SELECT * FROM c WHERE c.number >= @from ORDER BY c.number";
                let from = any.min(shape.documents - PAGE);
                let query = Query::new(sql, json!([{"name": "@from", "value": from}]));
                self.rows(query.of(PAGE), PAGE..=PAGE).await
            }
            Task::OrderAfter => {
                let tokens = Rc::clone(&self.tokens);
                let token = usize::try_from(n)? % tokens.len().max(1);
                let mut query = Query::new(ORDERED, json!([]));
                query.continuation = Some(tokens.get(token).context("no continuation")?);
                self.rows(query.of(PAGE), PAGE..=PAGE).await
            }
            Task::AggregateSome => {
                let sql = "SELECT COUNT(1) AS n, SUM(c.amount) AS sum, AVG(c.amount) AS average FROM c
                    WHERE c.city = @city";
                let query = Query::new(sql, json!([{"name": "@city", "value": shape::city(any)}]));
                self.aggregate(query, 1..=shape.documents / 50).await
            }
            Task::AggregateAll => {
                let sql = "SELECT COUNT(1) AS n, SUM(c.amount) AS sum, AVG(c.amount) AS average FROM c";
                let query = Query::new(sql, json!([]));
                self.aggregate(query, shape.documents..=shape.documents).await
            }
            Task::CountAll => {
                let query = Query::new("SELECT VALUE COUNT(1) FROM c", json!([]));
                self.aggregate(query, shape.documents..=shape.documents).await
            }
        }
    }
}

/// A query's page.
#[derive(Clone)]
pub struct Query<'q> {
    sql: &'q str,
    parameters: Value,
    items_max: u64,
    owner: Option<&'q str>,
    pub continuation: Option<&'q str>,
}

impl<'q> Query<'q> {
    pub fn new(sql: &'q str, parameters: Value) -> Self {
        Self {
            sql,
            parameters,
            items_max: PAGE,
            owner: None,
            continuation: None,
        }
    }

    /// With so many rows at most.
    pub fn of(self, items_max: u64) -> Self {
        Self { items_max, ..self }
    }
}

/// Asks for a page; its body, and where to go on.
pub async fn page(account: &mut Account, query: Query<'_>) -> Result<(Bytes, Option<String>)> {
    let (status, body) = ask(account, query).await?;
    ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));
    Ok((body, account.answered(CONTINUATION).map(str::to_owned)))
}

/// Asks for a page that may be refused.
pub async fn ask(account: &mut Account, query: Query<'_>) -> Result<(u16, Bytes)> {
    let mut headers = vec![
        ("content-type", "application/query+json".to_owned()),
        ("x-ms-documentdb-isquery", "True".to_owned()),
        ("x-ms-max-item-count", query.items_max.to_string()),
    ];
    headers.push(match query.owner {
        Some(owner) => partition_key(owner),
        None => ("x-ms-documentdb-query-enablecrosspartition", "True".to_owned()),
    });
    if let Some(continuation) = query.continuation {
        headers.push((CONTINUATION, continuation.to_owned()));
    }
    let body = json!({"query": query.sql, "parameters": query.parameters}).to_string();
    let path = format!("/{COLLECTION}/docs");
    account
        .send("POST", "docs", COLLECTION, &path, &headers, body.into())
        .await
}

/// Makes the container and connects.
pub async fn connect(plan: &Plan, url: &str, shape: Shape) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for _ in 0..plan.concurrency {
        clients.push(Client {
            account: Account::open(url).await?,
            task: Task::Create,
            tokens: Rc::new([]),
            shape,
        });
    }
    if let Some(client) = clients.first_mut() {
        let container = json!({
            "id": "items", "partitionKey": {"paths": ["/owner"], "kind": "Hash", "version": 2},
            "indexingPolicy": {
                "includedPaths": [{"path": "/*"}, {"path": "/place/?"}],
                "compositeIndexes": [[
                    {"path": "/city", "order": "ascending"}, {"path": "/state", "order": "ascending"},
                    {"path": "/created", "order": "ascending"}]]},
            "computedProperties": [{"name": "place", "query": "SELECT VALUE LOWER(c.city) FROM c"}],
        });
        client.account.create_container(DATABASE, &container).await?;
    }
    Ok(clients)
}
