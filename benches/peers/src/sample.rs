//! One measurement and its JSON line.

use std::time::Duration;

use serde_json::json;

use crate::process::Usage;

/// What was measured of one kind of operation.
pub struct Sample {
    pub operation: &'static str,
    pub latencies: Vec<Duration>,
    pub elapsed: Duration,
    pub before: Usage,
    pub after: Usage,
    /// Processor time of this very process, in seconds.
    pub own_cpu_seconds: f64,
}

impl Sample {
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
            "cpu_seconds": self.after.cpu_seconds - self.before.cpu_seconds,
            "generator_cpu_seconds": self.own_cpu_seconds,
            "memory_bytes": self.after.memory_bytes,
        });
        println!("{line}");
    }
}
