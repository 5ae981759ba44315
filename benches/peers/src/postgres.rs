//! The same documents in PostgreSQL: a jsonb column with a GIN index over all of it, prepared
//! statements, one commit per create.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tokio_postgres::types::{Json, ToSql};
use tokio_postgres::{Client, NoTls, Statement};

use crate::chance;
use crate::documents::{Operation, ROWS, amount, document, id, owner, properties, replacement};
use crate::load::{Plan, Worker};

/// The table.
pub const SCHEMA: &str = "CREATE TABLE items (owner text NOT NULL, id text NOT NULL, document jsonb NOT NULL,
    PRIMARY KEY (owner, id));
    CREATE INDEX items_document ON items USING gin (document);";
/// What ranges and orders need beside it.
pub const ORDERED: &str = "CREATE INDEX items_number ON items (((document->>'number')::bigint));";
const INSERT: &str = "INSERT INTO items (owner, id, document) VALUES ($1, $2, $3)";
const READ: &str = "SELECT document FROM items WHERE owner = $1 AND id = $2";
const REPLACE: &str = "UPDATE items SET document = $3 WHERE owner = $1 AND id = $2";
const PATCH: &str =
    "UPDATE items SET document = jsonb_set(jsonb_set(document, '{amount}', to_jsonb($3::float8)),
        '{address,zip}', to_jsonb((document#>>'{address,zip}')::bigint + 1))
    WHERE owner = $1 AND id = $2";
const QUERY: &str = "SELECT document FROM items WHERE document @> $1";
const RANGE: &str = "SELECT document FROM items
    WHERE (document->>'number')::bigint >= $1 AND (document->>'number')::bigint < $2";
const ORDER: &str = "SELECT document FROM items WHERE (document->>'number')::bigint >= $1
    ORDER BY (document->>'number')::bigint LIMIT 100";

/// A connection with its prepared statements.
pub struct Session {
    client: Client,
    statements: Statements,
    pub operation: Operation,
    /// The number of the first document that is created.
    pub first: u64,
    documents: u64,
}

struct Statements {
    insert: Statement,
    read: Statement,
    replace: Statement,
    patch: Statement,
    query: Statement,
    range: Statement,
    order: Statement,
}

impl Session {
    async fn write(&self, statement: &Statement, values: &[&(dyn ToSql + Sync)]) -> Result<()> {
        let rows = self.client.execute(statement, values).await?;
        ensure!(rows == 1, "{rows} rows are written");
        Ok(())
    }

    /// Their bytes have come; that they parse is checked on neither side.
    async fn rows(&self, statement: &Statement, values: &[&(dyn ToSql + Sync)]) -> Result<u64> {
        Ok(self.client.query(statement, values).await?.len() as u64)
    }
}

impl Worker for Session {
    async fn operate(&mut self, n: u64) -> Result<()> {
        let any = chance::number(n) % self.documents;
        let from = i64::try_from(any.min(self.documents.saturating_sub(ROWS)))?;
        let statements = &self.statements;
        match self.operation {
            Operation::Create => {
                let n = self.first + n;
                let values: [&(dyn ToSql + Sync); 3] = [&owner(n), &id(n), &Json(document(n))];
                self.write(&statements.insert, &values).await
            }
            Operation::Read => {
                let rows = self.rows(&statements.read, &[&owner(any), &id(any)]).await?;
                ensure!(rows == 1, "a document");
                Ok(())
            }
            Operation::Replace => {
                let values: [&(dyn ToSql + Sync); 3] = [&owner(any), &id(any), &Json(replacement(any, n))];
                self.write(&statements.replace, &values).await
            }
            Operation::Patch => {
                let values: [&(dyn ToSql + Sync); 3] = [&owner(any), &id(any), &amount(n)];
                self.write(&statements.patch, &values).await
            }
            Operation::Query => {
                let (city, state) = properties(any);
                let wanted: Json<Value> = Json(json!({"city": city, "state": state}));
                let rows = self.rows(&statements.query, &[&wanted]).await?;
                ensure!(rows > 0, "a query that found nothing");
                Ok(())
            }
            Operation::Range => {
                let to = from + i64::try_from(ROWS)?;
                let rows = self.rows(&statements.range, &[&from, &to]).await?;
                ensure!(rows == ROWS, "{rows} rows of a range");
                Ok(())
            }
            Operation::Order => {
                let rows = self.rows(&statements.order, &[&from]).await?;
                ensure!(rows == ROWS, "{rows} rows of a page");
                Ok(())
            }
        }
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
pub async fn connect(plan: &Plan, parameters: &str, schema: &str, documents: u64) -> Result<Vec<Session>> {
    set_up(parameters, schema).await?;
    let mut sessions = Vec::new();
    for _ in 0..plan.concurrency {
        let client = client(parameters).await?;
        let statements = Statements {
            insert: client.prepare(INSERT).await?,
            read: client.prepare(READ).await?,
            replace: client.prepare(REPLACE).await?,
            patch: client.prepare(PATCH).await?,
            query: client.prepare(QUERY).await?,
            range: client.prepare(RANGE).await?,
            order: client.prepare(ORDER).await?,
        };
        sessions.push(Session {
            client,
            statements,
            operation: Operation::Create,
            first: 0,
            documents,
        });
    }
    Ok(sessions)
}

/// What autovacuum would do in its own time; without it the planner knows nothing of the table.
pub async fn analyse(session: &Session) -> Result<()> {
    Ok(session.client.batch_execute("VACUUM ANALYZE items").await?)
}
