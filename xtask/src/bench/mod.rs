//! Benchmarks against peers in the same run, into docs/benchmarks.md. Each part is a section of
//! its own there, and a run replaces the sections that it measured.

mod blob_names;
mod blob_sizes;
mod million;
mod nginx;
pub(crate) mod peers;
mod platform;
mod registry;
mod report;
mod sample;

use anyhow::{Result, ensure};

use crate::bench::peers::{Azurite, Emulator, Postgres};
use crate::bench::sample::{Load, Sample};
use crate::combination::{Combination, Content, Ledger, Surroundings};
use crate::context::Context;
use crate::run::{aloud, quietly};
use crate::server::{Server, build};
use crate::setup;

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    /// Commits per second and syncs per commit of a ledger.
    Ledger,
    /// 4 KiB put and get, against Azurite.
    Blobs,
    /// 4 KiB to 64 MiB put and get, blocks, ranges, pages and appends, against Azurite, nginx and `dd`.
    BlobSizes,
    /// Pages of 5,000 blobs out of ten million.
    BlobNames,
    /// Blobs, manifests, layers and the catalog of a registry, against docker-registry, zot and nginx.
    Registry,
    /// 1 KiB create, read and query, against PostgreSQL; more of it beside an open emulator as well.
    Documents,
    /// A million documents: load, disk, memory, reads, queries and writes, against PostgreSQL.
    DocumentsMillion,
    /// Platform Storage with 100,000 instances: lists of them, and lives of more, call by call.
    Platform,
    /// The same with a million instances.
    PlatformMillion,
    /// The same as `documents` on 1, 2 and 3 nodes over one PostgreSQL.
    Nodes,
    /// All of them but the millions, the many sizes and the registry, both ledgers.
    All,
}

/// Most nodes of [`What::Nodes`].
const NODES_MAX: usize = 3;

/// Measures and writes the report. `ledger` is the one that [`What::Ledger`] measures; without it, the
/// embedded one. `many` is how many documents, names or instances the benchmarks of many make first.
pub(crate) fn run(
    context: &Context,
    what: What,
    ledger: Option<Ledger>,
    seconds: u64,
    many: Option<u64>,
) -> Result<()> {
    let is_of_many = matches!(
        what,
        What::DocumentsMillion | What::BlobNames | What::Platform | What::PlatformMillion
    );
    ensure!(
        is_of_many || many.is_none(),
        "--many belongs to `bench documents-million`, `blob-names`, `platform` and `platform-million`: the others \
         have their numbers"
    );
    ensure!(
        what == What::Ledger || ledger.is_none(),
        "--ledger belongs to `bench ledger`: the others have their ledgers"
    );
    if what == What::Ledger {
        return match ledger.unwrap_or(Ledger::Embedded) {
            Ledger::Embedded => report::write(context, "ledger", &ledger_embedded(context, seconds)?),
            Ledger::Postgres => {
                report::write(context, "ledger-postgres", &ledger_postgres(context, seconds)?)
            }
        };
    }
    if what == What::All {
        report::write(context, "ledger", &ledger_embedded(context, seconds)?)?;
        report::write(context, "ledger-postgres", &ledger_postgres(context, seconds)?)?;
    }
    if !matches!(what, What::Platform | What::PlatformMillion) {
        setup::python(context)?;
    }
    build(context)?;
    let load = Load::build(context, seconds)?;
    if what == What::Blobs || what == What::All {
        report::write(context, "blobs", &blobs(context, &load)?)?;
    }
    if what == What::BlobSizes {
        report::write(context, "blob-sizes", &blob_sizes::measure(context, &load)?)?;
    }
    if what == What::BlobNames {
        let section = blob_names::measure(context, &load, many.unwrap_or(blob_names::NAMES))?;
        report::write(context, "blob-names", &section)?;
    }
    if what == What::Registry {
        report::write(context, "registry", &registry::measure(context, &load)?)?;
    }
    if what == What::Documents || what == What::All {
        report::write(context, "documents", &documents(context, &load)?)?;
    }
    if what == What::DocumentsMillion {
        let count = many.unwrap_or(million::DOCUMENTS);
        let section = million::measure(context, &load, count)?;
        report::write(context, "documents-million", &section)?;
    }
    if what == What::Platform || what == What::All {
        let count = many.unwrap_or(platform::INSTANCES);
        report::write(context, "platform", &platform::measure(context, &load, count)?)?;
    }
    if what == What::PlatformMillion {
        let count = many.unwrap_or(platform::INSTANCES_MILLION);
        let section = platform::measure(context, &load, count)?;
        report::write(context, "platform-million", &section)?;
    }
    if what == What::Nodes || what == What::All {
        report::write(context, "nodes", &nodes(context, &load)?)?;
    }
    Ok(())
}

fn ledger_embedded(context: &Context, seconds: u64) -> Result<String> {
    context.say("ledger: commits and syncs");
    let lines = ledger_bench(
        context,
        "ledger-embedded",
        "ledger_bench",
        &[&seconds.to_string()],
    )?;
    Ok(report::ledger(&lines))
}

