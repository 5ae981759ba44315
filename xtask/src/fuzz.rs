//! Fuzzing: each target of fuzz/ for a while, guided by coverage. The targets are built with the
//! compiler's own coverage instrumentation, which the stable toolchain has; what needs nightly is
//! the address sanitizer, and there is no unsafe code of ours for it to watch.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::setup::apt;
use crate::tally::Tally;
use crate::{output, run};

const SECONDS_PER_TARGET: u64 = 60;
const KIND: &str = "fuzz targets";

/// What libFuzzer needs of the code that it guides itself by.
const INSTRUMENTATION: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
];

/// Longest input.
const INPUT_BYTES_MAX: u64 = 8 * 1024;

/// Longest time for one input.
const INPUT_SECONDS_MAX: u64 = 20;

/// Runs every target.
pub(crate) fn check(context: &Context, tally: &mut Tally) -> Result<()> {
    apt::install_unless(context, "libFuzzer", run::works("c++", &["--version"]), &["g++"])?;
    let host = host()?;
    let built = context.target.join("fuzz");
    // With a target named, build scripts and macros aren't instrumented.
    run::quietly(
        context
            .cargo()
            .current_dir(folder(context))
            .env("CARGO_TARGET_DIR", &built)
            .env("RUSTFLAGS", INSTRUMENTATION.join(" "))
            .args(["build", "--locked", "--release", "--target", &host]),
    )?;
    for target in targets(context)? {
        let program = built.join(&host).join("release").join(&target);
        tally.check(KIND, fuzz(context, &program, &target)?);
    }
    Ok(())
}

/// The machine's target triple.
fn host() -> Result<String> {
    let version = run::quietly(Command::new("rustc").arg("-vV"))?;
    let host = version.iter().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

fn fuzz(context: &Context, program: &std::path::Path, target: &str) -> Result<bool> {
    let seconds = std::time::Duration::from_secs(SECONDS_PER_TARGET);
    context.say(&format!("fuzzing {target} for {}", output::minutes(seconds)));
    // What is found goes to the first folder, so that the kept corpus changes only on purpose.
    let found = context.local().join("fuzz").join(target);
    std::fs::create_dir_all(&found).with_context(|| format!("can't create {}", found.display()))?;
    let finished = run::filtered(
        Command::new(program)
            .current_dir(&found)
            .arg(&found)
            .arg(folder(context).join("corpus").join(target))
            .arg(format!("-max_total_time={SECONDS_PER_TARGET}"))
            .arg(format!("-max_len={INPUT_BYTES_MAX}"))
            .arg(format!("-timeout={INPUT_SECONDS_MAX}")),
        |line| {
            ["ERROR", "panicked", "Done ", "DONE ", "Test unit written"]
                .iter()
                .any(|shown| line.contains(shown))
        },
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
