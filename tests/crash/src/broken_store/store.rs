//! The object store as a child process: an S3 server, with a proxy before it that breaks things.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use ledger::clock::{Clock as _, SystemClock};
use serde_json::Value;

const READY_SECONDS_MAX: u64 = 20;

/// A running one; it ends with this process at the latest.
#[derive(Debug)]
pub(crate) struct BrokenStore {
    child: Child,
    folder: PathBuf,
    /// Leads to the server itself.
    pub(crate) sound: PathBuf,
    /// Leads to the proxy.
    pub(crate) broken: PathBuf,
}

/// What the proxy did.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Requests to the object store.
    pub(crate) requests: u64,
    /// Those that were broken, by the kind of fault.
    pub(crate) by_kind: BTreeMap<String, u64>,
}

impl Drop for BrokenStore {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl BrokenStore {
    pub(crate) fn start(program: &Path, folder: &Path, rate_percent: u64, seed: u64) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let child = Command::new(program)
            .args(["--fault-rate", &rate_percent.to_string()])
            .args(["--fault-seed", &seed.to_string()])
            .args(["--until-stdin-closes", "--folder"])
            .arg(folder)
            .stdin(Stdio::piped())
            .spawn()
            .with_context(|| format!("can't start {}", program.display()))?;
        let mut store = Self {
            child,
            folder: folder.to_owned(),
            sound: folder.join("sound.toml"),
            broken: folder.join("broken.toml"),
        };
        // The last file that the program writes.
        let ready = folder.join("content.toml");
        let began = SystemClock.monotonic();
        while !ready.exists() {
            let late = SystemClock.monotonic().saturating_sub(began) > Duration::from_secs(READY_SECONDS_MAX);
            if late || store.child.try_wait()?.is_some() {
                bail!("the S3 server didn't get ready");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        for (from, to) in [
            (&ready, &store.sound),
            (&folder.join("content-faulty.toml"), &store.broken),
        ] {
            let text = std::fs::read_to_string(from).with_context(|| format!("{}", from.display()))?;
            std::fs::write(to, text + "prefix = \"broken-store\"\n")?;
        }
        Ok(store)
    }

    /// Ends it and says what it did.
    pub(crate) fn stop(mut self) -> Result<Faults> {
        drop(self.child.stdin.take());
        self.child.wait()?;
        let text = std::fs::read_to_string(self.folder.join("faults.json")).context("faults.json")?;
        let told: Value = serde_json::from_str(&text).context("faults.json")?;
        let kinds = told
            .get("faults")
            .and_then(Value::as_object)
            .context("no faults")?;
        Ok(Faults {
            requests: told.get("requests").and_then(Value::as_u64).unwrap_or(0),
            by_kind: kinds
                .iter()
                .map(|(kind, number)| (kind.clone(), number.as_u64().unwrap_or(0)))
                .collect(),
        })
    }
}
