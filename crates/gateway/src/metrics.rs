//! What is counted, and how `/metrics` shows it (OpenMetrics text).

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the latency histogram, seconds.
const LATENCY_BOUNDS: [f64; 12] = [
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];

/// Labels of a request's counter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    listener: String,
    method: String,
    status: u16,
}

/// Labels of an operation's counter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    listener: String,
    method: String,
    operation: &'static str,
    status: u16,
}

/// Labels of an operation's duration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    listener: String,
    method: String,
    operation: &'static str,
}

/// Label of a listener's metrics.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabel {
    listener: String,
}

/// Label of a sample that a source gives.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabel {
    name: String,
}

/// One value of a source, such as the ledger's counters.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Its name.
    pub name: String,
    /// Its value now.
    pub value: i64,
}

/// A request's end.
pub(crate) struct Answered<'a> {
    pub(crate) listener: &'a str,
    pub(crate) method: &'a http::Method,
    /// What its service took it for, if it said so.
    pub(crate) operation: Option<&'static str>,
    pub(crate) status: u16,
    pub(crate) seconds: f64,
    pub(crate) sent_bytes: u64,
}

/// Gives samples when they are asked for.
#[async_trait::async_trait]
pub trait StatsSource: Send + Sync + 'static {
    /// The values now.
    async fn samples(&self) -> Vec<Sample>;
}

/// The process's metrics.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    latency: Family<ListenerLabel, Histogram, fn() -> Histogram>,
    operations: Family<AnswerLabels, Counter>,
    operation_latency: Family<OperationLabels, Histogram, fn() -> Histogram>,
    in_flight: Family<ListenerLabel, Gauge>,
    received_bytes: Family<ListenerLabel, Counter>,
    sent_bytes: Family<ListenerLabel, Counter>,
    panics: Counter,
    stats: Family<NameLabel, Gauge>,
    sources: Vec<Arc<dyn StatsSource>>,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics(..)")
    }
}

impl Metrics {
    /// Nothing counted yet. `sources` are asked at each look.
    #[must_use]
    pub fn new(sources: Vec<Arc<dyn StatsSource>>) -> Self {
        let mut registry = Registry::with_prefix("stabbur");
        let metrics = Self {
            requests: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BOUNDS)),
            operations: Family::default(),
            operation_latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BOUNDS)),
            in_flight: Family::default(),
            received_bytes: Family::default(),
            sent_bytes: Family::default(),
            panics: Counter::default(),
            stats: Family::default(),
            sources,
            registry: Mutex::new(Registry::default()),
        };
        registry.register("requests", "Requests answered", metrics.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "From a request's head to its answer's end",
            Unit::Seconds,
            metrics.latency.clone(),
        );
        registry.register(
            "operations",
            "Requests answered, by operation",
            metrics.operations.clone(),
        );
        registry.register_with_unit(
            "operation_duration",
            "As request_duration, by operation",
            Unit::Seconds,
            metrics.operation_latency.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Requests under way",
            metrics.in_flight.clone(),
        );
        registry.register_with_unit(
            "received",
            "Bytes read from clients",
            Unit::Bytes,
            metrics.received_bytes.clone(),
        );
        registry.register_with_unit(
            "sent",
            "Bytes of answers' bodies",
            Unit::Bytes,
            metrics.sent_bytes.clone(),
        );
        registry.register(
            "handler_panics",
            "Requests whose handler panicked",
            metrics.panics.clone(),
        );
        registry.register(
            "store",
            "Values of the ledger and the content store",
            metrics.stats.clone(),
        );
        *metrics.registry.lock() = registry;
        metrics
    }

    /// The text of `/metrics`.
    pub async fn render(&self) -> String {
        let mut samples = Vec::new();
        for source in &self.sources {
            samples.extend(source.samples().await);
        }
        // Looks at the same time don't take each other's samples away.
        let registry = self.registry.lock();
        // What a source no longer names isn't there any more, at its last value least of all.
        self.stats.clear();
        for sample in samples {
            self.stats
                .get_or_create(&NameLabel { name: sample.name })
                .set(sample.value);
        }
        let mut out = String::new();
        if text::encode(&mut out, &registry).is_err() {
            out.clear();
        }
        out
    }

    pub(crate) fn begin(&self, listener: &str) {
        self.in_flight.get_or_create(&label(listener)).inc();
    }

    pub(crate) fn end(&self, answered: &Answered<'_>) {
        let label = label(answered.listener);
        self.in_flight.get_or_create(&label).dec();
        self.latency.get_or_create(&label).observe(answered.seconds);
        self.sent_bytes.get_or_create(&label).inc_by(answered.sent_bytes);
        let ListenerLabel { listener } = label;
        // A client may invent methods; only known ones become label values.
        let method = match answered.method.as_str() {
            known @ ("GET" | "HEAD" | "PUT" | "POST" | "DELETE" | "PATCH" | "OPTIONS") => known,
            _ => "other",
        };
        let method = method.to_owned();
        let status = answered.status;
        if let Some(operation) = answered.operation {
            let labels = OperationLabels {
                listener: listener.clone(),
                method: method.clone(),
                operation,
            };
            let latency = self.operation_latency.get_or_create(&labels);
            latency.observe(answered.seconds);
            let labels = AnswerLabels {
                listener: labels.listener.clone(),
                method: labels.method.clone(),
                operation,
                status,
            };
            self.operations.get_or_create(&labels).inc();
        }
        let labels = RequestLabels {
            listener,
            method,
            status,
        };
        self.requests.get_or_create(&labels).inc();
    }

    pub(crate) fn received(&self, listener: &str, bytes: u64) {
        self.received_bytes.get_or_create(&label(listener)).inc_by(bytes);
    }

    pub(crate) fn panicked(&self) {
        self.panics.inc();
    }
}

