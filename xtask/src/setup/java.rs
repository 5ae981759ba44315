//! A JDK, Maven, and the packages of the Java clients' tests in a repository of their own, `.stabbur/maven`.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::run::{quietly, works};
use crate::setup::apt;
use crate::setup::stamp::Stamp;

pub(crate) const FOLDER: &str = "tests/clients/java";
const PROJECT: &str = "tests/clients/java/pom.xml";
/// As in `pom.xml`: Debian 12's.
const RELEASE: &str = "17";

/// Installs what is missing, and builds the tests once: that fetches all that Maven needs.
pub(crate) fn install(context: &Context) -> Result<()> {
    let there = works("mvn", &["--version"]) && works("javac", &["--release", RELEASE, "-version"]);
    apt::install_unless(
        context,
        "Java and Maven",
        there,
        &["default-jdk-headless", "maven"],
    )?;
    let stamp = Stamp::new(context, "java", &[PROJECT])?;
    let repository = context.local().join("maven");
    if stamp.holds() && repository.is_dir() {
        return Ok(());
    }
    context.say(&format!(
        "downloading Java packages of {PROJECT} to .stabbur/maven"
    ));
    std::fs::create_dir_all(&repository).with_context(|| format!("can't create {}", repository.display()))?;
    // A name that no test has: surefire itself is then there, too.
    quietly(maven(context).args(["test", "-Dtest=None", "-Dsurefire.failIfNoSpecifiedTests=false"]))?;
    stamp.leave()
}

/// Maven in the tests' folder, with the repository below `.stabbur/`.
pub(crate) fn maven(context: &Context) -> Command {
    let mut command = Command::new("mvn");
    command
        .current_dir(context.root.join(FOLDER))
        .args(["--batch-mode", "--no-transfer-progress"])
        .arg(format!(
            "-Dmaven.repo.local={}",
            context.local().join("maven").display()
        ));
    command
}
