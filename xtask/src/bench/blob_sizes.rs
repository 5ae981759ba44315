//! Blobs of many sizes against Azurite, with two ceilings in the same run: nginx that serves files of the
//! same sizes, for reads, and `dd` that writes a file and syncs it, for large writes.

use std::process::Command;

use anyhow::Result;

use crate::bench::nginx::Nginx;
use crate::bench::peers::{self, Azurite};
use crate::bench::report;
use crate::bench::sample::{Load, Sample};
use crate::context::{Context, now};
use crate::output::table;
use crate::run::quietly;
use crate::server::Server;
use crate::setup;

const MIB: f64 = 1024.0 * 1024.0;

/// What `dd` writes.
const WRITTEN_MIB: u32 = 1024;

/// Bytes of the largest blobs.
const LARGE_MIB: f64 = 64.0;

/// The aims: how many times Azurite's small blobs and pages, which share of nginx's large reads and of
/// what `dd` writes.
const AIMS: [(&str, Ceiling, f64); 5] = [
    ("put 4 KiB", Ceiling::Azurite, 10.0),
    ("get 4 KiB", Ceiling::Azurite, 10.0),
    ("write 4 KiB of pages", Ceiling::Azurite, 10.0),
    ("get 64 MiB", Ceiling::Nginx, 0.8),
    ("put 64 MiB", Ceiling::Disk, 0.7),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ceiling {
    Azurite,
    Nginx,
    Disk,
}

impl Ceiling {
    fn name(self) -> &'static str {
        match self {
            Self::Azurite => "Azurite",
            Self::Nginx => "nginx",
            Self::Disk => "dd",
        }
    }
}

/// Everything that was measured.
struct Measured {
    azurite: String,
    nginx: String,
    ours: Vec<Sample>,
    theirs: Vec<Sample>,
    files: Vec<Sample>,
    /// Bytes per second.
    disk: f64,
}

/// Measures it; the report.
pub(crate) fn measure(context: &Context, load: &Load) -> Result<String> {
    setup::node_packages(context, peers::FOLDER)?;
    Nginx::install(context)?;
    context.say("blobs of many sizes: dd");
    let disk = written_per_second(context)?;
    context.say("blobs of many sizes: nginx");
    let nginx = Nginx::start(context)?;
    let folder = nginx.files().to_string_lossy().into_owned();
    let files = load.run(&[nginx.pid()], &["files", &nginx.url(), &folder])?;
    drop(nginx);
    context.say("blobs of many sizes: Azurite");
    let azurite = Azurite::start(context)?;
    let theirs = load.run(&[azurite.pid()], &["blob-sizes", &azurite.url()])?;
    drop(azurite);
    context.say("blobs of many sizes: Stabbur");
    let mut server = Server::start(context, "bench-blob-sizes")?;
    let account = server.endpoint("blobs")?.trim_end_matches("/devstoreaccount1");
    let url = format!("{account}/devstoreaccount1");
    let ours = load.run(&[server.pid()], &["blob-sizes", &url])?;
    server.stop()?;
    Ok(section(&Measured {
        azurite: peers::npm_version(context, "azurite")?,
        nginx: Nginx::version()?,
        ours,
        theirs,
        files,
        disk,
    }))
}

fn section(measured: &Measured) -> String {
    let mut text = format!(
        "## Blobs of many sizes\n\nKept-alive connections, Shared Key, 32 requests under way, 16 for 1 MiB, 8 for blocks, 4 for 64 MiB.\n\
         Stabbur syncs before it acknowledges; Azurite {} doesn't. {} serves files of the same sizes\n\
         from the page cache with `sendfile`, without any authentication: a ceiling for reads. `dd bs=1M\n\
         conv=fdatasync` wrote {WRITTEN_MIB} MiB at {:.0} MiB/s: a ceiling for large writes.\n\n",
        measured.azurite,
        measured.nginx,
        measured.disk / MIB
    );
    text.push_str(&report::compare(&measured.ours, &[("Azurite", &measured.theirs)]));
    let rows: Vec<Vec<String>> = measured
        .files
        .iter()
        .filter_map(|file| {
            let our = find(&measured.ours, &file.operation)?;
            Some(vec![
                file.operation.clone(),
                format!("{:.0}", our.per_second),
                format!("{:.0}", file.per_second),
                format!("{:.2}", our.per_second / file.per_second),
                format!("{:.3}", our.cpu_milliseconds_per_operation),
                format!("{:.3}", file.cpu_milliseconds_per_operation),
            ])
        })
        .collect();
    text.push('\n');
    text.push_str(&table(
        &["", "Stabbur", "nginx", "times", "CPU ms each", "nginx's"],
        &rows,
    ));
    text.push('\n');
    for (operation, ceiling, aim) in AIMS {
        let Some(ours) = find(&measured.ours, operation) else {
            continue;
        };
        let theirs = match ceiling {
            Ceiling::Azurite => find(&measured.theirs, operation).map(|sample| sample.per_second),
            Ceiling::Nginx => find(&measured.files, operation).map(|sample| sample.per_second),
            Ceiling::Disk => Some(measured.disk / MIB / LARGE_MIB),
        };
        let Some(theirs) = theirs else { continue };
        let times = ours.per_second / theirs.max(f64::MIN_POSITIVE);
        let kept = if times >= aim { "within" } else { "**below**" };
        text.push_str(&format!(
            "- {operation}: {times:.2} times {}, {kept} the aim of {aim}\n",
            ceiling.name()
        ));
    }
    text
}

fn find<'s>(samples: &'s [Sample], operation: &str) -> Option<&'s Sample> {
    samples.iter().find(|sample| sample.operation == operation)
}

/// What the disk takes from one writer that syncs at the end.
fn written_per_second(context: &Context) -> Result<f64> {
    let folder = peers::fresh_folder(context, "dd")?;
    let file = folder.join("written");
    let began = now();
    let written = quietly(
        Command::new("dd")
            .args(["if=/dev/zero", "bs=1M", "conv=fdatasync"])
            .arg(format!("count={WRITTEN_MIB}"))
            .arg(format!("of={}", file.display())),
    );
    let seconds = now().duration_since(began).as_secs_f64();
    let _ = std::fs::remove_dir_all(&folder);
    written?;
    Ok(f64::from(WRITTEN_MIB) * MIB / seconds)
}
