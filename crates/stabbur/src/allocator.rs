//! The program's memory.
//!
//! A commit's memory is taken by the thread of its request and given back by the committer's,
//! which the C library's own allocator pays for dearly: it took a fifth of the processor's time.

use std::ffi::{c_int, c_long};

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How long freed memory is kept before the operating system gets it back. Under load the ledger's
/// memory tables come and go every few seconds; after one second, the allocator's own default, each
/// of them is made of fresh pages, which the kernel has to clear.
const KEPT_MILLISECONDS: c_long = 10_000;

/// `mi_option_purge_delay` of mimalloc.h, which the bindings leave out.
const PURGE_DELAY: c_int = 15;

/// Sets the allocator's options, but for those that its own environment variables name. At the
/// program's start, before there is another thread.
#[allow(
    unsafe_code,
    reason = "the allocator's bindings have no safe way to set an option"
)]
pub(crate) fn set_up() {
    // SAFETY: the number is an option's, nobody else sets one, and any value is allowed.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, KEPT_MILLISECONDS) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(unsafe_code, reason = "as above")]
    fn option() -> c_long {
        // SAFETY: it only reads.
        unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) }
    }

    /// The number is the right one as long as the default is the one that mimalloc documents.
    #[test]
    fn the_option_is_set() {
        assert_eq!(option(), 1_000);
        set_up();
        assert_eq!(option(), KEPT_MILLISECONDS);
    }
}
