//! The folder of contents keeps the contract of every content store.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "test code")]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use content::suite::{Backend, Failure, Subject, run};
use content::{ContentError, ContentId, ContentStore};
use content_local::LocalContent;

struct Folders;

struct Folder {
    folder: tempfile::TempDir,
    store: Arc<dyn ContentStore>,
}

impl Folder {
    fn file(&self, id: ContentId) -> PathBuf {
        let name = id.to_string();
        self.folder.path().join(name.split_at(2).0).join(name)
    }
}

#[async_trait]
impl Backend for Folders {
    async fn create(&self) -> Result<Box<dyn Subject>, ContentError> {
        let folder = tempfile::tempdir().map_err(|error| ContentError::Io(error.to_string()))?;
        let counter = AtomicU64::new(1);
        let chance = move |bytes: &mut [u8]| {
            let number = counter
                .fetch_add(1, Ordering::Relaxed)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15);
            for (byte, from) in bytes.iter_mut().zip(number.to_be_bytes().repeat(2)) {
                *byte = from;
            }
        };
        let now = || jiff::Timestamp::from_second(1_000_000).unwrap();
        let store = Arc::new(LocalContent::open(
            folder.path(),
            Arc::new(now),
            Arc::new(chance),
        )?);
        Ok(Box::new(Folder { folder, store }))
    }
}

#[async_trait]
impl Subject for Folder {
    fn store(&self) -> Arc<dyn ContentStore> {
        self.store.clone()
    }

    async fn stored(&self, id: ContentId) -> Result<Option<Vec<u8>>, Failure> {
        let bytes = fs::read(self.file(id)).map_err(|error| Failure::new(error.to_string()))?;
        Ok(Some(bytes))
    }

    async fn replace(&self, id: ContentId, bytes: Vec<u8>) -> Result<(), Failure> {
        fs::write(self.file(id), bytes).map_err(|error| Failure::new(error.to_string()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_folder_conforms() {
    let failures = run(&Folders).await;
    let lines: Vec<String> = failures.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}
