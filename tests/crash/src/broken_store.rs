//! Content in an object store that fails: a share of its requests is answered 500 or 503, comes late,
//! or is cut in the middle of a body. Under load of blobs the server must keep what it acknowledged,
//! give no wrong byte, and say clearly what it couldn't do; afterwards, with the store sound again,
//! everything that was acknowledged must be there.

mod report;
mod store;
mod worker;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use http::Method;
use ledger::clock::{Clock as _, SystemClock};

use crate::Arguments;
use crate::client::Client;
use crate::round::verify;
use crate::server::{Endpoints, Server};

use report::Report;
use store::BrokenStore;
use worker::{CONTAINER, Worker};

/// Requests to the store of which a hundred, on average, so many are broken. Each is tried up to
/// seven times: with this rate now and then all seven fail, and clients see errors as well.
const FAULT_RATE_PERCENT: u64 = 75;

const WORKERS: u64 = 10;

/// The server tries for 40 s and the last try may take 30: it must have answered by then.
const ANSWER_SECONDS_MAX: u64 = 90;

/// Runs it; whether the server kept its word.
pub(crate) fn run(arguments: &Arguments, folder: &Path, seconds: u64) -> Result<bool> {
    let program = arguments.s3_server.as_deref().context("--s3-server is needed")?;
    let store = BrokenStore::start(program, &folder.join("s3"), FAULT_RATE_PERCENT, arguments.seed)?;
    let places = |config: &Path| {
        let mut places = arguments.ledger_place();
        places.extend([OsString::from("--content-config"), config.into()]);
        places
    };
    let (sound, broken) = (places(&store.sound), places(&store.broken));
    let start = |places: &[OsString]| Server::start(&arguments.binary, folder, places);

    let server = start(&sound)?;
    make_container(&client(&server.endpoints)?)?;
    server.stop()?;

    let mut report = Report::new(FAULT_RATE_PERCENT, arguments.seed, seconds);
    let mut workers: Vec<Worker> = (0..WORKERS).map(|n| Worker::new(n, arguments.seed)).collect();
    let server = start(&broken)?;
    let end = SystemClock.monotonic() + Duration::from_secs(seconds);
    each(
        &mut workers,
        &server.endpoints,
        &mut report,
        |worker, client, own| {
            while SystemClock.monotonic() < end {
                worker.step(client, own)?;
            }
            Ok(())
        },
    )?;
    server.stop()?;

    let server = start(&sound)?;
    each(&mut workers, &server.endpoints, &mut report, Worker::look_at_all)?;
    server.stop()?;
    report.verified = verify(&arguments.binary, folder, &sound)?;
    report.faults = store.stop()?;
    println!("{}", report.text());
    if let Some(path) = &arguments.report {
        std::fs::write(path, report.json().to_string())?;
    }
    Ok(report.good())
}

fn client(endpoints: &Endpoints) -> Result<Client> {
    Client::new(endpoints.clone(), Duration::from_secs(ANSWER_SECONDS_MAX))
}

fn make_container(client: &Client) -> Result<()> {
    let query = [("restype", "container")];
    let answer = client.blob(&Method::PUT, CONTAINER, &query, &Vec::new(), Some(&[]))?;
    anyhow::ensure!(answer.status == 201, "creating the container: {}", answer.status);
    Ok(())
}

/// Calls `what` for each worker, in parallel, and adds up their reports.
fn each(
    workers: &mut [Worker],
    endpoints: &Endpoints,
    report: &mut Report,
    what: impl Fn(&mut Worker, &Client, &mut Report) -> Result<()> + Sync,
) -> Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = workers
            .iter_mut()
            .map(|worker| {
                let what = &what;
                scope.spawn(move || -> Result<Report> {
                    let mut own = Report::default();
                    what(worker, &client(endpoints)?, &mut own)?;
                    Ok(own)
                })
            })
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(own) => report.take_over(own?),
                Err(_) => bail!("a worker panicked"),
            }
        }
        Ok(())
    })
}
