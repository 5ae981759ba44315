//! Leases: what each action makes of a lease in each state, and who may use what is leased.
//!
//! A lease's state is derived from what was written and the time now, so nothing has to run when
//! one ends. Source: "Lease Blob", "Lease Container", both "Remarks".

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::ErrorCode;

/// A lease as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Its id: a UUID, hyphenated, in lower case.
    pub id: String,
    /// How long it lasts from acquiring or renewing, in seconds; `None`: until it is ended.
    pub duration_seconds: Option<u32>,
    /// When it ends by itself; `None`: never.
    pub expires: Option<Timestamp>,
    /// When the break is over, if it is being broken or is broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaks: Option<Timestamp>,
}

/// The states of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nobody holds it.
    Available,
    /// Somebody holds it.
    Leased,
    /// Somebody holds it for the rest of its break period.
    Breaking,
    /// It was broken and may be acquired.
    Broken,
    /// Its time is over and it may be acquired, or renewed if nothing was changed since.
    Expired,
}

impl State {
    /// As headers and listings have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Leased => "leased",
            Self::Breaking => "breaking",
            Self::Broken => "broken",
            Self::Expired => "expired",
        }
    }

    /// Whether writes need the lease's id.
    #[must_use]
    pub fn locks(self) -> bool {
        matches!(self, Self::Leased | Self::Breaking)
    }

    /// `x-ms-lease-status`.
    #[must_use]
    pub fn status(self) -> &'static str {
        if self.locks() { "locked" } else { "unlocked" }
    }
}

/// The state of a lease, or of none.
#[must_use]
pub fn state(lease: Option<&Lease>, now: Timestamp) -> State {
    let Some(lease) = lease else {
        return State::Available;
    };
    match (lease.breaks, lease.expires) {
        (Some(breaks), _) if now < breaks => State::Breaking,
        (Some(_), _) => State::Broken,
        (None, Some(expires)) if now >= expires => State::Expired,
        (None, _) => State::Leased,
    }
}

/// `x-ms-lease-duration`, which only a held lease has.
#[must_use]
pub fn duration(lease: Option<&Lease>, now: Timestamp) -> Option<&'static str> {
    let lease = lease.filter(|lease| state(Some(lease), now) == State::Leased)?;
    Some(if lease.duration_seconds.is_some() {
        "fixed"
    } else {
        "infinite"
    })
}

/// What a client asks of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Takes it for so many seconds, or until it is ended.
    Acquire {
        /// The new lease's id.
        proposed: String,
        /// `None`: until it is ended.
        duration_seconds: Option<u32>,
    },
    /// Starts its time anew.
    Renew {
        /// Whose it is.
        id: String,
    },
    /// Gives it another id.
    Change {
        /// Whose it is.
        id: String,
        /// Whose it is afterwards.
        proposed: String,
    },
    /// Ends it at once.
    Release {
        /// Whose it is.
        id: String,
    },
    /// Ends it after a while, without its id.
    Break {
        /// The longest it may go on.
        period_seconds: Option<u32>,
    },
}

/// What becomes of a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The lease afterwards.
    pub lease: Option<Lease>,
    /// Seconds until a broken lease may be acquired, rounded up.
    pub remaining_seconds: Option<i64>,
}

fn after(now: Timestamp, seconds: u32) -> Timestamp {
    now.saturating_add(SignedDuration::from_secs(i64::from(seconds)))
        .unwrap_or(now)
}

