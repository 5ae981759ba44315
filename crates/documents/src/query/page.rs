//! Runs one page of a query.

use std::sync::Arc;
use std::time::Duration;

use documents_sql::{Compiled, EvalContext, Flow, Functions, OrderMode, Query};
use ledger::{Clock, Snapshot};
use serde_json::Value;

use super::candidates::{Next, Source, token_at};
use super::continuation::FeedToken;
use super::metrics::Timings;
use super::opening::open_conditions;
use super::order::IndexOrder;
use super::ordered::Position;
use super::plan::{Scope, finds_unindexed, narrowing};
use super::pushing::Pushing;
use super::rows::Rows;
use super::source::NumberSource;
use super::waiting::Waiting;
use super::with_functions::PageFunctions;
use crate::Documents;
use crate::error::DocumentsError;
use crate::limits::{BLOCKING_QUERY_SECONDS_MAX, PAGE_MILLISECONDS_MAX, QUERY_MEMORY_BYTES_MAX};
use crate::scripting::Seat;
use crate::store::Container;

/// Documents between two chances for other tasks.
const YIELD_EVERY: u64 = 64;

/// What a page is asked of.
#[derive(Debug)]
pub(crate) struct ItemsRequest<'a> {
    pub(crate) container: &'a Container,
    pub(crate) scope: Scope,
    pub(crate) items_max: usize,
    pub(crate) continuation: Option<&'a str>,
    /// Refuse an ORDER BY that the service wouldn't serve.
    pub(crate) orders_as_the_service: bool,
    /// Keep times.
    pub(crate) measured: bool,
    /// The snapshot has writes that aren't committed.
    pub(crate) staged: bool,
}

/// What a page cost, for the request charge.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    pub(crate) items_loaded: u64,
    pub(crate) bytes_loaded: u64,
    pub(crate) index_keys: u64,
    /// Documents that passed the filter.
    pub(crate) items_matched: u64,
    /// Documents that were counted by their keys, unread.
    pub(super) items_counted: u64,
    /// The conjuncts of the query's access that an index narrowed with.
    pub(crate) conjuncts_used: Vec<usize>,
    /// The composite indexes, by their places in the container's, that narrowed or gave the order.
    pub(crate) composites_used: Vec<usize>,
    /// Whether the index of the ORDER BY path gave the order.
    pub(crate) ordered_by_path: bool,
    /// Calls and loops of user-defined functions.
    pub(crate) function_steps: u64,
    pub(super) timings: Timings,
    started: Duration,
}

impl Counters {
    pub(super) fn begun(clock: &dyn Clock) -> Self {
        Self {
            started: clock.monotonic(),
            ..Self::default()
        }
    }

    pub(super) fn loaded(&mut self, bytes: usize) {
        self.items_loaded += 1;
        self.bytes_loaded += bytes as u64;
    }

    pub(super) fn is_over_time(&self, clock: &dyn Clock) -> bool {
        self.age(clock) > Duration::from_millis(PAGE_MILLISECONDS_MAX)
    }

    pub(super) fn age(&self, clock: &dyn Clock) -> Duration {
        clock.monotonic().saturating_sub(self.started)
    }
}

/// A page.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) rows: Rows,
    pub(crate) continuation: Option<String>,
    pub(crate) counters: Counters,
    /// The query; `None` of a feed.
    pub(crate) compiled: Option<Compiled>,
}

/// A query, compiled.
pub(super) struct Asked<'a> {
    pub(super) compiled: &'a Compiled,
    query: &'a Query,
    /// Ties tokens to it.
    hash: u64,
}

/// Why no further item is pushed.
enum Ended {
    Whole,
    /// Another page goes on there.
    Paused(FeedToken),
}

