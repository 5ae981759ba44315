//! The tasks in PostgreSQL, with the indexes that serve them best: a GIN index over each document, and
//! a B-tree for each property that queries compare or order by.

use anyhow::{Result, ensure};
use serde_json::Value;
use tokio_postgres::types::{Json, ToSql};
use tokio_postgres::{Client, Statement};

use super::shape::{self, BULK, PAGE, Shape, TOGETHER};
use super::task::Task;
use crate::load::{Plan, Worker};
use crate::postgres::{client, set_up};

const SCHEMA: &str = "CREATE TABLE items (owner text NOT NULL, id text NOT NULL, document jsonb NOT NULL,
    PRIMARY KEY (owner, id));
    CREATE INDEX items_document ON items USING gin (document jsonb_path_ops);
    CREATE INDEX items_customer ON items ((document->>'customer'));
    CREATE INDEX items_number ON items (((document->>'number')::bigint));
    CREATE INDEX items_city ON items ((document->>'city'), (document->>'state'), (document->>'created'));";
const INSERT: &str = "INSERT INTO items (owner, id, document) VALUES ($1, $2, $3)";
const INSERT_MANY: &str = "INSERT INTO items (owner, id, document)
    SELECT * FROM unnest($1::text[], $2::text[], $3::jsonb[])";
const READ: &str = "SELECT document FROM items WHERE owner = $1 AND id = $2";
const REPLACE: &str = "UPDATE items SET document = $3 WHERE owner = $1 AND id = $2";
const PATCH: &str =
    "UPDATE items SET document = jsonb_set(jsonb_set(document, '{amount}', to_jsonb($3::float8)),
        '{quantity}', to_jsonb((document->>'quantity')::bigint + 1))
    WHERE owner = $1 AND id = $2";
const EQUALITY: &str = "SELECT document FROM items WHERE document->>'customer' = $1";
const RANGE: &str = "SELECT document FROM items
    WHERE (document->>'number')::bigint >= $1 AND (document->>'number')::bigint < $2";
const PARTITION: &str = "SELECT document FROM items WHERE owner = $1 AND document->>'state' = $2";
const TWO_PROPERTIES: &str = "SELECT document FROM items
    WHERE document->>'city' = $1 AND document->>'state' = $2
    ORDER BY document->>'created' DESC LIMIT 100";
const ORDER_FIRST: &str = "SELECT document FROM items ORDER BY (document->>'number')::bigint LIMIT 100";
const ORDER_FROM: &str = "SELECT document FROM items WHERE (document->>'number')::bigint >= $1
    ORDER BY (document->>'number')::bigint LIMIT 100";
const AGGREGATE_SOME: &str =
    "SELECT count(*), sum((document->>'amount')::float8), avg((document->>'amount')::float8)
    FROM items WHERE document->>'city' = $1";
const AGGREGATE_ALL: &str =
    "SELECT count(*), sum((document->>'amount')::float8), avg((document->>'amount')::float8)
    FROM items";
const COUNT_ALL: &str = "SELECT count(*) FROM items";

/// A connection with its prepared statements.
pub struct Session {
    client: Client,
    statements: Statements,
    pub task: Task,
    shape: Shape,
}

struct Statements {
    insert: Statement,
    insert_many: Statement,
    read: Statement,
    replace: Statement,
    patch: Statement,
    equality: Statement,
    range: Statement,
    partition: Statement,
    two_properties: Statement,
    order_first: Statement,
    order_from: Statement,
    aggregate_some: Statement,
    aggregate_all: Statement,
    count_all: Statement,
}

impl Statements {
    async fn prepare(client: &Client) -> Result<Self> {
        Ok(Self {
            insert: client.prepare(INSERT).await?,
            insert_many: client.prepare(INSERT_MANY).await?,
            read: client.prepare(READ).await?,
            replace: client.prepare(REPLACE).await?,
            patch: client.prepare(PATCH).await?,
            equality: client.prepare(EQUALITY).await?,
            range: client.prepare(RANGE).await?,
            partition: client.prepare(PARTITION).await?,
            two_properties: client.prepare(TWO_PROPERTIES).await?,
            order_first: client.prepare(ORDER_FIRST).await?,
            order_from: client.prepare(ORDER_FROM).await?,
            aggregate_some: client.prepare(AGGREGATE_SOME).await?,
            aggregate_all: client.prepare(AGGREGATE_ALL).await?,
            count_all: client.prepare(COUNT_ALL).await?,
        })
    }
}

impl Session {
    /// What autovacuum would do in its own time, so that the planner knows the table, and all of it on
    /// disk.
    pub async fn settle(&self) -> Result<()> {
        self.client.batch_execute("VACUUM ANALYZE items").await?;
        Ok(self.client.batch_execute("CHECKPOINT").await?)
    }

