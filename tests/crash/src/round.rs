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
use crate::reindexed::{BATCH, Batches, REBUILD, Switcher};
use crate::report::{Findings, Report};
use crate::server::{Endpoints, Server};

/// Longest wait for an answer.
const ANSWER_SECONDS_MAX: u64 = 20;

const LOAD_MILLISECONDS_MIN: usize = 150;

/// The server's background work begins so long after its start, and again each time.
const SWEEP_SECONDS: u64 = 5;

/// Of so many kills, one falls into the background work.
const SWEEP_EVERY: u64 = 12;
const SWEEP_AT: u64 = 7;

/// How long after its begin.
const SWEEP_MILLISECONDS_MAX: usize = 1_200;

/// The ledger is verified behind each kill, for as long as that takes less than one part in so many of
/// the time: a build without optimisation takes longer.
const VERIFY_SHARE: u32 = 10;

/// Lines of a damaged ledger's faults that are printed.
const FAULTS_SHOWN_MAX: usize = 10;

/// What time is spent on.
const VERIFY: &str = "ledger verify";

/// What a kill falls into.
const SWEEP: &str = "a sweep in the background";

/// Writes to one service and remembers what it was promised.
pub(crate) trait Writer: Send {
    /// Makes what the writes need; repeatable.
    fn prepare(&mut self, client: &Client) -> Result<()>;
    /// One write, chosen by chance.
    fn write(&mut self, client: &Client, random: &SeededRandom, report: &mut Report) -> Result<()>;
    /// Compares what is there with what was promised: of what was touched since, or of all.
    fn check(&mut self, client: &Client, all: bool) -> Result<Findings>;
    /// What the kill before the last check fell into.
    fn take_hits(&mut self) -> Vec<&'static str> {
        Vec::new()
    }
}

/// `number` writers of each kind.
pub(crate) fn writers(number: u64) -> Vec<Box<dyn Writer>> {
    let mut writers: Vec<Box<dyn Writer>> = Vec::new();
    for n in 0..number {
        writers.push(Box::new(Documents::new(n)));
        writers.push(Box::new(Blobs::new(n)));
        writers.push(Box::new(Platform::new(n)));
        writers.push(Box::new(Batches::new(n)));
    }
    // One: its container has one policy.
    writers.push(Box::new(Switcher::new(number)));
    writers
}

/// A server that keeps versions of blobs.
fn start(arguments: &Arguments, folder: &Path) -> Result<Server> {
    let mut options = arguments.places();
    options.push("--blob-versioning".into());
    Server::start(&arguments.binary, folder, &options)
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
    let server = report.timed("restarts", |_| start(arguments, folder))?;
    report.restarted(&server);
    each(writers, &server, |writer, client| writer.prepare(client))?;
    let longest = usize::try_from(arguments.load_seconds * 1_000).unwrap_or(usize::MAX);
    let wait = LOAD_MILLISECONDS_MIN + below(&random, longest.saturating_sub(LOAD_MILLISECONDS_MIN));
    let mut wait = Duration::from_millis(wait.try_into()?);
    if report.kills % SWEEP_EVERY == SWEEP_AT {
        let into = Duration::from_millis(below(&random, SWEEP_MILLISECONDS_MAX).try_into()?);
        wait = wait.max((Duration::from_secs(SWEEP_SECONDS) + into).saturating_sub(server.age()));
    }
    report.timed("load", |report| load(writers, server, &random, wait, report))?;
    report.kills += 1;
    let server = report.timed("restarts", |_| start(arguments, folder))?;
    report.restarted(&server);
    each(writers, &server, |writer, client| writer.prepare(client))?;
    let findings = report.timed("looking", |_| {
        each(writers, &server, |writer, client| writer.check(client, false))
    })?;
    report.fell_into(writers.iter_mut().flat_map(|writer| writer.take_hits()));
    // Every other round goes on from a second kill, the rest from an orderly stop.
    if seed.is_multiple_of(2) {
        server.kill()?;
    } else {
        server.stop()?;
    }
    let mut findings: Findings = findings.into_iter().flatten().collect();
    if report.spent(VERIFY) * VERIFY_SHARE <= report.spent_in_all() {
        findings.extend(verify_findings(arguments, folder, report)?);
    }
    Ok(findings)
}

/// Checks everything there ever was, then the store itself.
pub(crate) fn last_look(
    arguments: &Arguments,
    folder: &Path,
    writers: &mut [Box<dyn Writer>],
    report: &mut Report,
) -> Result<Findings> {
    let server = start(arguments, folder)?;
    each(writers, &server, |writer, client| writer.prepare(client))?;
    let findings = each(writers, &server, |writer, client| writer.check(client, true))?;
    server.stop()?;
    let mut findings: Findings = findings.into_iter().flatten().collect();
    findings.extend(verify_findings(arguments, folder, report)?);
    Ok(findings)
}

/// What so many kills must have fallen into by chance, and didn't.
pub(crate) fn missed(report: &Report) -> Findings {
    let wanted = [REBUILD, BATCH];
    let missed = wanted.iter().filter(|hit| report.kills_in(hit) == 0);
    missed
        .map(|hit| (format!("no kill fell into {hit}"), Fault::Missed))
        .collect()
}

fn verify_findings(arguments: &Arguments, folder: &Path, report: &mut Report) -> Result<Findings> {
    let sound = report.timed(VERIFY, |_| verify(&arguments.binary, folder, &arguments.places()))?;
    report.verified();
    let fault = (!sound).then(|| ("stabbur ledger verify found faults".to_owned(), Fault::Torn));
    Ok(fault.into_iter().collect())
}

/// Whether `stabbur ledger verify` finds nothing wrong; prints what it says, of a sound ledger the
/// last line.
pub(crate) fn verify(binary: &Path, folder: &Path, places: &[OsString]) -> Result<bool> {
    let verify = Command::new(binary)
        .args(["ledger", "verify", "--data"])
        .arg(folder.join("data"))
        .args(places)
        .output()
        .context("stabbur ledger verify")?;
    let said =
        String::from_utf8_lossy(&verify.stdout).into_owned() + &String::from_utf8_lossy(&verify.stderr);
    let sound = verify.status.success();
    println!("stabbur ledger verify:");
    let lines: Vec<&str> = said.lines().collect();
    let first = if sound { 0 } else { FAULTS_SHOWN_MAX };
    let last = lines.len().saturating_sub(if sound { 1 } else { 2 });
    for (at, line) in lines.iter().enumerate() {
        if at < first || at >= last {
            println!("    {line}");
        }
    }
    Ok(sound)
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
        let begun = server.age() >= Duration::from_secs(SWEEP_SECONDS);
        if begun && client(server.endpoints.clone())?.background_rounds()? == 0 {
            report.fell_into([SWEEP]);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_whose_kills_missed_what_they_are_for_is_told() {
        let mut report = Report::default();
        report.fell_into([BATCH, BATCH, SWEEP]);
        let told: Vec<String> = missed(&report).into_iter().map(|(place, _)| place).collect();
        assert_eq!(told, [format!("no kill fell into {REBUILD}")]);
        report.fell_into([REBUILD]);
        assert!(missed(&report).is_empty());
        assert_eq!(report.kills_in(BATCH), 1, "one kill, of two batches");
        report.close_round("kills", vec![("no kill".to_owned(), Fault::Missed)]);
        report.acknowledge("something");
        assert!(!report.good());
    }
}
