//! The one thread that writes: takes what waits, decides it as a group, writes it; the syncer puts
//! it on disk and answers.
//!
//! Invariant: each group is decided on the state behind the one before, synced or not; the store
//! has that state already, and nobody else sees it before its sync. After a write or sync failed
//! nobody knows what the disk holds, so every later commit is refused until the folder is opened
//! anew.

use std::sync::Arc;
use std::time::Duration;

use fjall::PersistMode;
use ledger::follower::{FOLLOWER_TAG, decode_position};
use ledger::limits::{GROUP_BYTES_MAX, GROUP_TRANSACTIONS_MAX};
use ledger::{Direction, KeyRange, KeyWriter, Keyspace, LedgerError, ScanLimit, Sequence};
use tokio::sync::oneshot;

use crate::engine::Shared;
use crate::group::{Group, StoredWrite, writes_of};
use crate::journal::ZerosAhead;
use crate::queue::{Inbox, Request, Waiting};
use crate::store::{StoreError, View, guard};
use crate::syncer::{Handover, Written};
use crate::witness::Mark;
use crate::{limits, record};

/// Follower positions read at once when trimming.
const FOLLOWERS_PAGE_ENTRIES: usize = 1_000;

/// The thread's state.
pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) inbox: Inbox,
    pub(crate) handover: Handover,
    pub(crate) ahead: ZerosAhead,
    /// The state behind the newest group that was written, synced or not.
    pub(crate) view: Arc<View>,
    pub(crate) last_group: usize,
    pub(crate) idle_ticks: u32,
}

/// Who waits for the ledger to be closed.
type Closing = oneshot::Sender<Result<(), LedgerError>>;

impl Committer {
    /// Runs until it is told to close or no caller is left.
    pub(crate) fn run(mut self) {
        let tick = Duration::from_millis(limits::IDLE_TICK_MILLIS);
        loop {
            match self.inbox.next(tick) {
                Ok(Some(request)) => {
                    self.idle_ticks = 0;
                    if let Some(reply) = self.serve(request) {
                        let _ = reply.send(self.close());
                        return;
                    }
                }
                Ok(None) => self.idle(),
                Err(_) => {
                    let _ = self.close();
                    return;
                }
            }
        }
    }

    /// Serves a request and what has joined it; gives who asked to close, if somebody did.
    fn serve(&mut self, request: Request) -> Option<Closing> {
        let mut next = Some(request);
        while let Some(request) = next.take() {
            match request {
                Request::Commit(first) => {
                    let (group, other) = self.gather(first);
                    self.commit(group);
                    next = other;
                }
                Request::Trim { through, reply } => match self.trim(through) {
                    Ok(through) => self.handover.hand_over(Written {
                        trim: Some((reply, through)),
                        ..Written::default()
                    }),
                    Err(error) => {
                        let _ = reply.send(Err(error));
                    }
                },
                Request::Close { reply } => return Some(reply),
            }
        }
        None
    }

    /// Takes what waits, up to the limits; also a request of another kind that came between.
    fn gather(&self, first: Waiting) -> (Vec<Waiting>, Option<Request>) {
        let mut bytes = first.transaction.size_bytes();
        let mut writes = writes_of(&first.transaction);
        let mut group = vec![first];
        while group.len() < GROUP_TRANSACTIONS_MAX
            && bytes < GROUP_BYTES_MAX
            && writes < limits::GROUP_WRITES_MAX
        {
            match self.inbox.ready() {
                Some(Request::Commit(waiting)) => {
                    bytes += waiting.transaction.size_bytes();
                    writes += writes_of(&waiting.transaction);
                    group.push(waiting);
                }
                other => return (group, other),
            }
        }
        (group, None)
    }

