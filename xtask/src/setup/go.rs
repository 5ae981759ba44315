//! Go and the modules of the Go clients' tests, below `.stabbur/`.
//!
//! The machine's Go is taken if it is as new as `go.mod` asks. Debian 12's (1.19) isn't and knows nothing of
//! toolchains, but Go's releases are modules, too: any Go fetches one through the module proxy, checked
//! against Go's checksum database as every module is. Done by hand here, since Go does it by itself only
//! from 1.21 on.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::context::Context;
use crate::run::{quietly, works};
use crate::setup::apt;
use crate::setup::stamp::Stamp;

pub(crate) const FOLDER: &str = "tests/clients/go";
const MODULES: &str = "tests/clients/go/go.mod";
const SUMS: &str = "tests/clients/go/go.sum";

/// Fetched if the machine's Go is too old.
const RELEASE: &str = "go1.27.3";

/// Installs Go if need be, and the modules.
pub(crate) fn install(context: &Context) -> Result<()> {
    if !new_enough(context, &program(context))? {
        apt::install_unless(context, "Go", works("go", &["version"]), &["golang-go"])?;
        if !new_enough(context, Path::new("go"))? {
            fetch_release(context)?;
        }
    }
    let stamp = Stamp::new(context, "go", &[MODULES, SUMS])?;
    if stamp.holds() && context.local().join("go-modules").is_dir() {
        return Ok(());
    }
    context.say(&format!(
        "downloading Go modules from {SUMS} to .stabbur/go-modules"
    ));
    quietly(go(context).args(["mod", "download"]))?;
    stamp.leave()
}

/// Go in the tests' folder, with its caches below `.stabbur/`.
pub(crate) fn go(context: &Context) -> Command {
    go_at(context, &program(context))
}

fn go_at(context: &Context, program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(context.root.join(FOLDER))
        .env("GOMODCACHE", context.local().join("go-modules"))
        .env("GOCACHE", context.local().join("go-build"))
        // Writable, so that `.stabbur/` can be removed as any folder.
        .env("GOFLAGS", "-modcacherw")
        .env("GOTOOLCHAIN", "local")
        .env("GO111MODULE", "on");
    command
}

/// The one that was fetched, or the machine's.
fn program(context: &Context) -> PathBuf {
    let fetched = context.local().join("go/bin/go");
    if fetched.exists() { fetched } else { "go".into() }
}

/// Whether this Go is there and as new as `go.mod` asks.
fn new_enough(context: &Context, program: &Path) -> Result<bool> {
    let text = std::fs::read_to_string(context.root.join(MODULES)).context(MODULES)?;
    let asked = text.lines().find_map(|line| line.strip_prefix("go "));
    let asked = version(asked.context("go.mod names no version of Go")?);
    let there = Command::new(program)
        .args(["env", "GOVERSION"])
        .env("GOTOOLCHAIN", "local")
        .output();
    let Ok(there) = there else { return Ok(false) };
    let there = String::from_utf8_lossy(&there.stdout).into_owned();
    Ok(there
        .trim()
        .strip_prefix("go")
        .is_some_and(|there| version(there) >= asked))
}

/// `1.25.0` as numbers.
fn version(text: &str) -> Vec<u32> {
    text.split(['.', '-', ' '])
        .map_while(|part| part.parse().ok())
        .collect()
}

fn fetch_release(context: &Context) -> Result<()> {
    let machine = quietly(Command::new("go").args(["env", "GOOS", "GOARCH"]))?;
    let [system, processor] = machine.as_slice() else {
        bail!("go env GOOS GOARCH gave {machine:?}");
    };
    context.say(&format!("downloading {RELEASE} as a Go module to .stabbur/go"));
    let module = format!("golang.org/toolchain@v0.0.1-{RELEASE}.{system}-{processor}");
    let mut download = go_at(context, Path::new("go"));
    let told = quietly(
        download
            .current_dir(context.local())
            .args(["mod", "download", "-json", &module]),
    )?;
    let told: Value = serde_json::from_str(&told.join("\n")).context("go mod download -json")?;
    let unpacked = told
        .get("Dir")
        .and_then(Value::as_str)
        .context("no folder of the toolchain")?;
    let place = context.local().join("go");
    if place.exists() {
        std::fs::remove_dir_all(&place).with_context(|| format!("can't remove {}", place.display()))?;
    }
    quietly(Command::new("cp").arg("-r").args([Path::new(unpacked), &place]))?;
    // A module's files come without the right to be run.
    quietly(Command::new("chmod").args(["-R", "u+rwx"]).arg(&place))?;
    if !new_enough(context, &program(context))? {
        bail!("{RELEASE} was downloaded but is older than {MODULES} asks, or doesn't run");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("1.25.0"), [1, 25, 0]);
        assert!(version("1.26.8") >= version("1.25.0"));
        assert!(version("1.9") < version("1.25.0"));
        assert!(version("1.19.8") < version("1.25.0"));
        assert!(version("") < version("1.25.0"));
    }
}
