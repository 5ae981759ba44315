//! The one task of a node that writes: takes what waits, decides it as a group in one database
//! transaction, answers each.
//!
//! Invariant: an answer leaves only after the database has said that it committed, or that nothing
//! of the group was written. If the connection breaks in between, the answer waits: the next
//! connection locks the head, which waits for whatever the last one still does, and then the log
//! tells whether the group is in it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ledger::follower::{FOLLOWER_TAG, decode_position};
use ledger::limits::{GROUP_BYTES_MAX, GROUP_TRANSACTIONS_MAX};
use ledger::{Committed, KeyRange, KeyWriter, Keyspace, LedgerError, Sequence, Transaction};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{Row, Statement};

use crate::connection::{Writer, channel};
use crate::engine::Shared;
use crate::error::Failure;
use crate::group::{self, Decided, Head, Proposal};
use crate::limits::{
    GATHER_YIELDS_MAX, OUTAGE_SECONDS_MAX, RETRY_MILLISECONDS_FIRST, RETRY_MILLISECONDS_MAX,
    TRIM_STEP_ENTRIES,
};
use crate::predicted::{self, Expected, Prediction};
use crate::rows::{Parameter, Rows};
use crate::{log_rows, record};

/// A commit and who waits for it.
pub(crate) struct Waiting {
    pub(crate) transaction: Transaction,
    /// Its [`Transaction::writes_hash`]: computed by the caller, who is one of many, while the writer
    /// holds up all of them, and other nodes with the head's lock.
    pub(crate) writes_hash: [u8; 32],
    pub(crate) reply: oneshot::Sender<Result<Committed, LedgerError>>,
}

/// What the task is asked for.
pub(crate) enum Request {
    Commit(Waiting),
    Trim {
        through: Sequence,
        reply: oneshot::Sender<Result<Sequence, LedgerError>>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

/// The task's state.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Request>,
    writer: Option<Writer>,
    prediction: Prediction,
    pause: Duration,
    /// How many were answered last.
    last_group: usize,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>, inbox: mpsc::Receiver<Request>, writer: Writer) -> Self {
        Self {
            shared,
            inbox,
            writer: Some(writer),
            prediction: Prediction::default(),
            pause: Duration::from_millis(RETRY_MILLISECONDS_FIRST),
            last_group: 0,
        }
    }

    /// Runs until it is told to close or no caller is left.
    pub(crate) async fn run(mut self) {
        let mut next = self.inbox.recv().await;
        while let Some(request) = next.take() {
            let mut other = None;
            match request {
                Request::Commit(first) => {
                    self.let_callers_run().await;
                    let group;
                    (group, other) = self.gather(first);
                    self.last_group = group.len();
                    self.commit(group).await;
                }
                Request::Trim { through, reply } => {
                    let _ = reply.send(self.trim(through).await);
                }
                Request::Close { reply } => {
                    self.inbox.close();
                    let _ = reply.send(());
                    return;
                }
            }
            next = match other {
                Some(request) => Some(request),
                None => self.inbox.recv().await,
            };
        }
    }

    /// Those who were just answered run, and what they commit next gets into this group. Without it
    /// half of all callers wait while the other half is written.
    async fn let_callers_run(&self) {
        for _ in 0..GATHER_YIELDS_MAX {
            tokio::task::yield_now().await;
            if self.inbox.len() + 1 >= self.last_group {
                return;
            }
        }
    }

    /// Takes what waits, up to the limits; also a request of another kind that came between.
    fn gather(&mut self, first: Waiting) -> (Vec<Waiting>, Option<Request>) {
        let mut bytes = first.transaction.size_bytes();
        let mut group = vec![first];
        while group.len() < GROUP_TRANSACTIONS_MAX && bytes < GROUP_BYTES_MAX {
            match self.inbox.try_recv() {
                Ok(Request::Commit(waiting)) => {
                    bytes += waiting.transaction.size_bytes();
                    group.push(waiting);
                }
                Ok(other) => return (group, Some(other)),
                Err(_) => break,
            }
        }
        (group, None)
    }

    async fn commit(&mut self, group: Vec<Waiting>) {
        let answers = self.commit_within_outage(&group).await;
        self.shared.count(&answers);
        for (waiting, answer) in group.into_iter().zip(answers) {
            // Who has gone away doesn't hear it.
            let _ = waiting.reply.send(answer);
        }
    }

