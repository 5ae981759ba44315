//! What a page of a query took and what of the index it used, for clients that ask.

use std::collections::HashSet;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use documents_sql::{Access, CompareOp, Path, PathStep, Predicate};
use ledger::Clock;
use serde_json::{Value, json};

use super::composite::{self, Bound};
use super::page::Counters;
use crate::rules::index_columns::IndexColumns;
use crate::rules::index_terms::path_included;
use crate::store::Container;

/// Times of a page; all zero unless they were asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Timings {
    watch: Option<Arc<dyn Clock>>,
    /// Reading and compiling the text.
    pub(super) compile: Duration,
    /// Choosing conditions and order.
    pub(super) plan: Duration,
    /// Seeking in the index.
    pub(super) index: Duration,
    /// Reading items and their text.
    pub(super) load: Duration,
    /// Evaluating the query.
    pub(super) run: Duration,
    /// Waiting for user-defined functions, as part of evaluating.
    pub(super) functions: Duration,
    /// Writing rows.
    pub(super) write: Duration,
    pub(super) total: Duration,
}

impl Timings {
    pub(super) fn new(clock: &Arc<dyn Clock>, measured: bool) -> Self {
        Self {
            watch: measured.then(|| clock.clone()),
            ..Self::default()
        }
    }

    /// Now, if times are kept at all.
    pub(super) fn now(&self) -> Duration {
        self.watch
            .as_ref()
            .map_or(Duration::ZERO, |watch| watch.monotonic())
    }

    /// What has passed since `begun`.
    pub(super) fn since(&self, begun: Duration) -> Duration {
        self.now().saturating_sub(begun)
    }
}

/// The header `x-ms-documentdb-query-metrics`.
///
/// A COUNT that keys answer shows no retrieved document, as the service's does. Retrieved are the documents that
/// had to be loaded, and most aggregates come from the index alone ("Troubleshoot query issues when using Azure
/// Cosmos DB"). Issue 3503 of the client for .NET shows the service's figures for such a COUNT: none retrieved,
/// one in the output, an index utilization of 100 %.
pub(crate) fn query_metrics(counters: &Counters, rows: usize, rows_bytes: usize) -> String {
    let timings = &counters.timings;
    let milliseconds = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1_000.0);
    let matched = counters.items_matched + counters.items_counted;
    let met = counters.items_loaded + counters.items_counted;
    #[allow(clippy::cast_precision_loss, reason = "counts of documents")]
    let ratio = if met == 0 {
        0.0
    } else {
        matched as f64 / met as f64
    };
    let fields = [
        ("totalExecutionTimeInMs", milliseconds(timings.total)),
        ("queryCompileTimeInMs", milliseconds(timings.compile)),
        ("queryLogicalPlanBuildTimeInMs", milliseconds(Duration::ZERO)),
        ("queryPhysicalPlanBuildTimeInMs", milliseconds(timings.plan)),
        ("queryOptimizationTimeInMs", milliseconds(Duration::ZERO)),
        ("VMExecutionTimeInMs", milliseconds(timings.run)),
        ("indexLookupTimeInMs", milliseconds(timings.index)),
        ("instructionCount", counters.items_loaded.to_string()),
        ("documentLoadTimeInMs", milliseconds(timings.load)),
        // The language's functions aren't timed apart from what calls them.
        ("systemFunctionExecuteTimeInMs", milliseconds(Duration::ZERO)),
        ("userFunctionExecuteTimeInMs", milliseconds(timings.functions)),
        ("retrievedDocumentCount", counters.items_loaded.to_string()),
        ("retrievedDocumentSize", counters.bytes_loaded.to_string()),
        ("outputDocumentCount", rows.to_string()),
        ("outputDocumentSize", rows_bytes.to_string()),
        ("writeOutputTimeInMs", milliseconds(timings.write)),
        ("indexUtilizationRatio", format!("{ratio:.2}")),
    ];
    let texts: Vec<String> = fields
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    texts.join(";")
}

