//! The tour: an empty folder, one process, the life of an Altinn instance in 17 steps, and the same
//! instance read as documents and as blobs (tests/clients/python/life_of_an_instance.py).

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::output::mebibytes;
use crate::server::{Server, build, resident_bytes};
use crate::{run, setup};

/// Time for the process to settle before its idle memory is read.
const IDLE_SECONDS: u64 = 2;

/// Runs it; whether all steps went as they should.
pub(crate) fn run(context: &Context, break_step: Option<u8>) -> Result<bool> {
    setup::python(context)?;
    build(context)?;
    let mut server = Server::start(context, "tour")?;
    std::thread::sleep(std::time::Duration::from_secs(IDLE_SECONDS));
    let resident = resident_bytes(server.pid())?;
    let size = std::fs::metadata(context.binary())
        .context("the binary is gone")?
        .len();
    println!(
        "ready on an empty folder after {} ms",
        server.ready_after.as_millis()
    );
    println!("idle memory (resident) {}", mebibytes(resident));
    println!("size of the stripped binary {}", mebibytes(size));
    let mut tour = Command::new(context.venv("python"));
    tour.arg(context.root.join("tests/clients/python/life_of_an_instance.py"))
        .arg("--ready-file")
        .arg(server.folder().join("ready.json"));
    if let Some(step) = break_step {
        tour.args(["--break", &step.to_string()]);
    }
    let finished = run::aloud(&mut tour)?;
    if finished.success {
        server.stop()?;
        println!("the change log of the ledger (stabbur ledger log):");
        let log = run::quietly(
            Command::new(context.binary())
                .args(["ledger", "log", "--data"])
                .arg(server.folder().join("data")),
        )?;
        for line in log {
            println!("    {line}");
        }
    }
    Ok(finished.success)
}
