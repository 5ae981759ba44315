//! One node: stores opened, services wired, background work, listeners until a signal.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use blobs::Blobs;
use content::ContentStore;
use documents::{Documents, ScriptWorker};
use encryption::Keyring;
use gateway::{Bound, HealthSource, Sample, StatsSource};
use ledger::{Clock, Health, Lease, Ledger, Random, SystemClock, SystemRandom};
use platform_storage::limits::DELIVERIES_PER_ROUND_MAX;
use platform_storage::{DeliveryReport, Platform, PlatformError};
use registry::{ContentReferences, RegistryService};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vault::Vaults;

use crate::places::{LedgerPlace, Places};
use crate::platform_config::Sinks;
use crate::registry_webhooks;

/// How often the background work runs.
const SWEEP_SECONDS: u64 = 5;

/// How often content that no commit refers to is looked for.
const ORPHANS_SECONDS: u64 = 24 * 3_600;

/// When it is first looked for after a start: a process that is restarted daily does it, too.
const ORPHANS_FIRST_SECONDS: u64 = 600;

/// Pause between two looks at what other nodes have changed.
const FOLLOW_MILLISECONDS: u64 = 100;

/// How long a round that is under way is waited for when the node stops. Each of its steps is a commit of
/// its own, so one that is left off goes on elsewhere: over an object store that fails it might take minutes.
const ROUND_STOP_SECONDS: u64 = 5;

/// How long the lease of the background work is taken for: two rounds, so that a node that is late
/// once doesn't lose it.
const LEASE_SECONDS: u64 = 10;

/// Pause between two looks for messages that are due.
const DELIVERY_MILLISECONDS: u64 = 500;

/// How long the lease of the deliveries is taken for (the original's): a node that is cut off while it delivers
/// mustn't find another one at it.
const DELIVERY_LEASE_SECONDS: u64 = 120;

/// Longest time that a stop waits for requests under way.
pub(crate) const STOP_SECONDS_MAX: u64 = 30;

/// What runs scripts: this very program, also when its file was replaced meanwhile.
pub(crate) fn script_worker() -> ScriptWorker {
    ScriptWorker {
        program: "/proc/self/exe".into(),
        arguments: vec!["script-worker".into()],
        // The allocator would take a gibibyte of address space in advance, and the bound is on top of it.
        environment: vec![("MIMALLOC_ARENA_RESERVE".into(), "0".into())],
    }
}

/// The stores of a data folder.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) ledger: Arc<dyn Ledger>,
    pub(crate) content: Arc<dyn ContentStore>,
    /// The account keys, if content is encrypted.
    pub(crate) keyring: Option<Arc<Keyring>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    /// Whether other nodes may use the same ledger.
    pub(crate) is_shared: bool,
    /// What this node does for all of them.
    pub(crate) duty: Arc<Duty>,
}

/// What containers use of their throughput, for `/metrics`.
pub(crate) struct DocumentsUse(pub(crate) Arc<Documents>);

#[async_trait]
impl StatsSource for DocumentsUse {
    async fn samples(&self) -> Vec<Sample> {
        #[allow(clippy::cast_possible_truncation, reason = "saturates")]
        let whole = |rus: f64| rus as i64;
        let uses = self.0.throughput_uses();
        uses.into_iter()
            .flat_map(|used| {
                [
                    Sample {
                        name: format!("documents_request_units/{}", used.name),
                        value: whole(used.used_rus),
                    },
                    Sample {
                        name: format!("documents_requests_throttled/{}", used.name),
                        value: i64::try_from(used.throttled).unwrap_or(i64::MAX),
                    },
                ]
            })
            .collect()
    }
}

/// What the background work did for blobs, for `/metrics`.
pub(crate) struct BlobsWork(pub(crate) Arc<Blobs>);

#[async_trait]
impl StatsSource for BlobsWork {
    async fn samples(&self) -> Vec<Sample> {
        let sample = |(name, number): (&str, u64)| Sample {
            name: name.to_owned(),
            value: i64::try_from(number).unwrap_or(i64::MAX),
        };
        self.0.counters().into_iter().map(sample).collect()
    }
}

/// How many of Platform Storage's messages wait for who takes them, for `/metrics`. More than this are as good as this
/// many.
const WAITING_MAX: usize = 10_000;

/// See [`WAITING_MAX`].
pub(crate) struct MessagesWaiting(pub(crate) Arc<Platform>);

