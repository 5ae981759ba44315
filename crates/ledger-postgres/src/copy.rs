//! A ledger as it is copied: read from a schema in one transaction, written into an empty one.
//!
//! Invariant: while a ledger is being copied into a schema, table `head` has no row and table
//! `copying` has it instead. Whoever opens the schema sees the one and is refused; who had it open
//! already misses the other: neither a read nor a commit goes without the head. The last
//! transaction of a copy makes the row and removes the table.

use async_trait::async_trait;
use futures::FutureExt as _;
use ledger::copy::{CopySource, CopyTarget, LogMark, Reached, Readable, Standing};
use ledger::{Direction, Entry, Key, KeyRange, LedgerError, LogEntry, ScanLimit, ScanPage, Sequence};
use tokio_postgres::{Row, Statement};

use crate::connection::{Connector, INSERT, Reader, channel};
use crate::error::{describe, read_failed};
use crate::limits::COPY_IDLE_MILLISECONDS_MAX;
use crate::snapshot::BEGIN;
use crate::{ConnectError, Options, log_rows, record, schema};

/// The source's standing, while it is copied from here.
const COPYING: &str = "CREATE TABLE copying (
        one boolean PRIMARY KEY DEFAULT true CHECK (one),
        sequence bigint NOT NULL,
        chain bytea NOT NULL,
        trimmed bigint NOT NULL,
        trimmed_chain bytea NOT NULL
    )";

/// Key of the advisory lock that one copy into a schema holds.
fn lock_name(schema: &str) -> String {
    format!("stabbur copy {schema}")
}

fn unreachable(error: &tokio_postgres::Error) -> ConnectError {
    ConnectError::Unreachable(describe(error))
}

/// Sequence, chain, trimmed, trimmed chain: a row of `head` or of `copying`.
fn standing_of(row: &Row) -> Result<Standing, LedgerError> {
    let mark = |at: usize| {
        let chain: &[u8] = row.get(at + 1);
        let malformed = |_| LedgerError::Corrupt("the head's row is malformed".to_owned());
        Ok(LogMark {
            sequence: record::from_column(row.get(at))?,
            chain: chain.try_into().map_err(malformed)?,
        })
    };
    Ok(Standing {
        head: mark(0)?,
        trimmed: mark(2)?,
    })
}

async fn log(reader: &Reader, after: Sequence, limit: ScanLimit) -> Result<Vec<LogEntry>, LedgerError> {
    let rows = reader
        .sealed_log(after, limit.entries_max, limit.bytes_max)
        .await?;
    rows.iter()
        .map(|(sequence, sealed)| log_rows::open(*sequence, sealed))
        .collect()
}

/// A schema that is copied, in one transaction for as long as that takes.
#[derive(Debug)]
pub struct PostgresSource {
    connector: Connector,
    reader: Reader,
    standing: Standing,
}

impl PostgresSource {
    /// Begins the transaction. Nodes that commit meanwhile aren't kept from it, and are noticed.
    ///
    /// # Errors
    /// [`ConnectError`] says why the schema can't be read; [`ConnectError::NoLedger`] if there is
    /// none.
    pub async fn open(options: &Options) -> Result<Self, ConnectError> {
        let connector = Connector::new(options)?;
        let client = connector.open().await?;
        let found = client
            .query_one("SELECT to_regclass('format') IS NOT NULL", &[])
            .await
            .map_err(|error| unreachable(&error))?;
        if !found.get::<_, bool>(0) {
            return Err(ConnectError::NoLedger {
                schema: connector.schema().to_owned(),
            });
        }
        schema::prepare(&client, connector.schema()).await?;
        schema::newest_commit(&client, connector.schema()).await?;
        let reader = Reader::open(&connector).await?;
        let begin =
            format!("SET idle_in_transaction_session_timeout TO {COPY_IDLE_MILLISECONDS_MAX}; {BEGIN}");
        let begun = async {
            reader.client.batch_execute(&begin).await?;
            reader.client.query_one(&reader.head, &[]).await
        };
        let row = begun.await.map_err(|error| unreachable(&error))?;
        let standing = standing_of(&row).map_err(|error| ConnectError::Unfit(error.to_string()))?;
        Ok(Self {
            connector,
            reader,
            standing,
        })
    }
}

