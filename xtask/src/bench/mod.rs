//! Benchmarks against peers in the same run, into docs/benchmarks.md. Each part is a section of
//! its own there, and a run replaces the sections that it measured.

pub(crate) mod peers;
mod report;
mod sample;

use anyhow::{Context as _, Result};

use crate::bench::peers::{Azurite, Postgres};
use crate::bench::sample::Load;
use crate::context::Context;
use crate::run::{aloud, quietly};
use crate::server::{Server, build};
use crate::setup;

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    /// Commits per second and syncs per commit of the embedded ledger.
    Ledger,
    /// 4 KiB put and get, against Azurite.
    Blobs,
    /// 1 KiB create, read and query, against PostgreSQL.
    Documents,
    /// All of them.
    All,
}

/// Measures and writes the report.
pub(crate) fn run(context: &Context, what: What, seconds: u64) -> Result<()> {
    if what == What::Ledger || what == What::All {
        report::write(context, "ledger", &ledger(context)?)?;
    }
    if what == What::Ledger {
        return Ok(());
    }
    setup::python(context)?;
    build(context)?;
    let load = Load::build(context, seconds)?;
    if what == What::Blobs || what == What::All {
        report::write(context, "blobs", &blobs(context, &load)?)?;
    }
    if what == What::Documents || what == What::All {
        report::write(context, "documents", &documents(context, &load)?)?;
    }
    Ok(())
}

fn ledger(context: &Context) -> Result<String> {
    context.say("ledger: commits and syncs");
    let example = [
        "run",
        "--quiet",
        "--release",
        "--package",
        "ledger-embedded",
        "--example",
        "ledger_bench",
    ];
    let finished = aloud(context.cargo().args(example))?;
    anyhow::ensure!(finished.success, "the ledger's benchmark failed");
    Ok(report::ledger(&finished.lines))
}

fn blobs(context: &Context, load: &Load) -> Result<String> {
    setup::node_packages(context, peers::FOLDER)?;
    context.say("blobs: Azurite");
    let azurite = Azurite::start(context)?;
    let theirs = load.run(azurite.pid(), &["blobs", &azurite.url()])?;
    drop(azurite);
    context.say("blobs: Stabbur");
    let mut server = Server::start(context, "bench-blobs")?;
    let url = format!(
        "{}/devstoreaccount1",
        server.endpoint("blobs")?.trim_end_matches("/devstoreaccount1")
    );
    let ours = load.run(server.pid(), &["blobs", &url])?;
    server.stop()?;
    let version = peers::npm_version(context, "azurite")?;
    Ok(report::blobs(&version, &ours, &theirs))
}

fn documents(context: &Context, load: &Load) -> Result<String> {
    peers::install_postgres(context)?;
    context.say("documents: PostgreSQL");
    let postgres = Postgres::start(context)?;
    let theirs = load.run(postgres.pid(), &["postgres", &postgres.parameters()])?;
    let version = quietly(&mut postgres.version_command())?;
    drop(postgres);
    context.say("documents: Stabbur");
    let mut server = Server::start(context, "bench-documents")?;
    let url = server.endpoint("documents")?.to_owned();
    let ours = load.run(server.pid(), &["documents", &url])?;
    server.stop()?;
    Ok(report::documents(
        version.first().context("no version")?,
        &ours,
        &theirs,
    ))
}
