//! A writer of items by everything that writes several at once or demands what it read: transactional
//! batches, some of which fail, bulk requests, patches and replacements with etags, deletions of
//! whole partitions.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use ledger::random::SeededRandom;
use serde_json::{Value, json};

use super::model::{Item, Items, Model, Outcome, Place};
use super::operations::{Author, OPERATIONS_MAX, Operation, changes};
use super::{COLLECTION, ITEMS_PER_PARTITION, PARTITIONS, make_container, read_all, said};
use crate::book::below;
use crate::client::{Answer, Client, Headers};
use crate::report::{Findings, Report};
use crate::round::Writer;

/// What kills fall into, and what is under way then.
pub(crate) const BATCH: &str = "an open batch";
const BATCH_DONE: &str = "an open batch, which was done";
const BATCH_UNDONE: &str = "an open batch, of which nothing was done";
const FAILING: &str = "an open batch that fails";
const BULK: &str = "an open bulk request";
const PATCH: &str = "an open patch with an etag";
const REPLACEMENT: &str = "an open replacement with an etag";
const PARTITION: &str = "an open deletion of a partition";

/// What the service adds to an item.
const ADDED: [&str; 5] = ["_rid", "_self", "_etag", "_attachments", "_ts"];

/// No item's etag.
const STALE: &str = "\"00000000-0000-0000-0000-000000000000\"";

/// Writes to partitions of its own.
#[derive(Debug)]
pub(crate) struct Batches {
    author: Author,
    model: Model,
    filled: bool,
    hits: Vec<&'static str>,
}

