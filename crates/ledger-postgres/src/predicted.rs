//! A group of commits in one statement, decided before the database was asked anything.
//!
//! A node that was the last to write knows where the log stands, and its callers' preconditions say
//! how they believe the keys to be. So the group is decided on that, and the statement writes it
//! only if all of it is true: one trip to the database instead of two, and no pause in between while
//! others wait for the head. If it isn't true nothing is written, and the group is decided anew with
//! the head locked.
//!
//! Why that is safe: the statement moves the head from the expected place. If another node holds it,
//! this waits, finds it moved, and does nothing. If not, nobody can have committed since the
//! statement's snapshot was taken, because every commit moves the head; so what the snapshot says of
//! the keys is true.

use std::collections::{BTreeMap, HashMap};

use ledger::{Expectation, Sequence, Transaction};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Statement};

use crate::group::{Decided, Head};
use crate::record;
use crate::rows::{Parameter, Rows};

/// Nothing is written, and no row returned, unless the head and all the keys are as expected. A key
/// that is to be added and is there fails it, which the caller takes as the same.
///
/// Rows are made in the list of what is selected: as a table, `unnest` would copy all of them first.
pub(crate) const STATEMENT: &str = "
    WITH moved AS (
        UPDATE head SET sequence = $1, chain = $2
        WHERE one AND sequence = $3 AND chain = $4 AND NOT EXISTS (
            SELECT FROM unnest($5::bytea[], $6::bigint[]) AS expected (key, version)
            WHERE expected.version IS DISTINCT FROM (SELECT version FROM data WHERE data.key = expected.key)
        )
        RETURNING pg_notify($7, $8)::text
    ), added AS (
        INSERT INTO data SELECT unnest($9::bytea[]), unnest($10::bigint[]), unnest($11::bytea[]) FROM moved
    ), put AS (
        INSERT INTO data SELECT unnest($12::bytea[]), unnest($13::bigint[]), unnest($14::bytea[]) FROM moved
        ON CONFLICT (key) DO UPDATE SET version = excluded.version, record = excluded.record
    ), removed AS (
        DELETE FROM data USING moved WHERE key = ANY($15::bytea[])
    ), logged AS (
        INSERT INTO log SELECT $1, $16::bytea[] FROM moved
    )
    SELECT FROM moved";

/// What this node may expect of the head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Prediction {
    /// Where this node left the head.
    left: Option<Head>,
    /// It was found there at the last look, and nobody was refused.
    holds: bool,
}

impl Prediction {
    /// Where the head is expected, if it is worth trying.
    pub(crate) fn head(&self) -> Option<Head> {
        self.left.filter(|_| self.holds)
    }

    /// Another look is needed first.
    pub(crate) fn failed(&mut self) {
        self.holds = false;
    }

    /// A group was decided with the head `found`, and left it as `decided` says.
    pub(crate) fn learn(&mut self, found: Head, decided: &Decided) {
        self.holds = self.left == Some(found) && decided.answers.iter().all(Result::is_ok);
        self.left = Some(decided.head);
    }
}

/// How the keys are that a group demands something of, if what it demands is true.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected<'a>(BTreeMap<&'a [u8], Option<Sequence>>);

impl<'a> Expected<'a> {
    /// By the first demand on each key; what a later one says is decided in the group. `None` if a
    /// demand doesn't say which version.
    pub(crate) fn of(transactions: impl Iterator<Item = &'a Transaction>) -> Option<Self> {
        let mut keys = BTreeMap::new();
        for precondition in transactions.flat_map(Transaction::preconditions) {
            let version = match precondition.expected {
                Expectation::Absent => None,
                Expectation::Version(version) => Some(version),
                Expectation::Present => return None,
            };
            keys.entry(precondition.key.as_bytes()).or_insert(version);
        }
        Some(Self(keys))
    }

    /// The versions of the keys that are there.
    pub(crate) fn versions(&self) -> HashMap<Vec<u8>, Sequence> {
        let there = self
            .0
            .iter()
            .filter_map(|(key, version)| Some((*key, (*version)?)));
        there.map(|(key, version)| (key.to_vec(), version)).collect()
    }

    fn is_absent(&self, key: &[u8]) -> bool {
        self.0.get(key) == Some(&None)
    }

