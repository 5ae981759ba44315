//! A million documents in one container, on Stabbur and on PostgreSQL: the load itself, what it leaves
//! on disk and in memory, then what is asked of so many. In turns, as [`crate::against_postgres`].

mod postgres;
mod shape;
mod stabbur;
mod task;
mod walk;

use std::path::{Path, PathBuf};

use anyhow::Result;

use self::postgres::Session;
use self::shape::Shape;
use self::stabbur::Client;
use self::task::{STEPS, Step, Task};
use crate::load::{Plan, Until, some};
use crate::process::{Paused, folder_bytes, peak_bytes, quiet, reset_peak};
use crate::sample::{Sample, fact};

/// Pieces in which the documents are loaded, by turns.
const LOAD_SLICES: u64 = 10;

/// Who is measured and where they are.
pub struct Sides<'s> {
    pub url: &'s str,
    /// Stabbur's data.
    pub folder: &'s Path,
    pub parameters: &'s str,
    pub peers: &'s [u32],
    /// PostgreSQL's data.
    pub peer_folder: &'s Path,
    pub documents: u64,
}

/// Both sides, ready to work.
struct Turns<'s> {
    plan: &'s Plan,
    sides: &'s Sides<'s>,
    ours: Vec<Client>,
    theirs: Vec<Session>,
}

/// Loads and measures; prints Stabbur's sample of each task before PostgreSQL's, and what else there
/// is to say as facts.
pub async fn run(plan: &Plan, sides: &Sides<'_>) -> Result<()> {
    let shape = Shape::new(sides.documents)?;
    let mut turns = Turns {
        plan,
        sides,
        ours: stabbur::connect(plan, sides.url, shape).await?,
        theirs: postgres::connect(plan, sides.parameters, shape).await?,
    };
    turns.load().await?;
    turns.settle().await?;
    for step in STEPS {
        if step.task == Task::OrderFirst {
            let _paused = Paused::new(sides.peers)?;
            walk::first(sides.url).await?;
        }
        if step.task == Task::OrderAfter {
            let _paused = Paused::new(sides.peers)?;
            let tokens = walk::tokens(sides.url, shape).await?;
            turns
                .ours
                .iter_mut()
                .for_each(|client| client.tokens = tokens.clone());
        }
        turns.measure(step).await?;
    }
    let _paused = Paused::new(sides.peers)?;
    walk::run(plan, sides.url, shape).await
}

impl Turns<'_> {
    /// Half of the documents one by one, half in bulk.
    async fn load(&mut self) -> Result<()> {
        let half = self.sides.documents / 2;
        reset_peak(&self.plan.pids)?;
        let mut creates = [Sample::new(Task::Create.name()), Sample::new(Task::Create.name())];
        let mut bulks = [Sample::new(Task::Bulk.name()), Sample::new(Task::Bulk.name())];
        for number in 0..LOAD_SLICES {
            let until = Until::Number(half / LOAD_SLICES);
            self.slices(Task::Create, until, number, self.plan.concurrency, &mut creates)
                .await?;
            let until = Until::Number(half / LOAD_SLICES / shape::BULK);
            self.slices(Task::Bulk, until, number, self.plan.concurrency, &mut bulks)
                .await?;
        }
        let seconds = |side: usize| (creates[side].elapsed + bulks[side].elapsed).as_secs_f64();
        let [ours, theirs] = [seconds(0), seconds(1)];
        let [our_memory, their_memory] = [bulks[0].memory_bytes, bulks[1].memory_bytes];
        creates.into_iter().chain(bulks).for_each(Sample::print);
        fact("load_seconds", ours, theirs);
        fact("load_memory_bytes", our_memory as f64, their_memory as f64);
        fact("load_peak_bytes", peak_bytes(&self.plan.pids)? as f64, 0.0);
        Ok(())
    }

    /// Lets both finish what the load left to do, and looks at what it takes.
    async fn settle(&mut self) -> Result<()> {
        {
            let _paused = Paused::new(self.sides.peers)?;
            quiet(self.sides.folder).await?;
        }
        let _paused = Paused::new(&self.plan.pids)?;
        if let Some(session) = self.theirs.first() {
            session.settle().await?;
        }
        fact(
            "disk_bytes",
            folder_bytes(self.sides.folder)? as f64,
            folder_bytes(self.sides.peer_folder)? as f64,
        );
        fact(
            "write_ahead_bytes",
            0.0,
            folder_bytes(&self.sides.peer_folder.join("pg_wal"))? as f64,
        );
        Ok(())
    }

    async fn measure(&mut self, step: &Step) -> Result<()> {
        let mut samples = [Sample::new(step.name), Sample::new(step.name)];
        let until = match step.number {
            Some(number) => Until::Number(number),
            None => Until::Time(self.plan.time / step.slices),
        };
        for number in 0..u64::from(step.slices) {
            self.slices(step.task, until, number, step.concurrency, &mut samples)
                .await?;
        }
        samples.into_iter().for_each(Sample::print);
        Ok(())
    }

    /// A slice of each side; who begins changes, so that neither is always the one behind a pause.
    async fn slices(
        &mut self,
        task: Task,
        until: Until,
        number: u64,
        concurrency: usize,
        samples: &mut [Sample; 2],
    ) -> Result<()> {
        self.ours.iter_mut().for_each(|client| client.task = task);
        self.theirs.iter_mut().for_each(|session| session.task = task);
        let [our_sample, their_sample] = samples;
        for our_turn in [number.is_multiple_of(2), !number.is_multiple_of(2)] {
            if our_turn {
                let _paused = Paused::new(self.sides.peers)?;
                some(&mut self.ours, concurrency, our_sample, &self.plan.pids, until).await?;
            } else {
                let _paused = Paused::new(&self.plan.pids)?;
                some(
                    &mut self.theirs,
                    concurrency,
                    their_sample,
                    self.sides.peers,
                    until,
                )
                .await?;
            }
        }
        Ok(())
    }
}

/// As the command line gives them.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Base of the account.
    url: String,
    /// Connection parameters of PostgreSQL, such as `host=/run/socket user=postgres`.
    parameters: String,
    /// PostgreSQL's process, as `--pid` is Stabbur's.
    #[arg(long)]
    peer_pid: u32,
    /// Stabbur's data, whose bytes are counted.
    #[arg(long)]
    folder: PathBuf,
    /// PostgreSQL's data.
    #[arg(long)]
    peer_folder: PathBuf,
    /// Documents to load into each.
    #[arg(long, default_value_t = 1_000_000)]
    documents: u64,
}

impl Arguments {
    /// Runs what they say.
    pub async fn run(&self, plan: &Plan) -> Result<()> {
        let sides = Sides {
            url: &self.url,
            folder: &self.folder,
            parameters: &self.parameters,
            peers: &[self.peer_pid],
            peer_folder: &self.peer_folder,
            documents: self.documents,
        };
        run(plan, &sides).await
    }
}
