//! [`Execution`]: documents in, rows out.
//!
//! Order of stages, as in the service: sources, WHERE, then GROUP BY, ORDER BY, DISTINCT,
//! OFFSET, LIMIT or TOP. A query without the middle ones streams: its rows are there after each
//! push. Everything kept between pushes counts against the caller's memory bound.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use crate::aggregate::GroupState;
use crate::compiled::{EvalContext, Functions, OrderMode};
use crate::distinct::DistinctSet;
use crate::error::ExecError;
use crate::eval::{Env, Frame, Runtime, eval};
use crate::program::{Block, Program};
use crate::ranking::{RankedRow, Ranker, Raw};
use crate::rows::{Step, each_row, passes, project};
use crate::sorting::{SortRow, Sorter};
use crate::value::value_bytes;

/// Whether more documents are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Yes.
    Continue,
    /// No: whatever is pushed now changes nothing.
    Done,
}

/// A run of a query. Push documents, finish, take rows; rows of a streaming query may be taken
/// in between.
pub struct Execution {
    program: Arc<Program>,
    /// The query in FROM whose rows are this one's documents.
    inner: Option<Box<Execution>>,
    runtime: Runtime,
    groups: GroupState,
    sorter: Option<Sorter>,
    ranker: Option<Ranker>,
    output: Output,
    /// Counts pushes of documents that came with the same rid, and rows of one document.
    sequence: u64,
    /// Documents of which some row passed WHERE.
    matched: u64,
    finished: bool,
}

impl Execution {
    pub(crate) fn new(
        program: Arc<Program>,
        context: EvalContext,
        memory_bytes_max: usize,
        order: OrderMode,
        functions: Option<Arc<dyn Functions>>,
    ) -> Self {
        let inner = program.inner.as_ref().map(|inner| {
            Box::new(Self::new(
                Arc::clone(inner),
                context,
                memory_bytes_max,
                OrderMode::Sort,
                functions.clone(),
            ))
        });
        let block = &program.block;
        let ordered = order == OrderMode::AlreadyOrdered && program.access.order_by.is_some();
        let ranker = block.ranking.as_ref().map(Ranker::new);
        let sorter = (!block.order.is_empty() && !ordered).then(|| Sorter::new(block));
        let output = Output {
            rows: VecDeque::new(),
            seen: block.distinct.then(DistinctSet::default),
            skip: block.skip,
            take: block.take,
            values: true,
            memory: Memory {
                used_bytes: 0,
                max_bytes: memory_bytes_max,
            },
        };
        Self {
            inner,
            runtime: Runtime::new(context, functions),
            groups: GroupState::default(),
            sorter,
            ranker,
            output,
            sequence: 0,
            matched: 0,
            finished: false,
            program,
        }
    }

    /// Says that no more than so many of the first rows will be taken, so that a sort needn't keep the
    /// others.
    pub fn want_rows(&mut self, rows: u64) {
        // DISTINCT may drop any that are kept.
        if self.output.seen.is_none()
            && let Some(sorter) = &mut self.sorter
        {
            sorter.want(rows.saturating_add(self.output.skip));
        }
    }

    /// Says that the rows' values aren't wanted, only that they come: `next_row` gives null for each. For
    /// queries whose rows are their documents ([`Reads::rows_are_documents`]); those of DISTINCT never are.
    ///
    /// [`Reads::rows_are_documents`]: crate::Reads::rows_are_documents
    pub fn want_no_values(&mut self) {
        self.output.values = self.output.seen.is_some();
    }

    /// Takes in so many documents where their number is all that counts ([`Access::counts_only`]).
    ///
    /// [`Access::counts_only`]: crate::Access::counts_only
    pub fn push_count(&mut self, documents: u64) {
        if let Some(grouping) = self
            .program
            .block
            .grouping
            .as_ref()
            .filter(|_| self.program.access.counts_only)
        {
            self.groups.count(grouping, documents);
        }
    }

    /// Takes in a document. `rid_order` grows with `_rid` and breaks ties of ORDER BY, in the
    /// first column's direction.
    ///
    /// # Errors
    /// See [`ExecError`]; the execution is useless afterwards.
    pub fn push(&mut self, document: &Value, rid_order: u64) -> Result<Flow, ExecError> {
        if self.finished || self.program.access.without_documents || self.is_satisfied() {
            return Ok(Flow::Done);
        }
        if let Some(inner) = &mut self.inner {
            inner.push(document, rid_order)?;
            self.take_inner(rid_order)?;
        } else {
            self.rows_of(document, rid_order)?;
        }
        Ok(if self.is_satisfied() {
            Flow::Done
        } else {
            Flow::Continue
        })
    }

