//! The engine as services hold it: reads from the newest view, hands commits to the committer.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use async_trait::async_trait;
use ledger::{
    Clock, Committed, Health, Ledger, LedgerError, LedgerStats, LogPage, Sequence, Snapshot, Transaction,
    VerifyReport,
};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{oneshot, watch};

use crate::committer::Committer;
use crate::folder::{Folder, Found};
use crate::journal::{self, NewestJournal, Walked, ZerosAhead};
use crate::queue::{Queue, Request, Waiting, queue};
use crate::store::{EmbeddedSnapshot, START, Store, View, guard};
use crate::syncer::Handover;
use crate::witness::{Mark, Witness};
use crate::{OpenError, Options, WitnessRule, verify};

/// The ledger in a folder, for one process.
pub struct EmbeddedLedger {
    pub(crate) shared: Arc<Shared>,
    queue: Queue,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for EmbeddedLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedLedger")
            .field("folder", &self.shared.store.folder.path())
            .finish_non_exhaustive()
    }
}

/// What the engine's face and its committer share.
pub(crate) struct Shared {
    pub(crate) store: Arc<Store>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) options: Options,
    pub(crate) counters: Counters,
    view: RwLock<Arc<View>>,
    /// The newest commit that is on disk.
    synced: AtomicU64,
    head: watch::Sender<Sequence>,
    failure: RwLock<Option<String>>,
    closed: AtomicBool,
}

/// Counters since opening.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    conflicts: AtomicU64,
    groups: AtomicU64,
    syncs: AtomicU64,
}

impl Counters {
    /// One group was written.
    pub(crate) fn group(&self) {
        self.groups.fetch_add(1, Ordering::Relaxed);
    }

    /// One or more groups were synced.
    pub(crate) fn sync(&self) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
    }
}

impl Shared {
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.read().clone()
    }

    /// The newest commit that is on disk. Whoever sees a number here sees what it took to be so.
    pub(crate) fn synced(&self) -> Sequence {
        self.synced.load(Ordering::Acquire)
    }

    /// Everything through `sequence` is on disk.
    pub(crate) fn now_synced(&self, sequence: Sequence) {
        self.synced.store(sequence, Ordering::Release);
    }

    /// Makes `view` what reads see.
    pub(crate) fn show(&self, view: Arc<View>) {
        let sequence = view.head.sequence;
        *self.view.write() = view;
        self.head.send_replace(sequence);
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.read().clone()
    }

    /// Writes stop here.
    pub(crate) fn fail(&self, error: &dyn std::error::Error) -> LedgerError {
        let text = error.to_string();
        tracing::error!(error = %text, "the ledger failed; no more commits until it is opened anew");
        *self.failure.write() = Some(text.clone());
        LedgerError::Failed(text)
    }

    pub(crate) fn closing(&self) {
        self.closed.store(true, Ordering::SeqCst);
    }

    /// Counts what is about to be answered.
    pub(crate) fn count(&self, commits: &[(Waiting, Result<Committed, LedgerError>)]) {
        let count = |counter: &AtomicU64, matching: usize| {
            counter.fetch_add(matching as u64, Ordering::Relaxed);
        };
        let answers = || commits.iter().map(|(_, answer)| answer);
        let conflicts = answers().filter(|answer| matches!(answer, Err(LedgerError::Conflict(_))));
        count(&self.counters.conflicts, conflicts.count());
        count(
            &self.counters.commits,
            answers().filter(|answer| answer.is_ok()).count(),
        );
    }
}

