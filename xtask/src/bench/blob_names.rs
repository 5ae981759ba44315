//! Pages of 5,000 blobs out of ten million, beside pages of ten thousand in the same account.

use anyhow::{Context as _, Result};

use crate::bench::sample::{Load, Sample};
use crate::context::Context;
use crate::output::table;
use crate::server::Server;

/// Names of the large container.
pub(crate) const NAMES: u64 = 10_000_000;

/// How much longer a page out of many may take.
const AIM: f64 = 1.5;

/// What is put before anything is listed: the names of each container.
const PUTS: usize = 2;

/// Measures it; the report.
pub(crate) fn measure(context: &Context, load: &Load, names: u64) -> Result<String> {
    context.say(&format!("{names} names of blobs"));
    let mut server = Server::start(context, "bench-blob-names")?;
    let account = server.endpoint("blobs")?.trim_end_matches("/devstoreaccount1");
    let url = format!("{account}/devstoreaccount1");
    let folder = server.folder().join("data").to_string_lossy().into_owned();
    let number = names.to_string();
    let target = ["blob-names", &url, &folder, "--names", &number];
    let (samples, facts) = load.run_with_facts(&[server.pid()], &target)?;
    server.stop()?;
    let disk = facts.iter().find(|fact| fact.name == "disk_bytes");
    let disk = disk.context("no size on disk")?.ours;
    section(names, disk, &samples)
}

fn section(names: u64, disk: f64, samples: &[Sample]) -> Result<String> {
    let (puts, listings) = samples.split_at_checked(PUTS).context("nothing was listed")?;
    let put = puts.last().context("nothing was put")?;
    let mut rows = Vec::new();
    let mut aims = String::new();
    for (pair, concurrency) in listings.chunks_exact(2).zip([1, 8].into_iter().cycle()) {
        let [few, many] = pair else { continue };
        let times = few.per_second / many.per_second.max(f64::MIN_POSITIVE);
        for sample in pair {
            rows.push(vec![
                format!("{}, {concurrency} at once", sample.operation),
                format!("{:.1}", sample.per_second),
                format!("{:.1}", sample.p50_milliseconds),
                format!("{:.1}", sample.p99_milliseconds),
                format!("{:.2}", sample.cpu_milliseconds_per_operation),
            ]);
        }
        let kept = if times <= AIM { "within" } else { "**above**" };
        aims.push_str(&format!(
            "- {}, {concurrency} at once: {times:.2} times as long as the one above it, {kept} the aim of {AIM}\n",
            many.operation
        ));
    }
    Ok(format!(
        "## Names of blobs\n\n{names} blobs of one byte in one container, put in no order in folders of a thousand, {:.0} per second with\n\
         32 requests under way, each acknowledged after its sync; {:.0} bytes on disk for each. Ten thousand in another\n\
         container of the same account.\n\n{}\n{aims}",
        put.per_second,
        disk / names as f64,
        table(
            &["listing", "per second", "p50 ms", "p99 ms", "CPU ms each"],
            &rows
        )
    ))
}