    /// Tries until the group is decided, or the database has been away for too long.
    async fn commit_within_outage(&mut self, group: &[Waiting]) -> Vec<Result<Committed, LedgerError>> {
        let began = self.shared.clock.monotonic();
        let patience = if self.shared.is_available() {
            Duration::from_secs(OUTAGE_SECONDS_MAX)
        } else {
            Duration::ZERO
        };
        let mut undecided = Sent::default();
        loop {
            let failure = match self.attempt(group, &mut undecided).await {
                Ok(answers) => {
                    self.shared.available();
                    self.pause = Duration::from_millis(RETRY_MILLISECONDS_FIRST);
                    return answers;
                }
                Err(failure) => failure,
            };
            if !matches!(failure, Failure::Again(_)) || undecided.newest.is_some() {
                self.writer = None;
            }
            let late = self.shared.clock.monotonic().saturating_sub(began) >= patience;
            match &failure {
                Failure::Lost(cause) if late => self.shared.unavailable(cause),
                Failure::Again(_) if late => {}
                Failure::Lost(_) | Failure::Again(_) => {
                    self.wait().await;
                    continue;
                }
                Failure::Full => {}
                Failure::Other(cause) => tracing::error!(cause, "PostgreSQL refused a group of commits"),
            }
            let error = match (undecided.may_be_written(), failure) {
                // Sent before, and nobody has heard yet whether it was committed.
                (true, Failure::Lost(cause) | Failure::Again(cause) | Failure::Other(cause)) => {
                    LedgerError::Unknown(format!("PostgreSQL: {cause}"))
                }
                (true, Failure::Full) => LedgerError::Unknown("PostgreSQL's disk is full".to_owned()),
                (false, failure) => failure.into_error(),
            };
            return group.iter().map(|_| Err(error.clone())).collect();
        }
    }

    /// A pause that grows, part of it by chance, so that nodes don't come back in step.
    async fn wait(&mut self) {
        let most = u64::try_from(self.pause.as_micros()).unwrap_or(u64::MAX);
        let part = self.shared.random.u64() % (most / 2 + 1);
        tokio::time::sleep(Duration::from_micros(most / 2 + part)).await;
        self.pause = (self.pause * 2).min(Duration::from_millis(RETRY_MILLISECONDS_MAX));
    }

    /// One attempt. Whatever fails, the transaction is ended or its connection given up.
    async fn attempt(
        &mut self,
        group: &[Waiting],
        undecided: &mut Sent,
    ) -> Result<Vec<Result<Committed, LedgerError>>, Failure> {
        let writer = match self.writer.take() {
            Some(writer) if !writer.client.is_closed() => writer,
            _ => {
                let opened = Writer::open(&self.shared.connector).await;
                opened.map_err(|error| Failure::Lost(error.to_string()))?
            }
        };
        let writer = self.writer.insert(writer);
        let outcome = write(&self.shared, writer, group, &mut self.prediction, undecided).await;
        if outcome.is_err() {
            self.prediction.failed();
        }
        if outcome.is_err()
            && !writer.client.is_closed()
            && writer.client.batch_execute("ROLLBACK").await.is_err()
        {
            self.writer = None;
        }
        outcome
    }

    /// Forgets log entries that every follower has behind it, step by step.
    async fn trim(&mut self, through: Sequence) -> Result<Sequence, LedgerError> {
        let followers = self.followers_behind().await?;
        let through = through.min(followers);
        loop {
            let writer = match self.writer.take() {
                Some(writer) if !writer.client.is_closed() => writer,
                _ => Writer::open(&self.shared.connector)
                    .await
                    .map_err(|error| LedgerError::Unavailable(error.to_string()))?,
            };
            let outcome = trim_step(&writer, through).await;
            match outcome {
                Ok((trimmed, done)) => {
                    self.writer = Some(writer);
                    if done {
                        return Ok(trimmed);
                    }
                }
                // The connection is dropped, and with it the transaction.
                Err(error) => return Err(error),
            }
        }
    }

    /// The position of the follower that is furthest behind.
    async fn followers_behind(&self) -> Result<Sequence, LedgerError> {
        let prefix = KeyWriter::new(Keyspace::System).u8(FOLLOWER_TAG).finish();
        let snapshot = self.shared.snapshots.open().await?;
        let mut behind = ledger::Snapshot::sequence(&snapshot);
        let mut scan = ledger::Scan::new(&snapshot, KeyRange::prefix(&prefix), ledger::Direction::Forward);
        while let Some(entry) = scan.next().await? {
            behind = behind.min(decode_position(&entry.versioned.value)?);
        }
        Ok(behind)
    }
}

/// What earlier attempts at a group sent without hearing what became of it.
#[derive(Debug, Default)]
struct Sent {
    /// Of the last attempt, unless it is known by now that it wasn't written.
    newest: Option<Decided>,
    /// Something was sent by a connection that didn't hold the head's lock, so a server that hangs
    /// may begin with it after somebody else had the lock. It does nothing once the head has moved;
    /// until then nobody may be told that nothing was written.
    unlocked: bool,
}

