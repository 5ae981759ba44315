//! `stabbur ledger copy`: moves a ledger to another place, and to another engine if that one has
//! another.
//!
//! Invariant: no password is printed, whatever goes wrong: places are named by `LedgerEnd` alone.
#![allow(clippy::print_stdout, reason = "this command prints its answer")]

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use ledger::copy::{CopySource, CopyTarget, Standing, Step, copy, lease_in_force};
use ledger::{Clock as _, Ledger as _, SystemClock};
use ledger_embedded::{EmbeddedCopy, EmbeddedLedger};
use ledger_postgres::{PostgresCopy, PostgresSource};

use crate::places::{LedgerConfig, LedgerPlace};

#[derive(Debug, Args)]
pub(crate) struct CopyArguments {
    /// The ledger that is copied: a data folder, a PostgreSQL connection string, or a file (TOML) with
    /// what stands under `[ledger]` in a configuration.
    #[arg(long, value_name = "LEDGER")]
    from: String,
    /// Where it is copied to, named in the same way: a folder or schema without a ledger.
    #[arg(long, value_name = "LEDGER")]
    to: String,
}

/// A ledger as the command line names it.
#[derive(Debug, Clone)]
enum LedgerEnd {
    /// In `{data}/ledger`.
    Folder(PathBuf),
    Postgres(ledger_postgres::Options),
}

impl fmt::Display for LedgerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(data) => write!(f, "{}", folder(data).display()),
            Self::Postgres(options) => write!(f, "{options}"),
        }
    }
}

fn folder(data: &Path) -> PathBuf {
    data.join("ledger")
}

impl LedgerEnd {
    /// What exists is a folder or a file; else a connection string is told by its form, and what is
    /// left names a folder to be made.
    fn of(text: &str) -> Result<Self> {
        let path = Path::new(text);
        if path.is_file() {
            return Self::of_file(path);
        }
        let is_url = text.starts_with("postgres://") || text.starts_with("postgresql://");
        let is_pairs = text.contains('=') && !text.starts_with(['/', '.']);
        if !path.exists() && (is_url || is_pairs) {
            return Ok(Self::Postgres(ledger_postgres::Options::new(text)));
        }
        if path.join("FORMAT").exists() {
            bail!("{text}: is a ledger's own folder; give the data folder around it");
        }
        Ok(Self::Folder(path.to_owned()))
    }

    fn of_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
        // The library's whole message repeats the line, in which there may be a password.
        let config: LedgerConfig = toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(1, |before| before.lines().count().max(1));
            anyhow::anyhow!(
                "{}: near line {line}: {}; it holds what stands under [ledger] in a configuration",
                path.display(),
                error.message()
            )
        })?;
        match config.place() {
            LedgerPlace::Postgres(options) => Ok(Self::Postgres(options)),
            LedgerPlace::Embedded => bail!("{}: names no database", path.display()),
        }
    }

    async fn open_source(&self) -> Result<Source> {
        match self {
            Self::Folder(data) => {
                let path = folder(data);
                if !path.join("FORMAT").is_file() && !path.join("COPYING").is_file() {
                    bail!("holds no ledger; give the folder that --data or data_dir names");
                }
                let options = ledger_embedded::Options::default();
                let ledger = EmbeddedLedger::open(&path, Arc::new(SystemClock), options)?;
                Ok(Source::Folder(Box::new(ledger)))
            }
            Self::Postgres(options) => {
                let source = PostgresSource::open(options).await?;
                let in_use = lease_in_force(&source, SystemClock.now()).await?;
                if let Some(end) = in_use {
                    bail!(
                        "a node uses it (its lease lasts until {end}); stop every node, and after one that was \
                         killed wait until then"
                    );
                }
                Ok(Source::Postgres(Box::new(source)))
            }
        }
    }

    async fn open_target(&self, standing: &Standing) -> Result<Box<dyn CopyTarget>> {
        Ok(match self {
            Self::Folder(data) => Box::new(EmbeddedCopy::open(
                &folder(data),
                standing,
                &ledger_embedded::Options::default(),
            )?),
            Self::Postgres(options) => Box::new(PostgresCopy::open(options, standing).await?),
        })
    }

    /// Whether both are one folder. One schema twice is found otherwise: it isn't empty.
    fn is_same_folder(&self, other: &Self) -> bool {
        let (Self::Folder(one), Self::Folder(other)) = (self, other) else {
            return false;
        };
        match (folder(one).canonicalize(), folder(other).canonicalize()) {
            (Ok(one), Ok(other)) => one == other,
            _ => false,
        }
    }
}

