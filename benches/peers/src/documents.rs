//! 1 KiB documents by the Cosmos protocol, each request signed with the emulator's master key.

use anyhow::{Result, ensure};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::account::{Account, partition_key};
use crate::chance;
use crate::load::{Plan, Until, Worker, measure};

const COLLECTION: &str = "dbs/bench/colls/items";
const QUERY: &str = "SELECT * FROM c WHERE c.city = @city AND c.state = @state";
/// Makes the whole document about 1 KiB.
const NOTE_LETTERS: usize = 760;
const CITIES: u64 = 200;
const STATES: u64 = 8;
const OWNERS: u64 = 500;

/// What is measured, in this order: reads find what was created.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    Read,
    Query,
}

impl Operation {
    pub const ALL: [Self; 3] = [Self::Create, Self::Read, Self::Query];

    /// As reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create 1 KiB",
            Self::Read => "point read",
            Self::Query => "query by two properties",
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

/// A connection to Stabbur.
pub struct Client {
    account: Account,
    pub operation: Operation,
    documents: u64,
}

impl Worker for Client {
    async fn operate(&mut self, n: u64) -> Result<()> {
        let path = format!("/{COLLECTION}/docs");
        let (wanted, (status, body)) = match self.operation {
            Operation::Create => {
                let body = document(n).to_string();
                let headers = [partition_key(&owner(n))];
                (
                    201,
                    self.account
                        .send("POST", "docs", COLLECTION, &path, &headers, body.into())
                        .await?,
                )
            }
            Operation::Read => {
                let n = chance::number(n) % self.documents;
                let link = format!("{COLLECTION}/docs/{}", id(n));
                let headers = [partition_key(&owner(n))];
                (
                    200,
                    self.account
                        .send("GET", "docs", &link, &format!("/{link}"), &headers, Bytes::new())
                        .await?,
                )
            }
            Operation::Query => {
                let (city, state) = properties(chance::number(n) % self.documents);
                let body = json!({"query": QUERY, "parameters": [
                    {"name": "@city", "value": city}, {"name": "@state", "value": state}]});
                let headers = [
                    ("content-type", "application/query+json".to_owned()),
                    ("x-ms-documentdb-isquery", "True".to_owned()),
                    ("x-ms-documentdb-query-enablecrosspartition", "True".to_owned()),
                ];
                (
                    200,
                    self.account
                        .send(
                            "POST",
                            "docs",
                            COLLECTION,
                            &path,
                            &headers,
                            body.to_string().into(),
                        )
                        .await?,
                )
            }
        };
        ensure!(status == wanted, "{status}: {}", String::from_utf8_lossy(&body));
        if matches!(self.operation, Operation::Query) {
            // Its bytes have come; that they parse is checked on neither side.
            let count = body.rsplit(|byte| *byte == b':').next().unwrap_or_default();
            ensure!(
                body.starts_with(b"{\"_rid\":") && !count.starts_with(b"0"),
                "a query that found nothing"
            );
        }
        Ok(())
    }
}

/// Connections spread over `urls`, which serve the same; makes the database and container.
pub async fn connect(plan: &Plan, urls: &[String], documents: u64) -> Result<Vec<Client>> {
    let mut clients = Vec::new();
    for url in urls.iter().cycle().take(plan.concurrency) {
        clients.push(Client {
            account: Account::open(url).await?,
            operation: Operation::Create,
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
    for operation in Operation::ALL {
        let until = match operation {
            Operation::Create => Until::Number(documents),
            Operation::Read | Operation::Query => Until::Time(plan.time),
        };
        clients.iter_mut().for_each(|client| client.operation = operation);
        clients = measure(plan, operation.name(), until, clients).await?;
    }
    Ok(())
}
