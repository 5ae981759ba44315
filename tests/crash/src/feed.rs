//! The change feed of all versions and deletes while writers write and the server is killed twice:
//! four leases share the container's ring, each reads its part, and keeps in a lease document how
//! far it is. Every acknowledged change must reach the lease it belongs to at least once, nothing
//! may reach it that nobody wrote, and what the changes add up to must be what is there.

mod lease;
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
use crate::report::{Findings, Report};
use crate::round::verify;
use crate::server::{Endpoints, Server};

use lease::Lease;
use writer::Writer;

/// Where the writers write.
const COLLECTION: &str = "dbs/feed/colls/items";
/// Where leases are kept.
const LEASES: &str = "dbs/feed/colls/leases";

const WRITERS: u64 = 32;
const KILLS: u32 = 2;
const ANSWER_SECONDS_MAX: u64 = 20;

/// Boundaries of the leases on the ring of effective partition keys, whose first byte is at most 3F.
const BOUNDARIES: [&str; 5] = ["", "10", "20", "30", "FF"];

/// Items by partition and id, each with the stamp of its last write.
type State = BTreeMap<(String, String), u64>;

/// Runs it; whether the server kept its word.
pub(crate) fn run(arguments: &Arguments, folder: &Path, seconds: u64) -> Result<bool> {
    let random = SeededRandom::new(arguments.seed);
    let mut report = Report::default();
    let mut writers: Vec<Writer> = (0..WRITERS).map(Writer::new).collect();
    let mut leases: Vec<Lease> = BOUNDARIES
        .windows(2)
        .enumerate()
        .filter_map(|(number, ends)| match ends {
            [start, end] => Some(Lease::new(number, start, end)),
            _ => None,
        })
        .collect();
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
        for lease in &mut leases {
            lease.take_up(&first)?;
        }
        let last = round == KILLS;
        let survivor = load(
            &mut writers,
            &mut leases,
            server,
            &random,
            part,
            last,
            &mut report,
        )?;
        if let Some(server) = survivor {
            let client = client(&server.endpoints)?;
            for lease in &mut leases {
                while lease.step(&client)? {}
            }
            let state = actual_state(&client)?;
            server.stop()?;
            report.close_round(
                "every acknowledged change reached its lease",
                missed(&writers, &leases),
            );
            report.close_round("no change that nobody wrote", invented(&writers, &leases));
            report.close_round(
                "the changes add up to what is there",
                differing(&writers, &leases, &state),
            );
        } else {
            report.kills += 1;
        }
    }
    let sound = verify(&arguments.binary, folder, &arguments.places())?;
    let findings = (!sound).then(|| ("stabbur ledger verify found faults".to_owned(), Fault::Torn));
    report.close_round("ledger verify", findings.into_iter().collect());
    println!("{}", report.text());
    for lease in &leases {
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
    leases: &mut [Lease],
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
        for lease in leases {
            let (endpoints, over) = (endpoints.clone(), &over);
            threads.push(scope.spawn(move || -> Result<Report> {
                let client = client(&endpoints)?;
                until(over, || {
                    if !lease.step(&client)? {
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

/// Acknowledged changes that reached no lease.
fn missed(writers: &[Writer], leases: &[Lease]) -> Findings {
    let written = writers.iter().flat_map(Writer::changes);
    let missed = written.filter(|change| !leases.iter().any(|lease| lease.has_seen(change)));
    missed.map(|change| (change.clone(), Fault::Lost)).collect()
}

/// Changes that nobody wrote, or that reached two leases.
fn invented(writers: &[Writer], leases: &[Lease]) -> Findings {
    let mut findings = Findings::new();
    for (number, lease) in leases.iter().enumerate() {
        for change in lease.seen() {
            let twice = leases
                .iter()
                .enumerate()
                .any(|(other, lease)| other != number && lease.has_seen(change));
            if twice || !writers.iter().any(|writer| writer.wrote(change)) {
                findings.push((change.clone(), Fault::Torn));
            }
        }
    }
    findings
}

/// What the changes add up to, against what was acknowledged and what is there.
fn differing(writers: &[Writer], leases: &[Lease], actual: &State) -> Findings {
    let mut told = State::new();
    let mut known = State::new();
    for lease in leases {
        told.extend(lease.state().clone());
    }
    for writer in writers {
        known.extend(writer.state());
    }
    let mut findings = Findings::new();
    for key in told.keys().chain(known.keys()).chain(actual.keys()) {
        let (told, known, actual) = (told.get(key), known.get(key), actual.get(key));
        if told != actual || known != actual {
            let place =
                format!("{key:?}: the changes say {told:?}, the writers {known:?}, there is {actual:?}");
            findings.push((place, Fault::Torn));
        }
    }
    findings
}

/// Everything that is there, by the feed of latest versions.
fn actual_state(client: &Client) -> Result<State> {
    let mut state = State::new();
    let mut token = None;
    loop {
        let mut headers = vec![("a-im", "Incremental Feed".to_owned())];
        headers.extend(token.map(|token| ("if-none-match", token)));
        let path = format!("{COLLECTION}/docs");
        let answer = client.document(&Method::GET, "docs", COLLECTION, &path, &headers, None)?;
        if answer.status == 304 {
            return Ok(state);
        }
        ensure!(
            answer.status == 200,
            "reading the latest versions: {}",
            answer.status
        );
        let etag = answer.headers.get("etag").context("an answer without an etag")?;
        token = Some(etag.to_str()?.to_owned());
        let body: Value = serde_json::from_slice(&answer.body)?;
        for item in body
            .get("Documents")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let (key, stamp) = lease::key_and_stamp(item).context("an item without its stamp")?;
            state.insert(key, stamp);
        }
    }
}
