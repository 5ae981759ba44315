//! The ledger's conformance suite on the engine in a folder.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    missing_docs,
    reason = "test code"
)]

use std::sync::Arc;

use async_trait::async_trait;
use ledger::suite::{self, Engine, Subject};
use ledger::{Ledger, LedgerError, SystemClock};
use ledger_embedded::{EmbeddedLedger, Options};
use tempfile::TempDir;

/// Makes each ledger in a folder of its own.
struct Folders {
    memtable_bytes: u64,
}

struct InFolder {
    open: Option<Arc<EmbeddedLedger>>,
    options: Options,
    folder: TempDir,
    /// Every other time the ledger isn't closed before it is opened again, only dropped.
    reopened: u64,
}

fn open(folder: &TempDir, options: &Options) -> Result<Arc<EmbeddedLedger>, LedgerError> {
    EmbeddedLedger::open(folder.path(), Arc::new(SystemClock), options.clone())
        .map(Arc::new)
        .map_err(|error| LedgerError::Unavailable(error.to_string()))
}

#[async_trait]
impl Engine for Folders {
    async fn create(&self) -> Result<Box<dyn Subject>, LedgerError> {
        let folder = tempfile::tempdir().unwrap();
        let options = Options {
            memtable_bytes: self.memtable_bytes,
            reserve_bytes: 1024 * 1024,
            ..Options::default()
        };
        let open = Some(open(&folder, &options)?);
        Ok(Box::new(InFolder {
            open,
            options,
            folder,
            reopened: 0,
        }))
    }
}

#[async_trait]
impl Subject for InFolder {
    fn ledger(&self) -> Arc<dyn Ledger> {
        self.open.clone().expect("open between two reopenings")
    }

    async fn reopen(&mut self) -> Result<bool, LedgerError> {
        let old = self.open.take().expect("open between two reopenings");
        self.reopened += 1;
        if self.reopened % 2 == 1 {
            old.close().await?;
        }
        assert_eq!(Arc::strong_count(&old), 1, "a case holds on to the old ledger");
        drop(old);
        self.open = Some(open(&self.folder, &self.options)?);
        Ok(true)
    }
}

async fn conforms(memtable_bytes: u64) {
    let failures = suite::run(&Folders { memtable_bytes }).await;
    let lines: Vec<String> = failures.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_in_a_folder_conforms() {
    conforms(ledger_embedded::limits::MEMTABLE_BYTES).await;
}

/// Tables are written and merged while the cases run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_with_little_memory_conforms() {
    conforms(64 * 1024).await;
}

#[tokio::test]
async fn other_seeds_of_random_operations() {
    let engine = Folders {
        memtable_bytes: 64 * 1024,
    };
    for seed in 1_000..1_004 {
        suite::run_model(&engine, seed, 200).await.unwrap();
    }
}