/// Bytes of the entries of [`index_utilization`], as JSON: in base64, and with what is around
/// them, below 8 KiB, which proxies and clients still let through as a header.
const ENTRIES_BYTES_MAX: usize = 5_900;

/// Bytes of one condition's text.
const FILTER_BYTES_MAX: usize = 256;

/// The header `x-ms-cosmos-index-utilization`: the conditions that an index narrowed with, those that
/// it could have, were their paths in it, and the composite indexes that were used or would help; the
/// first ones only, if all are too much for a header.
pub(crate) fn index_utilization(container: &Container, access: &Access, counters: &Counters) -> String {
    let mut entries = Entries::default();
    // Broken off, it is told as far as it got.
    let _ = tell(container, access, counters, &mut entries);
    let [used, missing, used_composites, missing_composites] = entries.lists;
    let whole = json!({
        "UtilizedSingleIndexes": used,
        "PotentialSingleIndexes": missing,
        "UtilizedCompositeIndexes": used_composites,
        "PotentialCompositeIndexes": missing_composites,
    });
    STANDARD.encode(whole.to_string())
}

fn tell(
    container: &Container,
    access: &Access,
    counters: &Counters,
    entries: &mut Entries,
) -> ControlFlow<()> {
    let used: HashSet<usize> = counters.conjuncts_used.iter().copied().collect();
    let mut met: HashSet<usize> = HashSet::new();
    for columns in composites_used(container, counters) {
        met.extend(Bound::new(columns, access).conjuncts());
        entries.add(
            List::UsedComposite,
            composite_entry(&written_by(container, columns), true),
        )?;
    }
    if let Some([(path, _)]) = access.order_by.as_deref()
        && counters.ordered_by_path
    {
        entries.add(List::Used, entry(path, format_args!(""), true))?;
    }
    for (at, predicate) in access.conjuncts.iter().enumerate() {
        leaves(predicate, &mut |path, filter, precise| {
            if path_included(&container.policy, path) {
                if used.contains(&at) {
                    return entries.add(List::Used, entry(path, filter, precise));
                }
            } else if !met.contains(&at) {
                return entries.add(List::Missing, entry(path, filter, precise));
            }
            ControlFlow::Continue(())
        })?;
    }
    for paths in composite::missing(container, access) {
        let specs: Vec<String> = paths.iter().map(|path| format!("{} ASC", place(path))).collect();
        entries.add(List::MissingComposite, composite_entry(&specs, false))?;
    }
    ControlFlow::Continue(())
}

fn composites_used<'c>(
    container: &'c Container,
    counters: &'c Counters,
) -> impl Iterator<Item = &'c IndexColumns> {
    let places = counters.composites_used.iter();
    let found = places.filter_map(|at| container.composites.get(*at));
    found.map(|composite| &composite.columns)
}

/// Paths and directions as the container's policy names them.
fn written_by(container: &Container, columns: &IndexColumns) -> Vec<String> {
    let composite = container.order_rules.composite_of(columns);
    let columns = composite.into_iter().flatten();
    let specs = columns.map(|(path, descending)| {
        let path: Path = path.iter().cloned().map(PathStep::Name).collect();
        format!("{} {}", place(&path), if *descending { "DESC" } else { "ASC" })
    });
    specs.collect()
}

fn composite_entry(specs: &[String], precise: bool) -> Value {
    json!({"IndexSpecs": specs, "IndexPreciseSet": precise, "IndexImpactScore": "High"})
}

fn entry(path: &[PathStep], filter: fmt::Arguments<'_>, precise: bool) -> Value {
    json!({
        "FilterExpression": cut(filter),
        "IndexSpec": spec(path),
        "FilterPreciseSet": true,
        "IndexPreciseSet": precise,
        "IndexImpactScore": "High",
    })
}

/// What is told of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum List {
    Used,
    Missing,
    UsedComposite,
    MissingComposite,
}

/// Entries without repetition, as many as there is room for.
#[derive(Default)]
struct Entries {
    /// In the order of [`List`].
    lists: [Vec<Value>; 4],
    /// Of all, as text.
    seen: HashSet<(List, String)>,
    bytes: usize,
}

