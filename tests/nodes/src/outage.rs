//! The database is stopped in mid-load, stays away for a while, and comes back. Clients go to the
//! nodes directly and through the balancer, and try nothing again: each answer is looked at.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::Arguments;
use crate::answers::{Said, read};
use crate::balancer::in_parallel;
use crate::client::{Client, Site};
use crate::estate::Estate;
use crate::haproxy::Balancer;
use crate::load::{self, Fate, Fault, Item};
use crate::node::{self, Node};
use crate::postgres;
use crate::process::now;
use crate::report::Report;
use crate::worker::{NAMES, Step, Worker};

const NODES: usize = 2;
const LOAD_SECONDS: u64 = 3;
/// Within it the service must be back (docs/operate/nodes.md).
const BACK_SECONDS_MAX: u64 = 2;
/// Within it an answer must come, and the health page must say so: the ledger waits 5 s for a
/// database that went away, and a machine that runs four things at once may be late.
const ANSWER_SECONDS_MAX: u64 = 8;
/// An outage is said once and not once per request.
const COMPLAINTS_MAX: usize = 10;
/// Clients don't hammer at a closed door.
const PAUSE_MILLISECONDS: u64 = 10;
const LOOK_MILLISECONDS: u64 = 50;

/// What is done to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// Its processes end at once; nobody listens.
    Stopped,
    /// Its processes stand still; connections stay, and new ones come about.
    Hung,
}

impl Harm {
    fn name(self) -> &'static str {
        match self {
            Self::Stopped => "away",
            Self::Hung => "hanging",
        }
    }
}

/// One request and its answer.
#[derive(Debug)]
struct Event {
    sent: Duration,
    answered: Duration,
    site: String,
    what: &'static str,
    said: Said,
}

/// What one client saw.
#[derive(Debug, Default)]
struct Seen {
    events: Vec<Event>,
    promises: Vec<(Item, Fate)>,
}

/// Which node said when whether it is ready.
type Looks = Vec<(Duration, usize, bool)>;

/// When what happened to the database.
#[derive(Debug, Clone, Copy)]
struct Outage {
    from: Duration,
    to: Duration,
}

/// Runs it.
pub(crate) fn run(
    arguments: &Arguments,
    estate: &Arc<Estate>,
    postgres: &mut postgres::Server,
    harm: Harm,
    report: &mut Report,
) -> Result<()> {
    let nodes = (1..=NODES)
        .map(|number| Node::start(&arguments.binary, estate, number))
        .collect::<Result<Vec<_>>>()?;
    let balancer = Balancer::start(&arguments.haproxy_config, estate)?;
    let mut sites: Vec<Site> = nodes.iter().map(Node::site).collect();
    sites.push(balancer.site.clone());
    load::prepare(&Client::new(estate)?, &balancer.site)?;
    let stop = AtomicBool::new(false);
    let (outage, looks, seen) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..arguments.clients)
            .zip(sites.iter().cycle())
            .map(|(number, site)| {
                let (stop, seed) = (&stop, arguments.seed);
                scope.spawn(move || client(estate, site, number, seed, stop))
            })
            .collect();
        let looker = scope.spawn(|| look(&nodes, &stop));
        let outage = break_database(arguments, postgres, harm);
        stop.store(true, Ordering::SeqCst);
        let seen: Result<Vec<Seen>> = clients
            .into_iter()
            .map(|client| client.join().map_err(|_| anyhow!("a client panicked"))?)
            .collect();
        (outage, looker.join(), seen)
    });
    let (outage, seen) = (outage?, seen?);
    let looks = looks.map_err(|_| anyhow!("the looker panicked"))??;
    report.say(format!(
        "{NODES} nodes and HAProxy, {} clients without retries, PostgreSQL {} for {:.1} s",
        arguments.clients,
        harm.name(),
        outage.to.saturating_sub(outage.from).as_secs_f64()
    ));
    let events: Vec<&Event> = seen.iter().flat_map(|seen| &seen.events).collect();
    judge_answers(&events, outage, report);
    judge_return(&events, &sites, outage, report);
    judge_health(&looks, outage, report);
    let faults = in_parallel(&seen, |seen| {
        Ok(load::check(&Client::new(estate)?, &balancer.site, &seen.promises))
    })?;
    let written = |wanted| {
        let all = seen.iter().flat_map(|seen| &seen.promises);
        all.filter(|(_, fate)| *fate == wanted).count()
    };
    report.say(format!(
        "  writes: {} acknowledged, {} surely not done, {} of unknown fate; each looked for afterwards",
        written(Fate::Acknowledged),
        written(Fate::Refused),
        written(Fate::Unknown)
    ));
    for (fault, what) in [
        (Fault::Lost, "acknowledged writes lost"),
        (Fault::Lied, "writes there that were surely not done"),
        (Fault::Torn, "half-written"),
        (Fault::Dangling, "dangling"),
    ] {
        let found: Vec<String> = faults
            .iter()
            .filter(|(found, _)| *found == fault)
            .map(|(_, place)| place.clone())
            .collect();
        report.none(what, &found);
    }
    let complaints: Vec<String> = nodes.iter().flat_map(Node::complaints).collect();
    report.check(
        format!(
            "{} warnings in the nodes' logs, of which a person reads the first",
            complaints.len()
        ),
        (1..=COMPLAINTS_MAX).contains(&complaints.len()),
    );
    drop(nodes);
    report.say(format!("  {}", node::verify(&arguments.binary, estate)?));
    Ok(())
}

