//! What a page of a query took and what of the index it used, for clients that ask.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use documents_sql::{Access, CompareOp, Path, PathStep, Predicate};
use ledger::Clock;
use serde_json::{Value, json};

use super::page::Counters;
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
pub(crate) fn query_metrics(counters: &Counters, rows: usize, rows_bytes: usize) -> String {
    let timings = &counters.timings;
    let milliseconds = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1_000.0);
    #[allow(clippy::cast_precision_loss, reason = "counts of documents")]
    let ratio = if counters.items_loaded == 0 {
        0.0
    } else {
        counters.items_matched as f64 / counters.items_loaded as f64
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
        // Functions aren't timed apart from what calls them.
        ("systemFunctionExecuteTimeInMs", milliseconds(Duration::ZERO)),
        ("userFunctionExecuteTimeInMs", milliseconds(Duration::ZERO)),
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

/// The header `x-ms-cosmos-index-utilization`: the conditions that an index narrowed with, and
/// those that it could have, were their paths in it.
pub(crate) fn index_utilization(container: &Container, access: &Access, counters: &Counters) -> String {
    let (mut utilized, mut potential) = (Vec::new(), Vec::new());
    for (at, predicate) in access.conjuncts.iter().enumerate() {
        leaves(predicate, &mut |path, filter, precise| {
            let index = json!({
                "FilterExpression": filter,
                "IndexSpec": spec(path),
                "FilterPreciseSet": true,
                "IndexPreciseSet": precise,
                "IndexImpactScore": "High",
            });
            if !path_included(&container.policy, path) {
                push(&mut potential, index);
            } else if counters.conjuncts_used.contains(&at) {
                push(&mut utilized, index);
            }
        });
    }
    if let Some([(path, _)]) = access.order_by.as_deref()
        && counters.ordered_by_index
    {
        let index = json!({
            "FilterExpression": "",
            "IndexSpec": spec(path),
            "FilterPreciseSet": true,
            "IndexPreciseSet": true,
            "IndexImpactScore": "High",
        });
        push(&mut utilized, index);
    }
    // No composite index narrows here, so none is used, and none would help.
    let whole = json!({
        "UtilizedSingleIndexes": utilized,
        "PotentialSingleIndexes": potential,
        "UtilizedCompositeIndexes": [],
        "PotentialCompositeIndexes": [],
    });
    STANDARD.encode(whole.to_string())
}

fn push(list: &mut Vec<Value>, index: Value) {
    if !list.contains(&index) {
        list.push(index);
    }
}

/// Each comparison of a condition: path, text, and whether the index alone decides it.
fn leaves(predicate: &Predicate, each: &mut dyn FnMut(&[PathStep], String, bool)) {
    match predicate {
        Predicate::Compare { path, op, value } => {
            let symbol = match op {
                CompareOp::Equal => "=",
                CompareOp::Less => "<",
                CompareOp::LessOrEqual => "<=",
                CompareOp::Greater => ">",
                CompareOp::GreaterOrEqual => ">=",
            };
            each(
                path,
                format!("({} {symbol} {value})", written(path)),
                !path.contains(&PathStep::Element),
            );
        }
        Predicate::In { path, values } => {
            let values = Value::from(values.clone()).to_string();
            let values = values.trim_start_matches('[').trim_end_matches(']');
            each(path, format!("({} IN ({values}))", written(path)), true);
        }
        Predicate::StartsWith { path, prefix } => {
            each(
                path,
                format!("STARTSWITH({}, {})", written(path), json!(prefix)),
                true,
            );
        }
        Predicate::Defined { path } => each(path, format!("IS_DEFINED({})", written(path)), true),
        Predicate::ArrayContains { path, value } => {
            let mut element: Path = path.clone();
            element.push(PathStep::Element);
            each(
                &element,
                format!("ARRAY_CONTAINS({}, {value})", written(path)),
                true,
            );
        }
        Predicate::Or(branches) => {
            for predicate in branches.iter().flatten() {
                leaves(predicate, each);
            }
        }
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
    let steps = path.iter().map(|step| match step {
        PathStep::Name(name) if is_plain(name) => format!("/{name}"),
        PathStep::Name(name) => format!("/{}", json!(name)),
        PathStep::Element => "/[]".to_owned(),
    });
    format!("{}/?", steps.collect::<String>())
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
