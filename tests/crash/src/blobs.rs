//! A writer of blobs: small ones that lie inline in the ledger, larger ones in the content store;
//! put, overwritten, deleted. Each put makes a version, which stays whatever becomes of the blob.

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use ledger::random::SeededRandom;

use crate::book::{Book, Fault, State, below, bytes, hash};
use crate::client::Client;
use crate::report::{Findings, Report};
use crate::round::Writer;

const SMALL_BYTES_MAX: usize = 8 * 1024;
const LARGE_BYTES: usize = 100 * 1024;

/// Writes under a prefix of its own.
#[derive(Debug)]
pub(crate) struct Blobs {
    prefix: String,
    next: u64,
    book: Book,
    /// By path and version.
    versions: Book,
}

impl Blobs {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            prefix: format!("/crash/writer-{number}"),
            next: 0,
            book: Book::default(),
            versions: Book::default(),
        }
    }

    /// What is at a path, or at a path and version.
    fn look(client: &Client, at: &str) -> Result<State> {
        let (path, version) = at.split_once('?').unwrap_or((at, ""));
        let query = [("versionid", version)];
        let query = if version.is_empty() { &[][..] } else { &query };
        let answer = client.blob(&Method::GET, path, query, &Vec::new(), None)?;
        match answer.status {
            404 => Ok(None),
            200 => Ok(Some(hash(&answer.body))),
            status => bail!("reading {at}: {status} {}", String::from_utf8_lossy(&answer.body)),
        }
    }
}

impl Writer for Blobs {
    fn prepare(&mut self, client: &Client) -> Result<()> {
        let query = [("restype", "container")];
        let answer = client.blob(&Method::PUT, "/crash", &query, &Vec::new(), Some(&[]))?;
        ensure!(
            matches!(answer.status, 201 | 409),
            "creating the container: {}",
            answer.status
        );
        Ok(())
    }

    fn write(&mut self, client: &Client, random: &SeededRandom, report: &mut Report) -> Result<()> {
        let choice = below(random, 10);
        let known = if choice < 6 {
            None
        } else {
            self.book.any_present(random)
        };
        let path = known.clone().unwrap_or_else(|| {
            self.next += 1;
            format!("{}/blob-{}", self.prefix, self.next)
        });
        if known.is_some() && choice >= 8 {
            self.book.begin(&path, None);
            let answer = client.blob(&Method::DELETE, &path, &[], &Vec::new(), None)?;
            ensure!(answer.status == 202, "deleting {path}: {}", answer.status);
            self.book.acknowledge(&path);
            report.acknowledge("blobs deleted");
            return Ok(());
        }
        let large = below(random, 4) == 0;
        let length = if large {
            LARGE_BYTES + below(random, 1_000)
        } else {
            1 + below(random, SMALL_BYTES_MAX)
        };
        let content = bytes(random, length);
        self.book.begin(&path, Some(hash(&content)));
        let headers = vec![("x-ms-blob-type", "BlockBlob".to_owned())];
        let answer = client.blob(&Method::PUT, &path, &[], &headers, Some(&content))?;
        if answer.status != 201 {
            self.book.refuse(&path);
            bail!(
                "putting {path}: {} {}",
                answer.status,
                String::from_utf8_lossy(&answer.body)
            );
        }
        self.book.acknowledge(&path);
        let version = answer.headers.get("x-ms-version-id");
        let version = version.and_then(|version| version.to_str().ok());
        let version = format!("{path}?{}", version.context("a put blob has no version")?);
        self.versions.begin(&version, Some(hash(&content)));
        self.versions.acknowledge(&version);
        report.acknowledge(if large {
            "blobs put, 100 KiB"
        } else {
            "blobs put, inline"
        });
        Ok(())
    }

    fn check(&mut self, client: &Client, all: bool) -> Result<Findings> {
        let mut findings = Findings::new();
        for book in [&mut self.book, &mut self.versions] {
            let touched = book.take_touched();
            for at in if all { book.keys() } else { touched } {
                match Self::look(client, &at) {
                    Ok(actual) => {
                        if let Some(fault) = book.settle(&at, actual) {
                            findings.push((format!("blob {at}"), fault));
                        }
                    }
                    // The record is there, what it refers to can't be read.
                    Err(error) => findings.push((format!("{error:#}"), Fault::Dangling)),
                }
            }
        }
        Ok(findings)
    }
}
