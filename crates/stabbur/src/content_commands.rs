//! `stabbur content`: looks at all content of a data folder, or of the stores that nodes share.
#![allow(clippy::print_stdout, reason = "these commands print their answer")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use blobs::Blobs;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use ledger::SystemClock;

use crate::node::Stores;
use crate::places::Places;

/// Reads all content and says which blobs have a damaged one.
pub(crate) async fn scrub(data: &Path, places: &Places) -> Result<()> {
    let stores = Stores::open_existing(data, places, Arc::new(SystemClock)).await?;
    let length = stores.content.stats().await?.contents;
    let style = "{bar:40} {pos}/{len} contents, {msg}, {elapsed}, left {eta}";
    let bar = ProgressBar::new(length).with_style(ProgressStyle::with_template(style)?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let nobody = blobs::Settings::default();
    let blobs = Blobs::new(
        stores.ledger.clone(),
        stores.content.clone(),
        stores.clock.clone(),
        stores.random.clone(),
        nobody,
    );
    let report = blobs
        .scrub(&|contents, bytes| {
            bar.set_position(contents);
            bar.set_message(HumanBytes(bytes).to_string());
        })
        .await?;
    bar.finish_and_clear();
    for damage in &report.damaged {
        println!("damaged: {}: {}", damage.content, damage.cause);
        for owner in &damage.owners {
            println!("    {owner}");
        }
    }
    println!(
        "{} contents, {} bytes: {} damaged",
        report.contents, report.bytes, report.damaged_count
    );
    stores.ledger.close().await?;
    if let Some(cause) = report.broke_off {
        bail!("not all was read: {cause}; run it again")
    }
    if report.damaged_count == 0 {
        return Ok(());
    }
    bail!("content is damaged; bring these blobs back from a backup, or upload them again")
}