impl Batches {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            author: Author::new(format!("batches-{number}")),
            model: Model::default(),
            filled: false,
            hits: Vec::new(),
        }
    }

    fn any_partition(&self, random: &SeededRandom) -> String {
        let number = below(random, usize::try_from(PARTITIONS).unwrap_or(1));
        self.author.partition(number as u64)
    }

    fn any_item(&self, random: &SeededRandom) -> Option<(Place, Item)> {
        let items = self.model.items();
        let known = items.iter().nth(below(random, items.len()));
        known.map(|(place, item)| (place.clone(), item.clone()))
    }

    /// A batch, mostly long; every eighth ends in an operation that fails.
    fn batch(&mut self, client: &Client, random: &SeededRandom, report: &mut Report) -> Result<()> {
        let partition = self.any_partition(random);
        let items = self.model.partition(&partition);
        let length = if below(random, 4) == 0 {
            1 + below(random, OPERATIONS_MAX)
        } else {
            OPERATIONS_MAX
        };
        let fails = below(random, 8) == 0;
        let operations = if items.is_empty() {
            self.creations(&partition, random)
        } else {
            self.author.batch(&partition, &items, length, random)
        };
        if !fails {
            return self.send_batch(client, BATCH, &partition, operations, report);
        }
        let mut bodies: Vec<Value> = operations.into_iter().map(|operation| operation.body).collect();
        bodies.truncate(OPERATIONS_MAX - 1);
        bodies.push(json!({"operationType": "Read", "id": "an item that isn't there"}));
        self.model.begin(FAILING, true, BTreeMap::new());
        let answer = send(client, &batch_headers(&partition), &bodies)?;
        self.model.acknowledge(BTreeMap::new());
        match answer.status {
            207 => report.acknowledge("batches refused whole"),
            449 => report.asked_again(),
            _ => bail!("a batch that fails: {}", said(&answer)),
        }
        Ok(())
    }

    fn creations(&mut self, partition: &str, random: &SeededRandom) -> Vec<Operation> {
        self.author.creations(partition, ITEMS_PER_PARTITION, random)
    }

    fn send_batch(
        &mut self,
        client: &Client,
        what: &'static str,
        partition: &str,
        operations: Vec<Operation>,
        report: &mut Report,
    ) -> Result<()> {
        self.model
            .begin(what, true, changes(&operations, self.model.items()));
        let bodies: Vec<Value> = operations
            .iter()
            .map(|operation| operation.body.clone())
            .collect();
        let answer = send(client, &batch_headers(partition), &bodies)?;
        if answer.status == 449 {
            self.model.acknowledge(BTreeMap::new());
            report.asked_again();
            return Ok(());
        }
        ensure!(answer.status == 200, "a batch: {}", said(&answer));
        let results = results(&answer, operations.len())?;
        let mut done = BTreeMap::new();
        for (operation, result) in operations.into_iter().zip(results) {
            ensure!(
                status(&result) == u64::from(operation.wanted),
                "{} in a batch: {result}",
                operation.body
            );
            note(&mut done, operation, &result);
        }
        self.model.acknowledge(done);
        report.acknowledge("batches");
        Ok(())
    }

    fn bulk(&mut self, client: &Client, random: &SeededRandom, report: &mut Report) -> Result<()> {
        let length = 1 + below(random, OPERATIONS_MAX / 2);
        let operations = self.author.bulk(self.model.items(), length, random);
        if operations.is_empty() {
            return Ok(());
        }
        let headers = vec![
            ("x-ms-cosmos-is-batch-request", "True".to_owned()),
            ("x-ms-cosmos-batch-atomic", "False".to_owned()),
            ("x-ms-cosmos-batch-continue-on-error", "True".to_owned()),
            ("x-ms-documentdb-partitionkeyrangeid", "0".to_owned()),
        ];
        self.model
            .begin(BULK, false, changes(&operations, self.model.items()));
        let bodies: Vec<Value> = operations
            .iter()
            .map(|operation| operation.body.clone())
            .collect();
        let answer = send(client, &headers, &bodies)?;
        ensure!(matches!(answer.status, 200 | 207), "bulk: {}", said(&answer));
        let results = results(&answer, operations.len())?;
        let mut done = BTreeMap::new();
        for (operation, result) in operations.into_iter().zip(results) {
            match status(&result) {
                449 => report.asked_again(),
                given if given == u64::from(operation.wanted) => {
                    note(&mut done, operation, &result);
                    report.acknowledge("operations in bulk");
                }
                _ => bail!("{} in bulk: {result}", operation.body),
            }
        }
        self.model.acknowledge(done);
        Ok(())
    }

    /// A patch or a replacement that demands the state it knows; every fifth demands another one.
    fn demanding(&mut self, client: &Client, random: &SeededRandom, report: &mut Report) -> Result<()> {
        let Some((place, item)) = self.any_item(random) else {
            return Ok(());
        };
        let (method, what, body, after) = if below(random, 2) == 0 {
            let (patch, after) = self.author.patch(&item.document, random);
            (Method::PATCH, PATCH, patch, after)
        } else {
            let after = self.author.document(&place, random);
            (Method::PUT, REPLACEMENT, after.clone(), after)
        };
        let stale = below(random, 5) == 0;
        let mut changed = BTreeMap::new();
        if !stale {
            changed.insert(place.clone(), Some(after.clone()));
        }
        self.model.begin(what, true, changed);
        let mut headers = key_header(&place.0);
        let etag = if stale { STALE } else { &item.etag };
        headers.push(("if-match", etag.to_owned()));
        let link = format!("{COLLECTION}/docs/{}", place.1);
        let body = body.to_string();
        let answer = client.document(&method, "docs", &link, &link, &headers, Some(body.as_bytes()))?;
        match answer.status {
            200 if !stale => {
                let etag = answer.headers.get("etag").context("an answer without an etag")?;
                let etag = etag.to_str()?.to_owned();
                let item = Item {
                    document: after,
                    etag,
                };
                self.model.acknowledge([(place, Some(item))].into());
                let patched = what == PATCH;
                report.acknowledge(if patched {
                    "patches with an etag"
                } else {
                    "replacements with an etag"
                });
            }
            412 if stale => self.model.acknowledge(BTreeMap::new()),
            449 => {
                self.model.acknowledge(BTreeMap::new());
                report.asked_again();
            }
            _ => bail!("{method} {place:?} with {etag}: {}", said(&answer)),
        }
        Ok(())
    }

    fn delete_partition(
        &mut self,
        client: &Client,
        random: &SeededRandom,
        report: &mut Report,
    ) -> Result<()> {
        let partition = self.any_partition(random);
        let gone: Vec<Place> = self.model.partition(&partition).into_keys().collect();
        let changes = gone.iter().map(|place| (place.clone(), None)).collect();
        self.model.begin(PARTITION, false, changes);
        let path = format!("{COLLECTION}/operations/partitionkeydelete");
        let headers = key_header(&partition);
        let answer = client.document(&Method::POST, "colls", COLLECTION, &path, &headers, Some(&[]))?;
        match answer.status {
            200 => {
                self.model
                    .acknowledge(gone.into_iter().map(|place| (place, None)).collect());
                report.acknowledge("partitions deleted");
                // What was deleted is made again, so that there is something to write to.
                let creations = self.creations(&partition, random);
                self.send_batch(client, BATCH, &partition, creations, report)
            }
            // Some of it may have gone.
            449 => {
                let there = self.read(client)?;
                let (findings, _) = self.model.settle(there);
                ensure!(findings.is_empty(), "a deletion that gave up: {findings:?}");
                report.asked_again();
                Ok(())
            }
            _ => bail!("deleting {partition}: {}", said(&answer)),
        }
    }

    /// All that is there of this writer.
    fn read(&self, client: &Client) -> Result<Items> {
        let mut items = Items::new();
        for number in 0..PARTITIONS {
            let partition = self.author.partition(number);
            for mut document in read_all(client, &Method::GET, &key_header(&partition), None)? {
                let text = |document: &Value, name: &str| {
                    let text = document.get(name).and_then(Value::as_str);
                    text.map(str::to_owned)
                        .with_context(|| format!("an item without {name}: {document}"))
                };
                let place = (text(&document, "pk")?, text(&document, "id")?);
                let etag = text(&document, "_etag")?;
                if let Value::Object(object) = &mut document {
                    object.retain(|name, _| !ADDED.contains(&name.as_str()));
                }
                let twice = items.insert(place, Item { document, etag });
                ensure!(twice.is_none(), "an item comes twice: {twice:?}");
            }
        }
        Ok(items)
    }
}

