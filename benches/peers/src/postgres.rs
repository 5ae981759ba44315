//! The same documents in PostgreSQL: a jsonb column with a GIN index over all of it, prepared
//! statements, one commit per create.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio_postgres::{Client, NoTls, Statement, types::Json};

use crate::chance;
use crate::documents::{Operation, document, id, owner, properties};
use crate::load::{Plan, Worker};

const SCHEMA: &str = "CREATE TABLE items (owner text NOT NULL, id text NOT NULL, document jsonb NOT NULL,
    PRIMARY KEY (owner, id));
    CREATE INDEX items_document ON items USING gin (document);";
const INSERT: &str = "INSERT INTO items (owner, id, document) VALUES ($1, $2, $3)";
const READ: &str = "SELECT document FROM items WHERE owner = $1 AND id = $2";
const QUERY: &str = "SELECT document FROM items WHERE document @> $1";

/// A connection with its prepared statements.
pub struct Session {
    client: Client,
    insert: Statement,
    read: Statement,
    query: Statement,
    pub operation: Operation,
    documents: u64,
}

impl Worker for Session {
    async fn operate(&mut self, n: u64) -> Result<()> {
        match self.operation {
            Operation::Create => {
                let document = Json(document(n));
                self.client
                    .execute(&self.insert, &[&owner(n), &id(n), &document])
                    .await?;
            }
            Operation::Read => {
                let n = chance::number(n) % self.documents;
                let row = self.client.query_one(&self.read, &[&owner(n), &id(n)]).await?;
                // Its bytes have come; that they parse is checked on neither side.
                ensure!(row.len() == 1, "a document");
            }
            Operation::Query => {
                let (city, state) = properties(chance::number(n) % self.documents);
                let wanted: Json<Value> = Json(json!({"city": city, "state": state}));
                let rows = self.client.query(&self.query, &[&wanted]).await?;
                ensure!(!rows.is_empty(), "a query that found nothing");
            }
        }
        Ok(())
    }
}

/// Connects.
pub async fn client(parameters: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(parameters, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// Makes the table, and makes sure that what the server acknowledges is on disk.
pub async fn set_up(parameters: &str, schema: &str) -> Result<()> {
    let setup = client(parameters).await?;
    setup.batch_execute(schema).await?;
    for (setting, wanted) in [("synchronous_commit", "on"), ("fsync", "on")] {
        let value: String = setup.query_one(&format!("SHOW {setting}"), &[]).await?.get(0);
        ensure!(value == wanted, "PostgreSQL has {setting} {value}");
    }
    Ok(())
}

/// Makes the table and connects.
pub async fn connect(plan: &Plan, parameters: &str, documents: u64) -> Result<Vec<Session>> {
    set_up(parameters, SCHEMA).await?;
    let mut sessions = Vec::new();
    for _ in 0..plan.concurrency {
        let client = client(parameters).await?;
        let insert = client.prepare(INSERT).await?;
        let read = client.prepare(READ).await?;
        let query = client.prepare(QUERY).await?;
        sessions.push(Session {
            client,
            insert,
            read,
            query,
            operation: Operation::Create,
            documents,
        });
    }
    Ok(sessions)
}

/// What autovacuum would do in its own time; without it the planner knows nothing of the table.
pub async fn analyse(session: &Session) -> Result<()> {
    Ok(session.client.batch_execute("VACUUM ANALYZE items").await?)
}
