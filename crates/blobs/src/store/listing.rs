//! Listings, page by page. With a delimiter, what lies behind a common prefix is jumped over, not
//! read.

use ledger::{Direction, Key, KeyRange, Scan, Snapshot};

use crate::Blobs;
use crate::error::BlobsError;
use crate::store::containers::Container;
use crate::store::keys;
use crate::store::records::{BlobRecord, ContainerRecord, decode};

/// One line of a listing.
#[derive(Debug)]
pub(crate) enum Line {
    Blob(Box<BlobRecord>),
    Prefix(String),
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) prefix: &'a str,
    pub(crate) delimiter: Option<&'a str>,
    /// The first name that may be given.
    pub(crate) from: Option<&'a str>,
    pub(crate) entries_max: usize,
}

impl Blobs {
    /// A page of blobs, and the name that the next page begins with.
    pub(crate) async fn list_blobs(
        &self,
        snapshot: &dyn Snapshot,
        container: &Container,
        wanted: Wanted<'_>,
    ) -> Result<(Vec<Line>, Option<String>), BlobsError> {
        let generation = &container.record.generation;
        let whole = keys::blobs(generation, wanted.prefix);
        let mut range = begin(
            whole.clone(),
            wanted.from.map(|from| keys::blob(generation, from)),
        );
        let mut lines = Vec::new();
        loop {
            let mut scan = Scan::new(snapshot, range, Direction::Forward);
            let mut jump = None;
            while let Some(entry) = scan.next().await? {
                let record: BlobRecord = decode(&entry.versioned)?;
                let common = wanted
                    .delimiter
                    .and_then(|delimiter| common(&record.name, wanted.prefix, delimiter));
                let name = common.clone().unwrap_or_else(|| record.name.clone());
                if lines.len() >= wanted.entries_max {
                    return Ok((lines, Some(name)));
                }
                if let Some(common) = common {
                    jump = keys::blobs(generation, &common).end;
                    lines.push(Line::Prefix(common));
                    break;
                }
                lines.push(Line::Blob(Box::new(record)));
            }
            match jump {
                Some(next) => range = begin(whole.clone(), Some(next)),
                None => return Ok((lines, None)),
            }
        }
    }

    /// A page of containers, and the name that the next page begins with.
    pub(crate) async fn list_containers(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
        wanted: Wanted<'_>,
    ) -> Result<(Vec<ContainerRecord>, Option<String>), BlobsError> {
        let from = wanted.from.map(|from| keys::container(account, from));
        let mut scan = Scan::new(
            snapshot,
            begin(keys::containers(account, wanted.prefix), from),
            Direction::Forward,
        );
        let mut records = Vec::new();
        while let Some(entry) = scan.next().await? {
            let record: ContainerRecord = decode(&entry.versioned)?;
            if records.len() >= wanted.entries_max {
                return Ok((records, Some(record.name)));
            }
            records.push(record);
        }
        Ok((records, None))
    }
}

fn begin(range: KeyRange, from: Option<Key>) -> KeyRange {
    match from {
        Some(from) if from > range.start => KeyRange {
            start: from,
            end: range.end,
        },
        _ => range,
    }
}

/// The name up to and with the first delimiter behind the prefix.
fn common(name: &str, prefix: &str, delimiter: &str) -> Option<String> {
    let rest = name.strip_prefix(prefix)?;
    let at = rest.find(delimiter)?;
    let end = prefix.len() + at + delimiter.len();
    name.get(..end).map(str::to_owned)
}
