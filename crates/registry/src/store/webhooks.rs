//! Webhooks: their messages are staged in the commit of what they tell of, and delivered at least once.
//!
//! Invariants: what is told of has happened, and what happened is told, whether or not a receiver is there. Each
//! webhook has an outbox of its own, so one whose receiver is away holds up no other. A message goes when its receiver
//! has taken it, or when it is a week old.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use ledger::{Direction, Entry, LedgerError, Scan, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::RegistryService;
use crate::error::RegistryError;
use crate::limits::{
    POLICIES_ROWS_MAX, WEBHOOK_AGE_SECONDS_MAX, WEBHOOK_BACKOFF_SECONDS_MAX, WEBHOOK_BACKOFF_SECONDS_MIN,
    WEBHOOK_ROUND_MESSAGES_MAX, WEBHOOK_ROUND_SECONDS_MAX, WEBHOOKS_AT_ONCE,
};
use crate::rules::webhook::{Happening, Origin};
use crate::settings::{Registry, Webhook};
use crate::store::keys;
use crate::store::links::later;
use crate::store::records::{decode, encode};

/// Why a message wasn't taken, in words for people: no address and no secret is in them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Undelivered {
    /// The receiver can't be reached, or takes nothing now: no other message fares better.
    #[error("{0}")]
    Away(String),
    /// The receiver doesn't take this message.
    #[error("{0}")]
    Refused(String),
}

/// Who takes a webhook's messages.
#[async_trait]
pub trait Receiver: std::fmt::Debug + Send + Sync + 'static {
    /// Gives a message (JSON) over, and gives up in bounded time.
    ///
    /// # Errors
    /// Why it wasn't taken.
    async fn deliver(&self, message: Vec<u8>) -> Result<(), Undelivered>;
}

/// What a round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WebhookReport {
    /// Messages that were taken.
    pub delivered: u64,
    /// Messages that weren't, and are tried again.
    pub failed: u64,
    /// Messages that became too old.
    pub expired: u64,
    /// Whether some webhook has more that is due at once.
    pub more: bool,
}

/// A message that waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Waiting {
    message: Value,
    staged: Timestamp,
    #[serde(default)]
    attempts: u32,
}

/// When webhooks whose receiver was away are tried again.
#[derive(Debug, Default)]
pub(crate) struct Pauses(HashMap<(String, String), Timestamp>);

/// How long a message waits that was tried so often.
fn backoff(attempts: u32) -> i64 {
    let doubled = 1_i64 << attempts.saturating_sub(1).min(16);
    (WEBHOOK_BACKOFF_SECONDS_MIN * doubled).min(WEBHOOK_BACKOFF_SECONDS_MAX)
}

impl RegistryService {
    /// Whether any webhook is set up.
    #[must_use]
    pub fn has_webhooks(&self) -> bool {
        let mut registries = self.settings.registries.iter();
        registries.any(|registry| !registry.webhooks.is_empty())
    }

    /// Stages what webhooks are to be told of, with what it is about.
    pub(crate) fn stage_webhooks(
        &self,
        tx: &mut Transaction,
        registry: &str,
        happening: &Happening<'_>,
        origin: &Origin,
    ) -> Result<(), LedgerError> {
        let now = self.clock.now();
        let registry = self.settings.by_name(registry);
        for webhook in registry.into_iter().flat_map(|registry| &registry.webhooks) {
            let is_meant = webhook.actions.contains(&happening.action)
                && webhook.scope.covers(happening.repository, happening.tags);
            if !is_meant {
                continue;
            }
            for tag in webhook.scope.covered(happening.tags) {
                let id = self.random.uuid();
                let waiting = Waiting {
                    message: happening.message(id, now, tag, origin),
                    staged: now,
                    attempts: 0,
                };
                let registry = registry.map_or("", |registry| registry.name.as_str());
                tx.put(keys::webhook(registry, &webhook.name, now, id), encode(&waiting)?);
            }
        }
        Ok(())
    }

    /// The origin of what a registry does by itself.
    pub(crate) fn own_origin(&self, registry: &Registry) -> Origin {
        let below = || {
            let suffix = self.settings.host_suffixes.first()?;
            Some(format!("{}.{suffix}", registry.name))
        };
        let host = registry.hosts.first().cloned().or_else(below);
        Origin {
            id: self.random.uuid(),
            host: host.unwrap_or_else(|| registry.name.clone()),
            method: "DELETE".to_owned(),
            user_agent: "stabbur".to_owned(),
        }
    }

    /// One round: of each webhook some messages that are due, one after the other; several webhooks at once.
    pub async fn deliver_webhooks(&self) -> WebhookReport {
        let mut all = Vec::new();
        for registry in &self.settings.registries {
            for webhook in &registry.webhooks {
                all.push(self.webhook_round(registry, webhook));
            }
        }
        let mut rounds = stream::iter(all).buffer_unordered(WEBHOOKS_AT_ONCE);
        let mut report = WebhookReport::default();
        while let Some(round) = rounds.next().await {
            report.delivered += round.delivered;
            report.failed += round.failed;
            report.expired += round.expired;
            report.more |= round.more;
        }
        report
    }

    async fn webhook_round(&self, registry: &Registry, webhook: &Webhook) -> WebhookReport {
        let round = self.deliver_webhook(registry, webhook).await;
        round.unwrap_or_else(|error| {
            tracing::warn!(registry = %registry.name, webhook = %webhook.name, %error,
                "a webhook's messages can't be read; it is tried again");
            WebhookReport::default()
        })
    }

