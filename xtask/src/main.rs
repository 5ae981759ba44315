//! The project's own tools: `cargo xtask --help` lists them. Depends on none of the product's
//! crates, so that it builds in seconds and still runs when they don't compile.
#![allow(
    clippy::print_stdout,
    reason = "these are command line tools: printing is what they do"
)]

mod bench;
mod combination;
mod context;
mod floors;
mod fuzz;
mod output;
mod run;
mod server;
mod setup;
mod suites;
mod tally;
mod test;
mod tidy;
mod tour;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::combination::{Combination, Content, Ledger};
use crate::context::{Context, Profile};

/// Set-up, tests, tour and benchmarks of Stabbur.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Installs what tests and tour need and this machine lacks; says what.
    Setup,
    /// Checks the house rules: floors, file length, module docs, licences and the like.
    Tidy,
    /// Checks that dependencies between the workspace's crates point down only.
    CheckFloors,
    /// Runs every test and prints their number by kind, with a server that has debug assertions.
    Test {
        /// Runs all combinations of ledger and content in full, with the server as it ships; adds
        /// fuzzing, a longer crash test and a soak.
        #[arg(long, conflicts_with_all = ["ledger", "content"])]
        long: bool,
        /// Runs the suites against the server alone, with the ledger there.
        #[arg(long, value_enum)]
        ledger: Option<Ledger>,
        /// Runs the suites against the server alone, with content there.
        #[arg(long, value_enum)]
        content: Option<Content>,
    },
    /// Starts on an empty folder and keeps a record and its attachments through both protocols.
    Tour {
        /// Sends something wrong in this step (1 to 7), to see that the tour notices.
        #[arg(long = "break", value_name = "STEP", value_parser = clap::value_parser!(u8).range(1..=17))]
        break_step: Option<u8>,
    },
    /// Measures against peers in the same run and writes docs/benchmarks.md.
    Bench {
        /// What to measure.
        #[arg(value_enum, default_value = "all")]
        what: bench::What,
        /// The ledger that `ledger` measures; without it, the embedded one.
        #[arg(long, value_enum)]
        ledger: Option<Ledger>,
        /// Seconds per measurement.
        #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// Documents that `documents-million` loads (a multiple of 2,000), names that `blob-names` makes (of
        /// 10,000), instances that `platform` and `platform-million` make first; fewer for trying it.
        #[arg(long)]
        many: Option<u64>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = Context::new().and_then(|context| match arguments.command {
        Command::Setup => setup::run(&context).map(|()| true),
        Command::Tidy => tidy::run(&context),
        Command::CheckFloors => floors::run(&context),
        Command::Test {
            long,
            ledger,
            content,
        } => {
            let profile = if long { Profile::Release } else { Profile::Dev };
            test::run(&context.with_profile(profile), what(long, ledger, content))
        }
        Command::Tour { break_step } => tour::run(&context, break_step),
        Command::Bench {
            what,
            ledger,
            seconds,
            many,
        } => bench::run(&context, what, ledger, seconds, many).map(|()| true),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What `cargo xtask test` runs: one of the two places given means one combination.
fn what(long: bool, ledger: Option<Ledger>, content: Option<Content>) -> test::What {
    match (ledger, content) {
        (None, None) if long => test::What::Long,
        (None, None) => test::What::All,
        (ledger, content) => test::What::Only(Combination::new(
            ledger.unwrap_or(Ledger::Embedded),
            content.unwrap_or(Content::Local),
        )),
    }
}
