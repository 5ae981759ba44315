//! Every test there is, one command. Phases go on when one fails, so that a run shows all that is
//! wrong; the last line has the sum.

use anyhow::Result;

use crate::combination::{Combination, Content, Ledger};
use crate::context::Context;
use crate::suites::{self, Form};
use crate::tally::{Count, Tally};
use crate::{fuzz, run, server, setup, tidy};

/// Kills of the long crash test, and time of the soak.
const KILLS_LONG: u32 = 100;
const SOAK_SECONDS: u32 = 600;

/// Kills among which each guarantee of Platform Storage is tried, in short and in long.
const GUARANTEE_KILLS: u32 = 8;
const GUARANTEE_KILLS_LONG: u32 = 60;

/// Queries that are answered with an index and without one.
const AGREEMENT_CASES: u32 = 100_000;

type Phase = (&'static str, fn(&Context, &mut Tally) -> Result<()>);

const SOURCES: &[Phase] = &[
    ("house rules", house_rules),
    ("formatting and lints", formatting_and_lints),
    ("tests of the crates", crates),
];

/// What needs several servers of its own.
const NODES: &[Phase] = &[
    ("several nodes, a balancer, an outage", |context, tally| {
        nodes(context, tally, &["--kills", "2", "--outage-seconds", "8"])
    }),
    ("the change feed while the server is killed", |context, tally| {
        crash(context, tally, &["--feed-seconds", "15"])
    }),
    (
        "Platform Storage's guarantees while the server is killed",
        |context, tally| guarantees(context, tally, GUARANTEE_KILLS),
    ),
];

const SERVER: Phase = ("building the server", |context, _| server::build(context));

const LONG: &[Phase] = &[
    ("queries with and without an index, long", agreement),
    ("registries: interleavings and isolation, long", registries),
    ("kill -9 in mid-load, long", |context, tally| {
        let kills = KILLS_LONG.to_string();
        crash(context, tally, &["--kills", &kills, "--seed", "1000"])
    }),
    ("soak", |context, tally| {
        let seconds = SOAK_SECONDS.to_string();
        let load = ["--kills", "1", "--load-seconds", &seconds, "--seed", "2000"];
        crash(context, tally, &load)
    }),
    (
        "the change feed while the server is killed, long",
        |context, tally| crash(context, tally, &["--feed-seconds", "60"]),
    ),
    (
        "Platform Storage's guarantees while the server is killed, long",
        |context, tally| guarantees(context, tally, GUARANTEE_KILLS_LONG),
    ),
    ("several nodes, long", |context, tally| {
        nodes(context, tally, &["--kills", "20", "--seed", "1000"])
    }),
    ("fuzzing", fuzz::check),
];

/// What runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Everything; of the combinations the simplest in full and the farthest from it in short.
    All,
    /// Everything on all combinations in full, with fuzzing and a soak.
    Long,
    /// The suites on one combination in full.
    Only(Combination),
}

impl What {
    fn phases(self) -> (&'static [Phase], &'static [Phase]) {
        match self {
            Self::All => (SOURCES, NODES),
            Self::Long => (SOURCES, LONG),
            Self::Only(_) => (&[], &[]),
        }
    }

    fn combinations(self) -> Vec<(Combination, Form)> {
        match self {
            Self::All => vec![
                (Combination::new(Ledger::Embedded, Content::Local), Form::Full),
                (Combination::new(Ledger::Postgres, Content::S3), Form::Short),
            ],
            Self::Long => Combination::ALL.map(|one| (one, Form::Full)).to_vec(),
            Self::Only(one) => vec![(one, Form::Full)],
        }
    }
}

/// Runs it; whether nothing failed.
pub(crate) fn run(context: &Context, what: What) -> Result<bool> {
    setup::run(context)?;
    let mut tally = Tally::default();
    let (before, behind) = what.phases();
    for phase in before.iter().chain([&SERVER]) {
        run_phase(context, &mut tally, phase);
    }
    for (combination, form) in what.combinations() {
        if let Err(error) = suites::run(context, &mut tally, combination, form) {
            tally.broke_off(&combination.to_string(), &error);
        }
    }
    for phase in behind {
        run_phase(context, &mut tally, phase);
    }
    context.say("done");
    println!();
    println!("{}", tally.table());
    println!("{}", tally.side_by_side());
    let total = tally.total();
    if total.skipped > 0 {
        println!("{} skipped (reasons above)", total.skipped);
    }
    print!("{}", tally.failures());
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(total.failed == 0)
}

