//! What an item has beside its record: index entries and unique keys, staged as differences.

use bytes::Bytes;
use ledger::{Key, Transaction, Write};
use serde_json::Value;

use super::container::Container;
use super::items::unique_conflict;
use super::keys::{self, PartitionPlace};
use super::records::CompositeIndex;
use crate::error::DocumentsError;
use crate::rules::index_policy::IndexPolicy;
use crate::rules::{index_terms, index_value};

/// The index terms of an item.
pub(super) fn terms_of(
    policy: &IndexPolicy,
    indexed: bool,
    document: &Value,
    ts: i64,
) -> Result<Vec<Vec<u8>>, DocumentsError> {
    if indexed {
        index_terms::terms(policy, document, ts)
    } else {
        index_terms::terms_of_unindexed(policy, document)
    }
}

/// Adds what only the new document has and removes what only the old one had.
pub(super) fn stage_index_difference(
    tx: &mut Transaction,
    index: u32,
    number: u64,
    old: &[Vec<u8>],
    new: &[Vec<u8>],
) -> usize {
    let mut changes = 0;
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return changes,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => a.cmp(b),
        };
        if order.is_eq() {
            old.next();
            // An earlier staging of this transaction may have removed the entry.
            if let Some(term) = new.next() {
                let key = keys::index_entry(index, term, number);
                if tx.staged(&key).is_some() {
                    tx.put(key, Bytes::new());
                }
            }
            continue;
        }
        changes += 1;
        if order.is_lt() {
            if let Some(term) = old.next() {
                tx.delete(keys::index_entry(index, term, number));
            }
        } else if let Some(term) = new.next() {
            tx.put(keys::index_entry(index, term, number), Bytes::new());
        }
    }
}

/// The entries of an item in composite indexes: one in each, if it is indexed at all.
pub(super) fn composite_entries(
    composites: &[CompositeIndex],
    indexed: bool,
    document: &Value,
    ts: i64,
    number: u64,
) -> Vec<Key> {
    let composites = if indexed { composites } else { &[] };
    composites
        .iter()
        .map(|composite| {
            let term = composite.columns.term(document, ts);
            keys::index_entry(composite.index, &term, number)
        })
        .collect()
}

/// As [`stage_index_difference`], of entries in the same composite indexes or in none.
pub(super) fn stage_composite_difference(tx: &mut Transaction, old: Vec<Key>, new: Vec<Key>) -> usize {
    let mut changes = 0;
    let (mut old, mut new) = (old.into_iter(), new.into_iter());
    loop {
        match (old.next(), new.next()) {
            (None, None) => return changes,
            (Some(old), Some(new)) if old == new => {
                // An earlier staging of this transaction may have removed the entry.
                if tx.staged(&new).is_some() {
                    tx.put(new, Bytes::new());
                }
            }
            (old, new) => {
                if let Some(old) = old {
                    tx.delete(old);
                    changes += 1;
                }
                if let Some(new) = new {
                    tx.put(new, Bytes::new());
                    changes += 1;
                }
            }
        }
    }
}

/// The values of each unique key, hashed; missing is null.
pub(crate) fn unique_hashes(container: &Container, document: &Value) -> Vec<[u8; 32]> {
    let hash = |paths: &Vec<Vec<String>>| {
        let mut hasher = blake3::Hasher::new();
        for path in paths {
            let value = path
                .iter()
                .try_fold(document, |value, name| value.get(name))
                .unwrap_or(&Value::Null);
            // Numbers compare by value (1 is 1.0); strings must not be cut as in the index.
            let bytes = match value {
                Value::Number(_) => index_value::encode(value),
                other => other.to_string().into_bytes(),
            };
            hasher.update(&(bytes.len() as u64).to_be_bytes());
            hasher.update(&bytes);
        }
        *hasher.finalize().as_bytes()
    };
    container.unique_keys.iter().map(hash).collect()
}

pub(super) fn stage_unique_keys(
    tx: &mut Transaction,
    container: &Container,
    place: &PartitionPlace,
    number: u64,
    old: Option<&Value>,
    new: Option<&Value>,
) -> Result<(), DocumentsError> {
    if container.unique_keys.is_empty() {
        return Ok(());
    }
    let hashes = |document: Option<&Value>| document.map(|document| unique_hashes(container, document));
    let (old, new) = (hashes(old), hashes(new));
    for which in 0..container.unique_keys.len() {
        let at =
            |hashes: &Option<Vec<[u8; 32]>>| hashes.as_ref().and_then(|hashes| hashes.get(which)).copied();
        let (old, new) = (at(&old), at(&new));
        if old == new {
            continue;
        }
        // At most limits::UNIQUE_KEYS_MAX.
        let tag = u8::try_from(which).unwrap_or(u8::MAX);
        if let Some(old) = old {
            tx.delete(keys::unique(container.number, place, tag, &old));
        }
        if let Some(new) = new {
            let key = keys::unique(container.number, place, tag, &new);
            match tx.staged(&key) {
                Some(Write::Put(_)) => return Err(unique_conflict()),
                Some(Write::Delete) => {}
                None => tx.require_absent(key.clone()),
            }
            tx.put(key, number.to_be_bytes().to_vec());
        }
    }
    Ok(())
}