/// Applies an action.
///
/// # Errors
/// The protocol's code where the state or the id doesn't allow it.
pub fn apply(lease: Option<&Lease>, action: &Action, now: Timestamp) -> Result<Outcome, ErrorCode> {
    use State::{Available, Breaking, Broken, Expired, Leased};
    let found = state(lease, now);
    let becomes = |lease: Option<Lease>| {
        Ok(Outcome {
            lease,
            remaining_seconds: None,
        })
    };
    let Some(held) = lease else {
        return match action {
            Action::Acquire {
                proposed,
                duration_seconds,
            } => becomes(Some(taken(proposed, *duration_seconds, now))),
            Action::Renew { .. } | Action::Release { .. } => {
                Err(ErrorCode::LeaseIdMismatchWithLeaseOperation)
            }
            Action::Change { .. } | Action::Break { .. } => Err(ErrorCode::LeaseNotPresentWithLeaseOperation),
        };
    };
    match action {
        Action::Acquire {
            proposed,
            duration_seconds,
        } => match found {
            Leased if *proposed != held.id => Err(ErrorCode::LeaseAlreadyPresent),
            Breaking if *proposed != held.id => Err(ErrorCode::LeaseAlreadyPresent),
            Breaking => Err(ErrorCode::LeaseIsBreakingAndCannotBeAcquired),
            _ => becomes(Some(taken(proposed, *duration_seconds, now))),
        },
        Action::Renew { id } => match found {
            _ if *id != held.id => Err(ErrorCode::LeaseIdMismatchWithLeaseOperation),
            Breaking | Broken => Err(ErrorCode::LeaseIsBrokenAndCannotBeRenewed),
            _ => becomes(Some(taken(id, held.duration_seconds, now))),
        },
        Action::Change { id, proposed } => match found {
            Available | Broken | Expired => Err(ErrorCode::LeaseNotPresentWithLeaseOperation),
            // A change that was made before is repeated by clients that didn't hear of it.
            _ if *id != held.id && *proposed != held.id => Err(ErrorCode::LeaseIdMismatchWithLeaseOperation),
            Breaking => Err(ErrorCode::LeaseIsBreakingAndCannotBeChanged),
            Leased => becomes(Some(Lease {
                id: proposed.clone(),
                ..held.clone()
            })),
        },
        Action::Release { id } if *id != held.id => Err(ErrorCode::LeaseIdMismatchWithLeaseOperation),
        Action::Release { .. } => becomes(None),
        Action::Break { period_seconds } => {
            let rest_ends = match found {
                Leased => held.expires,
                Breaking => held.breaks,
                _ => Some(now),
            };
            let asked = period_seconds.map(|seconds| after(now, seconds));
            let ends = match (asked, rest_ends) {
                (Some(asked), Some(rest)) => asked.min(rest),
                (Some(end), None) | (None, Some(end)) => end,
                (None, None) => now,
            };
            let remaining = ends.duration_since(now).as_millis().max(0).saturating_add(999) / 1_000;
            Ok(Outcome {
                lease: Some(Lease {
                    breaks: Some(ends),
                    ..held.clone()
                }),
                remaining_seconds: Some(i64::try_from(remaining).unwrap_or(i64::MAX)),
            })
        }
    }
}

fn taken(id: &str, duration_seconds: Option<u32>, now: Timestamp) -> Lease {
    Lease {
        id: id.to_owned(),
        duration_seconds,
        expires: duration_seconds.map(|seconds| after(now, seconds)),
        breaks: None,
    }
}

/// What is leased: it picks the codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A blob.
    Blob,
    /// A container.
    Container,
}

/// What an operation does to what is leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// An id is checked if one is sent.
    Reads,
    /// A held lease's id must be sent.
    Writes,
}

/// Decides an operation on something that may be leased; `sent` is `x-ms-lease-id`.
///
/// # Errors
/// The protocol's code.
pub fn check(
    lease: Option<&Lease>,
    sent: Option<&str>,
    (subject, what): (Subject, Use),
    now: Timestamp,
) -> Result<(), ErrorCode> {
    let found = state(lease, now);
    match (lease, sent) {
        (Some(_), None) if found.locks() && what == Use::Writes => Err(ErrorCode::LeaseIdMissing),
        (_, None) => Ok(()),
        (Some(held), Some(id)) if found.locks() => {
            if held.id == id {
                Ok(())
            } else if subject == Subject::Blob {
                Err(ErrorCode::LeaseIdMismatchWithBlobOperation)
            } else {
                Err(ErrorCode::LeaseIdMismatchWithContainerOperation)
            }
        }
        (Some(_), Some(_)) => Err(ErrorCode::LeaseLost),
        (None, Some(_)) if subject == Subject::Blob => Err(ErrorCode::LeaseNotPresentWithBlobOperation),
        (None, Some(_)) => Err(ErrorCode::LeaseNotPresentWithContainerOperation),
    }
}