fn run_phase(context: &Context, tally: &mut Tally, (name, phase): &Phase) {
    context.say(name);
    if let Err(error) = phase(context, tally) {
        tally.broke_off(name, &error);
    }
}

fn house_rules(context: &Context, tally: &mut Tally) -> Result<()> {
    tidy::check(context, tally)
}

fn formatting_and_lints(context: &Context, tally: &mut Tally) -> Result<()> {
    let checks: [(&str, &[&str], &[&str]); 2] = [
        ("rustfmt", &["fmt", "--version"], &["fmt", "--all", "--check"]),
        (
            "clippy",
            &["clippy", "--version"],
            &[
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ],
        ),
    ];
    for (name, version, check) in checks {
        let there = context
            .cargo()
            .args(version)
            .output()
            .is_ok_and(|output| output.status.success());
        if there {
            tally.check("house rules", run::aloud(context.cargo().args(check))?.success);
        } else {
            println!("    skipped: {name} isn't installed (rustup component add {name})");
            tally.add(
                "house rules",
                Count {
                    skipped: 1,
                    ..Count::default()
                },
            );
        }
    }
    Ok(())
}

fn crates(context: &Context, tally: &mut Tally) -> Result<()> {
    let finished = run::filtered(
        context.cargo().args(["test", "--workspace", "--no-fail-fast"]),
        // One line per test would drown everything else.
        |line| !(line.trim().is_empty() || line.starts_with("test ") && line.ends_with("... ok")),
    )?;
    let failed_before = tally.total().failed;
    tally.add_cargo_test(&finished.lines);
    tally.add_failures("tests of the crates", &finished.lines);
    if !finished.success && tally.total().failed == failed_before {
        anyhow::bail!("cargo test stopped before its tests ran");
    }
    Ok(())
}

/// The documents' test of the same name, over many more cases than in an ordinary run.
fn agreement(context: &Context, tally: &mut Tally) -> Result<()> {
    let finished = run::filtered(
        context
            .cargo()
            .env("STABBUR_AGREEMENT_CASES", AGREEMENT_CASES.to_string())
            .args(["test", "--package", "documents", "--test", "index_agreement"])
            .args(["--", "--nocapture", "an_index_changes_no_answer"]),
        |line| !(line.trim().is_empty() || line.starts_with("running ")),
    )?;
    tally.check("queries with and without an index", finished.success);
    Ok(())
}

/// All that the registry's tests of these names can try.
fn registries(context: &Context, tally: &mut Tally) -> Result<()> {
    let finished = run::filtered(
        context
            .cargo()
            .env("STABBUR_LONG", "1")
            .args(["test", "--package", "registry", "--no-fail-fast"])
            .args(["--test", "interleavings", "--test", "isolation"]),
        |line| !(line.trim().is_empty() || line.starts_with("running ")),
    )?;
    tally.check("registries: interleavings and isolation", finished.success);
    Ok(())
}

fn crash(context: &Context, tally: &mut Tally, arguments: &[&str]) -> Result<()> {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let outcome = suites::program(context, "crash", &arguments)?;
    tally.add(suites::KILL, outcome.count);
    suites::expect(outcome.success, outcome.count)
}

/// Each guarantee of Platform Storage is one test.
fn guarantees(context: &Context, tally: &mut Tally, kills: u32) -> Result<()> {
    let kills = kills.to_string();
    let arguments = ["--guarantees", "--kills", &kills].map(str::to_owned);
    let outcome = suites::program(context, "crash", &arguments)?;
    tally.add("guarantees of Platform Storage", outcome.count);
    suites::expect(outcome.success, outcome.count)
}

/// Several nodes: each promise is one test.
fn nodes(context: &Context, tally: &mut Tally, arguments: &[&str]) -> Result<()> {
    let sample = context.root.join("docs/operate/haproxy.cfg");
    let mut all = vec![
        "--haproxy-config".to_owned(),
        sample.to_string_lossy().into_owned(),
    ];
    all.extend(arguments.iter().map(ToString::to_string));
    let outcome = suites::program(context, "nodes", &all)?;
    tally.add("promises of several nodes", outcome.count);
    suites::expect(outcome.success, outcome.count)
}
