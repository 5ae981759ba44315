//! HAProxy with the sample configuration that ships: the very file, with other addresses, ports
//! and paths.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::client::Site;
use crate::estate::{Estate, NODES_MAX, address, free_port};
use crate::process::{Process, tail, wait_until};

const READY_SECONDS_MAX: u64 = 10;

/// A running balancer.
#[derive(Debug)]
pub(crate) struct Balancer {
    _process: Process,
    /// Where clients reach it.
    pub(crate) site: Site,
}

impl Balancer {
    /// Starts it before the estate's nodes and waits until it listens.
    pub(crate) fn start(sample: &Path, estate: &Estate) -> Result<Self> {
        let (blobs, documents, platform) = (free_port()?, free_port()?, free_port()?);
        let text = std::fs::read_to_string(sample).with_context(|| format!("{}", sample.display()))?;
        let text = adapted(&text, estate, [blobs, documents, platform])?;
        let config = estate.folder.join("haproxy.cfg");
        std::fs::write(&config, text)?;
        let checked = haproxy()
            .arg("-c")
            .arg("-f")
            .arg(&config)
            .stdout(Stdio::null())
            .output()
            .context("HAProxy isn't installed; `cargo xtask setup` installs it")?;
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        // A warning in a sample is a fault of the sample.
        ensure!(
            checked.status.success() && !said.contains("[WARNING]"),
            "{}: {said}",
            sample.display()
        );
        let log = estate.folder.join("haproxy.log");
        let mut process = Process::start(haproxy().arg("-db").arg("-f").arg(&config), &log)?;
        let listens = |port: u16| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        wait_until("HAProxy", Duration::from_secs(READY_SECONDS_MAX), || {
            ensure!(!process.has_ended(), "HAProxy ended:\n{}", tail(&log));
            Ok(listens(blobs) && listens(documents) && listens(platform))
        })?;
        Ok(Self {
            _process: process,
            site: Site {
                name: "balancer".to_owned(),
                blobs: format!("https://127.0.0.1:{blobs}"),
                documents: format!("https://127.0.0.1:{documents}"),
                platform: format!("https://127.0.0.1:{platform}"),
            },
        })
    }
}

/// Debian keeps it where only root's `PATH` leads.
fn haproxy() -> Command {
    let packaged = Path::new("/usr/sbin/haproxy");
    Command::new(if packaged.exists() {
        packaged
    } else {
        Path::new("haproxy")
    })
}

/// The sample with the estate's addresses; an error if it lacks what is to be replaced.
fn adapted(sample: &str, estate: &Estate, [blobs, documents, platform]: [u16; 3]) -> Result<String> {
    let (folder, ports) = (estate.folder.display(), estate.ports);
    let mut text = sample.to_owned();
    let mut replace = |from: &str, to: &str| {
        ensure!(text.contains(from), "the sample configuration has no {from:?}");
        text = text.replace(from, to);
        Ok(())
    };
    replace("bind :443", &format!("bind 127.0.0.1:{blobs}"))?;
    replace("bind :8081", &format!("bind 127.0.0.1:{documents}"))?;
    replace("bind :5101", &format!("bind 127.0.0.1:{platform}"))?;
    replace("port 9090", &format!("port {}", ports.admin))?;
    replace("/etc/haproxy/stabbur.pem", &format!("{folder}/balancer.pem"))?;
    replace("/etc/haproxy/nodes-ca.pem", &format!("{folder}/authority.pem"))?;
    for node in 1..=NODES_MAX {
        let (sample, here) = (format!("10.0.0.{}", 10 + node), address(node));
        replace(&format!("{sample}:443"), &format!("{here}:{}", ports.blobs))?;
        replace(&format!("{sample}:8081"), &format!("{here}:{}", ports.documents))?;
        replace(&format!("{sample}:5101"), &format!("{here}:{}", ports.platform))?;
    }
    Ok(text)
}
