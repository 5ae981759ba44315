//! Several nodes of the real binary over one PostgreSQL and one object store, with real
//! credentials and TLS, behind the balancer whose sample configuration ships.
//!
//! * `balancer`: nodes are killed in mid-load; clients that retry once see no error, nothing that
//!   was acknowledged is lost, the background work goes on elsewhere.
//! * `outage`: the database is stopped in mid-load; each answer is clear, none of them lies, and
//!   the service is back when the database is.
#![allow(clippy::print_stdout, reason = "a test program reports by printing")]

mod answers;
mod balancer;
mod client;
mod estate;
mod haproxy;
mod load;
mod node;
mod objects;
mod outage;
mod postgres;
mod process;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};

/// Runs several nodes and breaks things around them.
#[derive(Debug, Parser)]
struct Arguments {
    /// The server's binary.
    #[arg(long)]
    binary: PathBuf,
    /// The balancer's sample configuration.
    #[arg(long, default_value = "docs/operate/haproxy.cfg")]
    haproxy_config: PathBuf,
    /// What is run.
    #[arg(long, value_enum, default_value = "all")]
    scenario: Scenario,
    /// Nodes killed; every second one holds the background work's lease.
    #[arg(long, default_value_t = 6)]
    kills: u32,
    /// Clients.
    #[arg(long, default_value_t = 9)]
    clients: u64,
    /// How long the database is away, in seconds.
    #[arg(long, default_value_t = 20)]
    outage_seconds: u64,
    /// Seed of what the clients do.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keeps the nodes' folders, with their logs, and uses this one.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Where the report goes, as JSON.
    #[arg(long)]
    report: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scenario {
    Balancer,
    Outage,
    All,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("the test of several nodes broke off: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool> {
    let temporary = tempfile::Builder::new().prefix("stabbur-nodes-").tempdir()?;
    let folder = arguments.folder.as_deref().unwrap_or(temporary.path());
    std::fs::create_dir_all(folder)?;
    let postgres = postgres::Server::start(folder)?;
    let objects = objects::Server::start(&folder.join("objects"))?;
    let mut report = report::Report::default();
    if arguments.scenario != Scenario::Outage {
        let estate = estate::Estate::new(&folder.join("balancer"), &postgres, &objects)?;
        balancer::run(arguments, &estate, &mut report)?;
    }
    if arguments.scenario != Scenario::Balancer {
        let estate = estate::Estate::new(&folder.join("outage"), &postgres, &objects)?;
        outage::run(arguments, &estate, postgres, &mut report)?;
    }
    println!("{}", report.text());
    if let Some(path) = &arguments.report {
        std::fs::write(path, report.json().to_string())?;
    }
    Ok(report.good())
}
