//! Runs one script in a process of its own, and what it asks of the collection here.

use std::time::Duration;

use scripts::{Bounds, HostError, Input, Order, Outcome, Report, ScriptError};
use tokio::time::Instant;

use super::functions::Seat;
use super::process::ProcessError;
use super::session::Session;
use super::workers::Place;
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{
    SCRIPT_CLOSING_MILLISECONDS, SCRIPT_LOG_BYTES_MAX, SCRIPT_MEMORY_BYTES_MAX, SCRIPT_MILLISECONDS_MAX,
    SCRIPT_RESULT_BYTES_MAX, SCRIPT_STACK_BYTES_MAX, SCRIPT_STEPS_MAX,
};
use crate::store::Container;

pub(super) const BOUNDS: Bounds = Bounds {
    memory_bytes: SCRIPT_MEMORY_BYTES_MAX,
    stack_bytes: SCRIPT_STACK_BYTES_MAX,
    result_bytes: SCRIPT_RESULT_BYTES_MAX,
    log_bytes: SCRIPT_LOG_BYTES_MAX,
};

/// When a request's scripts must have ended, and when they are told that it is near.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    closing: Instant,
    end: Instant,
}

impl Deadline {
    /// Counts from now on.
    fn begin() -> Self {
        let now = Instant::now();
        Self {
            closing: now + Duration::from_millis(SCRIPT_CLOSING_MILLISECONDS),
            end: now + Duration::from_millis(SCRIPT_MILLISECONDS_MAX),
        }
    }
}

/// A request's turn at running scripts, however often it has to run them.
pub(crate) struct Turn {
    place: Place,
    deadline: Deadline,
}

impl Turn {
    /// Waits for a place, which takes nothing of the time that the scripts have.
    ///
    /// # Errors
    /// 403 if this server runs none; 429 if all places stay taken; 503 if no process can be started.
    pub(crate) async fn wait(documents: &Documents, container: &Container) -> Result<Self, DocumentsError> {
        let place = documents.scripts.place(container.number).await?;
        let deadline = Deadline::begin();
        Ok(Self { place, deadline })
    }
}

/// A script that did well.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Outcome,
    pub(crate) log: String,
}

/// Runs a script to its end; what it writes is staged in the session. If this is dropped before, so is
/// the place, and the script is killed with it. One that would begin when operations are not accepted any
/// more isn't run: it would miss all it asks for, and what it stands by would be written without that.
///
/// # Errors
/// 400 with what the script threw; 408 if it took too long; 413 if its result is too large; 503 if its process
/// was ended from outside; what ended an operation of it, if that wasn't the script's fault.
pub(crate) async fn run(
    input: Input,
    session: &mut Session<'_>,
    turn: &mut Turn,
) -> Result<Ended, DocumentsError> {
    let Turn { place, deadline } = turn;
    let deadline = *deadline;
    if Instant::now() >= deadline.closing {
        return Err(DocumentsError::ScriptTimeout);
    }
    let id = input.id.clone();
    let order = Order::Run {
        input: Box::new(input),
        bounds: BOUNDS,
    };
    let ended = tokio::time::timeout_at(deadline.end, drive(&order, session, place, deadline)).await;
    let (outcome, log, steps) = match ended {
        Ok(Ok(ended)) => ended,
        Ok(Err(broken)) => {
            place.throw_away();
            return Err(match broken {
                Broken::Operation(error) => error,
                Broken::Process(error) => gone(&id, &error),
            });
        }
        Err(_) => {
            place.throw_away();
            return Err(DocumentsError::ScriptTimeout);
        }
    };
    if outcome.as_ref().is_err_and(spends_the_process) {
        place.throw_away();
    }
    session.charge_steps(steps.min(SCRIPT_STEPS_MAX));
    match outcome {
        Ok(outcome) => Ok(Ended { outcome, log }),
        Err(error) => Err(failure(&error, log)),
    }
}

/// What ended a run before its script did.
enum Broken {
    /// An operation, not by the script's fault.
    Operation(DocumentsError),
    Process(ProcessError),
}

impl From<ProcessError> for Broken {
    fn from(error: ProcessError) -> Self {
        Self::Process(error)
    }
}

