//! The server as a child process: started on a folder, killed without a warning, or asked to stop.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use ledger::clock::{Clock as _, SystemClock};
use serde_json::Value;

/// A store that was killed may have to read its journal first.
const READY_SECONDS_MAX: u64 = 60;
const STOP_SECONDS_MAX: u64 = 30;

/// Base addresses, without a slash at their end.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints {
    pub(crate) blobs: String,
    pub(crate) documents: String,
    pub(crate) platform: String,
    pub(crate) admin: String,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) endpoints: Endpoints,
    pub(crate) ready_after: Duration,
    ready_at: Duration,
}

impl Server {
    /// Starts it on `folder/data` and waits until it is ready. Its log goes to `folder/server.log`.
    pub(crate) fn start(binary: &Path, folder: &Path, places: &[OsString]) -> Result<Self> {
        let ready = folder.join("ready.json");
        let _ = std::fs::remove_file(&ready);
        let path = folder.join("server.log");
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&path)
            .context("the log file")?;
        let began = SystemClock.monotonic();
        let mut child = Command::new(binary)
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
            .args(places)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("can't start {}", binary.display()))?;
        loop {
            let text = std::fs::read_to_string(&ready).unwrap_or_default();
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                let base = |name: &str| {
                    let base = value.get(name).and_then(Value::as_str);
                    base.map(|base| base.trim_end_matches('/').to_owned())
                        .with_context(|| format!("the ready file names no {name}"))
                };
                let endpoints = Endpoints {
                    blobs: base("blobs")?
                        .trim_end_matches(&format!("/{}", crate::client::ACCOUNT))
                        .to_owned(),
                    documents: base("documents")?,
                    platform: base("platform")?,
                    admin: base("admin")?,
                };
                let ready_at = SystemClock.monotonic();
                return Ok(Self {
                    child,
                    endpoints,
                    ready_after: ready_at.saturating_sub(began),
                    ready_at,
                });
            }
            let late = SystemClock.monotonic().saturating_sub(began) > Duration::from_secs(READY_SECONDS_MAX);
            if late || child.try_wait()?.is_some() {
                let _ = child.kill();
                let _ = child.wait();
                let log = std::fs::read_to_string(&path).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(20).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                bail!(
                    "the server didn't get ready; its log ends with:\n{}",
                    tail.join("\n")
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// For how long it has been ready.
    pub(crate) fn age(&self) -> Duration {
        SystemClock.monotonic().saturating_sub(self.ready_at)
    }

    /// SIGKILL: no handler runs, nothing is flushed by the process.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and wait for its end.
    pub(crate) fn stop(mut self) -> Result<()> {
        let status = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status()?;
        anyhow::ensure!(status.success(), "kill -TERM failed");
        let asked = SystemClock.monotonic();
        while SystemClock.monotonic().saturating_sub(asked) < Duration::from_secs(STOP_SECONDS_MAX) {
            if let Some(status) = self.child.try_wait()? {
                anyhow::ensure!(status.success(), "the server stopped with {status}");
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill()?;
        bail!("the server didn't stop within {STOP_SECONDS_MAX} s of being asked to")
    }
}
