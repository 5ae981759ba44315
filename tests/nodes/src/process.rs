//! Child processes that end when they are dropped, and waiting with an end.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use ledger::clock::{Clock as _, SystemClock};

/// A child process. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Process(Child);

impl Process {
    /// Starts `command`; what it says is appended to the file `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("the log file {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("can't start {}", command.get_program().display()))?;
        Ok(Self(child))
    }

    /// Its number.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }

    /// SIGKILL: no handler runs.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Time since some moment that stays the same.
pub(crate) fn now() -> Duration {
    SystemClock.monotonic()
}

/// Asks every few milliseconds until `ready`, for as long as `most`; how long it took.
pub(crate) fn wait_until(
    what: &str,
    most: Duration,
    mut ready: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    let began = now();
    loop {
        if ready()? {
            return Ok(now().saturating_sub(began));
        }
        if now().saturating_sub(began) > most {
            bail!("{what}: not within {} s", most.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The last lines of a log, for an error's text.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let mut lines: Vec<&str> = text.lines().rev().take(20).collect();
    lines.reverse();
    lines.join("\n")
}