/// Answers what the script asks until it has ended.
async fn drive(
    order: &Order,
    session: &mut Session<'_>,
    place: &mut Place,
    deadline: Deadline,
) -> Result<(Result<Outcome, ScriptError>, String, u64), Broken> {
    let process = place.process().map_err(Broken::Operation)?;
    process.begin_run(order).await?;
    let closing = tokio::time::sleep_until(deadline.closing);
    tokio::pin!(closing);
    let mut closed = false;
    loop {
        let process = place.process().map_err(Broken::Operation)?;
        let report = tokio::select! {
            report = process.receive(&BOUNDS) => report?,
            () = &mut closing, if !closed => {
                closed = true;
                process.send(&Order::Close).await?;
                continue;
            }
        };
        match report {
            Report::Call { name, argument } => {
                let seat = Seat::Of {
                    place,
                    end: deadline.end,
                };
                let answer = match session.perform(&name, &argument, seat).await {
                    Ok(reply) => Order::Reply(reply),
                    Err(HostError::Refused { number, body }) => Order::Refusal { number, body },
                    Err(HostError::Stop) => {
                        let stopped =
                            || DocumentsError::Damaged("an operation ended without a cause".to_owned());
                        return Err(Broken::Operation(session.fatal.take().unwrap_or_else(stopped)));
                    }
                };
                let process = place.process().map_err(Broken::Operation)?;
                if session.is_full() && !closed {
                    closed = true;
                    process.send(&Order::Close).await?;
                }
                process.send(&answer).await?;
            }
            Report::Ended { outcome, log, steps } => {
                process.end_run();
                return Ok((outcome, log, steps));
            }
            Report::Ready
            | Report::Unable(_)
            | Report::Checked(_)
            | Report::Loaded(_)
            | Report::Applied(_)
            | Report::Forgotten { .. } => {
                return Err(ProcessError::Unexpected("an answer to nothing").into());
            }
        }
    }
}

/// Whether the process could be short of something for the next run.
pub(super) fn spends_the_process(error: &ScriptError) -> bool {
    matches!(error, ScriptError::Stopped) || error.is_out_of_memory()
}

/// A process that ended in a run did so because of the script, whatever it was: the server's user is told
/// so, and not to try again; unless it was ended from outside.
pub(super) fn gone(id: &str, error: &ProcessError) -> DocumentsError {
    tracing::warn!(script = id, "the process of a script was thrown away: {error}");
    if let ProcessError::Killed(_) = error {
        return DocumentsError::ScriptsUnavailable(error.to_string());
    }
    DocumentsError::Script {
        message: format!(
            "Encountered exception while executing Javascript. Exception = The script's process had to be \
             given up: {error}. The script asks for more than a run may use."
        ),
        number: None,
        log: String::new(),
    }
}

pub(super) fn failure(error: &ScriptError, log: String) -> DocumentsError {
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

/// Whether a text could be a script of a container; where none is run, any could.
///
/// # Errors
/// 400 with the engine's words; 429 if too many scripts run.
pub(crate) async fn check(documents: &Documents, container: u32, source: &str) -> Result<(), DocumentsError> {
    if !documents.scripts.are_there() {
        return Ok(());
    }
    let mut place = documents.scripts.place(container).await?;
    let order = Order::Check {
        source: source.to_owned(),
        bounds: BOUNDS,
    };
    let most = Duration::from_millis(SCRIPT_MILLISECONDS_MAX);
    let checked = tokio::time::timeout(most, async {
        let process = place.process().map_err(Broken::Operation)?;
        process.begin_run(&order).await?;
        match process.receive(&BOUNDS).await? {
            Report::Checked(found) => {
                process.end_run();
                Ok(found)
            }
            _ => Err(Broken::Process(ProcessError::Unexpected(
                "an answer to something else",
            ))),
        }
    });
    match checked.await {
        // The place's process is killed with it, for its run is open.
        Err(_) => Err(DocumentsError::ScriptTimeout),
        Ok(Err(Broken::Operation(error))) => Err(error),
        Ok(Err(Broken::Process(error))) => Err(gone("that is checked", &error)),
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => {
            if spends_the_process(&error) {
                place.throw_away();
            }
            Err(failure(&error, String::new()))
        }
    }
}
