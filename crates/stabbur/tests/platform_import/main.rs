//! `stabbur platform`: instances that come from a folder of the local test environment and from a server that runs, whatever
//! interrupts it; messages that were put aside.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "test code"
)]

mod localtest;
mod messages;
mod running;
mod server;

/// Content that doesn't fit into a record.
fn large(seed: u8) -> Vec<u8> {
    (0..300_000_u32)
        .map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[1] ^ seed)
        .collect()
}
