//! Set-up: installs what tests and tour need and the machine lacks, says what it installs, and
//! does nothing the second time. Everything but Debian packages goes into `.stabbur/` or a
//! `node_modules` folder, both ignored by git.
//!
//! Node comes from a pinned wheel inside the Python environment rather than from the machine: the
//! clients and the peer need a newer one than most systems have, and all runs then have the same.

pub(crate) mod apt;
pub(crate) mod go;
pub(crate) mod java;
mod stamp;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::bench::peers;
use crate::context::Context;
use crate::run::{quietly, works};
use crate::setup::stamp::Stamp;

const REQUIREMENTS: &str = "tests/clients/python/requirements.txt";

/// Installs everything that `test` and `tour` need.
pub(crate) fn run(context: &Context) -> Result<()> {
    python(context)?;
    peers::install_postgres(context)?;
    let haproxy = Path::new("/usr/sbin/haproxy").exists() || works("haproxy", &["-v"]);
    apt::install_unless(context, "HAProxy", haproxy, &["haproxy"])?;
    let images = works("skopeo", &["--version"]) && works("buildah", &["--version"]);
    apt::install_unless(
        context,
        "clients of registries",
        images,
        &["skopeo", "buildah", "podman"],
    )?;
    node_packages(context, "tests/clients/js")?;
    go::install(context)?;
    java::install(context)
}

/// The Python environment, with the client SDKs, pytest and node.
pub(crate) fn python(context: &Context) -> Result<()> {
    apt::install_unless(
        context,
        "a C compiler",
        works("cc", &["--version"]),
        &["gcc", "libc6-dev"],
    )?;
    apt::install_unless(
        context,
        "Python with venv",
        works("python3", &["-c", "import venv, ensurepip"]),
        &["python3", "python3-venv"],
    )?;
    let environment = context.local().join("python");
    let stamp = Stamp::new(context, "python", &[REQUIREMENTS])?;
    if stamp.holds()
        && works(
            &context.venv("python").to_string_lossy(),
            &["-c", "import pytest"],
        )
    {
        return Ok(());
    }
    context.say(&format!(
        "installing a Python environment in .stabbur/python from {REQUIREMENTS}"
    ));
    if environment.exists() {
        std::fs::remove_dir_all(&environment)
            .with_context(|| format!("can't remove {}", environment.display()))?;
    }
    quietly(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    quietly(
        Command::new(context.venv("python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--requirement",
            ])
            .arg(context.root.join(REQUIREMENTS)),
    )?;
    stamp.leave()
}

/// The npm packages of a folder with a lock file, by `npm ci`.
pub(crate) fn node_packages(context: &Context, folder: &str) -> Result<()> {
    let lock = format!("{folder}/package-lock.json");
    let name = folder.replace('/', "-");
    let stamp = Stamp::new(context, &name, &[&lock, REQUIREMENTS])?;
    let place = context.root.join(folder);
    if stamp.holds() && place.join("node_modules").is_dir() {
        return Ok(());
    }
    context.say(&format!("installing npm packages from {lock}"));
    quietly(with_node(context, context.venv("npm")).current_dir(&place).args([
        "ci",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--loglevel=error",
    ]))?;
    stamp.leave()
}

/// A program that finds the environment's node first.
pub(crate) fn with_node(context: &Context, program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    let mut paths = vec![context.local().join("python/bin")];
    paths.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    if let Ok(joined) = std::env::join_paths(paths) {
        command.env("PATH", joined);
    }
    command
}