    fn commit(&mut self, waiting: Vec<Waiting>) {
        let lone = waiting.len() == 1 && self.last_group <= 1;
        self.last_group = waiting.len();
        if let Some(error) = self.refusal(&waiting) {
            for one in waiting {
                one.answer(Err(error.clone()));
            }
            return;
        }
        let time = self.shared.clock.now();
        let transactions = waiting.iter().map(|one| &one.transaction);
        let mut group = Group::new(&self.shared.store, &self.view, transactions);
        let mut answers = Vec::with_capacity(waiting.len());
        for one in &waiting {
            answers.push(group.decide(one, time));
        }
        let (head, mut writes) = (group.head, group.writes);
        // Neighbours in the store's sorted memory table find their places on the same path, which
        // the processor has at hand then. Stable: of two writes to a key the later one counts.
        writes.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut written = Written {
            commits: waiting.into_iter().zip(answers).collect(),
            ..Written::default()
        };
        if head.sequence > self.view.head.sequence {
            match self.write(writes, head, self.view.trimmed) {
                Ok(view) => written.view = Some(view),
                Err(error) => return written.answer(Some(&self.shared.fail(&error))),
            }
        }
        if lone && self.handover.idle() {
            self.handover.finish(written);
        } else {
            self.handover.hand_over(written);
        }
    }

    /// Why nothing may be written now, if so.
    fn refusal(&self, waiting: &[Waiting]) -> Option<LedgerError> {
        if let Some(failure) = self.shared.failure() {
            return Some(LedgerError::Failed(failure));
        }
        let bytes: usize = waiting.iter().map(|one| one.transaction.size_bytes()).sum();
        let needed = self.shared.options.reserve_bytes + bytes as u64 * limits::GROUP_DISK_FACTOR;
        let free = self.shared.store.folder.free_bytes().ok()?;
        (free < needed).then_some(LedgerError::Full)
    }

    /// Hands one batch to the operating system; gives the state behind it, which becomes the one
    /// that the next group is decided on.
    fn write(
        &mut self,
        writes: Vec<StoredWrite>,
        head: Mark,
        trimmed: Mark,
    ) -> Result<Arc<View>, StoreError> {
        let store = self.shared.store.clone();
        let synced = self.shared.synced();
        let bytes = writes
            .iter()
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, |value| value.len()))
            .sum();
        guard(|| {
            let mut batch = store.database.batch().durability(Some(PersistMode::Buffer));
            for (key, value) in writes {
                match value {
                    Some(value) => batch.insert(&store.tree, key, value),
                    None => batch.remove(&store.tree, key),
                }
            }
            batch.insert(&store.tree, record::HEAD_KEY, record::head(head, synced));
            batch.commit()
        })?;
        self.ahead.used(bytes);
        self.shared.counters.group();
        self.view = Arc::new(store.view(head, trimmed));
        Ok(self.view.clone())
    }

    /// Forgets log entries that every follower has behind it, step by step.
    fn trim(&mut self, through: Sequence) -> Result<Sequence, LedgerError> {
        if let Some(failure) = self.shared.failure() {
            return Err(LedgerError::Failed(failure));
        }
        let through = through.min(self.followers_behind(&self.view)?);
        loop {
            let view = self.view.clone();
            let from = view.trimmed.sequence;
            let step = through
                .min(view.head.sequence)
                .min(from + limits::TRIM_STEP_ENTRIES);
            if step <= from {
                return Ok(from);
            }
            let entry = self
                .shared
                .store
                .log_entry(&view, step)?
                .ok_or_else(|| LedgerError::Corrupt(format!("log entry {step} is missing")))?;
            let trimmed = Mark {
                sequence: step,
                chain: entry.chain,
            };
            let mut writes: Vec<StoredWrite> = (from + 1..=step)
                .map(|sequence| (record::log_key(sequence).into(), None))
                .collect();
            let mark = record::seal(record::TRIMMED_KEY, trimmed.sequence, &trimmed.chain);
            writes.push((record::TRIMMED_KEY.into(), Some(mark.into())));
            let view = self
                .write(writes, view.head, trimmed)
                .map_err(|error| self.shared.fail(&error))?;
            self.handover.hand_over(Written {
                view: Some(view),
                ..Written::default()
            });
        }
    }

    /// The position of the follower that is furthest behind.
    fn followers_behind(&self, view: &View) -> Result<Sequence, LedgerError> {
        let prefix = KeyWriter::new(Keyspace::System).u8(FOLLOWER_TAG).finish();
        let mut rest = Some(KeyRange::prefix(&prefix));
        let mut behind = view.head.sequence;
        while let Some(range) = rest.take() {
            let limit = ScanLimit {
                entries_max: FOLLOWERS_PAGE_ENTRIES,
                bytes_max: usize::MAX,
            };
            let page = self
                .shared
                .store
                .scan_page(view, &range, Direction::Forward, limit)?;
            for entry in page.entries {
                behind = behind.min(decode_position(&entry.versioned.value)?);
            }
            rest = page.rest;
        }
        Ok(behind)
    }

    /// Nothing to do for a while: gives memory back and makes the next open quick.
    fn idle(&mut self) {
        self.idle_ticks = self.idle_ticks.saturating_add(1);
        if self.idle_ticks != limits::IDLE_FLUSH_TICKS || self.shared.failure().is_some() {
            return;
        }
        self.handover.sync_witness();
        if self.shared.store.database.write_buffer_size() >= limits::IDLE_FLUSH_BYTES_MIN
            && let Err(error) = guard(|| self.shared.store.tree.rotate_memtable())
        {
            tracing::warn!(%error, "the ledger's memtable could not be written out");
        }
    }

    /// Answers what is under way, then leaves a store that opens quickly.
    fn close(self) -> Result<(), LedgerError> {
        let Self { shared, handover, .. } = self;
        shared.closing();
        handover.close(|| {
            if let Some(failure) = shared.failure() {
                return Err(LedgerError::Failed(failure));
            }
            let store = &shared.store;
            guard(|| {
                store.tree.rotate_memtable_and_wait()?;
                store.database.persist(PersistMode::SyncAll)
            })
            .map_err(|error| shared.fail(&error))
        })
    }
}