/// Harms the database under load, and makes that good again.
fn break_database(arguments: &Arguments, postgres: &mut postgres::Server, harm: Harm) -> Result<Outage> {
    std::thread::sleep(Duration::from_secs(LOAD_SECONDS));
    let from = now();
    match harm {
        Harm::Stopped => postgres.stop_immediately()?,
        Harm::Hung => postgres.hang(true)?,
    }
    let until = from + Duration::from_secs(arguments.outage_seconds);
    std::thread::sleep(until.saturating_sub(now()));
    match harm {
        Harm::Stopped => postgres.run()?,
        Harm::Hung => postgres.hang(false)?,
    }
    let to = now();
    std::thread::sleep(Duration::from_secs(BACK_SECONDS_MAX + LOAD_SECONDS));
    Ok(Outage { from, to })
}

/// Asks each node for its health until it is told to stop.
fn look(nodes: &[Node], stop: &AtomicBool) -> Result<Looks> {
    let mut looks = Looks::new();
    while !stop.load(Ordering::SeqCst) {
        for node in nodes {
            looks.push((now(), node.number, node.is_ready()?));
        }
        std::thread::sleep(Duration::from_millis(LOOK_MILLISECONDS));
    }
    Ok(looks)
}

/// Writes and reads until it is told to stop, and notes every answer.
fn client(estate: &Estate, site: &Site, number: u64, seed: u64, stop: &AtomicBool) -> Result<Seen> {
    let mut worker = Worker::new(estate, site, number, seed)?;
    let mut events = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        let step = worker.choose()?;
        let what = step.name();
        let sent = now();
        let answer = worker.send(&step);
        let answered = now();
        let mut said = read(step.item().kind, &answer);
        match (step, &answer) {
            (Step::Read(item), Ok(answer)) if said == Said::Done && !load::holds(&item, answer) => {
                said = Said::Unclear(format!("something else was read: {}", answer.shown()));
            }
            (Step::Read(_), _) => {}
            (Step::Write(item, _), answer) => {
                let fate = match said {
                    Said::Done => Fate::Acknowledged,
                    Said::Refused => Fate::Refused,
                    Said::Unknown | Said::Unclear(_) => Fate::Unknown,
                };
                worker.promised(item, fate, answer.as_ref().ok());
            }
        }
        if said != Said::Done {
            std::thread::sleep(Duration::from_millis(PAUSE_MILLISECONDS));
        }
        events.push(Event {
            sent,
            answered,
            site: site.name.clone(),
            what,
            said,
        });
    }
    Ok(Seen {
        events,
        promises: worker.promises,
    })
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// Each answer is clear, and comes in time.
fn judge_answers(events: &[&Event], outage: Outage, report: &mut Report) {
    let count = |wanted: &Said| events.iter().filter(|event| event.said == *wanted).count();
    report.say(format!(
        "  {} requests: {} done, {} refused with 503 and Retry-After, {} of unknown fate",
        events.len(),
        count(&Said::Done),
        count(&Said::Refused),
        count(&Said::Unknown)
    ));
    report.check("clients were refused at all", count(&Said::Refused) > 0);
    let unclear: Vec<String> = events
        .iter()
        .filter_map(|event| match &event.said {
            Said::Unclear(why) => Some(format!(
                "{} by {} {:+.1} s from the outage's begin: {why}",
                event.what,
                event.site,
                event.answered.as_secs_f64() - outage.from.as_secs_f64()
            )),
            _ => None,
        })
        .collect();
    report.none("answers not in the protocol's own form", &unclear);
    let early: Vec<String> = events
        .iter()
        .filter(|event| event.answered < outage.from && event.said != Said::Done)
        .map(|event| format!("{event:?}"))
        .collect();
    report.none("refusals before the outage", &early);
    let longest = events
        .iter()
        .map(|event| event.answered.saturating_sub(event.sent))
        .max();
    let longest = longest.unwrap_or_default();
    report.check(
        format!("{} the longest wait for an answer", seconds(longest)),
        longest <= Duration::from_secs(ANSWER_SECONDS_MAX),
    );
}

