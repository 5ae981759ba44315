//! The documents: 1 KiB, 15 properties, over many partition keys. What they hold follows from their
//! place alone, so that both sides have the same and each answer can be checked.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::chance;

/// Documents of one partition key, and of one customer.
pub const TOGETHER: u64 = 100;
/// Operations of a bulk request and of a batch.
pub const BULK: u64 = 100;
/// Rows of a page.
pub const PAGE: u64 = 100;
/// The number of documents must be a multiple of it: the load has ten slices of two halves.
const MULTIPLE: u64 = 20 * BULK;
/// Makes the whole document 1 KiB.
const NOTE_LETTERS: usize = 704;
const CITIES: u64 = 200;
const STATES: u64 = 8;
/// Primes that scatter neighbours.
const NUMBERS_STEP: u64 = 7_919;
const CUSTOMERS_STEP: u64 = 104_729;

/// How many there are.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub documents: u64,
}

impl Shape {
    pub fn new(documents: u64) -> Result<Self> {
        ensure!(
            documents > 0 && documents.is_multiple_of(MULTIPLE),
            "the number of documents must be a multiple of {MULTIPLE}"
        );
        ensure!(
            !documents.is_multiple_of(NUMBERS_STEP) && !documents.is_multiple_of(CUSTOMERS_STEP),
            "{documents} documents can't be scattered"
        );
        Ok(Self { documents })
    }

    /// One of them, for the `n`th operation.
    pub fn any(self, n: u64) -> u64 {
        chance::number(n) % self.documents
    }

    /// The first document that is loaded in bulk.
    pub fn bulk_from(self) -> u64 {
        self.documents / 2
    }

    /// Partition key of a document.
    pub fn owner(self, n: u64) -> String {
        format!("owner-{}", n % (self.documents / TOGETHER))
    }

    /// Each document has another one, from 0 up.
    pub fn number(self, n: u64) -> u64 {
        n * NUMBERS_STEP % self.documents
    }

    /// [`TOGETHER`] documents have the same.
    pub fn customer(self, n: u64) -> String {
        format!("customer-{}", n * CUSTOMERS_STEP % self.documents / TOGETHER)
    }

    /// A document; `version` changes what a replacement changes.
    pub fn document(self, n: u64, version: u64) -> Value {
        let chance = chance::number(n);
        json!({
            "id": id(n), "owner": self.owner(n), "customer": self.customer(n), "number": self.number(n),
            "amount": amount(n, version), "quantity": chance % 50, "city": city(n), "state": state(n),
            "kind": if n.is_multiple_of(3) { "order" } else { "invoice" }, "open": n.is_multiple_of(2),
            "created": moment(chance), "due": moment(chance >> 8),
            "address": {"street": chance::text(n + 2, 12), "zip": n % 10_000},
            "tags": ["one", format!("tag-{}", n % 40)],
            "note": chance::text(n.wrapping_add(version) + 1, NOTE_LETTERS),
        })
    }

    /// Document `place` of the `n`th batch: beside those that queries ask for.
    pub fn batched(self, n: u64, place: u64) -> Value {
        let mut document = self.document(self.documents + n * BULK + place, 0);
        document["owner"] = batch_owner(n).into();
        document["customer"] = "batch".into();
        document["city"] = "batch".into();
        document["number"] = (self.documents + n * BULK + place).into();
        document
    }
}

/// Id of a document.
pub fn id(n: u64) -> String {
    format!("document-{n:08}")
}

pub fn city(n: u64) -> String {
    format!("city-{}", chance::number(n + 3) % CITIES)
}

pub fn state(n: u64) -> String {
    format!("state-{}", chance::number(n + 1_000_003) % STATES)
}

pub fn amount(n: u64, version: u64) -> f64 {
    (chance::number(n + version) % 100_000) as f64 / 100.0
}

/// Partition key of the `n`th batch.
pub fn batch_owner(n: u64) -> String {
    format!("batch-{n}")
}

fn moment(chance: u64) -> String {
    format!(
        "2026-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        chance % 12 + 1,
        (chance >> 4) % 28 + 1,
        (chance >> 9) % 24,
        (chance >> 14) % 60,
        (chance >> 20) % 60
    )
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn documents_are_what_queries_count_on() {
        let shape = Shape::new(20_000).unwrap();
        let mut numbers = BTreeSet::new();
        let (mut customers, mut owners) = (BTreeMap::new(), BTreeMap::new());
        let mut bytes = 0;
        for n in 0..shape.documents {
            let document = shape.document(n, 0);
            assert_eq!(document.as_object().unwrap().len(), 15);
            bytes += document.to_string().len() as u64;
            numbers.insert(shape.number(n));
            *customers.entry(shape.customer(n)).or_insert(0) += 1;
            *owners.entry(shape.owner(n)).or_insert(0) += 1;
        }
        assert_eq!(numbers.len() as u64, shape.documents);
        assert_eq!(numbers.last(), Some(&(shape.documents - 1)));
        assert!(
            customers
                .values()
                .chain(owners.values())
                .all(|count| *count == TOGETHER)
        );
        let each = bytes / shape.documents;
        assert!((1_000..1_050).contains(&each), "{each}");
        assert!(Shape::new(1_000).is_err());
    }
}
