//! The one thread that writes: takes what waits, decides it as a group, writes and syncs it once,
//! answers each.
//!
//! Invariant: an answer leaves only after the sync of the group that holds it. After a write or
//! sync failed nobody knows what the disk holds, so every later commit is refused until the
//! folder is opened anew.
//!
//! Writers that were just answered usually come back at once. A group therefore waits a moment
//! ([`limits::GROUP_WAIT_MICROS`]) for as many as the last one had; a lone writer never waits.

use std::sync::Arc;
use std::time::Duration;

use fjall::PersistMode;
use ledger::follower::{FOLLOWER_TAG, decode_position};
use ledger::limits::{GROUP_BYTES_MAX, GROUP_TRANSACTIONS_MAX};
use ledger::{Direction, KeyRange, KeyWriter, Keyspace, LedgerError, ScanLimit, Sequence};

use crate::engine::Shared;
use crate::group::{Group, StoredWrite};
use crate::queue::{Inbox, Request, Waiting};
use crate::store::{StoreError, View, guard};
use crate::witness::{Mark, Witness};
use crate::{limits, record};

/// Follower positions read at once when trimming.
const FOLLOWERS_PAGE_ENTRIES: usize = 1_000;

/// The thread's state.
pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) witness: Witness,
    pub(crate) inbox: Inbox,
    pub(crate) last_group: usize,
    pub(crate) groups_since_sync: u64,
    pub(crate) idle_ticks: u32,
}

