//! `stabbur platform lists`: the lists that instances are found by.
#![allow(clippy::print_stdout, reason = "these commands print their answer")]

use anyhow::{Result, bail};
use clap::Subcommand;
use platform_storage::{Completion, Platform};

use crate::platform_engine::PlatformPlace;

#[derive(Debug, Subcommand)]
pub(crate) enum ListsCommand {
    /// Makes the lists that later releases added anew: behind a release in between that didn't know them. Interrupted,
    /// the server or the same command goes on; until then wider lists are walked.
    Rebuild(PlatformPlace),
}

/// `stabbur platform lists`.
pub(crate) async fn lists(command: ListsCommand) -> Result<()> {
    let ListsCommand::Rebuild(place) = command;
    let opened = place.open().await?;
    let outcome = rebuild(&opened.platform).await;
    opened.stores.ledger.close().await?;
    outcome
}

async fn rebuild(platform: &Platform) -> Result<()> {
    platform.begin_lists_anew().await?;
    loop {
        match platform.complete_lists().await? {
            Completion::Complete => {
                println!("the lists are complete");
                return Ok(());
            }
            Completion::Unfinished => {}
            Completion::Damaged(rows) => bail!(
                "{rows} list rows are malformed, so the lists can't be completed; `stabbur ledger verify` names their \
                 instances"
            ),
        }
    }
}
