//! Runs one kind of operation from many tasks, for a time or a number, and measures it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::task::LocalSet;

use crate::process::usage;
use crate::sample::Sample;

/// What all measurements of a run have in common.
pub struct Plan {
    pub concurrency: usize,
    /// How long reads are measured.
    pub time: Duration,
    pub pids: Vec<u32>,
}

/// When a slice of a measurement ends.
#[derive(Clone, Copy)]
pub enum Until {
    /// After so long.
    Time(Duration),
    /// After this many operations.
    Number(u64),
}

/// Something that can do the `n`th operation, on a connection of its own.
pub trait Worker {
    /// Does it; an unexpected answer is an error and ends the run, so that no failure is measured
    /// as a fast success.
    fn operate(&mut self, n: u64) -> impl Future<Output = Result<()>>;
}

/// Measures `operation` over `workers` in one piece; they are given back for the next.
pub async fn measure<W: Worker + 'static>(
    plan: &Plan,
    operation: &'static str,
    until: Until,
    mut workers: Vec<W>,
) -> Result<Vec<W>> {
    let mut sample = Sample::new(operation);
    slice(&mut sample, &plan.pids, until, &mut workers).await?;
    sample.print();
    Ok(workers)
}

/// Measures a slice more of `sample`, whose operations go on where they ended; `pids` are the
/// servers whose use of the machine is read.
pub async fn slice<W: Worker + 'static>(
    sample: &mut Sample,
    pids: &[u32],
    until: Until,
    workers: &mut Vec<W>,
) -> Result<()> {
    let before = usage(pids)?;
    let own_before = usage(&[std::process::id()])?.cpu_seconds;
    let first = sample.latencies.len() as u64;
    let began = Instant::now();
    let (deadline, number) = match until {
        Until::Time(time) => (Some(began + time), u64::MAX),
        Until::Number(number) => (None, first + number),
    };
    let next = Rc::new(Cell::new(first));
    let local = LocalSet::new();
    let tasks: Vec<_> = workers
        .drain(..)
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
    local
        .run_until(async {
            for task in tasks {
                let (worker, own) = task
                    .await?
                    .with_context(|| format!("measuring {}", sample.operation))?;
                workers.push(worker);
                sample.latencies.extend(own);
            }
            anyhow::Ok(())
        })
        .await?;
    let elapsed = began.elapsed();
    let after = usage(pids)?;
    let operations = sample.latencies.len() as u64 - first;
    sample.rates.push(operations as f64 / elapsed.as_secs_f64());
    sample.elapsed += elapsed;
    sample.cpu_seconds += after.cpu_seconds - before.cpu_seconds;
    sample.own_cpu_seconds += usage(&[std::process::id()])?.cpu_seconds - own_before;
    sample.memory_bytes = after.memory_bytes;
    Ok(())
}

/// A slice by so many of the workers.
pub async fn some<W: Worker + 'static>(
    workers: &mut Vec<W>,
    concurrency: usize,
    sample: &mut Sample,
    pids: &[u32],
    until: Until,
) -> Result<()> {
    ensure!(concurrency <= workers.len(), "fewer connections than wanted");
    let mut resting = workers.split_off(concurrency);
    slice(sample, pids, until, workers).await?;
    workers.append(&mut resting);
    Ok(())
}