/// What a write leaves of a lease: one that is over can't be renewed afterwards.
#[must_use]
pub fn after_write(lease: Option<&Lease>, now: Timestamp) -> Option<Lease> {
    lease.filter(|lease| state(Some(lease), now).locks()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ErrorCode::*;

    const A: &str = "a";
    const B: &str = "b";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Each state, as it is at second 100, held by A.
    fn states() -> [(State, Option<Lease>); 6] {
        let lease = |expires: Option<i64>, breaks: Option<i64>| {
            Some(Lease {
                id: A.to_owned(),
                duration_seconds: expires.map(|_| 30),
                expires: expires.map(at),
                breaks: breaks.map(at),
            })
        };
        [
            (State::Available, None),
            (State::Leased, lease(Some(120), None)),
            (State::Leased, lease(None, None)),
            (State::Breaking, lease(Some(120), Some(110))),
            (State::Broken, lease(Some(120), Some(100))),
            (State::Expired, lease(Some(100), None)),
        ]
    }

    fn acquire(id: &str) -> Action {
        Action::Acquire {
            proposed: id.to_owned(),
            duration_seconds: Some(15),
        }
    }

    fn change(id: &str, proposed: &str) -> Action {
        Action::Change {
            id: id.to_owned(),
            proposed: proposed.to_owned(),
        }
    }

    #[test]
    fn every_action_in_every_state() {
        // State afterwards, whose it is, and seconds until it ends or is broken.
        type Expected = Result<(State, &'static str, Option<i64>), ErrorCode>;
        let taken = |id| Ok((State::Leased, id, Some(15)));
        let free = Ok((State::Available, "", None));
        let broken = Ok((State::Broken, A, Some(0)));
        let mismatch = Err(LeaseIdMismatchWithLeaseOperation);
        let renewed = |seconds| Ok((State::Leased, A, seconds));
        let renew = |id: &str| Action::Renew { id: id.to_owned() };
        let release = |id: &str| Action::Release { id: id.to_owned() };
        let breaks = |period_seconds| Action::Break { period_seconds };
        let breaking = |seconds| Ok((State::Breaking, A, Some(seconds)));
        let absent = Err(LeaseNotPresentWithLeaseOperation);
        // Columns: available, leased (20 s left), leased for good, breaking (10 s left), broken, expired.
        let table: Vec<(Action, [Expected; 6])> = vec![
            (
                acquire(A),
                [
                    taken(A),
                    taken(A),
                    taken(A),
                    Err(LeaseIsBreakingAndCannotBeAcquired),
                    taken(A),
                    taken(A),
                ],
            ),
            (
                acquire(B),
                [
                    taken(B),
                    Err(LeaseAlreadyPresent),
                    Err(LeaseAlreadyPresent),
                    Err(LeaseAlreadyPresent),
                    taken(B),
                    taken(B),
                ],
            ),
            (
                renew(A),
                [
                    mismatch,
                    renewed(Some(30)),
                    renewed(None),
                    Err(LeaseIsBrokenAndCannotBeRenewed),
                    Err(LeaseIsBrokenAndCannotBeRenewed),
                    renewed(Some(30)),
                ],
            ),
            (renew(B), [mismatch; 6]),
            (
                change(A, B),
                [
                    absent,
                    Ok((State::Leased, B, Some(20))),
                    Ok((State::Leased, B, None)),
                    Err(LeaseIsBreakingAndCannotBeChanged),
                    absent,
                    absent,
                ],
            ),
            (
                change(B, A),
                [
                    absent,
                    Ok((State::Leased, A, Some(20))),
                    Ok((State::Leased, A, None)),
                    Err(LeaseIsBreakingAndCannotBeChanged),
                    absent,
                    absent,
                ],
            ),
            (
                change(B, "c"),
                [absent, mismatch, mismatch, mismatch, absent, absent],
            ),
            (release(A), [mismatch, free, free, free, free, free]),
            (release(B), [mismatch; 6]),
            (
                breaks(None),
                [absent, breaking(20), broken, breaking(10), broken, broken],
            ),
            (breaks(Some(0)), [absent, broken, broken, broken, broken, broken]),
            (
                breaks(Some(5)),
                [absent, breaking(5), breaking(5), breaking(5), broken, broken],
            ),
            (
                breaks(Some(60)),
                [absent, breaking(20), breaking(60), breaking(10), broken, broken],
            ),
        ];
        for (action, row) in table {
            for ((before, lease), expected) in states().into_iter().zip(row) {
                let found = apply(lease.as_ref(), &action, at(100)).map(|outcome| {
                    let lease = outcome.lease.as_ref();
                    let ends = lease.and_then(|lease| lease.breaks.or(lease.expires));
                    let seconds = ends.map(|ends| ends.as_second() - 100);
                    if matches!(action, Action::Break { .. }) {
                        assert_eq!(outcome.remaining_seconds, seconds, "{action:?} when {before:?}");
                    }
                    let id = lease.map_or(String::new(), |lease| lease.id.clone());
                    (state(lease, at(100)), id, seconds)
                });
                let expected = expected.map(|(state, id, seconds)| (state, id.to_owned(), seconds));
                assert_eq!(found, expected, "{action:?} when {before:?}");
            }
        }
    }

    #[test]
    fn operations_in_every_state() {
        // Columns: writes without, with A, with B; reads without, with A, with B.
        let free = [
            Ok(()),
            Err(LeaseNotPresentWithBlobOperation),
            Err(LeaseNotPresentWithBlobOperation),
        ];
        let held = |without| [without, Ok(()), Err(LeaseIdMismatchWithBlobOperation)];
        let over = [Ok(()), Err(LeaseLost), Err(LeaseLost)];
        for (state, lease) in states() {
            let (writes, reads) = match state {
                State::Available => (free, free),
                State::Leased | State::Breaking => (held(Err(LeaseIdMissing)), held(Ok(()))),
                State::Broken | State::Expired => (over, over),
            };
            for (what, row) in [(Use::Writes, writes), (Use::Reads, reads)] {
                for (sent, expected) in [None, Some(A), Some(B)].into_iter().zip(row) {
                    let found = check(lease.as_ref(), sent, (Subject::Blob, what), at(100));
                    assert_eq!(found, expected, "{what:?} with {sent:?} when {state:?}");
                }
            }
        }
    }

    #[test]
    fn a_write_forgets_a_lease_that_is_over_only() {
        for (state, lease) in states() {
            assert_eq!(
                after_write(lease.as_ref(), at(100)).is_some(),
                state.locks(),
                "{state:?}"
            );
        }
    }
}
