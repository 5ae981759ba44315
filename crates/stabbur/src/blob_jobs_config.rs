//! What the configuration says of the background work on an account's blobs: its change feed,
//! and its lifecycle rules.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use blobs::rules::lifecycle::Policy;
use blobs::{ChangeFeed, Lifecycle};
use serde::Deserialize;

use crate::config::Account;

/// How often changes are added to a feed where nothing is said.
const FEED_INTERVAL_SECONDS_DEFAULT: u32 = 60;

/// Longest interval: a segment's.
const FEED_INTERVAL_SECONDS_MAX: u32 = 3_600;

/// Longest retention (`retentionInDays` of the management plane).
const FEED_RETENTION_DAYS_MAX: u32 = 146_000;

/// `change_feed` of an account.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangeFeedConfig {
    pub(crate) interval_seconds: Option<u32>,
    pub(crate) retention_days: Option<u32>,
}

/// `lifecycle` of an account.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LifecycleConfig {
    /// The rules, JSON as the management plane has them.
    pub(crate) policy_file: PathBuf,
    /// Whether they are only said.
    #[serde(default)]
    pub(crate) dry_run: bool,
}

/// Reads lifecycle rules.
pub(crate) fn read_policy(path: &Path) -> Result<Policy> {
    let place = || format!("lifecycle rules {}", path.display());
    let text = std::fs::read_to_string(path).with_context(place)?;
    Policy::parse(&text)
        .map_err(anyhow::Error::msg)
        .with_context(place)
}

/// Refuses rules about when blobs were read last where that isn't kept.
pub(crate) fn check_access_times(policy: &Policy, tracks: bool) -> Result<()> {
    ensure!(
        tracks || !policy.needs_access_times(),
        "a rule has daysAfterLastAccessTimeGreaterThan, and it isn't kept when blobs were read: set \
         last_access_time_tracking of the account (in dev: --blob-last-access)"
    );
    Ok(())
}

impl Account {
    /// The account's lifecycle rules, if it has some.
    pub(crate) fn lifecycle(&self) -> Result<Option<Lifecycle>> {
        let Some(config) = &self.lifecycle else {
            return Ok(None);
        };
        let policy = read_policy(&config.policy_file).with_context(|| format!("account {}", self.name))?;
        check_access_times(&policy, self.last_access_time_tracking)
            .with_context(|| format!("account {}: {}", self.name, config.policy_file.display()))?;
        Ok(Some(Lifecycle {
            policy,
            dry_run: config.dry_run,
        }))
    }

    /// The account's change feed, if it has one.
    pub(crate) fn change_feed(&self) -> Result<Option<ChangeFeed>> {
        let Some(config) = &self.change_feed else {
            return Ok(None);
        };
        let name = &self.name;
        let interval_seconds = config.interval_seconds.unwrap_or(FEED_INTERVAL_SECONDS_DEFAULT);
        ensure!(
            interval_seconds <= FEED_INTERVAL_SECONDS_MAX,
            "account {name}: change_feed: interval_seconds is {interval_seconds}; at most {FEED_INTERVAL_SECONDS_MAX}"
        );
        if let Some(days) = config.retention_days {
            ensure!(
                (1..=FEED_RETENTION_DAYS_MAX).contains(&days),
                "account {name}: change_feed: retention_days is {days}; from 1 to {FEED_RETENTION_DAYS_MAX}, \
                 or not there, which keeps it for ever"
            );
        }
        Ok(Some(ChangeFeed {
            interval_seconds,
            retention_days: config.retention_days,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &str) -> Result<Option<ChangeFeed>> {
        let account: Account = toml::from_str(&format!("name = \"acme\"\nkey_files = []\n{settings}"))?;
        account.change_feed()
    }

    #[test]
    fn rules_are_read_at_the_start_and_errors_name_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rules.json");
        let account: Account = toml::from_str(&format!(
            "name = \"acme\"\nkey_files = []\nlifecycle = {{ policy_file = {path:?}, dry_run = true }}"
        ))
        .unwrap();
        let error = format!("{:#}", account.lifecycle().unwrap_err());
        assert!(
            error.contains("account acme") && error.contains("rules.json"),
            "{error}"
        );
        std::fs::write(&path, r#"{"rules":[]}"#).unwrap();
        let error = format!("{:#}", account.lifecycle().unwrap_err());
        assert!(
            error.contains("rules.json") && error.contains("1 to 100 rules"),
            "{error}"
        );
        let rules = r#"{"rules":[{"name":"r","type":"Lifecycle","definition":{"actions":{"baseBlob":{"delete":
            {"daysAfterModificationGreaterThan":5}}},"filters":{"blobTypes":["blockBlob"]}}}]}"#;
        std::fs::write(&path, rules).unwrap();
        assert!(account.lifecycle().unwrap().unwrap().dry_run);
        let by_access = rules.replace("daysAfterModification", "daysAfterLastAccessTime");
        std::fs::write(&path, by_access).unwrap();
        let error = format!("{:#}", account.lifecycle().unwrap_err());
        assert!(error.contains("last_access_time_tracking"), "{error}");
        let tracking = Account {
            last_access_time_tracking: true,
            ..account
        };
        assert!(tracking.lifecycle().unwrap().is_some());
    }

    #[test]
    fn a_feed_is_off_unless_it_is_said_and_within_bounds() {
        assert_eq!(read("").unwrap(), None);
        let feed = |interval_seconds, retention_days| {
            Some(ChangeFeed {
                interval_seconds,
                retention_days,
            })
        };
        assert_eq!(read("change_feed = {}").unwrap(), feed(60, None));
        let both = "change_feed = { interval_seconds = 0, retention_days = 7 }";
        assert_eq!(read(both).unwrap(), feed(0, Some(7)));
        for (settings, cause) in [
            ("change_feed = { interval_seconds = 3601 }", "at most 3600"),
            ("change_feed = { retention_days = 0 }", "from 1"),
            ("change_feed = { days = 1 }", "days"),
        ] {
            let error = format!("{:#}", read(settings).unwrap_err());
            assert!(error.contains(cause), "{settings}: {error}");
        }
    }
}
