//! Consistent reads: a snapshot is a read-only REPEATABLE READ transaction. Callers that ask at the
//! same time share one, and their reads share its connection.
//!
//! Invariant: a snapshot's transaction begins after each of its callers has asked, so it holds
//! every commit that any of them was told of. Its connection goes back when the last of them has
//! dropped it; a snapshot that nobody reads from for a minute is ended by the database, so that
//! none holds up the database's cleaning.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use ledger::limits::KEY_BYTES_MAX;
use ledger::scan::rest_behind;
use ledger::{
    Direction, Entry, Key, KeyRange, LedgerError, ScanLimit, ScanPage, Sequence, Snapshot, Versioned,
};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_postgres::Row;

use crate::connection::{Connector, Reader};
use crate::error::read_failed;
use crate::limits::SNAPSHOT_QUEUE_MAX;
use crate::{log_rows, record};

/// One state of all tables, for reading.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

type Answer = Result<Arc<Generation>, LedgerError>;

/// Gives snapshots.
#[derive(Debug)]
pub(crate) struct Snapshots {
    requests: mpsc::Sender<oneshot::Sender<Answer>>,
}

/// Connections that read.
#[derive(Debug)]
struct Readers {
    connector: Arc<Connector>,
    idle: Mutex<Vec<Reader>>,
}

impl Snapshots {
    /// At most `readers_max` connections, made when they are needed.
    pub(crate) fn new(connector: Arc<Connector>, readers_max: usize) -> Self {
        let (requests, inbox) = mpsc::channel(SNAPSHOT_QUEUE_MAX);
        let readers = Arc::new(Readers {
            connector,
            idle: Mutex::default(),
        });
        tokio::spawn(serve(inbox, readers, readers_max.max(1)));
        Self { requests }
    }

    /// A snapshot that holds at least what was committed before the call.
    pub(crate) async fn open(&self) -> Result<PostgresSnapshot, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(reply).await.map_err(|_| LedgerError::Closed)?;
        let generation = answer.await.map_err(|_| LedgerError::Closed)??;
        Ok(PostgresSnapshot(generation))
    }
}

/// Opens generations for whoever waits, until no caller is left.
async fn serve(
    mut inbox: mpsc::Receiver<oneshot::Sender<Answer>>,
    readers: Arc<Readers>,
    readers_max: usize,
) {
    let places = Arc::new(Semaphore::new(readers_max));
    while let Some(first) = inbox.recv().await {
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        // Those who came while a place was waited for share the transaction that begins now.
        let mut waiting = vec![first];
        while let Ok(more) = inbox.try_recv() {
            waiting.push(more);
        }
        let readers = readers.clone();
        tokio::spawn(async move {
            let answer = Generation::open(readers, place).await;
            for one in waiting {
                // Who has gone away doesn't hear it.
                let _ = one.send(answer.clone());
            }
        });
    }
}

/// One transaction and its connection.
#[derive(Debug)]
pub(crate) struct Generation {
    /// `None` only while it is dropped.
    reader: Option<Reader>,
    sequence: Sequence,
    pub(crate) chain: Vec<u8>,
    pub(crate) trimmed: Sequence,
    pub(crate) trimmed_chain: Vec<u8>,
    readers: Arc<Readers>,
    place: Option<OwnedSemaphorePermit>,
}

impl Generation {
    async fn open(readers: Arc<Readers>, place: OwnedSemaphorePermit) -> Answer {
        // A connection that broke while it was idle shows it now: then a new one is made.
        let kept = readers.idle.lock().pop();
        let mut begun = None;
        if let Some(reader) = kept
            && !reader.client.is_closed()
            && let Ok(row) = begin(&reader).await
        {
            begun = Some((reader, row));
        }
        let (reader, row) = match begun {
            Some(begun) => begun,
            None => {
                let reader = Reader::open(&readers.connector)
                    .await
                    .map_err(|error| LedgerError::Unavailable(error.to_string()))?;
                let row = begin(&reader).await.map_err(|error| read_failed(&error))?;
                (reader, row)
            }
        };
        Ok(Arc::new(Self {
            reader: Some(reader),
            sequence: record::from_column(row.get(0))?,
            chain: row.get(1),
            trimmed: record::from_column(row.get(2))?,
            trimmed_chain: row.get(3),
            readers,
            place: Some(place),
        }))
    }

    fn reader(&self) -> Result<&Reader, LedgerError> {
        self.reader.as_ref().ok_or(LedgerError::Closed)
    }
}

async fn begin(reader: &Reader) -> Result<Row, tokio_postgres::Error> {
    let client = &reader.client;
    let (_, row) = futures::try_join!(client.batch_execute(BEGIN), client.query_one(&reader.head, &[]))?;
    Ok(row)
}

impl Drop for Generation {
    fn drop(&mut self) {
        let (Some(reader), place, readers) = (self.reader.take(), self.place.take(), self.readers.clone())
        else {
            return;
        };
        // Without a runtime the process ends, and the connection with it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        runtime.spawn(async move {
            if reader.client.batch_execute("ROLLBACK").await.is_ok() {
                readers.idle.lock().push(reader);
            }
            drop(place);
        });
    }
}

/// A snapshot as callers hold it.
#[derive(Debug, Clone)]
pub(crate) struct PostgresSnapshot(pub(crate) Arc<Generation>);

