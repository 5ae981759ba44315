//! Rotation policies of keys: what one may say, and when a key is due.

use jiff::civil::DateTime;
use jiff::fmt::temporal::SpanParser;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::limits::{ROTATION_DAYS_MIN, ROTATION_EXPIRY_DAYS_MIN};

/// When an action is due; one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    /// This long after a version was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_after_create: Option<String>,
    /// This long before it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_before_expiry: Option<String>,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// `Rotate` or `Notify`, without case.
    #[serde(rename = "type")]
    pub kind: String,
}

/// An action and its trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifetimeAction {
    /// When.
    #[serde(default)]
    pub trigger: Option<Trigger>,
    /// What.
    pub action: Action,
}

/// What a policy says of new versions, and when it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyAttributes {
    /// How long a new version lives, ISO 8601.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry_time: Option<String>,
    /// Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<i64>,
    /// Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated: Option<i64>,
}

/// A rotation policy, as it is on the wire.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// At most one of each kind.
    #[serde(default)]
    pub lifetime_actions: Vec<LifetimeAction>,
    /// See [`PolicyAttributes`].
    #[serde(default)]
    pub attributes: PolicyAttributes,
}

/// A time later by an ISO 8601 duration of days and longer, or earlier.
fn moved(from: i64, duration: &str, forward: bool) -> Option<i64> {
    // The library's own reading also takes words, such as `10 days`.
    let span: Span = SpanParser::new().parse_span(duration).ok()?;
    if !duration.starts_with('P') {
        return None;
    }
    let start: DateTime = TimeZone::UTC.to_datetime(Timestamp::from_second(from).ok()?);
    let end = if forward {
        start.checked_add(span)
    } else {
        start.checked_sub(span)
    };
    Some(TimeZone::UTC.to_timestamp(end.ok()?).ok()?.as_second())
}

/// Days of a duration, counted from the start of a year without a leap day.
fn days(duration: &str) -> Option<i64> {
    // 2023-01-01
    let from = 1_672_531_200;
    let seconds = moved(from, duration, true)?.checked_sub(from)?;
    (seconds > 0).then_some(seconds / 86_400)
}

impl Policy {
    /// What a key without a policy shows: a notification 30 days before expiry.
    #[must_use]
    pub fn none() -> Self {
        Self {
            lifetime_actions: vec![LifetimeAction {
                trigger: Some(Trigger {
                    time_after_create: None,
                    time_before_expiry: Some("P30D".to_owned()),
                }),
                action: Action {
                    kind: "Notify".to_owned(),
                },
            }],
            attributes: PolicyAttributes::default(),
        }
    }

