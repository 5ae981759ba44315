//! docs/benchmarks.md: what was measured on which machine, section by section.

use anyhow::{Context as _, Result};

use crate::bench::sample::{Fact, Sample};
use crate::context::Context;
use crate::output::{mebibytes, table};

/// Of a table of samples.
const HEADINGS: [&str; 8] = [
    "operation",
    "per second",
    "p50 ms",
    "p99 ms",
    "max ms",
    "CPU ms each",
    "generator's",
    "memory",
];

const HEAD: &str = "# Benchmarks

Measured by `cargo xtask bench`, which runs Stabbur and its peer one after the other or in turns on the same
machine with the same load, and writes this file. Ratios are what to read; absolute numbers are this
machine's. The load generator runs beside the server and takes part of the processor from both.
";

/// Puts a section into the file, in place of an older one of the same name.
pub(crate) fn write(context: &Context, name: &str, section: &str) -> Result<()> {
    let path = context.root.join("docs/benchmarks.md");
    let old = std::fs::read_to_string(&path).unwrap_or_else(|_| HEAD.to_owned());
    let section = format!("{section}\n{}", machine()?);
    std::fs::create_dir_all(context.root.join("docs")).context("can't create docs")?;
    std::fs::write(&path, replace(&old, name, &section))
        .with_context(|| format!("can't write {}", path.display()))?;
    println!("\n{section}");
    Ok(())
}

fn replace(old: &str, name: &str, section: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: begin -->"), format!("<!-- {name}: end -->"));
    let block = format!("{begin}\n{}\n{end}", section.trim_end());
    match (old.split_once(&begin), old.split_once(&end)) {
        (Some((before, _)), Some((_, after))) => format!("{before}{block}{after}"),
        _ => format!("{}\n\n{block}\n", old.trim_end()),
    }
}

/// The ledger's own report, as it printed it.
pub(crate) fn ledger(lines: &[String]) -> String {
    format!(
        "## Ledger\n\nCommits to the embedded ledger, each acknowledged after its sync, against the rate of\n\
         `fdatasync` of the same disk in the same run.\n\n```\n{}\n```\n",
        lines.join("\n").trim_end()
    )
}

/// The same of the ledger on PostgreSQL.
pub(crate) fn ledger_postgres(version: &str, lines: &[String]) -> String {
    format!(
        "## Ledger on PostgreSQL\n\nCommits to the ledger in a database, against bare inserts into a table of the same database in\n\
         the same run: as many connections as there are concurrent commits, each with a prepared statement\n\
         and a transaction per row; once over connections of the bench's own, once by PostgreSQL's `pgbench`.\n\
         They take turns. A commit also checks that its key is free and appends to the log.\n\
         {version}, unix socket, `synchronous_commit` and `fsync` on.\n\n```\n{}\n```\n",
        lines.join("\n").trim_end()
    )
}

/// Several nodes on one database: a sample of each operation per number of nodes, from 1.
pub(crate) fn nodes(version: &str, by_nodes: &[Vec<Sample>]) -> String {
    let mut rows = Vec::new();
    for operation in 0..by_nodes.iter().map(Vec::len).min().unwrap_or(0) {
        for (samples, nodes) in by_nodes.iter().zip(1..) {
            let Some(sample) = samples.get(operation) else {
                continue;
            };
            let plural = if nodes == 1 { "" } else { "s" };
            rows.push(row(format!("{}, {nodes} node{plural}", sample.operation), sample));
        }
    }
    format!(
        "## Several nodes\n\nDocuments as above on 1, 2 and 3 nodes over one database and one object store, 32 requests under\n\
         way in all, spread evenly over the nodes, no balancer. {version}.\n\
         **All nodes, the database and the load generator share this machine's processors**, so this shows\n\
         what more nodes cost, not what they gain on machines of their own. Processor time and memory are\n\
         those of all nodes and the database together.\n\n{}",
        table(&HEADINGS, &rows)
    )
}

/// Blobs against Azurite.
pub(crate) fn blobs(version: &str, ours: &[Sample], theirs: &[Sample]) -> String {
    format!(
        "## Blobs\n\n4 KiB, 32 requests under way, kept-alive connections, Shared Key. Stabbur syncs before it\n\
         acknowledges; Azurite {version} (its default store) does not.\n\n{}",
        compare(ours, &[("Azurite", theirs)])
    )
}

/// Documents against PostgreSQL; `samples` has ours and theirs of each operation in turn.
pub(crate) fn documents(version: &str, samples: &[Sample]) -> String {
    let ours: Vec<Sample> = samples.iter().step_by(2).cloned().collect();
    let theirs: Vec<Sample> = samples.iter().skip(1).step_by(2).cloned().collect();
    format!(
        "## Documents\n\n1 KiB with a dozen paths, 32 requests under way. Stabbur by the Cosmos protocol over HTTP, each\n\
         request signed, all paths indexed; {version} by its own protocol with prepared\n\
         statements on a unix socket, a jsonb column with a GIN index. Both sync before they acknowledge\n\
         (`synchronous_commit` and `fsync` on). Both run at once and are measured in turns of short\n\
         slices; who isn't measured is stopped, so that background work counts where it belongs.\n\n{}",
        compare(&ours, &[("PostgreSQL", &theirs)])
    )
}

