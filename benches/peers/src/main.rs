//! Load for benchmarks: the same operations against Stabbur and against a peer, from one thread so
//! that the servers have the rest of the machine. Prints one JSON line per measurement.

mod account;
mod against_postgres;
mod beside_emulator;
mod blob_sizes;
mod blobs;
mod chance;
mod connection;
mod documents;
mod load;
mod million;
mod names;
mod platform;
mod postgres;
mod process;
mod registry;
mod sample;
mod storage;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Load for benchmarks.
#[derive(Debug, Parser)]
struct Arguments {
    /// Requests under way at once, each on a connection of its own.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// Seconds per measurement (creates have a number instead, so that reads find the same store).
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Processes whose (and whose children's) processor time and memory are measured, together.
    #[arg(long = "pid", required = true)]
    pids: Vec<u32>,
    #[command(subcommand)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Target {
    /// 4 KiB put and get by the Blob protocol.
    Blobs {
        /// Base of the account, such as `http://127.0.0.1:10000/devstoreaccount1`.
        url: String,
    },
    /// Blobs of many sizes by the Blob protocol.
    BlobSizes {
        /// Base of the account.
        url: String,
    },
    /// Pages of 5,000 names out of many by the Blob protocol.
    BlobNames {
        /// Base of the account.
        url: String,
        /// The folder with the server's data, of which the size is read.
        folder: PathBuf,
        /// Names to make.
        #[arg(long, default_value_t = 10_000_000)]
        names: u64,
    },
    /// Files of the same sizes, made in a folder that a plain HTTP server serves.
    Files {
        /// Base of the server.
        url: String,
        /// The folder.
        folder: PathBuf,
    },
    /// Blobs, manifests, layers and the catalog of a container registry that lets everybody push.
    Registry {
        /// Base of the registry, such as `http://127.0.0.1:5000`.
        url: String,
        /// The folder with its data, of which the size is read at the end.
        data: PathBuf,
    },
    /// The layers as files, made in a folder that a plain HTTP server serves.
    RegistryFiles {
        /// Base of the server.
        url: String,
        /// The folder.
        folder: PathBuf,
    },
    /// 1 KiB create, point read and query by two properties by the Cosmos protocol.
    Documents {
        /// Base of the account, such as `http://127.0.0.1:8081`, on each node: the connections are
        /// spread over them.
        #[arg(required = true)]
        urls: Vec<String>,
        /// Documents to create.
        #[arg(long, default_value_t = 32_000)]
        documents: u64,
    },
    /// The same in turns with PostgreSQL by its own protocol, in a table with a jsonb column.
    DocumentsAgainstPostgres {
        /// Base of the account.
        url: String,
        /// Connection parameters of PostgreSQL, such as `host=/run/socket user=postgres`.
        parameters: String,
        /// PostgreSQL's process, as `--pid` is Stabbur's.
        #[arg(long, required = true)]
        peer_pid: u32,
        /// Documents to create on each.
        #[arg(long, default_value_t = 32_000)]
        documents: u64,
    },
    /// Fewer documents and more operations, in turns with PostgreSQL and an open emulator.
    DocumentsBesideEmulator(beside_emulator::Arguments),
    /// A million documents in turns with PostgreSQL.
    DocumentsMillion(million::Arguments),
    /// Platform Storage: instances, lists of them, lives of more.
    Platform(platform::Arguments),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let plan = load::Plan {
        concurrency: arguments.concurrency,
        time: Duration::from_secs(arguments.seconds),
        pids: arguments.pids,
    };
    match arguments.target {
        Target::Blobs { url } => blobs::run(&plan, &url).await,
        Target::BlobSizes { url } => blob_sizes::run(&plan, &url).await,
        Target::BlobNames { url, folder, names } => names::run(&plan, &url, &folder, names).await,
        Target::Files { url, folder } => blob_sizes::files(&plan, &url, &folder).await,
        Target::Registry { url, data } => registry::run(&plan, &url, &data).await,
        Target::RegistryFiles { url, folder } => registry::files(&plan, &url, &folder).await,
        Target::Documents { urls, documents } => documents::run(&plan, &urls, documents).await,
        Target::DocumentsAgainstPostgres {
            url,
            parameters,
            peer_pid,
            documents,
        } => against_postgres::run(&plan, &url, &[peer_pid], &parameters, documents).await,
        Target::DocumentsBesideEmulator(arguments) => arguments.run(&plan).await,
        Target::DocumentsMillion(arguments) => arguments.run(&plan).await,
        Target::Platform(arguments) => arguments.run(&plan).await,
    }
}
