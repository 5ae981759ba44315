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

    pub(crate) fn end(&self, listener: &str, method: &http::Method, status: u16, seconds: f64, sent: u64) {
        let label = label(listener);
        self.in_flight.get_or_create(&label).dec();
        self.latency.get_or_create(&label).observe(seconds);
        self.sent_bytes.get_or_create(&label).inc_by(sent);
        // A client may invent methods; only known ones become label values.
        let method = match method.as_str() {
            known @ ("GET" | "HEAD" | "PUT" | "POST" | "DELETE" | "PATCH" | "OPTIONS") => known,
            _ => "other",
        };
        let labels = RequestLabels {
            listener: listener.to_owned(),
            method: method.to_owned(),
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
}
