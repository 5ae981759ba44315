//! `s3-server`: an S3 server over a folder, for tests. It writes how a Stabbur gets there:
//! `FOLDER/content.toml` for the server itself, and with `--fault-rate` `FOLDER/content-faulty.toml`
//! for the proxy before it. Both name no prefix. The one that is asked for last is written last.
//!
//! It ends on SIGTERM, or with `--until-stdin-closes` with its parent, and leaves the faults that it
//! caused in `FOLDER/faults.json`.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use s3_server::{FaultProxy, S3Server, SeededFaults, write_content_config};
use tokio::signal::unix::{SignalKind, signal};

/// An S3 server on loopback, for tests.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where bucket, keys and the files for `--content-config` are.
    #[arg(long)]
    folder: PathBuf,
    /// The port; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// How many of a hundred requests the proxy breaks; 0 for no proxy.
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=100))]
    fault_rate: u64,
    /// Which ones.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    fault_seed: u64,
    /// Longest that a slow request is held up.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1_500)]
    slow_max: u64,
    /// Ends when standard input does, so that it doesn't outlive its parent.
    #[arg(long)]
    until_stdin_closes: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let folder = &arguments.folder;
    let mut terminated = signal(SignalKind::terminate()).context("SIGTERM")?;
    let server = S3Server::start(&folder.join("buckets"), arguments.port)
        .await
        .context("the S3 server")?;
    let mut proxy = None;
    if arguments.fault_rate > 0 {
        let faults = SeededFaults {
            seed: arguments.fault_seed,
            rate_percent: arguments.fault_rate,
            slow_milliseconds_max: arguments.slow_max,
        };
        let started = FaultProxy::start(server.address, faults.plan())
            .await
            .context("the proxy")?;
        write_content_config(folder, "content-faulty.toml", started.address)
            .context("content-faulty.toml")?;
        proxy = Some(started);
    }
    write_content_config(folder, "content.toml", server.address).context("content.toml")?;
    let parent_ended = async {
        if arguments.until_stdin_closes {
            let closed = || std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            let _ = tokio::task::spawn_blocking(closed).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        _ = terminated.recv() => {}
        () = parent_ended => {}
    }
    if let Some(proxy) = proxy {
        let counts = proxy.counts();
        let text = serde_json::json!({ "requests": counts.requests(), "faults": counts.by_kind() });
        std::fs::write(folder.join("faults.json"), text.to_string()).context("faults.json")?;
    }
    // A read of standard input can't be called off and would hold the process.
    std::process::exit(0)
}
