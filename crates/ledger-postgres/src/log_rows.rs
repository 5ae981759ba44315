//! How the log lies in its table: a row holds the entries of one group, which were committed
//! together, under the number of the last of them. A row for each entry would cost the database an
//! eighth of the time that a group takes.
//!
//! A row goes when all of its entries are trimmed; whoever reads skips what came before.

use ledger::{LedgerError, LogEntry, Sequence};
use tokio_postgres::Row;

use crate::record;

/// Appends the entries `$2` that end with number `$1`.
pub(crate) const APPEND: &str = "INSERT INTO log VALUES ($1, $2)";

/// The row that holds entry `$1`, if it is there.
pub(crate) const FIND: &str =
    "SELECT sequence, entries FROM log WHERE sequence >= $1 ORDER BY sequence LIMIT 1";

/// The newest row.
pub(crate) const NEWEST: &str = "SELECT sequence, entries FROM log ORDER BY sequence DESC LIMIT 1";

/// Rows with entries behind `$1`: at most `$2` rows, and only until their bytes pass `$3`; at least one.
pub(crate) const PAGE: &str = "SELECT sequence, entries FROM (SELECT sequence, entries, sum(pg_column_size(entries)) \
    OVER (ORDER BY sequence ROWS UNBOUNDED PRECEDING) AS running FROM log WHERE sequence > $1 \
    ORDER BY sequence LIMIT $2) page WHERE running - pg_column_size(entries) < $3";

/// The sealed entries of a row (number of the last, entries), each with its number.
pub(crate) fn sealed(row: &Row) -> Result<Vec<(Sequence, Vec<u8>)>, LedgerError> {
    number(record::from_column(row.get(0))?, row.get(1))
}

fn number(last: Sequence, entries: Vec<Vec<u8>>) -> Result<Vec<(Sequence, Vec<u8>)>, LedgerError> {
    let before = Sequence::try_from(entries.len())
        .ok()
        .filter(|count| *count > 0)
        .and_then(|count| last.checked_sub(count))
        .ok_or_else(|| LedgerError::Corrupt(format!("the log's row {last} is malformed")))?;
    Ok((before + 1..).zip(entries).collect())
}

/// The row's entry `sequence`, if it is one of its entries.
pub(crate) fn entry(row: &Row, sequence: Sequence) -> Result<Option<LogEntry>, LedgerError> {
    let sealed = sealed(row)?.into_iter().find(|(number, _)| *number == sequence);
    sealed.map(|(number, sealed)| open(number, &sealed)).transpose()
}

/// Checks a sealed entry; gives what it says.
pub(crate) fn open(sequence: Sequence, sealed: &[u8]) -> Result<LogEntry, LedgerError> {
    let text = record::unseal(&record::log_key(sequence), sequence, sealed)?;
    LogEntry::decode(text)
        .filter(|entry| entry.sequence == sequence)
        .ok_or_else(|| LedgerError::Corrupt(format!("log entry {sequence} is malformed")))
}

/// As [`open`]'s counterpart: an entry as it is kept.
pub(crate) fn seal(entry: &LogEntry) -> Vec<u8> {
    record::seal(&record::log_key(entry.sequence), entry.sequence, &entry.encode())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_numbered_from_the_last_one_back() {
        let numbered = number(7, vec![vec![1], vec![2], vec![3]]).unwrap();
        assert_eq!(numbered, [(5, vec![1]), (6, vec![2]), (7, vec![3])]);
        assert_eq!(number(1, vec![vec![9]]).unwrap(), [(1, vec![9])]);
        for (last, count) in [(0, 1), (2, 3), (5, 0)] {
            assert!(
                number(last, vec![Vec::new(); count]).is_err(),
                "{count} up to {last}"
            );
        }
    }
}
