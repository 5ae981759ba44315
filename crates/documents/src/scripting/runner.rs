//! Runs one script on a thread of its own, and what it asks of the collection here.

use std::sync::Arc;
use std::time::Duration;

use scripts::{Bounds, Host, HostError, Input, Outcome, ScriptError, Stop};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::session::Session;
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{
    SCRIPT_CLOSING_MILLISECONDS, SCRIPT_LOG_BYTES_MAX, SCRIPT_MEMORY_BYTES_MAX, SCRIPT_MILLISECONDS_MAX,
    SCRIPT_RESULT_BYTES_MAX, SCRIPT_STACK_BYTES_MAX, SCRIPT_STOPPING_MILLISECONDS_MAX,
    SCRIPT_WAIT_MILLISECONDS_MAX, SCRIPTS_RUNNING_MAX,
};

const BOUNDS: Bounds = Bounds {
    memory_bytes: SCRIPT_MEMORY_BYTES_MAX,
    stack_bytes: SCRIPT_STACK_BYTES_MAX,
    result_bytes: SCRIPT_RESULT_BYTES_MAX,
    log_bytes: SCRIPT_LOG_BYTES_MAX,
};

/// Who may run now.
#[derive(Debug)]
pub(crate) struct Runner(Arc<Semaphore>);

/// A place to run in, for a request and the threads of its runs.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl Default for Runner {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SCRIPTS_RUNNING_MAX)))
    }
}

impl Runner {
    /// A place to run in. It is held by the thread, so a script that doesn't notice that it was
    /// stopped keeps its place, and no number of them takes more than there are.
    pub(crate) async fn place(&self) -> Result<Place, DocumentsError> {
        let wait = Duration::from_millis(SCRIPT_WAIT_MILLISECONDS_MAX);
        match tokio::time::timeout(wait, self.0.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place {
                _permit: Arc::new(permit),
            }),
            _ => Err(DocumentsError::TooManyScripts),
        }
    }
}

/// When a request's scripts must have ended, and when they are told that it is near.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    closing: Instant,
    end: Instant,
}

impl Deadline {
    /// Counts from now on.
    pub(crate) fn begin() -> Self {
        let now = Instant::now();
        Self {
            closing: now + Duration::from_millis(SCRIPT_CLOSING_MILLISECONDS),
            end: now + Duration::from_millis(SCRIPT_MILLISECONDS_MAX),
        }
    }
}

/// Stops a script when nobody waits for it any more.
struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct HostRequest {
    name: String,
    argument: String,
    reply: oneshot::Sender<Result<String, HostError>>,
}

/// The script's end of the line to its request.
struct Line(mpsc::Sender<HostRequest>);

impl Host for Line {
    fn call(&mut self, name: &str, argument: &str) -> Result<String, HostError> {
        let (reply, answer) = oneshot::channel();
        let request = HostRequest {
            name: name.to_owned(),
            argument: argument.to_owned(),
            reply,
        };
        self.0.blocking_send(request).map_err(|_| HostError::Stop)?;
        answer.blocking_recv().unwrap_or(Err(HostError::Stop))
    }
}

/// A script that did well.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) log: String,
}

/// Runs a script to its end; what it writes is staged in the session.
///
/// # Errors
/// 400 with what the script threw; 408 if it took too long; 413 if its result is too large; what ended an operation of it, if that wasn't the script's fault.
pub(crate) async fn run(
    input: Input,
    session: &mut Session<'_>,
    place: &Place,
    deadline: Deadline,
) -> Result<Ended, DocumentsError> {
    let place = place.clone();
    let stop = Stop::default();
    let _stops = StopOnDrop(stop.clone());
    session.stop = stop.clone();
    let (line, mut requests) = mpsc::channel(1);
    let watched = stop.clone();
    let id = input.id.clone();
    let mut thread = tokio::task::spawn_blocking(move || {
        let _place = place;
        scripts::run(&input, &BOUNDS, &watched, Box::new(Line(line)))
    });
    let serve = async {
        let closing = tokio::time::sleep_until(deadline.closing);
        tokio::pin!(closing);
        let mut closed = false;
        loop {
            tokio::select! {
                request = requests.recv() => {
                    let Some(HostRequest { name, argument, reply }) = request else { break };
                    let answer = session.perform(&name, &argument).await;
                    // Nobody waits if the script was stopped meanwhile.
                    let _ = reply.send(answer);
                }
                () = &mut closing, if !closed => {
                    closed = true;
                    stop.close();
                }
            }
        }
    };
    let in_time = tokio::time::timeout_at(deadline.end, serve).await.is_ok();
    // The script's calls fail from now on.
    requests.close();
    if !in_time {
        stop.stop();
    }
    let stopping = Duration::from_millis(SCRIPT_STOPPING_MILLISECONDS_MAX);
    let Ok(ended) = tokio::time::timeout(stopping, &mut thread).await else {
        tracing::warn!(
            script = id,
            "a script doesn't notice that it was stopped; it keeps its thread"
        );
        return Err(DocumentsError::ScriptTimeout);
    };
    let ended =
        ended.map_err(|error| DocumentsError::Damaged(format!("a script's thread ended: {error}")))?;
    session.charge_steps(stop.steps());
    if let Some(error) = session.fatal.take() {
        return Err(error);
    }
    if !in_time {
        return Err(DocumentsError::ScriptTimeout);
    }
    match ended.outcome {
        Ok(outcome) => Ok(Ended {
            outcome,
            log: ended.log,
        }),
        Err(error) => Err(failure(&error, ended.log)),
    }
}

fn failure(error: &ScriptError, log: String) -> DocumentsError {
    match error {
        ScriptError::Stopped => DocumentsError::ScriptTimeout,
        ScriptError::ResultTooLarge { .. } => DocumentsError::TooLarge(error.to_string()),
        ScriptError::Syntax(text) => DocumentsError::Script {
            message: format!("Encountered exception while compiling Javascript. Exception = {text}"),
            number: None,
            log,
        },
        ScriptError::Thrown { number, .. } => DocumentsError::Script {
            message: format!("Encountered exception while executing Javascript. Exception = {error}"),
            number: *number,
            log,
        },
    }
}

/// Whether a text could be a script.
///
/// # Errors
/// 400 with the engine's words; 429 if too many scripts run.
pub(crate) async fn check(documents: &Documents, source: &str) -> Result<(), DocumentsError> {
    let place = documents.scripts.place().await?;
    let stop = Stop::default();
    let _stops = StopOnDrop(stop.clone());
    let (source, watched) = (source.to_owned(), stop.clone());
    let thread = tokio::task::spawn_blocking(move || {
        let _place = place;
        scripts::check(&source, &BOUNDS, &watched)
    });
    let most = Duration::from_millis(SCRIPT_MILLISECONDS_MAX);
    match tokio::time::timeout(most, thread).await {
        Err(_) => Err(DocumentsError::ScriptTimeout),
        Ok(Err(error)) => Err(DocumentsError::Damaged(format!(
            "a script's thread ended: {error}"
        ))),
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(failure(&error, String::new())),
    }
}
