//! Decides a group of commits: which of them hold, what they write, what each is answered. No I/O.
//!
//! Invariant: a commit is checked against the tables plus what the commits before it in the same
//! group write, exactly as if each had been committed alone; one that conflicts leaves no trace
//! and doesn't disturb its neighbours.

use std::collections::{BTreeMap, HashMap};

use ledger::{Committed, Key, LedgerError, LogEntry, Sequence, Transaction, Write};

use crate::{log_rows, record};

/// A commit as it is decided.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proposal<'a> {
    pub(crate) transaction: &'a Transaction,
    /// Its [`Transaction::writes_hash`], made before the head is locked.
    pub(crate) writes_hash: [u8; 32],
}

/// Where the log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) sequence: Sequence,
    pub(crate) chain: [u8; 32],
}

/// What a group comes to.
#[derive(Debug)]
pub(crate) struct Decided {
    /// The answer to each commit, in order.
    pub(crate) answers: Vec<Result<Committed, LedgerError>>,
    /// Where the log stands behind it.
    pub(crate) head: Head,
    /// The first accepted commit, by which it is found out later whether the group was written.
    pub(crate) first: Option<Head>,
    /// The last write of each key: the commit's number and the sealed value, or a removal.
    pub(crate) writes: BTreeMap<Key, Option<(Sequence, Vec<u8>)>>,
    /// Sealed log entries, one behind the other; the last one has the head's number.
    pub(crate) entries: Vec<Vec<u8>>,
}

/// The keys that a group demands something of, each once, in order.
pub(crate) fn watched<'a>(transactions: impl Iterator<Item = &'a Transaction>) -> Vec<&'a [u8]> {
    let mut keys: Vec<&[u8]> = transactions
        .flat_map(Transaction::preconditions)
        .map(|precondition| precondition.key.as_bytes())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// Decides `proposals` in this order; `versions` are those of the watched keys that are there.
pub(crate) fn decide<'a>(
    head: Head,
    mut versions: HashMap<Vec<u8>, Sequence>,
    proposals: impl Iterator<Item = Proposal<'a>>,
    time: jiff::Timestamp,
) -> Decided {
    let mut decided = Decided {
        answers: Vec::new(),
        head,
        first: None,
        writes: BTreeMap::new(),
        entries: Vec::new(),
    };
    for Proposal {
        transaction,
        writes_hash,
    } in proposals
    {
        let conflict = transaction.preconditions().iter().find_map(|precondition| {
            let found = versions.get(precondition.key.as_bytes()).copied();
            ledger::memory::check(&precondition.key, precondition.expected, found).err()
        });
        if let Some(conflict) = conflict {
            decided.answers.push(Err(LedgerError::Conflict(conflict)));
            continue;
        }
        let sequence = decided.head.sequence + 1;
        let entry = LogEntry::new(
            &decided.head.chain,
            sequence,
            time,
            writes_hash,
            transaction.records(),
        );
        let sequenced = transaction
            .sequenced()
            .iter()
            .map(|put| (put.key(sequence), Some(put.value.clone())));
        let plain = transaction.writes().iter().map(|(key, write)| {
            let value = match write {
                Write::Put(value) => Some(value.clone()),
                Write::Delete => None,
            };
            (key.clone(), value)
        });
        for (key, value) in sequenced.chain(plain) {
            match value {
                Some(value) => {
                    versions.insert(key.as_bytes().to_vec(), sequence);
                    let sealed = record::seal(key.as_bytes(), sequence, &value);
                    decided.writes.insert(key, Some((sequence, sealed)));
                }
                None => {
                    versions.remove(key.as_bytes());
                    decided.writes.insert(key, None);
                }
            }
        }
        decided.entries.push(log_rows::seal(&entry));
        decided.head = Head {
            sequence,
            chain: entry.chain,
        };
        decided.first.get_or_insert(decided.head);
        decided.answers.push(Ok(Committed { sequence, time }));
    }
    decided
}

#[cfg(test)]
mod tests {
    use ledger::{KeyWriter, Keyspace};

    use super::*;

    fn key(name: &str) -> Key {
        KeyWriter::new(Keyspace::Platform).str(name).finish()
    }

    fn decide_all(transactions: &[Transaction], versions: &[(&str, Sequence)]) -> Decided {
        let head = Head {
            sequence: 10,
            chain: [0; 32],
        };
        let versions = versions
            .iter()
            .map(|(name, version)| (key(name).as_bytes().to_vec(), *version))
            .collect();
        let time = jiff::Timestamp::UNIX_EPOCH;
        let proposals = transactions.iter().map(|transaction| Proposal {
            transaction,
            writes_hash: transaction.writes_hash(),
        });
        decide(head, versions, proposals, time)
    }

    #[test]
    fn a_later_commit_of_a_group_sees_the_earlier_ones() {
        let mut create = Transaction::new();
        create.require_absent(key("a"));
        create.put(key("a"), "1");
        let again = create.clone();
        let mut replace = Transaction::new();
        replace.require_version(key("a"), Some(11));
        replace.delete(key("a"));
        let decided = decide_all(&[create, again.clone(), replace, again], &[]);
        let numbers: Vec<Option<Sequence>> = decided
            .answers
            .iter()
            .map(|answer| answer.as_ref().ok().map(|committed| committed.sequence))
            .collect();
        assert_eq!(numbers, [Some(11), None, Some(12), Some(13)]);
        assert_eq!(decided.head.sequence, 13);
        assert_eq!(decided.first.map(|first| first.sequence), Some(11));
        assert_eq!(decided.entries.len(), 3);
        let last = decided.writes.get(&key("a")).cloned().flatten();
        assert_eq!(
            last.map(|(sequence, _)| sequence),
            Some(13),
            "the last write counts"
        );
    }

    #[test]
    fn what_conflicts_leaves_no_trace() {
        let mut bad = Transaction::new();
        bad.require_present(key("a"));
        bad.put(key("b"), "x");
        let decided = decide_all(&[bad], &[]);
        assert!(matches!(
            decided.answers.as_slice(),
            [Err(LedgerError::Conflict(_))]
        ));
        assert!(decided.writes.is_empty() && decided.entries.is_empty() && decided.first.is_none());
        assert_eq!(decided.head.sequence, 10);
    }

    #[test]
    fn watched_keys_are_asked_for_once() {
        let mut one = Transaction::new();
        one.require_absent(key("a"));
        one.require_present(key("b"));
        let two = one.clone();
        assert_eq!(watched([&one, &two].into_iter()).len(), 2);
    }
}
