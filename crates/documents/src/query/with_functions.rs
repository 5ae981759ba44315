//! Pages of queries that call user-defined functions.

use std::sync::Arc;

use documents_sql::{Compiled, ExecError};
use ledger::Snapshot;
use scripts::NamedFunction;
use tokio::time::Instant;

use super::metrics::Timings;
use super::page::{Asked, ItemsRequest, Page};
use super::rows::Rows;
use crate::Documents;
use crate::error::DocumentsError;
use crate::scripting::{FunctionCalls, Place, Seat, Workers};
use crate::store::Container;
use crate::store::scripts::ScriptKind;

/// The functions of a page, which are loaded when something is pushed: until then a page takes
/// no place away from others. Dropped, it ends the call that is open.
pub(super) struct PageFunctions<'a> {
    workers: &'a Workers,
    container: u32,
    /// Until they are loaded.
    texts: Option<Vec<NamedFunction>>,
    calls: Arc<FunctionCalls>,
    /// The place that was taken for them.
    own: Option<Place>,
    /// That of the script which asks, until its time is over.
    of: Option<(&'a mut Place, Instant)>,
}

impl PageFunctions<'_> {
    pub(super) fn calls(&self) -> Arc<FunctionCalls> {
        self.calls.clone()
    }

    /// Sees that they can be called.
    pub(super) async fn load(&mut self) -> Result<(), DocumentsError> {
        let Some(texts) = self.texts.take() else {
            return Ok(());
        };
        let (place, inside) = match &mut self.of {
            Some((place, end)) => (&mut **place, Some(*end)),
            None => (self.own.insert(self.workers.place(self.container).await?), None),
        };
        self.calls.load(texts, place, inside).await
    }

    async fn end(&mut self) -> Result<u64, DocumentsError> {
        match (&mut self.of, &mut self.own) {
            (Some((place, _)), _) => self.calls.end(place).await,
            (None, Some(place)) => self.calls.end(place).await,
            (None, None) => Ok(0),
        }
    }
}

impl Drop for PageFunctions<'_> {
    fn drop(&mut self) {
        self.calls.give_up();
    }
}

impl Documents {
    /// Runs a page whose query calls functions.
    pub(super) async fn run_page_with_functions(
        &self,
        snapshot: &dyn Snapshot,
        request: &ItemsRequest<'_>,
        asked: &Asked<'_>,
        rows: Rows,
        timings: Timings,
        seat: &mut Seat<'_>,
    ) -> Result<Page, DocumentsError> {
        // Whether or not there is an item to call them for.
        self.scripts.required()?;
        let texts = self
            .functions_of(snapshot, request.container, asked.compiled)
            .await?;
        let mut functions = PageFunctions {
            workers: &self.scripts,
            container: request.container.number,
            texts: Some(texts),
            calls: Arc::default(),
            own: None,
            of: match seat {
                Seat::Own => None,
                Seat::Of { place, end } => Some((&mut **place, *end)),
            },
        };
        let page = self
            .run_page(snapshot, request, asked, rows, timings, Some(&mut functions))
            .await;
        let steps = functions.end().await;
        match page {
            Ok(mut page) => {
                page.counters.function_steps = steps?;
                if request.measured {
                    page.counters.timings.functions = functions.calls.spent();
                }
                Ok(page)
            }
            Err(DocumentsError::Execution(ExecError::Function)) => {
                Err(functions.calls.failure().unwrap_or(ExecError::Function.into()))
            }
            Err(error) => Err(error),
        }
    }

    /// The texts of the functions that a query calls.
    async fn functions_of(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        compiled: &Compiled,
    ) -> Result<Vec<NamedFunction>, DocumentsError> {
        let mut functions = Vec::with_capacity(compiled.functions().len());
        for named in compiled.functions() {
            let kind = ScriptKind::UserDefinedFunction;
            let found = self.script(snapshot, container, kind, &named.name).await?;
            let script = found.ok_or_else(|| named.unknown())?;
            functions.push(NamedFunction {
                id: script.record.id,
                source: script.record.body,
            });
        }
        Ok(functions)
    }
}
