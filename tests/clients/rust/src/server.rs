//! Starts the server on free ports, knows its addresses, and reads its log at the end.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

pub const BLOBS_ACCOUNT: &str = "devstoreaccount1";
// The emulators' own keys, published by Microsoft; `stabbur serve` refuses them.
pub const BLOBS_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
pub const DOCUMENTS_KEY: &str =
    "C2y6yDjf5/R+ob0N8A7Cgv30VRDJIWEHLM+4QDU5DE2nQ9nDuVTqobD4b8mGGyPMbIZnqyMsEcaGQy67XIw/Jw==";

const READY_MAX: Duration = Duration::from_secs(20);
const STOP_MAX: Duration = Duration::from_secs(20);

/// A running server with a folder of its own. One that a test left behind is killed.
pub struct Server {
    child: Child,
    folder: tempfile::TempDir,
    database: Option<Database>,
    endpoints: Value,
}

impl Server {
    pub fn start() -> Self {
        let binary =
            std::env::var("STABBUR_BINARY").expect("STABBUR_BINARY names no server; run `cargo xtask test`");
        let folder = tempfile::Builder::new()
            .prefix("stabbur-clients-")
            .tempdir()
            .unwrap();
        let ready = folder.path().join("ready.json");
        let log = File::create(folder.path().join("server.log")).unwrap();
        let database = Database::make(&folder);
        let mut command = Command::new(binary);
        command
            .args(["dev", "--blobs-port", "0", "--documents-port", "0", "--platform-port", "0"])
            .args(["--registry-port", "0"])
            .args(["--admin-port", "0", "--vault-port", "0", "--login-port", "0", "--data"])
            .arg(folder.path().join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .args(content_arguments(&folder))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if let Some(database) = &database {
            command.args(["--ledger-postgres", &database.parameters()]);
        }
        let child = command.spawn().unwrap();
        let mut server = Self {
            child,
            folder,
            database,
            endpoints: Value::Null,
        };
        let started = Instant::now();
        loop {
            let text = fs::read_to_string(&ready).unwrap_or_default();
            if let Ok(endpoints) = serde_json::from_str(&text) {
                server.endpoints = endpoints;
                return server;
            }
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "the server stopped at start:\n{}", server.log());
            assert!(
                started.elapsed() < READY_MAX,
                "the server isn't ready:\n{}",
                server.log()
            );
            sleep(Duration::from_millis(10));
        }
    }

    /// Asks it to stop; it must end by itself, with success and a quiet log.
    pub fn stop(mut self) {
        let asked = Instant::now();
        let kill = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(kill.success());
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(asked.elapsed() < STOP_MAX, "the server didn't stop");
            sleep(Duration::from_millis(10));
        };
        assert!(
            status.success(),
            "the server stopped with {status}:\n{}",
            self.log()
        );
        let log = self.log();
        let loud: Vec<&str> = log
            .lines()
            .filter(|line| {
                ["WARN", "ERROR", "panicked"]
                    .iter()
                    .any(|word| line.contains(word))
            })
            .filter(|line| !line.contains("well-known") && !line.contains("development"))
            .collect();
        assert!(
            loud.is_empty(),
            "the server's log has lines that no test expected:\n{}",
            loud.join("\n")
        );
        if let Some(database) = self.database.take() {
            database.drop();
        }
    }

    pub fn documents(&self) -> String {
        self.endpoint("documents")
    }

    /// The base of the development account's blobs.
    pub fn blobs(&self) -> String {
        let base = self.endpoint("blobs");
        if base.ends_with(BLOBS_ACCOUNT) {
            base
        } else {
            format!("{base}/{BLOBS_ACCOUNT}")
        }
    }

    /// The file with the development server's authority.
    pub fn authority(&self) -> String {
        self.endpoint("ca")
    }

    fn endpoint(&self, name: &str) -> String {
        let text = self.endpoints[name]
            .as_str()
            .unwrap_or_else(|| panic!("the ready file has no {name}"));
        text.trim_end_matches('/').to_owned()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(database) = self.database.take() {
            database.drop();
        }
    }
}

/// Content in the object store that STABBUR_CONTENT names, below a prefix of this server's own: a file as
/// `--content-config` takes it, without a prefix.
fn content_arguments(folder: &tempfile::TempDir) -> Vec<PathBuf> {
    let Some(named) = std::env::var_os("STABBUR_CONTENT") else {
        return Vec::new();
    };
    let config = folder.path().join("content.toml");
    let text = fs::read_to_string(named).unwrap();
    fs::write(
        &config,
        format!("{text}prefix = \"clients-{}\"\n", unique(folder)),
    )
    .unwrap();
    vec!["--content-config".into(), config]
}

/// A name that no other server has, from its folder's.
fn unique(folder: &tempfile::TempDir) -> String {
    let name = folder.path().file_name().unwrap().to_string_lossy();
    let part: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{}-{part}", std::process::id())
}

/// A database for one server's ledger, in the PostgreSQL server that STABBUR_POSTGRES names.
struct Database {
    server: String,
    name: String,
}

impl Database {
    fn make(folder: &tempfile::TempDir) -> Option<Self> {
        let server = std::env::var("STABBUR_POSTGRES").ok()?;
        let database = Self {
            server,
            name: format!("clients_{}", unique(folder)),
        };
        database.run(&format!("CREATE DATABASE \"{}\"", database.name));
        Some(database)
    }

    fn parameters(&self) -> String {
        format!("{} dbname={}", self.server, self.name)
    }

    fn drop(&self) {
        self.run(&format!("DROP DATABASE \"{}\" WITH (FORCE)", self.name));
    }

    fn run(&self, statement: &str) {
        let psql = Command::new("psql")
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1"])
            .args([&format!("{} dbname=postgres", self.server), "-c", statement])
            .status()
            .unwrap();
        assert!(psql.success(), "{statement}");
    }
}
