//! `stabbur platform messages` and `stabbur platform scans`: what the outboxes put aside, and elements that wait for a scan
//! nobody was asked for.
#![allow(clippy::print_stdout, reason = "these commands print their answer")]

use std::collections::BTreeSet;

use anyhow::{Result, bail, ensure};
use clap::{Args, Subcommand, ValueEnum};
use platform_storage::limits::PUT_ASIDE_PAGE;
use platform_storage::{Outbox, Platform, PlatformError, PutAside};

use crate::documents_transfer::bar;
use crate::platform_engine::PlatformPlace;

#[derive(Debug, Subcommand)]
pub(crate) enum MessagesCommand {
    /// Prints the messages that were put aside, a JSON line each, the oldest first.
    List {
        #[command(flatten)]
        place: PlatformPlace,
        #[command(flatten)]
        which: Which,
    },
    /// Puts messages back into their outbox: the server delivers them when it runs again.
    Retry {
        #[command(flatten)]
        place: PlatformPlace,
        #[command(flatten)]
        which: Which,
        /// All of them.
        #[arg(long)]
        all: bool,
    },
    /// Forgets messages. An element whose scan is forgotten stays `Pending` (see `stabbur platform scans`).
    Drop {
        #[command(flatten)]
        place: PlatformPlace,
        #[command(flatten)]
        which: Which,
        /// All of them.
        #[arg(long)]
        all: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ScansCommand {
    /// Has the scanner asked about each element that waits for it, and that no message is about.
    Ask(PlatformPlace),
    /// Has all elements that wait for a scan wait no longer: where there is no scanner, or none any longer.
    Waive(PlatformPlace),
}

/// Which messages are meant.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The message with this id, as the list says it; may be repeated.
    #[arg(long)]
    id: Vec<String>,
    /// Those of one outbox.
    #[arg(long, value_enum)]
    outbox: Option<OutboxName>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutboxName {
    Scan,
    Portal,
}

impl Which {
    fn says_nothing(&self) -> bool {
        self.id.is_empty() && self.outbox.is_none()
    }

    fn means(&self, message: &PutAside) -> bool {
        let outbox = match message.outbox {
            Some(Outbox::Scan) => Some(OutboxName::Scan),
            Some(Outbox::Portal) => Some(OutboxName::Portal),
            None => None,
        };
        (self.id.is_empty() || self.id.contains(&message.id))
            && (self.outbox.is_none() || self.outbox == outbox)
    }
}

/// What is done to messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    List,
    Retry,
    Drop,
}

/// `stabbur platform messages`.
pub(crate) async fn messages(command: MessagesCommand) -> Result<()> {
    let (act, place, which, all) = match command {
        MessagesCommand::List { place, which } => (Act::List, place, which, true),
        MessagesCommand::Retry { place, which, all } => (Act::Retry, place, which, all),
        MessagesCommand::Drop { place, which, all } => (Act::Drop, place, which, all),
    };
    ensure!(
        all || !which.says_nothing(),
        "name messages with --id or --outbox, or all of them with --all"
    );
    let opened = place.open().await?;
    let outcome = each(&opened.platform, &which, act).await;
    opened.stores.ledger.close().await?;
    outcome
}

async fn each(platform: &Platform, which: &Which, act: Act) -> Result<()> {
    let mut missing: BTreeSet<&String> = which.id.iter().collect();
    let (mut done, mut unreadable) = (0_u64, 0_u64);
    let mut last: Option<PutAside> = None;
    loop {
        let page = platform.put_aside(last.as_ref(), PUT_ASIDE_PAGE).await?;
        for message in page.iter().filter(|message| which.means(message)) {
            missing.remove(&message.id);
            let outcome = match act {
                Act::List => {
                    println!("{}", serde_json::to_string(message)?);
                    Ok(())
                }
                Act::Retry => platform.retry_put_aside(message).await,
                Act::Drop => platform.drop_put_aside(message).await,
            };
            match outcome {
                Ok(()) => done += 1,
                Err(PlatformError::Unprocessable(_)) => unreadable += 1,
                Err(error) => return Err(error.into()),
            }
        }
        match page.into_iter().next_back() {
            Some(message) => last = Some(message),
            None => break,
        }
    }
    match act {
        Act::List => {}
        Act::Retry => println!("{done} messages are delivered again, as soon as the server runs"),
        Act::Drop => println!("{done} messages dropped"),
    }
    if let Some(id) = missing.first() {
        bail!("no message {id} is put aside");
    }
    if unreadable > 0 {
        bail!("{unreadable} messages can't be read and stay put aside; they can only be dropped");
    }
    Ok(())
}

/// `stabbur platform scans`.
pub(crate) async fn scans(command: ScansCommand) -> Result<()> {
    let (place, waive) = match command {
        ScansCommand::Ask(place) => (place, false),
        ScansCommand::Waive(place) => (place, true),
    };
    let opened = place.open().await?;
    let bar = bar()?;
    let told = bar.clone();
    let outcome = opened
        .platform
        .settle_pending(waive, &move |report| {
            told.set_message(format!(
                "{} instances, {} elements",
                report.instances, report.helped
            ));
        })
        .await;
    bar.finish_and_clear();
    opened.stores.ledger.close().await?;
    let report = outcome?;
    let instances = report.instances;
    if waive {
        println!(
            "{instances} instances looked at: {} elements wait no longer",
            report.helped
        );
    } else {
        println!(
            "{instances} instances looked at: the scanner is asked about {} elements, it was about {} before",
            report.helped, report.asked_before
        );
    }
    Ok(())
}
