//! A million documents against PostgreSQL: who is measured, and what the report says of it.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bytes are numbers without sign or fraction that come through JSON as any number does"
)]

use anyhow::{Context as _, Result};

use crate::bench::peers::{self, Postgres};
use crate::bench::report;
use crate::bench::sample::{Fact, Load, Sample};
use crate::context::Context;
use crate::output::{mebibytes, table};
use crate::server::Server;

/// How many are loaded if nobody says otherwise.
pub(crate) const DOCUMENTS: u64 = 1_000_000;

/// Operations of the load that each create so many.
const TOGETHER: f64 = 100.0;

/// The aims: Stabbur's memory at the end of the load, and how many times as long as PostgreSQL an
/// operation may take.
const LOAD_MEMORY_BYTES_MAX: u64 = 400 * 1024 * 1024;
const TIMES_SLOWER_MAX: f64 = 1.5;
/// What a query may add to the memory that the server has anyway: its own bound, the page, and what the
/// ledger reads ahead.
const QUERY_MEMORY_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// Measures it; the report.
pub(crate) fn measure(context: &Context, load: &Load, documents: u64) -> Result<String> {
    peers::install_postgres(context)?;
    context.say(&format!("{documents} documents: Stabbur and PostgreSQL in turns"));
    let postgres = Postgres::start(context)?;
    let mut server = Server::start(context, "bench-million")?;
    let texts = [
        server.endpoint("documents")?.to_owned(),
        postgres.parameters(),
        postgres.pid().to_string(),
        server.folder().join("data").to_string_lossy().into_owned(),
        postgres.data().to_string_lossy().into_owned(),
        documents.to_string(),
    ];
    let [url, parameters, peer, folder, peer_folder, number] = &texts;
    let target = [
        "documents-million",
        url,
        parameters,
        "--peer-pid",
        peer,
        "--folder",
        folder,
        "--peer-folder",
        peer_folder,
        "--documents",
        number,
    ];
    let (samples, facts) = load.run_with_facts(&[server.pid()], &target)?;
    server.stop()?;
    section(&postgres.version()?, documents, &samples, &facts)
}

fn section(version: &str, documents: u64, samples: &[Sample], facts: &[Fact]) -> Result<String> {
    let ours: Vec<Sample> = samples.iter().step_by(2).cloned().collect();
    let theirs: Vec<Sample> = samples.iter().skip(1).step_by(2).cloned().collect();
    let mut text = format!(
        "## A million documents\n\n\
         {documents} documents of 1 KiB with 15 properties in one container, 100 of each partition key. Both sides\n\
         and how they take turns as above; all paths indexed. {version}\n\
         has a primary key of partition key and id, a GIN index (`jsonb_path_ops`) over the whole document and a\n\
         B-tree on each property that is compared or ordered by. Half of the documents are loaded one by one,\n\
         half in bulk: a request of 100 creates of as many partition keys each, on PostgreSQL a statement of 100\n\
         rows; 32 requests under way, synced before they are acknowledged. Aims: nothing takes more than {TIMES_SLOWER_MAX}\n\
         times as long as on PostgreSQL, the load ends below {} of memory.\n\n",
        mebibytes(LOAD_MEMORY_BYTES_MAX)
    );
    text.push_str(&load(documents, &ours, &theirs, facts)?);
    text.push('\n');
    text.push_str(&report::compare(&ours, &[("PostgreSQL", &theirs)]));
    text.push_str(&slow(&ours, &theirs));
    text.push_str(&walk(facts)?);
    Ok(text)
}

fn find<'f>(facts: &'f [Fact], name: &str) -> Result<&'f Fact> {
    let mut facts = facts.iter();
    facts
        .find(|fact| fact.name == name)
        .with_context(|| format!("the load generator says nothing of {name}"))
}

