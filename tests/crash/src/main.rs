//! The crash test: kills the server with SIGKILL in mid-load, again and again, restarts it on the
//! same folder, and holds it to its word. What was acknowledged must be there and whole; what
//! wasn't may be there whole or not at all; no reference may point to missing content.
//!
//! Each key is written by one worker only, so what may be there after a kill is known exactly: the
//! last acknowledged state, or the one whose request was under way.
#![allow(clippy::print_stdout, reason = "a test program reports by printing")]

mod blobs;
mod book;
mod broken_store;
mod client;
mod documents;
mod feed;
mod guarantees;
mod platform;
mod reindexed;
mod report;
mod round;
mod server;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

/// Kills from which on it isn't left to chance what some of them fall into.
const KILLS_FULL: u64 = 20;

/// Kills the server in mid-load and checks that it keeps its word.
#[derive(Debug, Parser)]
struct Arguments {
    /// The server's binary.
    #[arg(long)]
    binary: PathBuf,
    /// How often it is killed.
    #[arg(long, default_value_t = 24)]
    kills: u32,
    /// First seed; round n uses seed + n.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Longest time of load before a kill, in seconds.
    #[arg(long, default_value_t = 2)]
    load_seconds: u64,
    /// Writers of each kind: documents, blobs, platform storage, batches.
    #[arg(long, default_value_t = 3)]
    writers: u64,
    /// A database for the server's ledger, instead of its folder: a connection string.
    #[arg(long)]
    ledger_postgres: Option<String>,
    /// An object store for the server's content, instead of its folder: a file as the server's own
    /// flag of this name takes it.
    #[arg(long)]
    content_config: Option<PathBuf>,
    /// Kills nothing, but has content in an object store that fails, under load for so many seconds.
    #[arg(long, requires = "s3_server", conflicts_with = "content_config")]
    broken_store_seconds: Option<u64>,
    /// Tests the change feed instead: writers and leases for so many seconds, with two kills.
    #[arg(long, conflicts_with = "broken_store_seconds")]
    feed_seconds: Option<u64>,
    /// Tests the guarantees of Platform Storage instead, one by one, under so many kills.
    #[arg(long, conflicts_with_all = ["broken_store_seconds", "feed_seconds"])]
    guarantees: bool,
    /// The program that is this object store: `s3-server`.
    #[arg(long)]
    s3_server: Option<PathBuf>,
    /// Where the report goes, as JSON.
    #[arg(long)]
    report: Option<PathBuf>,
    /// Keeps the data folder, and uses this one.
    #[arg(long)]
    data: Option<PathBuf>,
}

impl Arguments {
    /// What the server, and its ledger's commands, are told about where the ledger is.
    fn ledger_place(&self) -> Vec<OsString> {
        let connection = self.ledger_postgres.as_ref();
        connection.map_or_else(Vec::new, |connection| {
            vec!["--ledger-postgres".into(), connection.into()]
        })
    }

    /// The same, and where content is.
    fn places(&self) -> Vec<OsString> {
        let mut places = self.ledger_place();
        if let Some(config) = &self.content_config {
            places.extend(["--content-config".into(), config.into()]);
        }
        places
    }
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("the crash test broke off: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let temporary = tempfile::Builder::new().prefix("stabbur-crash-").tempdir()?;
    let folder = arguments
        .data
        .clone()
        .unwrap_or_else(|| temporary.path().to_path_buf());
    if let Some(seconds) = arguments.broken_store_seconds {
        return broken_store::run(arguments, &folder, seconds);
    }
    if let Some(seconds) = arguments.feed_seconds {
        return feed::run(arguments, &folder, seconds);
    }
    if arguments.guarantees {
        return guarantees::run(arguments, &folder);
    }
    let mut writers = round::writers(arguments.writers);
    let mut report = report::Report::default();
    for number in 0..arguments.kills {
        let seed = arguments.seed.wrapping_add(u64::from(number));
        let findings = round::kill_in_load(arguments, &folder, seed, &mut writers, &mut report)?;
        report.close_round(&format!("kill {} (seed {seed})", number + 1), findings);
    }
    let findings = round::last_look(arguments, &folder, &mut writers, &mut report)?;
    report.close_round("everything once more, and ledger verify", findings);
    if report.kills >= KILLS_FULL {
        report.close_round("kills fell where they are to fall", round::missed(&report));
    }
    println!("{}", report.text());
    if let Some(path) = &arguments.report {
        std::fs::write(path, report.json().to_string())?;
    }
    Ok(report.good())
}