/// Documents beside an open emulator; `samples` has Stabbur's, PostgreSQL's and the emulator's of each
/// operation in turn.
pub(crate) fn documents_beside_emulator(version: &str, samples: &[Sample], facts: &[Fact]) -> Result<String> {
    let of = |side: usize| -> Vec<Sample> { samples.iter().skip(side).step_by(3).cloned().collect() };
    let (ours, postgres, emulator) = (of(0), of(1), of(2));
    let documents = facts.iter().find(|fact| fact.name == "documents");
    let documents = documents
        .context("the load generator says nothing of documents")?
        .ours;
    Ok(format!(
        "\n### Beside an open emulator\n\nThe same, with the emulator `@vercel/cosmosdb-server` {version} as a third, by the same protocol over\n\
         kept-alive HTTP. **It keeps all in memory and syncs nothing**, checks no signature, and has no index: a query\n\
         reads every document. So there are only {documents:.0}, which fit each memory, and what it says of a store\n\
         that lasts is little. PostgreSQL has a B-tree on `number` as well, which ranges and orders are of.\n\n{}",
        compare(&ours, &[("PostgreSQL", &postgres), ("the emulator", &emulator)])
    ))
}

/// A row for each side and operation, then how they compare.
pub(super) fn compare(ours: &[Sample], peers: &[(&str, &[Sample])]) -> String {
    let mut rows = Vec::new();
    let mut ratios = String::new();
    for (at, our) in ours.iter().enumerate() {
        rows.push(row(format!("{}, Stabbur", our.operation), our));
        let mut against = Vec::new();
        for (peer, theirs) in peers {
            let Some(their) = theirs.get(at) else { continue };
            rows.push(row(format!("{}, {peer}", their.operation), their));
            let ratio = our.per_second / their.per_second.max(f64::MIN_POSITIVE);
            against.push(format!(
                "**{ratio:.2} times** {peer}{}",
                spread(&our.rates, &their.rates)
            ));
        }
        ratios.push_str(&format!("- {}: {}\n", our.operation, against.join(", ")));
    }
    format!("{}\n{ratios}", table(&HEADINGS, &rows))
}

/// How far the ratios of single slices lie apart, if there are several.
fn spread(ours: &[f64], theirs: &[f64]) -> String {
    if ours.len().min(theirs.len()) < 2 {
        return String::new();
    }
    let mut ratios: Vec<f64> = ours
        .iter()
        .zip(theirs)
        .map(|(our, their)| our / their.max(f64::MIN_POSITIVE))
        .collect();
    ratios.sort_by(f64::total_cmp);
    match (ratios.first(), ratios.last()) {
        (Some(least), Some(most)) => format!(" ({least:.2} to {most:.2} in {} slices)", ratios.len()),
        _ => String::new(),
    }
}

fn row(what: String, sample: &Sample) -> Vec<String> {
    vec![
        what,
        format!("{:.0}", sample.per_second),
        format!("{:.1}", sample.p50_milliseconds),
        format!("{:.1}", sample.p99_milliseconds),
        format!("{:.1}", sample.max_milliseconds),
        format!("{:.3}", sample.cpu_milliseconds_per_operation),
        format!("{:.3}", sample.generator_milliseconds_per_operation),
        mebibytes(sample.memory_bytes),
    ]
}

fn machine() -> Result<String> {
    let cores = std::thread::available_parallelism().context("how many cores?")?;
    let memory = std::fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let kibibytes: u64 = memory
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .context("how much memory?")?;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok(format!(
        "Machine: {cores} cores, {} GiB of memory, Linux {}.\n",
        kibibytes / (1024 * 1024),
        kernel.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_show_how_far_ratios_lie_apart() {
        assert_eq!(
            spread(&[2.0, 1.0, 3.0], &[1.0, 2.0, 2.0]),
            " (0.50 to 2.00 in 3 slices)"
        );
        assert_eq!(spread(&[2.0], &[1.0]), "");
    }

    fn sample(operation: &str, per_second: f64) -> Sample {
        Sample {
            operation: operation.to_owned(),
            per_second,
            rates: vec![per_second, 2.0 * per_second],
            p50_milliseconds: 1.0,
            p99_milliseconds: 2.0,
            max_milliseconds: 3.0,
            cpu_milliseconds_per_operation: 0.1,
            generator_milliseconds_per_operation: 0.1,
            memory_bytes: 1,
        }
    }

    #[test]
    fn each_operation_has_a_row_for_each_side() {
        let samples = [
            sample("read", 30.0),
            sample("read", 20.0),
            sample("read", 10.0),
            sample("patch", 8.0),
            sample("patch", 4.0),
            sample("patch", 1.0),
        ];
        let facts = [Fact {
            name: "documents".to_owned(),
            ours: 400.0,
            theirs: 400.0,
        }];
        let text = documents_beside_emulator("1.0.1", &samples, &facts).unwrap();
        assert!(text.contains("`@vercel/cosmosdb-server` 1.0.1") && text.contains("there are only 400,"));
        let rows: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("| read") || line.starts_with("| patch"))
            .map(|line| line.split('|').nth(1).unwrap_or_default().trim())
            .collect();
        assert_eq!(
            rows,
            [
                "read, Stabbur",
                "read, PostgreSQL",
                "read, the emulator",
                "patch, Stabbur",
                "patch, PostgreSQL",
                "patch, the emulator"
            ]
        );
        let patch = "- patch: **2.00 times** PostgreSQL (2.00 to 2.00 in 2 slices), \
                     **8.00 times** the emulator (8.00 to 8.00 in 2 slices)\n";
        assert!(text.ends_with(patch), "{text}");
        assert!(documents_beside_emulator("1.0.1", &samples, &[]).is_err());
    }

    #[test]
    fn a_section_is_added_then_replaced_and_others_stay() {
        let one = replace("# Head\n", "a", "first");
        let two = replace(&one, "b", "other");
        let three = replace(&two, "a", "second\n");
        assert_eq!(
            three,
            "# Head\n\n<!-- a: begin -->\nsecond\n<!-- a: end -->\n\n<!-- b: begin -->\nother\n<!-- b: end -->\n"
        );
    }
}
