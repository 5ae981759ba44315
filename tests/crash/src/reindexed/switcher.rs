//! Switches the container's indexing policy; after a kill it compares what queries answer with what
//! a scan does, as the kill left the indexes, while they are built on, and when they are complete.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use http::Method;
use ledger::clock::{Clock as _, SystemClock};
use ledger::random::{Random as _, SeededRandom};
use serde_json::{Value, json};

use super::policies::{ALL, Policy};
use super::{COLLECTION, make_container, queries, read_all, said};
use crate::book::{Fault, below};
use crate::client::{Answer, Client, Headers};
use crate::report::{Findings, Report};
use crate::round::Writer;

const PROGRESS: &str = "x-ms-documentdb-collection-index-transformation-progress";

/// How long the background work may take to complete the indexes: it begins after some seconds, and
/// sweeps what earlier indexes left first.
const BACKGROUND_SECONDS_MAX: u64 = 60;

/// Between two switches.
const PAUSE_MILLISECONDS_MAX: usize = 100;

/// What kills fall into.
const SWITCH: &str = "a switch of the indexing policy";
/// As [`SWITCH`].
pub(crate) const REBUILD: &str = "an unfinished index rebuild";

/// How the indexes become complete after a kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Completion {
    /// The same policy once more: that builds for some seconds.
    Asked,
    /// By the server itself.
    Background,
    /// Not at all: the next round finds them so.
    Left,
}

/// See the module's header.
#[derive(Debug)]
pub(crate) struct Switcher {
    acknowledged: &'static Policy,
    under_way: Option<&'static Policy>,
    checks: u64,
    hits: Vec<&'static str>,
    random: SeededRandom,
}

