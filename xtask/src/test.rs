//! Every test there is, one command. Phases go on when one fails, so that a run shows all that is
//! wrong; the last line has the sum.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::bench::peers::Postgres;
use crate::context::Context;
use crate::tally::{Count, Tally};
use crate::{fuzz, run, server, setup, tally, tidy};

/// Kills of the crash test, and rounds of the soak, in each form.
const KILLS: u32 = 24;
const KILLS_LONG: u32 = 100;
const SOAK_SECONDS: u32 = 600;

type Phase = (&'static str, fn(&Context, &mut Tally) -> Result<()>);

const PHASES: &[Phase] = &[
    ("house rules", house_rules),
    ("formatting and lints", formatting_and_lints),
    ("tests of the crates", crates),
    ("building the server", |context, _| server::build(context)),
    ("Python clients and the life of an instance", python),
    ("JavaScript clients", javascript),
    ("kill -9 in mid-load", |context, tally| {
        crash(context, tally, &["--kills", &KILLS.to_string()])
    }),
    (
        "on PostgreSQL: clients, the life of an instance, kill -9",
        on_postgres,
    ),
    ("several nodes, a balancer, an outage", |context, tally| {
        nodes(context, tally, &["--kills", "2", "--outage-seconds", "8"])
    }),
];

const PHASES_LONG: &[Phase] = &[
    ("kill -9 in mid-load, long", |context, tally| {
        crash(
            context,
            tally,
            &["--kills", &KILLS_LONG.to_string(), "--seed", "1000"],
        )
    }),
    ("soak", |context, tally| {
        let seconds = SOAK_SECONDS.to_string();
        crash(
            context,
            tally,
            &["--kills", "1", "--load-seconds", &seconds, "--seed", "2000"],
        )
    }),
    ("several nodes, long", |context, tally| {
        nodes(context, tally, &["--kills", "20", "--seed", "1000"])
    }),
    ("fuzzing", fuzz::check),
];

/// Kills of the crash test with the ledger on PostgreSQL.
const KILLS_ON_POSTGRES: u32 = 5;

/// Runs the phases; whether nothing failed.
pub(crate) fn run(context: &Context, long: bool) -> Result<bool> {
    setup::run(context)?;
    let mut tally = Tally::default();
    let longer = if long { PHASES_LONG } else { &[] };
    for (name, phase) in PHASES.iter().chain(longer) {
        context.say(name);
        if let Err(error) = phase(context, &mut tally) {
            println!("    {name} failed: {error:#}");
            tally.check("phases that broke off", false);
        }
    }
    context.say("done");
    println!();
    println!("{}", tally.table());
    let total = tally.total();
    if total.skipped > 0 {
        println!("{} skipped (reasons above)", total.skipped);
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(total.failed == 0)
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
    if !finished.success && tally.total().failed == failed_before {
        anyhow::bail!("cargo test stopped before its tests ran");
    }
    Ok(())
}

fn python(context: &Context, tally: &mut Tally) -> Result<()> {
    pytest(context, tally, "Python clients", &[""], &[])
}

/// Runs some files of the Python clients' tests (an empty name: all of them).
fn pytest(
    context: &Context,
    tally: &mut Tally,
    kind: &str,
    files: &[&str],
    environment: &[(&str, &str)],
) -> Result<()> {
    let folder = context.root.join("tests/clients/python");
    let finished = run::aloud(
        Command::new(context.venv("python"))
            .args(["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"])
            .args(files.iter().map(|file| folder.join(file)))
            .env("STABBUR_BINARY", context.binary())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs(environment.iter().copied()),
    )?;
    let count = tally::pytest(&finished.lines).context("pytest ran no test")?;
    tally.add(kind, count);
    expect(finished.success, count)
}

/// The same clients on the other engine, in a shorter form.
fn on_postgres(context: &Context, tally: &mut Tally) -> Result<()> {
    let postgres = Postgres::start(context)?;
    let connection = postgres.parameters();
    pytest(
        context,
        tally,
        "Python clients, on PostgreSQL",
        &[
            "test_blobs.py",
            "test_documents.py",
            "test_life.py",
            "test_platform.py",
        ],
        &[("STABBUR_POSTGRES", &connection)],
    )?;
    let kills = KILLS_ON_POSTGRES.to_string();
    crash(
        context,
        tally,
        &["--kills", &kills, "--ledger-postgres", &connection],
    )
}

fn javascript(context: &Context, tally: &mut Tally) -> Result<()> {
    let finished = run::aloud(
        setup::with_node(context, context.venv("node"))
            .current_dir(context.root.join("tests/clients/js"))
            .args(["--test", "--test-reporter=spec", "--test-concurrency=1"])
            .env("STABBUR_BINARY", context.binary()),
    )?;
    let count = tally::node(&finished.lines).context("node ran no test")?;
    tally.add("JavaScript clients", count);
    expect(finished.success, count)
}

/// The crash test: each kill is one test, and so is each of its final checks.
fn crash(context: &Context, tally: &mut Tally, arguments: &[&str]) -> Result<()> {
    program(context, tally, "crash", "kill -9 rounds", arguments)
}

/// Several nodes: each promise is one test.
fn nodes(context: &Context, tally: &mut Tally, arguments: &[&str]) -> Result<()> {
    let sample = context.root.join("docs/operate/haproxy.cfg");
    let sample = sample.to_string_lossy();
    let arguments = [&["--haproxy-config", &sample], arguments].concat();
    program(context, tally, "nodes", "promises of several nodes", &arguments)
}

/// A test program of ours that leaves a report.
fn program(
    context: &Context,
    tally: &mut Tally,
    package: &str,
    kind: &str,
    arguments: &[&str],
) -> Result<()> {
    let report = context.local().join(format!("{package}-report.json"));
    let _ = std::fs::remove_file(&report);
    let finished = run::aloud(
        context
            .cargo()
            .args([
                "run",
                "--quiet",
                "--release",
                "--package",
                package,
                "--",
                "--binary",
            ])
            .arg(context.binary())
            .arg("--report")
            .arg(&report)
            .args(arguments),
    )?;
    let text = std::fs::read_to_string(&report).with_context(|| format!("{package} left no report"))?;
    let report: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("the report of {package}"))?;
    let number = |name: &str| report.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
    let count = Count {
        passed: number("rounds_passed"),
        failed: number("rounds_failed"),
        skipped: 0,
    };
    tally.add(kind, count);
    expect(finished.success, count)
}

/// A runner that failed without a failed test broke off.
fn expect(success: bool, count: Count) -> Result<()> {
    if !success && count.failed == 0 {
        anyhow::bail!("the runner failed although no test did");
    }
    Ok(())
}
