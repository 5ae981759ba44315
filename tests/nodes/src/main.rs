//! Several nodes of the real binary over one PostgreSQL and one object store, with real
//! credentials and TLS, behind the balancer whose sample configuration ships.
//!
//! * `balancer`: nodes are killed in mid-load; clients that retry once see no error, nothing that
//!   was acknowledged is lost, the background work goes on elsewhere.
//! * `outage`: the database is stopped in mid-load; each answer is clear, none of them lies, and
//!   the service is back when the database is.
//! * `hang`: the same with a database that doesn't break its connections, and doesn't answer.
#![allow(clippy::print_stdout, reason = "a test program reports by printing")]

mod answers;
mod balancer;
mod client;
mod estate;
mod haproxy;
mod instances;
mod load;
mod node;
mod objects;
mod outage;
mod postgres;
mod process;
mod report;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use crate::outage::Harm;

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
    /// How long the database is away, or hangs, in seconds.
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
    Hang,
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
    let mut postgres = postgres::Server::start(folder)?;
    let objects = objects::Server::start(&folder.join("objects"))?;
    let mut report = report::Report::default();
    let runs = |scenario| arguments.scenario == scenario || arguments.scenario == Scenario::All;
    if runs(Scenario::Balancer) {
        let estate = estate::Estate::new(&folder.join("balancer"), &postgres, &objects)?;
        balancer::run(arguments, &estate, &mut report)?;
    }
    for (scenario, name, harm) in [
        (Scenario::Outage, "outage", Harm::Stopped),
        (Scenario::Hang, "hang", Harm::Hung),
    ] {
        if runs(scenario) {
            let estate = estate::Estate::new(&folder.join(name), &postgres, &objects)?;
            outage::run(arguments, &estate, &mut postgres, harm, &mut report)?;
        }
    }
    println!("{}", report.text());
    if let Some(path) = &arguments.report {
        std::fs::write(path, report.json().to_string())?;
    }
    Ok(report.good())
}