#[async_trait]
impl StatsSource for MessagesWaiting {
    async fn samples(&self) -> Vec<Sample> {
        let Ok((scans, portal)) = self.0.waiting(WAITING_MAX).await else {
            return Vec::new();
        };
        let sample = |name: &str, value: usize| Sample {
            name: name.to_owned(),
            value: i64::try_from(value).unwrap_or(i64::MAX),
        };
        let Ok(dead) = self.0.dead_letters(WAITING_MAX).await else {
            return Vec::new();
        };
        vec![
            sample("platform_scans_waiting", scans),
            sample("platform_portal_waiting", portal),
            sample("platform_messages_put_aside", dead),
        ]
    }
}

/// Whether the background work is this node's, for people and for `/metrics`.
#[derive(Default)]
pub(crate) struct Duty {
    held: AtomicBool,
    rounds: AtomicU64,
}

impl Duty {
    /// Says so when it changes: who looks for what a job did must know in which node's log.
    fn note(&self, held: bool) {
        match (self.held.swap(held, Ordering::Relaxed), held) {
            (false, true) => tracing::info!("this node does the background work from now on"),
            (true, false) => tracing::info!("another node does the background work from now on"),
            _ => {}
        }
    }
}

impl Stores {
    /// Opens (or creates) ledger and content.
    pub(crate) async fn open(data: &Path, places: &Places, clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(Self {
            ledger: places.ledger.open(data, clock.clone()).await?,
            content: places.content.open(data, clock.clone()).await?,
            keyring: None,
            clock,
            random: Arc::new(SystemRandom),
            is_shared: matches!(places.ledger, LedgerPlace::Postgres(_)),
            duty: Arc::default(),
        })
    }

    /// Opens a data folder that must already be one.
    pub(crate) async fn open_existing(data: &Path, places: &Places, clock: Arc<dyn Clock>) -> Result<Self> {
        // Half a copy is refused with its own reason when it is opened.
        let is_there = |marker| data.join("ledger").join(marker).is_file();
        if matches!(places.ledger, LedgerPlace::Embedded) && !is_there("FORMAT") && !is_there("COPYING") {
            bail!(
                "{}: holds no ledger; give the folder that --data or data_dir names",
                data.display()
            );
        }
        Self::open(data, places, clock).await
    }

    /// Opens a data folder; one that isn't there, or is empty, becomes one.
    pub(crate) async fn open_or_make(data: &Path, places: &Places, clock: Arc<dyn Clock>) -> Result<Self> {
        let is_new = match std::fs::read_dir(data) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            Err(error) => return Err(error).with_context(|| format!("{}", data.display())),
        };
        if is_new {
            Self::open(data, places, clock).await
        } else {
            Self::open_existing(data, places, clock).await
        }
    }
}

/// Makes what Platform Storage needs to be there. A store that takes no writes for now doesn't
/// keep the server from reading.
pub(crate) async fn prepare(platform: &Platform) -> Result<()> {
    match platform.prepare().await {
        Err(error @ (PlatformError::Full | PlatformError::Unavailable(_))) => {
            tracing::warn!(%error, "Platform Storage's containers can't be made; its first request tries again");
            Ok(())
        }
        other => other.context("platform storage"),
    }
}

/// The background work of the services, until `stop`. Of several nodes over one ledger the one that
/// holds the lease does it; when it dies, another one goes on after [`LEASE_SECONDS`] at most.
pub(crate) fn background(
    stores: &Stores,
    services: Services,
    mut stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    if stores.is_shared {
        follow_others(stores, services.documents.clone(), stop.clone());
    }
    let lease = stores.is_shared.then(|| {
        Lease::new(
            stores.ledger.clone(),
            // Nodes agree about real time, however one of them moves its development clock.
            Arc::new(SystemClock),
            "background work",
            stores.random.uuid(),
            Duration::from_secs(LEASE_SECONDS),
        )
    });
    let duty = stores.duty.clone();
    let deliveries = deliveries(stores, &services, stop.clone());
    let webhooks = registry_webhooks::deliver(stores, services.registry.as_ref(), stop.clone());
    tokio::spawn(async move {
        let mut rounds: u64 = 0;
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(Duration::from_secs(SWEEP_SECONDS)) => {}
            }
            rounds += 1;
            let mine = match &lease {
                None => Ok(true),
                Some(lease) => lease.hold().await,
            };
            match mine {
                Ok(true) => {
                    duty.note(true);
                    let late = async {
                        // An error means that whoever stops is gone, which is to stop as well.
                        let _ = stop.wait_for(|stop| *stop).await;
                        tokio::time::sleep(Duration::from_secs(ROUND_STOP_SECONDS)).await;
                    };
                    tokio::select! {
                        () = services.work(rounds) => {}
                        () = late => break,
                    }
                    duty.rounds.fetch_add(1, Ordering::Relaxed);
                }
                Ok(false) => duty.note(false),
                // Whose it is stays as it was last known.
                Err(error) => {
                    tracing::debug!(%error, "the lease of the background work can't be had for now");
                }
            }
        }
        if let Some(lease) = &lease
            && let Err(error) = lease.release().await
        {
            tracing::debug!(%error, "the lease of the background work ends by itself");
        }
        for task in [deliveries, webhooks].into_iter().flatten() {
            if let Err(error) = task.await {
                tracing::warn!(%error, "the deliveries ended badly");
            }
        }
    })
}

