//! A PostgreSQL server of the test's own, on a private socket, that can be stopped without any
//! clean-up and started again. PostgreSQL refuses to run as root, so root becomes `postgres`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::process::{Process, wait_until};

const READY_SECONDS_MAX: u64 = 60;

/// The server and its folder.
#[derive(Debug)]
pub(crate) struct Server {
    /// Data, log and socket: apart from all else, since a socket's path has at most 107 bytes and
    /// everything here belongs to the server's own user.
    folder: tempfile::TempDir,
    log: PathBuf,
    programs: PathBuf,
    user: String,
    process: Option<Process>,
    hangs: bool,
}

fn is_root() -> Result<bool> {
    Ok(Command::new("id").arg("-u").output()?.stdout.starts_with(b"0\n"))
}

impl Server {
    /// Makes a cluster and starts it; its log goes to `logs`.
    pub(crate) fn start(logs: &Path) -> Result<Self> {
        let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
            .context("PostgreSQL isn't installed; `cargo xtask setup` installs it")?
            .flatten()
            .map(|version| version.path().join("bin"))
            .filter(|programs| programs.join("initdb").exists())
            .collect();
        found.sort();
        let programs = found
            .pop()
            .context("PostgreSQL's server isn't installed; `cargo xtask setup` installs it")?;
        let folder = tempfile::Builder::new().prefix("stabbur-pg-").tempdir()?;
        let user = if is_root()? {
            let owned = Command::new("chown")
                .arg("postgres")
                .arg(folder.path())
                .status()?;
            ensure!(owned.success(), "chown failed");
            "postgres".to_owned()
        } else {
            let name = Command::new("id").arg("-un").output()?.stdout;
            String::from_utf8(name)?.trim().to_owned()
        };
        let mut server = Self {
            folder,
            log: logs.join("postgres.log"),
            programs,
            user,
            process: None,
            hangs: false,
        };
        let made = server
            .command("initdb")?
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--username"])
            .arg(&server.user)
            .arg("--pgdata")
            .arg(server.data())
            .stdout(Stdio::null())
            .status()?;
        ensure!(made.success(), "initdb failed");
        server.run()?;
        Ok(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Result<Command> {
        let program = self.programs.join(program);
        let mut command = if is_root()? {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/");
        Ok(command)
    }

    /// Starts the server in its folder and waits until it takes connections.
    pub(crate) fn run(&mut self) -> Result<()> {
        let mut command = self.command("postgres")?;
        command
            .arg("-D")
            .arg(self.data())
            .args(["-c", "listen_addresses=", "-c", "max_connections=200", "-k"])
            .arg(self.folder.path());
        self.process = Some(Process::start(&mut command, &self.log)?);
        wait_until("PostgreSQL", Duration::from_secs(READY_SECONDS_MAX), || {
            let asked = Command::new(self.programs.join("pg_isready"))
                .args(["-q", "-h"])
                .arg(self.folder.path())
                .status()?;
            Ok(asked.success())
        })?;
        Ok(())
    }

    /// Stops the server without any clean-up: what it hasn't synced is lost.
    pub(crate) fn stop_immediately(&mut self) -> Result<()> {
        let stopped = self
            .command("pg_ctl")?
            .args(["stop", "-m", "immediate", "-D"])
            .arg(self.data())
            .stdout(Stdio::null())
            .status()?;
        ensure!(stopped.success(), "pg_ctl stop failed");
        self.process = None;
        Ok(())
    }

    /// Stops all of the server's processes where they are (SIGSTOP), or lets them go on.
    pub(crate) fn hang(&mut self, hangs: bool) -> Result<()> {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid"))?;
        let parent = file
            .lines()
            .next()
            .context("no process is named")?
            .trim()
            .to_owned();
        let signal = if hangs { "-STOP" } else { "-CONT" };
        let send = |process: &str| Command::new("kill").args([signal, process]).status();
        // The parent first: then there are no new children.
        send(&parent)?;
        for process in std::fs::read_dir("/proc")?.flatten() {
            let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            // Behind the name in brackets: state, parent.
            let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
            if fields.split_whitespace().nth(1) == Some(parent.as_str()) {
                send(&process.file_name().to_string_lossy())?;
            }
        }
        // `runuser` stops with its child, and doesn't go on with it.
        if let Some(process) = self.process.as_ref().filter(|_| !hangs) {
            send(&process.id().to_string())?;
        }
        self.hangs = hangs;
        Ok(())
    }

    /// Makes a database; its connection string.
    pub(crate) fn database(&self, name: &str) -> Result<String> {
        let made = Command::new(self.programs.join("createdb"))
            .arg("-h")
            .arg(self.folder.path())
            .args(["-U", &self.user, name])
            .status()?;
        ensure!(made.success(), "createdb {name} failed");
        Ok(format!(
            "host={} user={} dbname={name}",
            self.folder.path().display(),
            self.user
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.hangs {
            let _ = self.hang(false);
        }
        // Killing the parent alone would leave its children.
        if self.process.is_some() {
            let _ = self.stop_immediately();
        }
    }
}
