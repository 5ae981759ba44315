//! Memory of the steps in which files are read and written, used again and again: the allocator keeps what is freed
//! in each of the many threads that do file work, which adds up.

use std::sync::Arc;

use content::frame::{CHECKSUM_BYTES, FRAME_BYTES};
use parking_lot::Mutex;

/// Frames that are read or written at once: more of them hold more memory and save hardly any time.
pub(crate) const STEP_FRAMES: usize = 4;

/// A step with what may be around its frames.
const BUFFER_BYTES: usize = STEP_FRAMES * (FRAME_BYTES + CHECKSUM_BYTES) + 64;

/// Buffers that are kept while nobody uses them: 16 MiB.
const IDLE_MAX: usize = 64;

/// Less than this is allocated for itself.
pub(crate) const SMALL_BYTES: usize = 16 * 1024;

#[derive(Default)]
pub(crate) struct Pool {
    idle: Mutex<Vec<Vec<u8>>>,
}

/// A buffer; its memory goes back when it is dropped.
pub(crate) struct Buffer {
    pub(crate) bytes: Vec<u8>,
    pool: Option<Arc<Pool>>,
}

impl Pool {
    /// An empty buffer for `bytes` bytes, a step's at most.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Buffer {
        if bytes < SMALL_BYTES {
            return Buffer {
                bytes: Vec::with_capacity(bytes),
                pool: None,
            };
        }
        let idle = self.idle.lock().pop();
        Buffer {
            bytes: idle.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES.max(bytes))),
            pool: Some(self.clone()),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(pool) = &self.pool else { return };
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        let mut idle = pool.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(bytes);
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_empty_and_only_so_much_is_kept() {
        let pool = Arc::new(Pool::default());
        let mut one = pool.take(SMALL_BYTES);
        one.bytes.extend_from_slice(b"what somebody wrote");
        let place = one.bytes.as_ptr();
        drop(one);
        let again = pool.take(BUFFER_BYTES);
        assert!(again.bytes.is_empty() && again.bytes.as_ptr() == place);
        let many: Vec<Buffer> = (0..2 * IDLE_MAX).map(|_| pool.take(BUFFER_BYTES)).collect();
        drop((again, many));
        assert_eq!(pool.idle.lock().len(), IDLE_MAX);
        drop(pool.take(SMALL_BYTES - 1));
        assert_eq!(pool.idle.lock().len(), IDLE_MAX);
    }
}