impl EmbeddedLedger {
    /// Opens the ledger in `path`, or creates one if the folder is empty or isn't there.
    ///
    /// # Errors
    /// [`OpenError`] says why the folder is refused.
    pub fn open(path: &Path, clock: Arc<dyn Clock>, options: Options) -> Result<Self, OpenError> {
        let (folder, found) = Folder::open(path)?;
        let create = found == Found::Nothing;
        // Before the store opens: it would cut a damaged journal, and with it what can be rescued.
        let walked = if create {
            Walked::default()
        } else {
            journal::walk(&folder.store(), witnessed(&folder, options.witness))?
        };
        if let Some((file, offset)) = &walked.torn {
            tracing::info!(file = %file.display(), offset, "a commit that was never acknowledged is torn");
        }
        let store = Store::open(folder, &options, create)?;
        let view = store
            .first_view()
            .and_then(|view| store.check_logged(&view, &walked.must_be_logged).map(|()| view))
            .map_err(|error| OpenError::Damaged {
                path: path.to_owned(),
                detail: error.to_string(),
            })?;
        let witness = if create {
            let witness =
                Witness::create(&store.folder.witness(), START).map_err(io(path, "creating HEAD"))?;
            guard(|| store.database.persist(fjall::PersistMode::SyncAll)).map_err(|error| {
                OpenError::Damaged {
                    path: path.to_owned(),
                    detail: error.to_string(),
                }
            })?;
            store.folder.finish_creation()?;
            witness
        } else {
            check_witness(path, &store, &view, options.witness)?
        };
        let mut journal =
            NewestJournal::open(&store.folder.store()).map_err(io(path, "opening the journal"))?;
        // What a kill left written but not synced was replayed all the same, and is about to be
        // shown.
        journal.sync().map_err(io(path, "syncing the journal"))?;
        let ahead = ZerosAhead::open(&store.folder.store()).map_err(io(path, "opening the journal"))?;
        let (head, _) = watch::channel(view.head.sequence);
        let view = Arc::new(view);
        let shared = Arc::new(Shared {
            store: Arc::new(store),
            clock,
            options,
            counters: Counters::default(),
            view: RwLock::new(view.clone()),
            synced: AtomicU64::new(view.head.sequence),
            head,
            failure: RwLock::new(None),
            closed: AtomicBool::new(false),
        });
        let (queue, inbox) = queue();
        let committer = Committer {
            shared: shared.clone(),
            inbox,
            handover: Handover::start(shared.clone(), journal, witness)
                .map_err(io(path, "starting the syncer"))?,
            ahead,
            view,
            last_group: 0,
            idle_ticks: 0,
        };
        let thread = std::thread::Builder::new()
            .name("ledger-committer".to_owned())
            .spawn(move || committer.run())
            .map_err(io(path, "starting the committer"))?;
        Ok(Self {
            shared,
            queue,
            thread: Mutex::new(Some(thread)),
        })
    }
}

impl Drop for EmbeddedLedger {
    /// Closes if nobody did: the committer ends when its queue has no more callers.
    fn drop(&mut self) {
        if !self.shared.closed.load(Ordering::SeqCst) {
            let (reply, _) = oneshot::channel();
            let _ = self.queue.send(Request::Close { reply });
        }
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

/// The newest acknowledged commit, if the witness is to be believed and can be read.
fn witnessed(folder: &Folder, rule: WitnessRule) -> Option<Sequence> {
    match rule {
        WitnessRule::Rebuild => None,
        WitnessRule::Required => Witness::open(&folder.witness())
            .ok()
            .and_then(|(_, mark)| mark)
            .map(|mark| mark.sequence),
    }
}

/// The store must reach at least to its witness, with the same hash there.
fn check_witness(path: &Path, store: &Store, view: &View, rule: WitnessRule) -> Result<Witness, OpenError> {
    let file = store.folder.witness();
    if rule == WitnessRule::Rebuild {
        return Witness::create(&file, view.head).map_err(io(path, "creating HEAD"));
    }
    let (mut witness, mark) = Witness::open(&file).map_err(io(path, "opening HEAD"))?;
    let damaged = |detail: String| OpenError::Damaged {
        path: path.to_owned(),
        detail,
    };
    let Some(mark) = mark else {
        return Err(damaged("HEAD is unreadable".to_owned()));
    };
    if mark.sequence > view.head.sequence {
        return Err(OpenError::LostCommits {
            path: path.to_owned(),
            detail: format!(
                "commit {} was acknowledged, but the store ends at {}",
                mark.sequence, view.head.sequence
            ),
        });
    }
    if let Some(chain) = chain_at(store, view, mark.sequence).map_err(|error| damaged(error.to_string()))?
        && chain != mark.chain
    {
        return Err(damaged(format!(
            "the log's hash at commit {} isn't what HEAD witnessed",
            mark.sequence
        )));
    }
    witness.write(view.head).map_err(io(path, "writing HEAD"))?;
    Ok(witness)
}

/// The log's hash at `sequence`, if it is still known.
fn chain_at(store: &Store, view: &View, sequence: Sequence) -> Result<Option<[u8; 32]>, LedgerError> {
    for known in [START, view.trimmed, view.head] {
        if known.sequence == sequence {
            return Ok(Some(known.chain));
        }
    }
    if sequence < view.trimmed.sequence {
        return Ok(None);
    }
    Ok(store.log_entry(view, sequence)?.map(|entry| {
        Mark {
            sequence,
            chain: entry.chain,
        }
        .chain
    }))
}

fn io(path: &Path, doing: &'static str) -> impl Fn(std::io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io {
        path: path.clone(),
        doing,
        source,
    }
}

#[async_trait]
impl Ledger for EmbeddedLedger {
    async fn snapshot(&self) -> Result<Arc<dyn Snapshot>, LedgerError> {
        Ok(Arc::new(EmbeddedSnapshot {
            view: self.shared.view(),
            store: self.shared.store.clone(),
        }))
    }