#[cfg(test)]
mod tests {
    use ledger::{Key, Ledger as _, SystemClock, Transaction};

    use super::*;
    use crate::{EmbeddedLedger, Options};

    fn key(name: &str) -> Key {
        KeyWriter::new(Keyspace::Platform).str(name).finish()
    }

    /// A group is written in the order of keys; who wrote a key last must still be last.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn of_two_writes_to_a_key_in_one_group_the_later_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let open =
            || Arc::new(EmbeddedLedger::open(&path, Arc::new(SystemClock), Options::default()).unwrap());
        let ledger = open();
        let mut last = (0, Vec::new());
        for round in 0..20u8 {
            let writers: Vec<_> = (0..32u8)
                .map(|writer| {
                    let ledger = ledger.clone();
                    tokio::spawn(async move {
                        let value = vec![round, writer];
                        let mut tx = Transaction::new();
                        tx.put(key("b"), value.clone());
                        tx.put(key("a"), value.clone());
                        if writer % 3 == 0 {
                            tx.delete(key("c"));
                        } else {
                            tx.put(key("c"), value.clone());
                        }
                        (ledger.commit(tx).await.unwrap().sequence, value)
                    })
                })
                .collect();
            for writer in writers {
                last = last.max(writer.await.unwrap());
            }
        }
        let stats = ledger.stats().await.unwrap();
        assert!(stats.groups < stats.commits, "no group had two commits");
        let check = async |ledger: Arc<EmbeddedLedger>| {
            let (sequence, value) = &last;
            let snapshot = ledger.snapshot().await.unwrap();
            for name in ["a", "b", "c"] {
                let found = snapshot.get(&key(name)).await.unwrap();
                if name == "c" && value[1] % 3 == 0 {
                    assert_eq!(found, None);
                } else {
                    let found = found.unwrap();
                    assert_eq!(
                        (found.version, found.value.to_vec()),
                        (*sequence, value.clone()),
                        "{name}"
                    );
                }
            }
        };
        check(ledger.clone()).await;
        drop(ledger);
        check(open()).await;
    }
}
