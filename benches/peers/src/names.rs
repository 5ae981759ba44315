//! Listing blobs by the page: 5,000 out of many, beside 5,000 out of ten thousand in the same account.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;

use crate::load::{Plan, Until, Worker, slice};
use crate::process::folder_bytes;
use crate::sample::{Sample, fact};
use crate::storage::Storage;

/// Names of the small container.
const FEW: u64 = 10_000;
const PAGE: usize = 5_000;
/// Names in one folder.
const FOLDER: u64 = 1_000;
/// The small container's first folder, so that its pages have the same prefix as those from the middle of
/// the large one.
const MIDDLE: u64 = 5_000;
/// Coprime to every number of names that is a power of ten: the names come in no order.
const STEP: u64 = 7_368_787;
/// Connections that list at once.
const LISTERS: [usize; 2] = [1, 8];

/// A container: its name, how many names it has, and its first folder.
#[derive(Clone, Copy)]
struct Names {
    container: &'static str,
    count: u64,
    first_folder: u64,
}

impl Names {
    fn path(&self, n: u64) -> String {
        let at = n.wrapping_mul(STEP) % self.count;
        let folder = self.first_folder + at / FOLDER;
        format!("/{}/{folder:05}/{:03}", self.container, at % FOLDER)
    }
}

/// What is listed: its name, prefix, delimiter and how many entries a page has.
#[derive(Clone, Copy)]
struct Listing {
    few: &'static str,
    many: &'static str,
    query: &'static str,
    prefix: &'static str,
    entries: usize,
}

const LISTINGS: [Listing; 3] = [
    Listing {
        few: "first page of 5,000 out of 10,000",
        many: "first page of 5,000",
        query: "comp=list&maxresults=5000",
        prefix: "",
        entries: PAGE,
    },
    Listing {
        few: "page of 5,000 by prefix out of 10,000",
        many: "page of 5,000 from the middle",
        query: "comp=list&maxresults=5000",
        prefix: "05",
        entries: PAGE,
    },
    Listing {
        few: "a folder of 1,000 out of 10,000 names",
        many: "a folder of 1,000 from the middle",
        query: "comp=list&delimiter=/&maxresults=5000",
        prefix: "05005/",
        entries: FOLDER as usize,
    },
];

#[derive(Clone, Copy)]
enum Task {
    Put(Names),
    List(Names, Listing),
}

struct Client {
    storage: Storage,
    task: Task,
}

impl Worker for Client {
    async fn operate(&mut self, n: u64) -> Result<()> {
        match self.task {
            Task::Put(names) => {
                let kind = [("x-ms-blob-type", "BlockBlob".to_owned())];
                let (path, body) = (names.path(n), Bytes::from_static(b"x"));
                let (status, body) = self.storage.send("PUT", &path, "", &kind, body).await?;
                ensure!(
                    status == 201,
                    "{path}: {status} {}",
                    String::from_utf8_lossy(&body)
                );
            }
            Task::List(names, listing) => {
                let mut query = listing.query.to_owned();
                if !listing.prefix.is_empty() {
                    query.push_str(&format!("&prefix={}", listing.prefix));
                }
                query.push_str("&restype=container");
                let path = format!("/{}", names.container);
                let (status, body) = self.storage.send("GET", &path, &query, &[], Bytes::new()).await?;
                let text = std::str::from_utf8(&body).context("a listing")?;
                let entries = text.matches("<Blob>").count();
                ensure!(
                    status == 200 && entries == listing.entries,
                    "{path} {query}: {status}, {entries}"
                );
            }
        }
        Ok(())
    }
}

async fn step(
    plan: &Plan,
    url: &str,
    name: &'static str,
    task: Task,
    concurrency: usize,
    until: Until,
) -> Result<()> {
    let mut clients = Vec::new();
    for _ in 0..concurrency {
        let storage = Storage::open(url).await?;
        clients.push(Client { storage, task });
    }
    let mut sample = Sample::new(name);
    slice(&mut sample, &plan.pids, until, &mut clients).await?;
    sample.print();
    Ok(())
}

/// Loads both containers, then lists; `folder` is the server's data.
pub async fn run(plan: &Plan, url: &str, folder: &std::path::Path, count: u64) -> Result<()> {
    ensure!(
        count >= 10 * FEW && count.is_multiple_of(FEW),
        "at least {} names, in ten thousands",
        10 * FEW
    );
    let few = Names {
        container: "few",
        count: FEW,
        first_folder: MIDDLE,
    };
    let many = Names {
        container: "many",
        count,
        first_folder: 0,
    };
    let mut storage = Storage::open(url).await?;
    for names in [few, many] {
        storage.create_container(names.container).await?;
        let until = Until::Number(names.count);
        step(plan, url, "put", Task::Put(names), plan.concurrency, until).await?;
    }
    fact("disk_bytes", folder_bytes(folder)? as f64, 0.0);
    for listing in LISTINGS {
        for concurrency in LISTERS {
            for (name, names) in [(listing.few, few), (listing.many, many)] {
                let task = Task::List(names, listing);
                step(plan, url, name, task, concurrency, Until::Time(plan.time)).await?;
            }
        }
    }
    Ok(())
}
