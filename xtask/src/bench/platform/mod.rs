//! Platform Storage with many instances: who is measured, and what the report says of it.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bytes are numbers without sign or fraction that come through JSON as any number does"
)]

mod surroundings;

use anyhow::{Context as _, Result, ensure};

use crate::bench::sample::{Fact, Load, Sample};
use crate::context::Context;
use crate::output::{mebibytes, table};
use crate::server::Server;

/// Instances that are there if nobody says otherwise, and those of the larger form.
pub(crate) const INSTANCES: u64 = 100_000;
pub(crate) const INSTANCES_MILLION: u64 = 1_000_000;

/// Instances of each party: a person's or an organisation's of several years.
const INSTANCES_PER_PARTY: u64 = 200;

/// Parties at least, so that each virtual user is one.
const PARTIES_MIN: u64 = 64;

/// The aims: requests a second and their slowest hundredth in lives, the slowest hundredth of lists.
const LIFE_PER_SECOND_MIN: f64 = 1_000.0;
const LIFE_P99_MILLISECONDS_MAX: f64 = 250.0;
const LIST_P99_MILLISECONDS_MAX: f64 = 100.0;

/// What the load generator calls its samples.
const LOAD: &str = "load: ";
const LIST: &str = "list: ";
const ALL_CALLS: &str = "all calls";

/// Measures it; the report.
pub(crate) fn measure(context: &Context, load: &Load, instances: u64) -> Result<String> {
    let parties = (instances / INSTANCES_PER_PARTY).max(PARTIES_MIN);
    ensure!(
        instances >= parties,
        "each of {parties} parties has an instance at least"
    );
    context.say(&format!("{instances} instances of {parties} parties"));
    let register = surroundings::Register::write(context, parties)?;
    let mut server = Server::start_with(context, "bench-platform", &register.arguments())?;
    let data = server.folder().join("data");
    surroundings::write_policies(&data)?;
    let texts = [
        server.endpoint("platform")?.to_owned(),
        server.endpoint("admin")?.to_owned(),
        data.to_string_lossy().into_owned(),
        instances.to_string(),
        parties.to_string(),
    ];
    let [url, admin, folder, instances_text, parties_text] = &texts;
    let target = [
        "platform",
        url,
        "--admin",
        admin,
        "--folder",
        folder,
        "--instances",
        instances_text,
        "--parties",
        parties_text,
    ];
    let (samples, facts) = load.run_with_facts(&[server.pid()], &target)?;
    server.stop()?;
    section(instances, parties, &samples, &facts)
}

fn value(facts: &[Fact], name: &str) -> Result<f64> {
    let found = facts.iter().find(|fact| fact.name == name);
    Ok(found
        .with_context(|| format!("the load generator says nothing of {name}"))?
        .ours)
}

/// The samples whose names begin like this, without that beginning.
fn called<'s>(samples: &'s [Sample], beginning: &'s str) -> impl Iterator<Item = (&'s str, &'s Sample)> {
    samples
        .iter()
        .filter_map(move |sample| Some((sample.operation.strip_prefix(beginning)?, sample)))
}

fn section(instances: u64, parties: u64, samples: &[Sample], facts: &[Fact]) -> Result<String> {
    let of = |name: &str| value(facts, name);
    let (_, made) = called(samples, LOAD).next().context("nothing was loaded")?;
    let users = of("life_users")?;
    let mut text = format!(
        "## Platform Storage with {instances} instances\n\n\
         {instances} instances of {parties} parties, in four apps of two orgs, half of them being filled in, a fifth ended, a\n\
         fifth confirmed by their owner, one in four with a data element: made through the API over 64 connections, {:.0}\n\
         instances or {:.0} calls a second, {:.0} bytes on disk for each. The server (embedded ledger, content in a folder,\n\
         everything synced before it is acknowledged) checks each token and asks a policy about each call; it shares the\n\
         machine with the load generator. There is no peer in the same run: the original needs Azure. Memory at most {}.\n\
         Aims: {LIFE_PER_SECOND_MIN:.0} requests a second in lives with a p99 below {LIFE_P99_MILLISECONDS_MAX:.0} ms; lists with a \
         p99 below {LIST_P99_MILLISECONDS_MAX:.0} ms.\n\n",
        made.per_second,
        made.per_second * of("load_calls")? / instances as f64,
        of("disk_bytes")? / instances as f64,
        mebibytes(of("peak_bytes")? as u64),
    );
    text.push_str(&lives(users, samples, facts)?);
    text.push_str(&lists(samples));
    Ok(text)
}

