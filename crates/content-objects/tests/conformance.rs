//! The object store keeps the contract of every content store: over memory, and over S3.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod servers;

use std::sync::Arc;

use async_trait::async_trait;
use content::suite::{Backend, Failure, Subject, run};
use content::{ContentError, ContentId, ContentStore};
use content_objects::{ObjectContent, Patience};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use servers::{S3Server, chance, now};

struct Memory;

struct Objects {
    raw: Arc<dyn ObjectStore>,
    store: Arc<dyn ContentStore>,
    _server: Option<S3Server>,
}

fn path(id: ContentId) -> Path {
    let name = id.to_string();
    Path::from(format!("under/here/{}/{name}", &name[..2]))
}

#[allow(clippy::needless_pass_by_value, reason = "taken by map_err")]
fn failure(error: object_store::Error) -> Failure {
    Failure::new(error.to_string())
}

#[async_trait]
impl Subject for Objects {
    fn store(&self) -> Arc<dyn ContentStore> {
        self.store.clone()
    }

    async fn stored(&self, id: ContentId) -> Result<Option<Vec<u8>>, Failure> {
        let found = self.raw.get(&path(id)).await.map_err(failure)?;
        Ok(Some(found.bytes().await.map_err(failure)?.to_vec()))
    }

    async fn replace(&self, id: ContentId, bytes: Vec<u8>) -> Result<(), Failure> {
        self.raw.put(&path(id), bytes.into()).await.map_err(failure)?;
        Ok(())
    }
}

#[async_trait]
impl Backend for Memory {
    async fn create(&self) -> Result<Box<dyn Subject>, ContentError> {
        let raw: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let store = ObjectContent::over(raw.clone(), "under/here", now(), chance(1)).await?;
        Ok(Box::new(Objects {
            raw,
            store: Arc::new(store),
            _server: None,
        }))
    }
}

struct S3;

#[async_trait]
impl Backend for S3 {
    async fn create(&self) -> Result<Box<dyn Subject>, ContentError> {
        let server = S3Server::start().await;
        let options = server.options(server.address, Patience::default());
        let store = ObjectContent::open(&options, now(), chance(1)).await?;
        Ok(Box::new(Objects {
            raw: server.raw(),
            store: Arc::new(store),
            _server: Some(server),
        }))
    }
}

fn listed(failures: &[Failure]) -> String {
    let lines: Vec<String> = failures.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_memory_it_conforms() {
    let failures = run(&Memory).await;
    assert!(failures.is_empty(), "{}", listed(&failures));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_s3_it_conforms() {
    let failures = run(&S3).await;
    assert!(failures.is_empty(), "{}", listed(&failures));
}
