//! What a run may use, and how it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a run may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Memory of the engine, bytes.
    pub memory_bytes: usize,
    /// Stack of the engine, bytes; the thread needs some more.
    pub stack_bytes: usize,
    /// Text that a run may hand back, bytes.
    pub result_bytes: usize,
    /// Text that a run may log, bytes; what is beyond is left away.
    pub log_bytes: usize,
}

/// Stops a run from outside, and counts its steps. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stopped: AtomicBool,
    steps: AtomicU64,
}

impl Stop {
    /// The script ends where it is, unless it is in one of the functions of the language that never
    /// look.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }

    /// Calls and loops that were counted, in the engine's measure; the same for the same work.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.0.steps.load(Ordering::Relaxed)
    }

    pub(crate) fn step(&self, steps: u64) {
        self.0.steps.fetch_add(steps, Ordering::Relaxed);
    }
}