/// An open source.
enum Source {
    Folder(Box<EmbeddedLedger>),
    Postgres(Box<PostgresSource>),
}

impl Source {
    fn door(&self) -> &dyn CopySource {
        match self {
            Self::Folder(ledger) => ledger.as_ref(),
            Self::Postgres(source) => source.as_ref(),
        }
    }
}

/// Copies, compares, prints the sums.
pub(crate) async fn run(arguments: &CopyArguments) -> Result<()> {
    let (from, to) = (
        LedgerEnd::of(&arguments.from).context("--from")?,
        LedgerEnd::of(&arguments.to).context("--to")?,
    );
    if from.is_same_folder(&to) {
        bail!("--from and --to name the same folder");
    }
    let source = from
        .open_source()
        .await
        .with_context(|| format!("--from {from}"))?;
    let standing = source.door().standing();
    if standing.head.sequence == 0 {
        bail!("--from {from}: the ledger is empty, there is nothing to copy; is it the right place?");
    }
    let target = to
        .open_target(&standing)
        .await
        .with_context(|| format!("--to {to}"))?;
    let bar = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {msg}")?);
    bar.enable_steady_tick(Duration::from_millis(200));
    let outcome = copy(source.door(), target, &|step| {
        bar.set_message(match step {
            Step::Records(copied) => format!("{copied} records copied"),
            Step::Log { done, of } => format!("{done} of {of} log entries copied"),
            Step::ReadingRecords(read) => format!("{read} records read back"),
            Step::ReadingLog(read) => format!("{read} log entries read back"),
        });
    })
    .await;
    bar.finish_and_clear();
    if let Source::Folder(ledger) = &source {
        ledger.close().await?;
    }
    let report = outcome.with_context(|| format!("copying {from} to {to}"))?;
    let hex = |bytes: &[u8; 32]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    println!("from                     {from}");
    println!("to                       {to}");
    println!("newest commit            {}", report.standing.head.sequence);
    println!("log trimmed through      {}", report.standing.trimmed.sequence);
    println!(
        "records                  {} ({} copied in this run)",
        report.records, report.records_copied
    );
    println!("  BLAKE3, both sides     {}", hex(&report.records_sum));
    println!(
        "log entries              {} ({} copied in this run)",
        report.log_entries, report.log_entries_copied
    );
    println!("  BLAKE3, both sides     {}", hex(&report.log_sum));
    println!("The content is where it was: docs/operate/moving.md says how it moves.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_by_their_form() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |name: &str| temporary.path().join(name).display().to_string();
        let is_folder = |text: &str| matches!(LedgerEnd::of(text).unwrap(), LedgerEnd::Folder(_));
        for text in ["data", "./a=b", &at("x=y"), &at("")] {
            assert!(is_folder(text), "{text}");
        }
        for text in ["host=/tmp user=u", "postgres://u@h/d", "postgresql://h"] {
            assert!(!is_folder(text), "{text}");
        }
        std::fs::write(
            at("ledger.toml"),
            "postgres = \"host=/run dbname=d\"\nschema = \"two\"\n",
        )
        .unwrap();
        let end = LedgerEnd::of(&at("ledger.toml")).unwrap();
        assert_eq!(end.to_string(), "PostgreSQL at /run, database d, schema two");
        std::fs::write(at("FORMAT"), "").unwrap();
        let error = LedgerEnd::of(&at("")).unwrap_err().to_string();
        assert!(error.contains("data folder around it"), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_read_shows_no_password() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("ledger.toml");
        for text in [
            "schema = \"x\"\npostgres = \"host=h password=hunter2\nschema = 1",
            "postgres = \"password=hunter2\" x",
            "postgres = \"password=hunter2\"\npasswort = 1",
            "schema = 1 # hunter2",
        ] {
            std::fs::write(&path, text).unwrap();
            let error = format!("{:#}", LedgerEnd::of(path.to_str().unwrap()).unwrap_err());
            assert!(!error.contains("hunter2"), "{error}");
            assert!(error.contains("ledger.toml: near line"), "{error}");
        }
    }
}
