//! Lifecycle rules: what an account's policy says of its blobs is done about once a day, by the operations
//! themselves, as the account's owner would call them.
//!
//! A run walks through the account's containers, a page at a time, and notes after each page where it is. Cut off,
//! it looks at that page again: deciding twice does no harm, and each action is a commit of its own that demands the
//! state that was decided on.
//!
//! Invariant: nothing goes or changes here that the operation would refuse a client: leases, snapshots and whatever
//! else holds a blob up are respected, and what the account keeps of deleted blobs is kept.

use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Method};
use http_semantics::{Body, RequestContext};
use jiff::{SignedDuration, Timestamp};
use ledger::{LedgerError, Sequence, Snapshot, Transaction};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::auth::Access;
use crate::error::{BlobsError, ErrorCode};
use crate::limits::{
    LIFECYCLE_CONTAINERS_MAX, LIFECYCLE_PAGE_ENTRIES_MAX, LIFECYCLE_PARALLEL_MAX,
    LIFECYCLE_ROUND_ACTIONS_MAX, LIFECYCLE_RUN_SECONDS, LIFECYCLE_STEPS_MAX,
};
use crate::operations::delete;
use crate::operations::demands::{Demands, overtaken};
use crate::rules::lifecycle::{Action, Facts, State};
use crate::rules::tier::Tier;
use crate::service::Call;
use crate::store::containers::Container;
use crate::store::keys;
use crate::store::last_access::accessed;
use crate::store::listing::{From, Line, ListedContainer, States, Wanted};
use crate::store::records::{BlobKind, BlobRecord, TierRecord, decode, encode};
use crate::store::states::{Which, time_text};
use crate::wire::target::Target;
use crate::{Blobs, Lifecycle};

/// An account's runs, as the ledger has them.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct RunRecord {
    /// When the newest one began.
    began: Timestamp,
    /// Where it goes on; `None`: it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<RunPlace>,
    done: Done,
    /// Since when the account keeps when blobs are read, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracking_since: Option<Timestamp>,
}

/// Where a run goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct RunPlace {
    /// The first container that is left.
    container: String,
    /// The first of the policy's prefixes in it that is left, and the name that comes next.
    prefix: String,
    name: String,
    /// The first state below that name; `None`: the blob itself, or all of the name where `name` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    below: Option<Timestamp>,
}

/// What a run has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {
    /// States that were looked at.
    pub(crate) seen: u64,
    pub(crate) deleted: u64,
    pub(crate) tiered: u64,
    /// Actions that were refused, such as those on leased blobs.
    pub(crate) refused: u64,
}

impl Done {
    fn add(&mut self, other: Self) {
        self.seen += other.seen;
        self.deleted += other.deleted;
        self.tiered += other.tiered;
        self.refused += other.refused;
    }

    fn actions(&self) -> u64 {
        self.deleted + self.tiered + self.refused
    }
}

/// An action that is due.
struct Due {
    action: Action,
    rule: String,
    record: BlobRecord,
    /// Since when nobody may have read it, if that was decided by.
    accessed: Option<Timestamp>,
}

/// A run as a step finds it.
struct Found {
    record: RunRecord,
    version: Option<Sequence>,
    place: RunPlace,
}

impl Blobs {
    /// One bounded round for all accounts that have a policy: call it every few seconds. What goes wrong with one
    /// account is logged, and the next round goes on.
    pub async fn lifecycle_once(&self) {
        for account in &self.settings.accounts {
            // Also without a policy: the next one must not take what was noted before for all there was.
            if let Err(error) = self.keep_tracking(&account.name).await {
                tracing::warn!(account = account.name, %error, "since when the account keeps when blobs are read isn't kept; the next round tries again");
                continue;
            }
            let Some(lifecycle) = &account.lifecycle else {
                continue;
            };
            if let Err(error) = self.lifecycle_round(&account.name, lifecycle).await {
                tracing::warn!(account = account.name, %error, "a lifecycle run was interrupted; the next round goes on");
            }
        }
    }

    async fn lifecycle_round(&self, account: &str, lifecycle: &Lifecycle) -> Result<(), BlobsError> {
        let mut actions = 0;
        for _ in 0..LIFECYCLE_STEPS_MAX {
            let Some(done) = self.lifecycle_step(account, lifecycle).await? else {
                break;
            };
            actions += done.actions();
            if actions >= LIFECYCLE_ROUND_ACTIONS_MAX {
                break;
            }
        }
        Ok(())
    }

