//! What protects a state, as a model has it, and requests that change it.

use http_semantics::date;
use ledger::Clock as _;
use proptest::prelude::*;

use super::{Answer, Bench, bench_over};

/// In units of 100 ns since 1970.
pub(crate) type Ticks = i128;

/// How protection is changed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum How {
    Policy { seconds: i64, locked: bool },
    NoPolicy,
    Hold(bool),
}

pub(crate) fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        4 => (prop_oneof![Just(3_i64), Just(90_000)], prop::bool::weighted(0.3))
            .prop_map(|(seconds, locked)| How::Policy { seconds, locked }),
        2 => Just(How::NoPolicy),
        2 => any::<bool>().prop_map(How::Hold),
    ]
}

/// What protects a state.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Guard {
    /// Until when, and whether it is locked.
    pub(crate) policy: Option<(Ticks, bool)>,
    pub(crate) held: Option<bool>,
}

impl Guard {
    pub(crate) fn keeps(self, now: Ticks) -> bool {
        self.held == Some(true) || self.policy.is_some_and(|(until, _)| until > now)
    }

    pub(crate) fn freezes(self) -> bool {
        self.held == Some(true) || self.policy.is_some()
    }

    /// What becomes of it; `None` if that is refused.
    pub(crate) fn after(self, how: How, now: Ticks) -> Option<Self> {
        let until = |seconds: i64| (now / 10_000_000 + i128::from(seconds)) * 10_000_000;
        match (how, self.policy) {
            (How::Policy { seconds, locked }, Some((before, true))) if !locked || until(seconds) < before => {
                None
            }
            (How::Policy { seconds, locked }, _) => Some(Self {
                policy: Some((until(seconds), locked)),
                ..self
            }),
            (How::NoPolicy, Some((_, true))) => None,
            (How::NoPolicy, _) => Some(Self { policy: None, ..self }),
            (How::Hold(held), _) => Some(Self {
                held: Some(held),
                ..self
            }),
        }
    }

    /// What an answer says of it.
    pub(crate) fn shown(got: &Answer) -> Self {
        let until = date::parse(got.header("x-ms-immutability-policy-until-date"));
        let locked = got.header("x-ms-immutability-policy-mode") == "locked";
        Self {
            policy: until.map(|until| (until.as_nanosecond() / 100, locked)),
            held: match got.header("x-ms-legal-hold") {
                "" => None,
                held => Some(held == "true"),
            },
        }
    }
}

/// The same estate after a restart; blobs can be protected where there are versions.
pub(crate) fn immutable(bench: &Bench, versioning: bool) -> Bench {
    let stores = (bench.ledger.clone(), bench.content.clone());
    bench_over(stores, bench.clock.clone(), 3, |settings| {
        settings.accounts[0].versioning = versioning;
        settings.accounts[0].immutable_storage = true;
    })
}

pub(crate) async fn ask_protection(bench: &Bench, path: &str, named: &str, how: How) -> Answer {
    let policies = format!("{path}?comp=immutabilityPolicies{named}");
    match how {
        How::Policy { seconds, locked } => {
            let until = bench.clock.now();
            let until = until
                .checked_add(jiff::SignedDuration::from_secs(seconds))
                .unwrap();
            let until = date::format(until);
            let headers = [
                ("x-ms-immutability-policy-until-date", until.as_str()),
                (
                    "x-ms-immutability-policy-mode",
                    if locked { "Locked" } else { "Unlocked" },
                ),
            ];
            bench.ask("PUT", &policies, &headers, b"").await
        }
        How::NoPolicy => bench.ask("DELETE", &policies, &[], b"").await,
        How::Hold(held) => {
            let held = held.to_string();
            let headers = [("x-ms-legal-hold", held.as_str())];
            bench
                .ask("PUT", &format!("{path}?comp=legalhold{named}"), &headers, b"")
                .await
        }
    }
}
