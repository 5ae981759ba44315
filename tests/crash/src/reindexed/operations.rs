//! The operations of batches and bulk requests: as they are sent, and what they make of their item.

use std::collections::{BTreeMap, BTreeSet};

use ledger::random::SeededRandom;
use serde_json::{Value, json};

use super::ITEMS_PER_PARTITION;
use super::model::{Items, Place};
use crate::book::{below, bytes};

/// The service's bound.
pub(super) const OPERATIONS_MAX: usize = 100;

const GROUPS: usize = 6;
const NUMBERS: usize = 500;
const TAGS: usize = 12;
const TEXT_BYTES_MAX: usize = 60;

/// One operation.
#[derive(Debug)]
pub(super) struct Operation {
    /// As it is sent.
    pub(super) body: Value,
    /// The status that it gets if all is well.
    pub(super) wanted: u16,
    pub(super) place: Place,
    /// What is there afterwards; the outer `None` if it changes nothing.
    pub(super) after: Option<Option<Value>>,
}

/// Makes operations whose items have a stamp that no other write of this writer has.
#[derive(Debug)]
pub(super) struct Author {
    name: String,
    stamp: u64,
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Upsert,
    Replace,
    Patch,
    Delete,
    Read,
}

/// A value of the group property.
pub(super) fn group(random: &SeededRandom) -> String {
    format!("group-{}", below(random, GROUPS))
}

/// A value of the number property.
pub(super) fn number(random: &SeededRandom) -> usize {
    below(random, NUMBERS)
}

/// An element of the tags property.
pub(super) fn tag(random: &SeededRandom) -> String {
    format!("tag-{}", below(random, TAGS))
}

impl Author {
    pub(super) fn new(name: String) -> Self {
        Self { name, stamp: 0 }
    }

    /// The key of one of its partitions.
    pub(super) fn partition(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }

    /// An item that nobody has written yet.
    pub(super) fn document(&mut self, place: &Place, random: &SeededRandom) -> Value {
        let text: String = bytes(random, below(random, TEXT_BYTES_MAX))
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        json!({
            "id": place.1, "pk": place.0, "group": group(random), "n": number(random),
            "tags": [tag(random), tag(random)], "stamp": self.next_stamp(), "text": text,
        })
    }

    /// A patch's operations, and what they make of `document`.
    pub(super) fn patch(&mut self, document: &Value, random: &SeededRandom) -> (Value, Value) {
        let (by, group, stamp) = (number(random), group(random), self.next_stamp());
        let mut after = document.clone();
        if let Value::Object(after) = &mut after {
            let n = after.get("n").and_then(Value::as_u64).unwrap_or_default();
            after.insert("n".to_owned(), json!(n + by as u64));
            after.insert("group".to_owned(), json!(group));
            after.insert("stamp".to_owned(), json!(stamp));
        }
        let operations = json!({"operations": [
            {"op": "incr", "path": "/n", "value": by},
            {"op": "set", "path": "/group", "value": group},
            {"op": "set", "path": "/stamp", "value": stamp},
        ]});
        (operations, after)
    }

    /// A place that has had no item yet.
    pub(super) fn new_place(&mut self, partition: &str) -> Place {
        (partition.to_owned(), format!("item-{}", self.next_stamp()))
    }

    /// Operations that make so many items.
    pub(super) fn creations(
        &mut self,
        partition: &str,
        count: usize,
        random: &SeededRandom,
    ) -> Vec<Operation> {
        let nothing = BTreeMap::new();
        let mut operations = Vec::with_capacity(count);
        for _ in 0..count {
            let place = self.new_place(partition);
            operations.push(self.operation(Verb::Create, place, &nothing, random));
        }
        operations
    }

    /// Operations on a partition, one after the other, also several on an item.
    pub(super) fn batch(
        &mut self,
        partition: &str,
        items: &Items,
        length: usize,
        random: &SeededRandom,
    ) -> Vec<Operation> {
        let mut there: BTreeMap<Place, (Value, Option<String>)> = items
            .iter()
            .map(|(place, item)| (place.clone(), (item.document.clone(), Some(item.etag.clone()))))
            .collect();
        let mut operations = Vec::with_capacity(length);
        for _ in 0..length {
            let known = there.keys().nth(below(random, there.len())).cloned();
            let (verb, place) = self.choose(partition, known, there.len(), random);
            let operation = self.operation(verb, place, &there, random);
            match &operation.after {
                Some(Some(document)) => {
                    // Its new etag isn't known before the answer.
                    there.insert(operation.place.clone(), (document.clone(), None));
                }
                Some(None) => {
                    there.remove(&operation.place);
                }
                None => {}
            }
            operations.push(operation);
        }
        operations
    }

    /// Operations on several partitions, at most one on an item: their order isn't relied on.
    pub(super) fn bulk(&mut self, items: &Items, length: usize, random: &SeededRandom) -> Vec<Operation> {
        let there: BTreeMap<Place, (Value, Option<String>)> = items
            .iter()
            .map(|(place, item)| (place.clone(), (item.document.clone(), Some(item.etag.clone()))))
            .collect();
        let partitions: BTreeSet<&String> = there.keys().map(|(partition, _)| partition).collect();
        let mut met = BTreeSet::new();
        let mut operations = Vec::with_capacity(length);
        for _ in 0..length {
            let Some(partition) = partitions.iter().nth(below(random, partitions.len())) else {
                break;
            };
            let known = there.keys().nth(below(random, there.len()));
            let known = known.filter(|place| !met.contains(*place)).cloned();
            let size = there.len() / partitions.len();
            let (verb, place) = self.choose(partition, known, size, random);
            if !met.insert(place.clone()) {
                continue;
            }
            let mut operation = self.operation(verb, place, &there, random);
            let key = json!([operation.place.0]).to_string();
            set(&mut operation.body, "partitionKey", &key);
            operations.push(operation);
        }
        operations
    }

