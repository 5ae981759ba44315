//! The second half of a commit: syncs what the committer wrote, shows it, answers.
//!
//! While one sync is under way the committer decides and writes what comes next; the following
//! sync covers all of that. A lone commit is finished by the committer itself, which saves waking
//! another thread.
//!
//! Invariant: nothing is answered or shown before the sync that covers it, in the order of the
//! log; that holds for refusals too, whose reason may be a commit that isn't synced yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::{io, mem};

use ledger::{Committed, LedgerError, Sequence};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::engine::Shared;
use crate::journal::NewestJournal;
use crate::limits;
use crate::queue::Waiting;
use crate::store::View;
use crate::witness::Witness;

/// A group that the operating system has and the disk may not.
#[derive(Default)]
pub(crate) struct Written {
    /// The state behind it, if it changed anything.
    pub(crate) view: Option<Arc<View>>,
    /// Those who committed, and their answers.
    pub(crate) commits: Vec<(Waiting, Result<Committed, LedgerError>)>,
    /// Who asked for the log to be trimmed, and how far it is.
    pub(crate) trim: Option<(oneshot::Sender<Result<Sequence, LedgerError>>, Sequence)>,
}

impl Written {
    /// Answers; `failure` is why none of it is true after all.
    pub(crate) fn answer(self, failure: Option<&LedgerError>) {
        for (waiting, answer) in self.commits {
            waiting.answer(match failure {
                Some(failure) => answer.and(Err(failure.clone())),
                None => answer,
            });
        }
        if let Some((reply, through)) = self.trim {
            let _ = reply.send(failure.map_or(Ok(through), |failure| Err(failure.clone())));
        }
    }
}

/// What a sync needs; whoever holds it syncs.
struct Syncer {
    shared: Arc<Shared>,
    journal: NewestJournal,
    witness: Witness,
    syncs_since_witness: u64,
}

impl Syncer {
    /// Syncs once for all of `groups`, shows the newest state, answers.
    fn finish(&mut self, groups: &mut Vec<Written>) {
        let newest = groups.iter_mut().rev().find_map(|group| group.view.take());
        let failure = match newest {
            Some(view) => self.sync(view).err(),
            None => self.shared.failure().map(LedgerError::Failed),
        };
        for group in groups.drain(..) {
            if failure.is_none() {
                self.shared.count(&group.commits);
            }
            group.answer(failure.as_ref());
        }
    }

    fn sync(&mut self, view: Arc<View>) -> Result<(), LedgerError> {
        // After a failed sync a later one may well succeed, without what the first one lost.
        if let Some(failure) = self.shared.failure() {
            return Err(LedgerError::Failed(failure));
        }
        self.journal.sync().map_err(|error| self.shared.fail(&error))?;
        self.shared.counters.sync();
        self.shared.now_synced(view.head.sequence);
        if let Err(error) = self.witness.write(view.head) {
            // An older witness is harmless; a missing one would be found at the next open.
            tracing::warn!(%error, "the ledger's HEAD could not be written");
        }
        self.syncs_since_witness += 1;
        if self.syncs_since_witness >= limits::WITNESS_SYNCS {
            self.sync_witness();
        }
        self.shared.show(view);
        Ok(())
    }

    fn sync_witness(&mut self) {
        if mem::take(&mut self.syncs_since_witness) > 0
            && let Err(error) = self.witness.sync()
        {
            tracing::warn!(%error, "the ledger's HEAD could not be synced");
        }
    }
}

/// The committer's way to the syncer.
pub(crate) struct Handover {
    syncer: Arc<Mutex<Syncer>>,
    /// Groups handed over and not yet answered.
    under_way: Arc<AtomicUsize>,
    sender: SyncSender<Written>,
    thread: JoinHandle<()>,
}

impl Handover {
    /// Starts the syncer's thread.
    pub(crate) fn start(shared: Arc<Shared>, journal: NewestJournal, witness: Witness) -> io::Result<Self> {
        let syncer = Arc::new(Mutex::new(Syncer {
            shared,
            journal,
            witness,
            syncs_since_witness: 0,
        }));
        let under_way = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = sync_channel(limits::UNSYNCED_GROUPS_MAX);
        let thread = {
            let (syncer, under_way) = (syncer.clone(), under_way.clone());
            std::thread::Builder::new()
                .name("ledger-syncer".to_owned())
                .spawn(move || run(&syncer, &under_way, &receiver))?
        };
        Ok(Self {
            syncer,
            under_way,
            sender,
            thread,
        })
    }

    /// Whether everything that was handed over is answered.
    pub(crate) fn idle(&self) -> bool {
        self.under_way.load(Ordering::Acquire) == 0
    }

    /// Leaves the rest to the syncer's thread; waits if that is far behind.
    pub(crate) fn hand_over(&self, written: Written) {
        self.under_way.fetch_add(1, Ordering::AcqRel);
        // Without the thread nobody answers, and callers learn that the ledger is closed.
        let _ = self.sender.send(written);
    }

    /// Syncs and answers here and now. Only while [`Self::idle`]: order is kept so.
    pub(crate) fn finish(&self, written: Written) {
        self.syncer.lock().finish(&mut vec![written]);
    }

    /// Puts the witness on disk, for a time in which nothing happens.
    pub(crate) fn sync_witness(&self) {
        self.syncer.lock().sync_witness();
    }

    /// Waits until all is answered; then the witness is put on disk by `last`'s success.
    pub(crate) fn close(self, last: impl FnOnce() -> Result<(), LedgerError>) -> Result<(), LedgerError> {
        drop(self.sender);
        if self.thread.join().is_err() {
            return Err(LedgerError::Failed("the syncer's thread panicked".to_owned()));
        }
        last()?;
        let syncer = self.syncer.lock();
        syncer
            .witness
            .sync()
            .map_err(|error| LedgerError::Failed(error.to_string()))
    }
}

fn run(syncer: &Mutex<Syncer>, under_way: &AtomicUsize, receiver: &Receiver<Written>) {
    let mut groups = Vec::with_capacity(limits::UNSYNCED_GROUPS_MAX);
    while let Ok(first) = receiver.recv() {
        groups.push(first);
        groups.extend(receiver.try_iter().take(limits::UNSYNCED_GROUPS_MAX - 1));
        let count = groups.len();
        syncer.lock().finish(&mut groups);
        under_way.fetch_sub(count, Ordering::AcqRel);
    }
}
