//! One process that runs scripts, as its server sees it.
//!
//! Invariant: whatever the process says is bounded and decoded without trust, and what can't be
//! decoded ends it. A process that is dropped is killed.

use std::ffi::OsString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream as Socket;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustix::process::Signal;
use scripts::{Bounds, Frames, LineError, Order, REPORT_BYTES_MAX, Report};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::limits::{
    FUNCTION_MILLISECONDS_MAX, FUNCTIONS_MILLISECONDS_MAX, SCRIPT_MILLISECONDS_MAX,
    SCRIPT_WORKER_MILLISECONDS_MAX, SCRIPT_WORKER_RUNS_MAX, SCRIPT_WORKER_START_MILLISECONDS_MAX,
};

/// How much is read at once, bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// How often a process whose socket has ended is asked for its status, and how long between, milliseconds:
/// the socket goes first.
const STATUS_ATTEMPTS: u32 = 20;
const STATUS_MILLISECONDS: u64 = 10;

// The kernel ends a worker by the processor time of its whole life, so it must not be given a run
// that could come to that.
const _: () = assert!(
    SCRIPT_WORKER_MILLISECONDS_MAX + 2 * SCRIPT_MILLISECONDS_MAX <= scripts::PROCESSOR_SECONDS_MAX * 1_000
        && SCRIPT_WORKER_MILLISECONDS_MAX + FUNCTIONS_MILLISECONDS_MAX + 3 * FUNCTION_MILLISECONDS_MAX
            <= scripts::PROCESSOR_SECONDS_MAX * 1_000
);

/// How a process that runs scripts is started: a program that calls [`scripts::work`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptWorker {
    /// The program's file.
    pub program: PathBuf,
    /// What it is called with.
    pub arguments: Vec<OsString>,
    /// All that its environment holds.
    pub environment: Vec<(OsString, OsString)>,
}

/// Why a process is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    /// It couldn't be started, or can't confine itself.
    #[error("{0}")]
    Start(String),
    /// It ended, or its socket did.
    #[error("it ended ({0})")]
    Gone(String),
    /// It was ended from outside: by the kernel, for want of memory, or by who runs the server.
    #[error("it was ended from outside ({0})")]
    Killed(String),
    /// It said what it must not.
    #[error("it sent {0}")]
    Line(#[from] LineError),
    /// It said something at the wrong time.
    #[error("it sent {0}")]
    Unexpected(&'static str),
}

/// A started process.
#[derive(Debug)]
pub(crate) struct Process {
    child: KilledOnDrop,
    stream: UnixStream,
    frames: Frames,
    chunk: Vec<u8>,
    runs: u32,
    spent: Duration,
    begun: Option<Instant>,
}

impl Process {
    /// Starts one and waits until it has confined itself; it has the place of `permit` until it is gone.
    pub(crate) async fn start(
        worker: &ScriptWorker,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, ProcessError> {
        let worker = worker.clone();
        // It waits until the program is in place.
        let spawned = tokio::task::spawn_blocking(move || spawn(&worker, permit));
        let spawned = spawned
            .await
            .map_err(|error| ProcessError::Start(error.to_string()))?;
        let (child, socket) = spawned.map_err(|error| ProcessError::Start(error.to_string()))?;
        let mut process = Self {
            child,
            stream: UnixStream::from_std(socket).map_err(|error| ProcessError::Start(error.to_string()))?,
            frames: Frames::new(REPORT_BYTES_MAX),
            chunk: vec![0; CHUNK_BYTES],
            runs: 0,
            spent: Duration::ZERO,
            begun: None,
        };
        let nothing = Bounds {
            memory_bytes: 0,
            stack_bytes: 0,
            result_bytes: 0,
            log_bytes: 0,
        };
        let most = Duration::from_millis(SCRIPT_WORKER_START_MILLISECONDS_MAX);
        match tokio::time::timeout(most, process.receive(&nothing)).await {
            Ok(Ok(Report::Ready)) => Ok(process),
            Ok(Ok(Report::Unable(why))) => {
                Err(ProcessError::Start(format!("it can't confine itself: {why}")))
            }
            Ok(Ok(_)) => Err(ProcessError::Unexpected("something else before it was ready")),
            Ok(Err(error)) => Err(ProcessError::Start(error.to_string())),
            Err(_) => Err(ProcessError::Start(format!("it isn't ready after {most:?}"))),
        }
    }

    /// Gives it a run; until [`Self::end_run`] it can't be used for another one.
    pub(crate) async fn begin_run(&mut self, order: &Order) -> Result<(), ProcessError> {
        if !self.is_quiet() {
            return Err(ProcessError::Unexpected("more after its run had ended"));
        }
        self.begun = Some(Instant::now());
        self.runs += 1;
        self.send(order).await
    }

    /// Says that its run is over, as far as the process says.
    pub(crate) fn end_run(&mut self) {
        if let Some(begun) = self.begun.take() {
            self.spent += begun.elapsed();
        }
    }

    /// Whether it can be given another run: none is open, it isn't worn, it is there, and it said
    /// nothing since its last run ended.
    pub(crate) fn is_reusable(&self) -> bool {
        self.begun.is_none()
            && self.runs < SCRIPT_WORKER_RUNS_MAX
            && self.spent < Duration::from_millis(SCRIPT_WORKER_MILLISECONDS_MAX)
            && self.is_quiet()
    }

    /// Whether it is there and has said nothing that wasn't read. The socket itself is asked: the
    /// runtime knows only what it heard of it last.
    fn is_quiet(&self) -> bool {
        let heard = recv(&self.stream, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        self.frames.is_empty() && matches!(heard, Err(Errno::AGAIN))
    }

    pub(crate) async fn send(&mut self, order: &Order) -> Result<(), ProcessError> {
        match self.stream.write_all(&order.encode()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.child.how_it_ended().await),
        }
    }

    /// What it says next. Nothing is lost if this is dropped while it waits.
    pub(crate) async fn receive(&mut self, bounds: &Bounds) -> Result<Report, ProcessError> {
        loop {
            if let Some(frame) = self.frames.take()? {
                return Ok(Report::decode(&frame, bounds)?);
            }
            let bytes = self.stream.read(&mut self.chunk).await.unwrap_or_default();
            if bytes == 0 {
                return Err(self.child.how_it_ended().await);
            }
            self.frames.push(self.chunk.get(..bytes).unwrap_or_default());
        }
    }

    /// Asks it something and waits for its answer, without letting anything else run on this thread;
    /// none if that has no answer in time. The runtime's own view of the socket doesn't matter: both take
    /// what is there, or wait.
    pub(crate) fn ask_blocking(
        &mut self,
        order: &Order,
        bounds: &Bounds,
        until: std::time::Instant,
    ) -> Result<Option<Report>, ProcessError> {
        let frame = order.encode();
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            match send(&self.stream, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if !self.wait_blocking(PollFlags::OUT, until)? {
                        return Ok(None);
                    }
                }
                Err(_) => return Err(self.child.how_it_ended_blocking()),
            }
        }
        loop {
            if let Some(frame) = self.frames.take()? {
                return Ok(Some(Report::decode(&frame, bounds)?));
            }
            if !self.wait_blocking(PollFlags::IN, until)? {
                return Ok(None);
            }
            match recv(&self.stream, self.chunk.as_mut_slice(), RecvFlags::DONTWAIT) {
                Err(Errno::INTR | Errno::AGAIN) => {}
                Ok((bytes, _)) if bytes > 0 => {
                    self.frames.push(self.chunk.get(..bytes).unwrap_or_default());
                }
                Ok(_) | Err(_) => return Err(self.child.how_it_ended_blocking()),
            }
        }
    }

    /// The socket once more: who shuts it down ends [`Self::ask_blocking`].
    pub(crate) fn line(&self) -> Result<OwnedFd, ProcessError> {
        let line = self.stream.as_fd().try_clone_to_owned();
        line.map_err(|error| ProcessError::Start(error.to_string()))
    }

    /// Waits until the socket is ready; false if it isn't in time.
    fn wait_blocking(&self, what: PollFlags, until: std::time::Instant) -> Result<bool, ProcessError> {
        loop {
            let left = until.saturating_duration_since(now());
            if left.is_zero() {
                return Ok(false);
            }
            let left = Timespec::try_from(left).ok();
            match poll(&mut [PollFd::new(&self.stream, what)], left.as_ref()) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(true),
                Err(error) => return Err(ProcessError::Gone(error.to_string())),
            }
        }
    }

    /// Takes a place, which is free again when it leaves it or is gone for sure.
    pub(crate) fn take_place(&mut self, permit: OwnedSemaphorePermit) {
        self.child.permit = Some(permit);
    }

    /// Leaves its place, to wait.
    pub(crate) fn leave_place(&mut self) {
        self.child.permit = None;
    }
}

