//! An account's change feed: blobs in a container of its own, made out of the ledger's log.
//!
//! Invariant: a step is one commit: the events of a part of the log, where they were read up to, and what was
//! made of them so far, which the commit demands as it was read. So a step that is cut off, or that two nodes take
//! at once, is in the feed once or not at all. Segments only go forward, and nothing is added to a finished one.

mod events;
mod expiry;
mod layout;

use std::time::Duration;

use http_semantics::Body;
use jiff::Timestamp;
use ledger::follower::{decode_position, position_key};
use ledger::{Direction, LedgerError, Scan, Sequence, Snapshot, Transaction};
use serde::{Deserialize, Serialize};

use self::events::{blocks, events_of};
pub(crate) use self::layout::CONTAINER;
use self::layout::{end_of, file_path, sync_of};
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{
    FEED_FILE_BYTES_MAX, FEED_FILE_PIECES_MAX, FEED_LOG_BYTES_MAX, FEED_LOG_ENTRIES_MAX, FEED_STEPS_MAX,
};
use crate::rules::avro;
use crate::rules::change_event::{self, Event, hour_of};
use crate::store::containers::{Container, stage_creation};
use crate::store::keys;
use crate::store::records::{BlobHeaders, BlobKind, BlobRecord, Extent, decode, encode};
use crate::store::staging::{Expected, Place};
use crate::{Blobs, ChangeFeed};

/// How far an account's feed is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct FeedRecord {
    /// The begin of the segment that is written, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    segment: Option<Timestamp>,
    /// The number of its last file.
    #[serde(default)]
    file: u32,
    /// The begin of the newest segment that is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    finished: Option<Timestamp>,
}

impl FeedRecord {
    /// The first segment that an event may be in.
    fn lowest(&self) -> Option<Timestamp> {
        self.segment.or_else(|| self.finished.map(end_of))
    }
}

/// What a step did.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There may be more to do now.
    More,
    /// All that the log has is in the feed.
    Last,
    /// Another node was quicker: nobody here knows what is left.
    Overtaken,
}

/// A feed as a step finds it.
struct Found<'a> {
    account: &'a str,
    snapshot: &'a dyn Snapshot,
    container: Container,
    record: FeedRecord,
    version: Sequence,
    position: Sequence,
}

/// What a part of the log has for a feed: events of one segment.
struct Part {
    /// The segment, if there are events.
    segment: Option<Timestamp>,
    events: Vec<Event>,
    /// The last entry of the part.
    through: Sequence,
    /// Whether the log had no more than this when it was read.
    is_all: bool,
}

fn follower(account: &str) -> String {
    format!("blobs change feed {account}")
}

impl Blobs {
    /// One bounded round for all accounts: call it every few seconds. Feeds whose interval isn't over wait.
    ///
    /// # Errors
    /// As the ledger. What goes wrong with one account's feed is logged, and the next round tries it again.
    pub async fn feed_once(&self) -> Result<(), BlobsError> {
        for account in &self.settings.accounts {
            let Some(feed) = &account.change_feed else {
                continue;
            };
            if !self.feed_is_due(&account.name, feed) {
                continue;
            }
            let done = self.feed_account(&account.name, feed).await;
            if let Err(error) = &done {
                tracing::warn!(account = account.name, %error, "the change feed isn't up to date; the next round tries again");
            }
            if !done.unwrap_or(false) {
                // What is behind doesn't wait for its interval.
                self.feeds_written.lock().remove(&account.name);
            }
        }
        self.end_feeds().await
    }

    fn feed_is_due(&self, account: &str, feed: &ChangeFeed) -> bool {
        let now = self.clock.monotonic();
        let interval = Duration::from_secs(u64::from(feed.interval_seconds));
        let mut last = self.feeds_written.lock();
        // A clock that was moved back in development holds nothing up.
        let waits = |last: &Duration| (*last..*last + interval).contains(&now);
        if last.get(account).is_some_and(waits) {
            return false;
        }
        last.insert(account.to_owned(), now);
        true
    }

