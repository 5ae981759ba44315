//! The items that a query looks at, one after the other, from whichever source was chosen, and the
//! tokens that come back to one.

use ledger::{Clock, Snapshot};
use serde_json::Value;

use super::continuation::FeedToken;
use super::ordered::{OrderedSource, Position, Step};
use super::page::Counters;
use super::source::NumberSource;
use crate::error::DocumentsError;
use crate::store::records::ItemRecord;

pub(super) enum Source<'a> {
    ByNumber(NumberSource<'a>),
    Ordered(Box<OrderedSource<'a>>),
}

/// An item to push, and what a token needs to come back to it.
pub(super) struct Candidate {
    pub(super) number: u64,
    pub(super) record: ItemRecord,
    /// What the query looks at of it, at least.
    pub(super) document: Value,
    pub(super) position: Option<Position>,
}

pub(super) enum Next {
    Candidate(Candidate),
    Pause(Position),
    End,
}

impl Source<'_> {
    pub(super) async fn next(
        &mut self,
        snapshot: &dyn Snapshot,
        counters: &mut Counters,
        clock: &dyn Clock,
        properties: Option<&[String]>,
    ) -> Result<Next, DocumentsError> {
        match self {
            Self::ByNumber(source) => match source.next(snapshot, counters).await? {
                Some((number, record)) => {
                    let document = record.parse_properties(properties)?;
                    Ok(Next::Candidate(Candidate {
                        number,
                        record,
                        document,
                        position: None,
                    }))
                }
                None => Ok(Next::End),
            },
            Self::Ordered(source) => match source.next(snapshot, counters, clock).await? {
                Step::Item(item) => Ok(Next::Candidate(Candidate {
                    number: item.number,
                    record: item.record,
                    document: item.document,
                    position: Some(item.position),
                })),
                Step::Pause(position) => Ok(Next::Pause(position)),
                Step::End => Ok(Next::End),
            },
        }
    }
}

pub(super) fn token_at(position: Option<&Position>, number: u64, rows: u32) -> FeedToken {
    match position {
        None => FeedToken::ByNumber { number, rows },
        Some(position) => FeedToken::Ordered {
            composite: position.composite,
            undefined: position.undefined,
            position: position.bytes.clone(),
            entries: position.entries,
            number,
            rows,
        },
    }
}