    /// Keys with their versions as columns, without those that are `added`, in order: that these are
    /// absent shows when they are inserted, and looking them up first would cost as much again.
    fn beside(&self, added: &[&[u8]]) -> (Vec<&'a [u8]>, Vec<Option<i64>>) {
        let beside = self.0.iter().filter(|(key, _)| added.binary_search(key).is_err());
        beside
            .map(|(key, version)| (*key, version.map(record::to_column)))
            .unzip()
    }
}

/// Writes what was decided, if all of it is as expected; whether it was.
///
/// The answer comes after the commit: the statement is a transaction of its own, and the driver
/// waits for the server to be ready again, which it says behind its commit.
pub(crate) async fn write(
    client: &Client,
    statement: &Statement,
    channel: &str,
    head: Head,
    expected: &Expected<'_>,
    decided: &Decided,
) -> Result<bool, tokio_postgres::Error> {
    let rows = Rows::of(decided, |key| expected.is_absent(key));
    let (from, before) = (record::to_column(head.sequence), head.chain.as_slice());
    let (keys, versions) = expected.beside(&rows.added.keys);
    let payload = decided.head.sequence.to_string();
    let parameters: [Parameter<'_>; 16] = [
        &rows.head,
        &rows.chain,
        &from,
        &before,
        &keys,
        &versions,
        &channel,
        &payload,
        &rows.added.keys,
        &rows.added.versions,
        &rows.added.records,
        &rows.put.keys,
        &rows.put.versions,
        &rows.put.records,
        &rows.removed,
        &rows.entries,
    ];
    match client.execute(statement, &parameters).await {
        Ok(found) => Ok(found > 0),
        // A key that was to be added is there.
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use ledger::{Key, KeyWriter, Keyspace};

    use super::*;

    fn key(name: &str) -> Key {
        KeyWriter::new(Keyspace::Platform).str(name).finish()
    }

    fn head(sequence: Sequence) -> Head {
        Head {
            sequence,
            chain: [7; 32],
        }
    }

    fn decided(sequence: Sequence, refused: bool) -> Decided {
        let conflict = ledger::LedgerError::Closed;
        Decided {
            answers: if refused { vec![Err(conflict)] } else { Vec::new() },
            head: head(sequence),
            first: None,
            writes: BTreeMap::new(),
            entries: Vec::new(),
        }
    }

    #[test]
    fn the_first_demand_on_a_key_counts() {
        let mut create = Transaction::new();
        create.require_absent(key("a"));
        let mut replace = Transaction::new();
        replace.require_version(key("a"), Some(9));
        replace.require_version(key("b"), Some(4));
        let expected = Expected::of([&create, &replace].into_iter()).unwrap();
        assert!(expected.is_absent(key("a").as_bytes()));
        assert!(!expected.is_absent(key("b").as_bytes()) && !expected.is_absent(key("c").as_bytes()));
        assert_eq!(
            expected.versions(),
            HashMap::from([(key("b").as_bytes().to_vec(), 4)])
        );
        let mut present = Transaction::new();
        present.require_present(key("c"));
        assert_eq!(Expected::of([&create, &present].into_iter()), None);
    }

    #[test]
    fn what_is_added_is_not_looked_up() {
        let mut transaction = Transaction::new();
        for name in ["a", "b", "d"] {
            transaction.require_absent(key(name));
        }
        transaction.require_version(key("c"), Some(4));
        let expected = Expected::of([&transaction].into_iter()).unwrap();
        let (a, d, c, b) = (key("a"), key("d"), key("c"), key("b"));
        let (keys, versions) = expected.beside(&[a.as_bytes(), d.as_bytes()]);
        assert_eq!(keys, [b.as_bytes(), c.as_bytes()]);
        assert_eq!(versions, [None, Some(4)]);
    }

    #[test]
    fn a_head_is_expected_where_it_was_left_and_found() {
        let mut prediction = Prediction::default();
        prediction.learn(head(1), &decided(2, false));
        assert_eq!(prediction.head(), None, "not found yet where it was left");
        prediction.learn(head(2), &decided(5, false));
        assert_eq!(prediction.head(), Some(head(5)));
        prediction.failed();
        assert_eq!(prediction.head(), None);
        prediction.learn(head(9), &decided(10, false));
        assert_eq!(prediction.head(), None, "another node wrote in between");
        prediction.learn(head(10), &decided(11, true));
        assert_eq!(prediction.head(), None, "somebody was refused, and will be again");
        prediction.learn(head(11), &decided(12, false));
        assert_eq!(prediction.head(), Some(head(12)));
    }
}
