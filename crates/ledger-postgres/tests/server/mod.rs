//! A PostgreSQL server of the tests' own: a fresh cluster, a private socket, nothing on the network.
//! It can be stopped hard and started again. PostgreSQL refuses to run as root, so root becomes
//! `postgres`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Server {
    folder: tempfile::TempDir,
    programs: PathBuf,
    user: String,
    child: Option<Child>,
    hangs: bool,
}

fn programs() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| {
            versions
                .flatten()
                .map(|version| version.path().join("bin"))
                .filter(|programs| programs.join("initdb").exists())
                .collect()
        })
        .unwrap_or_default();
    found.sort();
    found
        .pop()
        .expect("PostgreSQL's server isn't installed; `cargo xtask setup` installs it")
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.starts_with(b"0")
}

impl Server {
    pub fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("stabbur-pg-")
            .tempdir_in("/tmp")
            .unwrap();
        let root = is_root();
        let user = if root {
            let owned = Command::new("chown")
                .arg("postgres")
                .arg(folder.path())
                .status()
                .unwrap();
            assert!(owned.success());
            "postgres".to_owned()
        } else {
            String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout)
                .unwrap()
                .trim()
                .to_owned()
        };
        let mut server = Self {
            folder,
            programs: programs(),
            user,
            child: None,
            hangs: false,
        };
        let made = server
            .command("initdb")
            .args([
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
                "--username",
            ])
            .arg(&server.user)
            .arg("--pgdata")
            .arg(server.data())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed");
        server.run();
        server
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = if is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/");
        command
    }

    /// Starts the server in its folder and waits until it answers.
    pub fn run(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .or_else(|_| std::fs::File::create("/dev/null"))
            .unwrap();
        let child = self
            .command("postgres")
            .arg("-D")
            .arg(self.data())
            .args(["-c", "listen_addresses=", "-c", "max_connections=200", "-k"])
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self
            .command("pg_isready")
            .args(["-q", "-h"])
            .arg(self.folder.path())
            .status()
            .unwrap()
            .success()
        {
            assert!(Instant::now() < deadline, "PostgreSQL doesn't get ready");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Stops the server without any clean-up: what it hasn't synced is lost.
    pub fn crash(&mut self) {
        let stopped = self
            .command("pg_ctl")
            .args(["stop", "--mode=immediate", "-D"])
            .arg(self.data())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(stopped.success(), "pg_ctl failed");
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// Stops all of the server's processes where they are (SIGSTOP), or lets them go on: connections
    /// stay, and connecting works, since the kernel does that.
    pub fn hang(&mut self, hangs: bool) {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let parent = file.lines().next().unwrap().trim().to_owned();
        let signal = if hangs { "-STOP" } else { "-CONT" };
        let send = |process: &str| {
            let _ = Command::new("kill").args([signal, process]).status();
        };
        // The parent first: then there are no new children.
        send(&parent);
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let name = process.file_name().into_string().unwrap_or_default();
            let stat = std::fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            // Behind the name in brackets: state, parent.
            let is_child = stat
                .rsplit_once(')')
                .is_some_and(|(_, rest)| rest.split_whitespace().nth(1) == Some(parent.as_str()));
            if is_child {
                send(&name);
            }
        }
        // `runuser` stops with its child, and doesn't go on with it.
        if let Some(child) = self.child.as_ref().filter(|_| !hangs) {
            send(&child.id().to_string());
        }
        self.hangs = hangs;
    }

    pub fn connection(&self) -> String {
        format!(
            "host={} user={} dbname=postgres",
            self.socket().display(),
            self.user
        )
    }

    pub fn socket(&self) -> &Path {
        self.folder.path()
    }

    /// Runs SQL as the superuser.
    pub fn sql(&self, text: &str) -> String {
        let output = self
            .command("psql")
            .args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-h"])
            .arg(self.folder.path())
            .args(["-c", text])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{text}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.hangs {
            self.hang(false);
        }
        if self.child.is_some() {
            self.crash();
        }
    }
}
