//! `stabbur ledger`: looks into a data folder that no process has open.
#![allow(clippy::print_stdout, reason = "these commands print their answer")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use blobs::Blobs;
use documents::Documents;
use indicatif::{ProgressBar, ProgressStyle};
use ledger::{SystemClock, VerifyReport};
use platform_storage::{Platform, Settings};
use registry::ContentReferences;

use crate::node::Stores;
use crate::places::Places;
use crate::platform_engine;

/// Log entries that are read at once.
const LOG_PAGE_ENTRIES: usize = 500;
const LOG_PAGE_BYTES: usize = 1024 * 1024;

/// Reads everything and says what is wrong.
pub(crate) async fn verify(data: &Path, places: &Places) -> Result<()> {
    let stores = Stores::open_existing(data, places, Arc::new(SystemClock)).await?;
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {msg}")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let mut report = stores
        .ledger
        .verify(&|records| bar.set_message(format!("{records} records")))
        .await?;
    bar.set_message("the services' records");
    let snapshot = stores.ledger.snapshot().await?;
    // The services' own records are counted apart: they were read before, as the ledger's.
    let mut services = VerifyReport::default();
    let (clock, random) = (stores.clock.clone(), stores.random.clone());
    let nobody = blobs::Settings::default();
    let blobs = Blobs::new(
        stores.ledger.clone(),
        stores.content.clone(),
        clock.clone(),
        random.clone(),
        nobody,
    );
    blobs.verify(snapshot.as_ref(), &mut services).await?;
    let nobody = documents::Settings {
        accounts: Vec::new(),
        region: String::new(),
        development_certificate_pem: None,
        enforce_throughput: false,
        script_worker: None,
    };
    let documents = Documents::new(stores.ledger.clone(), clock.clone(), random.clone(), nobody);
    documents.verify(snapshot.as_ref(), &mut services).await?;
    ContentReferences::new(stores.ledger.clone())
        .verify(snapshot.as_ref(), &stores.content, &mut services)
        .await?;
    let foundation = platform_engine::foundation(&stores, documents, blobs);
    if let Some(settings) = Settings::stored(snapshot.as_ref()).await? {
        let platform = Platform::new(foundation, settings);
        platform.verify(&mut services).await?;
    }
    bar.finish_and_clear();
    report.faults.append(&mut services.faults);
    for fault in &report.faults {
        println!("fault: {fault}");
    }
    println!(
        "{} records, {} log entries, {} service records: {} faults",
        report.records,
        report.log_entries,
        services.records,
        report.faults.len()
    );
    stores.ledger.close().await?;
    if report.faults.is_empty() {
        return Ok(());
    }
    bail!("the ledger is damaged; restore from a backup, or copy the folder away for rescue")
}

/// Prints counters and sizes.
pub(crate) async fn stats(data: &Path, places: &Places) -> Result<()> {
    let stores = Stores::open_existing(data, places, Arc::new(SystemClock)).await?;
    let stats = stores.ledger.stats().await?;
    let content = stores.content.stats().await?;
    println!("engine                   {}", stats.engine);
    println!("newest commit            {}", stats.head);
    println!("bytes on disk            {}", stats.disk_bytes);
    for (name, value) in &stats.details {
        println!("{name:<24} {value}");
    }
    println!("contents                 {}", content.contents);
    println!("bytes of contents        {}", content.disk_bytes);
    stores.ledger.close().await?;
    Ok(())
}

/// Prints the change log, a JSON line per record.
pub(crate) async fn log(data: &Path, places: &Places, after: u64) -> Result<()> {
    let stores = Stores::open_existing(data, places, Arc::new(SystemClock)).await?;
    let mut position = after;
    loop {
        let page = stores
            .ledger
            .log_page(position, LOG_PAGE_ENTRIES, LOG_PAGE_BYTES)
            .await?;
        for entry in &page.entries {
            for record in &entry.records {
                let payload: serde_json::Value = serde_json::from_slice(&record.payload)
                    .unwrap_or_else(|_| serde_json::Value::String(record.payload.escape_ascii().to_string()));
                let line = serde_json::json!({
                    "sequence": entry.sequence,
                    "time": entry.time.to_string(),
                    "service": format!("{:?}", record.keyspace).to_lowercase(),
                    "record": payload,
                });
                println!("{line}");
            }
            position = entry.sequence;
        }
        if position >= page.head || page.entries.is_empty() {
            break;
        }
    }
    stores.ledger.close().await?;
    Ok(())
}
