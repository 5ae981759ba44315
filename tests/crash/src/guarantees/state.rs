//! An instance as it is seen from outside, and how two such states differ: each difference is one of a promise.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::promise::Guarantee;
use crate::book::Hash;

/// When an instance was last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    /// As an answer said.
    Exactly(Timestamp),
    /// Behind this, and nobody was told when.
    After(Timestamp),
}

impl Stamp {
    /// The latest that is known of it.
    pub(super) fn known(self) -> Timestamp {
        match self {
            Self::Exactly(at) | Self::After(at) => at,
        }
    }

    fn allows(self, actual: Timestamp) -> bool {
        match self {
            Self::Exactly(at) => actual == at,
            Self::After(at) => actual > at,
        }
    }
}

/// A data element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) content: Hash,
    pub(super) is_read: bool,
}

/// An event's kind, and the file that it is about, if it is about one.
pub(super) type EventKey = (String, Option<String>);

/// What is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) version: u64,
    pub(super) process_version: u64,
    pub(super) last_changed: Stamp,
    pub(super) read_status: String,
    /// By file name.
    pub(super) elements: BTreeMap<String, Element>,
    /// How many there are of each kind.
    pub(super) events: BTreeMap<EventKey, u64>,
    pub(super) texts: BTreeMap<String, String>,
    pub(super) values: BTreeMap<String, String>,
    pub(super) substatus: Option<String>,
    pub(super) flow: u64,
    pub(super) is_confirmed: bool,
    pub(super) is_deleted: bool,
    pub(super) is_locked: bool,
    /// The number of the last of the client's own events.
    pub(super) notes: u64,
}

/// Differences, each with the promise that it breaks.
pub(super) type Differences = Vec<(Guarantee, String)>;

impl State {
    /// One that was just created, at `at`.
    pub(super) fn created(at: Stamp, values: BTreeMap<String, String>) -> Self {
        Self {
            version: 1,
            process_version: 1,
            last_changed: at,
            read_status: "Unread".to_owned(),
            elements: BTreeMap::new(),
            events: BTreeMap::from([(("Created".to_owned(), None), 1)]),
            texts: BTreeMap::new(),
            values,
            substatus: None,
            flow: 1,
            is_confirmed: false,
            is_deleted: false,
            is_locked: false,
            notes: 0,
        }
    }

    /// Counts one more event.
    pub(super) fn tell(&mut self, kind: &str, file: Option<&str>) {
        let key = (kind.to_owned(), file.map(str::to_owned));
        *self.events.entry(key).or_default() += 1;
    }

    /// What of `actual`, which was read, isn't as this says.
    pub(super) fn differences(&self, actual: &Self) -> Differences {
        let mut found = Differences::new();
        let mut compare = |guarantee: Guarantee, what: &str, expected: String, is: String| {
            if expected != is {
                found.push((guarantee, format!("{what}: {expected} expected, {is} found")));
            }
        };
        let number = |number: u64| number.to_string();
        compare(
            Guarantee::Versions,
            "version",
            number(self.version),
            number(actual.version),
        );
        let (process, is) = (number(self.process_version), number(actual.process_version));
        compare(Guarantee::Versions, "process version", process, is);
        compare(
            Guarantee::ReadStatus,
            "read status",
            self.read_status.clone(),
            actual.read_status.clone(),
        );
        let fields = |state: &Self| format!("{:?} {:?}", state.texts, state.values);
        compare(
            Guarantee::Fields,
            "texts and values",
            fields(self),
            fields(actual),
        );
        let flow = |state: &Self| format!("task {}", state.flow);
        compare(Guarantee::Process, "process", flow(self), flow(actual));
        let status = |state: &Self| {
            format!(
                "{:?}, confirmed {}, deleted {}",
                state.substatus, state.is_confirmed, state.is_deleted
            )
        };
        compare(Guarantee::State, "status", status(self), status(actual));
        let lock = |state: &Self| format!("locked {}", state.is_locked);
        compare(Guarantee::Lock, "lock", lock(self), lock(actual));
        let notes = |state: &Self| format!("{} notes", state.notes);
        compare(Guarantee::Events, "own events", notes(self), notes(actual));
        if !self.last_changed.allows(actual.last_changed.known()) {
            found.push((
                Guarantee::LastChanged,
                format!(
                    "last change: {:?} expected, {:?} found",
                    self.last_changed, actual.last_changed
                ),
            ));
        }
        found.extend(self.different_elements(actual));
        found.extend(self.different_events(actual));
        found
    }

