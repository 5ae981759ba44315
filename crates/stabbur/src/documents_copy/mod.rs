//! `stabbur documents copy`: containers of a running account, read by the protocol of Cosmos DB.
//!
//! The items come by the change feed, and the note of how far that is lies in the ledger, written
//! after the items before it are on disk: interrupted, the same command goes on; run again, it
//! brings what changed since (docs/adr/0015). What was deleted isn't in that feed. Scripts are read whole.
#![allow(clippy::print_stdout, reason = "these commands print their answer")]

mod compare;
mod containers;
mod feed;
mod items;
mod note;
mod scripts;
mod source;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use documents::{Container, Documents};
use indicatif::ProgressBar;
use ledger::SystemClock;

use crate::DataArgument;
use crate::documents_transfer::{bar, engine};
use crate::node::Stores;
use containers::Described;
use feed::{Feed, Page};
use note::Note;
use source::Source;

#[derive(Debug, Args)]
pub(crate) struct CopyArguments {
    /// The account's address, like https://name.documents.azure.com/; http only on this machine.
    #[arg(long, value_name = "URL")]
    from: String,
    /// A file with one of the account's keys (base64); a read-only key is enough.
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    /// Authorities (PEM) that are trusted beside the machine's own: an emulator's, or `dev`'s.
    #[arg(long, value_name = "FILE")]
    authority: Option<PathBuf>,
    /// The database, there and here.
    #[arg(long)]
    database: String,
    /// The container, there and here; several times for several, all of the database without it.
    #[arg(long)]
    container: Vec<String>,
    #[command(flatten)]
    data: DataArgument,
    /// The account's name here; `dev` has the one that stands here by default.
    #[arg(long, default_value = "localhost")]
    account: String,
    /// After copying, compares all items of both sides and fails if any differ.
    #[arg(long)]
    verify: bool,
    /// Forgets how far the copy was and reads everything again; nothing is deleted here.
    #[arg(long)]
    anew: bool,
    /// Leaves away this property of containers, which would be refused; may be repeated.
    #[arg(long, value_name = "PROPERTY")]
    without: Vec<String>,
    /// Leaves away stored procedures, triggers and user-defined functions.
    #[arg(long)]
    without_scripts: bool,
    /// How long a request that the source throttles or fails is repeated.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    patience: u64,
}

/// What one run brought of a container.
#[derive(Debug, Default)]
struct Brought {
    items: u64,
    bytes: u64,
}

/// Copies containers, and compares them if asked to.
pub(crate) async fn run(arguments: CopyArguments) -> Result<()> {
    let source = Source::new(
        &arguments.from,
        &arguments.key_file,
        arguments.authority.as_deref(),
        Duration::from_secs(arguments.patience),
        Arc::new(SystemClock),
    )?;
    // Before anything is made here.
    let names = containers::names(&source, &arguments.database, &arguments.container).await?;
    let mut described = Vec::with_capacity(names.len());
    for name in &names {
        described.push(containers::describe(&source, &arguments.database, name, &arguments.without).await?);
    }
    if described.is_empty() {
        bail!("the source's database {:?} has no containers", arguments.database);
    }
    let places = arguments.data.places()?;
    let stores = Stores::open_or_make(&arguments.data.data, &places, Arc::new(SystemClock)).await?;
    let documents = engine(&stores);
    let bar = bar()?;
    let outcome = copy_all(&arguments, &source, &stores, &documents, &described, &bar).await;
    bar.finish_and_clear();
    stores.ledger.close().await?;
    outcome
}

async fn copy_all(
    arguments: &CopyArguments,
    source: &Source,
    stores: &Stores,
    documents: &Documents,
    described: &[Described],
    bar: &ProgressBar,
) -> Result<()> {
    let mut copied = Vec::with_capacity(described.len());
    for described in described {
        let (container, made) = documents
            .find_or_create_container(&arguments.account, &arguments.database, &described.resource)
            .await
            .with_context(|| format!("container {:?} can't be made here", described.id))?;
        let note = if arguments.anew {
            Note::begin(source, described)
        } else {
            Note::read(documents, &container, source, described).await?
        };
        let is_first = note.ranges.is_empty();
        let scripts = if arguments.without_scripts {
            0
        } else {
            scripts::copy(source, documents, &container).await?
        };
        let brought = copy(source, documents, &container, note, bar).await?;
        bar.suspend(|| {
            println!(
                "{}: {} items brought ({} MiB){}{}{}",
                container.id(),
                brought.items,
                brought.bytes >> 20,
                if made { ", container made" } else { "" },
                if is_first { "" } else { ", behind what was here" },
                if scripts == 0 {
                    String::new()
                } else {
                    format!(", {scripts} scripts brought")
                },
            );
        });
        copied.push(container);
    }
    if !arguments.verify {
        return Ok(());
    }
    let mut differences = 0;
    let snapshot = stores.ledger.snapshot().await?;
    for container in &copied {
        let found = compare::run(source, documents, snapshot.as_ref(), container, bar).await?;
        bar.suspend(|| found.print_sum(container));
        differences += found.differences();
        if !arguments.without_scripts {
            differences += scripts::compare(source, documents, snapshot.as_ref(), container, bar).await?;
        }
    }
    if differences > 0 {
        bail!("{differences} differences; what was deleted at the source isn't deleted here");
    }
    Ok(())
}

/// Brings a container's items, from where the note says to the feed's end.
async fn copy(
    source: &Source,
    documents: &Documents,
    container: &Arc<Container>,
    mut note: Note,
    bar: &ProgressBar,
) -> Result<Brought> {
    let mut brought = Brought::default();
    let mut feed = Feed::open(source, container.database(), container.id(), &note.ranges).await?;
    while let Some(page) = feed.next().await? {
        let (items, bytes) = write(documents, container, &page).await?;
        feed.done(page);
        note.ranges = feed.noted().to_vec();
        note.items += items;
        note.keep(documents, container).await?;
        brought.items += items;
        brought.bytes += bytes;
        tracing::debug!(container = container.id(), items, "copied a page");
        bar.set_message(format!(
            "{}: {} items, {} MiB",
            container.id(),
            brought.items,
            brought.bytes >> 20
        ));
    }
    // Ends may have moved, and an empty container has a note as well.
    note.ranges = feed.noted().to_vec();
    note.keep(documents, container).await?;
    Ok(brought)
}

/// Creates or replaces the items of a page: how many there were, and their bytes.
async fn write(documents: &Documents, container: &Arc<Container>, page: &Page) -> Result<(u64, u64)> {
    let mut lines = Vec::with_capacity(page.items.len());
    let mut bytes = 0;
    for item in &page.items {
        let line =
            items::without_system_properties(item.get()).context("an item of the source can't be read")?;
        bytes += line.len() as u64;
        lines.push(line.into());
    }
    if let Err(error) = documents.import_lines(container, lines).await {
        let id = page.items.get(error.at).and_then(|item| {
            let item = items::content(item.get().as_bytes()).ok()?;
            item.get("id").cloned()
        });
        let id = id.unwrap_or_default();
        let is_unique = matches!(error.error, documents::DocumentsError::Conflict(_));
        bail!(
            "container {:?}, item {id}: {error}{} What was copied before it is noted; the same command goes on",
            container.id(),
            if is_unique {
                " The other item may be one that was deleted at the source, which a copy doesn't learn of: delete it here."
            } else {
                ""
            }
        );
    }
    Ok((page.items.len() as u64, bytes))
}