    async fn write(&self, statement: &Statement, values: &[&(dyn ToSql + Sync)], wanted: u64) -> Result<()> {
        let rows = self.client.execute(statement, values).await?;
        ensure!(rows == wanted, "{rows} rows are written, not {wanted}");
        Ok(())
    }

    async fn insert_many(&self, documents: &[Value]) -> Result<()> {
        let text = |name: &str| -> Vec<&str> {
            documents
                .iter()
                .filter_map(|document| document[name].as_str())
                .collect()
        };
        let bodies: Vec<Json<&Value>> = documents.iter().map(Json).collect();
        let values: [&(dyn ToSql + Sync); 3] = [&text("owner"), &text("id"), &bodies];
        self.write(&self.statements.insert_many, &values, BULK).await
    }

    async fn rows(
        &self,
        statement: &Statement,
        values: &[&(dyn ToSql + Sync)],
        wanted: std::ops::RangeInclusive<u64>,
    ) -> Result<()> {
        let rows = self.client.query(statement, values).await?.len() as u64;
        ensure!(wanted.contains(&rows), "{rows} rows, not {wanted:?}");
        Ok(())
    }

    async fn aggregate(
        &self,
        statement: &Statement,
        values: &[&(dyn ToSql + Sync)],
        wanted: std::ops::RangeInclusive<u64>,
    ) -> Result<()> {
        let count: i64 = self.client.query_one(statement, values).await?.get(0);
        let count = u64::try_from(count)?;
        ensure!(wanted.contains(&count), "{count} counted, not {wanted:?}");
        Ok(())
    }
}

impl Worker for Session {
    async fn operate(&mut self, n: u64) -> Result<()> {
        let shape = self.shape;
        let any = shape.any(n);
        let statements = &self.statements;
        let from = i64::try_from(any.min(shape.documents - PAGE))?;
        match self.task {
            Task::Create => {
                let document = Json(shape.document(n, 0));
                self.write(
                    &statements.insert,
                    &[&shape.owner(n), &shape::id(n), &document],
                    1,
                )
                .await
            }
            Task::Bulk => {
                let first = shape.bulk_from() + n * BULK;
                let documents: Vec<Value> = (first..first + BULK).map(|n| shape.document(n, 0)).collect();
                self.insert_many(&documents).await
            }
            Task::Batch => {
                let documents: Vec<Value> = (0..BULK).map(|place| shape.batched(n, place)).collect();
                self.insert_many(&documents).await
            }
            Task::Read => {
                self.rows(&statements.read, &[&shape.owner(any), &shape::id(any)], 1..=1)
                    .await
            }
            Task::Replace => {
                let document = Json(shape.document(any, n + 1));
                self.write(
                    &statements.replace,
                    &[&shape.owner(any), &shape::id(any), &document],
                    1,
                )
                .await
            }
            Task::Patch => {
                let amount = shape::amount(any, n);
                self.write(
                    &statements.patch,
                    &[&shape.owner(any), &shape::id(any), &amount],
                    1,
                )
                .await
            }
            Task::Equality => {
                self.rows(&statements.equality, &[&shape.customer(any)], TOGETHER..=TOGETHER)
                    .await
            }
            Task::Range => {
                let to = from + i64::try_from(PAGE)?;
                self.rows(&statements.range, &[&from, &to], PAGE..=PAGE).await
            }
            Task::Partition => {
                self.rows(
                    &statements.partition,
                    &[&shape.owner(any), &shape::state(any)],
                    1..=TOGETHER,
                )
                .await
            }
            Task::TwoProperties => {
                self.rows(
                    &statements.two_properties,
                    &[&shape::city(any), &shape::state(any)],
                    1..=PAGE,
                )
                .await
            }
            Task::OrderFirst => self.rows(&statements.order_first, &[], PAGE..=PAGE).await,
            // That numbers are unique makes the two one: where a page ended, the next begins.
            Task::OrderFrom | Task::OrderAfter => {
                self.rows(&statements.order_from, &[&from], PAGE..=PAGE).await
            }
            Task::AggregateSome => {
                self.aggregate(
                    &statements.aggregate_some,
                    &[&shape::city(any)],
                    1..=shape.documents / 50,
                )
                .await
            }
            Task::AggregateAll => {
                self.aggregate(&statements.aggregate_all, &[], shape.documents..=shape.documents)
                    .await
            }
            Task::CountAll => {
                self.aggregate(&statements.count_all, &[], shape.documents..=shape.documents)
                    .await
            }
        }
    }
}

/// Makes the table and connects.
pub async fn connect(plan: &Plan, parameters: &str, shape: Shape) -> Result<Vec<Session>> {
    set_up(parameters, SCHEMA).await?;
    let mut sessions = Vec::new();
    for _ in 0..plan.concurrency {
        let client = client(parameters).await?;
        let statements = Statements::prepare(&client).await?;
        sessions.push(Session {
            client,
            statements,
            task: Task::Create,
            shape,
        });
    }
    Ok(sessions)
}
