//! The change feed while writers write and the server is killed twice. Three processors read it, each
//! with leases that share the container's ring: two read all versions and deletes, one the latest
//! versions. A lease's reader handles a page and then keeps in a lease document how far it is; it dies
//! with the server, and now and then by itself, with a page half handled. Every acknowledged change
//! must reach each processor's lease at least once, nothing may reach it that nobody wrote, and what
//! the changes add up to must be what is there.

mod lease;
mod processor;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use ledger::random::{Random as _, SeededRandom};
use serde_json::{Value, json};

use crate::Arguments;
use crate::book::Fault;
use crate::client::Client;
use crate::report::Report;
use crate::round::verify;
use crate::server::{Endpoints, Server};

use processor::Processor;
use writer::Writer;

/// Where the writers write.
const COLLECTION: &str = "dbs/feed/colls/items";
/// Where leases are kept.
const LEASES: &str = "dbs/feed/colls/leases";

const WRITERS: u64 = 32;
const KILLS: u32 = 2;
const ANSWER_SECONDS_MAX: u64 = 20;

/// An item's partition and id.
type Key = (String, String);

/// Items, each with the stamp of its last write.
type State = BTreeMap<Key, u64>;

/// What was done to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    Create,
    Replace,
    Delete,
    /// One of the first two: latest versions don't tell.
    Write,
}

/// A change as both sides write it down. A deletion has the stamp of what was deleted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    operation: Operation,
    key: Key,
    stamp: u64,
}

/// Runs it; whether the server kept its word.
pub(crate) fn run(arguments: &Arguments, folder: &Path, seconds: u64) -> Result<bool> {
    let random = SeededRandom::new(arguments.seed);
    let mut report = Report::default();
    let mut writers: Vec<Writer> = (0..WRITERS).map(Writer::new).collect();
    let mut processors = Processor::all();
    let part = Duration::from_secs(seconds) / (KILLS + 1);
    for round in 0..=KILLS {
        let server = Server::start(&arguments.binary, folder, &arguments.places())?;
        let first = client(&server.endpoints)?;
        if round == 0 {
            prepare(&first)?;
        } else {
            report.restarted(&server);
            report.unanswered += writers.iter().filter(|writer| writer.is_waiting()).count() as u64;
        }
        for writer in &mut writers {
            writer.settle(&first)?;
        }
        for lease in processors.iter_mut().flat_map(Processor::leases_mut) {
            lease.take_up(&first)?;
        }
        let last = round == KILLS;
        let survivor = load(
            &mut writers,
            &mut processors,
            server,
            &random,
            part,
            last,
            &mut report,
        )?;
        if let Some(server) = survivor {
            let client = client(&server.endpoints)?;
            for lease in processors.iter_mut().flat_map(Processor::leases_mut) {
                while lease.step(&client, None)? {}
            }
            let state = actual_state(&client)?;
            server.stop()?;
            compare(&writers, &processors, &state, &mut report);
        } else {
            report.kills += 1;
        }
    }
    let sound = verify(&arguments.binary, folder, &arguments.places())?;
    let findings = (!sound).then(|| ("stabbur ledger verify found faults".to_owned(), Fault::Torn));
    report.close_round("ledger verify", findings.into_iter().collect());
    println!("{}", report.text());
    for lease in processors.iter().flat_map(Processor::leases) {
        println!("  {}", lease.text());
    }
    if let Some(path) = &arguments.report {
        std::fs::write(path, report.json().to_string())?;
    }
    Ok(report.good())
}

fn client(endpoints: &Endpoints) -> Result<Client> {
    Client::new(endpoints.clone(), Duration::from_secs(ANSWER_SECONDS_MAX))
}

/// Holds what the processors were told against what was written and what is there.
fn compare(writers: &[Writer], processors: &[Processor], actual: &State, report: &mut Report) {
    let mut known = State::new();
    for writer in writers {
        known.extend(writer.state());
    }
    let lost = known
        .iter()
        .filter(|(key, stamp)| actual.get(*key) != Some(*stamp));
    let lost = lost.map(|(key, stamp)| (format!("{key:?} at {stamp} isn't there"), Fault::Lost));
    let strange = actual.keys().filter(|key| !known.contains_key(*key));
    let strange = strange.map(|key| (format!("{key:?} is there and was deleted"), Fault::Torn));
    report.close_round("what was acknowledged is there", lost.chain(strange).collect());
    for processor in processors {
        let name = processor.name();
        let written = processor.expected(writers);
        let close = |report: &mut Report, what: &str, findings| {
            report.close_round(&format!("{name}: {what}"), findings);
        };
        close(
            report,
            "every acknowledged change reached its lease",
            processor.missed(&written, actual),
        );
        close(
            report,
            "no change that nobody wrote",
            processor.invented(&written),
        );
        close(
            report,
            "changes come in the order of commits",
            processor.disordered(),
        );
        close(
            report,
            "the changes add up to what is there",
            processor.differing(actual),
        );
        close(report, "readers died with a page in hand", processor.unharmed());
    }
}

