//! The report: kills, acknowledged writes by kind, and what was found wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ledger::clock::{Clock as _, SystemClock};
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
    differing: u64,
    asked_again: u64,
    /// Kills by what they fell into.
    kills_in: BTreeMap<&'static str, u64>,
    verified: u64,
    /// What the time went to.
    spent: BTreeMap<&'static str, Duration>,
}

impl Report {
    /// Counts an acknowledged write.
    pub(crate) fn acknowledge(&mut self, kind: &'static str) {
        *self.acknowledged.entry(kind).or_default() += 1;
    }

    /// Counts a request that the server asked to send once more: it did nothing.
    pub(crate) fn asked_again(&mut self) {
        self.asked_again += 1;
    }

    /// Counts a kill for each of what it fell into.
    pub(crate) fn fell_into(&mut self, hits: impl IntoIterator<Item = &'static str>) {
        for hit in hits.into_iter().collect::<BTreeSet<_>>() {
            *self.kills_in.entry(hit).or_default() += 1;
        }
    }

    /// Kills that fell into this.
    pub(crate) fn kills_in(&self, hit: &str) -> u64 {
        self.kills_in.get(hit).copied().unwrap_or(0)
    }

    /// Counts a run of `stabbur ledger verify`.
    pub(crate) fn verified(&mut self) {
        self.verified += 1;
    }

    /// Does something whose time is told.
    pub(crate) fn timed<T>(&mut self, what: &'static str, act: impl FnOnce(&mut Self) -> T) -> T {
        let begun = SystemClock.monotonic();
        let done = act(self);
        *self.spent.entry(what).or_default() += SystemClock.monotonic().saturating_sub(begun);
        done
    }

    /// The time that went to this.
    pub(crate) fn spent(&self, what: &str) -> Duration {
        self.spent.get(what).copied().unwrap_or_default()
    }

    /// The time that is told of.
    pub(crate) fn spent_in_all(&self) -> Duration {
        self.spent.values().sum()
    }

    /// Adds another report's acknowledged writes.
    pub(crate) fn take_over(&mut self, other: &Self) {
        for (kind, number) in &other.acknowledged {
            *self.acknowledged.entry(kind).or_default() += number;
        }
        self.unanswered += other.unanswered;
        self.asked_again += other.asked_again;
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
                Fault::Differs => self.differing += 1,
                // The round is counted as failed.
                Fault::Missed => {}
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
        if self.asked_again > 0 {
            text.push_str(&format!("  {:>8} asked to be sent again\n", self.asked_again));
        }
        for (hit, number) in &self.kills_in {
            text.push_str(&format!("  {number:>8} kills fell into {hit}\n"));
        }
        if self.verified > 0 {
            text.push_str(&format!("  {:>8} times stabbur ledger verify\n", self.verified));
        }
        for (what, time) in &self.spent {
            text.push_str(&format!("  {:>8.1} s for {what}\n", time.as_secs_f64()));
        }
        text.push_str(&format!("  slowest restart {} ms\n", self.ready_milliseconds_max));
        text.push_str(&format!(
            "  lost {}, torn {}, dangling references {}, differing answers {}",
            self.lost, self.torn, self.dangling, self.differing
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
            "differing": self.differing,
            "asked_again": self.asked_again,
            "kills_in": self.kills_in,
            "verified": self.verified,
            "rounds_passed": self.rounds_passed,
            "rounds_failed": self.rounds_failed,
            "ready_milliseconds_max": u64::try_from(self.ready_milliseconds_max).unwrap_or(u64::MAX),
        })
    }
}
