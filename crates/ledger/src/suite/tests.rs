//! The suite on the engine in memory, and on faulty engines that it must notice.

use super::faulty::{FAULTS, Fault, Faulty};
use super::*;
use crate::SystemClock;
use crate::memory::MemoryLedger;

struct Memory;

struct MemorySubject(Arc<MemoryLedger>);

#[async_trait]
impl Engine for Memory {
    async fn create(&self) -> Result<Box<dyn Subject>, LedgerError> {
        let ledger = MemoryLedger::new(Arc::new(SystemClock));
        Ok(Box::new(MemorySubject(Arc::new(ledger))))
    }
}

#[async_trait]
impl Subject for MemorySubject {
    fn ledger(&self) -> Arc<dyn Ledger> {
        self.0.clone()
    }

    async fn reopen(&mut self) -> Result<bool, LedgerError> {
        Ok(false)
    }
}

struct FaultyEngine(Fault);

struct FaultySubject(Arc<Faulty>);

#[async_trait]
impl Engine for FaultyEngine {
    async fn create(&self) -> Result<Box<dyn Subject>, LedgerError> {
        Ok(Box::new(FaultySubject(Arc::new(Faulty::new(self.0)))))
    }
}

#[async_trait]
impl Subject for FaultySubject {
    fn ledger(&self) -> Arc<dyn Ledger> {
        self.0.clone()
    }

    async fn reopen(&mut self) -> Result<bool, LedgerError> {
        self.0 = Arc::new(self.0.reopened().await?);
        Ok(true)
    }
}

fn listed(failures: &[Failure]) -> String {
    let lines: Vec<String> = failures.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_engine_in_memory_conforms() {
    let failures = run(&Memory).await;
    assert!(failures.is_empty(), "{}", listed(&failures));
}

#[tokio::test]
async fn the_engine_in_memory_conforms_on_one_thread() {
    let failures = run(&Memory).await;
    assert!(failures.is_empty(), "{}", listed(&failures));
}

#[tokio::test]
async fn other_seeds_of_random_operations() {
    for seed in 100..120 {
        run_model(&Memory, seed, 150).await.unwrap();
        run_model(&FaultyEngine(Fault::None), seed, 80).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wrapper_without_a_fault_conforms() {
    let failures = run(&FaultyEngine(Fault::None)).await;
    assert!(failures.is_empty(), "{}", listed(&failures));
}

#[tokio::test]
async fn every_fault_is_noticed_by_a_case_and_by_the_model() {
    // What random operations can't meet: a limit, a closed ledger, a follower's position.
    let beyond_the_model = [
        Fault::IgnoresLimits,
        Fault::CommitsAfterClosing,
        Fault::TrimsPastFollowers,
    ];
    for fault in FAULTS {
        let failures = run_within(&FaultyEngine(fault), Duration::from_secs(5)).await;
        let cases: Vec<&str> = failures.iter().map(Failure::case).collect();
        let by_model = cases.contains(&"model::random_operations");
        assert!(
            cases.iter().any(|case| *case != "model::random_operations"),
            "{fault:?} is noticed by no case"
        );
        assert!(
            by_model || beyond_the_model.contains(&fault),
            "{fault:?} is noticed by {cases:?} only, not by random operations"
        );
    }
}

#[test]
fn cases_have_names_of_their_own() {
    let mut names = case_names();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}
