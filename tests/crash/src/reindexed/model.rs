//! What is known of a writer's items: what was acknowledged, and what the one request under way
//! would make of them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::book::Fault;
use crate::report::Findings;

/// An item's partition key and id.
pub(super) type Place = (String, String);

/// An item without what the service adds, and its etag.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub(super) document: Value,
    pub(super) etag: String,
}

/// Items by their places.
pub(super) type Items = BTreeMap<Place, Item>;

/// A request without an answer yet.
#[derive(Debug)]
struct UnderWay {
    what: &'static str,
    /// Whether it is one commit.
    atomic: bool,
    /// What it makes of the items that it changes.
    changes: BTreeMap<Place, Option<Value>>,
}

/// What became of a request that a kill left without an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    Undone,
    /// Some of it, which only what isn't one commit may be.
    Partly,
}

/// See the module's header.
#[derive(Debug, Default)]
pub(super) struct Model {
    items: Items,
    under_way: Option<UnderWay>,
}

impl Model {
    pub(super) fn items(&self) -> &Items {
        &self.items
    }

    /// The items of a partition.
    pub(super) fn partition(&self, key: &str) -> Items {
        let of_it = self.items.iter().filter(|((partition, _), _)| partition == key);
        of_it.map(|(place, item)| (place.clone(), item.clone())).collect()
    }

    /// A request goes out that would change these items.
    pub(super) fn begin(
        &mut self,
        what: &'static str,
        atomic: bool,
        changes: BTreeMap<Place, Option<Value>>,
    ) {
        self.under_way = Some(UnderWay {
            what,
            atomic,
            changes,
        });
    }

    /// What is under way.
    pub(super) fn under_way(&self) -> Option<&'static str> {
        self.under_way.as_ref().map(|request| request.what)
    }

    /// The request was answered: this became of the items that it changed.
    pub(super) fn acknowledge(&mut self, changes: BTreeMap<Place, Option<Item>>) {
        self.under_way = None;
        for (place, item) in changes {
            match item {
                Some(item) => self.items.insert(place, item),
                None => self.items.remove(&place),
            };
        }
    }

    /// Compares with what is there, which is what is known from then on.
    pub(super) fn settle(&mut self, actual: Items) -> (Findings, Option<(&'static str, Outcome)>) {
        let open = self.under_way.take();
        let mut findings = Findings::new();
        let (mut done, mut undone) = (0_usize, 0_usize);
        let changes = open.as_ref().map(|open| &open.changes);
        let places = self
            .items
            .keys()
            .chain(actual.keys())
            .chain(changes.into_iter().flat_map(BTreeMap::keys))
            .collect::<std::collections::BTreeSet<_>>();
        for place in places {
            let before = self.items.get(place).map(|item| &item.document);
            let after = changes.and_then(|changes| changes.get(place));
            let after = after.map_or(before, Option::as_ref);
            let there = actual.get(place).map(|item| &item.document);
            if there == after && after != before {
                done += 1;
            } else if there == before {
                undone += usize::from(after != before);
            } else {
                let told = |document: Option<&Value>| document.map_or("nothing".to_owned(), Value::to_string);
                findings.push((
                    format!(
                        "{place:?}: there is {}, acknowledged was {}, {} would make it {}",
                        told(there),
                        told(before),
                        open.as_ref().map_or("nothing under way", |open| open.what),
                        told(after),
                    ),
                    fault(before, there),
                ));
            }
        }
        let outcome = open.map(|open| {
            let outcome = match (done, undone) {
                (_, 0) => Outcome::Done,
                (0, _) => Outcome::Undone,
                _ => Outcome::Partly,
            };
            if open.atomic && outcome == Outcome::Partly {
                let (what, all) = (open.what, done + undone);
                findings.push((
                    format!("{what}: {done} of its {all} changes are there"),
                    Fault::Torn,
                ));
            }
            (open.what, outcome)
        });
        self.items = actual;
        (findings, outcome)
    }
}

/// What is wrong with an item that is neither as it was nor as it may be. Stamps grow.
fn fault(before: Option<&Value>, there: Option<&Value>) -> Fault {
    let stamp = |document: Option<&Value>| document.and_then(|document| document.get("stamp")?.as_u64());
    match (stamp(before), stamp(there)) {
        (Some(_), None) => Fault::Lost,
        (Some(before), Some(there)) if there < before => Fault::Lost,
        _ => Fault::Torn,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(id: &str) -> Place {
        ("p".to_owned(), id.to_owned())
    }

    fn item(stamp: u64) -> Item {
        Item {
            document: json!({ "stamp": stamp }),
            etag: "e".to_owned(),
        }
    }

    fn items(stamps: &[(&str, u64)]) -> Items {
        stamps
            .iter()
            .map(|(id, stamp)| (place(id), item(*stamp)))
            .collect()
    }

    /// Two items, and a batch under way that changes one, deletes the other and makes a third.
    fn in_batch(atomic: bool) -> Model {
        let mut model = Model::default();
        let first = items(&[("a", 1), ("b", 2)]);
        model.acknowledge(
            first
                .into_iter()
                .map(|(place, item)| (place, Some(item)))
                .collect(),
        );
        let changes = [("a", Some(3)), ("b", None), ("c", Some(4))];
        let after = |stamp: u64| item(stamp).document;
        let changes = changes.map(|(id, stamp)| (place(id), stamp.map(after)));
        model.begin("a batch", atomic, changes.into());
        model
    }

    #[test]
    fn a_batch_is_there_whole_or_not_at_all() {
        type There<'a> = &'a [(&'a str, u64)];
        let table: [(There<'_>, usize, Outcome); 4] = [
            (&[("a", 1), ("b", 2)], 0, Outcome::Undone),
            (&[("a", 3), ("c", 4)], 0, Outcome::Done),
            (&[("a", 3), ("b", 2)], 1, Outcome::Partly),
            (&[("a", 3), ("b", 2), ("c", 4)], 1, Outcome::Partly),
        ];
        for (there, wrong, outcome) in table {
            let (findings, told) = in_batch(true).settle(items(there));
            assert_eq!(
                (findings.len(), told),
                (wrong, Some(("a batch", outcome))),
                "{there:?}"
            );
        }
        let (findings, told) = in_batch(false).settle(items(&[("a", 3), ("b", 2)]));
        assert_eq!((findings.len(), told), (0, Some(("a batch", Outcome::Partly))));
    }

    #[test]
    fn what_was_acknowledged_is_not_forgotten() {
        let fault_of = |there: &[(&str, u64)]| {
            let mut model = Model::default();
            let changes = items(&[("a", 5)])
                .into_iter()
                .map(|(place, item)| (place, Some(item)));
            model.acknowledge(changes.collect());
            let (findings, _) = model.settle(items(there));
            findings.first().map(|(_, fault)| *fault)
        };
        assert_eq!(fault_of(&[("a", 5)]), None);
        assert_eq!(fault_of(&[]), Some(Fault::Lost));
        assert_eq!(fault_of(&[("a", 4)]), Some(Fault::Lost), "an older state");
        assert_eq!(fault_of(&[("a", 6)]), Some(Fault::Torn), "nobody wrote it");
        assert_eq!(
            fault_of(&[("a", 5), ("b", 1)]),
            Some(Fault::Torn),
            "nobody made it"
        );
    }
}
