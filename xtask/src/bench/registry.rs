//! A container registry against Debian's `docker-registry` and, where `STABBUR_ZOT` names its program, zot; with
//! nginx that serves the layers as files as the ceiling for pulls.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::bench::nginx::Nginx;
use crate::bench::peers::{self, Peer};
use crate::bench::report;
use crate::bench::sample::{Fact, Load, Sample};
use crate::context::Context;
use crate::output::{mebibytes, table};
use crate::run::{quietly, works};
use crate::server::Server;
use crate::setup::apt;

/// Names zot's program: no package of Debian's has it.
const ZOT: &str = "STABBUR_ZOT";
const DOCKER: &str = "docker-registry";

/// The aims: how many times each peer's, and which share of nginx's.
const AIMS: [(&str, Option<f64>, Option<f64>); 5] = [
    ("manifest by tag", Some(3.0), None),
    ("manifest by digest", Some(3.0), None),
    ("push 256 MiB whole", Some(1.5), None),
    ("push 256 MiB in chunks", Some(1.5), None),
    ("pull 256 MiB, 20 at once", Some(1.0), Some(0.8)),
];

/// What one registry did.
struct Measured {
    name: String,
    samples: Vec<Sample>,
    disk_bytes: f64,
}

impl Measured {
    fn new(name: &str, (samples, facts): (Vec<Sample>, Vec<Fact>)) -> Result<Self> {
        let disk = facts.iter().find(|fact| fact.name == "disk_bytes");
        Ok(Self {
            name: name.to_owned(),
            samples,
            disk_bytes: disk.context("no size on disk")?.ours,
        })
    }

    fn per_second(&self, operation: &str) -> Option<f64> {
        let sample = self.samples.iter().find(|sample| sample.operation == operation);
        sample.map(|sample| sample.per_second)
    }

    /// The most memory at the end of a step.
    fn memory(&self) -> u64 {
        self.samples
            .iter()
            .map(|sample| sample.memory_bytes)
            .max()
            .unwrap_or(0)
    }
}

/// Measures it; the report.
pub(crate) fn measure(context: &Context, load: &Load) -> Result<String> {
    Nginx::install(context)?;
    apt::install_unless(context, DOCKER, works(DOCKER, &["--version"]), &[DOCKER])?;
    context.say("registry: nginx");
    let nginx = Nginx::start(context)?;
    let folder = nginx.files().to_string_lossy().into_owned();
    let files = load.run(&[nginx.pid()], &["registry-files", &nginx.url(), &folder])?;
    drop(nginx);
    let mut peers = vec![measure_peer(context, load, &Kind::Docker)?];
    match std::env::var_os(ZOT) {
        Some(program) => peers.push(measure_peer(context, load, &Kind::Zot(program.into()))?),
        None => println!("    without zot: {ZOT} doesn't name its program"),
    }
    context.say("registry: Stabbur");
    let mut server = Server::start(context, "bench-registry")?;
    let url = server.endpoint("registry")?.trim_end_matches('/').to_owned();
    let data = server.folder().join("data").to_string_lossy().into_owned();
    let ours = load.run_with_facts(&[server.pid()], &["registry", &url, &data])?;
    server.stop()?;
    Ok(section(
        &Nginx::version()?,
        &files,
        &Measured::new("Stabbur", ours)?,
        &peers,
    ))
}

fn measure_peer(context: &Context, load: &Load, kind: &Kind) -> Result<Measured> {
    context.say(&format!("registry: {}", kind.name()));
    let registry = Registry::start(context, kind)?;
    let data = registry.data().to_string_lossy().into_owned();
    let measured = load.run_with_facts(&[registry.peer.child.id()], &["registry", &registry.url(), &data])?;
    let name = format!("{} {}", kind.name(), kind.version()?);
    Measured::new(name.trim(), measured)
}

