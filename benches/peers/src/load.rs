//! Runs one kind of operation from many tasks, for a time or a number, and measures it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::task::LocalSet;

use crate::process::usage;
use crate::sample::Sample;

/// What all measurements of a run have in common.
pub struct Plan {
    pub concurrency: usize,
    pub seconds: u64,
    pub pids: Vec<u32>,
}

/// When a measurement ends.
pub enum Until {
    /// After the plan's seconds.
    Time,
    /// After this many operations.
    Number(u64),
}

/// Something that can do the `n`th operation, on a connection of its own.
pub trait Worker {
    /// Does it; an unexpected answer is an error and ends the run, so that no failure is measured
    /// as a fast success.
    fn operate(&mut self, n: u64) -> impl Future<Output = Result<()>>;
}

/// Measures `operation` over `workers`, which are given back for the next.
pub async fn measure<W: Worker + 'static>(
    plan: &Plan,
    operation: &'static str,
    until: Until,
    workers: Vec<W>,
) -> Result<Vec<W>> {
    let before = usage(&plan.pids)?;
    let own_before = usage(&[std::process::id()])?.cpu_seconds;
    let began = Instant::now();
    let (deadline, number) = match until {
        Until::Time => (Some(began + Duration::from_secs(plan.seconds)), u64::MAX),
        Until::Number(number) => (None, number),
    };
    let next = Rc::new(Cell::new(0_u64));
    let local = LocalSet::new();
    let tasks: Vec<_> = workers
        .into_iter()
        .map(|mut worker| {
            let next = Rc::clone(&next);
            local.spawn_local(async move {
                let mut latencies = Vec::new();
                loop {
                    let n = next.get();
                    let sent = Instant::now();
                    if n >= number || deadline.is_some_and(|deadline| sent >= deadline) {
                        return anyhow::Ok((worker, latencies));
                    }
                    next.set(n + 1);
                    worker.operate(n).await?;
                    latencies.push(sent.elapsed());
                }
            })
        })
        .collect();
    let mut workers = Vec::new();
    let mut latencies = Vec::new();
    local
        .run_until(async {
            for task in tasks {
                let (worker, own) = task.await?.with_context(|| format!("measuring {operation}"))?;
                workers.push(worker);
                latencies.extend(own);
            }
            anyhow::Ok(())
        })
        .await?;
    let elapsed = began.elapsed();
    let own_cpu_seconds = usage(&[std::process::id()])?.cpu_seconds - own_before;
    Sample {
        operation,
        latencies,
        elapsed,
        before,
        after: usage(&plan.pids)?,
        own_cpu_seconds,
    }
    .print();
    Ok(workers)
}