    /// One step, a page of one container; `None` if no run is due, or another node was quicker.
    async fn lifecycle_step(&self, account: &str, lifecycle: &Lifecycle) -> Result<Option<Done>, BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let Some(found) = self.find_run(snapshot.as_ref(), account).await? else {
            return Ok(None);
        };
        let began = found.record.began;
        let walk = (&found.place, found.record.tracking_since);
        let (done, place) = self.walk(snapshot.as_ref(), account, lifecycle, walk).await?;
        let mut record = found.record;
        record.done.add(done);
        record.place = place;
        let key = keys::lifecycle(account);
        let mut tx = Transaction::new();
        tx.require_version(key.clone(), found.version);
        tx.put(key, encode(&record)?);
        match self.ledger.commit(tx).await {
            Ok(_) => {}
            Err(LedgerError::Conflict(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        self.counters.lifecycle(done);
        if record.place.is_none() {
            let Done {
                seen,
                deleted,
                tiered,
                refused,
            } = record.done;
            let dry_run = lifecycle.dry_run;
            tracing::info!(account, %began, seen, deleted, tiered, refused, dry_run, "a lifecycle run is over");
        }
        Ok(Some(done))
    }

    /// Keeps since when the account keeps when its blobs are read. Turned off and on again, it begins anew: nobody
    /// knows what was read meanwhile.
    async fn keep_tracking(&self, account: &str) -> Result<(), BlobsError> {
        let snapshot = self.ledger.snapshot().await?;
        let key = keys::lifecycle(account);
        let Some(stored) = snapshot.get(&key).await? else {
            return Ok(());
        };
        let mut record: RunRecord = decode(&stored)?;
        let since = self
            .tracks_access(account)
            .then(|| record.tracking_since.unwrap_or_else(|| self.clock.now()));
        if record.tracking_since == since {
            return Ok(());
        }
        record.tracking_since = since;
        let mut tx = Transaction::new();
        tx.require_version(key.clone(), Some(stored.version));
        tx.put(key, encode(&record)?);
        match self.ledger.commit(tx).await {
            // Another node was quicker; the next round looks again.
            Ok(_) | Err(LedgerError::Conflict(_)) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The run that is under way, or one that is due now.
    async fn find_run(&self, snapshot: &dyn Snapshot, account: &str) -> Result<Option<Found>, BlobsError> {
        let stored = snapshot.get(&keys::lifecycle(account)).await?;
        let version = stored.as_ref().map(|stored| stored.version);
        let record: Option<RunRecord> = stored.as_ref().map(decode).transpose()?;
        let now = self.clock.now();
        let known = record.as_ref().and_then(|record| record.tracking_since);
        let tracking_since = self.tracks_access(account).then(|| known.unwrap_or(now));
        if let Some(record) = record {
            if let Some(place) = record.place.clone() {
                let record = RunRecord {
                    tracking_since,
                    ..record
                };
                return Ok(Some(Found {
                    record,
                    version,
                    place,
                }));
            }
            let next = record
                .began
                .checked_add(SignedDuration::from_secs(LIFECYCLE_RUN_SECONDS));
            if next.is_ok_and(|next| now < next) {
                return Ok(None);
            }
        }
        Ok(Some(Found {
            record: RunRecord {
                began: now,
                place: None,
                done: Done::default(),
                tracking_since,
            },
            version,
            place: RunPlace::default(),
        }))
    }

    /// Looks at one page, and does what is due there; where the run goes on.
    async fn walk(
        &self,
        snapshot: &dyn Snapshot,
        account: &str,
        lifecycle: &Lifecycle,
        (place, tracking_since): (&RunPlace, Option<Timestamp>),
    ) -> Result<(Done, Option<RunPlace>), BlobsError> {
        let from = From {
            name: place.container.clone(),
            ..From::default()
        };
        let wanted = Wanted {
            prefix: "",
            delimiter: None,
            from: Some(&from).filter(|from| !from.name.is_empty()),
            entries_max: LIFECYCLE_CONTAINERS_MAX,
            states: States::default(),
        };
        let (listed, next) = self.list_containers(snapshot, account, wanted).await?;
        let mut names = listed.into_iter().filter_map(|listed| match listed {
            ListedContainer::Live(record) => Some(record.name),
            ListedContainer::Deleted(_) => None,
        });
        let begin_of = |container: String| RunPlace {
            container,
            ..RunPlace::default()
        };
        // The first container that the rules are about, and what of it is left. One that went meanwhile takes its
        // place in it along.
        let found = names.find_map(|name| {
            let place = Some(place).filter(|place| place.container == name);
            let left: Vec<String> = lifecycle
                .policy
                .prefixes(&name)
                .into_iter()
                .filter(|prefix| place.is_none_or(|place| *prefix >= place.prefix.as_str()))
                .map(str::to_owned)
                .collect();
            (!left.is_empty()).then_some((name, left, place))
        });
        let behind = names.next().or(next.map(|next| next.name)).map(begin_of);
        let Some((name, left, place)) = found else {
            return Ok((Done::default(), behind));
        };
        let mut left = left.iter().map(String::as_str);
        let Some(prefix) = left.next() else {
            return Ok((Done::default(), behind));
        };
        let container = self.container(snapshot, account, &name).await?;
        let from = place
            .filter(|place| place.prefix == prefix && !place.name.is_empty())
            .map(|place| From {
                name: place.name.clone(),
                below: place.below,
                version: None,
            });
        let (snapshots, versions) = lifecycle.policy.states();
        let wanted = Wanted {
            prefix,
            delimiter: None,
            from: from.as_ref(),
            entries_max: LIFECYCLE_PAGE_ENTRIES_MAX,
            states: States {
                snapshots,
                versions,
                ..States::default()
            },
        };
        let (lines, next) = self.list_blobs(snapshot, &container, wanted).await?;
        let mut done = Done {
            seen: lines.len() as u64,
            ..Done::default()
        };
        let due = self.due(&container, lifecycle, lines, tracking_since);
        done.add(self.act_on(&container, lifecycle, due).await?);
        let here = |prefix: &str, next: From| RunPlace {
            container: name.clone(),
            prefix: prefix.to_owned(),
            name: next.name,
            below: next.below,
        };
        let next = next
            .map(|next| here(prefix, next))
            .or_else(|| left.next().map(|prefix| here(prefix, From::default())))
            .or(behind);
        Ok((done, next))
    }

    /// What of a page is due.
    fn due(
        &self,
        container: &Container,
        lifecycle: &Lifecycle,
        lines: Vec<Line>,
        tracking_since: Option<Timestamp>,
    ) -> Vec<Due> {
        let now = self.clock.now();
        let mut due = Vec::new();
        for line in lines {
            let Line::Blob(record) = line else { continue };
            let (state, created) = match (record.previous, record.snapshot) {
                (true, _) => (State::Version, record.version.unwrap_or(record.created)),
                (false, Some(at)) => (State::Snapshot, at),
                (false, None) => (State::Base, record.created),
            };
            let last_known = accessed(&record);
            // Before the account kept it, it may have been read at any time, whatever was noted in a time before
            // that.
            let facts = Facts {
                state,
                is_block: record.kind == BlobKind::Block,
                is_append: record.kind == BlobKind::Append,
                container: &container.record.name,
                name: &record.name,
                created,
                modified: record.last_modified,
                accessed: tracking_since.map_or(last_known, |since| since.max(last_known)),
                tier: record.tier.as_ref().map(|given| given.tier).unwrap_or_default(),
                tier_changed: record.tier.as_ref().map(|given| given.changed),
                tags: &record.tags,
            };
            let decided = lifecycle.policy.decide(&facts, now);
            if let Some((action, rule)) = decided.map(|(action, rule)| (action, rule.to_owned())) {
                due.push(Due {
                    action,
                    rule,
                    record: *record,
                    accessed: lifecycle.policy.needs_access_times().then_some(last_known),
                });
            }
        }
        due
    }

    async fn act_on(
        &self,
        container: &Container,
        lifecycle: &Lifecycle,
        due: Vec<Due>,
    ) -> Result<Done, BlobsError> {
        if lifecycle.dry_run {
            return Ok(say(container, &due));
        }
        let outcomes: Vec<_> = stream::iter(due)
            .map(|due| async move {
                let outcome = match due.action.tier() {
                    None => self.lifecycle_delete(container, &due).await,
                    Some(tier) => self.lifecycle_tier(container, &due, tier).await,
                };
                (due, outcome)
            })
            .buffered(LIFECYCLE_PARALLEL_MAX)
            .collect()
            .await;
        let mut done = Done::default();
        for (due, outcome) in outcomes {
            match outcome {
                Ok(()) if due.action == Action::Delete => done.deleted += 1,
                Ok(()) => done.tiered += 1,
                Err(error) => match error.code {
                    // It isn't what was decided on any more.
                    ErrorCode::ConditionNotMet | ErrorCode::BlobNotFound | ErrorCode::ContainerNotFound => {}
                    // Others would fail as well; the page is looked at again.
                    ErrorCode::ServerBusy => return Err(error),
                    ErrorCode::InternalError if error.detail.is_some() => return Err(error),
                    // One damaged record must not hold up all behind it.
                    ErrorCode::InternalError => {
                        done.refused += 1;
                        tracing::warn!(
                            account = container.account,
                            container = container.record.name,
                            blob = due.record.name,
                            "a lifecycle rule can't be followed: the log says why; the next run tries again"
                        );
                    }
                    _ => {
                        done.refused += 1;
                        tracing::debug!(
                            account = container.account,
                            container = container.record.name,
                            blob = due.record.name,
                            action = %due.action,
                            rule = due.rule,
                            %error,
                            "a lifecycle rule can't be followed; the next run tries again"
                        );
                    }
                },
            }
        }
        Ok(done)
    }

    /// Delete Blob.
    async fn lifecycle_delete(&self, container: &Container, due: &Due) -> Result<(), BlobsError> {
        let record = &due.record;
        let mut query = Vec::new();
        if record.previous {
            query.extend(record.version.map(|at| ("versionid".to_owned(), time_text(at))));
        } else {
            query.extend(record.snapshot.map(|at| ("snapshot".to_owned(), time_text(at))));
        }
        let mut headers = HeaderMap::new();
        let etag = HeaderValue::from_str(&format!("\"{}\"", record.etag));
        headers.insert("if-match", etag.map_err(|_| ErrorCode::InternalError)?);
        headers.insert("x-ms-client-request-id", HeaderValue::from_static("lifecycle"));
        let call = Call {
            target: Target {
                account: container.account.clone(),
                container: Some(container.record.name.clone()),
                blob: Some(record.name.clone()),
                literal: None,
                secondary: false,
                base: String::new(),
            },
            query,
            headers,
            body: Mutex::new(Body::empty()),
            access: Access::Key,
            method: Method::DELETE,
            origin: String::new(),
            host: String::new(),
            context: RequestContext {
                request_id: self.random.uuid(),
                peer: std::net::SocketAddr::from(([0, 0, 0, 0], 0)),
                secure: true,
                listener: "lifecycle".into(),
            },
        };
        let mut demands = Demands::parse(&call.headers)?.with_tags(record.tags.clone());
        if let Some(at) = due.accessed {
            demands = demands.not_accessed_since(at);
        }
        delete::delete_if(self, &call, demands).await.map(|_| ())
    }

    /// Set Blob Tier, which has no condition by which a client could say what it decided on.
    async fn lifecycle_tier(&self, container: &Container, due: &Due, tier: Tier) -> Result<(), BlobsError> {
        let record = &due.record;
        let which = match (record.previous, record.version, record.snapshot) {
            (true, Some(at), _) => Which::Version(at),
            (_, _, Some(at)) => Which::Snapshot(at),
            _ => Which::Blob,
        };
        for attempt in 1.. {
            let snapshot = self.ledger.snapshot().await?;
            // Read anew: a change of the container doesn't change what was decided.
            let now_there = self
                .container(snapshot.as_ref(), &container.account, &container.record.name)
                .await?;
            if now_there.record.generation != container.record.generation {
                return Err(ErrorCode::ContainerNotFound.into());
            }
            let found = self
                .blob_at(snapshot.as_ref(), &now_there, &record.name, which)
                .await?
                .filter(|found| {
                    let found = &found.record;
                    let read = due.accessed.is_some_and(|at| accessed(found) > at);
                    found.etag == record.etag
                        && found.tier == record.tier
                        && found.tags == record.tags
                        && !read
                })
                .ok_or(ErrorCode::ConditionNotMet)?;
            let mut changed = found.record.clone();
            let now = self.clock.now();
            changed.tier = Some(TierRecord { tier, changed: now });
            let mut tx = Transaction::new();
            self.stage_change(&mut tx, &now_there, &found, &changed, "setTier")?;
            match self.ledger.commit(tx).await {
                Ok(_) => return Ok(()),
                Err(error) if overtaken(&error, attempt) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(ErrorCode::ServerBusy.into())
    }
}

/// What would be done, a line for each.
fn say(container: &Container, due: &[Due]) -> Done {
    let mut done = Done::default();
    for due in due {
        let record = &due.record;
        let state = record.below().map(time_text);
        tracing::info!(
            account = container.account,
            container = container.record.name,
            blob = record.name,
            state,
            action = %due.action,
            rule = due.rule,
            "dry run: a lifecycle rule would do this"
        );
        match due.action {
            Action::Delete => done.deleted += 1,
            _ => done.tiered += 1,
        }
    }
    done
}
