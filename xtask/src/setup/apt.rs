//! Debian packages, as root or through sudo.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::context::Context;
use crate::run::{quietly, works};

/// Installs `packages` unless what they bring is `there` already.
pub(crate) fn install_unless(context: &Context, what: &str, there: bool, packages: &[&str]) -> Result<()> {
    if there {
        return Ok(());
    }
    if !works("apt-get", &["--version"]) {
        bail!(
            "{what} is missing and this isn't a Debian system: install it ({})",
            packages.join(", ")
        );
    }
    context.say(&format!(
        "installing Debian packages for {what}: {}",
        packages.join(" ")
    ));
    quietly(as_root("apt-get")?.args(["update", "-qq"]))?;
    quietly(
        as_root("apt-get")?
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    Ok(())
}

/// Whether this process is root.
pub(crate) fn is_root() -> Result<bool> {
    let id = quietly(Command::new("id").arg("-u")).context("who am I?")?;
    Ok(id.first().is_some_and(|line| line.trim() == "0"))
}

fn as_root(program: &str) -> Result<Command> {
    if is_root()? {
        return Ok(Command::new(program));
    }
    if !works("sudo", &["-n", "true"]) {
        bail!("installing Debian packages needs root, or sudo without a password");
    }
    let mut command = Command::new("sudo");
    command.args(["-n", "DEBIAN_FRONTEND=noninteractive", program]);
    Ok(command)
}
