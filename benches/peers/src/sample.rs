//! One measurement and its JSON line.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::json;

/// What was measured of one kind of operation, in one slice or several.
pub struct Sample {
    pub operation: Cow<'static, str>,
    pub latencies: Vec<Duration>,
    pub elapsed: Duration,
    /// Operations per second of each slice.
    pub rates: Vec<f64>,
    /// Processor time of the servers, in seconds.
    pub cpu_seconds: f64,
    /// Processor time of this very process, in seconds.
    pub own_cpu_seconds: f64,
    /// The servers' memory at the end.
    pub memory_bytes: u64,
}

impl Sample {
    /// Nothing measured yet.
    pub fn new(operation: impl Into<Cow<'static, str>>) -> Self {
        Self {
            operation: operation.into(),
            latencies: Vec::new(),
            elapsed: Duration::ZERO,
            rates: Vec::new(),
            cpu_seconds: 0.0,
            own_cpu_seconds: 0.0,
            memory_bytes: 0,
        }
    }

    /// Prints it as one line of JSON.
    pub fn print(mut self) {
        self.latencies.sort_unstable();
        let at = |share: f64| {
            let last = self.latencies.len().saturating_sub(1);
            let index = (last as f64 * share).round() as usize;
            self.latencies
                .get(index)
                .map_or(0.0, |latency| latency.as_secs_f64() * 1_000.0)
        };
        let seconds = self.elapsed.as_secs_f64();
        let line = json!({
            "operation": self.operation,
            "operations": self.latencies.len(),
            "seconds": seconds,
            "per_second": self.latencies.len() as f64 / seconds,
            "p50_milliseconds": at(0.50),
            "p99_milliseconds": at(0.99),
            "max_milliseconds": at(1.0),
            "rates": self.rates,
            "cpu_seconds": self.cpu_seconds,
            "generator_cpu_seconds": self.own_cpu_seconds,
            "memory_bytes": self.memory_bytes,
        });
        println!("{line}");
    }
}

/// Prints something measured that isn't a kind of operation.
pub fn fact(name: &str, ours: f64, theirs: f64) {
    println!("{}", json!({"fact": name, "ours": ours, "theirs": theirs}));
}
