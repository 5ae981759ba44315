//! A change feed processor: leases that share the ring of a container, and what their readers were
//! told, all in all.

use std::collections::BTreeSet;

use super::lease::{Lease, Mode};
use super::writer::Writer;
use super::{Change, Key, Operation, State};
use crate::book::Fault;
use crate::report::Findings;

/// See the module's header.
#[derive(Debug)]
pub(super) struct Processor {
    name: &'static str,
    mode: Mode,
    leases: Vec<Lease>,
}

impl Processor {
    /// Those that read the container. The ring's effective partition keys have a first byte of at
    /// most 3F.
    pub(super) fn all() -> Vec<Self> {
        vec![
            Self::new("all versions", Mode::AllVersions, &["", "10", "20", "30", "FF"]),
            Self::new("all versions again", Mode::AllVersions, &["", "2A", "FF"]),
            Self::new("latest versions", Mode::Latest, &["", "08", "1C", "FF"]),
        ]
    }

    fn new(name: &'static str, mode: Mode, boundaries: &[&'static str]) -> Self {
        let leases = boundaries
            .windows(2)
            .enumerate()
            .filter_map(|(number, ends)| match ends {
                [start, end] => {
                    let id = format!("{}..{number}", name.replace(' ', "-"));
                    Some(Lease::new(id, mode, start, end))
                }
                _ => None,
            });
        Self {
            name,
            mode,
            leases: leases.collect(),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn leases(&self) -> &[Lease] {
        &self.leases
    }

    pub(super) fn leases_mut(&mut self) -> &mut [Lease] {
        &mut self.leases
    }

    /// The changes that were made, as this processor is told of them.
    pub(super) fn expected(&self, writers: &[Writer]) -> BTreeSet<Change> {
        let made = writers.iter().flat_map(Writer::changes).cloned();
        match self.mode {
            Mode::AllVersions => made.collect(),
            Mode::Latest => made
                .filter(|change| change.operation != Operation::Delete)
                .map(|change| Change {
                    operation: Operation::Write,
                    ..change
                })
                .collect(),
        }
    }

    /// Changes that reached no lease. Of the latest versions those that are there count: what was
    /// written over or deleted may have been passed by.
    pub(super) fn missed(&self, made: &BTreeSet<Change>, actual: &State) -> Findings {
        let must = |change: &&Change| match self.mode {
            Mode::AllVersions => true,
            Mode::Latest => actual.get(&change.key) == Some(&change.stamp),
        };
        let missed = made
            .iter()
            .filter(must)
            .filter(|change| !self.leases.iter().any(|lease| lease.seen().contains(*change)));
        missed
            .map(|change| (format!("{change:?}"), Fault::Lost))
            .collect()
    }

    /// Changes that nobody made, or that reached two leases.
    pub(super) fn invented(&self, made: &BTreeSet<Change>) -> Findings {
        let mut findings = Findings::new();
        let mut met = BTreeSet::new();
        for change in self.leases.iter().flat_map(Lease::seen) {
            if !met.insert(change) {
                findings.push((format!("{change:?} reached two leases"), Fault::Torn));
            }
            if !made.contains(change) {
                findings.push((format!("{change:?} was made by nobody"), Fault::Torn));
            }
        }
        findings
    }

    /// Changes that came after later ones although their reader hadn't begun anew.
    pub(super) fn disordered(&self) -> Findings {
        let all = self.leases.iter().flat_map(Lease::disordered);
        all.map(|place| (place.clone(), Fault::Torn)).collect()
    }

    /// What the changes add up to, against what is there.
    pub(super) fn differing(&self, actual: &State) -> Findings {
        let mut told = State::new();
        for lease in &self.leases {
            told.extend(lease.state().clone());
        }
        if self.mode == Mode::Latest {
            // It isn't told of deletions.
            told.retain(|key, _| actual.contains_key(key));
        }
        let keys: BTreeSet<_> = told.keys().chain(actual.keys()).collect();
        let differing = keys.into_iter().filter(|key| told.get(*key) != actual.get(*key));
        let place = |key: &Key| {
            format!(
                "{key:?}: the changes say {:?}, there is {:?}",
                told.get(key),
                actual.get(key)
            )
        };
        differing.map(|key| (place(key), Fault::Torn)).collect()
    }

    /// A reader that never died in mid-page shows nothing about continuations.
    pub(super) fn unharmed(&self) -> Findings {
        if self.leases.iter().any(|lease| lease.deaths() > 0) {
            return Findings::new();
        }
        vec![("no reader died with a page in hand".to_owned(), Fault::Missed)]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn told(operation: &str, stamp: u64, commit: u64) -> Value {
        let item = json!({"pk": "p", "id": "i", "stamp": stamp});
        let metadata = json!({"operationType": operation, "lsn": commit});
        if operation == "delete" {
            return json!({"current": {}, "previous": item, "metadata": metadata});
        }
        json!({"current": item, "metadata": metadata})
    }

    fn made(changes: &[(Operation, u64)]) -> BTreeSet<Change> {
        let change = |(operation, stamp): &(Operation, u64)| Change {
            operation: *operation,
            key: ("p".to_owned(), "i".to_owned()),
            stamp: *stamp,
        };
        changes.iter().map(change).collect()
    }

    fn there(stamp: u64) -> State {
        [(("p".to_owned(), "i".to_owned()), stamp)].into()
    }

    #[test]
    fn what_is_missing_invented_or_late_is_named() {
        let changes = made(&[(Operation::Create, 1), (Operation::Replace, 2)]);
        let processor = |told: &[Value]| {
            let mut processor = Processor::new("p", Mode::AllVersions, &["", "20", "FF"]);
            for one in told {
                processor.leases[0].take_in(one).unwrap();
            }
            let counts = [
                processor.missed(&changes, &there(2)),
                processor.invented(&changes),
                processor.disordered(),
                processor.differing(&there(2)),
            ];
            (counts.map(|findings| findings.len()), processor)
        };
        let (one, two) = (told("create", 1, 7), told("replace", 2, 8));
        let counts = |told: &[Value]| processor(told).0;
        assert_eq!(counts(&[one.clone(), two.clone()]), [0, 0, 0, 0]);
        assert_eq!(
            counts(&[one.clone(), two.clone(), two.clone()]),
            [0, 0, 0, 0],
            "again"
        );
        assert_eq!(counts(std::slice::from_ref(&two)), [1, 0, 0, 0]);
        assert_eq!(counts(std::slice::from_ref(&one)), [1, 0, 0, 1]);
        assert_eq!(counts(&[two.clone(), one.clone()]), [0, 0, 1, 1]);
        assert_eq!(
            counts(&[one.clone(), two.clone(), told("delete", 2, 9)]),
            [0, 1, 0, 1]
        );
        let (_, mut twice) = processor(&[one.clone(), two]);
        twice.leases[1].take_in(&one).unwrap();
        assert_eq!(twice.invented(&changes).len(), 1, "it reached two leases");
        assert_eq!(twice.unharmed().len(), 1, "nobody died");
    }

    #[test]
    fn latest_versions_may_pass_by_what_is_over() {
        let mut processor = Processor::new("p", Mode::Latest, &["", "FF"]);
        let changes = made(&[(Operation::Write, 1), (Operation::Write, 2)]);
        assert_eq!(processor.missed(&changes, &there(2)).len(), 1);
        processor.leases[0].take_in(&told("", 2, 8)).unwrap();
        assert_eq!(processor.missed(&changes, &there(2)).len(), 0);
        assert_eq!(processor.differing(&there(2)).len(), 0);
        assert_eq!(
            processor.differing(&State::new()).len(),
            0,
            "it isn't told of deletions"
        );
        assert_eq!(processor.differing(&there(1)).len(), 1);
    }
}
