//! The service on memory, for tests of what lies below its protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use content::ContentId;
use content::memory::MemoryContent;
use jiff::Timestamp;
use ledger::memory::MemoryLedger;
use ledger::random::SeededRandom;
use ledger::{AdjustableClock, Clock, Direction, Entry, KeyRange, Scan, Transaction};

use crate::{Blobs, Settings};

/// The service.
pub(crate) fn blobs() -> Arc<Blobs> {
    let clock = Arc::new(AdjustableClock::standing_at(Timestamp::UNIX_EPOCH));
    let (counter, now) = (AtomicU64::new(1), clock.clone());
    let content = MemoryContent::new(Arc::new(move || {
        let number = u128::from(counter.fetch_add(1, Ordering::Relaxed));
        (ContentId::from_bytes(number.to_be_bytes()), now.now())
    }));
    let settings = Settings::default();
    Blobs::new(
        Arc::new(MemoryLedger::new(clock.clone())),
        Arc::new(content),
        clock,
        Arc::new(SeededRandom::new(7)),
        settings,
    )
}

pub(crate) async fn commit(blobs: &Blobs, tx: Transaction) {
    blobs.ledger.commit(tx).await.unwrap();
}

/// What a range holds.
pub(crate) async fn entries(blobs: &Blobs, range: KeyRange) -> Vec<Entry> {
    let snapshot = blobs.ledger.snapshot().await.unwrap();
    let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
    let mut entries = Vec::new();
    while let Some(entry) = scan.next().await.unwrap() {
        entries.push(entry);
    }
    entries
}