fn ledger_postgres(context: &Context, seconds: u64) -> Result<String> {
    peers::install_postgres(context)?;
    context.say("ledger on PostgreSQL: commits and bare inserts");
    let postgres = Postgres::start(context)?;
    let version = postgres.version()?;
    // Each takes turns of whole seconds.
    let arguments = [
        postgres.parameters(),
        (seconds * 2).to_string(),
        postgres.program("pgbench"),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let lines = ledger_bench(context, "ledger-postgres", "ledger_bench_postgres", &arguments)?;
    Ok(report::ledger_postgres(&version, &lines))
}

/// Runs an engine's own benchmark; what it printed.
fn ledger_bench(context: &Context, package: &str, example: &str, arguments: &[&str]) -> Result<Vec<String>> {
    let example = ["--example", example, "--package", package];
    // Built before it runs, so that cargo's own lines don't get into the report.
    quietly(context.cargo().args(["build", "--release"]).args(example))?;
    let run = ["run", "--quiet", "--release"];
    let finished = aloud(context.cargo().args(run).args(example).arg("--").args(arguments))?;
    ensure!(finished.success, "the ledger's benchmark failed");
    Ok(finished.lines)
}

fn blobs(context: &Context, load: &Load) -> Result<String> {
    setup::node_packages(context, peers::FOLDER)?;
    context.say("blobs: Azurite");
    let azurite = Azurite::start(context)?;
    let theirs = load.run(&[azurite.pid()], &["blobs", &azurite.url()])?;
    drop(azurite);
    context.say("blobs: Stabbur");
    let mut server = Server::start(context, "bench-blobs")?;
    let url = format!(
        "{}/devstoreaccount1",
        server.endpoint("blobs")?.trim_end_matches("/devstoreaccount1")
    );
    let ours = load.run(&[server.pid()], &["blobs", &url])?;
    server.stop()?;
    let version = peers::npm_version(context, "azurite")?;
    Ok(report::blobs(&version, &ours, &theirs))
}

fn documents(context: &Context, load: &Load) -> Result<String> {
    peers::install_postgres(context)?;
    context.say("documents: Stabbur and PostgreSQL in turns");
    let postgres = Postgres::start(context)?;
    let mut server = Server::start(context, "bench-documents")?;
    let url = server.endpoint("documents")?.to_owned();
    let peer = ["--peer-pid", &postgres.pid().to_string()];
    let mut target = vec!["documents-against-postgres", &url];
    let parameters = postgres.parameters();
    target.push(&parameters);
    target.extend(peer);
    let samples = load.run(&[server.pid()], &target)?;
    server.stop()?;
    let mut text = report::documents(&postgres.version()?, &samples);
    drop(postgres);
    text.push_str(&beside_emulator(context, load)?);
    Ok(text)
}

/// Fewer documents, more kinds of operations, three sides.
fn beside_emulator(context: &Context, load: &Load) -> Result<String> {
    setup::node_packages(context, peers::FOLDER)?;
    context.say("documents: Stabbur, PostgreSQL and an open emulator in turns");
    let postgres = Postgres::start(context)?;
    let emulator = Emulator::start(context)?;
    let mut server = Server::start(context, "bench-documents-few")?;
    let texts = [
        server.endpoint("documents")?.to_owned(),
        postgres.parameters(),
        postgres.pid().to_string(),
        emulator.url(),
        emulator.pid().to_string(),
    ];
    let [url, parameters, peer, emulator_url, emulator_peer] = &texts;
    let target = [
        "documents-beside-emulator",
        url,
        parameters,
        emulator_url,
        "--peer-pid",
        peer,
        "--emulator-pid",
        emulator_peer,
    ];
    let (samples, facts) = load.run_with_facts(&[server.pid()], &target)?;
    server.stop()?;
    let version = peers::npm_version(context, "@vercel/cosmosdb-server")?;
    report::documents_beside_emulator(&version, &samples, &facts)
}

fn nodes(context: &Context, load: &Load) -> Result<String> {
    peers::install_postgres(context)?;
    let mut by_nodes = Vec::new();
    let mut version = String::new();
    for count in 1..=NODES_MAX {
        context.say(&format!("nodes: {count}"));
        // New ones each time, so that each number of nodes finds the same.
        let surroundings = Surroundings::start(context, Combination::new(Ledger::Postgres, Content::S3))?;
        by_nodes.push(on_nodes(context, load, &surroundings, count)?);
        if let Some(postgres) = surroundings.postgres() {
            version = postgres.version()?;
        }
    }
    Ok(report::nodes(&version, &by_nodes))
}

/// Starts so many nodes and measures them together with their database.
fn on_nodes(
    context: &Context,
    load: &Load,
    surroundings: &Surroundings,
    count: usize,
) -> Result<Vec<Sample>> {
    let mut places = surroundings.ledger_arguments("nodes")?;
    places.extend(surroundings.content_arguments("nodes")?);
    let mut servers = Vec::new();
    for number in 1..=count {
        servers.push(Server::start_with(
            context,
            &format!("bench-node{number}"),
            &places,
        )?);
    }
    let mut pids: Vec<u32> = servers.iter().map(Server::pid).collect();
    pids.extend(surroundings.postgres().map(Postgres::pid));
    let mut target = vec!["documents"];
    for server in &servers {
        target.push(server.endpoint("documents")?);
    }
    let samples = load.run(&pids, &target)?;
    for server in &mut servers {
        server.stop()?;
    }
    Ok(samples)
}