impl Documents {
    /// Runs one page of a query. `seat` is where its functions are called, if it calls any.
    pub(crate) async fn query_items(
        &self,
        snapshot: &dyn Snapshot,
        request: &ItemsRequest<'_>,
        sql: &str,
        parameters: &[(String, Value)],
        rows: Rows,
        seat: &mut Seat<'_>,
    ) -> Result<Page, DocumentsError> {
        let mut timings = Timings::new(&self.clock, request.measured);
        let begun = timings.now();
        let query = self.queries.parse(sql)?;
        let compiled = Compiled::compile_for(&query, parameters, &request.container.schema)?;
        timings.compile = timings.since(begun);
        let asked = Asked {
            compiled: &compiled,
            query: &query,
            hash: request_hash(request, sql, parameters),
        };
        let mut page = if compiled.functions().is_empty() {
            self.run_page(snapshot, request, &asked, rows, timings, None)
                .await?
        } else {
            self.run_page_with_functions(snapshot, request, &asked, rows, timings, seat)
                .await?
        };
        page.counters.timings.total = page.counters.timings.since(begun);
        Ok(page)
    }

    pub(super) async fn run_page(
        &self,
        snapshot: &dyn Snapshot,
        request: &ItemsRequest<'_>,
        asked: &Asked<'_>,
        rows: Rows,
        timings: Timings,
        functions: Option<&mut PageFunctions<'_>>,
    ) -> Result<Page, DocumentsError> {
        let Asked {
            compiled,
            query,
            hash,
        } = *asked;
        let token = request
            .continuation
            .map(|text| FeedToken::decode(text, hash))
            .transpose()?;
        let access = compiled.access();
        let container = request.container;
        if request.orders_as_the_service {
            container.order_rules.check(&container.policy, query, access)?;
        }
        let begun = timings.now();
        let mut counters = Counters::begun(self.clock.as_ref());
        counters.timings = timings;
        let narrowing = narrowing(container, &request.scope, access);

        let finds_unindexed = finds_unindexed(container, access);
        let index_order = match (IndexOrder::choose(container, access, token.as_ref()), &token) {
            (Some(order), Some(FeedToken::Ordered { .. } | FeedToken::Restart { ordered: true, .. })) => {
                Some(order)
            }
            (Some(order), None)
                if !narrowing.nothing
                    && self
                        .prefers_index_order(snapshot, container, &narrowing, &order, &mut counters)
                        .await? =>
            {
                Some(order)
            }
            _ => None,
        };
        let ordered = index_order.is_some();
        // TOP, OFFSET and DISTINCT count from the first row on, so a later page starts over.
        let counted = query.distinct || query.top.is_some() || query.offset_limit.is_some();
        let resumable = !counted && (access.streaming || ordered);

        let (mut skip, mut resume_number, mut resume_from, mut resume_position) = (0, None, 0, None);
        match token {
            None => {}
            Some(FeedToken::ByNumber { number, rows }) if resumable && !ordered => {
                (skip, resume_number, resume_from) = (u64::from(rows), Some(number), number);
            }
            Some(FeedToken::Ordered {
                composite,
                undefined,
                position,
                entries,
                number,
                rows,
            }) if resumable && ordered => {
                (skip, resume_number) = (u64::from(rows), Some(number));
                resume_position = Some(Position {
                    composite,
                    undefined,
                    bytes: position,
                    entries,
                    number,
                });
            }
            Some(FeedToken::Restart { rows, .. }) if !resumable => skip = rows,
            Some(_) => {
                return Err(DocumentsError::bad_request(
                    "Invalid Continuation Token: it is of another kind.",
                ));
            }
        }

        // Rows that are whole documents, and come out as these go in, are answered as stored.
        let rows_are_stored = compiled.reads().rows_are_documents && (access.streaming || ordered);
        let properties = properties_read(compiled, rows_are_stored, request);
        // The row behind the page tells that there is more.
        let wanted = (request.items_max as u64).saturating_add(skip).saturating_add(1);
        let mut walk = None;
        if let Some(order) = &index_order {
            order.note(&narrowing, &mut counters);
            let beside = order.beside(snapshot, &narrowing, &mut counters).await?;
            let memory = (!request.staged).then_some(&self.lacking);
            let source = order.source(
                (container, &request.scope),
                access,
                &narrowing,
                (resume_position.as_ref(), wanted),
                (memory, snapshot.sequence()),
            );
            walk = source.map(|source| source.meeting(beside).reading(properties.as_deref()));
        }
        let count = self
            .count_of_keys(snapshot, request, access, &mut counters)
            .await?;
        let mut source = match walk {
            Some(walk) => Source::Ordered(Box::new(walk)),
            None if narrowing.nothing || access.without_documents || count.is_some() => {
                Source::ByNumber(NumberSource::empty(container))
            }
            None => {
                let conditions = open_conditions(snapshot, &narrowing, &mut counters).await?;
                Source::ByNumber(NumberSource::new(container, conditions, resume_from, wanted))
            }
        };
        counters.timings.plan = counters
            .timings
            .since(begun)
            .saturating_sub(counters.timings.index);

        let now = self.clock.now();
        let context = EvalContext {
            now,
            random_seed: self.random.u64(),
        };
        let mode = if ordered {
            OrderMode::AlreadyOrdered
        } else {
            OrderMode::Sort
        };
        let calls = functions
            .as_ref()
            .map(|functions| functions.calls() as Arc<dyn Functions>);
        let mut execution = compiled.execution_with(context, QUERY_MEMORY_BYTES_MAX, mode, calls);
        if let Some(count) = count {
            execution.push_count(count);
        }
        execution.want_rows(wanted);
        if rows_are_stored {
            execution.want_no_values();
        }
        let mut execution = Pushing::new(
            execution,
            functions,
            access.without_documents || !(access.streaming || ordered),
        );
        let mut page = Page {
            rows,
            continuation: None,
            counters,
            compiled: Some(compiled.clone()),
        };
        let mut looked_at = 0u64;
        let mut pushed_any = false;
        let mut skipped_before_page = skip;
        let mut waiting = Waiting::new(execution.items_at_once(page.rows.missing(request.items_max)));
        let mut pushed = Vec::new();
        loop {
            let mut ended = None;
            while ended.is_none() && waiting.wants_more(self.clock.as_ref()) {
                let begun = page.counters.timings.now();
                let index_before = page.counters.timings.index;
                let next = source.next(
                    snapshot,
                    &mut page.counters,
                    self.clock.as_ref(),
                    properties.as_deref(),
                );
                let next = next.await?;
                let timings = &mut page.counters.timings;
                timings.load += timings
                    .since(begun)
                    .saturating_sub(timings.index.saturating_sub(index_before));
                let candidate = match next {
                    Next::Candidate(candidate) => candidate,
                    // Rows that are counted from the first one on can't go on there.
                    Next::Pause(_)
                        if !resumable
                            && page.counters.age(self.clock.as_ref())
                                <= Duration::from_secs(BLOCKING_QUERY_SECONDS_MAX) =>
                    {
                        continue;
                    }
                    Next::Pause(position) => {
                        // Where nothing was looked at, the item is the one that the last page ended
                        // in, and its rows of then are still to be left away.
                        let began_there = looked_at == 0 && resume_number == Some(position.number);
                        let rows = if began_there { skip } else { 0 };
                        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
                        ended = Some(Ended::Paused(token_at(Some(&position), position.number, rows)));
                        continue;
                    }
                    Next::End => {
                        ended = Some(Ended::Whole);
                        continue;
                    }
                };
                if resumable {
                    // However late it is, each page gets past its first item: its client would
                    // otherwise come back to it for ever.
                    if looked_at > 0 && page.counters.is_over_time(self.clock.as_ref()) {
                        let token = token_at(candidate.position.as_ref(), candidate.number, 0);
                        ended = Some(Ended::Paused(token));
                        continue;
                    }
                } else if page.counters.age(self.clock.as_ref())
                    > Duration::from_secs(BLOCKING_QUERY_SECONDS_MAX)
                {
                    return Err(DocumentsError::QueryTimeout(BLOCKING_QUERY_SECONDS_MAX));
                }
                looked_at += 1;
                if looked_at.is_multiple_of(YIELD_EVERY) {
                    tokio::task::yield_now().await;
                }
                let is_asked_for = (finds_unindexed || candidate.record.indexed)
                    && !candidate
                        .record
                        .is_expired(container.default_ttl, now.as_second())
                    && request.scope.admits(container, &candidate.document)?;
                if is_asked_for {
                    waiting.add(candidate, self.clock.as_ref());
                }
            }
            while let Some(first) = waiting.first() {
                // Some have waited while functions were called. That none of them is the one at which
                // the last page ended is sure once some were pushed.
                if resumable
                    && pushed_any
                    && execution.may_take_long()
                    && page.counters.is_over_time(self.clock.as_ref())
                {
                    let token = token_at(first.position.as_ref(), first.number, 0);
                    page.continuation = Some(token.encode(hash));
                    return Ok(page);
                }
                let begun = page.counters.timings.now();
                let rows_wanted = page.rows.missing(request.items_max).saturating_add(1);
                let flow = execution.push(&mut waiting, rows_wanted, &mut pushed).await?;
                pushed_any = true;
                page.counters.timings.run += page.counters.timings.since(begun);
                page.counters.items_matched = execution.items_matched();
                let begun = page.counters.timings.now();
                for (candidate, rows) in pushed.drain(..) {
                    // The rows to leave away are those of the item at which the last page ended.
                    if resumable && resume_number != Some(candidate.number) {
                        skipped_before_page = 0;
                    }
                    let mut rows_of_item = 0u32;
                    for _ in 0..rows {
                        let Some(row) = execution.next_row() else {
                            break;
                        };
                        if skipped_before_page > 0 {
                            skipped_before_page -= 1;
                            rows_of_item += 1;
                            continue;
                        }
                        if page.rows.is_full(request.items_max) {
                            let token = if resumable {
                                token_at(candidate.position.as_ref(), candidate.number, rows_of_item)
                            } else {
                                FeedToken::Restart {
                                    rows: skip + page.rows.count() as u64,
                                    ordered,
                                }
                            };
                            page.continuation = Some(token.encode(hash));
                            return Ok(page);
                        }
                        if rows_are_stored {
                            page.rows.add_stored(&candidate.record)?;
                        } else {
                            page.rows.add(row)?;
                        }
                        rows_of_item += 1;
                    }
                }
                page.counters.timings.write += page.counters.timings.since(begun);
                if flow == Flow::Done {
                    ended = Some(Ended::Whole);
                    waiting.clear();
                }
            }
            match ended {
                None => {}
                Some(Ended::Whole) => break,
                Some(Ended::Paused(token)) if resumable => {
                    page.continuation = Some(token.encode(hash));
                    return Ok(page);
                }
                Some(Ended::Paused(_)) => {
                    return Err(DocumentsError::QueryTimeout(PAGE_MILLISECONDS_MAX / 1_000));
                }
            }
        }
        let begun = page.counters.timings.now();
        execution.finish().await?;
        page.counters.timings.run += page.counters.timings.since(begun);
        let begun = page.counters.timings.now();
        while let Some(row) = execution.next_row() {
            if skipped_before_page > 0 {
                skipped_before_page -= 1;
                continue;
            }
            if page.rows.is_full(request.items_max) {
                let token = FeedToken::Restart {
                    rows: skip + page.rows.count() as u64,
                    ordered,
                };
                page.continuation = Some(token.encode(hash));
                return Ok(page);
            }
            page.rows.add(row)?;
        }
        page.counters.timings.write += page.counters.timings.since(begun);
        Ok(page)
    }
}

/// The properties that must be read of each document; `None` means all.
fn properties_read(
    compiled: &Compiled,
    rows_are_stored: bool,
    request: &ItemsRequest<'_>,
) -> Option<Vec<String>> {
    let reads = compiled.reads();
    if reads.rows_are_documents && !rows_are_stored {
        return None;
    }
    let mut properties = reads.properties.clone()?;
    if request.scope != Scope::Whole {
        let paths = &request.container.partition_key.paths;
        properties.extend(paths.iter().filter_map(|path| path.first().cloned()));
    }
    Some(properties)
}

pub(super) fn request_hash(request: &ItemsRequest<'_>, sql: &str, parameters: &[(String, Value)]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    field(request.container.rid.as_bytes());
    field(sql.as_bytes());
    for (name, value) in parameters {
        field(name.as_bytes());
        field(value.to_string().as_bytes());
    }
    match &request.scope {
        Scope::Whole => field(b""),
        Scope::Key(key) | Scope::Prefix(key) => field(key.to_json().to_string().as_bytes()),
        Scope::Effective(start, end) => {
            field(start);
            field(end);
        }
    }
    let hash = hasher.finalize();
    hash.as_bytes()
        .first_chunk::<8>()
        .map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
