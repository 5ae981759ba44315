//! Pushes items into a run of a query: here, or, where the query calls functions that may block, on
//! a thread that may wait for them.

use std::time::Duration;

use documents_sql::{Execution, Flow};
use serde_json::Value;
use tokio::time::Instant;

use super::candidates::Candidate;
use super::waiting::Waiting;
use super::with_functions::PageFunctions;
use crate::error::DocumentsError;
use crate::limits::{FUNCTION_BATCH_ITEMS, FUNCTION_BATCH_MILLISECONDS, FUNCTION_BATCH_ROW_BYTES_MAX};
use crate::scripting::FunctionCalls;

/// A run, and who calls its functions.
pub(super) struct Pushing<'a, 'b> {
    /// Away while a thread has it.
    execution: Option<Execution>,
    functions: Option<&'a mut PageFunctions<'b>>,
    /// Whether rows come, and so functions may be called, once no item follows.
    rows_at_end: bool,
}

/// An item that was pushed, with how many of the rows that are ready came with it.
pub(super) type Pushed = (Candidate, usize);

impl<'a, 'b> Pushing<'a, 'b> {
    pub(super) fn new(
        execution: Execution,
        functions: Option<&'a mut PageFunctions<'b>>,
        rows_at_end: bool,
    ) -> Self {
        Self {
            execution: Some(execution),
            functions,
            rows_at_end,
        }
    }

    /// How many items are worth waiting for before the first are pushed, where so many rows are
    /// missing: changing threads costs more than a row, and what isn't needed is charged as well.
    pub(super) fn items_at_once(&self, rows_missing: usize) -> usize {
        if self.functions.is_some() {
            rows_missing.saturating_add(1).clamp(2, FUNCTION_BATCH_ITEMS)
        } else {
            1
        }
    }

    /// Whether much time may pass while some items are pushed.
    pub(super) fn may_take_long(&self) -> bool {
        self.functions.is_some()
    }

    /// Pushes items from the front, one at least, and not more than give `rows_wanted` rows; adds them
    /// to `pushed`.
    pub(super) async fn push(
        &mut self,
        waiting: &mut Waiting,
        rows_wanted: usize,
        pushed: &mut Vec<Pushed>,
    ) -> Result<Flow, DocumentsError> {
        let Some(functions) = &mut self.functions else {
            return push_here(self.here()?, waiting, rows_wanted, pushed, None);
        };
        functions.load().await?;
        let calls = functions.calls();
        let mut mine = std::mem::replace(waiting, Waiting::new(1));
        let mut done = std::mem::take(pushed);
        let (flow, rest, done) = self
            .elsewhere(move |execution| {
                let flow = push_here(execution, &mut mine, rows_wanted, &mut done, Some(&calls));
                (flow, mine, done)
            })
            .await?;
        (*waiting, *pushed) = (rest, done);
        waiting.grow();
        flow
    }

    /// Says that no item follows.
    pub(super) async fn finish(&mut self) -> Result<(), DocumentsError> {
        match &mut self.functions {
            Some(functions) if self.rows_at_end => functions.load().await?,
            _ => return Ok(self.here()?.finish()?),
        }
        Ok(self.elsewhere(Execution::finish).await??)
    }

    /// The next row, if one is ready.
    pub(super) fn next_row(&mut self) -> Option<Value> {
        self.execution.as_mut()?.next_row()
    }

    /// How many of the pushed items had something that passes WHERE.
    pub(super) fn items_matched(&self) -> u64 {
        self.execution.as_ref().map_or(0, Execution::documents_matched)
    }

    fn here(&mut self) -> Result<&mut Execution, DocumentsError> {
        self.execution.as_mut().ok_or_else(lost)
    }

    /// Does something with the run where blocking is allowed. Dropped before it is done, the run is
    /// lost; who holds the functions gives their calls up then.
    async fn elsewhere<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Execution) -> T + Send + 'static,
    ) -> Result<T, DocumentsError> {
        let mut execution = self.execution.take().ok_or_else(lost)?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&mut execution);
            (execution, done)
        });
        let (execution, done) = done.await.map_err(|_| lost())?;
        self.execution = Some(execution);
        Ok(done)
    }
}

fn lost() -> DocumentsError {
    DocumentsError::Damaged("a query's run was lost".to_owned())
}

fn push_here(
    execution: &mut Execution,
    waiting: &mut Waiting,
    rows_wanted: usize,
    pushed: &mut Vec<Pushed>,
    calls: Option<&FunctionCalls>,
) -> Result<Flow, DocumentsError> {
    // Nothing needs a clock as long as there is only one.
    let until =
        (!waiting.is_one()).then(|| Instant::now() + Duration::from_millis(FUNCTION_BATCH_MILLISECONDS));
    let mut flow = Flow::Continue;
    while let Some(candidate) = waiting.take_first() {
        let before = execution.rows_ready();
        flow = execution.push(&candidate.document, candidate.number)?;
        let ready = execution.rows_ready();
        pushed.push((candidate, ready.saturating_sub(before)));
        let enough = flow == Flow::Done
            || ready >= rows_wanted
            || ready > 0 && execution.bytes_kept() > FUNCTION_BATCH_ROW_BYTES_MAX
            || until.is_some_and(|until| Instant::now() >= until)
            || calls.is_some_and(FunctionCalls::is_given_up);
        if enough {
            break;
        }
    }
    Ok(flow)
}
