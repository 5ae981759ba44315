//! The report: kills, acknowledged writes by kind, and what was found wrong.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::book::Fault;
use crate::server::Server;

/// What one round found wrong: where, and what.
pub(crate) type Findings = Vec<(String, Fault)>;

/// Findings of one round that are printed one by one.
const FINDINGS_SHOWN_MAX: usize = 10;

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) kills: u64,
    acknowledged: BTreeMap<&'static str, u64>,
    lost: u64,
    torn: u64,
    dangling: u64,
    rounds_passed: u64,
    rounds_failed: u64,
    pub(crate) ready_milliseconds_max: u128,
    pub(crate) unanswered: u64,
}

impl Report {
    /// Counts an acknowledged write.
    pub(crate) fn acknowledge(&mut self, kind: &'static str) {
        *self.acknowledged.entry(kind).or_default() += 1;
    }

    /// Adds another report's acknowledged writes.
    pub(crate) fn take_over(&mut self, other: &Self) {
        for (kind, number) in &other.acknowledged {
            *self.acknowledged.entry(kind).or_default() += number;
        }
        self.unanswered += other.unanswered;
    }

    /// Ends a round with what it found.
    pub(crate) fn close_round(&mut self, name: &str, findings: Findings) {
        let sum: u64 = self.acknowledged.values().sum();
        println!(
            "{name}: {} found wrong, {sum} acknowledged so far",
            findings.len()
        );
        if findings.is_empty() {
            self.rounds_passed += 1;
        } else {
            self.rounds_failed += 1;
        }
        for (number, (place, fault)) in findings.into_iter().enumerate() {
            if number < FINDINGS_SHOWN_MAX {
                println!("    {fault:?}: {place}");
            }
            match fault {
                Fault::Lost => self.lost += 1,
                Fault::Torn => self.torn += 1,
                Fault::Dangling => self.dangling += 1,
            }
        }
    }

    /// Notes how long the server took to be ready again.
    pub(crate) fn restarted(&mut self, server: &Server) {
        self.ready_milliseconds_max = self.ready_milliseconds_max.max(server.ready_after.as_millis());
    }

    /// Whether the server kept its word, and was asked for it.
    pub(crate) fn good(&self) -> bool {
        self.rounds_failed == 0 && self.acknowledged.values().sum::<u64>() > 0
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("crash test: {} kills with SIGKILL in mid-load\n", self.kills);
        for (kind, number) in &self.acknowledged {
            text.push_str(&format!("  {number:>8} acknowledged: {kind}\n"));
        }
        text.push_str(&format!(
            "  {:>8} requests under way at a kill\n",
            self.unanswered
        ));
        text.push_str(&format!("  slowest restart {} ms\n", self.ready_milliseconds_max));
        text.push_str(&format!(
            "  lost {}, torn {}, dangling references {}",
            self.lost, self.torn, self.dangling
        ));
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "kills": self.kills,
            "acknowledged": self.acknowledged,
            "acknowledged_total": self.acknowledged.values().sum::<u64>(),
            "unanswered": self.unanswered,
            "lost": self.lost,
            "torn": self.torn,
            "dangling": self.dangling,
            "rounds_passed": self.rounds_passed,
            "rounds_failed": self.rounds_failed,
            "ready_milliseconds_max": u64::try_from(self.ready_milliseconds_max).unwrap_or(u64::MAX),
        })
    }
}
