//! Nodes are killed in mid-load behind the balancer, among them the one that does the background
//! work. Clients try again once, at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use ledger::random::{Random as _, SeededRandom};

use crate::Arguments;
use crate::client::{Answer, Client, Site};
use crate::estate::{Estate, NODES_MAX};
use crate::haproxy::Balancer;
use crate::load::{self, Fate, Fault, Item};
use crate::node::{self, Node};
use crate::process::{now, wait_until};
use crate::report::Report;
use crate::worker::{Step, Worker};

/// Past this the background work must go on elsewhere (docs/operate/nodes.md).
const BACKGROUND_SECONDS_MAX: u64 = 15;
/// For how long it is waited for, so that a broken promise has a figure.
const BACKGROUND_WAIT_SECONDS_MAX: u64 = 60;
/// Load before a kill, at least; at most twice of it.
const LOAD_MILLISECONDS: u64 = 1_500;

/// What one client saw.
#[derive(Debug, Default)]
struct Seen {
    requests: u64,
    retries: u64,
    errors: Vec<String>,
    promises: Vec<(Item, Fate)>,
}

/// Runs it.
pub(crate) fn run(arguments: &Arguments, estate: &Arc<Estate>, report: &mut Report) -> Result<()> {
    let mut nodes = (1..=NODES_MAX)
        .map(|number| Node::start(&arguments.binary, estate, number))
        .collect::<Result<Vec<_>>>()?;
    let balancer = Balancer::start(&arguments.haproxy_config, estate)?;
    load::prepare(&Client::new(estate)?, &balancer.site)?;
    let stop = AtomicBool::new(false);
    let began = now();
    let (kills, seen) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..arguments.clients)
            .map(|number| {
                let (site, stop, seed) = (&balancer.site, &stop, arguments.seed);
                scope.spawn(move || client(estate, site, number, seed, stop))
            })
            .collect();
        let kills = kill(arguments, &mut nodes);
        stop.store(true, Ordering::SeqCst);
        let seen: Result<Vec<Seen>> = clients
            .into_iter()
            .map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
            .collect();
        (kills, seen)
    });
    let (restarts, background) = kills?;
    let seen = seen?;
    let seconds = now().saturating_sub(began).as_secs_f64();
    let sum = |number: fn(&Seen) -> u64| seen.iter().map(number).sum::<u64>();
    report.say(format!(
        "{NODES_MAX} nodes behind HAProxy, {} clients, {} nodes killed in {seconds:.0} s of load",
        arguments.clients, arguments.kills
    ));
    report.say(format!(
        "  {} requests, {} of them a client's second try",
        sum(|seen| seen.requests),
        sum(|seen| seen.retries)
    ));
    let errors: Vec<String> = seen.iter().flat_map(|seen| seen.errors.clone()).collect();
    report.none("errors that a client which retries once saw", &errors);
    let acknowledged = sum(|seen| seen.promises.len() as u64);
    let faults = read_back(estate, &balancer.site, &seen)?;
    let of = |wanted: Fault| -> Vec<String> {
        let found = faults.iter().filter(|(fault, _)| *fault == wanted);
        found.map(|(_, place)| place.clone()).collect()
    };
    report.check(
        format!("{acknowledged} writes acknowledged, each read back"),
        acknowledged > 0,
    );
    report.none("acknowledged writes lost", &of(Fault::Lost));
    report.none(
        "torn, or not to be read",
        &[of(Fault::Torn), of(Fault::Dangling)].concat(),
    );
    let longest = background.iter().max().copied().unwrap_or_default();
    report.check(
        format!(
            "{:.1} s at most until the background work ran elsewhere ({} kills of the node that did it)",
            longest.as_secs_f64(),
            background.len()
        ),
        !background.is_empty() && longest <= Duration::from_secs(BACKGROUND_SECONDS_MAX),
    );
    let slowest = restarts.iter().max().copied().unwrap_or_default();
    report.say(format!(
        "  {:.1} s slowest restart of a node",
        slowest.as_secs_f64()
    ));
    let complaints: Vec<String> = nodes.iter().flat_map(Node::complaints).collect();
    report.none("warnings in the nodes' logs", &complaints);
    drop(nodes);
    report.say(format!("  {}", node::verify(&arguments.binary, estate)?));
    Ok(())
}

