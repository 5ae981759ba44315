//! The processes that run scripts: so many at once, some kept warm.
//!
//! Invariant: a process that has run a container's script runs no other container's: whoever takes
//! one over through the engine meets only what its own container's scripts could do anyway.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::process::{Process, ProcessError, ScriptWorker};
use crate::error::DocumentsError;
use crate::limits::{SCRIPT_WAIT_MILLISECONDS_MAX, SCRIPTS_RUNNING_MAX, SCRIPTS_WARM_MAX};

/// Processes that wait, with the container (by number) that each belongs to; the longest unused first.
type Warm = Arc<Mutex<Vec<(u32, Process)>>>;

/// Who may run now, and where.
#[derive(Debug)]
pub(crate) struct Workers {
    worker: Option<ScriptWorker>,
    places: Arc<Semaphore>,
    warm: Warm,
}

impl Workers {
    pub(crate) fn new(worker: Option<ScriptWorker>) -> Self {
        Self {
            worker,
            places: Arc::new(Semaphore::new(SCRIPTS_RUNNING_MAX)),
            warm: Warm::default(),
        }
    }

    /// Whether scripts are run at all.
    pub(crate) fn are_there(&self) -> bool {
        self.worker.is_some()
    }

    /// Where scripts are run, for requests that need that.
    ///
    /// # Errors
    /// 403 if this server runs none.
    pub(crate) fn required(&self) -> Result<&ScriptWorker, DocumentsError> {
        self.worker.as_ref().ok_or_else(|| {
            DocumentsError::Forbidden(
                "Scripts are not run here: the server's setting run_scripts is off. Do the work in the \
                 client, atomically with a transactional batch."
                    .to_owned(),
            )
        })
    }

    /// A place to run scripts of a container in, one after the other.
    ///
    /// # Errors
    /// 403 if this server runs none; 429 if all places stay taken; 503 if no process can be started.
    pub(crate) async fn place(&self, container: u32) -> Result<Place, DocumentsError> {
        let worker = self.required()?;
        let wait = Duration::from_millis(SCRIPT_WAIT_MILLISECONDS_MAX);
        let Ok(Ok(permit)) = tokio::time::timeout(wait, self.places.clone().acquire_owned()).await else {
            return Err(DocumentsError::TooManyScripts);
        };
        let process = match self.warm(container) {
            Some(mut process) => {
                process.take_place(permit);
                process
            }
            None => Process::start(worker, permit).await.map_err(|error| {
                if let ProcessError::Start(_) = &error {
                    tracing::error!(program = %worker.program.display(), "no process for scripts can be started: {error}");
                } else {
                    tracing::error!("a process for scripts is of no use: {error}");
                }
                DocumentsError::ScriptsUnavailable(error.to_string())
            })?,
        };
        Ok(Place {
            process: Some(process),
            container,
            warm: self.warm.clone(),
        })
    }

    fn warm(&self, container: u32) -> Option<Process> {
        let mut unfit = Vec::new();
        let mut warm = self.warm.lock();
        let found = loop {
            let Some(at) = warm.iter().rposition(|(of, _)| *of == container) else {
                break None;
            };
            let (_, process) = warm.remove(at);
            if process.is_reusable() {
                break Some(process);
            }
            unfit.push(process);
        };
        drop(warm);
        found
    }
}

fn lost() -> DocumentsError {
    DocumentsError::ScriptsUnavailable("its run had failed before".to_owned())
}

/// A process to run scripts of one container in, while this is held. It is kept for the next one if
/// its runs ended well, and is killed otherwise; the place is free when it is gone.
#[derive(Debug)]
pub(crate) struct Place {
    process: Option<Process>,
    container: u32,
    warm: Warm,
}

impl Place {
    /// Its process, unless that was thrown away.
    pub(crate) fn process(&mut self) -> Result<&mut Process, DocumentsError> {
        self.process.as_mut().ok_or_else(lost)
    }

    /// Its process, for whoever gives it back, or kills it by not doing so.
    pub(super) fn take(&mut self) -> Result<Process, DocumentsError> {
        self.process.take().ok_or_else(lost)
    }

    /// Takes its process back.
    pub(super) fn give_back(&mut self, process: Process) {
        self.process = Some(process);
    }

    /// Whether its process was thrown away.
    pub(super) fn is_empty(&self) -> bool {
        self.process.is_none()
    }

    /// Kills its process.
    pub(crate) fn throw_away(&mut self) {
        self.process = None;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take_if(|process| process.is_reusable()) {
            process.leave_place();
            let mut warm = self.warm.lock();
            warm.push((self.container, process));
            let surplus = warm.len().saturating_sub(SCRIPTS_WARM_MAX);
            let surplus: Vec<_> = warm.drain(..surplus).collect();
            drop(warm);
            drop(surplus);
        }
    }
}