/// Delivers Platform Storage's messages to others until `stop`, apart from the other work: who takes them may be slow.
/// Of several nodes one does it. A delivery that is cut off is made again.
fn deliveries(
    stores: &Stores,
    services: &Services,
    mut stop: watch::Receiver<bool>,
) -> Option<JoinHandle<()>> {
    let platform = services.platform.clone()?;
    let Sinks { scan, portal } = services.sinks.clone();
    if scan.is_none() && portal.is_none() {
        return None;
    }
    let lease = stores.is_shared.then(|| {
        Lease::new(
            stores.ledger.clone(),
            Arc::new(SystemClock),
            "platform deliveries",
            stores.random.uuid(),
            Duration::from_secs(DELIVERY_LEASE_SECONDS),
        )
    });
    Some(tokio::spawn(async move {
        // When the lease was last taken: each time is a commit.
        let mut held: Option<Duration> = None;
        let mut pause = Duration::from_millis(DELIVERY_MILLISECONDS);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(pause) => {}
            }
            pause = Duration::from_millis(DELIVERY_MILLISECONDS);
            let round = async {
                // Each outbox has a round of its own, which is short beside the lease and fails by itself.
                if let Some(scan) = &scan
                    && holds(lease.as_ref(), &mut held).await
                    && went_well("scan", platform.deliver_scans(scan.as_ref()).await)
                {
                    pause = Duration::ZERO;
                }
                if let Some(portal) = &portal
                    && holds(lease.as_ref(), &mut held).await
                    && went_well("portal", platform.deliver_syncs(portal.as_ref()).await)
                {
                    pause = Duration::ZERO;
                }
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = round => {}
            }
        }
        if let Some(lease) = &lease
            && let Err(error) = lease.release().await
        {
            tracing::debug!(%error, "the lease of the deliveries ends by itself");
        }
    }))
}

/// Whether the deliveries are this node's: the lease is taken again long before it ends.
async fn holds(lease: Option<&Lease>, held: &mut Option<Duration>) -> bool {
    let Some(lease) = lease else { return true };
    let now = SystemClock.monotonic();
    let fresh = Duration::from_secs(DELIVERY_LEASE_SECONDS / 4);
    if held.is_some_and(|at| now.saturating_sub(at) < fresh) {
        return true;
    }
    *held = match lease.hold().await {
        Ok(true) => Some(now),
        Ok(false) => None,
        Err(error) => {
            tracing::debug!(%error, "the lease of the deliveries can't be had for now");
            None
        }
    };
    held.is_some()
}

/// Whether a round delivered as much as a round may, so that there may be more at once.
fn went_well(outbox: &str, round: Result<DeliveryReport, PlatformError>) -> bool {
    match round {
        Ok(report) => report.failed == 0 && report.done() >= DELIVERIES_PER_ROUND_MAX as u64,
        Err(error) => {
            tracing::warn!(%error, outbox, "messages couldn't be delivered; it is tried again");
            false
        }
    }
}

/// Forgets in memory what other nodes have changed, until `stop`; at most [`FOLLOW_MILLISECONDS`]
/// after this node has heard of it.
fn follow_others(stores: &Stores, documents: Arc<Documents>, mut stop: watch::Receiver<bool>) {
    let mut head = stores.ledger.head();
    tokio::spawn(async move {
        let mut position = *head.borrow();
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                changed = head.wait_for(|head| *head > position) => if changed.is_err() { return },
            }
            match documents.follow_catalog(position).await {
                Ok(reached) => position = reached,
                Err(error) => tracing::debug!(%error, "the log can't be followed for now"),
            }
            tokio::time::sleep(Duration::from_millis(FOLLOW_MILLISECONDS)).await;
        }
    });
}