/// Kills and restarts; how long each restart took, and how long the background work stood still.
fn kill(arguments: &Arguments, nodes: &mut [Node]) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let random = SeededRandom::new(arguments.seed);
    let (mut restarts, mut background) = (Vec::new(), Vec::new());
    for number in 0..arguments.kills {
        std::thread::sleep(Duration::from_millis(
            LOAD_MILLISECONDS + random.u64() % LOAD_MILLISECONDS,
        ));
        let mut holder = None;
        wait_until(
            "a node that does the background work",
            Duration::from_secs(BACKGROUND_WAIT_SECONDS_MAX),
            || {
                for (at, node) in nodes.iter().enumerate() {
                    if node.duty()?.is_held {
                        holder = Some(at);
                    }
                }
                Ok(holder.is_some())
            },
        )?;
        let holder = holder.context("no node does the background work")?;
        let holds = number % 2 == 1;
        let other = usize::try_from(random.u64() % 2)? + 1;
        let victim = if holds {
            holder
        } else {
            (holder + other) % nodes.len()
        };
        let before = nodes
            .iter()
            .map(|node| Ok(node.duty()?.rounds))
            .collect::<Result<Vec<u64>>>()?;
        let node = nodes.get_mut(victim).context("no such node")?;
        node.kill()?;
        let killed = now();
        println!(
            "kill {}: node {}{}",
            number + 1,
            node.number,
            if holds {
                ", which did the background work"
            } else {
                ""
            }
        );
        if holds {
            let others = || {
                nodes
                    .iter()
                    .zip(&before)
                    .enumerate()
                    .filter(|(at, _)| *at != victim)
            };
            wait_until(
                "the background work elsewhere",
                Duration::from_secs(BACKGROUND_WAIT_SECONDS_MAX),
                || {
                    for (_, (node, before)) in others() {
                        let duty = node.duty()?;
                        if duty.is_held && duty.rounds > *before {
                            return Ok(true);
                        }
                    }
                    std::thread::sleep(Duration::from_millis(50));
                    Ok(false)
                },
            )?;
            background.push(now().saturating_sub(killed));
        }
        let restarted = now();
        nodes.get_mut(victim).context("no such node")?.restart()?;
        restarts.push(now().saturating_sub(restarted));
    }
    std::thread::sleep(Duration::from_millis(LOAD_MILLISECONDS));
    Ok((restarts, background))
}

/// Writes and reads until it is told to stop.
fn client(estate: &Estate, site: &Site, number: u64, seed: u64, stop: &AtomicBool) -> Result<Seen> {
    let mut worker = Worker::new(estate, site, number, seed)?;
    let mut seen = Seen::default();
    while !stop.load(Ordering::SeqCst) {
        let step = worker.choose()?;
        let (answer, again) = twice(&mut seen, || worker.send(&step));
        let item = step.item().clone();
        if matches!(step, Step::Read(_)) {
            match answer {
                Ok(answer) if answer.status == 200 && load::holds(&item, &answer) => {}
                other => seen
                    .errors
                    .push(format!("reading {}: {}", item.place(), shown(&other))),
            }
            continue;
        }
        let acknowledged = match &answer {
            Ok(answer) if answer.status == 201 => true,
            // The first try was done: if what is there is this client's own, all is well.
            Ok(answer) if answer.status == 409 && again => {
                let (found, _) = twice(&mut seen, || worker.send(&Step::Read(item.clone())));
                found.is_ok_and(|found| found.status == 200 && load::holds(&item, &found))
            }
            _ => false,
        };
        if acknowledged {
            worker.promised(item, Fate::Acknowledged, answer.as_ref().ok());
        } else {
            seen.errors
                .push(format!("writing {}: {}", item.place(), shown(&answer)));
        }
    }
    seen.promises = worker.promises;
    Ok(seen)
}

/// Sends a request, and once more if that brought no answer or the server's fault; whether it did.
fn twice(seen: &mut Seen, send: impl Fn() -> Result<Answer>) -> (Result<Answer>, bool) {
    seen.requests += 1;
    match send() {
        Ok(answer) if answer.status < 500 && answer.status != 408 => (Ok(answer), false),
        _ => {
            seen.requests += 1;
            seen.retries += 1;
            (send(), true)
        }
    }
}

fn shown(answer: &Result<Answer>) -> String {
    match answer {
        Ok(answer) => answer.shown(),
        Err(error) => format!("{error:#}"),
    }
}

/// Reads everything, as many at a time as there were clients.
fn read_back(estate: &Estate, site: &Site, seen: &[Seen]) -> Result<Vec<(Fault, String)>> {
    in_parallel(seen, |seen| {
        Ok(load::check(&Client::new(estate)?, site, &seen.promises))
    })
}

/// Calls `what` for each of `all` at the same time.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    all: &[T],
    what: impl Fn(&T) -> Result<Vec<R>> + Sync,
) -> Result<Vec<R>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = all
            .iter()
            .map(|one| {
                let what = &what;
                scope.spawn(move || what(one))
            })
            .collect();
        let mut results = Vec::new();
        for thread in threads {
            match thread.join() {
                Ok(found) => results.extend(found?),
                Err(_) => bail!("a reader panicked"),
            }
        }
        Ok(results)
    })
}
