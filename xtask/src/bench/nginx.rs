//! nginx that serves files from the page cache: the ceiling for reads by HTTP.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::bench::peers::{self, Peer};
use crate::context::Context;
use crate::run::{quietly, works};
use crate::setup::apt;

/// nginx on loopback, with files in a folder of its own.
#[derive(Debug)]
pub(crate) struct Nginx {
    peer: Peer,
    port: u16,
}

impl Nginx {
    /// Installs it if it isn't there.
    pub(crate) fn install(context: &Context) -> Result<()> {
        let there = works("nginx", &["-v"]) || Path::new("/usr/sbin/nginx").exists();
        apt::install_unless(context, "nginx", there, &["nginx-light"])
    }

    /// Starts it on a free port, with an empty folder of files.
    pub(crate) fn start(context: &Context) -> Result<Self> {
        let folder = peers::fresh_folder(context, "nginx")?;
        let port = peers::free_port()?;
        let files = folder.join("files");
        std::fs::create_dir_all(&files).with_context(|| format!("can't create {}", files.display()))?;
        let configuration = folder.join("nginx.conf");
        std::fs::write(&configuration, configured(&folder, port))
            .with_context(|| format!("can't write {}", configuration.display()))?;
        let child = Command::new(program())
            .arg("-p")
            .arg(&folder)
            .arg("-c")
            .arg(&configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("can't start nginx")?;
        let nginx = Self {
            peer: Peer {
                child,
                folder,
                signal: "-TERM",
            },
            port,
        };
        peers::wait_until("nginx", || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(nginx)
    }

    /// The folder that it serves.
    pub(crate) fn files(&self) -> PathBuf {
        self.peer.folder.join("files")
    }

    /// Its base.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its process, which the others are children of.
    pub(crate) fn pid(&self) -> u32 {
        self.peer.child.id()
    }

    /// As it says itself.
    pub(crate) fn version() -> Result<String> {
        let lines = quietly(Command::new(program()).arg("-v"))?;
        let line = lines.iter().find_map(|line| line.split_once("version: "));
        line.map(|(_, version)| version.trim().to_owned())
            .context("nginx says no version")
    }
}

fn program() -> &'static str {
    if works("nginx", &["-v"]) {
        "nginx"
    } else {
        "/usr/sbin/nginx"
    }
}

/// Files only, as many processes as processors, nothing written beside.
fn configured(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "daemon off;\nuser root;\nworker_processes auto;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n  sendfile on;\n  tcp_nopush on;\n  keepalive_requests 1000000000;\n  \
         client_body_temp_path {folder}/body;\n  proxy_temp_path {folder}/proxy;\n  \
         fastcgi_temp_path {folder}/fastcgi;\n  uwsgi_temp_path {folder}/uwsgi;\n  \
         scgi_temp_path {folder}/scgi;\n  server {{ listen 127.0.0.1:{port}; root {folder}/files; }}\n}}\n"
    )
}