#[async_trait]
impl Readable for PostgresSource {
    async fn records(&self, range: &KeyRange, limit: ScanLimit) -> Result<ScanPage, LedgerError> {
        self.reader.page(range, Direction::Forward, limit).await
    }

    async fn log(&self, after: Sequence, limit: ScanLimit) -> Result<Vec<LogEntry>, LedgerError> {
        log(&self.reader, after, limit).await
    }
}

#[async_trait]
impl CopySource for PostgresSource {
    fn standing(&self) -> Standing {
        self.standing
    }

    /// On a connection of its own: the copy's transaction sees what it saw at first.
    async fn standing_now(&self) -> Result<Standing, LedgerError> {
        let client = self
            .connector
            .open()
            .await
            .map_err(|error| LedgerError::Unavailable(error.to_string()))?;
        let row = client
            .query_one("SELECT sequence, chain, trimmed, trimmed_chain FROM head", &[])
            .await
            .map_err(|error| read_failed(&error))?;
        standing_of(&row)
    }
}

/// A schema that a ledger is copied into. One connection does it, which holds a lock against other
/// copies into the same schema.
#[derive(Debug)]
pub struct PostgresCopy {
    reader: Reader,
    schema: String,
    put: Statement,
    append: Statement,
    trimmed: LogMark,
}

impl PostgresCopy {
    /// Begins a copy of a ledger that stands at `source` in a schema that must be empty or not
    /// there; or goes on with the one that was begun there.
    ///
    /// # Errors
    /// [`ConnectError`] says why the schema is refused.
    pub async fn open(options: &Options, source: &Standing) -> Result<Self, ConnectError> {
        let connector = Connector::new(options)?;
        let client = connector.open().await?;
        schema::prepare(&client, connector.schema()).await?;
        let reader = Reader::open(&connector).await?;
        let name = lock_name(connector.schema());
        reader
            .client
            .execute("SELECT pg_advisory_lock(hashtext($1))", &[&name])
            .await
            .map_err(|error| {
                let why = format!(
                    "another copy into schema {} seems to be under way ({}); wait for it, or stop it",
                    connector.schema(),
                    describe(&error)
                );
                ConnectError::NotForCopy(why)
            })?;
        begin(&reader, connector.schema(), source).await?;
        let prepared = futures::try_join!(
            reader.client.prepare(INSERT).boxed(),
            reader.client.prepare(log_rows::APPEND).boxed(),
        );
        let (put, append) = prepared.map_err(|error| unreachable(&error))?;
        Ok(Self {
            reader,
            schema: connector.schema().to_owned(),
            put,
            append,
            trimmed: source.trimmed,
        })
    }
}

/// Makes the schema a half copy of `source`, or finds that it is one.
async fn begin(reader: &Reader, schema: &str, source: &Standing) -> Result<(), ConnectError> {
    let client = &reader.client;
    let failed = |error: tokio_postgres::Error| unreachable(&error);
    let refused = |why: String| Err(ConnectError::NotForCopy(format!("schema {schema} {why}")));
    let damaged = |error: LedgerError| ConnectError::Unfit(error.to_string());
    let copying = client
        .query_one("SELECT to_regclass('copying') IS NOT NULL", &[])
        .await
        .map_err(failed)?;
    if copying.get(0) {
        let row = client
            .query_one("SELECT sequence, chain, trimmed, trimmed_chain FROM copying", &[])
            .await
            .map_err(failed)?;
        if standing_of(&row).map_err(damaged)? != *source {
            return refused(format!(
                "holds half a copy of another ledger, or of this one before it went on; drop it (`DROP SCHEMA \
                 {schema} CASCADE`) and copy anew"
            ));
        }
        return Ok(());
    }
    // The lock on the head's row keeps nodes from committing first.
    client.batch_execute("BEGIN").await.map_err(failed)?;
    let head = client
        .query_one(
            "SELECT sequence, chain, trimmed, trimmed_chain FROM head FOR UPDATE",
            &[],
        )
        .await
        .map_err(failed)?;
    let found = standing_of(&head).map_err(damaged)?;
    if found.head.sequence > 0 && found == *source {
        return refused("holds this very ledger already: the copy is done".to_owned());
    }
    let filled = client
        .query_one(
            "SELECT EXISTS (SELECT FROM data) OR EXISTS (SELECT FROM log)",
            &[],
        )
        .await
        .map_err(failed)?;
    if found.head.sequence > 0 || filled.get(0) {
        return refused(format!(
            "holds a ledger of its own, through commit {}; name an empty database or another schema",
            found.head.sequence
        ));
    }
    client.batch_execute(COPYING).await.map_err(failed)?;
    client
        .execute(
            "INSERT INTO copying (sequence, chain, trimmed, trimmed_chain) VALUES ($1, $2, $3, $4)",
            &[
                &record::to_column(source.head.sequence),
                &source.head.chain.as_slice(),
                &record::to_column(source.trimmed.sequence),
                &source.trimmed.chain.as_slice(),
            ],
        )
        .await
        .map_err(failed)?;
    client
        .batch_execute("DELETE FROM head; COMMIT")
        .await
        .map_err(failed)
}

