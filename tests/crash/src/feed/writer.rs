//! A writer with a partition of its own: every write has a stamp that no other has, so each change
//! can be told from all others.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, bail};
use http::Method;
use ledger::random::SeededRandom;
use serde_json::{Value, json};

use super::{COLLECTION, Change, Operation, State};
use crate::book::below;
use crate::client::{Client, Headers};
use crate::report::Report;

/// Items that a writer has at most at a time.
const ITEMS_MAX: usize = 40;

/// A request that wasn't answered.
#[derive(Debug)]
struct UnderWay {
    id: String,
    change: Change,
    /// The item's stamp if it was done.
    after: Option<u64>,
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Writer {
    partition: String,
    next: u64,
    items: BTreeMap<String, u64>,
    changes: BTreeSet<Change>,
    under_way: Option<UnderWay>,
}

impl Writer {
    pub(super) fn new(number: u64) -> Self {
        Self {
            partition: format!("writer-{number}"),
            next: 0,
            items: BTreeMap::new(),
            changes: BTreeSet::new(),
            under_way: None,
        }
    }

    /// Changes that were acknowledged, or turned out to have been made.
    pub(super) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter()
    }

    /// What must be there.
    pub(super) fn state(&self) -> State {
        let keyed = |(id, stamp): (&String, &u64)| ((self.partition.clone(), id.clone()), *stamp);
        self.items.iter().map(keyed).collect()
    }

    fn headers(&self) -> Headers {
        vec![(
            "x-ms-documentdb-partitionkey",
            json!([self.partition]).to_string(),
        )]
    }

    fn change(&self, operation: Operation, id: &str, stamp: u64) -> Change {
        Change {
            operation,
            key: (self.partition.clone(), id.to_owned()),
            stamp,
        }
    }

    /// One write.
    pub(super) fn step(&mut self, client: &Client, random: &SeededRandom, report: &mut Report) -> Result<()> {
        let mut choice = below(random, 10);
        if self.items.len() >= ITEMS_MAX {
            choice = 9;
        }
        let known = self.items.iter().nth(below(random, self.items.len()));
        let known = known.map(|(id, stamp)| (id.clone(), *stamp));
        self.next += 1;
        let stamp = self.next;
        let (id, method, operation, wanted, after) = match known {
            Some((id, old)) if choice >= 8 => {
                let change = self.change(Operation::Delete, &id, old);
                (id, Method::DELETE, change, 204, None)
            }
            Some((id, _)) if choice >= 4 => {
                let change = self.change(Operation::Replace, &id, stamp);
                (id, Method::PUT, change, 200, Some(stamp))
            }
            _ => {
                let id = format!("item-{stamp}");
                let change = self.change(Operation::Create, &id, stamp);
                (id, Method::POST, change, 201, Some(stamp))
            }
        };
        let own = format!("{COLLECTION}/docs/{id}");
        let feed = format!("{COLLECTION}/docs");
        let (link, path) = if method == Method::POST {
            (COLLECTION, feed.as_str())
        } else {
            (own.as_str(), own.as_str())
        };
        let body =
            json!({"id": id, "pk": self.partition, "stamp": stamp, "text": "x".repeat(below(random, 400))});
        let body = body.to_string().into_bytes();
        let body = (method != Method::DELETE).then_some(body.as_slice());
        self.under_way = Some(UnderWay {
            id,
            change: operation,
            after,
        });
        let answer = client.document(&method, "docs", link, path, &self.headers(), body)?;
        if answer.status != wanted {
            bail!(
                "{method} {path}: {} {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            );
        }
        self.is_done();
        report.acknowledge("changes");
        Ok(())
    }

    /// Whether a request of its has had no answer.
    pub(super) fn is_waiting(&self) -> bool {
        self.under_way.is_some()
    }

    fn is_done(&mut self) {
        if let Some(done) = self.under_way.take() {
            match done.after {
                Some(stamp) => self.items.insert(done.id, stamp),
                None => self.items.remove(&done.id),
            };
            self.changes.insert(done.change);
        }
    }

    /// Finds out what became of the request that a kill left without an answer.
    pub(super) fn settle(&mut self, client: &Client) -> Result<()> {
        let Some(open) = &self.under_way else {
            return Ok(());
        };
        let link = format!("{COLLECTION}/docs/{}", open.id);
        let answer = client.document(&Method::GET, "docs", &link, &link, &self.headers(), None)?;
        let actual = match answer.status {
            404 => None,
            200 => {
                let item: Value = serde_json::from_slice(&answer.body)?;
                item.get("stamp").and_then(Value::as_u64)
            }
            status => bail!("reading {link}: {status}"),
        };
        if actual == open.after {
            self.is_done();
        } else {
            self.under_way = None;
        }
        Ok(())
    }
}
