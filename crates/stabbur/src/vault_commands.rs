//! `stabbur vault` and `stabbur audit`: over a ledger that no process has open.
#![allow(clippy::print_stdout, reason = "these commands print their answer")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use ledger::SystemClock;
use vault::audit;
use vault::seal::{RootKey, Seal, rekey as wrap_anew};

use crate::node::Stores;
use crate::places::Places;
use crate::vault_config::RootConfig;

/// Which root keys there are: the old ones, and the one to come.
#[derive(Debug, Args)]
pub(crate) struct RekeyArguments {
    /// A file with the new root key.
    #[arg(long, value_name = "FILE", required_unless_present = "passphrase_file")]
    key_file: Option<PathBuf>,
    /// A file with a passphrase, of which the new root key is made.
    #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
    passphrase_file: Option<PathBuf>,
    /// A file with a root key that wraps now; given again, several.
    #[arg(long, value_name = "FILE")]
    old_key_file: Vec<PathBuf>,
    /// A file with the passphrase of the root key that wraps now.
    #[arg(long, value_name = "FILE")]
    old_passphrase_file: Option<PathBuf>,
}

/// Wraps the vaults' data keys by another root key, all of them in one commit. What is sealed stays as it is.
pub(crate) async fn rekey(data: &Path, places: &Places, arguments: RekeyArguments) -> Result<()> {
    let stores = Stores::open_existing(data, places, Arc::new(SystemClock)).await?;
    let new = RootConfig {
        root_key_files: arguments.key_file.into_iter().collect(),
        root_passphrase_file: arguments.passphrase_file,
    };
    let old = RootConfig {
        root_key_files: arguments.old_key_file,
        root_passphrase_file: arguments.old_passphrase_file,
    };
    let mut roots = new.read(&stores).await.context("the new root key")?;
    roots.extend(old.read(&stores).await.context("the old root key")?);
    let count = wrap_anew(stores.ledger.as_ref(), stores.random.as_ref(), &roots).await?;
    let name = roots.first().map(RootKey::name).unwrap_or_default();
    stores.ledger.close().await?;
    println!("{count} data keys were wrapped anew; all are wrapped by root key {name} now");
    Ok(())
}

/// Prints audit rows, a JSON line each.
pub(crate) async fn read(data: &Path, places: &Places, vault: &str, after: u64) -> Result<()> {
    let stores = Stores::open_existing(data, places, Arc::new(SystemClock)).await?;
    let vault = vault.to_ascii_lowercase();
    audit::read(stores.ledger.as_ref(), &vault, after, |sequence, row| {
        let row = serde_json::from_slice::<serde_json::Value>(row).unwrap_or_default();
        println!("{}", serde_json::json!({"sequence": sequence, "row": row}));
    })
    .await?;
    stores.ledger.close().await?;
    Ok(())
}

fn read_head(text: &str) -> Result<(u64, &str)> {
    let (sequence, hash) = text.split_once(':').context("a head is SEQUENCE:HASH")?;
    Ok((
        sequence.parse().context("a head begins with a row's number")?,
        hash,
    ))
}

/// Computes the seals over a vault's audit again.
/// `head`: one that was kept elsewhere, `SEQUENCE:HASH`.
pub(crate) async fn verify(
    data: &Path,
    places: &Places,
    vault: &str,
    root: &RootConfig,
    head: Option<&str>,
) -> Result<()> {
    let known = head.map(read_head).transpose()?;
    let stores = Stores::open_existing(data, places, Arc::new(SystemClock)).await?;
    let roots = root.read(&stores).await.context("the root key")?;
    let seal = Seal::open_as_is(stores.ledger.clone(), roots).await?;
    let vault = vault.to_ascii_lowercase();
    if let Some(cause) = seal.cause_of(&vault) {
        bail!("the audit's seals are computed with a key that the root key opens: {cause}");
    }
    let report = audit::verify(stores.ledger.as_ref(), &seal, &vault, known).await?;
    stores.ledger.close().await?;
    for fault in &report.faults {
        println!("fault: {fault}");
    }
    println!(
        "{} rows under {} seals are whole, {} rows are newer than the last seal, {} were dropped: {} faults",
        report.sealed_rows,
        report.seals,
        report.newer_rows,
        report.dropped_rows,
        report.faults.len()
    );
    println!("head {}:{}", report.head.0, report.head.1);
    ensure!(
        report.faults.is_empty(),
        "rows of the audit were changed or taken away behind the server's back"
    );
    Ok(())
}
