//! Lifecycle rules: what is read of the management plane's policy, and what it means for a blob.
//!
//! Invariant: what a policy says and isn't done here is refused when it is read, never passed over.
//!
//! Source: "Azure Blob Storage lifecycle management policy structure"; "Management Policies" of the storage
//! resource provider's reference.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::limits::{
    LIFECYCLE_DAYS_MAX, LIFECYCLE_FILTERS_MAX, LIFECYCLE_RULES_MAX, POLICY_NAME_CHARACTERS_MAX,
};
use crate::rules::tags::Tags;
use crate::rules::tier::Tier;

/// The policy as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPolicy {
    rules: Vec<WrittenRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRule {
    name: String,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(rename = "type")]
    kind: String,
    definition: WrittenDefinition,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenDefinition {
    actions: WrittenActions,
    filters: WrittenFilters,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WrittenFilters {
    blob_types: Vec<String>,
    #[serde(default)]
    prefix_match: Vec<String>,
    #[serde(default)]
    blob_index_match: Vec<WrittenTag>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTag {
    name: String,
    op: String,
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WrittenActions {
    base_blob: Option<WrittenSteps>,
    snapshot: Option<WrittenSteps>,
    version: Option<WrittenSteps>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WrittenSteps {
    tier_to_cool: Option<WrittenAge>,
    tier_to_cold: Option<WrittenAge>,
    tier_to_archive: Option<WrittenAge>,
    delete: Option<WrittenAge>,
    enable_auto_tier_to_hot_from_cool: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WrittenAge {
    days_after_modification_greater_than: Option<f64>,
    days_after_creation_greater_than: Option<f64>,
    days_after_last_access_time_greater_than: Option<f64>,
    days_after_last_tier_change_greater_than: Option<f64>,
}

/// A policy: what happens to an account's blobs as they grow old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    name: String,
    block_blobs: bool,
    append_blobs: bool,
    /// Container and begin of the name; none: every blob.
    prefixes: Vec<String>,
    tags: Vec<(String, String)>,
    base: Vec<Step>,
    snapshot: Vec<Step>,
    version: Vec<Step>,
}

/// What is done with a blob of an age.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    action: Action,
    since: Since,
    days: u32,
    days_in_tier: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    Modification,
    Creation,
    Access,
}

/// What is done. The last one costs least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// `tierToCool`.
    Cool,
    /// `tierToCold`.
    Cold,
    /// `tierToArchive`.
    Archive,
    /// `delete`.
    Delete,
}

impl Action {
    /// The tier that it gives; `None` for a deletion.
    #[must_use]
    pub fn tier(self) -> Option<Tier> {
        match self {
            Self::Cool => Some(Tier::Cool),
            Self::Cold => Some(Tier::Cold),
            Self::Archive => Some(Tier::Archive),
            Self::Delete => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Cool => "tierToCool",
            Self::Cold => "tierToCold",
            Self::Archive => "tierToArchive",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which of a blob's states is decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The blob itself.
    Base,
    /// A snapshot.
    Snapshot,
    /// A previous version.
    Version,
}

/// What is known of a state.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Which it is.
    pub state: State,
    /// Whether it is a block blob, or an append blob; page blobs are neither.
    pub is_block: bool,
    /// See [`Facts::is_block`].
    pub is_append: bool,
    /// Its container.
    pub container: &'a str,
    /// Its name.
    pub name: &'a str,
    /// When it was made: the blob, the snapshot, or the version.
    pub created: Timestamp,
    /// When it was written last.
    pub modified: Timestamp,
    /// When it was read or written last, as far as that is known.
    pub accessed: Timestamp,
    /// Its tier.
    pub tier: Tier,
    /// When it got it, if somebody gave it one.
    pub tier_changed: Option<Timestamp>,
    /// Its tags.
    pub tags: &'a Tags,
}

impl Policy {
    /// Reads a policy (JSON).
    ///
    /// # Errors
    /// What is wrong and where, for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        let written: WrittenPolicy = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if written.rules.is_empty() || written.rules.len() > LIFECYCLE_RULES_MAX {
            return Err(format!("a policy has 1 to {LIFECYCLE_RULES_MAX} rules"));
        }
        let mut names = Vec::new();
        let mut rules = Vec::new();
        for rule in written.rules {
            if names.contains(&rule.name.to_lowercase()) {
                return Err(format!("rule {:?}: there are two of that name", rule.name));
            }
            names.push(rule.name.to_lowercase());
            let (name, enabled) = (rule.name.clone(), rule.enabled);
            let read = Rule::read(rule).map_err(|cause| format!("rule {name:?}: {cause}"))?;
            if enabled {
                rules.push(read);
            }
        }
        Ok(Self { rules })
    }

    /// What is done with a state now, and which rule says so: of several actions the one that costs least then.
    #[must_use]
    pub fn decide(&self, facts: &Facts<'_>, now: Timestamp) -> Option<(Action, &str)> {
        let due = self.rules.iter().filter_map(|rule| {
            let action = rule.decide(facts, now)?;
            Some((action, rule.name.as_str()))
        });
        // The first of equal ones: the order of rules is the policy's.
        due.reduce(|best, next| if next.0 > best.0 { next } else { best })
    }

    /// The begins of names that the rules are about in a container, none within another one; none: no blob there.
    #[must_use]
    pub fn prefixes<'a>(&'a self, container: &'a str) -> Vec<&'a str> {
        let mut found: Vec<&str> = self
            .rules
            .iter()
            .flat_map(|rule| rule.prefixes_in(container))
            .collect();
        found.sort_unstable();
        let mut outer: Vec<&str> = Vec::new();
        for prefix in found {
            if !outer.last().is_some_and(|last| prefix.starts_with(last)) {
                outer.push(prefix);
            }
        }
        outer
    }

    /// Whether a rule is about when blobs were read last, which the account must keep then.
    #[must_use]
    pub fn needs_access_times(&self) -> bool {
        let mut steps = self.rules.iter().flat_map(|rule| &rule.base);
        steps.any(|step| step.since == Since::Access)
    }

    /// Whether a rule is about snapshots, and about versions.
    #[must_use]
    pub fn states(&self) -> (bool, bool) {
        (
            self.rules.iter().any(|rule| !rule.snapshot.is_empty()),
            self.rules.iter().any(|rule| !rule.version.is_empty()),
        )
    }
}

impl Rule {
    fn read(written: WrittenRule) -> Result<Self, String> {
        let characters = written.name.chars().count();
        if !(1..=POLICY_NAME_CHARACTERS_MAX).contains(&characters) {
            return Err(format!("a name has 1 to {POLICY_NAME_CHARACTERS_MAX} characters"));
        }
        if written.kind != "Lifecycle" {
            return Err(format!("type is Lifecycle, not {:?}", written.kind));
        }
        let WrittenDefinition { actions, filters } = written.definition;
        let (mut block_blobs, mut append_blobs) = (false, false);
        for kind in &filters.blob_types {
            match kind.as_str() {
                "blockBlob" => block_blobs = true,
                "appendBlob" => append_blobs = true,
                other => {
                    return Err(format!(
                        "filters.blobTypes: {other:?} is none of blockBlob and appendBlob"
                    ));
                }
            }
        }
        if !block_blobs && !append_blobs {
            return Err("filters.blobTypes names no type".to_owned());
        }
        for (name, count) in [
            ("prefixMatch", filters.prefix_match.len()),
            ("blobIndexMatch", filters.blob_index_match.len()),
        ] {
            if count > LIFECYCLE_FILTERS_MAX {
                return Err(format!(
                    "filters.{name} has {count} entries; at most {LIFECYCLE_FILTERS_MAX}"
                ));
            }
        }
        if filters
            .prefix_match
            .iter()
            .any(|prefix| prefix.is_empty() || prefix.starts_with('/'))
        {
            return Err("filters.prefixMatch: a prefix begins with a container's name".to_owned());
        }
        let mut tags = Vec::new();
        for tag in filters.blob_index_match {
            if tag.op != "==" {
                return Err(format!("filters.blobIndexMatch: op is ==, not {:?}", tag.op));
            }
            tags.push((tag.name, tag.value));
        }
        let rule = Self {
            name: written.name,
            block_blobs,
            append_blobs,
            prefixes: filters.prefix_match,
            tags,
            base: steps("baseBlob", actions.base_blob)?,
            snapshot: steps("snapshot", actions.snapshot)?,
            version: steps("version", actions.version)?,
        };
        let mut all = rule
            .base
            .iter()
            .chain(&rule.snapshot)
            .chain(&rule.version)
            .peekable();
        if all.peek().is_none() {
            return Err("actions has none".to_owned());
        }
        if !block_blobs && all.any(|step| step.action != Action::Delete) {
            return Err("actions: append blobs have no tiers; they can be deleted alone".to_owned());
        }
        Ok(rule)
    }

    fn decide(&self, facts: &Facts<'_>, now: Timestamp) -> Option<Action> {
        let of_kind = facts.is_block && self.block_blobs || facts.is_append && self.append_blobs;
        let tagged = self
            .tags
            .iter()
            .all(|(key, value)| facts.tags.get(key) == Some(value));
        if !of_kind || !tagged || !self.is_about(facts.container, facts.name) {
            return None;
        }
        let steps = match facts.state {
            State::Base => &self.base,
            State::Snapshot => &self.snapshot,
            State::Version => &self.version,
        };
        let due = steps.iter().filter(|step| step.is_due(facts, now));
        due.map(|step| step.action).max()
    }

    fn is_about(&self, container: &str, name: &str) -> bool {
        self.prefixes.is_empty() || self.prefixes_in(container).any(|prefix| name.starts_with(prefix))
    }

    /// The begins of names that it is about in a container.
    fn prefixes_in<'a>(&'a self, container: &'a str) -> impl Iterator<Item = &'a str> {
        let all = self.prefixes.is_empty().then_some("");
        let named = self
            .prefixes
            .iter()
            .filter_map(move |prefix| match prefix.split_once('/') {
                Some((of, name)) => (of == container).then_some(name),
                // The begin of containers' names.
                None => container.starts_with(prefix.as_str()).then_some(""),
            });
        all.into_iter().chain(named)
    }
}

impl Step {
    fn is_due(&self, facts: &Facts<'_>, now: Timestamp) -> bool {
        let older = |than: u32, since: Timestamp| {
            let days = SignedDuration::from_hours(24 * i64::from(than));
            now.duration_since(since) > days
        };
        let since = match self.since {
            Since::Modification => facts.modified,
            Since::Creation => facts.created,
            Since::Access => facts.accessed,
        };
        let colder = self
            .action
            .tier()
            .is_none_or(|tier| facts.is_block && warmth(tier) < warmth(facts.tier));
        // What nobody gave a tier has had its own since it was made.
        let long_in_tier = self
            .days_in_tier
            .is_none_or(|days| older(days, facts.tier_changed.unwrap_or(facts.created)));
        colder && long_in_tier && older(self.days, since)
    }
}

fn warmth(tier: Tier) -> u8 {
    match tier {
        Tier::Hot => 3,
        Tier::Cool => 2,
        Tier::Cold => 1,
        Tier::Archive => 0,
    }
}

fn steps(of: &str, written: Option<WrittenSteps>) -> Result<Vec<Step>, String> {
    let Some(written) = written else {
        return Ok(Vec::new());
    };
    if written.enable_auto_tier_to_hot_from_cool.is_some() {
        return Err(format!(
            "actions.{of}.enableAutoTierToHotFromCool isn't done here; remove it"
        ));
    }
    let all = [
        (Action::Cool, written.tier_to_cool),
        (Action::Cold, written.tier_to_cold),
        (Action::Archive, written.tier_to_archive),
        (Action::Delete, written.delete),
    ];
    let mut steps = Vec::new();
    for (action, age) in all {
        if let Some(age) = age {
            let place = format!("actions.{of}.{action}");
            steps.push(step(of, action, &age).map_err(|cause| format!("{place}: {cause}"))?);
        }
    }
    Ok(steps)
}

fn step(of: &str, action: Action, age: &WrittenAge) -> Result<Step, String> {
    let (since, days) = match (
        age.days_after_modification_greater_than,
        age.days_after_creation_greater_than,
        age.days_after_last_access_time_greater_than,
    ) {
        (Some(_), None, None) | (None, None, Some(_)) if of != "baseBlob" => {
            return Err("snapshots and versions have daysAfterCreationGreaterThan".to_owned());
        }
        (Some(days), None, None) => (Since::Modification, days),
        (None, Some(days), None) => (Since::Creation, days),
        (None, None, Some(days)) => (Since::Access, days),
        _ => {
            return Err(
                "give one of daysAfterModificationGreaterThan, daysAfterCreationGreaterThan and \
                 daysAfterLastAccessTimeGreaterThan"
                    .to_owned(),
            );
        }
    };
    let in_tier = age.days_after_last_tier_change_greater_than;
    if in_tier.is_some() && action != Action::Archive {
        return Err("daysAfterLastTierChangeGreaterThan is for tierToArchive".to_owned());
    }
    Ok(Step {
        action,
        since,
        days: whole_days(days)?,
        days_in_tier: in_tier.map(whole_days).transpose()?,
    })
}

/// The reference has numbers, of which whole ones are taken.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "is checked to be within"
)]
fn whole_days(days: f64) -> Result<u32, String> {
    if days.fract() != 0.0 || !(0.0..=f64::from(LIFECYCLE_DAYS_MAX)).contains(&days) {
        return Err(format!("{days} days; a whole number up to {LIFECYCLE_DAYS_MAX}"));
    }
    Ok(days as u32)
}

#[cfg(test)]
mod tests;
