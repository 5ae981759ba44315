//! Pages of queries that call user-defined functions.

use documents_sql::{Compiled, ExecError};
use ledger::Snapshot;
use scripts::NamedFunction;

use super::metrics::Timings;
use super::page::{Asked, ItemsRequest, Page};
use super::rows::Rows;
use crate::Documents;
use crate::error::DocumentsError;
use crate::scripting::{FunctionCalls, Seat};
use crate::store::Container;
use crate::store::scripts::ScriptKind;

impl Documents {
    /// Runs a page while a process is there that calls the query's functions.
    pub(super) async fn run_page_with_functions(
        &self,
        snapshot: &dyn Snapshot,
        request: &ItemsRequest<'_>,
        asked: &Asked<'_>,
        rows: Rows,
        timings: Timings,
        seat: &mut Seat<'_>,
    ) -> Result<Page, DocumentsError> {
        let functions = self
            .functions_of(snapshot, request.container, asked.compiled)
            .await?;
        let mut own;
        let (place, inside) = match seat {
            Seat::Own => {
                own = self.scripts.place(request.container.number).await?;
                (&mut own, None)
            }
            Seat::Of { place, end } => (&mut **place, Some(*end)),
        };
        let calls = FunctionCalls::load(functions, place, inside).await?;
        let page = self
            .run_page(snapshot, request, asked, rows, timings, Some(calls.clone()))
            .await;
        let steps = calls.end(place).await;
        match page {
            Ok(mut page) => {
                page.counters.function_steps = steps;
                Ok(page)
            }
            Err(DocumentsError::Execution(ExecError::Function)) => {
                Err(calls.failure().unwrap_or(ExecError::Function.into()))
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
