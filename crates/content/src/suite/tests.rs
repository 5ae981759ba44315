//! The suite on the store in memory, and on faulty stores that it must notice.

use std::sync::atomic::{AtomicU64, Ordering};

use super::faulty::{FAULTS, Fault, Faulty};
use super::*;
use crate::memory::MemoryContent;

fn memory() -> MemoryContent {
    let counter = AtomicU64::new(1);
    MemoryContent::new(Arc::new(move || {
        let number = u128::from(counter.fetch_add(1, Ordering::Relaxed));
        // Spread, so that ids don't come in the order of their writing.
        let id = number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_0C1D_5A3B_7E11);
        let now = jiff::Timestamp::from_second(1_000_000).unwrap();
        (ContentId::from_bytes(id.to_be_bytes()), now)
    }))
}

struct Memory;

struct MemorySubject(Arc<MemoryContent>);

#[async_trait]
impl Backend for Memory {
    async fn create(&self) -> Result<Box<dyn Subject>, ContentError> {
        Ok(Box::new(MemorySubject(Arc::new(memory()))))
    }
}

#[async_trait]
impl Subject for MemorySubject {
    fn store(&self) -> Arc<dyn ContentStore> {
        self.0.clone()
    }

    async fn stored(&self, _id: ContentId) -> Result<Option<Vec<u8>>, Failure> {
        Ok(None)
    }

    async fn replace(&self, _id: ContentId, _bytes: Vec<u8>) -> Result<(), Failure> {
        Err(Failure::new("nothing is stored"))
    }
}

struct FaultyBackend(Fault);

struct FaultySubject(Arc<Faulty>);

#[async_trait]
impl Backend for FaultyBackend {
    async fn create(&self) -> Result<Box<dyn Subject>, ContentError> {
        Ok(Box::new(FaultySubject(Arc::new(Faulty::new(self.0, memory())))))
    }
}

#[async_trait]
impl Subject for FaultySubject {
    fn store(&self) -> Arc<dyn ContentStore> {
        self.0.clone()
    }

    async fn stored(&self, id: ContentId) -> Result<Option<Vec<u8>>, Failure> {
        if !self.0.checks_nothing() {
            return Ok(None);
        }
        Ok(Some(read(&self.store(), id, 0..u64::MAX).await?))
    }

    async fn replace(&self, id: ContentId, bytes: Vec<u8>) -> Result<(), Failure> {
        self.0.replace(id, bytes);
        Ok(())
    }
}

fn listed(failures: &[Failure]) -> String {
    let lines: Vec<String> = failures.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_in_memory_conforms() {
    let failures = run(&Memory).await;
    assert!(failures.is_empty(), "{}", listed(&failures));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_noticed() {
    for (fault, name) in FAULTS {
        let case = CASES.iter().find(|case| case.name == *name).unwrap();
        let outcome = run_one(&FaultyBackend(*fault), case, Duration::from_secs(60)).await;
        assert!(outcome.is_err(), "{name} doesn't notice {fault:?}");
    }
}

#[test]
fn cases_have_names_of_their_own() {
    let mut names = case_names();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