    /// Nothing further can change the rows.
    fn is_satisfied(&self) -> bool {
        // TOP 0 of a sort or of groups needs no documents either.
        self.output.take == Some(0)
    }

    /// Takes in what rows the inner query has ready.
    fn take_inner(&mut self, rid_order: u64) -> Result<(), ExecError> {
        while let Some(row) = self.inner.as_mut().and_then(|inner| inner.next_row()) {
            if self.is_satisfied() {
                break;
            }
            self.rows_of(&row, rid_order)?;
        }
        Ok(())
    }

    fn rows_of(&mut self, document: &Value, rid_order: u64) -> Result<(), ExecError> {
        let Self {
            program,
            runtime,
            groups,
            sorter,
            ranker,
            output,
            sequence,
            matched,
            ..
        } = self;
        let mut has_match = false;
        let block = &program.block;
        runtime.begin_document();
        let root = Env::root(document);
        let mut groups_bytes = None;
        each_row(&block.sources, &root, runtime, &mut |env| {
            let raw = match (ranker.as_mut(), &block.ranking) {
                (Some(ranker), Some(ranking)) => Some(ranker.observe(ranking, env, runtime)?),
                _ => None,
            };
            if !passes(block.filter.as_ref(), env, runtime)? {
                return Ok(Step::More);
            }
            has_match = true;
            if let (Some(ranker), Some(raw)) = (ranker.as_mut(), raw) {
                return rank(block, env, runtime, ranker, output, raw, rid_order);
            }
            if let Some(grouping) = &block.grouping {
                let before = groups_bytes.unwrap_or_else(|| groups.bytes());
                let now = groups.add(grouping, env, runtime)?;
                output.memory.take(now - before)?;
                groups_bytes = Some(now);
                return Ok(Step::More);
            }
            *sequence += 1;
            emit(
                block,
                env,
                runtime,
                sorter.as_mut(),
                output,
                (rid_order, *sequence),
            )
        })?;
        *matched += u64::from(has_match);
        Ok(())
    }

    /// Says that no document follows; groups and sorted rows come out. Again: nothing.
    ///
    /// # Errors
    /// See [`ExecError`].
    pub fn finish(&mut self) -> Result<(), ExecError> {
        if self.finished {
            return Ok(());
        }
        if let Some(inner) = &mut self.inner {
            inner.finish()?;
            self.take_inner(u64::MAX)?;
        } else if self.program.access.without_documents && !self.is_satisfied() {
            self.rows_of(&Value::Null, 0)?;
        }
        self.finished = true;
        let program = Arc::clone(&self.program);
        let block = &program.block;
        if let Some(grouping) = &block.grouping {
            let groups = std::mem::take(&mut self.groups);
            self.output.memory.give_back(groups.bytes());
            self.runtime.begin_document();
            for (keys, aggregates) in groups.finish(grouping) {
                let env = Env {
                    frame: Frame::Group {
                        keys: &keys,
                        aggregates: &aggregates,
                    },
                    outer: None,
                };
                self.sequence += 1;
                let place = (self.sequence, 0);
                if emit(
                    block,
                    &env,
                    &self.runtime,
                    self.sorter.as_mut(),
                    &mut self.output,
                    place,
                )? == Step::Stop
                {
                    break;
                }
            }
        }
        if let Some(mut sorter) = self.sorter.take() {
            self.output.memory.give_back(sorter.forget());
            for row in sorter.finish() {
                self.output.memory.give_back(row.bytes);
                if self.output.push(row.row)? == Step::Stop {
                    break;
                }
            }
        }
        if let (Some(ranker), Some(ranking)) = (self.ranker.take(), &block.ranking) {
            for row in ranker.finish(ranking) {
                self.output.memory.give_back(row.bytes);
                if self.output.push(row.row)? == Step::Stop {
                    break;
                }
            }
        }
        self.output.seen = None;
        Ok(())
    }

    /// The next row, if one is there.
    pub fn next_row(&mut self) -> Option<Value> {
        let row = self.output.rows.pop_front()?;
        self.output.memory.give_back(value_bytes(&row));
        Some(row)
    }

    /// How many of the pushed documents had something that passes WHERE.
    #[must_use]
    pub fn documents_matched(&self) -> u64 {
        self.inner
            .as_ref()
            .map_or(self.matched, |inner| inner.documents_matched())
    }