fn prepare(client: &Client) -> Result<()> {
    let make = |kind: &str, link: &str, path: &str, body: Value| -> Result<()> {
        let body = body.to_string();
        let answer = client.document(
            &Method::POST,
            kind,
            link,
            path,
            &Vec::new(),
            Some(body.as_bytes()),
        )?;
        ensure!(answer.status == 201, "making {path}: {}", answer.status);
        Ok(())
    };
    let keyed = |path: &str| json!({"paths": [path], "kind": "Hash", "version": 2});
    make("dbs", "", "dbs", json!({"id": "feed"}))?;
    let items =
        json!({"id": "items", "partitionKey": keyed("/pk"), "changeFeedPolicy": {"retentionDuration": 60}});
    make("colls", "dbs/feed", "dbs/feed/colls", items)?;
    let leases = json!({"id": "leases", "partitionKey": keyed("/id")});
    make("colls", "dbs/feed", "dbs/feed/colls", leases)
}

/// Writes and reads with everybody for `time`, then kills the server, or gives it back at the last
/// time.
fn load(
    writers: &mut [Writer],
    processors: &mut [Processor],
    server: Server,
    random: &SeededRandom,
    time: Duration,
    last: bool,
    report: &mut Report,
) -> Result<Option<Server>> {
    let over = AtomicBool::new(false);
    let endpoints = server.endpoints.clone();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for writer in writers {
            let (endpoints, over, seed) = (endpoints.clone(), &over, random.u64());
            threads.push(scope.spawn(move || -> Result<Report> {
                let (client, random) = (client(&endpoints)?, SeededRandom::new(seed));
                let mut own = Report::default();
                until(over, || writer.step(&client, &random, &mut own))?;
                Ok(own)
            }));
        }
        for lease in processors.iter_mut().flat_map(Processor::leases_mut) {
            let (endpoints, over, seed) = (endpoints.clone(), &over, random.u64());
            threads.push(scope.spawn(move || -> Result<Report> {
                let (client, random) = (client(&endpoints)?, SeededRandom::new(seed));
                until(over, || {
                    if !lease.step(&client, Some((&random, over)))? {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    Ok(())
                })?;
                Ok(Report::default())
            }));
        }
        std::thread::sleep(time);
        over.store(true, Ordering::SeqCst);
        let survivor = if last {
            Some(server)
        } else {
            server.kill()?;
            None
        };
        for thread in threads {
            match thread.join() {
                Ok(own) => report.take_over(&own?),
                Err(_) => bail!("a writer or a reader panicked"),
            }
        }
        Ok(survivor)
    })
}

/// Goes on until it is over. What fails then failed because of the kill.
fn until(over: &AtomicBool, mut step: impl FnMut() -> Result<()>) -> Result<()> {
    while !over.load(Ordering::SeqCst) {
        if let Err(error) = step() {
            if over.load(Ordering::SeqCst) {
                break;
            }
            return Err(error.context("a request failed although the server was alive"));
        }
    }
    Ok(())
}

/// Everything that is there, by the feed of items, which isn't the one that is tested.
fn actual_state(client: &Client) -> Result<State> {
    let mut state = State::new();
    let mut token = None;
    loop {
        let mut headers = vec![("x-ms-max-item-count", "500".to_owned())];
        headers.extend(token.map(|token| ("x-ms-continuation", token)));
        let path = format!("{COLLECTION}/docs");
        let answer = client.document(&Method::GET, "docs", COLLECTION, &path, &headers, None)?;
        ensure!(answer.status == 200, "reading the items: {}", answer.status);
        let body: Value = serde_json::from_slice(&answer.body)?;
        let items = body.get("Documents").and_then(Value::as_array);
        for item in items.into_iter().flatten() {
            let (key, stamp) = lease::key_and_stamp(item).context("an item without its stamp")?;
            state.insert(key, stamp);
        }
        match answer.headers.get("x-ms-continuation") {
            Some(more) => token = Some(more.to_str()?.to_owned()),
            None => return Ok(state),
        }
    }
}
