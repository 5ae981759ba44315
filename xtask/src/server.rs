//! Builds the server and starts it on an empty folder, for the tour and the benchmarks.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::context::{Context, now};
use crate::run::quietly;

const READY_SECONDS_MAX: u64 = 20;
const STOP_SECONDS_MAX: u64 = 20;

/// Builds the binary by the context's profile, unless one is given.
pub(crate) fn build(context: &Context) -> Result<()> {
    if !context.builds_the_server() {
        println!("    given: {}", context.binary().display());
        return Ok(());
    }
    context.say("building the server");
    quietly(
        context
            .cargo()
            .args(["build", "--package", "stabbur"])
            .args(context.profile_arguments()),
    )?;
    Ok(())
}

/// A running server on free ports. Dropping it stops it and removes its folder.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    folder: PathBuf,
    endpoints: Value,
    /// From start to the ready file being there.
    pub(crate) ready_after: Duration,
}

impl Server {
    /// Starts it in a new folder under `.stabbur/run`.
    pub(crate) fn start(context: &Context, name: &str) -> Result<Self> {
        Self::start_with(context, name, &[])
    }

    /// The same, with arguments that say where ledger and content are.
    pub(crate) fn start_with(context: &Context, name: &str, arguments: &[String]) -> Result<Self> {
        let folder = context
            .local()
            .join("run")
            .join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).with_context(|| format!("can't create {}", folder.display()))?;
        let log = std::fs::File::create(folder.join("server.log")).context("can't create the log file")?;
        let ready = folder.join("ready.json");
        let started = now();
        let child = Command::new(context.binary())
            .args(["dev", "--blobs-port", "0", "--documents-port", "0"])
            .args([
                "--platform-port",
                "0",
                "--registry-port",
                "0",
                "--admin-port",
                "0",
                "--vault-port",
                "0",
                "--login-port",
                "0",
                "--data",
            ])
            .arg(folder.join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("can't share the log file")?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("can't start {}", context.binary().display()))?;
        let mut server = Self {
            child,
            folder,
            endpoints: Value::Null,
            ready_after: Duration::ZERO,
        };
        loop {
            let text = std::fs::read_to_string(&ready).unwrap_or_default();
            if let Ok(endpoints) = serde_json::from_str::<Value>(&text) {
                server.ready_after = now().duration_since(started);
                server.endpoints = endpoints;
                return Ok(server);
            }
            if let Some(status) = server
                .child
                .try_wait()
                .context("can't ask for the server's state")?
            {
                bail!("the server stopped at start ({status}):\n{}", server.log());
            }
            if now().duration_since(started) > Duration::from_secs(READY_SECONDS_MAX) {
                bail!(
                    "the server isn't ready after {READY_SECONDS_MAX} s:\n{}",
                    server.log()
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The folder with data, log and ready file.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The base address of an endpoint, such as `blobs`.
    pub(crate) fn endpoint(&self, name: &str) -> Result<&str> {
        self.endpoints
            .get(name)
            .and_then(Value::as_str)
            .with_context(|| format!("the ready file names no endpoint {name}: {}", self.endpoints))
    }

    /// The server's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(&mut self) -> Result<()> {
        if self
            .child
            .try_wait()
            .context("can't ask for the server's state")?
            .is_some()
        {
            return Ok(());
        }
        quietly(Command::new("kill").args(["-TERM", &self.child.id().to_string()]))?;
        let asked = now();
        while now().duration_since(asked) < Duration::from_secs(STOP_SECONDS_MAX) {
            if self
                .child
                .try_wait()
                .context("can't ask for the server's state")?
                .is_some()
            {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the server didn't stop within {STOP_SECONDS_MAX} s of being asked to")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("server.log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.stop().is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Resident memory of a process, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("can't read {path}"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kibibytes: u64 = line
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .parse()
        .context("VmRSS")?;
    Ok(kibibytes * 1024)
}
