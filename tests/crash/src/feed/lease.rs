//! A lease: a part of the ring, whose reader reads its changes, handles them, and notes in a lease
//! document how far it is. A reader that died goes on where the document says, so it may see changes
//! again.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use ledger::random::SeededRandom;
use serde_json::{Value, json};

use super::{COLLECTION, Change, Key, LEASES, Operation, State};
use crate::book::below;
use crate::client::{Client, Headers};

/// A reader takes a millisecond for so many changes, so that kills find it with a page in hand.
const CHANGES_PER_MILLISECOND: usize = 8;

/// Of so many pages, a reader dies over one.
const PAGES_PER_DEATH: usize = 40;

/// Changes that came in a wrong order that are kept.
const DISORDERED_MAX: usize = 10;

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    AllVersions,
    Latest,
}

/// See the module's header.
#[derive(Debug)]
pub(super) struct Lease {
    id: String,
    mode: Mode,
    start: &'static str,
    end: &'static str,
    /// What the lease document has, and its etag.
    token: String,
    etag: String,
    /// The commit of the newest change since the reader began.
    commit: u64,
    seen: BTreeSet<Change>,
    again: u64,
    deaths: u64,
    disordered: Vec<String>,
    state: State,
}

/// A page, not handled yet, and the token behind it.
#[derive(Debug)]
struct Page {
    changes: Vec<Value>,
    token: String,
    /// Whether nothing is behind it yet.
    ended: bool,
}

/// An item's partition and id, and the stamp of its write.
pub(super) fn key_and_stamp(item: &Value) -> Option<(Key, u64)> {
    let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(((text("pk")?, text("id")?), item.get("stamp")?.as_u64()?))
}

impl Lease {
    pub(super) fn new(id: String, mode: Mode, start: &'static str, end: &'static str) -> Self {
        Self {
            id,
            mode,
            start,
            end,
            token: "*".to_owned(),
            etag: String::new(),
            commit: 0,
            seen: BTreeSet::new(),
            again: 0,
            deaths: 0,
            disordered: Vec::new(),
            state: State::new(),
        }
    }

    /// All that came.
    pub(super) fn seen(&self) -> &BTreeSet<Change> {
        &self.seen
    }

    /// What it adds up to.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// How often its reader died with a page in hand.
    pub(super) fn deaths(&self) -> u64 {
        self.deaths
    }

    /// Changes that came after later ones.
    pub(super) fn disordered(&self) -> &[String] {
        &self.disordered
    }

    pub(super) fn text(&self) -> String {
        let (id, seen, again, deaths) = (&self.id, self.seen.len(), self.again, self.deaths);
        format!("lease {id}: {seen} changes, {again} of them again, {deaths} deaths with a page in hand")
    }

    fn headers(&self) -> Headers {
        vec![("x-ms-documentdb-partitionkey", json!([self.id]).to_string())]
    }

    fn link(&self) -> String {
        format!("{LEASES}/docs/{}", self.id)
    }

    fn document(&self) -> Vec<u8> {
        json!({"id": self.id, "token": self.token})
            .to_string()
            .into_bytes()
    }

    /// A new reader begins: reads the lease document, or makes it with "now".
    pub(super) fn take_up(&mut self, client: &Client) -> Result<()> {
        self.commit = 0;
        let link = self.link();
        let answer = client.document(&Method::GET, "docs", &link, &link, &self.headers(), None)?;
        match answer.status {
            200 => {
                let document: Value = serde_json::from_slice(&answer.body)?;
                let token = document.get("token").and_then(Value::as_str);
                token
                    .context("a lease without its token")?
                    .clone_into(&mut self.token);
                self.etag = etag(&answer.headers)?;
                Ok(())
            }
            404 => {
                // The first read starts from now; what it answers is where to go on.
                let page = self.read(client)?;
                ensure!(page.changes.is_empty(), "changes before now: {page:?}");
                self.token = page.token;
                let path = format!("{LEASES}/docs");
                let body = self.document();
                let answer =
                    client.document(&Method::POST, "docs", LEASES, &path, &self.headers(), Some(&body))?;
                ensure!(
                    answer.status == 201,
                    "making lease {}: {}",
                    self.id,
                    answer.status
                );
                self.etag = etag(&answer.headers)?;
                Ok(())
            }
            status => bail!("reading lease {}: {status}", self.id),
        }
    }