/// The load as a whole, and what it leaves.
fn load(documents: u64, ours: &[Sample], theirs: &[Sample], facts: &[Fact]) -> Result<String> {
    let mut rows = Vec::new();
    let mut add = |what: &str, ours: f64, theirs: f64, show: &dyn Fn(f64) -> String| {
        let ratio = format!("{:.2}", ours / theirs.max(f64::MIN_POSITIVE));
        rows.push(vec![what.to_owned(), show(ours), show(theirs), ratio]);
    };
    let count = documents as f64;
    let whole = |number: f64| format!("{number:.0}");
    let bytes = |number: f64| mebibytes(number as u64);
    let seconds = find(facts, "load_seconds")?;
    add("load, s", seconds.ours, seconds.theirs, &|number| {
        format!("{number:.1}")
    });
    add(
        "documents per second",
        count / seconds.ours,
        count / seconds.theirs,
        &whole,
    );
    if let ([one, together, ..], [their_one, their_together, ..]) = (ours, theirs) {
        add(
            "one by one, per second",
            one.per_second,
            their_one.per_second,
            &whole,
        );
        let (ours, theirs) = (together.per_second, their_together.per_second);
        add("in bulk, per second", ours * TOGETHER, theirs * TOGETHER, &whole);
    }
    let memory = find(facts, "load_memory_bytes")?;
    add("memory at the load's end", memory.ours, memory.theirs, &bytes);
    let disk = find(facts, "disk_bytes")?;
    add("on disk", disk.ours, disk.theirs, &bytes);
    add(
        "on disk, bytes per document",
        disk.ours / count,
        disk.theirs / count,
        &whole,
    );
    let log = find(facts, "write_ahead_bytes")?.theirs;
    let theirs = (disk.theirs - log) / count;
    add(
        "the same without PostgreSQL's write-ahead log",
        disk.ours / count,
        theirs,
        &whole,
    );
    let mut text = table(&["", "Stabbur", "PostgreSQL", "times"], &rows);
    let peak = find(facts, "load_peak_bytes")?.ours as u64;
    let kept = (memory.ours as u64) < LOAD_MEMORY_BYTES_MAX;
    text.push_str(&format!(
        "\nStabbur's memory during the load: at most {}; at its end {} the aim.\n",
        mebibytes(peak),
        if kept { "within" } else { "**above**" }
    ));
    Ok(text)
}

/// What is further from PostgreSQL than the aim.
fn slow(ours: &[Sample], theirs: &[Sample]) -> String {
    let slower: Vec<String> = ours
        .iter()
        .zip(theirs)
        .map(|(our, their)| (their.per_second / our.per_second.max(f64::MIN_POSITIVE), our))
        .filter(|(times, _)| *times > TIMES_SLOWER_MAX)
        .map(|(times, our)| format!("{} ({times:.2} times as long)", our.operation))
        .collect();
    if slower.is_empty() {
        return format!("\nNothing takes more than {TIMES_SLOWER_MAX} times as long as on PostgreSQL.\n");
    }
    format!("\n**Slower than the aim**: {}.\n", slower.join("; "))
}

