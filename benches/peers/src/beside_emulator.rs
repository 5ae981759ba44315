//! Stabbur, PostgreSQL and an open emulator in turns, as [`crate::against_postgres`]: fewer documents, for the
//! emulator reads all of them at every query, and more kinds of operations, by one and by many at once.

use anyhow::Result;

use crate::documents::{self, Client, Operation};
use crate::load::{Plan, Until, some};
use crate::postgres::{self, Session};
use crate::process::Paused;
use crate::sample::{Sample, fact};

/// Slices of each operation and side; as many sides as there are, so that each is behind each pause.
const SLICES: u64 = 6;

/// Of the documents, that many more are created by one alone.
const MORE_PART: u64 = 4;

/// What is measured, by how many at once, in this order.
const STEPS: [(Operation, usize, &str); 14] = [
    (Operation::Create, 32, "create 1 KiB, 32 at once"),
    (Operation::Create, 1, "create 1 KiB, 1 at once"),
    (Operation::Read, 1, "point read, 1 at once"),
    (Operation::Read, 32, "point read, 32 at once"),
    (Operation::Replace, 1, "replace, 1 at once"),
    (Operation::Replace, 32, "replace, 32 at once"),
    (Operation::Patch, 1, "patch of two properties, 1 at once"),
    (Operation::Patch, 32, "patch of two properties, 32 at once"),
    (Operation::Query, 1, "query by two properties, 1 at once"),
    (Operation::Query, 32, "query by two properties, 32 at once"),
    (Operation::Range, 1, "100 by a range, 1 at once"),
    (Operation::Range, 32, "100 by a range, 32 at once"),
    (Operation::Order, 1, "ordered page of 100, 1 at once"),
    (Operation::Order, 32, "ordered page of 100, 32 at once"),
];

/// Who is measured and where they are.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Base of Stabbur's account.
    url: String,
    /// Connection parameters of PostgreSQL, such as `host=/run/socket user=postgres`.
    parameters: String,
    /// Base of the emulator's account.
    emulator_url: String,
    /// PostgreSQL's process, as `--pid` is Stabbur's.
    #[arg(long)]
    peer_pid: u32,
    /// The emulator's process.
    #[arg(long)]
    emulator_pid: u32,
    /// Documents to create on each.
    #[arg(long, default_value_t = 4_000)]
    documents: u64,
}

/// One side, ready to work.
enum Side {
    Cosmos(Vec<Client>),
    Postgres(Vec<Session>),
}

impl Side {
    fn prepare(&mut self, wanted: Operation, from: u64) {
        match self {
            Self::Cosmos(clients) => clients.iter_mut().for_each(|client| {
                (client.operation, client.first) = (wanted, from);
            }),
            Self::Postgres(sessions) => sessions.iter_mut().for_each(|session| {
                (session.operation, session.first) = (wanted, from);
            }),
        }
    }

    async fn slice(
        &mut self,
        concurrency: usize,
        sample: &mut Sample,
        pids: &[u32],
        until: Until,
    ) -> Result<()> {
        match self {
            Self::Cosmos(clients) => some(clients, concurrency, sample, pids, until).await,
            Self::Postgres(sessions) => some(sessions, concurrency, sample, pids, until).await,
        }
    }
}

impl Arguments {
    /// Measures; prints Stabbur's sample of each step, then PostgreSQL's, then the emulator's.
    pub async fn run(&self, plan: &Plan) -> Result<()> {
        let schema = format!("{}{}", postgres::SCHEMA, postgres::ORDERED);
        let documents = self.documents;
        let urls = [&self.url, &self.emulator_url].map(|url| [url.to_owned()]);
        let sessions = postgres::connect(plan, &self.parameters, &schema, documents).await?;
        let mut sides = [
            Side::Cosmos(documents::connect(plan, &urls[0], documents).await?),
            Side::Postgres(sessions),
            Side::Cosmos(documents::connect(plan, &urls[1], documents).await?),
        ];
        let pids = [&plan.pids[..], &[self.peer_pid], &[self.emulator_pid]];
        fact("documents", documents as f64, documents as f64);
        for (operation, concurrency, name) in STEPS {
            let created = if concurrency == 1 {
                documents / MORE_PART
            } else {
                documents
            };
            let until = match operation {
                Operation::Create => Until::Number(created.div_ceil(SLICES)),
                _ => Until::Time(plan.time / u32::try_from(SLICES)?),
            };
            // Those by one alone come behind the others.
            let from = if concurrency == 1 { 2 * documents } else { 0 };
            sides.iter_mut().for_each(|side| side.prepare(operation, from));
            let mut samples = [Sample::new(name), Sample::new(name), Sample::new(name)];
            for number in 0..SLICES {
                for turn in 0..sides.len() {
                    // Who begins changes, so that nobody is always the one behind a pause.
                    let at = (usize::try_from(number)? + turn) % sides.len();
                    let others: Vec<u32> = (0..pids.len())
                        .filter(|side| *side != at)
                        .flat_map(|side| pids[side].to_vec())
                        .collect();
                    let _paused = Paused::new(&others)?;
                    sides[at]
                        .slice(concurrency, &mut samples[at], pids[at], until)
                        .await?;
                }
            }
            samples.into_iter().for_each(Sample::print);
            if operation == Operation::Create
                && let Side::Postgres(sessions) = &sides[1]
                && let Some(session) = sessions.first()
            {
                postgres::analyse(session).await?;
            }
        }
        Ok(())
    }
}