    fn different_elements(&self, actual: &Self) -> Differences {
        let names: BTreeSet<&String> = self.elements.keys().chain(actual.elements.keys()).collect();
        let mut found = Differences::new();
        for name in names {
            let (expected, is) = (self.elements.get(name), actual.elements.get(name));
            let (guarantee, what) = match (expected, is) {
                (Some(expected), Some(is)) if expected.content != is.content => {
                    (Guarantee::Element, "has other content")
                }
                (Some(expected), Some(is)) if expected != is => {
                    (Guarantee::ReadStatus, "is read, or not, and shouldn't be so")
                }
                (Some(_), Some(_)) | (None, None) => continue,
                (Some(_), None) => (Guarantee::Element, "is missing"),
                (None, Some(_)) => (Guarantee::Removal, "is there, and was never, or removed"),
            };
            found.push((guarantee, format!("{name} {what}")));
        }
        found
    }

    fn different_events(&self, actual: &Self) -> Differences {
        let keys: BTreeSet<&EventKey> = self.events.keys().chain(actual.events.keys()).collect();
        let mut found = Differences::new();
        for key in keys {
            let count = |state: &Self| state.events.get(key).copied().unwrap_or(0);
            let (expected, is) = (count(self), count(actual));
            if expected != is {
                let guarantee = of_event(key);
                found.push((
                    guarantee,
                    format!("{key:?}: {expected} events expected, {is} found"),
                ));
            }
        }
        found
    }

    /// The promises that a comparison looks at.
    pub(super) fn looked_at(&self) -> BTreeSet<Guarantee> {
        let mut all = BTreeSet::from([
            Guarantee::Versions,
            Guarantee::ReadStatus,
            Guarantee::Fields,
            Guarantee::Process,
            Guarantee::State,
            Guarantee::Lock,
            Guarantee::Events,
            Guarantee::LastChanged,
        ]);
        if !self.elements.is_empty() {
            all.insert(Guarantee::Element);
        }
        all.extend(self.events.keys().map(of_event));
        all
    }
}

/// Whose promise an event is part of.
fn of_event((kind, file): &EventKey) -> Guarantee {
    match (kind.as_str(), file) {
        ("Created", None) => Guarantee::Creation,
        ("Deleted", Some(_)) => Guarantee::Removal,
        (_, Some(_)) => Guarantee::Element,
        (kind, None) if kind.starts_with("process_") => Guarantee::Process,
        (_, None) => Guarantee::State,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::hash;

    #[test]
    fn each_difference_is_of_a_promise() {
        let at = Timestamp::from_second(1_000).unwrap();
        let state = State::created(Stamp::Exactly(at), BTreeMap::new());
        assert!(state.differences(&state).is_empty());
        let differs = |change: fn(&mut State)| -> Vec<Guarantee> {
            let mut other = state.clone();
            change(&mut other);
            let found = state.differences(&other);
            found.into_iter().map(|(guarantee, _)| guarantee).collect()
        };
        assert_eq!(differs(|state| state.version += 1), [Guarantee::Versions]);
        assert_eq!(
            differs(|state| state.tell("Created", None)),
            [Guarantee::Creation]
        );
        assert_eq!(
            differs(|state| state.tell("Saved", Some("f"))),
            [Guarantee::Element]
        );
        assert_eq!(
            differs(|state| state.tell("Deleted", Some("f"))),
            [Guarantee::Removal]
        );
        assert_eq!(
            differs(|state| state.tell("process_EndTask", None)),
            [Guarantee::Process]
        );
        assert_eq!(differs(|state| state.is_locked = true), [Guarantee::Lock]);
        assert_eq!(
            differs(|state| {
                let (content, is_read) = (hash(b"x"), true);
                state
                    .elements
                    .insert("f".to_owned(), Element { content, is_read });
            }),
            [Guarantee::Removal]
        );
        let mut later = state.clone();
        later.last_changed = Stamp::Exactly(Timestamp::from_second(1_001).unwrap());
        assert_eq!(state.differences(&later).len(), 1);
        let mut waits = state.clone();
        waits.last_changed = Stamp::After(at);
        assert!(waits.differences(&later).is_empty());
        assert_eq!(waits.differences(&state).len(), 1, "it was to be stamped anew");
    }
}
