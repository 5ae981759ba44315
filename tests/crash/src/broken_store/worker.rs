//! One worker: puts, reads and deletes blobs of its own, of all sizes, and knows for each what was
//! acknowledged. Content is made from a seed, so that any range of it can be made again.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use http::Method;
use ledger::random::{Random as _, SeededRandom};

use super::report::Report;
use crate::book::{Book, Fault, Hash, State, below, bytes, hash};
use crate::client::{Answer, BrokenOff, Client, Headers};

/// Where all blobs are.
pub(crate) const CONTAINER: &str = "/broken-store";

/// Tries to read a blob with the store sound: time may run out for one on a machine that is busy.
const LOOKS_MAX: usize = 3;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Content that was sent.
#[derive(Debug, Clone, Copy)]
struct Sent {
    seed: u64,
    length: usize,
}

/// Has keys of its own.
#[derive(Debug)]
pub(crate) struct Worker {
    prefix: String,
    random: SeededRandom,
    next: u64,
    book: Book,
    sent: BTreeMap<Hash, Sent>,
    /// Keys whose state isn't known, since a write went unanswered.
    unknown: BTreeSet<String>,
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answered(Answer),
    /// An answer of this status began and broke off.
    BrokenOff(u16),
    /// Why there was none.
    Unanswered(String),
}

impl Outcome {
    /// The body of an answer of this status.
    pub(crate) fn body(&self, status: u16) -> Option<&[u8]> {
        match self {
            Self::Answered(answer) if answer.status == status => Some(&answer.body),
            _ => None,
        }
    }
}

impl Worker {
    pub(crate) fn new(number: u64, seed: u64) -> Self {
        Self {
            prefix: format!("{CONTAINER}/worker-{number}"),
            random: SeededRandom::new(SeededRandom::new(seed << 16 | number).u64()),
            next: 0,
            book: Book::default(),
            sent: BTreeMap::new(),
            unknown: BTreeSet::new(),
        }
    }

    /// One operation, chosen by chance.
    pub(crate) fn step(&mut self, client: &Client, report: &mut Report) -> Result<()> {
        let choice = below(&self.random, 100);
        match choice {
            0..12 => self.put("put, inline", 1, 8 * KIB, client, report),
            12..34 => self.put("put, one object", 20 * KIB, 400 * KIB, client, report),
            34..42 => self.put("put, large object", MIB, 7 * MIB, client, report),
            42..50 => self.put("put, in parts", 9 * MIB, 18 * MIB, client, report),
            50..56 => self.put_blocks(client, report),
            56..74 => self.read_whole(client, report),
            74..97 => self.read_range(client, report),
            _ => self.delete(client, report),
        }
    }

    /// Reads all that was ever written, with the store sound again.
    pub(crate) fn look_at_all(&mut self, client: &Client, report: &mut Report) -> Result<()> {
        for path in self.book.keys() {
            let Some(actual) = look(client, &path)? else {
                report.lost(&format!("{path} can't be read with the store sound"));
                continue;
            };
            match self.book.settle(&path, actual) {
                None => report.kept += 1,
                Some(Fault::Lost | Fault::Dangling) => report.lost(&path),
                Some(Fault::Torn | Fault::Differs | Fault::Missed) => report.torn(&path),
            }
        }
        Ok(())
    }

    fn a_path(&mut self) -> String {
        let known = (below(&self.random, 4) == 0).then(|| self.known()).flatten();
        known.unwrap_or_else(|| {
            self.next += 1;
            format!("{}/blob-{}", self.prefix, self.next)
        })
    }

    fn known(&self) -> Option<String> {
        let path = self.book.any_present(&self.random);
        path.filter(|path| !self.unknown.contains(path))
    }

    /// New content of a length between these, with its hash.
    fn content(&mut self, from: usize, to: usize) -> (Vec<u8>, Hash) {
        let sent = Sent {
            seed: self.random.u64(),
            length: from + below(&self.random, to - from),
        };
        let content = made(sent);
        let hash = hash(&content);
        self.sent.insert(hash, sent);
        (content, hash)
    }

    fn put(
        &mut self,
        kind: &'static str,
        from: usize,
        to: usize,
        client: &Client,
        report: &mut Report,
    ) -> Result<()> {
        let (content, hash) = self.content(from, to);
        let path = self.a_path();
        self.book.begin(&path, Some(hash));
        let headers = vec![("x-ms-blob-type", "BlockBlob".to_owned())];
        let outcome = send(client, &Method::PUT, &path, &[], &headers, Some(&content))?;
        self.written(kind, &path, 201, &outcome, report);
        Ok(())
    }

