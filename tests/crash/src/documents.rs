//! A writer of documents: creates, replaces and deletes items by signed requests.

use anyhow::{Result, bail, ensure};
use http::Method;
use ledger::random::SeededRandom;
use serde_json::{Value, json};

use crate::book::{Book, State, below, bytes, hash};
use crate::client::{Client, Headers};
use crate::report::{Findings, Report};
use crate::round::Writer;

const COLLECTION: &str = "dbs/crash/colls/items";
const PAYLOAD_BYTES_MAX: usize = 3_000;

/// Writes under a partition key of its own.
#[derive(Debug)]
pub(crate) struct Documents {
    name: String,
    next: u64,
    book: Book,
}

impl Documents {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            name: format!("writer-{number}"),
            next: 0,
            book: Book::default(),
        }
    }

    fn headers(&self) -> Headers {
        vec![("x-ms-documentdb-partitionkey", json!([self.name]).to_string())]
    }

    fn item(&self, id: &str, random: &SeededRandom) -> (Vec<u8>, State) {
        let length = below(random, PAYLOAD_BYTES_MAX);
        let payload: String = bytes(random, length / 2)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let state = Some(hash(payload.as_bytes()));
        let body = json!({"id": id, "pk": self.name, "payload": payload, "length": length});
        (body.to_string().into_bytes(), state)
    }

    fn look(&self, client: &Client, id: &str) -> Result<State> {
        let link = format!("{COLLECTION}/docs/{id}");
        let answer = client.document(&Method::GET, "docs", &link, &link, &self.headers(), None)?;
        match answer.status {
            404 => Ok(None),
            200 => {
                let item: Value = serde_json::from_slice(&answer.body)?;
                let payload = item.get("payload").and_then(Value::as_str).unwrap_or_default();
                Ok(Some(hash(payload.as_bytes())))
            }
            status => bail!(
                "reading item {id}: {status} {}",
                String::from_utf8_lossy(&answer.body)
            ),
        }
    }
}

impl Writer for Documents {
    fn prepare(&mut self, client: &Client) -> Result<()> {
        let body = json!({"id": "crash"}).to_string();
        let answer = client.document(
            &Method::POST,
            "dbs",
            "",
            "dbs",
            &Vec::new(),
            Some(body.as_bytes()),
        )?;
        ensure!(
            matches!(answer.status, 201 | 409),
            "creating the database: {}",
            answer.status
        );
        let body = json!({"id": "items", "partitionKey": {"paths": ["/pk"], "kind": "Hash", "version": 2}});
        let answer = client.document(
            &Method::POST,
            "colls",
            "dbs/crash",
            "dbs/crash/colls",
            &Vec::new(),
            Some(body.to_string().as_bytes()),
        )?;
        ensure!(
            matches!(answer.status, 201 | 409),
            "creating the container: {}",
            answer.status
        );
        Ok(())
    }

    fn write(&mut self, client: &Client, random: &SeededRandom, report: &mut Report) -> Result<()> {
        let choice = below(random, 10);
        let known = if choice < 5 {
            None
        } else {
            self.book.any_present(random)
        };
        let (id, method, kind, wanted) = match known {
            None => {
                self.next += 1;
                (
                    format!("item-{}", self.next),
                    Method::POST,
                    "documents created",
                    201,
                )
            }
            Some(id) if choice < 8 => (id, Method::PUT, "documents replaced", 200),
            Some(id) => (id, Method::DELETE, "documents deleted", 204),
        };
        let own = format!("{COLLECTION}/docs/{id}");
        let (body, state) = self.item(&id, random);
        self.book
            .begin(&id, if method == Method::DELETE { None } else { state });
        let answer = if method == Method::POST {
            let path = format!("{COLLECTION}/docs");
            client.document(&method, "docs", COLLECTION, &path, &self.headers(), Some(&body))
        } else {
            let body = (method == Method::PUT).then_some(body.as_slice());
            client.document(&method, "docs", &own, &own, &self.headers(), body)
        }?;
        if answer.status == wanted {
            self.book.acknowledge(&id);
            report.acknowledge(kind);
            return Ok(());
        }
        self.book.refuse(&id);
        bail!(
            "{method} {id}: {} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        )
    }

    fn check(&mut self, client: &Client, all: bool) -> Result<Findings> {
        let touched = self.book.take_touched();
        let mut findings = Findings::new();
        for id in if all { self.book.keys() } else { touched } {
            let actual = self.look(client, &id)?;
            if let Some(fault) = self.book.settle(&id, actual) {
                findings.push((format!("item {}/{id}", self.name), fault));
            }
        }
        Ok(findings)
    }
}
