//! A writer of blobs: small ones that lie inline in the ledger, larger ones in the content store;
//! put, overwritten, deleted.

use anyhow::{Result, bail, ensure};
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
}

impl Blobs {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            prefix: format!("/crash/writer-{number}"),
            next: 0,
            book: Book::default(),
        }
    }

    fn look(&self, client: &Client, path: &str) -> Result<State> {
        let answer = client.blob(&Method::GET, path, &[], &Vec::new(), None)?;
        match answer.status {
            404 => Ok(None),
            200 => Ok(Some(hash(&answer.body))),
            status => bail!(
                "reading {path}: {status} {}",
                String::from_utf8_lossy(&answer.body)
            ),
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
        report.acknowledge(if large {
            "blobs put, 100 KiB"
        } else {
            "blobs put, inline"
        });
        Ok(())
    }

    fn check(&mut self, client: &Client, all: bool) -> Result<Findings> {
        let touched = self.book.take_touched();
        let mut findings = Findings::new();
        for path in if all { self.book.keys() } else { touched } {
            match self.look(client, &path) {
                Ok(actual) => {
                    if let Some(fault) = self.book.settle(&path, actual) {
                        findings.push((format!("blob {path}"), fault));
                    }
                }
                // The record is there, what it refers to can't be read.
                Err(error) => findings.push((format!("{error:#}"), Fault::Dangling)),
            }
        }
        Ok(findings)
    }
}
