//! What a run may use, and how it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

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

const RUNNING: u8 = 0;
const CLOSING: u8 = 1;
const STOPPED: u8 = 2;

/// Stops a run from outside, and counts its steps. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: AtomicU8,
    steps: AtomicU64,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            state: AtomicU8::new(RUNNING),
            steps: AtomicU64::new(0),
        }
    }
}

impl Stop {
    /// From now on the script's operations are not accepted; it may end by itself.
    pub fn close(&self) {
        let _ = self
            .0
            .state
            .compare_exchange(RUNNING, CLOSING, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// The script ends where it is.
    pub fn stop(&self) {
        self.0.state.store(STOPPED, Ordering::SeqCst);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.0.state.load(Ordering::SeqCst) != RUNNING
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.0.state.load(Ordering::SeqCst) == STOPPED
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
