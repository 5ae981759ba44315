//! `stabbur documents export` and `import`: a container's items as JSON lines.
//!
//! Both note how far they are beside the file, after what was written is synced. Interrupted, the
//! same command goes on there; lines that go in again change nothing.
#![allow(clippy::print_stdout, reason = "these commands print their answer")]

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use documents::{ContainerSpec, Documents};
use indicatif::{ProgressBar, ProgressStyle};
use ledger::SystemClock;
use serde::{Deserialize, Serialize};

use crate::DataArgument;
use crate::node::Stores;

/// A line: the largest item, its system properties, and blanks.
const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Lines that are handed over at once.
const LINES_AT_ONCE: usize = 200;
const BYTES_AT_ONCE: usize = 4 * 1024 * 1024;

#[derive(Debug, Args)]
pub(crate) struct TransferArguments {
    #[command(flatten)]
    data: DataArgument,
    /// The account's name; `dev` has the one that stands here by default.
    #[arg(long, default_value = "localhost")]
    account: String,
    #[arg(long)]
    database: String,
    #[arg(long)]
    container: String,
    /// The file with a JSON document on each line.
    #[arg(long)]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArguments {
    #[command(flatten)]
    transfer: TransferArguments,
    /// Makes database and container if they are missing, with this partition key, like `/customer/id`;
    /// given several times, a hierarchical one.
    #[arg(long)]
    partition_key: Vec<String>,
}

/// How far a command is, in the file beside the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    /// The container's resource id: another one of its name isn't gone on with.
    container: String,
    /// Bytes of the file that are done.
    bytes: u64,
    items: u64,
    /// Export: the number of the next item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

impl Progress {
    fn path(file: &Path) -> PathBuf {
        let mut name = file.as_os_str().to_owned();
        name.push(".progress");
        PathBuf::from(name)
    }