    /// Blocks, and a list that makes a blob of them.
    fn put_blocks(&mut self, client: &Client, report: &mut Report) -> Result<()> {
        let (content, hash) = self.content(MIB / 2, 9 * MIB);
        let path = self.a_path();
        let mut list = "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>".to_owned();
        for (number, block) in content.chunks(2 * MIB + 1).enumerate() {
            let id = format!("block{number:03}");
            let query = [("comp", "block"), ("blockid", id.as_str())];
            let outcome = send(client, &Method::PUT, &path, &query, &Vec::new(), Some(block))?;
            // Until the list nothing is promised.
            if !report.outcome("put block", &path, &outcome, 201) {
                return Ok(());
            }
            list.push_str(&format!("<Latest>{id}</Latest>"));
        }
        list.push_str("</BlockList>");
        self.book.begin(&path, Some(hash));
        let query = [("comp", "blocklist")];
        let outcome = send(
            client,
            &Method::PUT,
            &path,
            &query,
            &Vec::new(),
            Some(list.as_bytes()),
        )?;
        self.written("put, of blocks", &path, 201, &outcome, report);
        Ok(())
    }

    fn delete(&mut self, client: &Client, report: &mut Report) -> Result<()> {
        let Some(path) = self.known() else {
            return Ok(());
        };
        self.book.begin(&path, None);
        let outcome = send(client, &Method::DELETE, &path, &[], &Vec::new(), None)?;
        self.written("deleted", &path, 202, &outcome, report);
        Ok(())
    }

    /// Notes what became of a write.
    fn written(
        &mut self,
        kind: &'static str,
        path: &str,
        expected: u16,
        outcome: &Outcome,
        report: &mut Report,
    ) {
        let unanswered = !matches!(outcome, Outcome::Answered(_));
        if report.outcome(kind, path, outcome, expected) {
            self.book.acknowledge(path);
            report.acknowledged += 1;
        } else if unanswered {
            self.unknown.insert(path.to_owned());
        } else {
            self.book.refuse(path);
        }
    }

    fn read_whole(&mut self, client: &Client, report: &mut Report) -> Result<()> {
        let Some(path) = self.known() else {
            return Ok(());
        };
        let outcome = send(client, &Method::GET, &path, &[], &Vec::new(), None)?;
        let found = outcome.body(200).map(hash);
        if report.outcome("read", &path, &outcome, 200) && found != self.book.acknowledged(&path) {
            report.corrupt(&path);
        }
        Ok(())
    }

    fn read_range(&mut self, client: &Client, report: &mut Report) -> Result<()> {
        let Some(path) = self.known() else {
            return Ok(());
        };
        let acknowledged = self.book.acknowledged(&path);
        let sent = acknowledged.and_then(|hash| self.sent.get(&hash).copied());
        let sent = sent.context("a blob of unknown content")?;
        let from = below(&self.random, sent.length);
        let to = from + below(&self.random, sent.length - from);
        let headers = vec![("x-ms-range", format!("bytes={from}-{to}"))];
        let outcome = send(client, &Method::GET, &path, &[], &headers, None)?;
        let wanted = made(sent).get(from..=to).map(hash);
        let found = outcome.body(206).map(hash);
        if report.outcome("read, a range", &path, &outcome, 206) && found != wanted {
            report.corrupt(&format!("{path} {from}-{to}"));
        }
        Ok(())
    }
}

/// What is there; `None` if it can't be read, however often it is tried.
fn look(client: &Client, path: &str) -> Result<Option<State>> {
    for _ in 0..LOOKS_MAX {
        match send(client, &Method::GET, path, &[], &Vec::new(), None)? {
            Outcome::Answered(answer) if answer.status == 200 => return Ok(Some(Some(hash(&answer.body)))),
            Outcome::Answered(answer) if answer.status == 404 => return Ok(Some(None)),
            _ => {}
        }
    }
    Ok(None)
}

fn made(sent: Sent) -> Vec<u8> {
    bytes(&SeededRandom::new(sent.seed), sent.length)
}

fn send(
    client: &Client,
    method: &Method,
    path: &str,
    query: &[(&str, &str)],
    headers: &Headers,
    body: Option<&[u8]>,
) -> Result<Outcome> {
    Ok(match client.blob(method, path, query, headers, body) {
        Ok(answer) => Outcome::Answered(answer),
        Err(error) => match error.downcast_ref::<BrokenOff>() {
            Some(broken) => Outcome::BrokenOff(broken.status),
            None => Outcome::Unanswered(format!("{error:#}")),
        },
    })
}