    /// What is wrong with it, if anything is.
    ///
    /// # Errors
    /// A text for the client.
    pub fn check(&self) -> Result<(), String> {
        let expiry = match &self.attributes.expiry_time {
            None => None,
            Some(text) => Some(days(text).ok_or("expiryTime is no ISO 8601 duration.")?),
        };
        if expiry.is_some_and(|days| days < ROTATION_EXPIRY_DAYS_MIN) {
            return Err(format!("expiryTime is at least {ROTATION_EXPIRY_DAYS_MIN} days."));
        }
        for kind in ["rotate", "notify"] {
            let count = self.actions(kind).count();
            if count > 1 {
                return Err(format!(
                    "lifetimeActions has {count} actions of type {kind}; at most one."
                ));
            }
        }
        for action in &self.lifetime_actions {
            let rotates = action.action.kind.eq_ignore_ascii_case("rotate");
            if !rotates && !action.action.kind.eq_ignore_ascii_case("notify") {
                return Err("An action's type is Rotate or Notify.".to_owned());
            }
            let trigger = action.trigger.as_ref().ok_or("An action needs a trigger.")?;
            let (after, before) = match (&trigger.time_after_create, &trigger.time_before_expiry) {
                (Some(after), None) => (Some(after), None),
                (None, Some(before)) => (None, Some(before)),
                _ => return Err("A trigger is one of timeAfterCreate and timeBeforeExpiry.".to_owned()),
            };
            let duration = after.or(before).map(String::as_str).unwrap_or_default();
            let days = days(duration).ok_or("A trigger's time is no ISO 8601 duration.")?;
            if !rotates {
                if after.is_some() {
                    return Err("Notify is triggered by timeBeforeExpiry.".to_owned());
                }
                continue;
            }
            if days < ROTATION_DAYS_MIN {
                return Err(format!(
                    "A key is rotated {ROTATION_DAYS_MIN} days after its creation at the earliest, and that long before it \
                     expires at the latest."
                ));
            }
            match expiry {
                None if before.is_some() => {
                    return Err("timeBeforeExpiry needs an expiryTime.".to_owned());
                }
                Some(expiry) if expiry - days < ROTATION_DAYS_MIN => {
                    return Err(format!(
                        "Between rotation and creation or expiry there are at least {ROTATION_DAYS_MIN} days."
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn actions<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a LifetimeAction> {
        self.lifetime_actions
            .iter()
            .filter(move |action| action.action.kind.eq_ignore_ascii_case(kind))
    }

    /// When a version made at `created` expires, if the policy says so. Unix seconds, here and below.
    #[must_use]
    pub fn expires(&self, created: i64) -> Option<i64> {
        moved(created, self.attributes.expiry_time.as_deref()?, true)
    }

    /// When a version that was made at `created` and expires at `exp` is to be replaced, if ever.
    #[must_use]
    pub fn rotates_at(&self, created: i64, exp: Option<i64>) -> Option<i64> {
        let trigger = self.actions("rotate").next()?.trigger.as_ref()?;
        match (&trigger.time_after_create, &trigger.time_before_expiry) {
            (Some(after), _) => moved(created, after, true),
            (None, Some(before)) => moved(exp?, before, false),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn policy(value: serde_json::Value) -> Policy {
        serde_json::from_value(value).unwrap()
    }

    fn rotating(trigger: &serde_json::Value, expiry: Option<&str>) -> Policy {
        let action = json!({"trigger": trigger, "action": {"type": "Rotate"}});
        policy(json!({"lifetimeActions": [action], "attributes": {"expiryTime": expiry}}))
    }

    #[test]
    fn a_policy_says_when() {
        let after = rotating(&json!({"timeAfterCreate": "P30D"}), Some("P90D"));
        assert_eq!(after.check(), Ok(()));
        assert_eq!(after.expires(0), Some(90 * 86_400));
        assert_eq!(after.rotates_at(0, None), Some(30 * 86_400));
        let before = rotating(&json!({"timeBeforeExpiry": "P7D"}), Some("P1Y"));
        assert_eq!(before.check(), Ok(()));
        assert_eq!(before.rotates_at(0, Some(365 * 86_400)), Some(358 * 86_400));
        assert_eq!(before.rotates_at(0, None), None);
        assert_eq!(Policy::none().rotates_at(0, Some(1)), None);
        assert_eq!(Policy::none().check(), Ok(()));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (trigger, expiry) in [
            (json!({"timeAfterCreate": "P6D"}), None),
            (json!({"timeBeforeExpiry": "P7D"}), None),
            (json!({"timeAfterCreate": "P25D"}), Some("P30D")),
            (json!({"timeAfterCreate": "P10D"}), Some("P27D")),
            (json!({"timeAfterCreate": "ten days"}), None),
            (json!({"timeAfterCreate": "10 days"}), None),
            (json!({"timeAfterCreate": "10d"}), None),
            (json!({"timeAfterCreate": "p10d"}), None),
            (json!({"timeAfterCreate": "+P10D"}), None),
            (json!({"timeAfterCreate": "-P10D"}), None),
            (
                json!({"timeAfterCreate": "P10D", "timeBeforeExpiry": "P10D"}),
                Some("P90D"),
            ),
            (json!({}), None),
            (json!(null), None),
        ] {
            assert!(
                rotating(&trigger, expiry).check().is_err(),
                "{trigger} {expiry:?}"
            );
        }
        let twice = json!({"trigger": {"timeAfterCreate": "P10D"}, "action": {"type": "rotate"}});
        assert!(
            policy(json!({"lifetimeActions": [twice, twice]}))
                .check()
                .is_err()
        );
        let other = json!({"trigger": {"timeAfterCreate": "P10D"}, "action": {"type": "Burn"}});
        assert!(policy(json!({"lifetimeActions": [other]})).check().is_err());
    }
}