    fn read(file: &Path, container: &str) -> Result<Option<Self>> {
        let path = Self::path(file);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("{}", path.display())),
        };
        let progress: Self = serde_json::from_str(&text).with_context(|| {
            format!(
                "{}: isn't a note of this command; remove it to begin anew",
                path.display()
            )
        })?;
        ensure!(
            progress.container == container,
            "{}: is about another container of that name; remove it to begin anew",
            path.display()
        );
        Ok(Some(progress))
    }

    /// Replaces the note whole, so that half of one is never read.
    fn note(&self, file: &Path) -> Result<()> {
        let path = Self::path(file);
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let new = PathBuf::from(name);
        let write = || -> Result<()> {
            let mut out = File::create(&new)?;
            out.write_all(serde_json::to_string(self)?.as_bytes())?;
            out.sync_all()?;
            std::fs::rename(&new, &path)?;
            Ok(())
        };
        write().with_context(|| format!("{}", path.display()))
    }

    fn done(file: &Path) -> Result<()> {
        match std::fs::remove_file(Self::path(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

async fn open(arguments: &TransferArguments) -> Result<(Stores, Arc<Documents>)> {
    let places = arguments.data.places()?;
    let stores = Stores::open_existing(&arguments.data.data, &places, Arc::new(SystemClock)).await?;
    let nobody = documents::Settings {
        accounts: Vec::new(),
        region: String::new(),
        development_certificate_pem: None,
        enforce_throughput: false,
    };
    let documents = Documents::new(
        stores.ledger.clone(),
        stores.clock.clone(),
        stores.random.clone(),
        nobody,
    );
    Ok((stores, documents))
}

fn bar() -> Result<ProgressBar> {
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {msg}")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    Ok(bar)
}

/// Writes a container's items into a file.
pub(crate) async fn export(arguments: TransferArguments) -> Result<()> {
    let (stores, documents) = open(&arguments).await?;
    let container = documents
        .find_container(&arguments.account, &arguments.database, &arguments.container)
        .await?;
    let path = &arguments.file;
    let known = Progress::read(path, container.rid())?;
    if known.is_none() && path.exists() {
        bail!(
            "{}: is there already; name another file, or remove it",
            path.display()
        );
    }
    let mut progress = known.unwrap_or_else(|| Progress {
        container: container.rid().to_owned(),
        bytes: 0,
        items: 0,
        next: Some(0),
    });
    let mut out = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("{}", path.display()))?;
    ensure!(
        out.metadata()?.len() >= progress.bytes,
        "{}: is shorter than {} notes; remove both to begin anew",
        path.display(),
        Progress::path(path).display()
    );
    // What was written behind the note isn't known to be whole.
    out.set_len(progress.bytes)?;
    out.seek(SeekFrom::End(0))?;
    progress.note(path)?;
    let bar = bar()?;
    let snapshot = stores.ledger.snapshot().await?;
    while let Some(from) = progress.next {
        let page = documents.export_page(snapshot.as_ref(), &container, from).await?;
        out.write_all(&page.lines)
            .and_then(|()| out.sync_data())
            .with_context(|| format!("{}", path.display()))?;
        progress.bytes += page.lines.len() as u64;
        progress.items += page.items;
        progress.next = page.next;
        progress.note(path)?;
        bar.set_message(format!("{} items, {} MiB", progress.items, progress.bytes >> 20));
    }
    out.sync_all()?;
    Progress::done(path)?;
    bar.finish_and_clear();
    println!("{} items exported to {}", progress.items, path.display());
    stores.ledger.close().await?;
    Ok(())
}

/// Creates or replaces an item for each line of a file.
pub(crate) async fn import(arguments: ImportArguments) -> Result<()> {
    let (stores, documents) = open(&arguments.transfer).await?;
    let ImportArguments {
        transfer,
        partition_key,
    } = arguments;
    let container = if partition_key.is_empty() {
        documents
            .find_container(&transfer.account, &transfer.database, &transfer.container)
            .await
            .context("to make it, give --partition-key")?
    } else {
        documents
            .ensure_container(&ContainerSpec {
                account: transfer.account.clone(),
                database: transfer.database.clone(),
                container: transfer.container.clone(),
                partition_key_paths: partition_key,
                default_ttl: None,
                indexing_policy: None,
            })
            .await?
    };
    let path = &transfer.file;
    let file = File::open(path).with_context(|| format!("{}", path.display()))?;
    let whole = file.metadata()?.len();
    let mut progress = Progress::read(path, container.rid())?.unwrap_or_else(|| Progress {
        container: container.rid().to_owned(),
        bytes: 0,
        items: 0,
        next: None,
    });
    ensure!(
        progress.bytes <= whole,
        "{}: is shorter than {} notes; it isn't the file that was begun with",
        path.display(),
        Progress::path(path).display()
    );
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(progress.bytes))?;
    let bar = bar()?;
    loop {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        while lines.len() < LINES_AT_ONCE && bytes < BYTES_AT_ONCE {
            let mut line = Vec::new();
            let read = reader
                .by_ref()
                .take(LINE_BYTES_MAX + 1)
                .read_until(b'\n', &mut line)
                .with_context(|| format!("{}", path.display()))?;
            if read == 0 {
                break;
            }
            ensure!(
                line.len() as u64 <= LINE_BYTES_MAX,
                "{}, byte {}: the line is longer than {LINE_BYTES_MAX} bytes",
                path.display(),
                progress.bytes + bytes as u64
            );
            bytes += read;
            lines.push((read, line));
        }
        if lines.is_empty() {
            break;
        }
        // Blank lines are places, not items.
        let is_blank = |line: &[u8]| line.iter().all(u8::is_ascii_whitespace);
        let places: Vec<usize> = (0..lines.len())
            .filter(|at| lines.get(*at).is_some_and(|(_, line)| !is_blank(line)))
            .collect();
        let items = places
            .iter()
            .filter_map(|at| lines.get(*at))
            .map(|(_, line)| line.trim_ascii().to_vec().into())
            .collect();
        let outcome = documents.import_lines(&container, items).await;
        // Up to the line that failed, or all of them.
        let done = match &outcome {
            Ok(()) => lines.len(),
            Err(error) => places.get(error.at).copied().unwrap_or(0),
        };
        progress.bytes += lines.iter().take(done).map(|(read, _)| *read as u64).sum::<u64>();
        progress.items += places.iter().filter(|at| **at < done).count() as u64;
        progress.note(path)?;
        if let Err(error) = outcome {
            bar.finish_and_clear();
            stores.ledger.close().await?;
            bail!(
                "{}, byte {}: {error} {} items are in; correct the line and run the same command again",
                path.display(),
                progress.bytes,
                progress.items
            );
        }
        bar.set_message(format!(
            "{} items, {} of {} MiB",
            progress.items,
            progress.bytes >> 20,
            whole >> 20
        ));
    }
    Progress::done(path)?;
    bar.finish_and_clear();
    println!("{} items imported from {}", progress.items, path.display());
    stores.ledger.close().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_back_and_belongs_to_its_container() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("items.jsonl");
        assert_eq!(Progress::read(&file, "rid").unwrap(), None);
        let progress = Progress {
            container: "rid".to_owned(),
            bytes: 7,
            items: 2,
            next: Some(9),
        };
        progress.note(&file).unwrap();
        assert_eq!(Progress::read(&file, "rid").unwrap(), Some(progress));
        assert!(
            Progress::read(&file, "other")
                .unwrap_err()
                .to_string()
                .contains("begin anew")
        );
        std::fs::write(Progress::path(&file), "{").unwrap();
        assert!(
            Progress::read(&file, "rid")
                .unwrap_err()
                .to_string()
                .contains("begin anew")
        );
        Progress::done(&file).unwrap();
        Progress::done(&file).unwrap();
        assert_eq!(Progress::read(&file, "rid").unwrap(), None);
    }
}