    fn next_stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    /// What is done next, and to which item: to none that isn't there, save for creations.
    fn choose(
        &mut self,
        partition: &str,
        known: Option<Place>,
        size: usize,
        random: &SeededRandom,
    ) -> (Verb, Place) {
        let Some(known) = known else {
            return (Verb::Create, self.new_place(partition));
        };
        // The fuller a partition, the more is deleted from it.
        let full = size > ITEMS_PER_PARTITION;
        match below(random, 20) {
            0..4 if !full => (Verb::Create, self.new_place(partition)),
            4..6 if !full => (Verb::Upsert, self.new_place(partition)),
            0..8 => (Verb::Delete, known),
            8..10 => (Verb::Upsert, known),
            10..14 => (Verb::Replace, known),
            14..18 => (Verb::Patch, known),
            _ => (Verb::Read, known),
        }
    }

    fn operation(
        &mut self,
        verb: Verb,
        place: Place,
        there: &BTreeMap<Place, (Value, Option<String>)>,
        random: &SeededRandom,
    ) -> Operation {
        let known = there.get(&place);
        let id = &place.1;
        let (mut body, wanted, after) = match (verb, known) {
            (Verb::Create, _) | (Verb::Upsert, None) => {
                let document = self.document(&place, random);
                let name = if verb == Verb::Create { "Create" } else { "Upsert" };
                let body = json!({"operationType": name, "resourceBody": document});
                (body, 201, Some(Some(document)))
            }
            (Verb::Upsert, Some(_)) => {
                let document = self.document(&place, random);
                let body = json!({"operationType": "Upsert", "resourceBody": document});
                (body, 200, Some(Some(document)))
            }
            (Verb::Replace, _) => {
                let document = self.document(&place, random);
                let body = json!({"operationType": "Replace", "id": id, "resourceBody": document});
                (body, 200, Some(Some(document)))
            }
            (Verb::Patch, Some((document, _))) => {
                let (patch, after) = self.patch(document, random);
                let body = json!({"operationType": "Patch", "id": id, "resourceBody": patch});
                (body, 200, Some(Some(after)))
            }
            (Verb::Delete, _) => (json!({"operationType": "Delete", "id": id}), 204, Some(None)),
            (Verb::Patch | Verb::Read, _) => (json!({"operationType": "Read", "id": id}), 200, None),
        };
        // Every other one of those that may demand the state that they know.
        let demands = matches!(verb, Verb::Replace | Verb::Patch | Verb::Delete) && below(random, 2) == 0;
        if demands && let Some((_, Some(etag))) = known {
            set(&mut body, "ifMatch", etag);
        }
        Operation {
            body,
            wanted,
            place,
            after,
        }
    }
}

fn set(body: &mut Value, name: &str, value: &str) {
    if let Value::Object(body) = body {
        body.insert(name.to_owned(), json!(value));
    }
}

/// What operations make of items, all in all: only items that are others afterwards.
pub(super) fn changes(operations: &[Operation], items: &Items) -> BTreeMap<Place, Option<Value>> {
    let mut changes = BTreeMap::new();
    for operation in operations {
        if let Some(after) = &operation.after {
            changes.insert(operation.place.clone(), after.clone());
        }
    }
    changes.retain(|place, after| items.get(place).map(|item| &item.document) != after.as_ref());
    changes
}

#[cfg(test)]
mod tests {
    use super::super::model::Item;
    use super::*;

    #[test]
    fn batches_go_on_from_what_their_operations_made() {
        let random = SeededRandom::new(7);
        let mut author = Author::new("w".to_owned());
        let place = author.new_place("w-0");
        let document = author.document(&place, &random);
        let item = Item {
            document,
            etag: "\"e\"".to_owned(),
        };
        let items = Items::from([(place, item)]);
        let batch = author.batch("w-0", &items, OPERATIONS_MAX, &random);
        assert_eq!(batch.len(), OPERATIONS_MAX);
        let mut there: BTreeMap<&Place, bool> = items.keys().map(|place| (place, true)).collect();
        for operation in &batch {
            let is_there = there.get(&operation.place).copied().unwrap_or(false);
            assert_eq!(is_there, operation.wanted != 201, "{operation:?}");
            if let Some(after) = &operation.after {
                there.insert(&operation.place, after.is_some());
            }
        }
        let changed = changes(&batch, &items);
        assert!(changed.len() > 10 && changed.len() < OPERATIONS_MAX);
        let stamps: BTreeSet<u64> = changed
            .values()
            .flatten()
            .filter_map(|item| item["stamp"].as_u64())
            .collect();
        assert_eq!(
            stamps.len(),
            changed.values().flatten().count(),
            "each has its own"
        );
    }

    #[test]
    fn bulk_meets_no_item_twice() {
        let random = SeededRandom::new(8);
        let mut author = Author::new("w".to_owned());
        let mut items = Items::new();
        for number in 0..20 {
            let place = author.new_place(&format!("w-{}", number % 2));
            let document = author.document(&place, &random);
            let etag = String::new();
            items.insert(place, Item { document, etag });
        }
        let bulk = author.bulk(&items, 60, &random);
        let places: BTreeSet<&Place> = bulk.iter().map(|operation| &operation.place).collect();
        assert!(bulk.len() > 20);
        assert_eq!(places.len(), bulk.len());
    }
}