    /// Whether the feed has all that the log has.
    async fn feed_account(&self, account: &str, feed: &ChangeFeed) -> Result<bool, BlobsError> {
        self.begin_feed(account).await?;
        let mut has_all = false;
        for _ in 0..FEED_STEPS_MAX {
            match self.feed_step(account).await? {
                Step::More => {}
                Step::Last => {
                    has_all = true;
                    break;
                }
                Step::Overtaken => break,
            }
        }
        if let Some(days) = feed.retention_days {
            for _ in 0..FEED_STEPS_MAX {
                if self.expire_step(account, days).await? != Step::More {
                    break;
                }
            }
        }
        Ok(has_all)
    }

    /// Makes what a feed begins with, if it isn't there: what is committed from then on is in it.
    async fn begin_feed(&self, account: &str) -> Result<(), BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let key = keys::change_feed(account);
        let stored = snapshot.get(&key).await?;
        let position = position_key(&follower(account));
        if stored.is_some() && snapshot.get(&position).await?.is_some() {
            return Ok(());
        }
        let mut tx = Transaction::new();
        // All in one commit, so that no container is left behind that isn't the feed's.
        let container = match self.container(snapshot.as_ref(), account, CONTAINER).await {
            Err(error) if error.code == ErrorCode::ContainerNotFound => {
                stage_creation(&mut tx, account, self.plain_container(CONTAINER))?
            }
            Err(error) => return Err(error),
            Ok(container) => {
                if stored.is_none() {
                    self.refuse_foreign(snapshot.as_ref(), &container).await?;
                }
                container.require(&mut tx);
                container
            }
        };
        tx.require_version(key.clone(), stored.as_ref().map(|stored| stored.version));
        tx.require_absent(position.clone());
        tx.put(position, snapshot.sequence().to_be_bytes().to_vec());
        match &stored {
            Some(stored) => tx.put(key, stored.value.clone()),
            None => {
                tx.put(key, encode(&FeedRecord::default())?);
                let now = self.clock.now();
                let staging = (snapshot.as_ref(), &container);
                self.stage_first(&mut tx, staging).await?;
                self.stage_segments(&mut tx, staging, hour_of(now)).await?;
            }
        }
        match self.ledger.commit(tx).await {
            Ok(_) => {
                tracing::info!(account, "the change feed begins");
                Ok(())
            }
            // Another node was quicker.
            Err(LedgerError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses a container of the feed's name that a client made when there was no feed: readers would take its
    /// blobs for the feed's, and whom its client let in would read the feed. One that has nothing and lets nobody in
    /// is taken over: releases of before made it in a commit of its own, which may have been their last.
    async fn refuse_foreign(&self, snapshot: &dyn Snapshot, container: &Container) -> Result<(), BlobsError> {
        if self.is_untouched(snapshot, container).await? {
            return Ok(());
        }
        let text = format!(
            "a client made the container {CONTAINER} when the account had no change feed; delete it (Delete \
             Container), and the feed begins"
        );
        Err(BlobsError::with(ErrorCode::InvalidOperation, text))
    }

    /// Whether the container of the feed's name is the feed's: one that a client made before isn't.
    ///
    /// # Errors
    /// As the ledger.
    pub(crate) async fn has_feed(&self, account: &str) -> Result<bool, BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        Ok(snapshot.get(&keys::change_feed(account)).await?.is_some())
    }

    /// One step, one commit.
    async fn feed_step(&self, account: &str) -> Result<Step, BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let Some(found) = self.find_feed(snapshot.as_ref(), account).await? else {
            return Ok(Step::Last);
        };
        let part = self.next_part(&found).await?;
        let mut tx = Transaction::new();
        let mut next = found.record.clone();
        let events = part.events.len() as u64;
        let step = match (part.segment, found.record.segment) {
            (Some(segment), Some(open)) if segment > open => {
                self.stage_finish(&mut tx, &found, &mut next, open).await?;
                // Its events are in the step behind this one.
                return self.commit_step(tx, &found, &next, found.position, 0).await;
            }
            (Some(segment), _) => {
                self.stage_events(&mut tx, &found, &mut next, (segment, &part.events))
                    .await?;
                if part.is_all { Step::Last } else { Step::More }
            }
            (None, Some(open)) if part.is_all && self.clock.now() >= end_of(open) => {
                self.stage_finish(&mut tx, &found, &mut next, open).await?;
                Step::Last
            }
            // What has nothing for the feed is noted once it is long, so that an idle feed writes nothing.
            (None, _) if part.is_all => return Ok(Step::Last),
            (None, _) => Step::More,
        };
        let done = self.commit_step(tx, &found, &next, part.through, events).await?;
        Ok(if done == Step::Overtaken { done } else { step })
    }

