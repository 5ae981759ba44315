//! User-defined functions that a page of a query calls: loaded into one process for the page, called
//! one message each.
//!
//! Invariant: who calls blocks, so calls come from threads that may, and each ends: with an answer,
//! or with its process when its time is over or nobody waits any more.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use documents_sql::{ExecError, Functions};
use parking_lot::Mutex;
use rustix::net::{Shutdown, shutdown};
use scripts::{ARGUMENT_BYTES_MAX, NamedFunction, Order, Report, ScriptError};
use serde_json::Value;
use tokio::time::Instant;

use super::process::{self, Process, ProcessError};
use super::runner::{BOUNDS, failure, gone, spends_the_process};
use super::workers::Place;
use crate::error::DocumentsError;
use crate::limits::{
    DOCUMENT_DEPTH_MAX, FUNCTION_MILLISECONDS_MAX, FUNCTIONS_MILLISECONDS_MAX, SCRIPT_STEPS_MAX,
};
use crate::rules::json;

// A query that is compiled can be told to a process.
const _: () = assert!(
    documents_sql::limits::FUNCTION_ARGUMENTS_MAX as u64 <= scripts::ARGUMENTS_MAX
        && documents_sql::limits::FUNCTION_MENTIONS_MAX as u64 <= scripts::FUNCTIONS_MAX
);

/// Whose process calls a query's functions.
#[derive(Debug)]
pub(crate) enum Seat<'a> {
    /// One that is taken for the query.
    Own,
    /// That of the script which asks, until its time is over.
    Of { place: &'a mut Place, end: Instant },
}

impl Seat<'_> {
    /// Whether the script's process is gone.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Own => false,
            Self::Of { place, .. } => place.is_empty(),
        }
    }
}

/// The functions of one page.
#[derive(Debug, Default)]
pub(crate) struct FunctionCalls {
    calls: Mutex<Calls>,
    /// The socket of the process, for who gives up while another thread waits there.
    line: Mutex<Option<OwnedFd>>,
    given_up: AtomicBool,
}

#[derive(Debug, Default)]
struct Calls {
    /// The functions' ids, in the order of the query.
    ids: Vec<String>,
    /// Until it is given back or had to be killed.
    process: Option<Process>,
    /// Whether the process is in the run of a script.
    inside: bool,
    spent: Duration,
    end: Option<std::time::Instant>,
    failed: Option<DocumentsError>,
}

impl FunctionCalls {
    /// Loads functions into the process of a place, and keeps it until [`Self::end`]; dropped before,
    /// the process is killed. `inside` is when the script ends in whose run they are called.
    ///
    /// # Errors
    /// 400 with the engine's words for a text that is none; 408; 503.
    pub(crate) async fn load(
        &self,
        functions: Vec<NamedFunction>,
        place: &mut Place,
        inside: Option<Instant>,
    ) -> Result<(), DocumentsError> {
        let ids: Vec<String> = functions.iter().map(|function| function.id.clone()).collect();
        let order = Order::Load {
            functions,
            bounds: BOUNDS,
        };
        let mut process = place.take()?;
        let most = Duration::from_millis(FUNCTION_MILLISECONDS_MAX);
        let loading = async {
            match inside {
                None => process.begin_run(&order).await?,
                Some(_) => process.send(&order).await?,
            }
            match process.receive(&BOUNDS).await? {
                Report::Loaded(found) => Ok((found, process.line()?)),
                _ => Err(ProcessError::Unexpected("an answer to something else")),
            }
        };
        let (found, line) = match tokio::time::timeout(most, loading).await {
            Err(_) => return Err(DocumentsError::FunctionTimeout),
            Ok(Err(error)) => return Err(gone(&ids.join(", "), &error)),
            Ok(Ok(found)) => found,
        };
        *self.line.lock() = Some(line);
        *self.calls.lock() = Calls {
            ids,
            process: Some(process),
            inside: inside.is_some(),
            spent: Duration::ZERO,
            end: inside.map(Instant::into_std),
            failed: None,
        };
        let Err(error) = found else {
            return Ok(());
        };
        if spends_the_process(&error) {
            self.calls.lock().process = None;
        }
        Err(thrown(&error))
    }

    /// Forgets the functions and gives the process back; tells how much they did.
    ///
    /// # Errors
    /// As a call whose process misbehaves, which is thrown away then.
    pub(crate) async fn end(&self, place: &mut Place) -> Result<u64, DocumentsError> {
        *self.line.lock() = None;
        let (process, ids, inside) = {
            let mut calls = self.calls.lock();
            (calls.process.take(), calls.ids.join(", "), calls.inside)
        };
        let Some(mut process) = process else {
            return Ok(0);
        };
        let most = Duration::from_millis(FUNCTION_MILLISECONDS_MAX);
        let forgetting = async {
            process.send(&Order::Forget).await?;
            match process.receive(&BOUNDS).await? {
                Report::Forgotten { steps } => Ok(steps),
                _ => Err(ProcessError::Unexpected("an answer to something else")),
            }
        };
        let steps = match tokio::time::timeout(most, forgetting).await {
            Err(_) => return Err(DocumentsError::FunctionTimeout),
            Ok(Err(error)) => return Err(gone(&ids, &error)),
            Ok(Ok(steps)) => steps,
        };
        if !inside {
            process.end_run();
        }
        place.give_back(process);
        Ok(steps.min(SCRIPT_STEPS_MAX))
    }

