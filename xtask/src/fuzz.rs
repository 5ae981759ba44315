//! Fuzzing: each target of fuzz/ for a while, with cargo-fuzz and a nightly toolchain. Without
//! them it says so, and the targets' corpora are replayed by the crates' own tests.

use std::process::Command;

use anyhow::Result;

use crate::context::Context;
use crate::run;
use crate::tally::{Count, Tally};

const SECONDS_PER_TARGET: u64 = 120;
const KIND: &str = "fuzz targets";

/// Runs every target.
pub(crate) fn check(context: &Context, tally: &mut Tally) -> Result<()> {
    if !run::works("cargo", &["+nightly", "fuzz", "--version"]) {
        println!("    skipped: fuzzing needs cargo-fuzz and a nightly toolchain");
        println!("    (rustup toolchain install nightly; cargo install cargo-fuzz)");
        tally.add(
            KIND,
            Count {
                skipped: 1,
                ..Count::default()
            },
        );
        return Ok(());
    }
    let folder = context.root.join("fuzz");
    let targets = run::quietly(
        Command::new("cargo")
            .current_dir(&folder)
            .args(["+nightly", "fuzz", "list"]),
    )?;
    for target in targets.iter().filter(|target| !target.trim().is_empty()) {
        context.say(&format!("fuzzing {target} for {SECONDS_PER_TARGET} s"));
        let time = format!("-max_total_time={SECONDS_PER_TARGET}");
        let finished = run::filtered(
            Command::new("cargo")
                .current_dir(&folder)
                .args(["+nightly", "fuzz", "run", target, "--", &time]),
            |line| line.contains("ERROR") || line.contains("panicked") || line.contains("Done "),
        )?;
        tally.check(KIND, finished.success);
    }
    Ok(())
}
