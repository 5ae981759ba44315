//! `stabbur platform import`: instances from the folder of Altinn's local test environment, or from a running Storage.
//!
//! What came is known by a record beside each instance, written with it: interrupted, the same command goes on; run again,
//! it brings what changed since (docs/adr/0025). What somebody has changed here is left alone.

mod apps;
mod localtest;
mod pieces;
mod report;
mod running;
mod walk;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use indicatif::ProgressBar;
use jiff::Timestamp;
use platform_storage::{Platform, PlatformError};
use sha2::{Digest as _, Sha256};

use crate::documents_transfer::bar;
use crate::platform_engine::PlatformPlace;

use report::Report;
use running::Source;

#[derive(Debug, Args)]
pub(crate) struct LocaltestArguments {
    /// The environment's folder, which has `documentdb` and `blobs` in it: the volume `AltinnPlatformLocal`.
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,
    /// An app's source, or a folder with several: their metadata and texts, which the environment asks running apps for
    /// and doesn't keep. May be repeated.
    #[arg(long, value_name = "FOLDER")]
    app_folder: Vec<PathBuf>,
    #[command(flatten)]
    place: PlatformPlace,
    /// Takes all that is left out, a JSON line each.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct StorageArguments {
    /// The API's address, like https://platform.altinn.no/storage/api/v1/; http only on this machine.
    #[arg(long, value_name = "URL")]
    from: String,
    /// An app, like org/app, whose instances come, with its metadata and texts. May be repeated.
    #[arg(long, value_name = "ORG/APP", required = true)]
    app: Vec<String>,
    /// A file with a token of the org's, with the scope altinn:serviceowner/instances.read. It is read again when the
    /// token is refused, so a new one may be put there while the command runs. Without it, the token is in the
    /// environment's STABBUR_PLATFORM_TOKEN.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A file with what is shown as Ocp-Apim-Subscription-Key.
    #[arg(long, value_name = "FILE")]
    subscription_key_file: Option<PathBuf>,
    /// Authorities (PEM) that are trusted beside the machine's own.
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    /// A language whose texts come; may be repeated.
    #[arg(long, value_name = "LANGUAGE", default_values = ["nb", "nn", "en"])]
    language: Vec<String>,
    /// Forgets how far it was and reads all again: also what changes without a stamp, such as data values.
    #[arg(long)]
    anew: bool,
    /// How long a request that the source throttles or fails is repeated.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    patience: u64,
    #[command(flatten)]
    place: PlatformPlace,
    /// Takes all that is left out, a JSON line each.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// What an import works with.
struct Import<'a> {
    platform: &'a Platform,
    report: Report,
    bar: ProgressBar,
    /// When it began.
    began: Timestamp,
}

/// Imports what the local test environment left.
pub(crate) async fn localtest(arguments: LocaltestArguments) -> Result<()> {
    let folder = localtest::Folder::open(&arguments.from)?;
    let report = Report::new(arguments.report.as_deref())?;
    let opened = arguments.place.open_or_make().await?;
    let mut import = Import {
        platform: &opened.platform,
        report,
        bar: bar()?,
        began: opened.stores.clock.now(),
    };
    let outcome = async {
        apps::from_folders(&mut import, &arguments.app_folder).await?;
        Box::pin(localtest::import(&mut import, &folder)).await
    }
    .await;
    import.bar.finish_and_clear();
    opened.stores.ledger.close().await?;
    outcome?;
    import.report.conclude()
}

/// Imports from a running Storage.
pub(crate) async fn storage(arguments: StorageArguments) -> Result<()> {
    let source = Source::new(
        &arguments.from,
        arguments.token_file.clone(),
        arguments.subscription_key_file.as_deref(),
        arguments.authority.as_deref(),
        Duration::from_secs(arguments.patience),
    )?;
    let names = apps::names(&arguments.app)?;
    let report = Report::new(arguments.report.as_deref())?;
    // Before anything is made here.
    let metadata = apps::metadata(&source, &names).await?;
    let opened = arguments.place.open_or_make().await?;
    let mut import = Import {
        platform: &opened.platform,
        report,
        bar: bar()?,
        began: opened.stores.clock.now(),
    };
    let outcome: Result<()> = async {
        for (app, object) in names.iter().zip(metadata) {
            apps::from_storage(&mut import, &source, app, object, &arguments.language).await?;
            walk::app(&mut import, &source, app, arguments.anew).await?;
        }
        Ok(())
    }
    .await;
    import.bar.finish_and_clear();
    opened.stores.ledger.close().await?;
    outcome?;
    import.report.conclude()
}

/// What stands for a source's texts.
#[derive(Debug, Default)]
struct Stamp(Sha256);

impl Stamp {
    fn add(&mut self, text: &[u8]) {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text);
    }

    fn finish(self) -> String {
        let digest = self.0.finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Whether an error is about one thing that comes, so that the others come nevertheless.
fn is_of_one(error: &PlatformError) -> bool {
    matches!(
        error,
        PlatformError::BadRequest(_) | PlatformError::Conflict(_) | PlatformError::TooLarge(_)
    )
}
