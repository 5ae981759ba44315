//! 1 KiB documents by the Cosmos protocol, each request signed with the emulator's master key.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::account::{Account, count, partition_key};
use crate::chance;
use crate::load::{Plan, Until, Worker, measure};

const COLLECTION: &str = "dbs/bench/colls/items";
const QUERY: &str = "SELECT * FROM c WHERE c.city = @city AND c.state = @state";
const RANGE: &str = "SELECT * FROM c WHERE c.number >= @from AND c.number < @to";
const ORDER: &str = "SELECT * FROM c WHERE c.number >= @from ORDER BY c.number";
/// Rows of a range, and of a page of an order.
pub const ROWS: u64 = 100;
/// Makes the whole document about 1 KiB.
const NOTE_LETTERS: usize = 760;
const CITIES: u64 = 200;
const STATES: u64 = 8;
const OWNERS: u64 = 500;

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    Read,
    Replace,
    Patch,
    Query,
    Range,
    Order,
}

impl Operation {
    /// Of the benchmark against PostgreSQL alone and of that of several nodes, in this order: reads find what
    /// was created.
    pub const SOME: [Self; 3] = [Self::Create, Self::Read, Self::Query];

    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create 1 KiB",
            Self::Read => "point read",
            Self::Replace => "replace",
            Self::Patch => "patch of two properties",
            Self::Query => "query by two properties",
            Self::Range => "100 by a range",
            Self::Order => "page of 100 ordered by a property",
        }
    }
}

/// Id of the `n`th document.
pub fn id(n: u64) -> String {
    format!("document-{n:08}")
}

/// Partition key of the `n`th document.
pub fn owner(n: u64) -> String {
    format!("owner-{}", n % OWNERS)
}

/// The two properties that the `n`th document has and the `n`th query asks for.
pub fn properties(n: u64) -> (String, String) {
    (
        format!("city-{}", chance::number(n) % CITIES),
        format!("state-{}", chance::number(n + 1_000_000) % STATES),
    )
}

/// The `n`th document: 1 KiB with a dozen paths.
pub fn document(n: u64) -> Value {
    let (city, state) = properties(n);
    json!({
        "id": id(n), "owner": owner(n), "city": city, "state": state, "number": n,
        "amount": (chance::number(n) % 100_000) as f64 / 100.0, "open": n.is_multiple_of(2),
        "created": format!("2026-01-{:02}T12:00:00Z", n % 28 + 1),
        "address": {"street": chance::text(n + 2, 12), "zip": n % 10_000},
        "tags": ["one", "two"], "note": chance::text(n + 1, NOTE_LETTERS),
    })
}

/// The `n`th document in another form for each `turn`.
pub fn replacement(n: u64, turn: u64) -> Value {
    let mut document = document(n);
    document["amount"] = json!(amount(turn));
    document
}

/// What the `turn`th write sets.
pub fn amount(turn: u64) -> f64 {
    (chance::number(turn) % 100_000) as f64 / 100.0
}

/// A connection by the Cosmos protocol.
pub struct Client {
    account: Account,
    pub operation: Operation,
    /// The number of the first document that is created.
    pub first: u64,
    documents: u64,
}

impl Client {
    /// A request for one document; it is answered with this status.
    async fn on_document(
        &mut self,
        method: &str,
        n: u64,
        headers: &[(&str, String)],
        body: String,
        wanted: u16,
    ) -> Result<()> {
        let headers = [&[partition_key(&owner(n))], headers].concat();
        let (link, path) = match method {
            "POST" => (COLLECTION.to_owned(), format!("/{COLLECTION}/docs")),
            _ => {
                let link = format!("{COLLECTION}/docs/{}", id(n));
                (link.clone(), format!("/{link}"))
            }
        };
        let answered = self
            .account
            .send(method, "docs", &link, &path, &headers, body.into());
        let (status, body) = answered.await?;
        ensure!(status == wanted, "{status}: {}", String::from_utf8_lossy(&body));
        Ok(())
    }