    async fn commit(&self, transaction: Transaction) -> Result<Committed, LedgerError> {
        transaction.check_limits()?;
        if self.shared.closed.load(Ordering::SeqCst) {
            return Err(LedgerError::Closed);
        }
        self.queue.commit(transaction).await
    }

    async fn log_page(
        &self,
        after: Sequence,
        entries_max: usize,
        bytes_max: usize,
    ) -> Result<LogPage, LedgerError> {
        self.shared
            .store
            .log_page(&self.shared.view(), after, entries_max, bytes_max)
    }

    async fn trim_log(&self, through: Sequence) -> Result<Sequence, LedgerError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Request::Trim { through, reply })?;
        answer.await.map_err(|_| LedgerError::Closed)?
    }

    fn head(&self) -> watch::Receiver<Sequence> {
        self.shared.head.subscribe()
    }

    fn health(&self) -> Health {
        if self.shared.closed.load(Ordering::SeqCst) {
            return Health::Unavailable("closed".to_owned());
        }
        self.shared.failure().map_or(Health::Ready, Health::ReadOnly)
    }

    async fn stats(&self) -> Result<LedgerStats, LedgerError> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        let store = &self.shared.store;
        let disk_bytes = guard(|| store.database.disk_space()).map_err(crate::store::read_error)?;
        let detail = |name: &str, value: u64| (name.to_owned(), value.to_string());
        let view = self.shared.view();
        Ok(LedgerStats {
            engine: "embedded (fjall)",
            head: view.head.sequence,
            commits: load(&counters.commits),
            conflicts: load(&counters.conflicts),
            groups: load(&counters.groups),
            syncs: load(&counters.syncs),
            disk_bytes,
            details: vec![
                detail("log trimmed through", view.trimmed.sequence),
                detail("keys, about", store.tree.approximate_len() as u64),
                detail("tables", store.tree.table_count() as u64),
                detail("journals", store.database.journal_count() as u64),
                detail("bytes in memory tables", store.database.write_buffer_size()),
            ],
        })
    }

    async fn verify(&self, progress: &(dyn Fn(u64) + Send + Sync)) -> Result<VerifyReport, LedgerError> {
        Ok(verify::verify(&self.shared.store, &self.shared.view(), progress))
    }

    async fn close(&self) -> Result<(), LedgerError> {
        if self.shared.closed.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let (reply, answer) = oneshot::channel();
        self.queue.send(Request::Close { reply })?;
        answer.await.map_err(|_| LedgerError::Closed)?
    }
}