#[async_trait]
impl Readable for PostgresCopy {
    async fn records(&self, range: &KeyRange, limit: ScanLimit) -> Result<ScanPage, LedgerError> {
        self.reader.page(range, Direction::Forward, limit).await
    }

    async fn log(&self, after: Sequence, limit: ScanLimit) -> Result<Vec<LogEntry>, LedgerError> {
        log(&self.reader, after, limit).await
    }
}

/// Each write is one statement, hence one transaction.
#[async_trait]
impl CopyTarget for PostgresCopy {
    async fn reached(&self) -> Result<Reached, LedgerError> {
        let client = &self.reader.client;
        let key = client
            .query_opt("SELECT key FROM data ORDER BY key DESC LIMIT 1", &[])
            .await
            .map_err(|error| read_failed(&error))?
            .map(|row| Key::from_encoded(row.get::<_, Vec<u8>>(0).into()));
        let last = client
            .query_opt(log_rows::NEWEST, &[])
            .await
            .map_err(|error| read_failed(&error))?;
        let last = last
            .map(|row| log_rows::entry(&row, record::from_column(row.get(0))?))
            .transpose()?
            .flatten();
        let log = last.map_or(self.trimmed, |last| LogMark {
            sequence: last.sequence,
            chain: last.chain,
        });
        Ok(Reached { key, log })
    }

    async fn put_records(&mut self, records: &[Entry]) -> Result<(), LedgerError> {
        let keys: Vec<&[u8]> = records.iter().map(|record| record.key.as_bytes()).collect();
        let versions: Vec<i64> = records
            .iter()
            .map(|record| record::to_column(record.versioned.version))
            .collect();
        let sealed: Vec<Vec<u8>> = records
            .iter()
            .map(|entry| {
                let versioned = &entry.versioned;
                record::seal(entry.key.as_bytes(), versioned.version, &versioned.value)
            })
            .collect();
        self.reader
            .client
            .execute(&self.put, &[&keys, &versions, &sealed])
            .await
            .map_err(|error| read_failed(&error))?;
        Ok(())
    }

    async fn put_log(&mut self, entries: &[LogEntry]) -> Result<(), LedgerError> {
        let Some(last) = entries.last() else { return Ok(()) };
        // Their numbers follow from the last one's.
        if (entries.iter().rev().zip(0..)).any(|(entry, before)| entry.sequence + before != last.sequence) {
            let cause = format!("log entries before {} are missing", last.sequence);
            return Err(LedgerError::Corrupt(cause));
        }
        let sealed: Vec<Vec<u8>> = entries.iter().map(log_rows::seal).collect();
        self.reader
            .client
            .execute(&self.append, &[&record::to_column(last.sequence), &sealed])
            .await
            .map_err(|error| read_failed(&error))?;
        Ok(())
    }

    /// What the planner knows of the tables is that they are empty; nodes are to begin with more.
    async fn settle(&mut self) -> Result<(), LedgerError> {
        self.reader
            .client
            .batch_execute("ANALYZE data; ANALYZE log")
            .await
            .map_err(|error| read_failed(&error))
    }

    async fn finish(self: Box<Self>) -> Result<(), LedgerError> {
        let finish = format!(
            "BEGIN; INSERT INTO head (sequence, chain, trimmed, trimmed_chain) \
             SELECT sequence, chain, trimmed, trimmed_chain FROM copying; DROP TABLE copying; \
             SELECT pg_notify('{}', sequence::text) FROM head; COMMIT",
            channel(&self.schema)
        );
        self.reader
            .client
            .batch_execute(&finish)
            .await
            .map_err(|error| read_failed(&error))
    }
}
