//! The suites that run against the server's binary, the same ones on each combination of ledger and
//! content: clients, the life of an instance, kills, and a broken object store.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::combination::{Combination, Content, Surroundings, build_s3_server};
use crate::context::Context;
use crate::tally::{Count, Tally};
use crate::{run, setup, tally};

/// Kills of the crash test, in full and in short.
const KILLS: u32 = 24;
const KILLS_SHORT: u32 = 5;

/// Seconds of load on a broken object store, in full and in short.
const FAULT_SECONDS: u32 = 60;
const FAULT_SECONDS_SHORT: u32 = 20;

const PYTHON: &str = "Python clients";
const LIFE: &str = "life of an instance";
const JAVASCRIPT: &str = "JavaScript clients";
const JAVA: &str = "Java clients";
const GO: &str = "Go clients";
const RUST: &str = "Rust clients";
pub(crate) const KILL: &str = "kill -9 rounds";
const BROKEN_STORE: &str = "broken object store";

/// The life of an instance; a row of its own.
const LIFE_FILE: &str = "test_life.py";
/// Of the Python clients' files, those that the short form runs.
const FILES_SHORT: &[&str] = &[
    "test_blobs.py",
    "test_content_outage.py",
    "test_documents.py",
    "test_moving.py",
    "test_platform.py",
];

/// How much of the suites runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Full,
    Short,
}

/// Runs all suites on one combination; those behind one that breaks off run nevertheless.
pub(crate) fn run(context: &Context, tally: &mut Tally, combination: Combination, form: Form) -> Result<()> {
    let surroundings = Surroundings::start(context, combination)?;
    let on = On {
        context,
        surroundings: &surroundings,
        column: combination.to_string(),
        form,
    };
    let mut suites: Vec<Suite<'_>> = vec![
        (PYTHON, On::python),
        (LIFE, On::life),
        (JAVASCRIPT, On::javascript),
    ];
    if form == Form::Full {
        suites.extend([(JAVA, On::java as _), (GO, On::go as _), (RUST, On::rust as _)]);
    }
    suites.push((KILL, On::kills));
    if combination.content == Content::S3 {
        suites.push((BROKEN_STORE, On::broken_store));
    }
    for (name, suite) in suites {
        context.say(&format!("{combination}: {name}"));
        if let Err(error) = suite(&on, tally) {
            tally.broke_off(&format!("{combination}: {name}"), &error);
        }
    }
    Ok(())
}

type Suite<'a> = (&'static str, fn(&On<'a>, &mut Tally) -> Result<()>);

/// A combination that runs.
struct On<'a> {
    context: &'a Context,
    surroundings: &'a Surroundings,
    column: String,
    form: Form,
}

