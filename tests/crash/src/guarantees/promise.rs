//! What Platform Storage promises, one by one, and how often each promise was tried and looked at.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// Violations of a promise that are told one by one.
const TOLD_MAX: usize = 5;

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Guarantee {
    Creation,
    Element,
    Content,
    Removal,
    Fields,
    LastChanged,
    Versions,
    ReadStatus,
    Lock,
    Overlap,
    Process,
    State,
    Events,
    Mutation,
    Caches,
    Scans,
    Portal,
}

impl Guarantee {
    pub(crate) const ALL: [Self; 17] = [
        Self::Creation,
        Self::Element,
        Self::Content,
        Self::Removal,
        Self::Fields,
        Self::LastChanged,
        Self::Versions,
        Self::ReadStatus,
        Self::Lock,
        Self::Overlap,
        Self::Process,
        Self::State,
        Self::Events,
        Self::Mutation,
        Self::Caches,
        Self::Scans,
        Self::Portal,
    ];

    /// In words.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Creation => "an instance comes with its event",
            Self::Element => "an element comes with content and event",
            Self::Content => "no element without content, no content without element",
            Self::Removal => "an element goes with content, with an event",
            Self::Fields => "fields change each by itself",
            Self::LastChanged => "the last change is stamped by what changes, by nothing else",
            Self::Versions => "versions count each change once",
            Self::ReadStatus => "what was read is unread again when it must be",
            Self::Lock => "one live lock, and it outlives the server",
            Self::Overlap => "of overlapping saves one is whole, none that was replaced",
            Self::Process => "a process goes on with its events",
            Self::State => "deleting, substatus and confirmation come with their events",
            Self::Events => "events are in the order of time, then of arrival",
            Self::Mutation => "a mutation is whole, and once for each key",
            Self::Caches => "what is published is seen at once",
            Self::Scans => "each content that waits for its scan was sent to it",
            Self::Portal => "the portal was told of each instance's last event",
        }
    }

    /// Whether kills must fall into it: the others are looked at, and nothing is under way in them.
    fn is_under_way(self) -> bool {
        !matches!(
            self,
            Self::Content | Self::LastChanged | Self::Versions | Self::Scans | Self::Portal
        )
    }
}

/// What is known of a promise.
#[derive(Debug, Default, Clone)]
struct Row {
    /// Kills while something of it was under way.
    kills: u64,
    /// Those of them behind which it had been done.
    done: u64,
    looked_at: u64,
    violated: u64,
    told: Vec<String>,
}

/// All of it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Promises(BTreeMap<Guarantee, Row>);

impl Promises {
    fn row(&mut self, guarantee: Guarantee) -> &mut Row {
        self.0.entry(guarantee).or_default()
    }

    /// A kill came while this was under way; whether it had been done.
    pub(crate) fn killed(&mut self, guarantee: Guarantee, done: bool) {
        let row = self.row(guarantee);
        row.kills += 1;
        row.done += u64::from(done);
    }

    /// It was looked at, and held.
    pub(crate) fn held(&mut self, guarantee: Guarantee) {
        self.row(guarantee).looked_at += 1;
    }

    /// It was looked at, and didn't hold.
    pub(crate) fn violated(&mut self, guarantee: Guarantee, what: String) {
        let row = self.row(guarantee);
        row.looked_at += 1;
        row.violated += 1;
        if row.told.len() < TOLD_MAX {
            row.told.push(what);
        }
    }

    /// One of the two.
    pub(crate) fn check(&mut self, guarantee: Guarantee, holds: bool, what: impl FnOnce() -> String) {
        if holds {
            self.held(guarantee);
        } else {
            self.violated(guarantee, what());
        }
    }

    /// Adds what another one has seen.
    pub(crate) fn take_over(&mut self, other: Self) {
        for (guarantee, seen) in other.0 {
            let row = self.row(guarantee);
            row.kills += seen.kills;
            row.done += seen.done;
            row.looked_at += seen.looked_at;
            row.violated += seen.violated;
            let room = TOLD_MAX.saturating_sub(row.told.len());
            row.told.extend(seen.told.into_iter().take(room));
        }
    }

    fn of(&self, guarantee: Guarantee) -> Row {
        self.0.get(&guarantee).cloned().unwrap_or_default()
    }

    /// What is wrong with a promise, in words: it was broken, or never tried.
    pub(crate) fn faults(&self, guarantee: Guarantee, is_long: bool) -> Vec<String> {
        let row = self.of(guarantee);
        let mut faults = row.told;
        if row.looked_at == 0 {
            faults.push("was never looked at".to_owned());
        }
        if is_long && guarantee.is_under_way() && row.kills == 0 {
            faults.push("no kill fell into it".to_owned());
        }
        if faults.is_empty() && row.violated > 0 {
            faults.push(format!("{} violations", row.violated));
        }
        faults
    }

    /// For people: a line each.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{:<62} {:>6} {:>6} {:>9} {:>10}\n",
            "guarantee", "kills", "done", "looked at", "violations"
        );
        for guarantee in Guarantee::ALL {
            let row = self.of(guarantee);
            let number = |number: u64| {
                if guarantee.is_under_way() {
                    number.to_string()
                } else {
                    "-".to_owned()
                }
            };
            text.push_str(&format!(
                "{:<62} {:>6} {:>6} {:>9} {:>10}\n",
                guarantee.name(),
                number(row.kills),
                number(row.done),
                row.looked_at,
                row.violated
            ));
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let rows = Guarantee::ALL.map(|guarantee| {
            let row = self.of(guarantee);
            json!({"guarantee": guarantee.name(), "kills": row.kills, "done": row.done,
                "looked_at": row.looked_at, "violations": row.violated})
        });
        json!(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_or_never_tried_is_told() {
        let mut promises = Promises::default();
        assert_eq!(promises.faults(Guarantee::Lock, false), ["was never looked at"]);
        promises.held(Guarantee::Lock);
        assert!(promises.faults(Guarantee::Lock, false).is_empty());
        assert_eq!(promises.faults(Guarantee::Lock, true), ["no kill fell into it"]);
        let mut other = Promises::default();
        other.killed(Guarantee::Lock, true);
        promises.take_over(other);
        assert!(promises.faults(Guarantee::Lock, true).is_empty());
        promises.check(Guarantee::Lock, false, || "two at once".to_owned());
        assert_eq!(promises.faults(Guarantee::Lock, true), ["two at once"]);
        promises.held(Guarantee::Scans);
        assert!(promises.faults(Guarantee::Scans, true).is_empty());
    }
}
