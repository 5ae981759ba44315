//! What a group writes, as the columns that statements take.

use tokio_postgres::types::ToSql;

use crate::group::Decided;
use crate::record;

/// A parameter of a statement.
pub(crate) type Parameter<'a> = &'a (dyn ToSql + Sync);

/// Rows of table `data`, column by column.
#[derive(Debug, Default)]
pub(crate) struct Records<'a> {
    pub(crate) keys: Vec<&'a [u8]>,
    pub(crate) versions: Vec<i64>,
    pub(crate) records: Vec<&'a [u8]>,
}

/// All that a group writes.
#[derive(Debug)]
pub(crate) struct Rows<'a> {
    /// Keys that are known to be absent: a plain insert is half of what an upsert costs.
    pub(crate) added: Records<'a>,
    /// Keys that may be there.
    pub(crate) put: Records<'a>,
    pub(crate) removed: Vec<&'a [u8]>,
    /// The log's new entries, which end with number `head`.
    pub(crate) entries: Vec<&'a [u8]>,
    /// Where the log stands then.
    pub(crate) head: i64,
    pub(crate) chain: &'a [u8],
}

impl<'a> Rows<'a> {
    /// `is_absent` says which keys are known not to be in the table.
    pub(crate) fn of(decided: &'a Decided, is_absent: impl Fn(&[u8]) -> bool) -> Self {
        let (mut added, mut put, mut removed) = (Records::default(), Records::default(), Vec::new());
        for (key, write) in &decided.writes {
            let key = key.as_bytes();
            match write {
                Some((sequence, sealed)) => {
                    let records = if is_absent(key) { &mut added } else { &mut put };
                    records.keys.push(key);
                    records.versions.push(record::to_column(*sequence));
                    records.records.push(sealed);
                }
                None => removed.push(key),
            }
        }
        Self {
            added,
            put,
            removed,
            entries: decided.entries.iter().map(Vec::as_slice).collect(),
            head: record::to_column(decided.head.sequence),
            chain: decided.head.chain.as_slice(),
        }
    }
}
