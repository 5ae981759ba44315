//! A lease: a part of the ring, whose holder reads its changes and notes in a lease document how far
//! it is. After a kill it goes on where the document says, so it may see changes again.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use serde_json::{Value, json};

use super::writer::change;
use super::{COLLECTION, LEASES, State};
use crate::client::{Client, Headers};

/// See the module's header.
#[derive(Debug)]
pub(super) struct Lease {
    id: String,
    start: &'static str,
    end: &'static str,
    /// What the lease document has, and its etag.
    token: String,
    etag: String,
    seen: BTreeSet<String>,
    again: u64,
    state: State,
}

/// An item's partition and id, and the stamp of its write.
pub(super) fn key_and_stamp(item: &Value) -> Option<((String, String), u64)> {
    let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(((text("pk")?, text("id")?), item.get("stamp")?.as_u64()?))
}

impl Lease {
    pub(super) fn new(number: usize, start: &'static str, end: &'static str) -> Self {
        Self {
            id: format!("feed..{number}"),
            start,
            end,
            token: "*".to_owned(),
            etag: String::new(),
            seen: BTreeSet::new(),
            again: 0,
            state: State::new(),
        }
    }

    /// Whether this change came.
    pub(super) fn has_seen(&self, change: &str) -> bool {
        self.seen.contains(change)
    }

    /// All that came.
    pub(super) fn seen(&self) -> impl Iterator<Item = &String> {
        self.seen.iter()
    }

    /// What it adds up to.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn text(&self) -> String {
        let (id, seen, again) = (&self.id, self.seen.len(), self.again);
        format!("lease {id}: {seen} changes, {again} of them again")
    }

    fn headers(&self) -> Headers {
        vec![("x-ms-documentdb-partitionkey", json!([self.id]).to_string())]
    }

    /// Reads the lease document, or makes it with "now".
    pub(super) fn take_up(&mut self, client: &Client) -> Result<()> {
        let link = format!("{LEASES}/docs/{}", self.id);
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
                self.read(client)?;
                let path = format!("{LEASES}/docs");
                let body = json!({"id": self.id, "token": self.token}).to_string();
                let answer = client.document(
                    &Method::POST,
                    "docs",
                    LEASES,
                    &path,
                    &self.headers(),
                    Some(body.as_bytes()),
                )?;
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

    /// Reads a page, takes it in, and notes it in the lease document; false if nothing was new.
    pub(super) fn step(&mut self, client: &Client) -> Result<bool> {
        if !self.read(client)? {
            return Ok(false);
        }
        let link = format!("{LEASES}/docs/{}", self.id);
        let body = json!({"id": self.id, "token": self.token}).to_string();
        let mut headers = self.headers();
        headers.push(("if-match", self.etag.clone()));
        let answer = client.document(
            &Method::PUT,
            "docs",
            &link,
            &link,
            &headers,
            Some(body.as_bytes()),
        )?;
        ensure!(
            answer.status == 200,
            "noting lease {}: {}",
            self.id,
            answer.status
        );
        self.etag = etag(&answer.headers)?;
        Ok(true)
    }

    fn read(&mut self, client: &Client) -> Result<bool> {
        let headers = vec![
            ("a-im", "Full-Fidelity Feed".to_owned()),
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
        if answer.status == 304 {
            self.token = etag(&answer.headers)?;
            return Ok(false);
        }
        let said = String::from_utf8_lossy(&answer.body);
        ensure!(
            answer.status == 200,
            "reading {}: {} {said}",
            self.id,
            answer.status
        );
        let body: Value = serde_json::from_slice(&answer.body)?;
        let changes = body.get("Documents").and_then(Value::as_array);
        for one in changes.context("an answer without changes")? {
            self.take_in(one)
                .with_context(|| format!("lease {}: {one} is no change", self.id))?;
        }
        self.token = etag(&answer.headers)?;
        Ok(true)
    }

    fn take_in(&mut self, one: &Value) -> Option<()> {
        let operation = one.get("metadata")?.get("operationType")?.as_str()?;
        let image = if operation == "delete" {
            "previous"
        } else {
            "current"
        };
        let (key, stamp) = key_and_stamp(one.get(image)?)?;
        if !self.seen.insert(change(operation, &key.0, &key.1, stamp)) {
            self.again += 1;
        }
        // In the order of commits, also when some of them come again.
        if operation == "delete" {
            self.state.remove(&key);
        } else {
            self.state.insert(key, stamp);
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