impl Writer for Batches {
    fn prepare(&mut self, client: &Client) -> Result<()> {
        make_container(client)?;
        if !self.filled {
            let random = SeededRandom::new(0);
            for number in 0..PARTITIONS {
                let partition = self.author.partition(number);
                let creations = self.creations(&partition, &random);
                self.send_batch(client, BATCH, &partition, creations, &mut Report::default())?;
            }
            self.filled = true;
        }
        Ok(())
    }

    fn write(&mut self, client: &Client, random: &SeededRandom, report: &mut Report) -> Result<()> {
        match below(random, 20) {
            0..9 => self.batch(client, random, report),
            9..13 => self.bulk(client, random, report),
            13..19 => self.demanding(client, random, report),
            _ => self.delete_partition(client, random, report),
        }
    }

    fn check(&mut self, client: &Client, _all: bool) -> Result<Findings> {
        self.hits.extend(self.model.under_way());
        let there = self.read(client)?;
        let (findings, outcome) = self.model.settle(there);
        match outcome {
            Some((BATCH, Outcome::Done)) => self.hits.push(BATCH_DONE),
            Some((BATCH, Outcome::Undone)) => self.hits.push(BATCH_UNDONE),
            _ => {}
        }
        Ok(findings)
    }

    fn take_hits(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.hits)
    }
}

fn key_header(partition: &str) -> Headers {
    vec![("x-ms-documentdb-partitionkey", json!([partition]).to_string())]
}

fn batch_headers(partition: &str) -> Headers {
    let mut headers = key_header(partition);
    headers.push(("x-ms-cosmos-is-batch-request", "True".to_owned()));
    headers.push(("x-ms-cosmos-batch-atomic", "True".to_owned()));
    headers
}

fn send(client: &Client, headers: &Headers, operations: &[Value]) -> Result<Answer> {
    let path = format!("{COLLECTION}/docs");
    let body = serde_json::to_vec(operations)?;
    client.document(&Method::POST, "docs", COLLECTION, &path, headers, Some(&body))
}

/// A result for each of so many operations.
fn results(answer: &Answer, count: usize) -> Result<Vec<Value>> {
    let results: Vec<Value> =
        serde_json::from_slice(&answer.body).with_context(|| format!("no results: {}", said(answer)))?;
    ensure!(
        results.len() == count,
        "{} results of {count} operations",
        results.len()
    );
    Ok(results)
}

fn status(result: &Value) -> u64 {
    let status = result.get("statusCode").and_then(Value::as_u64);
    status.unwrap_or_default()
}

/// Writes down what an operation that did well has made of its item.
fn note(done: &mut BTreeMap<Place, Option<Item>>, operation: Operation, result: &Value) {
    let Some(after) = operation.after else {
        return;
    };
    let etag = result.get("eTag").and_then(Value::as_str).unwrap_or_default();
    let item = after.map(|document| Item {
        document,
        etag: etag.to_owned(),
    });
    done.insert(operation.place, item);
}