fn section(nginx: &str, files: &[Sample], ours: &Measured, peers: &[Measured]) -> String {
    let against: Vec<(&str, &[Sample])> = peers
        .iter()
        .map(|peer| (peer.name.as_str(), peer.samples.as_slice()))
        .collect();
    let mut text = format!(
        "## Registry\n\nKept-alive connections, 32 requests under way for blobs of 4 KiB, manifests and repositories, one for\n\
         layers and the catalog. A blob of 4 KiB is two requests, a layer in chunks one for each 16 MiB. Stabbur syncs\n\
         before it acknowledges; the others, with their defaults on local files, don't. {nginx} serves the layers as\n\
         files from the page cache with `sendfile`: a ceiling for pulls.\n\n"
    );
    text.push_str(&report::compare(&ours.samples, &against));
    let rows: Vec<Vec<String>> = std::iter::once(ours)
        .chain(peers)
        .map(|one| {
            vec![
                one.name.clone(),
                mebibytes(one.memory()),
                format!("{:.0} MiB", one.disk_bytes / (1024.0 * 1024.0)),
            ]
        })
        .collect();
    text.push('\n');
    text.push_str(&table(&["", "most memory", "on disk"], &rows));
    text.push('\n');
    for (operation, times, share) in AIMS {
        let Some(our) = ours.per_second(operation) else {
            continue;
        };
        let file = files.iter().find(|file| file.operation == operation);
        let aims = peers
            .iter()
            .map(|peer| (peer.name.as_str(), peer.per_second(operation), times))
            .chain([(nginx, file.map(|file| file.per_second), share)]);
        for (name, theirs, aim) in aims {
            let (Some(theirs), Some(aim)) = (theirs, aim) else {
                continue;
            };
            let ratio = our / theirs.max(f64::MIN_POSITIVE);
            let kept = if ratio >= aim { "within" } else { "**below**" };
            text.push_str(&format!(
                "- {operation}: {ratio:.2} times {name}, {kept} the aim of {aim}\n"
            ));
        }
    }
    for peer in peers {
        let kept = if ours.memory() < peer.memory() {
            "within"
        } else {
            "**above**"
        };
        let share = ours.memory() as f64 / peer.memory().max(1) as f64;
        text.push_str(&format!(
            "- memory: {share:.2} times {}, {kept} the aim of less\n",
            peer.name
        ));
    }
    text
}

/// A registry to compare with.
enum Kind {
    Docker,
    Zot(PathBuf),
}

impl Kind {
    fn name(&self) -> &'static str {
        match self {
            Self::Docker => DOCKER,
            Self::Zot(_) => "zot",
        }
    }

    /// As it says itself; a program that was built by hand may not say it.
    fn version(&self) -> Result<String> {
        let lines = match self {
            Self::Docker => quietly(Command::new(DOCKER).arg("--version"))?,
            Self::Zot(program) => quietly(Command::new(program).arg("--version"))?,
        };
        let line = lines.first().context("a registry names no version")?;
        Ok(match serde_json::from_str::<serde_json::Value>(line) {
            Ok(line) => line
                .get("commit")
                .and_then(serde_json::Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            Err(_) => line.split_whitespace().last().unwrap_or_default().to_owned(),
        })
    }

    fn configured(&self, folder: &Path, port: u16) -> (String, &'static str) {
        let data = folder.join("data");
        let data = data.display();
        match self {
            Self::Docker => (
                format!(
                    "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  cache:\n    \
                     blobdescriptor: inmemory\n  filesystem:\n    rootdirectory: {data}\nhttp:\n  addr: 127.0.0.1:{port}\n"
                ),
                "config.yml",
            ),
            Self::Zot(_) => (
                format!(
                    "{{\"storage\": {{\"rootDirectory\": \"{data}\"}}, \"http\": {{\"address\": \"127.0.0.1\", \
                     \"port\": \"{port}\"}}, \"log\": {{\"level\": \"error\"}}}}\n"
                ),
                "config.json",
            ),
        }
    }

    fn command(&self, configuration: &Path) -> Command {
        let mut command = match self {
            Self::Docker => Command::new(DOCKER),
            Self::Zot(program) => Command::new(program),
        };
        command.arg("serve").arg(configuration);
        command
    }
}

/// A peer that runs.
struct Registry {
    peer: Peer,
    port: u16,
}

impl Registry {
    fn start(context: &Context, kind: &Kind) -> Result<Self> {
        let folder = peers::fresh_folder(context, kind.name())?;
        let port = peers::free_port()?;
        let (text, file) = kind.configured(&folder, port);
        let configuration = folder.join(file);
        std::fs::write(&configuration, text)
            .with_context(|| format!("can't write {}", configuration.display()))?;
        let log = std::fs::File::create(folder.join("log")).context("can't create the log file")?;
        let child = kind
            .command(&configuration)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("can't share the log file")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("can't start {}", kind.name()))?;
        let peer = Peer {
            child,
            folder,
            signal: "-TERM",
        };
        peers::wait_until(kind.name(), || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { peer, port })
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn data(&self) -> PathBuf {
        self.peer.folder.join("data")
    }
}
