//! `stabbur documents export` and `import`: a container's items as JSON lines.
//!
//! Both note how far they are beside the file, after what was written is synced. Interrupted, the
//! same command goes on there; lines that go in again change nothing. A note says which command it
//! is of and what the done part of the file holds: with another one nobody goes on.
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
use sha2::{Digest as _, Sha256};

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

/// Which command a note is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Export,
    Import,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Export => "export",
            Self::Import => "import",
        })
    }
}

/// How far a command is, in the file beside the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    kind: Kind,
    /// The container's resource id: another one of its name isn't gone on with.
    container: String,
    /// Bytes of the file that are done.
    bytes: u64,
    /// SHA-256 of them, hexadecimal. What lies behind them may change: a line that was corrected.
    sha256: String,
    items: u64,
    /// Export: the number of the next item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

fn hexadecimal(hash: &Sha256) -> String {
    let digest = hash.clone().finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Progress {
    fn begin(kind: Kind, container: &str) -> (Self, Sha256) {
        let hash = Sha256::new();
        let progress = Self {
            kind,
            container: container.to_owned(),
            bytes: 0,
            sha256: hexadecimal(&hash),
            items: 0,
            next: (kind == Kind::Export).then_some(0),
        };
        (progress, hash)
    }

    fn path(file: &Path) -> PathBuf {
        let mut name = file.as_os_str().to_owned();
        name.push(".progress");
        PathBuf::from(name)
    }

    /// The note beside a file, if there is one, and the hash of what is done.
    ///
    /// # Errors
    /// If it is of another command, container or file.
    fn read(file: &Path, kind: Kind, container: &str) -> Result<Option<(Self, Sha256)>> {
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
            progress.kind == kind,
            "{}: an {} with this file was begun and isn't done; run it again to its end, name another file, or remove the note",
            path.display(),
            progress.kind
        );
        ensure!(
            progress.container == container,
            "{}: is about another container of that name; remove it to begin anew",
            path.display()
        );
        let hash = progress.hash_of_done(file)?;
        Ok(Some((progress, hash)))
    }

    /// Reads the done part of the file again.
    fn hash_of_done(&self, file: &Path) -> Result<Sha256> {
        let mut hash = Sha256::new();
        let mut left = self.bytes;
        if left > 0 {
            let mut reader = BufReader::new(File::open(file).with_context(|| format!("{}", file.display()))?);
            while left > 0 {
                let found = reader.fill_buf().with_context(|| format!("{}", file.display()))?;
                let done = found
                    .get(..usize::try_from(left)?.min(found.len()))
                    .unwrap_or(found);
                if done.is_empty() {
                    break;
                }
                hash.update(done);
                let read = done.len();
                left -= read as u64;
                reader.consume(read);
            }
        }
        ensure!(
            left == 0 && hexadecimal(&hash) == self.sha256,
            "{}: its first {} bytes aren't those that {} notes, so it isn't the file that was begun with; name another file, or remove the note to begin anew",
            file.display(),
            self.bytes,
            Self::path(file).display()
        );
        Ok(hash)
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
    let documents = engine(&stores);
    Ok((stores, documents))
}

/// The engine over these stores, for nobody's requests.
pub(crate) fn engine(stores: &Stores) -> Arc<Documents> {
    let nobody = documents::Settings {
        accounts: Vec::new(),
        region: String::new(),
        development_certificate_pem: None,
        enforce_throughput: false,
        script_worker: None,
    };
    Documents::new(
        stores.ledger.clone(),
        stores.clock.clone(),
        stores.random.clone(),
        nobody,
    )
}

pub(crate) fn bar() -> Result<ProgressBar> {
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
    let known = Progress::read(path, Kind::Export, container.rid())?;
    if known.is_none() && path.exists() {
        bail!(
            "{}: is there already; name another file, or remove it",
            path.display()
        );
    }
    let (mut progress, mut hash) = known.unwrap_or_else(|| Progress::begin(Kind::Export, container.rid()));
    let mut out = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("{}", path.display()))?;
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
        hash.update(&page.lines);
        progress.bytes += page.lines.len() as u64;
        progress.sha256 = hexadecimal(&hash);
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
    let (mut progress, mut hash) = Progress::read(path, Kind::Import, container.rid())?
        .unwrap_or_else(|| Progress::begin(Kind::Import, container.rid()));
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
            lines.push(line);
        }
        if lines.is_empty() {
            break;
        }
        // Blank lines are places, not items.
        let is_blank = |line: &[u8]| line.iter().all(u8::is_ascii_whitespace);
        let places: Vec<usize> = (0..lines.len())
            .filter(|at| lines.get(*at).is_some_and(|line| !is_blank(line)))
            .collect();
        let items = places
            .iter()
            .filter_map(|at| lines.get(*at))
            .map(|line| line.trim_ascii().to_vec().into())
            .collect();
        let outcome = documents.import_lines(&container, items).await;
        // Up to the line that failed, or all of them.
        let done = match &outcome {
            Ok(()) => lines.len(),
            Err(error) => places.get(error.at).copied().unwrap_or(0),
        };
        for line in lines.iter().take(done) {
            hash.update(line);
            progress.bytes += line.len() as u64;
        }
        progress.sha256 = hexadecimal(&hash);
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
    use crate::places::Places;

    fn note_of(kind: Kind, bytes: &[u8], items: u64, next: Option<u64>, rid: &str) -> Progress {
        let (mut progress, mut hash) = Progress::begin(kind, rid);
        hash.update(bytes);
        progress.bytes = bytes.len() as u64;
        progress.sha256 = hexadecimal(&hash);
        progress.items = items;
        progress.next = next;
        progress
    }

    fn refusal(file: &Path, kind: Kind, rid: &str) -> String {
        Progress::read(file, kind, rid).unwrap_err().to_string()
    }

    #[test]
    fn a_note_belongs_to_its_command_its_container_and_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("items.jsonl");
        assert!(Progress::read(&file, Kind::Import, "rid").unwrap().is_none());
        let done = b"{\"id\":1}\n".repeat(2_000);
        std::fs::write(&file, [done.as_slice(), b"{\"id"].concat()).unwrap();
        let progress = note_of(Kind::Import, &done, 2_000, None, "rid");
        progress.note(&file).unwrap();
        let (read, hash) = Progress::read(&file, Kind::Import, "rid").unwrap().unwrap();
        assert_eq!(read, progress);
        assert_eq!(hexadecimal(&hash), progress.sha256);
        assert!(refusal(&file, Kind::Import, "other").contains("begin anew"));
        assert!(refusal(&file, Kind::Export, "rid").contains("an import with this file"));
        // Behind what is done it may change, within it not; nor may it end there.
        std::fs::write(&file, &done).unwrap();
        assert!(Progress::read(&file, Kind::Import, "rid").unwrap().is_some());
        let mut other = done.clone();
        other[9_000] = b'x';
        for content in [other.as_slice(), &done[..done.len() - 1], b""] {
            std::fs::write(&file, content).unwrap();
            assert!(refusal(&file, Kind::Import, "rid").contains("isn't the file that was begun with"));
        }
        std::fs::write(Progress::path(&file), "{").unwrap();
        assert!(refusal(&file, Kind::Import, "rid").contains("begin anew"));
        Progress::done(&file).unwrap();
        Progress::done(&file).unwrap();
        assert!(Progress::read(&file, Kind::Import, "rid").unwrap().is_none());
    }

    fn arguments(data: &Path, file: &Path) -> TransferArguments {
        TransferArguments {
            data: DataArgument {
                data: data.to_owned(),
                ledger_postgres: None,
                content_config: None,
            },
            account: "localhost".to_owned(),
            database: "d".to_owned(),
            container: "c".to_owned(),
            file: file.to_owned(),
        }
    }

    async fn imported(data: &Path, file: &Path) -> Result<()> {
        let transfer = arguments(data, file);
        let partition_key = vec!["/pk".to_owned()];
        import(ImportArguments {
            transfer,
            partition_key,
        })
        .await
    }

    #[tokio::test]
    async fn a_file_that_the_other_command_began_with_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let places = Places::of(None, None).unwrap();
        let stores = Stores::open(&data, &places, Arc::new(SystemClock)).await.unwrap();
        stores.ledger.close().await.unwrap();
        drop(stores);
        let file = folder.path().join("items.jsonl");
        let lines = "{\"id\":\"1\",\"pk\":\"a\"}\n{\"pk\":\"no id\"}\n";
        std::fs::write(&file, lines).unwrap();
        let stopped = imported(&data, &file).await.unwrap_err().to_string();
        assert!(stopped.contains("1 items are in"), "{stopped}");
        let refused = export(arguments(&data, &file)).await.unwrap_err().to_string();
        assert!(refused.contains("an import with this file"), "{refused}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), lines);
        std::fs::write(&file, lines.replace("{\"pk\"", "{\"id\":\"2\",\"pk\"")).unwrap();
        imported(&data, &file).await.unwrap();

        let whole = folder.path().join("whole.jsonl");
        export(arguments(&data, &whole)).await.unwrap();
        let exported = std::fs::read(&whole).unwrap();
        let end = exported.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        assert!(end < exported.len());
        let rid = {
            let (stores, documents) = open(&arguments(&data, &whole)).await.unwrap();
            let container = documents.find_container("localhost", "d", "c").await.unwrap();
            stores.ledger.close().await.unwrap();
            container.rid().to_owned()
        };
        // As an export that was interrupted behind the last item, in the midst of a line.
        let begun = folder.path().join("begun.jsonl");
        std::fs::write(&begun, [&exported, b"{\"half".as_slice()].concat()).unwrap();
        let note = note_of(Kind::Export, &exported, 2, Some(u64::MAX >> 8), &rid);
        note.note(&begun).unwrap();
        let refused = imported(&data, &begun).await.unwrap_err().to_string();
        assert!(refused.contains("an export with this file"), "{refused}");
        export(arguments(&data, &begun)).await.unwrap();
        assert_eq!(std::fs::read(&begun).unwrap(), exported);
        // A note beside a file that somebody else wrote meanwhile.
        note.note(&begun).unwrap();
        std::fs::write(&begun, "mine").unwrap();
        let refused = export(arguments(&data, &begun)).await.unwrap_err().to_string();
        assert!(
            refused.contains("isn't the file that was begun with"),
            "{refused}"
        );
        assert_eq!(std::fs::read_to_string(&begun).unwrap(), "mine");
    }
}