/// Memory of queries.
fn walk(facts: &[Fact]) -> Result<String> {
    let value = |name: &str| Ok::<f64, anyhow::Error>(find(facts, name)?.ours);
    let (before, peak) = (value("walk_memory_before_bytes")?, value("walk_peak_bytes")?);
    let added = (peak - before).max(0.0) as u64;
    let other = |name: &str| {
        let [status, seconds, peak] =
            ["status", "seconds", "peak_bytes"].map(|what| value(&format!("{name}_{what}")));
        Ok::<String, anyhow::Error>(format!(
            "the first page is answered {:.0} after {:.2} s, memory {} at most",
            status?,
            seconds?,
            mebibytes(peak? as u64)
        ))
    };
    Ok(format!(
        "\n`SELECT * FROM c ORDER BY c.number` for the first time, when it isn't known yet which documents lack the\n\
         property and come first: rows after {:.1} s, in page {} of those that the client asks for. Read to its end\n\
         thereafter: {} rows in {} pages of at most 1,000, {:.1} s; the server's memory came to {} at most,\n\
         {} more than before ({} the bound of {}).\n\
         `ORDER BY c.city, c.state, c.created`, whose order a composite index gives: {}.\n\
         `ORDER BY c.place`, a computed property, whose order no index gives, so that all documents are read and\n\
         sorted: {}.\n\
         ORDER BY of a property that the indexing policy excludes is refused, as the service does.\n",
        value("first_seconds")?,
        value("first_pages")?,
        value("walk_rows")?,
        value("walk_pages")?,
        value("walk_seconds")?,
        mebibytes(peak as u64),
        mebibytes(added),
        if added <= QUERY_MEMORY_BYTES_MAX {
            "within"
        } else {
            "**above**"
        },
        mebibytes(QUERY_MEMORY_BYTES_MAX),
        other("composite")?,
        other("unindexed")?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(operation: &str, per_second: f64) -> Sample {
        Sample {
            operation: operation.to_owned(),
            per_second,
            rates: Vec::new(),
            p50_milliseconds: 1.0,
            p99_milliseconds: 2.0,
            max_milliseconds: 3.0,
            cpu_milliseconds_per_operation: 0.1,
            generator_milliseconds_per_operation: 0.1,
            memory_bytes: 1,
        }
    }

    fn fact(name: &str, ours: f64, theirs: f64) -> Fact {
        Fact {
            name: name.to_owned(),
            ours,
            theirs,
        }
    }

    #[test]
    fn the_report_says_what_misses_the_aims() {
        let mebibyte = 1024.0 * 1024.0;
        let mut facts = vec![
            fact("load_seconds", 10.0, 20.0),
            fact("load_memory_bytes", 401.0 * mebibyte, 100.0 * mebibyte),
            fact("load_peak_bytes", 500.0 * mebibyte, 0.0),
            fact("disk_bytes", 4_000_000.0, 3_000_000.0),
            fact("write_ahead_bytes", 0.0, 1_000_000.0),
            fact("walk_rows", 2_000.0, 0.0),
            fact("walk_pages", 2.0, 0.0),
            fact("walk_seconds", 1.0, 0.0),
            fact("walk_memory_before_bytes", 100.0 * mebibyte, 0.0),
            fact("walk_peak_bytes", 240.0 * mebibyte, 0.0),
            fact("first_seconds", 3.0, 0.0),
            fact("first_pages", 1.0, 0.0),
            fact("composite_status", 200.0, 0.0),
            fact("composite_seconds", 0.02, 0.0),
            fact("composite_peak_bytes", 150.0 * mebibyte, 0.0),
            fact("unindexed_status", 200.0, 0.0),
            fact("unindexed_seconds", 1.0, 0.0),
            fact("unindexed_peak_bytes", 240.0 * mebibyte, 0.0),
        ];
        let samples = [
            sample("load: create", 100.0),
            sample("load: create", 100.0),
            sample("load: 100 creates together", 2.0),
            sample("load: 100 creates together", 3.1),
        ];
        let text = section("PostgreSQL 15", 2_000, &samples, &facts).unwrap();
        assert!(text.contains("| on disk, bytes per document"), "{text}");
        assert!(text.contains("200 |        310 |"), "{text}");
        assert!(text.contains("at its end **above** the aim"), "{text}");
        assert!(
            text.contains("**Slower than the aim**: load: 100 creates together (1.55 times as long)."),
            "{text}"
        );
        assert!(
            text.contains("140.0 MiB more than before (**above** the bound"),
            "{text}"
        );
        assert!(
            text.contains(
                "composite index gives: the first page is answered 200 after 0.02 s, memory 150.0 MiB"
            ),
            "{text}"
        );
        facts.pop();
        assert!(section("PostgreSQL 15", 2_000, &samples, &facts).is_err());
    }
}
