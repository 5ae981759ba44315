//! Benchmarks against peers in the same run.

use anyhow::Result;

use crate::context::Context;

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    Ledger,
    Blobs,
    Documents,
    All,
}

pub(crate) fn run(_context: &Context, _what: What, _seconds: u64) -> Result<()> {
    anyhow::bail!("not yet")
}