    async fn find_feed<'a>(
        &self,
        snapshot: &'a dyn Snapshot,
        account: &'a str,
    ) -> Result<Option<Found<'a>>, BlobsError> {
        let stored = snapshot.get(&keys::change_feed(account)).await?;
        let position = snapshot.get(&position_key(&follower(account))).await?;
        let (Some(stored), Some(position)) = (stored, position) else {
            return Ok(None);
        };
        Ok(Some(Found {
            account,
            snapshot,
            container: self.container(snapshot, account, CONTAINER).await?,
            record: decode(&stored)?,
            version: stored.version,
            position: decode_position(&position.value)?,
        }))
    }

    /// The next events, up to the end of the segment that the first one is in.
    async fn next_part(&self, found: &Found<'_>) -> Result<Part, BlobsError> {
        let page = self
            .ledger
            .log_page(found.position, FEED_LOG_ENTRIES_MAX, FEED_LOG_BYTES_MAX)
            .await?;
        let mut part = Part {
            segment: None,
            events: Vec::new(),
            through: found.position,
            is_all: false,
        };
        let mut lowest = found.record.lowest();
        for entry in &page.entries {
            let events = events_of(found.account, entry)?;
            if !events.is_empty() {
                let hour = hour_of(entry.time);
                let segment = lowest.map_or(hour, |lowest| lowest.max(hour));
                lowest = Some(segment);
                if part.segment.is_some_and(|first| first != segment) {
                    return Ok(part);
                }
                part.segment = Some(segment);
                part.events.extend(events);
            }
            part.through = entry.sequence;
        }
        part.is_all = part.through >= page.head;
        Ok(part)
    }

    /// Commits what a step staged, with where it leaves the feed.
    async fn commit_step(
        &self,
        mut tx: Transaction,
        found: &Found<'_>,
        next: &FeedRecord,
        through: Sequence,
        events: u64,
    ) -> Result<Step, BlobsError> {
        let key = keys::change_feed(found.account);
        tx.require_version(key.clone(), Some(found.version));
        tx.put(key, encode(next)?);
        let position = position_key(&follower(found.account));
        tx.require_present(position.clone());
        tx.put(position, through.to_be_bytes().to_vec());
        match self.ledger.commit(tx).await {
            Ok(_) => {
                self.counters.feed_events(events);
                Ok(Step::More)
            }
            Err(LedgerError::Conflict(_)) => Ok(Step::Overtaken),
            Err(error) => Err(error.into()),
        }
    }

    /// Stages events as one more piece of a segment's last file.
    async fn stage_events(
        &self,
        tx: &mut Transaction,
        found: &Found<'_>,
        next: &mut FeedRecord,
        (segment, events): (Timestamp, &[Event]),
    ) -> Result<(), BlobsError> {
        let staging = (found.snapshot, &found.container);
        if found.record.segment.is_none() {
            next.segment = Some(segment);
            next.file = 0;
            self.stage_manifest(tx, staging, segment, false).await?;
        }
        let path = file_path(segment, next.file);
        let mut before = self.blob(found.snapshot, &found.container, &path).await?;
        if before.as_ref().is_some_and(|before| is_full(&before.record)) {
            next.file += 1;
            before = None;
        }
        let path = file_path(segment, next.file);
        let sync = sync_of(&found.container, &path);
        let mut bytes = match before {
            None => avro::file_header(change_event::SCHEMA, &sync),
            Some(_) => Vec::new(),
        };
        blocks(&mut bytes, events, &sync);
        let expected = Expected {
            bytes_max: u64::MAX,
            ..Expected::default()
        };
        let key = self.contents.account_key(&found.container.account)?;
        let staged = self.take_in(key, Body::full(bytes), expected).await?;
        let Place::Stored(content) = staged.place else {
            return Err(ErrorCode::InternalError.into());
        };
        let now = self.clock.now();
        let mut record = match &before {
            Some(before) => before.record.clone(),
            None => BlobRecord {
                name: path,
                created: now,
                kind: BlobKind::Append,
                headers: BlobHeaders {
                    content_type: Some("avro/binary".to_owned()),
                    ..BlobHeaders::default()
                },
                ..BlobRecord::default()
            },
        };
        let extent = Extent::stored(String::new(), staged.length_bytes, content);
        record.extents.push(extent);
        record.length += staged.length_bytes;
        record.etag = self.new_etag();
        record.last_modified = now;
        self.stage_blob(
            tx,
            &found.container,
            before.as_ref(),
            &record,
            None,
            "appendBlock",
        )
    }

    /// Stages the end of a segment: readers may take it from then on.
    async fn stage_finish(
        &self,
        tx: &mut Transaction,
        found: &Found<'_>,
        next: &mut FeedRecord,
        segment: Timestamp,
    ) -> Result<(), BlobsError> {
        let staging = (found.snapshot, &found.container);
        self.stage_manifest(tx, staging, segment, true).await?;
        self.stage_segments(tx, staging, end_of(segment)).await?;
        next.segment = None;
        next.finished = Some(segment);
        Ok(())
    }

    /// Ends the feeds of accounts that have none any more: what the log has for them still is taken in, the open
    /// segment is finished, and the log isn't kept for them.
    async fn end_feeds(&self) -> Result<(), BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let mut scan = Scan::new(snapshot.as_ref(), keys::all_change_feeds(), Direction::Forward);
        while let Some(entry) = scan.next().await? {
            let Some(account) = keys::change_feed_account(&entry.key) else {
                continue;
            };
            if !self.feeds(&account)
                && let Err(error) = self.end_feed(&account).await
            {
                tracing::warn!(account, %error, "a change feed that is turned off can't be ended; the next round tries again");
            }
        }
        Ok(())
    }

    async fn end_feed(&self, account: &str) -> Result<(), BlobsError> {
        for _ in 0..FEED_STEPS_MAX {
            match self.feed_step(account).await? {
                Step::More => continue,
                Step::Last => {}
                // What the log still has would be lost: the next round looks again.
                Step::Overtaken => return Ok(()),
            }
            let snapshot = self.ledger.snapshot().await?;
            let Some(found) = self.find_feed(snapshot.as_ref(), account).await? else {
                return Ok(());
            };
            let mut tx = Transaction::new();
            let mut next = found.record.clone();
            if let Some(open) = found.record.segment {
                self.stage_finish(&mut tx, &found, &mut next, open).await?;
            }
            let key = keys::change_feed(account);
            tx.require_version(key.clone(), Some(found.version));
            tx.put(key, encode(&next)?);
            tx.delete(position_key(&follower(account)));
            match self.ledger.commit(tx).await {
                Ok(_) => tracing::info!(account, "the change feed ends"),
                Err(LedgerError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
            return Ok(());
        }
        Ok(())
    }
}

fn is_full(record: &BlobRecord) -> bool {
    record.length >= FEED_FILE_BYTES_MAX || record.extents.len() >= FEED_FILE_PIECES_MAX
}