/// What has background work.
pub(crate) struct Services {
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) documents: Arc<Documents>,
    pub(crate) platform: Option<Arc<Platform>>,
    pub(crate) registry: Option<Arc<RegistryService>>,
    /// What registries refer to, also where none is served.
    pub(crate) registry_references: ContentReferences,
    /// Who takes Platform Storage's messages.
    pub(crate) sinks: Sinks,
    pub(crate) vaults: Option<Arc<Vaults>>,
}

impl Services {
    /// One round of it.
    async fn work(&self, rounds: u64) {
        if let Err(error) = self.blobs.sweep_once().await {
            tracing::warn!(%error, "the blobs' sweep failed; it is tried again");
        }
        self.blobs.lifecycle_once().await;
        if let Err(error) = self.blobs.feed_once().await {
            tracing::warn!(%error, "the blobs' change feeds weren't written; it is tried again");
        }
        if let Err(error) = self.documents.sweep_once().await {
            tracing::warn!(%error, "the documents' sweep failed; it is tried again");
        }
        if let Some(registry) = &self.registry
            && let Err(error) = registry.collect_once().await
        {
            tracing::warn!(%error, "the registries' collection failed; it is tried again");
        }
        if let Some(vaults) = &self.vaults
            && let Err(error) = vaults.sweep_once().await
        {
            tracing::warn!(%error, "the vaults' sweep failed; it is tried again");
        }
        if let Some(platform) = &self.platform
            && let Err(error) = platform.run_due_jobs().await
        {
            tracing::warn!(%error, "a clean-up job failed; it runs again tomorrow, or when it is called");
        }
        if rounds % (ORPHANS_SECONDS / SWEEP_SECONDS) == ORPHANS_FIRST_SECONDS / SWEEP_SECONDS
            && let Err(error) = self.blobs.sweep_orphans(&[&self.registry_references]).await
        {
            tracing::warn!(%error, "the sweep of unreferenced content failed; it is tried again");
        }
    }
}

/// Serves until SIGTERM or SIGINT, then ends what is under way and closes the ledger.
pub(crate) async fn run(
    bound: Bound,
    stores: &Stores,
    stop: watch::Sender<bool>,
    work: JoinHandle<()>,
) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let serving = tokio::spawn(bound.run(stop.subscribe()));
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping: no new connections, finishing what was accepted");
    stop.send_replace(true);
    let report = serving.await.context("the listeners ended badly")?;
    if !report.complete {
        tracing::warn!("some requests were still under way after {STOP_SECONDS_MAX} s and were cut");
    }
    work.await.context("the background work ended badly")?;
    stores.ledger.close().await.context("closing the ledger")?;
    tracing::info!("stopped");
    Ok(())
}

/// Health and values of the stores, for the admin listener.
pub(crate) struct StoresHealth(pub(crate) Stores);

#[async_trait]
impl HealthSource for StoresHealth {
    async fn ready(&self) -> Result<(), String> {
        match self.0.ledger.health() {
            Health::Ready => Ok(()),
            Health::ReadOnly(cause) => Err(format!("the ledger takes no writes: {cause}")),
            Health::Unavailable(cause) => Err(format!("the ledger is unavailable: {cause}")),
        }
    }
}

#[async_trait]
impl StatsSource for StoresHealth {
    async fn samples(&self) -> Vec<Sample> {
        let sample = |name: &str, value: u64| Sample {
            name: name.to_owned(),
            value: i64::try_from(value).unwrap_or(i64::MAX),
        };
        let mut samples = vec![
            sample(
                "lease_background_work",
                u64::from(self.0.duty.held.load(Ordering::Relaxed)),
            ),
            sample(
                "background_work_rounds",
                self.0.duty.rounds.load(Ordering::Relaxed),
            ),
        ];
        if let Ok(stats) = self.0.ledger.stats().await {
            samples.push(sample("ledger_head", stats.head));
            samples.push(sample("ledger_commits", stats.commits));
            samples.push(sample("ledger_conflicts", stats.conflicts));
            samples.push(sample("ledger_groups", stats.groups));
            samples.push(sample("ledger_syncs", stats.syncs));
            samples.push(sample("ledger_disk_bytes", stats.disk_bytes));
        }
        if let Ok(stats) = self.0.content.stats().await {
            samples.push(sample("content_contents", stats.contents));
            samples.push(sample("content_disk_bytes", stats.disk_bytes));
            let undecryptable = self
                .0
                .keyring
                .as_ref()
                .map_or(0, |keyring| keyring.damaged_frames());
            samples.push(sample(
                "content_corrupt_frames",
                stats.corrupt_frames + undecryptable,
            ));
        }
        samples
    }
}
