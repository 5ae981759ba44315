//! Where things are: the work tree, cargo's target folder, and `.stabbur/`, the ignored folder
//! that holds what set-up installs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// Shared by all subcommands.
#[derive(Debug)]
pub(crate) struct Context {
    /// Root of the work tree.
    pub(crate) root: PathBuf,
    /// Cargo's target folder.
    pub(crate) target: PathBuf,
    given_binary: Option<PathBuf>,
    profile: Profile,
    started: Instant,
}

/// How the server that tests, tour and benchmarks use is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As it ships.
    Release,
    /// As the crates' tests already built it, with debug assertions and overflow checks: what
    /// continuous integration has time for.
    Dev,
}

impl Context {
    /// Finds the work tree and asks cargo for its target folder.
    pub(crate) fn new() -> Result<Self> {
        let manifest =
            std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
        let root = Path::new(&manifest)
            .parent()
            .context("the folder of xtask has no parent")?
            .to_path_buf();
        let mut context = Self {
            root,
            target: PathBuf::new(),
            given_binary: match std::env::var_os("STABBUR_BINARY") {
                Some(given) => Some(std::path::absolute(given).context("STABBUR_BINARY")?),
                None => None,
            },
            profile: Profile::Release,
            started: now(),
        };
        let metadata = context.cargo_metadata(&["--no-deps"])?;
        context.target = metadata
            .get("target_directory")
            .and_then(Value::as_str)
            .map(PathBuf::from)
            .context("cargo metadata names no target directory")?;
        Ok(context)
    }

    /// The ignored folder for what set-up installs and for logs of runs.
    pub(crate) fn local(&self) -> PathBuf {
        self.root.join(".stabbur")
    }

    /// A program in the Python environment that set-up makes.
    pub(crate) fn venv(&self, program: &str) -> PathBuf {
        self.local().join("python/bin").join(program)
    }

    /// The server binary that tests, tour and benchmarks use.
    pub(crate) fn binary(&self) -> PathBuf {
        let folder = match self.profile {
            Profile::Release => "release",
            Profile::Dev => "debug",
        };
        let built = || self.target.join(folder).join("stabbur");
        self.given_binary.clone().unwrap_or_else(built)
    }

    /// Whether that binary is built here rather than given by `STABBUR_BINARY`.
    pub(crate) fn builds_the_server(&self) -> bool {
        self.given_binary.is_none()
    }

    /// The same, with what is built here built like this.
    pub(crate) fn with_profile(self, profile: Profile) -> Self {
        Self { profile, ..self }
    }

    /// What cargo's commands need besides, to build like that.
    pub(crate) fn profile_arguments(&self) -> &'static [&'static str] {
        match self.profile {
            Profile::Release => &["--release"],
            Profile::Dev => &[],
        }
    }

    /// Time since this command began.
    pub(crate) fn elapsed(&self) -> Duration {
        now().duration_since(self.started)
    }

    /// Says what begins, with the time since the command began.
    pub(crate) fn say(&self, what: &str) {
        println!("[{}] {what}", crate::output::minutes(self.elapsed()));
    }

    /// `cargo metadata` as JSON.
    pub(crate) fn cargo_metadata(&self, arguments: &[&str]) -> Result<Value> {
        let output = self
            .cargo()
            .args(["metadata", "--format-version", "1"])
            .args(arguments)
            .output()
            .context("cargo metadata")?;
        if !output.status.success() {
            bail!(
                "cargo metadata: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        serde_json::from_slice(&output.stdout).context("cargo metadata gave something else than JSON")
    }

    /// Cargo, in the work tree.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.current_dir(&self.root);
        // Inherited from `cargo run`; they would make build scripts rerun.
        for name in [
            "CARGO_MANIFEST_DIR",
            "CARGO_MANIFEST_PATH",
            "CARGO_PKG_NAME",
            "CARGO_PKG_VERSION",
        ] {
            command.env_remove(name);
        }
        command
    }
}

/// The moment, for measuring durations of tools.
#[allow(
    clippy::disallowed_methods,
    reason = "a tool measures real time; nothing here is simulated"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
