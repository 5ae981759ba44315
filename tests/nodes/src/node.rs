//! A node: `stabbur serve` as a child process, started, killed, asked how it is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use http::Method;

use crate::client::{Client, Site};
use crate::estate::{Estate, address};
use crate::process::{Process, tail, wait_until};

const READY_SECONDS_MAX: u64 = 60;

/// A node's process.
#[derive(Debug)]
pub(crate) struct Node {
    process: Process,
    /// From 1.
    pub(crate) number: usize,
    binary: PathBuf,
    estate: Arc<Estate>,
    log: PathBuf,
    admin: Client,
}

/// What a node says of the background work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Duty {
    /// Whether it holds the lease.
    pub(crate) is_held: bool,
    /// How often it did the work since it started.
    pub(crate) rounds: u64,
}

impl Node {
    /// Starts node `number` and waits until it is ready.
    pub(crate) fn start(binary: &Path, estate: &Arc<Estate>, number: usize) -> Result<Self> {
        let log = estate.folder.join(format!("node{number}.log"));
        let mut node = Self {
            process: spawn(binary, estate, number, &log)?,
            number,
            binary: binary.to_owned(),
            estate: estate.clone(),
            log,
            admin: Client::new(estate)?,
        };
        node.wait_ready()?;
        Ok(node)
    }

    /// Where clients reach it without the balancer.
    pub(crate) fn site(&self) -> Site {
        let (address, ports) = (address(self.number), self.estate.ports);
        Site {
            name: format!("node {}", self.number),
            blobs: format!("https://{address}:{}", ports.blobs),
            documents: format!("https://{address}:{}", ports.documents),
            platform: format!("https://{address}:{}", ports.platform),
        }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again, after it was killed.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.process = spawn(&self.binary, &self.estate, self.number, &self.log)?;
        self.wait_ready()
    }

    fn wait_ready(&mut self) -> Result<()> {
        let url = self.admin_url("/health/ready");
        let (process, admin, log, number) = (&mut self.process, &self.admin, &self.log, self.number);
        wait_until("a node's start", Duration::from_secs(READY_SECONDS_MAX), || {
            ensure!(!process.has_ended(), "node {number} ended:\n{}", tail(log));
            Ok(admin
                .send(&Method::GET, &url, &Vec::new(), None)
                .is_ok_and(|answer| answer.status == 200))
        })?;
        Ok(())
    }

    fn admin_url(&self, path: &str) -> String {
        format!(
            "https://{}:{}{path}",
            address(self.number),
            self.estate.ports.admin
        )
    }

    /// What its health page answers.
    pub(crate) fn is_ready(&self) -> Result<bool> {
        let url = self.admin_url("/health/ready");
        Ok(self.admin.send(&Method::GET, &url, &Vec::new(), None)?.status == 200)
    }

    /// What its metrics say of the background work.
    pub(crate) fn duty(&self) -> Result<Duty> {
        let url = self.admin_url("/metrics");
        let answer = self.admin.send(&Method::GET, &url, &Vec::new(), None)?;
        let text = String::from_utf8(answer.body)?;
        let value = |name: &str| -> Result<u64> {
            let start = format!("stabbur_store{{name=\"{name}\"}} ");
            let found = text.lines().find_map(|line| line.strip_prefix(&start));
            ensure!(found.is_some(), "the metrics lack {name}");
            Ok(found.unwrap_or_default().trim().parse()?)
        };
        Ok(Duty {
            is_held: value("lease_background_work")? == 1,
            rounds: value("background_work_rounds")?,
        })
    }

    /// Lines of its log that say WARN or ERROR.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        text.lines()
            .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "))
            .map(str::to_owned)
            .collect()
    }
}

fn spawn(binary: &Path, estate: &Estate, number: usize, log: &Path) -> Result<Process> {
    Process::start(
        Command::new(binary)
            .args(["serve", "--config"])
            .arg(estate.config(number)),
        log,
    )
}

/// `stabbur ledger verify` over what the nodes left; its last line, or an error.
pub(crate) fn verify(binary: &Path, estate: &Estate) -> Result<String> {
    let output = Command::new(binary)
        .args(["ledger", "verify", "--data"])
        .arg(estate.folder.join("node1"))
        .args(["--ledger-postgres", &estate.connection, "--content-config"])
        .arg(estate.content_config())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "stabbur ledger verify: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said.lines().last().unwrap_or_default().to_owned())
}
