//! Fuzzing: each target of fuzz/ for a while, with cargo-fuzz and a nightly toolchain. Without them
//! it says so, and replays the targets' corpora with an ordinary build, which finds what was found
//! once but nothing new.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::setup::apt;
use crate::tally::{Count, Tally};
use crate::{output, run};

const SECONDS_PER_TARGET: u64 = 120;
const KIND: &str = "fuzz targets";

/// Runs every target.
pub(crate) fn check(context: &Context, tally: &mut Tally) -> Result<()> {
    let targets = targets(context)?;
    apt::install_unless(context, "libFuzzer", run::works("c++", &["--version"]), &["g++"])?;
    if run::works("cargo", &["+nightly", "fuzz", "--version"]) {
        for target in &targets {
            tally.check(KIND, fuzz(context, target)?);
        }
        return Ok(());
    }
    println!("    no fuzzing: it needs cargo-fuzz and a nightly toolchain");
    println!("    (rustup toolchain install nightly; cargo install cargo-fuzz); corpora are replayed");
    tally.add(
        "fuzz targets, fuzzed",
        Count {
            skipped: 1,
            ..Count::default()
        },
    );
    let built = context.target.join("fuzz");
    run::quietly(
        context
            .cargo()
            .current_dir(folder(context))
            .env("CARGO_TARGET_DIR", &built)
            .args(["build", "--locked"]),
    )?;
    for target in &targets {
        let inputs: Vec<PathBuf> = std::fs::read_dir(folder(context).join("corpus").join(target))
            .with_context(|| format!("fuzz target {target} has no corpus"))?
            .flatten()
            .map(|entry| entry.path())
            .collect();
        println!("    {target}: {} inputs", inputs.len());
        let replayed = run::filtered(
            Command::new(built.join("debug").join(target))
                .current_dir(&built)
                .args(inputs),
            |line| line.contains("panicked") || line.contains("ERROR"),
        )?;
        tally.check(KIND, replayed.success);
    }
    Ok(())
}

fn fuzz(context: &Context, target: &str) -> Result<bool> {
    let seconds = std::time::Duration::from_secs(SECONDS_PER_TARGET);
    context.say(&format!("fuzzing {target} for {}", output::minutes(seconds)));
    // What is found goes to the first folder, so that the kept corpus changes only on purpose.
    let found = context.local().join("fuzz").join(target);
    std::fs::create_dir_all(&found).with_context(|| format!("can't create {}", found.display()))?;
    let finished = run::filtered(
        Command::new("cargo")
            .current_dir(folder(context))
            .args(["+nightly", "fuzz", "run", target])
            .arg(found)
            .arg(folder(context).join("corpus").join(target))
            .args(["--", &format!("-max_total_time={SECONDS_PER_TARGET}")]),
        |line| line.contains("ERROR") || line.contains("panicked") || line.contains("Done "),
    )?;
    Ok(finished.success)
}

fn folder(context: &Context) -> PathBuf {
    context.root.join("fuzz")
}

/// Names of the targets: each file is one.
pub(crate) fn targets(context: &Context) -> Result<Vec<String>> {
    let listed = std::fs::read_dir(folder(context).join("fuzz_targets")).context("fuzz/fuzz_targets")?;
    let mut names: Vec<String> = listed
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}

/// Targets that `fuzz/Cargo.toml` doesn't build or that have no corpus, for tidy.
pub(crate) fn orphans(context: &Context) -> Result<Vec<String>> {
    let manifest = std::fs::read_to_string(folder(context).join("Cargo.toml")).context("fuzz/Cargo.toml")?;
    let mut found = Vec::new();
    for target in targets(context)? {
        if !manifest.contains(&format!("fuzz_targets/{target}.rs")) {
            found.push(format!(
                "fuzz/fuzz_targets/{target}.rs: fuzz/Cargo.toml doesn't build it"
            ));
        }
        if !folder(context).join("corpus").join(&target).is_dir() {
            found.push(format!(
                "fuzz/fuzz_targets/{target}.rs: has no corpus in fuzz/corpus/{target}"
            ));
        }
    }
    Ok(found)
}
