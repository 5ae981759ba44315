//! What Platform Storage promises, held against kills. Writers with instances of their own do everything that may be done
//! to one; others work on one instance all at once; messages go to receivers of the test's own. Behind each kill the server
//! is started again and each instance must be as it was before the operation that was under way, or as behind it, in all
//! that is seen of it: document, versions, elements, contents, events, blobs, lock.
//!
//! The report has a line for each promise: kills while it was being tried, and how often it was looked at.

mod caches;
mod look;
mod operation;
mod outboxes;
mod place;
mod promise;
mod receiver;
mod shared;
mod state;
mod writer;

use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use ledger::random::{Random as _, SeededRandom};

use crate::Arguments;
use crate::KILLS_FULL;
use crate::book::{Fault, below};
use crate::client::Client;
use crate::report::Report;
use crate::round::verify;
use crate::server::{Endpoints, Server};

use caches::Publisher;
use place::Callers;
use promise::{Guarantee, Promises};
use receiver::Receiver;
use shared::Shared;
use writer::{Told, Writer};

const ANSWER_SECONDS_MAX: u64 = 20;
const LOAD_MILLISECONDS_MIN: usize = 200;

/// Writers on the shared instance.
const SHARERS: u64 = 3;

/// Everybody who writes.
struct Cast {
    writers: Vec<Writer>,
    publisher: Publisher,
    promises: Promises,
}

/// Runs it; whether the server kept its word.
pub(crate) fn run(arguments: &Arguments, folder: &Path) -> Result<bool> {
    let (scanner, portal) = (Receiver::start()?, Receiver::start()?);
    let mut options = arguments.places();
    for (option, receiver) in [
        ("--platform-scan-url", &scanner),
        ("--platform-portal-url", &portal),
    ] {
        options.extend([OsString::from(option), OsString::from(&receiver.url)]);
    }
    let start = || Server::start(&arguments.binary, folder, &options);
    let mut report = Report::default();
    let mut cast = Cast {
        writers: (0..arguments.writers).map(Writer::new).collect(),
        publisher: Publisher::default(),
        promises: Promises::default(),
    };
    let mut server = start()?;
    let callers = begin(&server)?;
    for number in 0..arguments.kills {
        let seed = arguments.seed.wrapping_add(u64::from(number));
        let random = SeededRandom::new(seed);
        let first = client(&server.endpoints)?;
        let shared = Shared::begin(&first, &callers, &format!("shared {number}"))?;
        let longest = usize::try_from(arguments.load_seconds * 1_000).unwrap_or(usize::MAX);
        let wait = LOAD_MILLISECONDS_MIN + below(&random, longest.saturating_sub(LOAD_MILLISECONDS_MIN));
        let wait = Duration::from_millis(wait.try_into()?);
        load(&mut cast, &shared, server, &callers, &random, wait, &mut report)?;
        report.kills += 1;
        server = start()?;
        report.restarted(&server);
        let second = client(&server.endpoints)?;
        settle(&mut cast, &second, &callers, false)?;
        cast.promises.take_over(shared.settle(&second, &callers)?);
        println!("kill {} (seed {seed})", number + 1);
    }
    let last = client(&server.endpoints)?;
    outboxes::drain(&last, [&scanner, &portal])?;
    settle(&mut cast, &last, &callers, true)?;
    let told: Vec<Told> = cast.writers.iter().flat_map(Writer::told).collect();
    outboxes::check_scans(told.iter(), &scanner.taken(), &mut cast.promises);
    outboxes::check_portal(told.iter(), &portal.taken(), &mut cast.promises);
    server.stop()?;
    let is_sound = verify(&arguments.binary, folder, &arguments.places())?;
    conclude(arguments, cast, is_sound, &mut report)
}

/// The callers, for whom the app is published.
fn begin(server: &Server) -> Result<Callers> {
    let first = client(&server.endpoints)?;
    let callers = Callers::of(&first)?;
    place::publish(&first, &callers, "0")?;
    Ok(callers)
}

fn client(endpoints: &Endpoints) -> Result<Client> {
    Client::new(endpoints.clone(), Duration::from_secs(ANSWER_SECONDS_MAX))
}

/// Looks at what was touched, or at all.
fn settle(cast: &mut Cast, client: &Client, callers: &Callers, all: bool) -> Result<()> {
    let marks = look::marks(client, callers)?;
    for writer in &mut cast.writers {
        writer.settle(client, callers, &marks, all)?;
    }
    cast.publisher.settle(client, callers)
}

/// Writes with everybody for a while, then kills the server.
fn load(
    cast: &mut Cast,
    shared: &Shared,
    server: Server,
    callers: &Callers,
    random: &SeededRandom,
    wait: Duration,
    report: &mut Report,
) -> Result<()> {
    let over = AtomicBool::new(false);
    let endpoints = &server.endpoints.clone();
    std::thread::scope(|scope| {
        let over = &over;
        let mut threads = Vec::new();
        for writer in &mut cast.writers {
            let seed = random.u64();
            threads.push(scope.spawn(move || {
                let random = SeededRandom::new(seed);
                until(over, endpoints, |client, own| {
                    writer.step(client, callers, &random, own)
                })
            }));
        }
        for number in 1..=SHARERS {
            let seed = random.u64();
            threads.push(scope.spawn(move || {
                let random = SeededRandom::new(seed);
                let mut count = 0;
                until(over, endpoints, |client, own| {
                    count += 1;
                    shared.step(client, callers, &random, (number, count), own)
                })
            }));
        }
        let publisher = &mut cast.publisher;
        threads.push(scope.spawn(move || {
            until(over, endpoints, |client, own| {
                publisher.step(client, callers, own)
            })
        }));
        std::thread::sleep(wait);
        over.store(true, Ordering::SeqCst);
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

/// Goes on until it is over. What fails then failed because of the kill.
fn until(
    over: &AtomicBool,
    endpoints: &Endpoints,
    mut step: impl FnMut(&Client, &mut Report) -> Result<()>,
) -> Result<Report> {
    let (client, mut own) = (client(endpoints)?, Report::default());
    while !over.load(Ordering::SeqCst) {
        if let Err(error) = step(&client, &mut own) {
            if !over.load(Ordering::SeqCst) {
                return Err(error.context("a request failed although the server was alive"));
            }
            own.unanswered += 1;
        }
    }
    Ok(own)
}

/// One round of the report for each promise, and the table.
fn conclude(arguments: &Arguments, cast: Cast, is_sound: bool, report: &mut Report) -> Result<bool> {
    let mut promises = cast.promises;
    promises.take_over(cast.publisher.promises);
    for writer in cast.writers {
        promises.take_over(writer.promises);
    }
    let is_long = report.kills >= KILLS_FULL;
    for guarantee in Guarantee::ALL {
        let faults = promises.faults(guarantee, is_long).into_iter();
        let findings = faults.map(|fault| (fault, Fault::Torn)).collect();
        report.close_round(guarantee.name(), findings);
    }
    let findings = (!is_sound).then(|| ("stabbur ledger verify found faults".to_owned(), Fault::Torn));
    report.close_round("ledger verify", findings.into_iter().collect());
    println!("{}", report.text());
    println!();
    println!("{}", promises.text());
    if let Some(path) = &arguments.report {
        let mut json = report.json();
        let all = json.as_object_mut().context("the report is no object")?;
        all.insert("guarantees".to_owned(), promises.json());
        std::fs::write(path, json.to_string())?;
    }
    Ok(report.good())
}