    /// Says that nobody waits any more: a call that is open ends now, with its process, and none begins.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
        if let Some(line) = self.line.lock().take() {
            // Its process may have ended by itself.
            let _ = shutdown(&line, Shutdown::Both);
        }
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst)
    }

    /// Why a call failed, if one did.
    pub(crate) fn failure(&self) -> Option<DocumentsError> {
        self.calls.lock().failed.take()
    }

    /// How long calls were waited for.
    pub(crate) fn spent(&self) -> Duration {
        self.calls.lock().spent
    }
}

impl Functions for FunctionCalls {
    fn call(&self, index: usize, arguments: &[Option<&Value>]) -> Result<Option<Value>, ExecError> {
        let mut calls = self.calls.lock();
        calls.call(index, arguments, &self.given_up).map_err(|error| {
            calls.failed = Some(error);
            ExecError::Function
        })
    }
}

impl Calls {
    fn call(
        &mut self,
        index: usize,
        arguments: &[Option<&Value>],
        given_up: &AtomicBool,
    ) -> Result<Option<Value>, DocumentsError> {
        let texts: Vec<Option<String>> = arguments
            .iter()
            .map(|argument| argument.map(Value::to_string))
            .collect();
        let bytes: usize = texts.iter().flatten().map(String::len).sum();
        if bytes > ARGUMENT_BYTES_MAX {
            return Err(DocumentsError::TooLarge(format!(
                "The arguments of the user-defined function have {bytes} bytes, at most {ARGUMENT_BYTES_MAX} are allowed."
            )));
        }
        let order = Order::Apply {
            function: u32::try_from(index).unwrap_or(u32::MAX),
            arguments: texts,
        };
        let begun = process::now();
        let left = Duration::from_millis(FUNCTIONS_MILLISECONDS_MAX).saturating_sub(self.spent);
        let mut until = begun + left.min(Duration::from_millis(FUNCTION_MILLISECONDS_MAX));
        if let Some(end) = self.end {
            until = until.min(end);
        }
        let answered = match &mut self.process {
            None => Err(ProcessError::Gone("it was given up before".to_owned())),
            Some(_) if given_up.load(Ordering::SeqCst) => Ok(None),
            Some(process) => process.ask_blocking(&order, &BOUNDS, until),
        };
        self.spent += process::now().saturating_duration_since(begun);
        let applied = match answered {
            Ok(Some(Report::Applied(applied))) => applied,
            // Nobody hears this, and no script is to blame.
            _ if given_up.load(Ordering::SeqCst) => {
                self.process = None;
                return Err(DocumentsError::FunctionTimeout);
            }
            Ok(Some(_)) => {
                return Err(self.broken(index, &ProcessError::Unexpected("an answer to something else")));
            }
            Ok(None) => {
                self.process = None;
                return Err(DocumentsError::FunctionTimeout);
            }
            Err(error) => return Err(self.broken(index, &error)),
        };
        match applied {
            Ok(None) => Ok(None),
            Ok(Some(text)) => match json::parse(text.as_bytes()) {
                Ok(parsed) => Ok(Some(parsed.value)),
                // The function's own doing, or the process lies about it: the next answer comes in a
                // frame of its own either way.
                Err(_) => Err(DocumentsError::Script {
                    message: format!(
                        "Encountered exception while executing Javascript. Exception = The value that \
                         {} gives can't be part of a document: it is nested deeper than \
                         {DOCUMENT_DEPTH_MAX}, or has a number out of range.",
                        self.id(index)
                    ),
                    number: None,
                    log: String::new(),
                }),
            },
            Err(error) => {
                if spends_the_process(&error) {
                    self.process = None;
                }
                Err(thrown(&error))
            }
        }
    }

    fn broken(&mut self, index: usize, error: &ProcessError) -> DocumentsError {
        self.process = None;
        gone(self.id(index), error)
    }

    fn id(&self, index: usize) -> &str {
        self.ids.get(index).map_or("", String::as_str)
    }
}

/// A function's error. Its number, which a procedure's answer has as substatus, is left away: in answers
/// to queries clients take substatuses of 400 for the protocol's own, and act on them.
fn thrown(error: &ScriptError) -> DocumentsError {
    match failure(error, String::new()) {
        DocumentsError::Script { message, log, .. } => DocumentsError::Script {
            message,
            number: None,
            log,
        },
        other => other,
    }
}
