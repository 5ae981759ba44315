//! Blobs of many sizes: put, get, blocks side by side, ranges, pages and appends by the Blob protocol; and
//! files of the same sizes from a plain HTTP server, as the ceiling for reads.

use anyhow::{Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::chance;
use crate::connection::Connection;
use crate::load::{Plan, Until, Worker, slice};
use crate::sample::Sample;
use crate::storage::Storage;

const CONTAINER: &str = "sizes";
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// What ranges are read of, and what is sent in blocks.
const LARGE: usize = 64 * MIB;
const BLOCK: usize = 4 * MIB;
const PAGE: usize = 4 * KIB;
const RANGE: usize = 64 * KIB;
/// Pieces in which a number of operations is measured.
const PIECES: u64 = 20;

/// A size: its name for puts and gets, how many are put at most, and how many requests are under way.
struct Size {
    bytes: usize,
    put: &'static str,
    get: &'static str,
    blobs_max: u64,
    concurrency: usize,
}

const SIZES: [Size; 4] = [
    Size {
        bytes: 4 * KIB,
        put: "put 4 KiB",
        get: "get 4 KiB",
        blobs_max: 20_000,
        concurrency: 32,
    },
    Size {
        bytes: 64 * KIB,
        put: "put 64 KiB",
        get: "get 64 KiB",
        blobs_max: 10_000,
        concurrency: 32,
    },
    Size {
        bytes: MIB,
        put: "put 1 MiB",
        get: "get 1 MiB",
        blobs_max: 1_000,
        concurrency: 16,
    },
    Size {
        bytes: LARGE,
        put: "put 64 MiB",
        get: "get 64 MiB",
        blobs_max: 24,
        concurrency: 4,
    },
];

/// What a connection does.
#[derive(Clone, Copy)]
enum Task {
    Put(usize),
    /// One of so many that were put.
    Get(usize, u64),
    /// One block of a blob's sixteen.
    Block,
    Range,
    Page,
    Append,
}

struct Client {
    storage: Storage,
    content: Bytes,
    task: Task,
    /// Its own place among the connections.
    place: usize,
}

fn path(bytes: usize, n: u64) -> String {
    format!("/{CONTAINER}/{bytes}-{n}")
}

fn block_id(n: u64) -> String {
    STANDARD.encode(format!("{n:09}"))
}

impl Client {
    async fn expect(
        &mut self,
        path: &str,
        query: &str,
        headers: &[(&str, String)],
        body: Bytes,
    ) -> Result<()> {
        let (status, body) = self.storage.send("PUT", path, query, headers, body).await?;
        ensure!(
            status == 201,
            "{path} {query}: {status} {}",
            String::from_utf8_lossy(&body)
        );
        Ok(())
    }

    async fn create(&mut self, path: &str, kind: &str, length: Option<usize>) -> Result<()> {
        let mut headers = Vec::new();
        if let Some(length) = length {
            headers.push(("x-ms-blob-content-length", length.to_string()));
        }
        headers.push(("x-ms-blob-type", kind.to_owned()));
        self.expect(path, "", &headers, Bytes::new()).await
    }
}

impl Worker for Client {
    async fn operate(&mut self, n: u64) -> Result<()> {
        match self.task {
            Task::Put(bytes) => {
                let content = self.content.slice(..bytes);
                let kind = [("x-ms-blob-type", "BlockBlob".to_owned())];
                self.expect(&path(bytes, n), "", &kind, content).await
            }
            Task::Get(bytes, put) => {
                let pick = chance::number(n) % put.max(1);
                let (status, read) = self.storage.get(&path(bytes, pick), &[]).await?;
                ensure!(status == 200 && read == bytes as u64, "{status}, {read} bytes");
                Ok(())
            }
            Task::Block => {
                let content = self.content.slice(..BLOCK);
                let query = format!("blockid={}&comp=block", block_id(n).replace('=', "%3D"));
                self.expect(&path(LARGE, 1_000_000 + n / 16), &query, &[], content)
                    .await
            }
            Task::Range => {
                let from = chance::number(n) as usize % (LARGE - RANGE);
                let range = [("x-ms-range", format!("bytes={from}-{}", from + RANGE - 1))];
                let (status, read) = self.storage.get(&path(LARGE, 0), &range).await?;
                ensure!(status == 206 && read == RANGE as u64, "{status}, {read} bytes");
                Ok(())
            }
            Task::Page => {
                let at = chance::number(n) as usize % (LARGE / PAGE) * PAGE;
                let headers = [
                    ("x-ms-page-write", "update".to_owned()),
                    ("x-ms-range", format!("bytes={at}-{}", at + PAGE - 1)),
                ];
                let content = self.content.slice(..PAGE);
                let path = format!("/{CONTAINER}/pages-{}", self.place);
                self.expect(&path, "comp=page", &headers, content).await
            }
            Task::Append => {
                let content = self.content.slice(..PAGE);
                let path = format!("/{CONTAINER}/log-{}", self.place);
                self.expect(&path, "comp=appendblock", &[], content).await
            }
        }
    }
}

/// Measures a task by so many of the clients, for the time of the plan, or until as many are done.
async fn step(
    plan: &Plan,
    url: &str,
    clients: &mut Vec<Client>,
    name: &'static str,
    task: Task,
    concurrency: usize,
    most: Option<u64>,
) -> Result<u64> {
    // Servers give up connections that rested through other steps.
    for client in clients.iter_mut() {
        (client.storage, client.task) = (Storage::open(url).await?, task);
    }
    let mut sample = Sample::new(name);
    let mut resting = clients.split_off(concurrency.min(clients.len()));
    match most {
        None => slice(&mut sample, &plan.pids, Until::Time(plan.time), clients).await?,
        // Pieces, so that neither the time nor the number is left far behind.
        Some(most) => {
            let piece = Until::Number(most.div_ceil(PIECES).max(1));
            while (sample.latencies.len() as u64) < most && sample.elapsed < plan.time {
                slice(&mut sample, &plan.pids, piece, clients).await?;
            }
        }
    }
    clients.append(&mut resting);
    let done = sample.latencies.len() as u64;
    sample.print();
    Ok(done)
}

/// Measures an account.
pub async fn run(plan: &Plan, url: &str) -> Result<()> {
    let content: Bytes = chance::bytes(7, LARGE).into();
    let mut clients = Vec::new();
    for place in 0..plan.concurrency {
        clients.push(Client {
            storage: Storage::open(url).await?,
            content: content.clone(),
            task: Task::Range,
            place,
        });
    }
    if let Some(client) = clients.first_mut() {
        client.storage.create_container(CONTAINER).await?;
    }
    for size in &SIZES {
        let put = Task::Put(size.bytes);
        let put = step(
            plan,
            url,
            &mut clients,
            size.put,
            put,
            size.concurrency,
            Some(size.blobs_max),
        )
        .await?;
        let get = Task::Get(size.bytes, put);
        step(plan, url, &mut clients, size.get, get, size.concurrency, None).await?;
    }
    step(
        plan,
        url,
        &mut clients,
        "put a block of 4 MiB",
        Task::Block,
        8,
        Some(256),
    )
    .await?;
    step(
        plan,
        url,
        &mut clients,
        "get 64 KiB of 64 MiB",
        Task::Range,
        32,
        None,
    )
    .await?;
    for client in &mut clients {
        let place = client.place;
        client.storage = Storage::open(url).await?;
        client
            .create(&format!("/{CONTAINER}/pages-{place}"), "PageBlob", Some(LARGE))
            .await?;
        client
            .create(&format!("/{CONTAINER}/log-{place}"), "AppendBlob", None)
            .await?;
    }
    step(
        plan,
        url,
        &mut clients,
        "write 4 KiB of pages",
        Task::Page,
        32,
        Some(50_000),
    )
    .await?;
    step(
        plan,
        url,
        &mut clients,
        "append 4 KiB",
        Task::Append,
        32,
        Some(20_000),
    )
    .await?;
    Ok(())
}

/// A connection to a server of plain files.
struct Reader {
    connection: Connection,
    bytes: usize,
    files: u64,
}

impl Worker for Reader {
    async fn operate(&mut self, n: u64) -> Result<()> {
        let pick = chance::number(n) % self.files;
        let (status, read) = self
            .connection
            .count(&format!("/{}-{pick}", self.bytes), &[])
            .await?;
        ensure!(
            status == 200 && read == self.bytes as u64,
            "{status}, {read} bytes"
        );
        Ok(())
    }
}

/// Bytes of all files of one size.
const FILES_BYTES_MAX: usize = 512 * MIB;

/// Makes the files of a plain server in a folder.
fn make_files(folder: &std::path::Path) -> Result<()> {
    let content = chance::bytes(7, LARGE);
    for size in &SIZES {
        for n in 0..files_of(size) {
            std::fs::write(folder.join(format!("{}-{n}", size.bytes)), &content[..size.bytes])?;
        }
    }
    Ok(())
}

fn files_of(size: &Size) -> u64 {
    size.blobs_max.min((FILES_BYTES_MAX / size.bytes) as u64)
}

/// Measures gets from a plain server, whose files lie in `folder`.
pub async fn files(plan: &Plan, url: &str, folder: &std::path::Path) -> Result<()> {
    make_files(folder)?;
    for size in &SIZES {
        let mut readers = Vec::new();
        for _ in 0..size.concurrency.min(plan.concurrency) {
            readers.push(Reader {
                connection: Connection::open(url).await?,
                bytes: size.bytes,
                files: files_of(size),
            });
        }
        let mut sample = Sample::new(size.get);
        slice(&mut sample, &plan.pids, Until::Time(plan.time), &mut readers).await?;
        sample.print();
    }
    Ok(())
}