    async fn deliver_webhook(
        &self,
        registry: &Registry,
        webhook: &Webhook,
    ) -> Result<WebhookReport, RegistryError> {
        let mut report = WebhookReport::default();
        let own = (registry.name.clone(), webhook.name.clone());
        let now = self.clock.now();
        if self.pauses.lock().0.get(&own).is_some_and(|until| *until > now) {
            return Ok(report);
        }
        let mut due = Vec::new();
        {
            let snapshot = self.ledger.snapshot().await?;
            let range = keys::webhooks_until(&registry.name, &webhook.name, now);
            let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
            while due.len() < WEBHOOK_ROUND_MESSAGES_MAX
                && let Some(entry) = scan.next().await?
            {
                due.push(entry);
            }
        }
        report.more = due.len() == WEBHOOK_ROUND_MESSAGES_MAX;
        let end = self.clock.monotonic() + Duration::from_secs(WEBHOOK_ROUND_SECONDS_MAX);
        for entry in due {
            if self.clock.monotonic() > end {
                break;
            }
            let ended = self.deliver_one(registry, webhook, &entry, &mut report).await?;
            if let Some(until) = ended {
                self.pauses.lock().0.insert(own, until);
                report.more = false;
                break;
            }
        }
        Ok(report)
    }

    /// Delivers one message; until when the others wait, if its receiver is away.
    async fn deliver_one(
        &self,
        registry: &Registry,
        webhook: &Webhook,
        entry: &Entry,
        report: &mut WebhookReport,
    ) -> Result<Option<Timestamp>, RegistryError> {
        let waiting: Waiting = match decode(&entry.versioned) {
            Ok(waiting) => waiting,
            Err(error) => {
                tracing::error!(registry = %registry.name, webhook = %webhook.name, %error,
                    "a webhook's message can't be read and is removed");
                report.expired += 1;
                self.settle(entry, None).await?;
                return Ok(None);
            }
        };
        let now = self.clock.now();
        let error = match webhook
            .receiver
            .deliver(waiting.message.to_string().into_bytes())
            .await
        {
            Ok(()) => {
                report.delivered += 1;
                self.settle(entry, None).await?;
                return Ok(None);
            }
            Err(error) => error,
        };
        let attempts = waiting.attempts.saturating_add(1);
        let again = later(now, backoff(attempts));
        let id = keys::webhook_id(&entry.key);
        match id.filter(|_| later(waiting.staged, WEBHOOK_AGE_SECONDS_MAX) > now) {
            Some(id) => {
                tracing::warn!(registry = %registry.name, webhook = %webhook.name, %error, attempts,
                    "a webhook's message wasn't taken; it is tried again");
                report.failed += 1;
                let key = keys::webhook(&registry.name, &webhook.name, again, id);
                let message = encode(&Waiting { attempts, ..waiting })?;
                self.settle(entry, Some((key, message))).await?;
            }
            None => {
                tracing::error!(registry = %registry.name, webhook = %webhook.name, %error, attempts,
                    "a webhook's message wasn't taken for days and is given up");
                report.expired += 1;
                self.settle(entry, None).await?;
            }
        }
        Ok(matches!(error, Undelivered::Away(_)).then_some(again))
    }

    /// Removes old messages of webhooks that are no longer set up, some rows at a time, from where the last look ended.
    pub(crate) async fn drop_old_messages(&self, registry: &Registry) -> Result<(), LedgerError> {
        let snapshot = self.ledger.snapshot().await?;
        let mut range = keys::webhooks(&registry.name);
        let after = self.left_messages.lock().remove(&registry.name);
        if let Some(after) = after.filter(|after| *after > range.start) {
            range.start = after.successor();
        }
        let mut scan = Scan::new(snapshot.as_ref(), range, Direction::Forward);
        let mut last = None;
        let old = later(self.clock.now(), -WEBHOOK_AGE_SECONDS_MAX);
        let mut tx = Transaction::new();
        let mut rows = 0;
        while rows < POLICIES_ROWS_MAX
            && let Some(entry) = scan.next().await?
        {
            rows += 1;
            last = Some(entry.key.clone());
            let is_left = keys::webhook_of(&entry.key).is_none_or(|(name, at)| {
                at < old && !registry.webhooks.iter().any(|webhook| webhook.name == name)
            });
            if is_left {
                tx.delete(entry.key);
            }
        }
        if !tx.is_empty() {
            self.ledger.commit(tx).await?;
        }
        if let Some(last) = last.filter(|_| rows == POLICIES_ROWS_MAX) {
            self.left_messages.lock().insert(registry.name.clone(), last);
        }
        Ok(())
    }

    /// Removes a message as it was read, or puts it off.
    async fn settle(&self, entry: &Entry, again: Option<(ledger::Key, Vec<u8>)>) -> Result<(), LedgerError> {
        let mut tx = Transaction::new();
        tx.require_version(entry.key.clone(), Some(entry.versioned.version));
        tx.delete(entry.key.clone());
        if let Some((key, value)) = again {
            tx.put(key, value);
        }
        match self.ledger.commit(tx).await {
            // Another node settled it.
            Ok(_) | Err(LedgerError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_end() {
        let all: Vec<i64> = (1..=11).map(backoff).collect();
        assert_eq!(all, [2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        assert_eq!(backoff(u32::MAX), 600);
    }
}