    /// Bytes that the execution keeps now, as they are estimated.
    #[must_use]
    pub fn bytes_kept(&self) -> usize {
        self.output.memory.used_bytes
    }

    /// How many rows `next_row` would give now.
    #[must_use]
    pub fn rows_ready(&self) -> usize {
        self.output.rows.len()
    }
}

impl fmt::Debug for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution")
            .field("finished", &self.finished)
            .field("rows_ready", &self.rows_ready())
            .field("memory", &self.output.memory)
            .finish_non_exhaustive()
    }
}

/// Projects a row and keeps it until all are known.
fn rank(
    block: &Block,
    env: &Env<'_>,
    runtime: &Runtime,
    ranker: &mut Ranker,
    output: &mut Output,
    raw: Vec<Raw>,
    place: u64,
) -> Result<Step, ExecError> {
    const ROW_BYTES: usize = 128;
    const SCORE_BYTES: usize = 192;
    if let Some(row) = project(&block.projection, env, runtime)? {
        let row = row.into_owned();
        let bytes = ROW_BYTES + SCORE_BYTES * raw.len() + value_bytes(&row);
        output.memory.take(bytes)?;
        ranker.keep(RankedRow {
            raw,
            place,
            row,
            bytes,
        });
    }
    Ok(Step::More)
}

/// Projects a row and hands it to the sort or the output.
fn emit(
    block: &Block,
    env: &Env<'_>,
    runtime: &Runtime,
    sorter: Option<&mut Sorter>,
    output: &mut Output,
    place: (u64, u64),
) -> Result<Step, ExecError> {
    let Some(row) = project(&block.projection, env, runtime)? else {
        return Ok(Step::More);
    };
    let Some(sorter) = sorter else {
        return output.push(if output.values {
            row.into_owned()
        } else {
            Value::Null
        });
    };
    let keys = block
        .order
        .iter()
        .map(|(key, _)| eval(key, env, runtime))
        .collect::<Result<Vec<_>, ExecError>>()?;
    if sorter.is_too_late(&keys, place) {
        return Ok(Step::More);
    }
    const ROW_BYTES: usize = 96;
    let row = row.into_owned();
    let keys: Vec<_> = keys.into_iter().map(|key| key.map(Cow::into_owned)).collect();
    let bytes = ROW_BYTES + value_bytes(&row) + keys.iter().flatten().map(value_bytes).sum::<usize>();
    if output.memory.would_exceed(bytes) {
        output.memory.give_back(sorter.forget());
    }
    output.memory.take(bytes)?;
    let released = sorter.push(SortRow {
        keys,
        place,
        row,
        bytes,
    });
    output.memory.give_back(released);
    Ok(Step::More)
}

/// Bytes in use and allowed.
#[derive(Debug)]
struct Memory {
    used_bytes: usize,
    max_bytes: usize,
}

impl Memory {
    fn take(&mut self, bytes: usize) -> Result<(), ExecError> {
        self.used_bytes = self.used_bytes.saturating_add(bytes);
        if self.used_bytes > self.max_bytes {
            return Err(ExecError::MemoryExceeded {
                max_bytes: self.max_bytes,
            });
        }
        Ok(())
    }

    fn would_exceed(&self, bytes: usize) -> bool {
        self.used_bytes.saturating_add(bytes) > self.max_bytes
    }

    fn give_back(&mut self, bytes: usize) {
        self.used_bytes = self.used_bytes.saturating_sub(bytes);
    }
}

/// The last stages: DISTINCT, OFFSET, LIMIT, and rows waiting to be taken.
struct Output {
    rows: VecDeque<Value>,
    seen: Option<DistinctSet>,
    skip: u64,
    take: Option<u64>,
    /// Whether anybody looks at the rows.
    values: bool,
    memory: Memory,
}

impl Output {
    fn push(&mut self, row: Value) -> Result<Step, ExecError> {
        if self.take == Some(0) {
            return Ok(Step::Stop);
        }
        if let Some(seen) = &mut self.seen {
            match seen.insert(&row) {
                Some(bytes) => self.memory.take(bytes)?,
                None => return Ok(Step::More),
            }
        }
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(Step::More);
        }
        self.memory.take(value_bytes(&row))?;
        self.rows.push_back(row);
        if let Some(take) = &mut self.take {
            *take -= 1;
            if *take == 0 {
                return Ok(Step::Stop);
            }
        }
        Ok(Step::More)
    }
}