impl On<'_> {
    fn python(&self, tally: &mut Tally) -> Result<()> {
        let folder = self.context.root.join("tests/clients/python");
        let arguments = match self.form {
            Form::Full => vec![
                format!("--ignore={}", folder.join(LIFE_FILE).display()),
                folder.display().to_string(),
            ],
            Form::Short => FILES_SHORT
                .iter()
                .map(|file| folder.join(file).display().to_string())
                .collect(),
        };
        self.pytest(tally, PYTHON, &arguments)
    }

    fn life(&self, tally: &mut Tally) -> Result<()> {
        let file = self.context.root.join("tests/clients/python").join(LIFE_FILE);
        self.pytest(tally, LIFE, &[file.display().to_string()])
    }

    fn pytest(&self, tally: &mut Tally, suite: &str, arguments: &[String]) -> Result<()> {
        let mut pytest = Command::new(self.context.venv("python"));
        pytest
            .args(["-m", "pytest", "-q", "-rfEs", "-p", "no:cacheprovider"])
            .args(arguments)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        self.suite(tally, suite, &mut pytest, tally::pytest)
    }

    fn javascript(&self, tally: &mut Tally) -> Result<()> {
        let mut node = setup::with_node(self.context, self.context.venv("node"));
        node.current_dir(self.context.root.join("tests/clients/js"))
            .args(["--test", "--test-reporter=spec", "--test-concurrency=1"]);
        self.suite(tally, JAVASCRIPT, &mut node, tally::node)
    }

    fn java(&self, tally: &mut Tally) -> Result<()> {
        let mut maven = setup::java::maven(self.context);
        maven.args(["--offline", "test"]);
        self.suite(tally, JAVA, &mut maven, tally::surefire)
    }

    fn go(&self, tally: &mut Tally) -> Result<()> {
        let mut go = setup::go::go(self.context);
        // A result that Go remembers would be one of another binary of ours.
        go.args(["test", "-v", "-count=1", "-timeout=10m", "./..."]);
        self.suite(tally, GO, &mut go, tally::go_test)
    }

    /// A package outside of the workspace; what it builds is kept beside what the workspace builds.
    fn rust(&self, tally: &mut Tally) -> Result<()> {
        let mut cargo = self.context.cargo();
        cargo
            .current_dir(self.context.root.join("tests/clients/rust"))
            .env("CARGO_TARGET_DIR", self.context.target.join("clients"))
            .args(["test", "--quiet", "--locked"]);
        self.suite(tally, RUST, &mut cargo, tally::cargo_test)
    }

    /// Runs a suite's runner and counts what it says.
    fn suite(
        &self,
        tally: &mut Tally,
        suite: &str,
        runner: &mut Command,
        read: fn(&[String]) -> Option<Count>,
    ) -> Result<()> {
        runner.env("STABBUR_BINARY", self.context.binary());
        self.surroundings.tell(runner);
        let finished = run::aloud(runner)?;
        let count = read(&finished.lines).with_context(|| format!("no test of the {suite} ran"))?;
        tally.add_on(&self.column, suite, count);
        if !finished.success {
            tally.add_failures(&format!("{}, {suite}", self.column), &finished.lines);
        }
        expect(finished.success, count)
    }

    fn kills(&self, tally: &mut Tally) -> Result<()> {
        let kills = match self.form {
            Form::Full => KILLS,
            Form::Short => KILLS_SHORT,
        };
        let mut arguments = vec!["--kills".to_owned(), kills.to_string()];
        arguments.extend(self.surroundings.ledger_arguments("kills")?);
        arguments.extend(self.surroundings.content_arguments("kills")?);
        let outcome = program(self.context, "crash", &arguments)?;
        tally.add_on(&self.column, KILL, outcome.count);
        expect(outcome.success, outcome.count)
    }

    /// An S3 server of the run's own, whose answers are broken.
    fn broken_store(&self, tally: &mut Tally) -> Result<()> {
        let seconds = match self.form {
            Form::Full => FAULT_SECONDS,
            Form::Short => FAULT_SECONDS_SHORT,
        };
        let server = build_s3_server(self.context)?.to_string_lossy().into_owned();
        let mut arguments = vec!["--broken-store-seconds".to_owned(), seconds.to_string()];
        arguments.extend(["--s3-server".to_owned(), server]);
        arguments.extend(self.surroundings.ledger_arguments("broken_store")?);
        let outcome = program(self.context, "crash", &arguments)?;
        tally.add_on(&self.column, BROKEN_STORE, outcome.count);
        expect(outcome.success, outcome.count)
    }
}

/// What came of a run of a test program.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) success: bool,
    pub(crate) count: Count,
}

/// A test program of ours that leaves a report: each kill or promise is one test.
pub(crate) fn program(context: &Context, package: &str, arguments: &[String]) -> Result<Outcome> {
    let report = context.local().join(format!("{package}-report.json"));
    let _ = std::fs::remove_file(&report);
    let mut cargo = context.cargo();
    cargo.args(["run", "--quiet", "--package", package]);
    if context.builds_the_server() {
        cargo.args(context.profile_arguments());
    }
    let finished = run::aloud(
        cargo
            .args(["--", "--binary"])
            .arg(context.binary())
            .arg("--report")
            .arg(&report)
            .args(arguments),
    )?;
    let text = std::fs::read_to_string(&report).with_context(|| format!("{package} left no report"))?;
    let report: Value = serde_json::from_str(&text).with_context(|| format!("the report of {package}"))?;
    let number = |name: &str| report.get(name).and_then(Value::as_u64).unwrap_or(0);
    let count = Count {
        passed: number("rounds_passed"),
        failed: number("rounds_failed"),
        skipped: 0,
    };
    Ok(Outcome {
        success: finished.success,
        count,
    })
}

/// A runner that failed without a failed test broke off.
pub(crate) fn expect(success: bool, count: Count) -> Result<()> {
    if !success && count.failed == 0 {
        anyhow::bail!("the runner failed although no test did");
    }
    Ok(())
}