/// Checks a row of `data`.
pub(crate) fn versioned(key: &[u8], version: i64, sealed: &[u8]) -> Result<Versioned, LedgerError> {
    let version = record::from_column(version)?;
    let value = record::unseal(key, version, sealed)?;
    Ok(Versioned {
        value: Bytes::copy_from_slice(value),
        version,
    })
}

impl PostgresSnapshot {
    /// Log entries behind `after`, sealed.
    pub(crate) async fn log(
        &self,
        after: Sequence,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<(Sequence, Vec<u8>)>, LedgerError> {
        self.0.reader()?.sealed_log(after, entries_max, bytes_max).await
    }

    /// Bytes that the tables and their indexes take.
    pub(crate) async fn disk_bytes(&self) -> Result<u64, LedgerError> {
        let reader = self.0.reader()?;
        let size = "SELECT (pg_total_relation_size('data') + pg_total_relation_size('log'))::bigint";
        let row = reader.client.query_one(size, &[]).await;
        let row = row.map_err(|error| read_failed(&error))?;
        record::from_column(row.get(0))
    }

    /// A page of sealed records as the table holds them: key, version, record.
    pub(crate) async fn sealed_page(
        &self,
        range: &KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<(Vec<Row>, bool), LedgerError> {
        self.0.reader()?.sealed_page(range, direction, limit).await
    }
}

impl Reader {
    /// Log entries behind `after`, sealed.
    pub(crate) async fn sealed_log(
        &self,
        after: Sequence,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<(Sequence, Vec<u8>)>, LedgerError> {
        let rows = self
            .client
            .query(
                &self.log,
                &[&record::to_column(after), &count(entries_max), &count(bytes_max)],
            )
            .await
            .map_err(|error| read_failed(&error))?;
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for row in &rows {
            for (sequence, sealed) in log_rows::sealed(row)? {
                if sequence <= after {
                    continue;
                }
                if entries.len() >= entries_max || bytes >= bytes_max {
                    return Ok(entries);
                }
                bytes += sealed.len();
                entries.push((sequence, sealed));
            }
        }
        Ok(entries)
    }

    /// A page of records, each checked.
    pub(crate) async fn page(
        &self,
        range: &KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<ScanPage, LedgerError> {
        let (rows, more) = self.sealed_page(range, direction, limit).await?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in &rows {
            let key: &[u8] = row.get(0);
            entries.push(Entry {
                key: Key::from_encoded(Bytes::copy_from_slice(key)),
                versioned: versioned(key, row.get(1), row.get(2))?,
            });
        }
        let rest = entries
            .last()
            .filter(|_| more)
            .and_then(|last| rest_behind(range, direction, &last.key));
        Ok(ScanPage { entries, rest })
    }

    /// A page of sealed records as the table holds them (key, version, record), and whether more
    /// of the range is left.
    pub(crate) async fn sealed_page(
        &self,
        range: &KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<(Vec<Row>, bool), LedgerError> {
        let statement = match direction {
            Direction::Forward => &self.forward,
            Direction::Backward => &self.backward,
        };
        let start = range.start.as_bytes();
        // Behind every key there can be.
        let behind_all = vec![0xFF; KEY_BYTES_MAX + 1];
        let end = range.end.as_ref().map_or(behind_all.as_slice(), Key::as_bytes);
        // One more than wanted shows whether anything is left.
        let wanted = limit.entries_max.max(1);
        let mut rows = self
            .client
            .query(
                statement,
                &[
                    &start,
                    &end,
                    &count(wanted.saturating_add(1)),
                    &count(limit.bytes_max.max(1)),
                ],
            )
            .await
            .map_err(|error| read_failed(&error))?;
        let cut = rows
            .last()
            .is_some_and(|row| row.get::<_, i64>(3) >= count(limit.bytes_max.max(1)));
        let more = rows.len() > wanted || cut;
        rows.truncate(wanted);
        Ok((rows, more))
    }
}

/// A limit as PostgreSQL takes it.
fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[async_trait]
impl Snapshot for PostgresSnapshot {
    fn sequence(&self) -> Sequence {
        self.0.sequence
    }

    async fn get(&self, key: &Key) -> Result<Option<Versioned>, LedgerError> {
        let reader = self.0.reader()?;
        let row = reader
            .client
            .query_opt(&reader.get, &[&key.as_bytes()])
            .await
            .map_err(|error| read_failed(&error))?;
        row.map(|row| versioned(key.as_bytes(), row.get(0), row.get(1)))
            .transpose()
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, LedgerError> {
        let reader = self.0.reader()?;
        let wanted: Vec<&[u8]> = keys.iter().map(Key::as_bytes).collect();
        let rows = reader
            .client
            .query(&reader.get_many, &[&wanted])
            .await
            .map_err(|error| read_failed(&error))?;
        let mut found = std::collections::HashMap::with_capacity(rows.len());
        for row in &rows {
            let key: &[u8] = row.get(0);
            found.insert(key.to_vec(), versioned(key, row.get(1), row.get(2))?);
        }
        Ok(keys
            .iter()
            .map(|key| found.get(key.as_bytes()).cloned())
            .collect())
    }

    async fn scan_page(
        &self,
        range: &KeyRange,
        direction: Direction,
        limit: ScanLimit,
    ) -> Result<ScanPage, LedgerError> {
        if range.is_empty() {
            return Ok(ScanPage {
                entries: Vec::new(),
                rest: None,
            });
        }
        self.0.reader()?.page(range, direction, limit).await
    }
}