/// Everything works again, everywhere, soon after the database takes connections.
fn judge_return(events: &[&Event], sites: &[Site], outage: Outage, report: &mut Report) {
    let most = Duration::from_secs(BACK_SECONDS_MAX);
    for &what in NAMES {
        let firsts: Vec<Option<Duration>> = sites
            .iter()
            .map(|site| {
                let of = events.iter().filter(|event| {
                    event.site == site.name
                        && event.what == what
                        && event.said == Said::Done
                        && event.answered >= outage.to
                });
                of.map(|event| event.answered.saturating_sub(outage.to)).min()
            })
            .collect();
        let shown: Vec<String> = sites
            .iter()
            .zip(&firsts)
            .map(|(site, first)| format!("{} {}", site.name, first.map_or("never".to_owned(), seconds)))
            .collect();
        report.check(
            format!("first {what} after the return: {}", shown.join(", ")),
            firsts
                .iter()
                .all(|first| first.is_some_and(|first| first <= most)),
        );
    }
    let late: Vec<String> = events
        .iter()
        .filter(|event| event.answered > outage.to + most && event.said != Said::Done)
        .map(|event| format!("{event:?}"))
        .collect();
    report.none("refusals later than that", &late);
}

/// The health pages say it.
fn judge_health(looks: &Looks, outage: Outage, report: &mut Report) {
    for number in 1..=NODES {
        let of = || looks.iter().filter(|(_, node, _)| *node == number);
        let first = |ready: bool, from: Duration, to: Duration| {
            of().find(|(at, _, is_ready)| *at >= from && *at < to && *is_ready == ready)
                .map(|(at, _, _)| at.saturating_sub(from))
        };
        let shown = |found: Option<Duration>| found.map_or("never".to_owned(), seconds);
        let not_ready = first(false, outage.from, outage.to);
        let before = of()
            .take_while(|(at, _, _)| *at < outage.from)
            .all(|(_, _, ready)| *ready);
        let ready = first(true, outage.to, Duration::MAX);
        report.check(
            format!(
                "node {number}'s health: not ready {} after the outage's begin, ready {} after its end",
                shown(not_ready),
                shown(ready)
            ),
            before
                && not_ready.is_some_and(|after| after <= Duration::from_secs(ANSWER_SECONDS_MAX))
                && ready.is_some_and(|after| after <= Duration::from_secs(BACK_SECONDS_MAX)),
        );
    }
}
