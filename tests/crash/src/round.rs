//! One round: start, write from many threads, kill at a moment chosen by the seed, start again,
//! check what was touched.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use ledger::random::{Random as _, SeededRandom};

use crate::Arguments;
use crate::blobs::Blobs;
use crate::book::{Fault, below};
use crate::client::Client;
use crate::documents::Documents;
use crate::platform::Platform;
use crate::report::{Findings, Report};
use crate::server::{Endpoints, Server};

/// Longest wait for an answer.
const ANSWER_SECONDS_MAX: u64 = 20;

const LOAD_MILLISECONDS_MIN: usize = 150;

/// Writes to one service and remembers what it was promised.
pub(crate) trait Writer: Send {
    /// Makes what the writes need; repeatable.
    fn prepare(&mut self, client: &Client) -> Result<()>;
    /// One write, chosen by chance.
    fn write(&mut self, client: &Client, random: &SeededRandom, report: &mut Report) -> Result<()>;
    /// Compares what is there with what was promised: of what was touched since, or of all.
    fn check(&mut self, client: &Client, all: bool) -> Result<Findings>;
}

/// `number` writers of each kind.
pub(crate) fn writers(number: u64) -> Vec<Box<dyn Writer>> {
    let mut writers: Vec<Box<dyn Writer>> = Vec::new();
    for n in 0..number {
        writers.push(Box::new(Documents::new(n)));
        writers.push(Box::new(Blobs::new(n)));
        writers.push(Box::new(Platform::new(n)));
    }
    writers
}

/// Load, kill, restart, check.
pub(crate) fn kill_in_load(
    arguments: &Arguments,
    folder: &Path,
    seed: u64,
    writers: &mut [Box<dyn Writer>],
    report: &mut Report,
) -> Result<Findings> {
    let random = SeededRandom::new(seed);
    let server = Server::start(&arguments.binary, folder, &arguments.places())?;
    report.restarted(&server);
    each(writers, &server, |writer, client| writer.prepare(client))?;
    let longest = usize::try_from(arguments.load_seconds * 1_000).unwrap_or(usize::MAX);
    let wait = LOAD_MILLISECONDS_MIN + below(&random, longest.saturating_sub(LOAD_MILLISECONDS_MIN));
    load(
        writers,
        server,
        &random,
        Duration::from_millis(wait.try_into()?),
        report,
    )?;
    report.kills += 1;
    let server = Server::start(&arguments.binary, folder, &arguments.places())?;
    report.restarted(&server);
    each(writers, &server, |writer, client| writer.prepare(client))?;
    let findings = each(writers, &server, |writer, client| writer.check(client, false))?;
    // Every other round goes on from a second kill, the rest from an orderly stop.
    if seed.is_multiple_of(2) {
        server.kill()?;
    } else {
        server.stop()?;
    }
    Ok(findings.into_iter().flatten().collect())
}

/// Checks everything there ever was, then the store itself.
pub(crate) fn last_look(
    arguments: &Arguments,
    folder: &Path,
    writers: &mut [Box<dyn Writer>],
) -> Result<Findings> {
    let server = Server::start(&arguments.binary, folder, &arguments.places())?;
    each(writers, &server, |writer, client| writer.prepare(client))?;
    let findings = each(writers, &server, |writer, client| writer.check(client, true))?;
    server.stop()?;
    let mut findings: Findings = findings.into_iter().flatten().collect();
    if !verify(&arguments.binary, folder, &arguments.places())? {
        findings.push(("stabbur ledger verify found faults".to_owned(), Fault::Torn));
    }
    Ok(findings)
}

/// Whether `stabbur ledger verify` finds nothing wrong; prints what it says.
pub(crate) fn verify(binary: &Path, folder: &Path, places: &[OsString]) -> Result<bool> {
    let verify = Command::new(binary)
        .args(["ledger", "verify", "--data"])
        .arg(folder.join("data"))
        .args(places)
        .output()
        .context("stabbur ledger verify")?;
    let said =
        String::from_utf8_lossy(&verify.stdout).into_owned() + &String::from_utf8_lossy(&verify.stderr);
    println!("stabbur ledger verify:");
    for line in said.lines() {
        println!("    {line}");
    }
    Ok(verify.status.success())
}

fn client(endpoints: Endpoints) -> Result<Client> {
    Client::new(endpoints, Duration::from_secs(ANSWER_SECONDS_MAX))
}

/// Calls `what` for each writer, in parallel.
fn each<T: Send>(
    writers: &mut [Box<dyn Writer>],
    server: &Server,
    what: impl Fn(&mut dyn Writer, &Client) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = writers
            .iter_mut()
            .map(|writer| {
                let (endpoints, what) = (server.endpoints.clone(), &what);
                scope.spawn(move || what(writer.as_mut(), &client(endpoints)?))
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| bail!("a writer panicked")))
            .collect()
    })
}

/// Writes with all writers until the server is killed after `wait`.
fn load(
    writers: &mut [Box<dyn Writer>],
    server: Server,
    random: &SeededRandom,
    wait: Duration,
    report: &mut Report,
) -> Result<()> {
    let killed = AtomicBool::new(false);
    let endpoints = server.endpoints.clone();
    std::thread::scope(|scope| {
        let threads: Vec<_> = writers
            .iter_mut()
            .map(|writer| {
                let (endpoints, killed, seed) = (endpoints.clone(), &killed, random.u64());
                scope.spawn(move || -> Result<Report> {
                    let (client, random) = (client(endpoints)?, SeededRandom::new(seed));
                    let mut own = Report::default();
                    while !killed.load(Ordering::SeqCst) {
                        if let Err(error) = writer.write(&client, &random, &mut own) {
                            // A connection that broke because of the kill is what we are after.
                            if killed.load(Ordering::SeqCst) {
                                own.unanswered += 1;
                                break;
                            }
                            return Err(error.context("a write failed although the server was alive"));
                        }
                    }
                    Ok(own)
                })
            })
            .collect();
        std::thread::sleep(wait);
        killed.store(true, Ordering::SeqCst);
        server.kill()?;
        for thread in threads {
            match thread.join() {
                Ok(own) => report.take_over(&own?),
                Err(_) => bail!("a writer panicked"),
            }
        }
        Ok(())
    })
}
