//! The peers: Azurite and an emulator of documents from npm, and PostgreSQL from Debian's packages, each on
//! loopback or a private socket, in a folder of its own that goes with it.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::context::{Context, now};
use crate::run::{quietly, works};
use crate::setup;
use crate::setup::apt;

/// Where the peers' lock files are.
pub(crate) const FOLDER: &str = "benches/peers";

const READY_SECONDS_MAX: u64 = 30;

/// PostgreSQL's connections: the ledger's benchmark has 256 that insert, as many of `pgbench`, and some of
/// the ledger's own.
const POSTGRES_CONNECTIONS_MAX: u32 = 600;

/// A peer's process and folder; dropping it ends the one and removes the other.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) child: Child,
    pub(crate) folder: PathBuf,
    /// What asks it to end, for `kill`.
    pub(crate) signal: &'static str,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args([self.signal, &self.child.id().to_string()])
            .status();
        let asked = now();
        while now().duration_since(asked) < Duration::from_secs(10) {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// An empty folder of the run's own.
pub(crate) fn fresh_folder(context: &Context, name: &str) -> Result<PathBuf> {
    let folder = context
        .local()
        .join("run")
        .join(format!("{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).with_context(|| format!("can't create {}", folder.display()))?;
    Ok(folder)
}

/// Waits until `what` is ready.
pub(crate) fn wait_until(what: &str, ready: impl Fn() -> bool) -> Result<()> {
    let began = now();
    while !ready() {
        if now().duration_since(began) > Duration::from_secs(READY_SECONDS_MAX) {
            bail!("{what} isn't ready after {READY_SECONDS_MAX} s");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// The version of an installed npm package.
pub(crate) fn npm_version(context: &Context, package: &str) -> Result<String> {
    let path = context
        .root
        .join(FOLDER)
        .join("node_modules")
        .join(package)
        .join("package.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("can't read {}", path.display()))?;
    let value: serde_json::Value = serde_json::from_str(&text)?;
    Ok(value
        .get("version")
        .and_then(serde_json::Value::as_str)
        .unwrap_or("?")
        .to_owned())
}

/// Starts node in the folder of the peers' packages; `folder` goes when it ends.
///
/// The environment's `node` is a launcher in Python that waits for the real one: ending the launcher left
/// the real one behind, so the real one is asked for. With `setpriv`, which becomes it, it ends with this
/// process however that ends.
fn node_peer(context: &Context, folder: PathBuf, arguments: &[&str]) -> Result<Peer> {
    let asked = quietly(setup::with_node(context, context.venv("node")).args(["-p", "process.execPath"]))?;
    let node = asked.first().context("node doesn't say where it is")?;
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", node])
        .args(arguments)
        .current_dir(context.root.join(FOLDER))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("can't start node by setpriv")?;
    // Not SIGINT: who starts this in the background has it ignored, and node with it.
    let signal = "-TERM";
    Ok(Peer {
        child,
        folder,
        signal,
    })
}

/// Azurite's blob service with its default store.
#[derive(Debug)]
pub(crate) struct Azurite {
    peer: Peer,
    port: u16,
}

impl Azurite {
    /// Starts it on a free port.
    pub(crate) fn start(context: &Context) -> Result<Self> {
        let folder = fresh_folder(context, "azurite")?;
        let port = free_port()?;
        let (number, location) = (port.to_string(), folder.to_string_lossy().into_owned());
        let arguments = [
            "node_modules/azurite/dist/src/blob/main.js",
            "--silent",
            "--skipApiVersionCheck",
            "--disableTelemetry",
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            &number,
            "--location",
            &location,
        ];
        let peer = node_peer(context, folder, &arguments)?;
        wait_until("Azurite", || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { peer, port })
    }

    /// Base of the development account.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/devstoreaccount1", self.port)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.peer.child.id()
    }
}

/// Its command line serves no connection twice. A process that is stopped for a while would give
/// connections up that rest meanwhile.
const EMULATOR: &str = "
const { createHttpServer } = require('@vercel/cosmosdb-server');
const server = createHttpServer({ keepAlive: true });
server.keepAliveTimeout = server.headersTimeout = server.requestTimeout = 0;
server.listen(Number(process.argv[1]), '127.0.0.1');
";

/// An open emulator of documents, which keeps all in memory.
#[derive(Debug)]
pub(crate) struct Emulator {
    peer: Peer,
    port: u16,
}

impl Emulator {
    /// Starts it on a free port.
    pub(crate) fn start(context: &Context) -> Result<Self> {
        let folder = fresh_folder(context, "emulator")?;
        let port = free_port()?;
        let peer = node_peer(context, folder, &["-e", EMULATOR, &port.to_string()])?;
        wait_until("the emulator", || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { peer, port })
    }

    /// Base of the account.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.peer.child.id()
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))
        .context("no free port")?
        .local_addr()?
        .port())
}

/// Installs PostgreSQL's server if it isn't there.
pub(crate) fn install_postgres(context: &Context) -> Result<()> {
    apt::install_unless(
        context,
        "PostgreSQL",
        postgres_programs().is_ok(),
        &["postgresql"],
    )
}

/// The folder with `initdb` and `postgres`: Debian keeps them out of `PATH`, a folder per version.
pub(crate) fn postgres_programs() -> Result<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .context("PostgreSQL isn't installed")?
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|programs| programs.join("initdb").exists() && programs.join("postgres").exists())
        .collect();
    found.sort();
    found.pop().context("PostgreSQL's server isn't installed")
}

/// PostgreSQL with its defaults but for the number of connections, on a private socket only.
#[derive(Debug)]
pub(crate) struct Postgres {
    /// Held for its end, too: dropping it stops the process and removes the folder.
    peer: Peer,
    pid: u32,
    programs: PathBuf,
    user: String,
    /// Apart from the data, since a socket's path has at most 107 bytes.
    socket: PathBuf,
}

impl Postgres {
    /// Makes a cluster and starts it. PostgreSQL refuses to run as root, so root becomes `postgres`.
    pub(crate) fn start(context: &Context) -> Result<Self> {
        let programs = postgres_programs()?;
        let folder = fresh_folder(context, "postgres")?;
        let socket = std::env::temp_dir().join(format!("stabbur-postgres-{}", std::process::id()));
        std::fs::create_dir_all(&socket).with_context(|| format!("can't create {}", socket.display()))?;
        let root = apt::is_root()?;
        let user = if root {
            quietly(Command::new("chown").arg("postgres").arg(&folder).arg(&socket))?;
            "postgres".to_owned()
        } else {
            std::env::var("USER").context("who am I?")?
        };
        let data = folder.join("data");
        quietly(
            as_user(root, &programs.join("initdb"))
                .args([
                    "--auth=trust",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--username",
                    &user,
                    "--pgdata",
                ])
                .arg(&data)
                .current_dir("/"),
        )?;
        let log = std::fs::File::create(folder.join("postgres.log")).context("the log file")?;
        let child = as_user(root, &programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args([
                "-c",
                "listen_addresses=",
                "-c",
                "synchronous_commit=on",
                "-c",
                "fsync=on",
                "-c",
            ])
            .arg(format!("max_connections={POSTGRES_CONNECTIONS_MAX}"))
            .arg("-k")
            .arg(&socket)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("can't start PostgreSQL")?;
        let mut postgres = Self {
            peer: Peer {
                child,
                folder,
                signal: "-INT",
            },
            pid: 0,
            programs,
            user,
            socket,
        };
        let socket = postgres.socket.to_string_lossy().into_owned();
        let probe = postgres.program("pg_isready");
        wait_until("PostgreSQL", || works(&probe, &["-q", "-h", &socket]))?;
        postgres.pid = server_pid(&data)?;
        Ok(postgres)
    }

    /// The path of one of its programs.
    pub(crate) fn program(&self, name: &str) -> String {
        self.programs.join(name).to_string_lossy().into_owned()
    }

    /// Connection parameters.
    pub(crate) fn parameters(&self) -> String {
        format!(
            "host={} user={} dbname=postgres",
            self.socket.display(),
            self.user
        )
    }

    /// Makes a database; how to get there.
    pub(crate) fn new_database(&self, name: &str) -> Result<String> {
        let statement = format!("CREATE DATABASE {name}");
        quietly(
            Command::new(self.programs.join("psql"))
                .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", &statement])
                .arg(self.parameters()),
        )?;
        Ok(format!("{} dbname={name}", self.parameters()))
    }

    /// The folder with all its data.
    pub(crate) fn data(&self) -> PathBuf {
        self.peer.folder.join("data")
    }

    /// The process that all its others are children of.
    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Its name and version.
    pub(crate) fn version(&self) -> Result<String> {
        let printed = quietly(Command::new(self.programs.join("postgres")).arg("--version"))?;
        printed.into_iter().next().context("PostgreSQL names no version")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT: a fast shutdown. `runuser` doesn't hand signals on, hence the server's own id.
        let _ = Command::new("kill")
            .args(["-INT", &self.pid.to_string()])
            .status();
        let _ = std::fs::remove_dir_all(&self.socket);
    }
}

fn server_pid(data: &Path) -> Result<u32> {
    let text = std::fs::read_to_string(data.join("postmaster.pid")).context("PostgreSQL's own pid file")?;
    text.lines()
        .next()
        .unwrap_or_default()
        .trim()
        .parse()
        .context("PostgreSQL's process id")
}

fn as_user(root: bool, program: &Path) -> Command {
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command.args(["-u", "postgres", "--"]).arg(program);
    command
}
