//! Reads all documents in the order of a property, page by page to the end, and what Stabbur's memory
//! comes to meanwhile; and asks for other orders: one that a composite index gives, and one that no index
//! does.

use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::shape::Shape;
use super::stabbur::{COMPOSITE, ORDERED, Query, UNINDEXED, ask, page};
use crate::account::{Account, count};
use crate::load::Plan;
use crate::process::{peak_bytes, reset_peak, usage};
use crate::sample::fact;

/// Rows of a page of what reads all.
const PAGE: u64 = 1_000;
/// Where in the order pages by continuation begin.
const TOKENS: usize = 16;

/// The first page of the order that anybody asks for: documents without the property come first, and it
/// isn't known yet that there are none.
pub async fn first(url: &str) -> Result<()> {
    let mut account = Account::open(url).await?;
    let began = Instant::now();
    let (mut pages, mut continuation) = (0u64, None::<String>);
    loop {
        let mut query = Query::new(ORDERED, json!([]));
        query.continuation = continuation.as_deref();
        let (body, next) = page(&mut account, query).await?;
        pages += 1;
        if count(&body)? > 0 {
            break;
        }
        continuation = Some(next.context("no document at all")?);
    }
    ours("first_seconds", began.elapsed().as_secs_f64());
    ours("first_pages", pages as f64);
    Ok(())
}

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

/// Reads all, then asks for first pages of other orders.
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
    for (name, sql) in [("composite", COMPOSITE), ("unindexed", UNINDEXED)] {
        reset_peak(&plan.pids)?;
        let began = Instant::now();
        let (status, _) = ask(&mut account, Query::new(sql, json!([]))).await?;
        ours(&format!("{name}_status"), f64::from(status));
        ours(&format!("{name}_seconds"), began.elapsed().as_secs_f64());
        ours(&format!("{name}_peak_bytes"), peak_bytes(&plan.pids)? as f64);
    }
    Ok(())
}

fn ours(name: &str, value: f64) {
    fact(name, value, 0.0);
}