impl Committer {
    /// Runs until it is told to close or no caller is left.
    pub(crate) fn run(mut self) {
        let tick = Duration::from_millis(limits::IDLE_TICK_MILLIS);
        loop {
            match self.inbox.next(tick) {
                Ok(Some(request)) => {
                    self.idle_ticks = 0;
                    if self.serve(request) {
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

    /// Serves a request and what has joined it; whether it was the last one.
    fn serve(&mut self, request: Request) -> bool {
        let mut next = Some(request);
        while let Some(request) = next.take() {
            match request {
                Request::Commit(first) => {
                    let (group, other) = self.gather(first);
                    self.commit(group);
                    next = other;
                }
                Request::Trim { through, reply } => {
                    let _ = reply.send(self.trim(through));
                }
                Request::Close { reply } => {
                    let _ = reply.send(self.close());
                    return true;
                }
            }
        }
        false
    }

    /// Takes what waits, up to the limits; also a request of another kind that came between.
    fn gather(&self, first: Waiting) -> (Vec<Waiting>, Option<Request>) {
        // Those that were just answered are expected back; the first of them is here.
        if self.last_group > 1 {
            let wait = Duration::from_micros(limits::GROUP_WAIT_MICROS);
            self.inbox.sleep(self.last_group - 1, wait);
        }
        let mut bytes = first.transaction.size_bytes();
        let mut group = vec![first];
        while group.len() < GROUP_TRANSACTIONS_MAX && bytes < GROUP_BYTES_MAX {
            match self.inbox.ready() {
                Some(Request::Commit(waiting)) => {
                    bytes += waiting.transaction.size_bytes();
                    group.push(waiting);
                }
                other => return (group, other),
            }
        }
        (group, None)
    }

    fn commit(&mut self, waiting: Vec<Waiting>) {
        self.last_group = waiting.len();
        if let Some(error) = self.refusal(&waiting) {
            for one in waiting {
                one.answer(Err(error.clone()));
            }
            return;
        }
        let view = self.shared.view();
        let time = self.shared.clock.now();
        let transactions = waiting.iter().map(|one| &one.transaction);
        let mut group = Group::new(&self.shared.store, &view, transactions);
        let mut answers = Vec::with_capacity(waiting.len());
        for one in &waiting {
            answers.push(group.decide(&one.transaction, time));
        }
        let (head, mut writes) = (group.head, group.writes);
        // Neighbours in the store's sorted memory table find their places on the same path, which
        // the processor has at hand then. Stable: of two writes to a key the later one counts.
        writes.sort_by(|(one, _), (other, _)| one.cmp(other));
        let accepted = head.sequence - view.head.sequence;
        if accepted > 0
            && let Err(error) = self.write(writes, head, view.trimmed)
        {
            let failure = self.shared.fail(&error);
            answers = answers
                .into_iter()
                .map(|answer| answer.and(Err(failure.clone())))
                .collect();
        }
        self.shared.count(&answers);
        for (one, answer) in waiting.into_iter().zip(answers) {
            one.answer(answer);
        }
    }

    /// Why nothing may be written now, if so.
    fn refusal(&self, waiting: &[Waiting]) -> Option<LedgerError> {
        if let Some(failure) = self.shared.failure() {
            return Some(LedgerError::Failed(failure));
        }
        let bytes: usize = waiting.iter().map(|one| one.transaction.size_bytes()).sum();
        let needed = self.shared.options.reserve_bytes + bytes as u64 * limits::GROUP_DISK_FACTOR;
        let disk = rustix::fs::statvfs(self.shared.store.folder.path()).ok()?;
        (disk.f_bavail.saturating_mul(disk.f_frsize) < needed).then_some(LedgerError::Full)
    }

    /// Writes and syncs one batch, notes the head outside, and shows the new state.
    fn write(&mut self, writes: Vec<StoredWrite>, head: Mark, trimmed: Mark) -> Result<(), StoreError> {
        let store = self.shared.store.clone();
        guard(|| {
            let mut batch = store.database.batch().durability(Some(PersistMode::SyncData));
            for (key, value) in writes {
                match value {
                    Some(value) => batch.insert(&store.tree, key, value),
                    None => batch.remove(&store.tree, key),
                }
            }
            batch.insert(
                &store.tree,
                record::HEAD_KEY,
                record::seal(record::HEAD_KEY, head.sequence, &head.chain),
            );
            batch.commit()
        })?;
        self.shared.counters.groups();
        if let Err(error) = self.witness.write(head) {
            // An older witness is harmless; a missing one would be found at the next open.
            tracing::warn!(%error, "the ledger's HEAD could not be written");
        }
        self.groups_since_sync += 1;
        if self.groups_since_sync >= limits::WITNESS_SYNC_GROUPS {
            self.sync_witness();
        }
        self.shared.show(self.shared.store.view(head, trimmed));
        Ok(())
    }

    fn sync_witness(&mut self) {
        self.groups_since_sync = 0;
        if let Err(error) = self.witness.sync() {
            tracing::warn!(%error, "the ledger's HEAD could not be synced");
        }
    }

    /// Forgets log entries that every follower has behind it, step by step.
    fn trim(&mut self, through: Sequence) -> Result<Sequence, LedgerError> {
        if let Some(failure) = self.shared.failure() {
            return Err(LedgerError::Failed(failure));
        }
        let through = through.min(self.followers_behind(&self.shared.view())?);
        loop {
            let view = self.shared.view();
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
            self.write(writes, view.head, trimmed)
                .map_err(|error| self.shared.fail(&error))?;
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
        self.sync_witness();
        if self.shared.store.database.write_buffer_size() >= limits::IDLE_FLUSH_BYTES_MIN
            && let Err(error) = guard(|| self.shared.store.tree.rotate_memtable())
        {
            tracing::warn!(%error, "the ledger's memtable could not be written out");
        }
    }

    fn close(&mut self) -> Result<(), LedgerError> {
        self.shared.closing();
        if let Some(failure) = self.shared.failure() {
            return Err(LedgerError::Failed(failure));
        }
        let store = self.shared.store.clone();
        guard(|| {
            store.tree.rotate_memtable_and_wait()?;
            store.database.persist(PersistMode::SyncAll)
        })
        .map_err(|error| self.shared.fail(&error))?;
        self.witness
            .sync()
            .map_err(|error| LedgerError::Failed(error.to_string()))
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