    /// A page of a query; how many rows it has.
    async fn rows(&mut self, sql: &str, parameters: &Value, more: &[(&str, String)]) -> Result<u64> {
        let body = json!({"query": sql, "parameters": parameters}).to_string();
        let mut headers = vec![
            ("content-type", "application/query+json".to_owned()),
            ("x-ms-documentdb-isquery", "True".to_owned()),
            ("x-ms-documentdb-query-enablecrosspartition", "True".to_owned()),
        ];
        headers.extend_from_slice(more);
        let path = format!("/{COLLECTION}/docs");
        let answered = self
            .account
            .send("POST", "docs", COLLECTION, &path, &headers, body.into());
        let (status, body) = answered.await?;
        ensure!(status == 200, "{status}: {}", String::from_utf8_lossy(&body));
        count(&body)
    }
}

impl Worker for Client {
    async fn operate(&mut self, n: u64) -> Result<()> {
        let any = chance::number(n) % self.documents;
        match self.operation {
            Operation::Create => {
                let n = self.first + n;
                self.on_document("POST", n, &[], document(n).to_string(), 201)
                    .await
            }
            Operation::Read => self.on_document("GET", any, &[], String::new(), 200).await,
            Operation::Replace => {
                let body = replacement(any, n).to_string();
                self.on_document("PUT", any, &[], body, 200).await
            }
            Operation::Patch => {
                let body = json!({"operations": [
                    {"op": "set", "path": "/amount", "value": amount(n)},
                    {"op": "incr", "path": "/address/zip", "value": 1}]});
                self.on_document("PATCH", any, &[], body.to_string(), 200).await
            }
            Operation::Query => {
                let (city, state) = properties(any);
                let parameters =
                    json!([{"name": "@city", "value": city}, {"name": "@state", "value": state}]);
                let rows = self.rows(QUERY, &parameters, &[]).await?;
                ensure!(rows > 0, "a query that found nothing");
                Ok(())
            }
            Operation::Range => {
                let from = any.min(self.documents - ROWS);
                let parameters =
                    json!([{"name": "@from", "value": from}, {"name": "@to", "value": from + ROWS}]);
                let most = ("x-ms-max-item-count", "1000".to_owned());
                let rows = self.rows(RANGE, &parameters, &[most]).await?;
                ensure!(rows == ROWS, "{rows} rows of a range");
                Ok(())
            }
            Operation::Order => {
                let from = any.min(self.documents - ROWS);
                let parameters = json!([{"name": "@from", "value": from}]);
                let most = ("x-ms-max-item-count", ROWS.to_string());
                let rows = self.rows(ORDER, &parameters, &[most]).await?;
                ensure!(rows == ROWS, "{rows} rows of a page");
                Ok(())
            }
        }
    }
}

/// Connections spread over `urls`, which serve the same; makes the database and container.
pub async fn connect(plan: &Plan, urls: &[String], documents: u64) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for url in urls.iter().cycle().take(plan.concurrency) {
        clients.push(Client {
            account: Account::open(url).await?,
            operation: Operation::Create,
            first: 0,
            documents,
        });
    }
    if let Some(client) = clients.first_mut() {
        let container =
            json!({"id": "items", "partitionKey": {"paths": ["/owner"], "kind": "Hash", "version": 2}});
        client.account.create_container("bench", &container).await?;
    }
    Ok(clients)
}

/// Measures create, point read and query.
pub async fn run(plan: &Plan, urls: &[String], documents: u64) -> Result<()> {
    let mut clients = connect(plan, urls, documents).await?;
    for operation in Operation::SOME {
        let until = match operation {
            Operation::Create => Until::Number(documents),
            _ => Until::Time(plan.time),
        };
        clients.iter_mut().for_each(|client| client.operation = operation);
        clients = measure(plan, operation.name(), until, clients).await?;
    }
    Ok(())
}
