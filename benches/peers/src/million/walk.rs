//! Reads all documents in the order of a property, page by page to the end, and what Stabbur's memory
//! comes to meanwhile; and asks for orders that no index serves.

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::fact;
use super::shape::Shape;
use super::stabbur::{ORDERED, Query, ask, count, page};
use crate::account::Account;
use crate::load::Plan;
use crate::process::{peak_bytes, reset_peak, usage};

/// Rows of a page of what reads all.
const PAGE: u64 = 1_000;
/// Where in the order pages by continuation begin.
const TOKENS: usize = 16;

/// Continuations from the middle of the order on.
pub async fn tokens(url: &str, shape: Shape) -> Result<Rc<[String]>> {
    let mut account = Account::open(url).await?;
    let (mut tokens, mut seen) = (Vec::new(), 0);
    let mut continuation: Option<String> = None;
    while tokens.len() < TOKENS && seen + 2 * PAGE <= shape.documents {
        let mut query = Query::new(ORDERED, json!([])).of(PAGE);
        query.continuation = continuation.as_deref();
        let (body, next) = page(&mut account, query).await?;
        seen += count(&body)?;
        continuation = Some(next.context("the order ended too early")?);
        if seen >= shape.documents / 2 {
            tokens.extend(continuation.clone());
        }
    }
    Ok(tokens.into())
}

/// Reads all, and asks for what isn't in an index.
pub async fn run(plan: &Plan, url: &str, shape: Shape) -> Result<()> {
    let mut account = Account::open(url).await?;
    let before = usage(&plan.pids)?.memory_bytes;
    reset_peak(&plan.pids)?;
    let began = Instant::now();
    let (mut continuation, mut rows, mut pages) = (None::<String>, 0u64, 0u64);
    let mut last: Option<u64> = None;
    loop {
        let mut query = Query::new(ORDERED, json!([])).of(PAGE);
        query.continuation = continuation.as_deref();
        let (body, next) = page(&mut account, query).await?;
        let body: Value = serde_json::from_slice(&body)?;
        for row in body["Documents"].as_array().into_iter().flatten() {
            let number = row["number"].as_u64();
            ensure!(last < number, "{number:?} behind {last:?}");
            last = number;
            rows += 1;
        }
        pages += 1;
        continuation = next;
        if continuation.is_none() {
            break;
        }
    }
    ensure!(rows >= shape.documents, "only {rows} of {} rows", shape.documents);
    let seconds = began.elapsed().as_secs_f64();
    ours("walk_rows", rows as f64);
    ours("walk_pages", pages as f64);
    ours("walk_seconds", seconds);
    ours("walk_memory_before_bytes", before as f64);
    ours("walk_peak_bytes", peak_bytes(&plan.pids)? as f64);
    unindexed(plan, &mut account).await
}

/// A composite index lets the service order by two properties; here they are sorted, within a bound.
async fn unindexed(plan: &Plan, account: &mut Account) -> Result<()> {
    reset_peak(&plan.pids)?;
    let began = Instant::now();
    let sql = "SELECT * FROM c ORDER BY c.city, c.created";
    let (status, _) = ask(account, Query::new(sql, json!([]))).await?;
    ours("unindexed_status", f64::from(status));
    ours("unindexed_seconds", began.elapsed().as_secs_f64());
    ours("unindexed_peak_bytes", peak_bytes(&plan.pids)? as f64);
    Ok(())
}

fn ours(name: &str, value: f64) {
    fact(name, value, 0.0);
}
