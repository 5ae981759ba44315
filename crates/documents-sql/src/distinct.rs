//! A set of values under deep equality.
//!
//! Keyed by structural hash; values with one hash are compared, so a collision costs time and
//! never a row.

use std::collections::HashMap;

use serde_json::Value;

use crate::hash::structural_hash;
use crate::value::{deep_equal, value_bytes};

/// The set.
#[derive(Debug, Default)]
pub(crate) struct DistinctSet {
    values: HashMap<u128, Vec<Value>>,
}

impl DistinctSet {
    /// Adds a copy of `value` and says how many bytes that took; nothing if it was there.
    pub(crate) fn insert(&mut self, value: &Value) -> Option<usize> {
        let same_hash = self.values.entry(structural_hash(value)).or_default();
        if same_hash.iter().any(|known| deep_equal(known, value)) {
            return None;
        }
        same_hash.push(value.clone());
        const ENTRY_BYTES: usize = 64;
        Some(value_bytes(value) + ENTRY_BYTES)
    }

    pub(crate) fn contains(&self, value: &Value) -> bool {
        self.values
            .get(&structural_hash(value))
            .is_some_and(|same_hash| same_hash.iter().any(|known| deep_equal(known, value)))
    }
}