/// Lives of instances.
fn lives(users: f64, samples: &[Sample], facts: &[Fact]) -> Result<String> {
    let of = |name: &str| value(facts, name);
    let (_, all) = called(samples, ALL_CALLS).next().context("nobody lived")?;
    let (requests, lived) = (of("life_requests")?, of("life_lives")?);
    let within = all.per_second >= LIFE_PER_SECOND_MIN && all.p99_milliseconds < LIFE_P99_MILLISECONDS_MAX;
    let mut text = format!(
        "### Lives\n\n{users:.0} virtual users, each on a connection of its own and without pauses, lived {lived:.0} lives of {:.0} calls in\n\
         {:.1} s: **{:.0} requests a second**, p99 {:.1} ms, {} the aim. {:.3} syncs of the ledger and {:.2} commits a\n\
         request, {:.0} conflicts; {:.1} s of processor time on the server ({:.3} ms a request), {:.1} s in the load generator.\n\n",
        requests / lived.max(1.0),
        of("life_seconds")?,
        all.per_second,
        all.p99_milliseconds,
        if within { "within" } else { "**not within**" },
        of("life_syncs")? / requests.max(1.0),
        of("life_commits")? / requests.max(1.0),
        of("life_conflicts")?,
        of("life_cpu_seconds")?,
        all.cpu_milliseconds_per_operation,
        of("life_generator_cpu_seconds")?,
    );
    let mut rows = Vec::new();
    let is_life = |sample: &&Sample| {
        ![LOAD, LIST]
            .iter()
            .any(|other| sample.operation.starts_with(other))
    };
    for sample in samples.iter().filter(is_life) {
        rows.push(vec![
            sample.operation.clone(),
            format!("{:.1}", sample.per_second),
            format!("{:.1}", sample.p50_milliseconds),
            format!("{:.1}", sample.p99_milliseconds),
            format!("{:.1}", sample.max_milliseconds),
        ]);
    }
    text.push_str(&table(
        &["call", "per second", "p50 ms", "p99 ms", "max ms"],
        &rows,
    ));
    Ok(text)
}

/// Lists and searches.
fn lists(samples: &[Sample]) -> String {
    let mut rows = Vec::new();
    let mut slow = Vec::new();
    for (name, sample) in called(samples, LIST) {
        rows.push(vec![
            name.to_owned(),
            format!("{:.0}", sample.per_second),
            format!("{:.1}", sample.p50_milliseconds),
            format!("{:.1}", sample.p99_milliseconds),
            format!("{:.1}", sample.max_milliseconds),
            format!("{:.2}", sample.cpu_milliseconds_per_operation),
        ]);
        if sample.p99_milliseconds >= LIST_P99_MILLISECONDS_MAX {
            slow.push(format!("{name} ({:.0} ms)", sample.p99_milliseconds));
        }
    }
    let headings = ["list", "per second", "p50 ms", "p99 ms", "max ms", "CPU ms each"];
    let verdict = if slow.is_empty() {
        "All of them are within the aim.".to_owned()
    } else {
        format!("**Slower than the aim**: {}.", slow.join("; "))
    };
    format!(
        "\n### Lists\n\n4 at once. Pages of 100, of a party's 50, with their data elements; a message box is answered as a whole.\n\
         \"org and app\" and those below are of the app that one in twenty instances is of.\n\n{}\n{verdict}\n",
        table(&headings, &rows)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(operation: &str, per_second: f64, p99_milliseconds: f64) -> Sample {
        Sample {
            operation: operation.to_owned(),
            per_second,
            rates: Vec::new(),
            p50_milliseconds: 1.0,
            p99_milliseconds,
            max_milliseconds: 300.0,
            cpu_milliseconds_per_operation: 0.5,
            generator_milliseconds_per_operation: 0.1,
            memory_bytes: 1,
        }
    }

    fn facts() -> Vec<Fact> {
        [
            ("load_calls", 155_000.0),
            ("disk_bytes", 2e8),
            ("peak_bytes", 3e8),
            ("life_users", 32.0),
            ("life_lives", 100.0),
            ("life_requests", 2_900.0),
            ("life_seconds", 2.0),
            ("life_cpu_seconds", 1.5),
            ("life_generator_cpu_seconds", 0.3),
            ("life_commits", 2_000.0),
            ("life_syncs", 290.0),
            ("life_conflicts", 0.0),
        ]
        .map(|(name, ours)| Fact {
            name: name.to_owned(),
            ours,
            theirs: 0.0,
        })
        .to_vec()
    }

    #[test]
    fn the_report_says_what_misses_the_aims() {
        let samples = [
            sample("load: an instance", 2_000.0, 1.0),
            sample("list: party, newest first: first page", 500.0, 20.0),
            sample("list: org, oldest first: first page", 5.0, 120.0),
            sample("all calls", 1_450.0, 60.0),
            sample("GET instance", 50.0, 12.0),
        ];
        let text = section(100_000, 500, &samples, &facts()).unwrap();
        assert!(
            text.contains("2000\ninstances or 3100 calls a second, 2000 bytes"),
            "{text}"
        );
        assert!(
            text.contains("lives of 29 calls") && text.contains("p99 60.0 ms, within the aim"),
            "{text}"
        );
        assert!(text.contains("0.100 syncs of the ledger"), "{text}");
        assert!(
            text.contains("**Slower than the aim**: org, oldest first: first page (120 ms)."),
            "{text}"
        );
        assert!(!text.contains("| list: "), "{text}");
        let slow = [samples[0].clone(), sample("all calls", 900.0, 60.0)];
        let text = section(100_000, 500, &slow, &facts()).unwrap();
        assert!(
            text.contains("**not within** the aim") && text.contains("All of them are within"),
            "{text}"
        );
        assert!(section(100_000, 500, &samples, &facts()[1..]).is_err());
    }
}
