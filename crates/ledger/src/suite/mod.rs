//! The conformance suite: what [`crate::Ledger`] promises, as cases that every engine passes.
//!
//! An engine's own tests implement [`Engine`] and call [`run`]. Each case gets a ledger of its own,
//! fresh and empty, and answers with a [`Failure`] instead of a panic, so that a test can also see
//! that a faulty engine is noticed. Cases know nothing but the contract: where it leaves something
//! open (which of two failed preconditions is named), they accept every answer that it allows.
//!
//! Behind the feature `suite`: it is test code that other crates' tests need, so it can't be
//! `cfg(test)`.

mod check;
mod concurrency;
mod durability;
#[cfg(test)]
mod faulty;
mod limits;
mod log;
mod model;
mod oracle;
mod preconditions;
mod probe;
mod scans;
mod snapshots;
#[cfg(test)]
mod tests;
mod writes;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use check::Failure;
use check::equal;

use crate::{Ledger, LedgerError};

/// Longest that one case may take: past it the engine hangs.
const CASE_SECONDS_MAX: u64 = 300;

/// Makes ledgers for the suite.
#[async_trait]
pub trait Engine: Send + Sync {
    /// A new ledger, empty, that shares nothing with those made before.
    ///
    /// # Errors
    /// What the engine says.
    async fn create(&self) -> Result<Box<dyn Subject>, LedgerError>;
}

/// A ledger under test.
#[async_trait]
pub trait Subject: Send {
    /// The ledger as it is open now.
    fn ledger(&self) -> Arc<dyn Ledger>;

    /// Closes the ledger and opens it again; `false` if the engine keeps nothing when closed, and
    /// then nothing is done. No case holds on to the old ledger when it calls this.
    ///
    /// # Errors
    /// What the engine says.
    async fn reopen(&mut self) -> Result<bool, LedgerError>;
}

/// What a case returns.
type Outcome<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// One case: its name and what it does.
struct Case {
    name: &'static str,
    run: for<'a> fn(&'a mut dyn Subject) -> Outcome<'a>,
}

macro_rules! cases {
    ($($module:ident :: $name:ident),+ $(,)?) => {
        const CASES: &[Case] = &[$(Case {
            name: concat!(stringify!($module), "::", stringify!($name)),
            run: |subject| Box::pin($module::$name(subject)),
        }),+];
    };
}

cases! {
    preconditions::absent,
    preconditions::present,
    preconditions::version,
    preconditions::several_in_one_transaction,
    preconditions::on_keys_that_are_not_written,
    preconditions::see_the_ledger_before_their_transaction,
    preconditions::alone_commit_or_conflict,
    writes::put_and_delete,
    writes::the_last_write_to_a_key_holds,
    writes::put_sequenced,
    writes::versions_are_the_writing_commit,
    writes::sequences_have_no_gap,
    writes::get_many_keeps_the_order_asked,
    snapshots::do_not_see_later_commits,
    snapshots::contain_what_was_acknowledged,
    snapshots::outlive_deletes_and_trims,
    scans::both_directions,
    scans::limits_and_continuation,
    scans::the_budget_of_bytes,
    scans::ranges_with_nothing_in_them,
    scans::ranges_that_end_in_ff,
    scans::only_what_was_put,
    log::entries_are_what_was_committed,
    log::pages_are_bounded,
    log::the_chain_holds,
    log::followers_never_skip_nor_repeat,
    log::a_follower_moves_with_its_own_commit,
    log::trimming_waits_for_followers,
    limits::keys,
    limits::values,
    limits::transactions,
    concurrency::one_of_many_creators_wins,
    concurrency::counters_lose_nothing,
    concurrency::overlapping_commits_are_as_if_one_by_one,
    concurrency::the_head_never_goes_back,
    concurrency::followers_during_commits,
    durability::a_closed_ledger_refuses,
    durability::reopening_keeps_all,
    durability::reopening_keeps_trims_and_followers,
    durability::verify_finds_nothing,
    model::random_operations,
}

/// Names of all cases.
#[must_use]
pub fn case_names() -> Vec<&'static str> {
    CASES.iter().map(|case| case.name).collect()
}

/// Runs every case; the failures, each with the name of its case. Empty means that the engine
/// keeps the contract as far as the suite knows.
pub async fn run(engine: &dyn Engine) -> Vec<Failure> {
    run_within(engine, Duration::from_secs(CASE_SECONDS_MAX)).await
}

/// As [`run`]; a case that takes longer than `limit` fails.
async fn run_within(engine: &dyn Engine, limit: Duration) -> Vec<Failure> {
    let mut failures = Vec::new();
    for case in CASES {
        if let Err(failure) = run_one(engine, case, limit).await {
            failures.push(failure.in_case(case.name));
        }
    }
    failures
}

/// Runs the random operations with a seed of the caller's: for longer runs, and to repeat one.
///
/// # Errors
/// What the engine did that the model didn't expect, with the step.
pub async fn run_model(engine: &dyn Engine, seed: u64, steps: u32) -> Result<(), Failure> {
    let mut subject = engine.create().await?;
    model::operations(subject.as_mut(), seed, steps).await
}

async fn run_one(engine: &dyn Engine, case: &Case, limit: Duration) -> Result<(), Failure> {
    let mut subject = engine.create().await?;
    equal(*subject.ledger().head().borrow(), 0, "the head of a new ledger")?;
    tokio::time::timeout(limit, (case.run)(subject.as_mut()))
        .await
        .unwrap_or_else(|_| Err(Failure::new(format!("not done after {limit:?}"))))
}