fn label(listener: &str) -> ListenerLabel {
    ListenerLabel {
        listener: listener.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// Has another container at each look.
    struct Changing(AtomicI64);

    #[async_trait::async_trait]
    impl StatsSource for Changing {
        async fn samples(&self) -> Vec<Sample> {
            let value = self.0.fetch_add(1, Ordering::Relaxed);
            vec![Sample {
                name: format!("bytes_of_{value}"),
                value,
            }]
        }
    }

    #[tokio::test]
    async fn a_look_shows_what_is_there_now() {
        let metrics = Metrics::new(vec![Arc::new(Changing(AtomicI64::new(7)))]);
        let first = metrics.render().await;
        assert!(first.contains("stabbur_store{name=\"bytes_of_7\"} 7"), "{first}");
        let second = metrics.render().await;
        assert!(
            second.contains("stabbur_store{name=\"bytes_of_8\"} 8"),
            "{second}"
        );
        assert!(!second.contains("bytes_of_7"), "{second}");
    }

    #[tokio::test]
    async fn operations_are_counted_beside_requests() {
        let metrics = Metrics::new(Vec::new());
        let mut answered = Answered {
            listener: "platform",
            method: &http::Method::PUT,
            operation: Some("/instances/{party}/{guid}/data/{id}"),
            status: 200,
            seconds: 0.004,
            sent_bytes: 1,
        };
        metrics.begin("platform");
        metrics.end(&answered);
        answered.operation = None;
        metrics.begin("platform");
        metrics.end(&answered);
        let text = metrics.render().await;
        let path = "operation=\"/instances/{party}/{guid}/data/{id}\"";
        let begin = "listener=\"platform\",method=\"PUT\"";
        for line in [
            format!("stabbur_operations_total{{{begin},{path},status=\"200\"}} 1"),
            format!("stabbur_operation_duration_seconds_bucket{{le=\"0.005\",{begin},{path}}} 1"),
            format!("stabbur_requests_total{{{begin},status=\"200\"}} 2"),
        ] {
            assert!(text.contains(&line), "{line} in {text}");
        }
    }
}
