//! The service over a ledger in memory, for unit tests.

use std::sync::Arc;

use ledger::AdjustableClock;
use ledger::memory::MemoryLedger;
use ledger::random::SeededRandom;

use crate::{Documents, Settings};

/// Account `test`; the ledger is the service's own.
pub(super) fn documents() -> (Arc<Documents>, Arc<MemoryLedger>) {
    let clock = Arc::new(AdjustableClock::standing_at(
        "2026-01-01T00:00:00Z".parse().unwrap(),
    ));
    let ledger = Arc::new(MemoryLedger::new(clock.clone()));
    let settings = Settings::single("test", identity::SharedKey::from_bytes(vec![1; 64]));
    let random = Arc::new(SeededRandom::new(1));
    (Documents::new(ledger.clone(), clock, random, settings), ledger)
}
