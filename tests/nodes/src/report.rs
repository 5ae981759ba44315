//! The report: what was measured, and each promise with whether it was kept.

use serde_json::{Value, json};

/// Faults of one kind that are printed one by one.
const SHOWN_MAX: usize = 10;

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    lines: Vec<String>,
    passed: u64,
    failed: u64,
}

impl Report {
    /// Something measured.
    pub(crate) fn say(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// A promise, kept or not.
    pub(crate) fn check(&mut self, line: impl Into<String>, kept: bool) {
        let mark = if kept { "" } else { "BROKEN: " };
        self.lines.push(format!("  {mark}{}", line.into()));
        if kept {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// A promise that nothing of a kind happens.
    pub(crate) fn none(&mut self, what: &str, found: &[String]) {
        self.check(format!("{}: {what}", found.len()), found.is_empty());
        for one in found.iter().take(SHOWN_MAX) {
            self.lines.push(format!("      {one}"));
        }
    }

    /// Whether every promise was kept, and some were tested.
    pub(crate) fn good(&self) -> bool {
        self.failed == 0 && self.passed > 0
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({"rounds_passed": self.passed, "rounds_failed": self.failed, "lines": self.lines})
    }
}