impl Entries {
    /// Breaks when there is no room.
    fn add(&mut self, list: List, index: Value) -> ControlFlow<()> {
        let text = index.to_string();
        // And a comma.
        let bytes = self.bytes + text.len() + 1;
        let known = (list, text);
        if self.seen.contains(&known) {
            return ControlFlow::Continue(());
        }
        if bytes > ENTRIES_BYTES_MAX {
            return ControlFlow::Break(());
        }
        self.bytes = bytes;
        self.seen.insert(known);
        if let Some(list) = self.lists.get_mut(list as usize) {
            list.push(index);
        }
        ControlFlow::Continue(())
    }
}

/// A text of bounded length; nothing behind it is even written.
fn cut(text: fmt::Arguments<'_>) -> String {
    struct Cut(String);
    impl fmt::Write for Cut {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = FILTER_BYTES_MAX.saturating_sub(self.0.len());
            let fits = text.get(..text.floor_char_boundary(room)).unwrap_or_default();
            self.0.push_str(fits);
            if text.len() > room {
                Err(fmt::Error)
            } else {
                Ok(())
            }
        }
    }
    let mut cut = Cut(String::new());
    if fmt::Write::write_fmt(&mut cut, text).is_err() {
        cut.0.push_str("...");
    }
    cut.0
}

/// Values with commas between them.
struct Listed<'a>(&'a [Value]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, value) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{value}")?;
        }
        Ok(())
    }
}

/// What is done with a comparison: path, text, and whether the index alone decides it.
type Each<'a> = dyn FnMut(&[PathStep], fmt::Arguments<'_>, bool) -> ControlFlow<()> + 'a;

/// Each comparison of a condition.
fn leaves(predicate: &Predicate, each: &mut Each<'_>) -> ControlFlow<()> {
    match predicate {
        Predicate::Compare { path, op, value } => {
            let symbol = match op {
                CompareOp::Equal => "=",
                CompareOp::Less => "<",
                CompareOp::LessOrEqual => "<=",
                CompareOp::Greater => ">",
                CompareOp::GreaterOrEqual => ">=",
            };
            let precise = !path.contains(&PathStep::Element);
            each(
                path,
                format_args!("({} {symbol} {value})", written(path)),
                precise,
            )
        }
        Predicate::In { path, values } => {
            let values = Listed(values);
            each(path, format_args!("({} IN ({values}))", written(path)), true)
        }
        Predicate::StartsWith { path, prefix } => {
            let prefix = Value::from(prefix.as_str());
            each(
                path,
                format_args!("STARTSWITH({}, {prefix})", written(path)),
                true,
            )
        }
        Predicate::Defined { path } => each(path, format_args!("IS_DEFINED({})", written(path)), true),
        Predicate::ArrayContains { path, value } => {
            let mut element: Path = path.clone();
            element.push(PathStep::Element);
            let whole = written(path);
            each(&element, format_args!("ARRAY_CONTAINS({whole}, {value})"), true)
        }
        Predicate::Or(branches) => branches
            .iter()
            .flatten()
            .try_for_each(|predicate| leaves(predicate, each)),
    }
}

fn written(path: &[PathStep]) -> String {
    let steps = path.iter().map(|step| match step {
        PathStep::Name(name) if is_plain(name) => format!(".{name}"),
        PathStep::Name(name) => format!("[{}]", json!(name)),
        PathStep::Element => "[]".to_owned(),
    });
    format!("ROOT{}", steps.collect::<String>())
}

/// As an indexing policy names it.
fn spec(path: &[PathStep]) -> String {
    format!("{}/?", place(path))
}

fn place(path: &[PathStep]) -> String {
    let steps = path.iter().map(|step| match step {
        PathStep::Name(name) if is_plain(name) => format!("/{name}"),
        PathStep::Name(name) => format!("/{}", json!(name)),
        PathStep::Element => "/[]".to_owned(),
    });
    steps.collect()
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