impl Sent {
    fn may_be_written(&self) -> bool {
        self.newest.is_some() || self.unlocked
    }
}

fn head_of(row: &Row) -> Result<Head, Failure> {
    let damaged = || Failure::Other("the row of table head is malformed".to_owned());
    let chain: &[u8] = row.get(1);
    Ok(Head {
        sequence: Sequence::try_from(row.get::<_, i64>(0)).map_err(|_| damaged())?,
        chain: chain.try_into().map_err(|_| damaged())?,
    })
}

fn decide(shared: &Shared, group: &[Waiting], head: Head, versions: HashMap<Vec<u8>, Sequence>) -> Decided {
    let proposals = group.iter().map(|waiting| Proposal {
        transaction: &waiting.transaction,
        writes_hash: waiting.writes_hash,
    });
    group::decide(head, versions, proposals, shared.clock.now())
}

/// Decides and writes a group in one transaction: in one trip to the database, if head and keys are
/// as expected, else in two.
async fn write(
    shared: &Shared,
    writer: &Writer,
    group: &[Waiting],
    prediction: &mut Prediction,
    undecided: &mut Sent,
) -> Result<Vec<Result<Committed, LedgerError>>, Failure> {
    if undecided.newest.is_none()
        && let Some(head) = prediction.head()
        && let Some(decided) = write_predicted(shared, writer, group, head, undecided).await?
    {
        prediction.learn(head, &decided);
        return Ok(decided.answers);
    }
    prediction.failed();
    let client = &writer.client;
    let failed = |error: tokio_postgres::Error| Failure::of(&error);
    let watched = group::watched(group.iter().map(|waiting| &waiting.transaction));
    // Sent in this order without waiting; the versions are read by a statement of its own, after
    // the lock was had.
    let asked: [Parameter<'_>; 1] = [&watched];
    let (_, head, versions) = futures::try_join!(
        client.batch_execute("BEGIN"),
        client.query_one(&writer.lock_head, &[]),
        client.query(&writer.versions, &asked),
    )
    .map_err(failed)?;
    let trimmed = head.get::<_, i64>(2);
    let head = head_of(&head)?;
    if let Some(first) = undecided.newest.as_ref().and_then(|sent| sent.first)
        && record::to_column(first.sequence) <= trimmed
    {
        let cause = "the log was trimmed before it could tell what became of the group";
        return Err(Failure::Other(cause.to_owned()));
    }
    // Kept until it is known: this connection may break as well.
    let was_written = match undecided.newest.as_ref() {
        Some(sent) => was_written(writer, sent).await?,
        None => false,
    };
    if let Some(sent) = undecided.newest.take()
        && was_written
    {
        shared.show(sent.head.sequence);
        // If this fails, the next group finds the connection closed; the answer is known.
        let _ = client.batch_execute("ROLLBACK").await;
        return Ok(sent.answers);
    }
    let mut found = HashMap::with_capacity(versions.len());
    for row in &versions {
        let version = record::from_column(row.get(1)).map_err(|error| Failure::Other(error.to_string()))?;
        found.insert(row.get::<_, &[u8]>(0).to_vec(), version);
    }
    let decided = decide(shared, group, head, found);
    if decided.first.is_none() {
        client.batch_execute("ROLLBACK").await.map_err(failed)?;
        return Ok(decided.answers);
    }
    prediction.learn(head, &decided);
    let there: HashSet<&[u8]> = versions.iter().map(|row| row.get(0)).collect();
    let is_absent = |key: &[u8]| watched.binary_search(&key).is_ok() && !there.contains(key);
    send(shared, writer, decided, is_absent, undecided).await
}

/// Decides and writes a group in one trip, if all is as expected; `None` if it isn't, or can't be
/// said beforehand.
async fn write_predicted(
    shared: &Shared,
    writer: &Writer,
    group: &[Waiting],
    head: Head,
    undecided: &mut Sent,
) -> Result<Option<Decided>, Failure> {
    let Some(expected) = Expected::of(group.iter().map(|waiting| &waiting.transaction)) else {
        return Ok(None);
    };
    let decided = decide(shared, group, head, expected.versions());
    if decided.first.is_none() {
        // What would be told hasn't been looked up.
        return Ok(None);
    }
    let channel = channel(shared.connector.schema());
    match predicted::write(
        &writer.client,
        &writer.predicted,
        &channel,
        head,
        &expected,
        &decided,
    )
    .await
    {
        Ok(true) => {
            shared.predicted.fetch_add(1, Ordering::Relaxed);
            shared.show(decided.head.sequence);
            Ok(Some(decided))
        }
        Ok(false) => Ok(None),
        Err(error) => {
            let failure = Failure::of(&error);
            if matches!(failure, Failure::Lost(_)) {
                *undecided = Sent {
                    newest: Some(decided),
                    unlocked: true,
                };
            }
            Err(failure)
        }
    }
}

/// Sends a decided group's writes and the commit. `is_absent` says which keys are known not to be in
/// the table.
async fn send(
    shared: &Shared,
    writer: &Writer,
    decided: Decided,
    is_absent: impl Fn(&[u8]) -> bool,
    undecided: &mut Sent,
) -> Result<Vec<Result<Committed, LedgerError>>, Failure> {
    let client = &writer.client;
    let rows = Rows::of(&decided, is_absent);
    let (channel, payload) = (
        channel(shared.connector.schema()),
        decided.head.sequence.to_string(),
    );
    let add: [Parameter<'_>; 3] = [&rows.added.keys, &rows.added.versions, &rows.added.records];
    let put: [Parameter<'_>; 3] = [&rows.put.keys, &rows.put.versions, &rows.put.records];
    let delete: [Parameter<'_>; 1] = [&rows.removed];
    let append: [Parameter<'_>; 2] = [&rows.head, &rows.entries];
    let moved: [Parameter<'_>; 2] = [&rows.head, &rows.chain];
    let told: [Parameter<'_>; 2] = [&channel, &payload];
    // The server would run a statement for nothing all the same.
    let unless = async |nothing: bool, statement: &Statement, parameters: &[Parameter<'_>]| {
        if nothing {
            return Ok(0);
        }
        client.execute(statement, parameters).await
    };
    let sent = futures::try_join!(
        unless(rows.added.keys.is_empty(), &writer.add, &add),
        unless(rows.put.keys.is_empty(), &writer.put, &put),
        unless(rows.removed.is_empty(), &writer.delete, &delete),
        client.execute(&writer.append, &append),
        client.execute(&writer.move_head, &moved),
        client.execute(&writer.notify, &told),
        // A transaction in which a statement failed ends with a rollback here, and that
        // statement's own error is what comes of it all.
        client.batch_execute("COMMIT"),
    );
    match sent {
        Ok(_) => {
            shared.show(decided.head.sequence);
            Ok(decided.answers)
        }
        Err(error) => {
            let failure = Failure::of(&error);
            if matches!(failure, Failure::Lost(_)) {
                undecided.newest = Some(decided);
            }
            Err(failure)
        }
    }
}

/// Whether the log holds what was sent. The head is locked, so whoever sent it has ended.
async fn was_written(writer: &Writer, sent: &Decided) -> Result<bool, Failure> {
    let Some(first) = sent.first else {
        return Ok(false);
    };
    let found = writer
        .client
        .query_opt(&writer.log_row, &[&record::to_column(first.sequence)])
        .await
        .map_err(|error| Failure::of(&error))?;
    let Some(row) = found else { return Ok(false) };
    let entry = log_rows::entry(&row, first.sequence).ok().flatten();
    Ok(entry.is_some_and(|entry| entry.chain == first.chain))
}

/// Removes some entries; how far the log is trimmed, and whether that was the last step.
async fn trim_step(writer: &Writer, through: Sequence) -> Result<(Sequence, bool), LedgerError> {
    let client = &writer.client;
    let failed = |error: tokio_postgres::Error| Failure::of(&error).into_error();
    client.batch_execute("BEGIN").await.map_err(failed)?;
    let row = client.query_one(&writer.lock_head, &[]).await.map_err(failed)?;
    let head = head_of(&row).map_err(Failure::into_error)?;
    let from = record::from_column(row.get(2))?;
    let step = through.min(head.sequence).min(from + TRIM_STEP_ENTRIES);
    if step <= from {
        client.batch_execute("ROLLBACK").await.map_err(failed)?;
        return Ok((from, true));
    }
    let column = record::to_column(step);
    let row = client
        .query_opt(&writer.log_row, &[&column])
        .await
        .map_err(failed)?;
    let entry = row.map(|row| log_rows::entry(&row, step)).transpose()?;
    let entry = entry
        .flatten()
        .ok_or_else(|| LedgerError::Corrupt(format!("log entry {step} is missing")))?;
    client.execute(&writer.trim, &[&column]).await.map_err(failed)?;
    client
        .execute(&writer.move_trimmed, &[&column, &entry.chain.as_slice()])
        .await
        .map_err(failed)?;
    client.batch_execute("COMMIT").await.map_err(failed)?;
    Ok((step, step >= through.min(head.sequence)))
}