impl Switcher {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            acknowledged: &ALL[0],
            under_way: None,
            checks: 0,
            hits: Vec::new(),
            random: SeededRandom::new(seed),
        }
    }

    fn next_completion(&mut self, all: bool) -> Completion {
        self.checks += 1;
        match self.checks % 24 {
            _ if all => Completion::Asked,
            6 => Completion::Background,
            0 | 4 | 8 | 12 | 16 | 20 => Completion::Left,
            _ => Completion::Asked,
        }
    }

    /// The policy that the container has; it must be the acknowledged one or the one under way.
    fn settle(&mut self, client: &Client, findings: &mut Findings) -> Result<bool> {
        let (policy, complete) = look(client)?;
        let is = |candidate: &Policy| candidate.body() == policy;
        match self.under_way.take().filter(|open| is(open)) {
            Some(open) => self.acknowledged = open,
            None if is(self.acknowledged) => {}
            None => {
                let place = format!(
                    "the policy is {policy}, acknowledged was {}",
                    self.acknowledged.name
                );
                findings.push((place, Fault::Lost));
                self.acknowledged = ALL
                    .iter()
                    .find(|policy| is(policy))
                    .context("a policy of nobody")?;
            }
        }
        Ok(complete)
    }

    /// Compares answers with a scan.
    fn compare(&self, client: &Client, all: &[Value], when: &str, findings: &mut Findings) -> Result<()> {
        let random = SeededRandom::new(self.random.u64());
        for query in queries::under(self.acknowledged, &random) {
            if let Some(fault) = query.fault(&query.ask(client)?, all) {
                let place = format!(
                    "{when}, policy \"{}\": {}: {fault}",
                    self.acknowledged.name,
                    query.text()
                );
                findings.push((place, Fault::Differs));
            }
        }
        Ok(())
    }

    /// Has the indexes completed, and compares meanwhile.
    fn complete(
        &self,
        client: &Client,
        all: &[Value],
        completion: Completion,
        findings: &mut Findings,
    ) -> Result<()> {
        if completion == Completion::Asked {
            let done = AtomicBool::new(false);
            return std::thread::scope(|scope| {
                let asking = scope.spawn(|| {
                    let asked = self.ask_on(client);
                    done.store(true, Ordering::SeqCst);
                    asked
                });
                let mut compared = Ok(());
                while compared.is_ok() && !done.load(Ordering::SeqCst) {
                    compared = self.compare(client, all, "while indexes are built", findings);
                }
                asking
                    .join()
                    .map_err(|_| anyhow::anyhow!("the switcher panicked"))??;
                compared
            });
        }
        let begun = SystemClock.monotonic();
        while !look(client)?.1 {
            let late = SystemClock.monotonic().saturating_sub(begun);
            if late > Duration::from_secs(BACKGROUND_SECONDS_MAX) {
                let place =
                    format!("indexes aren't complete after {BACKGROUND_SECONDS_MAX} s of background work");
                findings.push((place, Fault::Lost));
                return Ok(());
            }
            self.compare(client, all, "while indexes are built in the background", findings)?;
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Sends the same policy until the indexes are complete.
    fn ask_on(&self, client: &Client) -> Result<()> {
        let begun = SystemClock.monotonic();
        loop {
            let answer = switch(client, self.acknowledged)?;
            ensure!(
                answer.status == 200,
                "the same policy once more: {}",
                said(&answer)
            );
            if look(client)?.1 {
                return Ok(());
            }
            if SystemClock.monotonic().saturating_sub(begun) > Duration::from_secs(BACKGROUND_SECONDS_MAX) {
                bail!("indexes aren't complete after {BACKGROUND_SECONDS_MAX} s of asking for them");
            }
        }
    }
}

impl Writer for Switcher {
    fn prepare(&mut self, client: &Client) -> Result<()> {
        make_container(client)
    }

    fn write(&mut self, client: &Client, random: &SeededRandom, report: &mut Report) -> Result<()> {
        // Others want to write, too, and each switch leaves an index to sweep.
        std::thread::sleep(Duration::from_millis(below(random, PAUSE_MILLISECONDS_MAX) as u64));
        // The same one builds on what is unfinished.
        let next = ALL.get(below(random, ALL.len())).context("no policy")?;
        self.under_way = Some(next);
        let answer = switch(client, next)?;
        self.under_way = None;
        match answer.status {
            200 => {
                self.acknowledged = next;
                report.acknowledge("indexing policies switched");
                Ok(())
            }
            449 => {
                report.asked_again();
                Ok(())
            }
            _ => bail!("switching to \"{}\": {}", next.name, said(&answer)),
        }
    }

    fn check(&mut self, client: &Client, all: bool) -> Result<Findings> {
        let mut findings = Findings::new();
        if self.under_way.is_some() {
            self.hits.push(SWITCH);
        }
        let complete = self.settle(client, &mut findings)?;
        if !complete {
            self.hits.push(REBUILD);
        }
        let scanned = read_all(client, &Method::GET, &Headers::new(), None)?;
        self.compare(client, &scanned, "after the kill", &mut findings)?;
        let completion = self.next_completion(all);
        if !complete && completion != Completion::Left {
            self.complete(client, &scanned, completion, &mut findings)?;
            self.compare(client, &scanned, "with complete indexes", &mut findings)?;
        }
        Ok(findings)
    }

    fn take_hits(&mut self) -> Vec<&'static str> {
        std::mem::take(&mut self.hits)
    }
}

fn switch(client: &Client, policy: &Policy) -> Result<Answer> {
    let key = json!({"paths": ["/pk"], "kind": "Hash", "version": 2});
    let body = json!({"id": "reindexed", "partitionKey": key, "indexingPolicy": policy.body()}).to_string();
    client.document(
        &Method::PUT,
        "colls",
        COLLECTION,
        COLLECTION,
        &Headers::new(),
        Some(body.as_bytes()),
    )
}

/// The container's policy, and whether its indexes are complete.
fn look(client: &Client) -> Result<(Value, bool)> {
    let answer = client.document(
        &Method::GET,
        "colls",
        COLLECTION,
        COLLECTION,
        &Headers::new(),
        None,
    )?;
    ensure!(answer.status == 200, "reading the container: {}", said(&answer));
    let progress = answer
        .headers
        .get(PROGRESS)
        .context("a container without progress")?;
    let container: Value = serde_json::from_slice(&answer.body)?;
    let policy = container.get("indexingPolicy").cloned().unwrap_or_default();
    Ok((policy, progress == "100"))
}