/// The time by which a thread that blocks bounds its waiting.
#[allow(
    clippy::disallowed_methods,
    reason = "the runtime's time, which may be made to stand still, does not end what blocks outside of it"
)]
pub(super) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

fn spawn(worker: &ScriptWorker, permit: OwnedSemaphorePermit) -> std::io::Result<(KilledOnDrop, Socket)> {
    let (ours, theirs) = Socket::pair()?;
    ours.set_nonblocking(true)?;
    let child = Command::new(&worker.program)
        .args(&worker.arguments)
        .env_clear()
        .envs(worker.environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        // What a terminal sends to stop the server is not for its runs.
        .process_group(0)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let child = KilledOnDrop {
        child: Some(child),
        permit: Some(permit),
    };
    Ok((child, ours))
}

/// A child that doesn't outlive this, nor stays as a zombie.
#[derive(Debug)]
struct KilledOnDrop {
    child: Option<Child>,
    permit: Option<OwnedSemaphorePermit>,
}

impl KilledOnDrop {
    /// Why its socket has ended.
    async fn how_it_ended(&mut self) -> ProcessError {
        for _ in 0..STATUS_ATTEMPTS {
            if let Some(ended) = self.ended() {
                return ended;
            }
            tokio::time::sleep(Duration::from_millis(STATUS_MILLISECONDS)).await;
        }
        ProcessError::Gone("it closed its socket".to_owned())
    }

    /// As [`Self::how_it_ended`], on a thread that may block.
    fn how_it_ended_blocking(&mut self) -> ProcessError {
        for _ in 0..STATUS_ATTEMPTS {
            if let Some(ended) = self.ended() {
                return ended;
            }
            std::thread::sleep(Duration::from_millis(STATUS_MILLISECONDS));
        }
        ProcessError::Gone("it closed its socket".to_owned())
    }

    /// How the process ended, if it did.
    fn ended(&mut self) -> Option<ProcessError> {
        let status = self.child.as_mut()?.try_wait().ok().flatten()?;
        let killed = [Signal::KILL, Signal::TERM].map(|signal| Some(signal.as_raw()));
        Some(if killed.contains(&status.signal()) {
            ProcessError::Killed(status.to_string())
        } else {
            ProcessError::Gone(status.to_string())
        })
    }
}

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        let permit = self.permit.take();
        // It may have ended by itself.
        let _ = child.kill();
        let reap = move || {
            let _ = child.wait();
            drop(permit);
        };
        // A killed process may take a moment to give back its memory.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(reap)),
            Err(_) => reap(),
        }
    }
}
