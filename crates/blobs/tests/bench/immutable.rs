//! What tests of immutability share: accounts that take it, requests that set it, answers that refuse.

use std::sync::Arc;

use blobs::Account;
use http_semantics::date;
use ledger::{AdjustableClock, Clock as _};

use super::{Answer, Bench, bench_over, bench_with_clock};

pub(crate) const UNTIL: &str = "x-ms-immutability-policy-until-date";
pub(crate) const MODE: &str = "x-ms-immutability-policy-mode";
pub(crate) const HOLD: &str = "x-ms-legal-hold";
pub(crate) const POLICY: (u16, &str) = (409, "BlobImmutableDueToPolicy");
pub(crate) const HELD: (u16, &str) = (409, "BlobImmutableDueToLegalHold");

pub(crate) fn clock() -> Arc<AdjustableClock> {
    Arc::new(AdjustableClock::standing_at(
        jiff::Timestamp::from_second(1_700_000_000).unwrap(),
    ))
}

pub(crate) fn immutable(account: &mut Account) {
    account.versioning = true;
    account.immutable_storage = true;
}

pub(crate) async fn immutable_bench() -> Bench {
    let bench = bench_with_clock(clock(), |settings| immutable(&mut settings.accounts[0]));
    let made = bench.ask("PUT", "/box?restype=container", &[], b"").await;
    assert_eq!(made.status, 201);
    bench
}

/// The same estate after a restart, with other settings.
pub(crate) fn restarted(bench: &Bench, set: impl FnOnce(&mut Account)) -> Bench {
    let stores = (bench.ledger.clone(), bench.content.clone());
    bench_over(stores, bench.clock.clone(), 5, |settings| {
        set(&mut settings.accounts[0]);
    })
}

/// A date that is so far away.
pub(crate) fn date_in(bench: &Bench, seconds: i64) -> String {
    let now = bench.clock.now();
    date::format(now.checked_add(jiff::SignedDuration::from_secs(seconds)).unwrap())
}

pub(crate) async fn set_policy(bench: &Bench, path: &str, mode: &str, seconds: i64) -> Answer {
    let until = date_in(bench, seconds);
    let headers = [(UNTIL, until.as_str()), (MODE, mode)];
    bench.ask("PUT", path, &headers, b"").await
}

pub(crate) async fn set_hold(bench: &Bench, path: &str, held: &str) -> Answer {
    bench.ask("PUT", path, &[(HOLD, held)], b"").await
}

pub(crate) fn ok(answer: &Answer, status: u16) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
}

pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

pub(crate) const BLOCK: Headers<'static> = &[("x-ms-blob-type", "BlockBlob")];
pub(crate) const APPEND: Headers<'static> = &[("x-ms-blob-type", "AppendBlob")];
pub(crate) const PAGE: Headers<'static> = &[
    ("x-ms-blob-type", "PageBlob"),
    ("x-ms-blob-content-length", "1024"),
];
