//! 4 KiB blobs by the Blob protocol.

use anyhow::{Result, ensure};
use bytes::Bytes;

use crate::chance;
use crate::load::{Plan, Until, Worker, measure};
use crate::storage::Storage;

const CONTAINER: &str = "bench";
const BLOB_BYTES: usize = 4 * 1024;
/// Gets are spread over this many blobs, or as many as were put.
const READ_MAX: u64 = 1_000;

struct Client {
    storage: Storage,
    content: Bytes,
    /// Whether it puts or gets.
    puts: bool,
    written: u64,
}

impl Worker for Client {
    async fn operate(&mut self, n: u64) -> Result<()> {
        if self.puts {
            let content = self.content.clone();
            let kind = [("x-ms-blob-type", "BlockBlob".to_owned())];
            let path = format!("/{CONTAINER}/blob-{n}");
            let (status, body) = self.storage.send("PUT", &path, "", &kind, content).await?;
            ensure!(status == 201, "put: {status} {}", String::from_utf8_lossy(&body));
            self.written = self.written.max(n + 1);
        } else {
            let pick = chance::number(n) % self.written.clamp(1, READ_MAX);
            let path = format!("/{CONTAINER}/blob-{pick}");
            let (status, body) = self.storage.send("GET", &path, "", &[], Bytes::new()).await?;
            ensure!(
                status == 200 && body == self.content,
                "get: {status}, {} bytes",
                body.len()
            );
        }
        Ok(())
    }
}

/// Measures put, then get.
pub async fn run(plan: &Plan, url: &str) -> Result<()> {
    let mut clients = Vec::new();
    for _ in 0..plan.concurrency {
        clients.push(Client {
            storage: Storage::open(url).await?,
            content: chance::bytes(7, BLOB_BYTES).into(),
            puts: true,
            written: 0,
        });
    }
    if let Some(client) = clients.first_mut() {
        client.storage.create_container(CONTAINER).await?;
    }
    let mut clients = measure(plan, "put 4 KiB", Until::Time(plan.time), clients).await?;
    let written = clients.iter().map(|client| client.written).max().unwrap_or(0);
    // The last ones may have gone out of order; those before them are all there.
    let written = written.saturating_sub(plan.concurrency as u64).max(1);
    for client in &mut clients {
        (client.puts, client.written) = (false, written);
    }
    measure(plan, "get 4 KiB", Until::Time(plan.time), clients).await?;
    Ok(())
}