    /// Reads a page, handles it, and notes it in the lease document; false if nothing was new. With
    /// `danger` the reader may die over the page: by chance, or because the server has died.
    pub(super) fn step(
        &mut self,
        client: &Client,
        danger: Option<(&SeededRandom, &AtomicBool)>,
    ) -> Result<bool> {
        let page = self.read(client)?;
        if page.ended {
            self.token = page.token;
            return Ok(false);
        }
        if !self.handle(&page, danger)? {
            self.deaths += 1;
            // If the server is gone, the next reader comes when it is back.
            self.take_up(client)?;
            return Ok(true);
        }
        self.token = page.token;
        self.note(client)?;
        Ok(true)
    }

    /// Takes a page in; false if the reader died over it.
    fn handle(&mut self, page: &Page, danger: Option<(&SeededRandom, &AtomicBool)>) -> Result<bool> {
        let dies = danger
            .filter(|(random, _)| below(random, PAGES_PER_DEATH) == 0)
            .map(|(random, _)| below(random, page.changes.len()));
        for (at, one) in page.changes.iter().enumerate() {
            if let Some((_, over)) = danger {
                if at % CHANGES_PER_MILLISECOND == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
                if dies == Some(at) || over.load(Ordering::SeqCst) {
                    return Ok(false);
                }
            }
            self.take_in(one)
                .with_context(|| format!("lease {}: {one} is no change", self.id))?;
        }
        Ok(true)
    }

    fn note(&mut self, client: &Client) -> Result<()> {
        let (link, body) = (self.link(), self.document());
        let mut headers = self.headers();
        headers.push(("if-match", self.etag.clone()));
        let answer = client.document(&Method::PUT, "docs", &link, &link, &headers, Some(&body))?;
        ensure!(
            answer.status == 200,
            "noting lease {}: {}",
            self.id,
            answer.status
        );
        self.etag = etag(&answer.headers)?;
        Ok(())
    }

    fn read(&self, client: &Client) -> Result<Page> {
        let mode = match self.mode {
            Mode::AllVersions => "Full-Fidelity Feed",
            Mode::Latest => "Incremental Feed",
        };
        let headers = vec![
            ("a-im", mode.to_owned()),
            (
                "x-ms-cosmos-changefeed-wire-format-version",
                "2021-09-15".to_owned(),
            ),
            ("if-none-match", self.token.clone()),
            ("x-ms-documentdb-partitionkeyrangeid", "0".to_owned()),
            ("x-ms-start-epk", self.start.to_owned()),
            ("x-ms-end-epk", self.end.to_owned()),
        ];
        let path = format!("{COLLECTION}/docs");
        let answer = client.document(&Method::GET, "docs", COLLECTION, &path, &headers, None)?;
        let token = etag(&answer.headers);
        let changes = match answer.status {
            304 => Vec::new(),
            200 => {
                let mut body: Value = serde_json::from_slice(&answer.body)?;
                match body.get_mut("Documents").map(Value::take) {
                    Some(Value::Array(changes)) => changes,
                    _ => bail!("an answer without changes"),
                }
            }
            status => bail!(
                "reading {}: {status} {}",
                self.id,
                String::from_utf8_lossy(&answer.body)
            ),
        };
        Ok(Page {
            changes,
            token: token?,
            ended: answer.status == 304,
        })
    }

    /// Takes a change in; `None` if it is no change.
    pub(super) fn take_in(&mut self, one: &Value) -> Option<()> {
        let metadata = one.get("metadata")?;
        let operation = match (self.mode, metadata.get("operationType").and_then(Value::as_str)) {
            (Mode::Latest, _) => Operation::Write,
            (_, Some("create")) => Operation::Create,
            (_, Some("replace")) => Operation::Replace,
            (_, Some("delete")) => Operation::Delete,
            _ => return None,
        };
        let image = if operation == Operation::Delete {
            "previous"
        } else {
            "current"
        };
        let (key, stamp) = key_and_stamp(one.get(image)?)?;
        let commit = metadata.get("lsn")?.as_u64()?;
        if commit < self.commit && self.disordered.len() < DISORDERED_MAX {
            let (id, before) = (&self.id, self.commit);
            self.disordered
                .push(format!("lease {id}: commit {commit} after {before}"));
        }
        self.commit = commit;
        // In the order of commits, also when some of them come again.
        if operation == Operation::Delete {
            self.state.remove(&key);
        } else {
            self.state.insert(key.clone(), stamp);
        }
        let change = Change {
            operation,
            key,
            stamp,
        };
        if !self.seen.insert(change) {
            self.again += 1;
        }
        Some(())
    }
}

fn etag(headers: &http::HeaderMap) -> Result<String> {
    Ok(headers
        .get("etag")
        .context("an answer without an etag")?
        .to_str()?
        .to_owned())
}
