//! Stabbur and PostgreSQL in turns: each operation is measured in short slices that alternate between
//! the two, so that a machine whose speed moves moves both. Who isn't measured is stopped, so that
//! what a server does in its background is done in its own time.

use anyhow::Result;

use crate::documents::{self, Operation};
use crate::load::{Plan, Until, slice};
use crate::postgres;
use crate::process::Paused;
use crate::sample::Sample;

/// Slices of each operation and side.
const SLICES: u32 = 10;

/// Measures create, point read and query on both; prints Stabbur's sample of each before
/// PostgreSQL's. `plan` names Stabbur's processes, `peers` PostgreSQL's.
pub async fn run(plan: &Plan, url: &str, peers: &[u32], parameters: &str, documents: u64) -> Result<()> {
    let mut ours = documents::connect(plan, &[url.to_owned()], documents).await?;
    let mut theirs = postgres::connect(plan, parameters, postgres::SCHEMA, documents).await?;
    for operation in Operation::SOME {
        let until = match operation {
            Operation::Create => Until::Number(documents.div_ceil(u64::from(SLICES))),
            _ => Until::Time(plan.time / SLICES),
        };
        ours.iter_mut().for_each(|client| client.operation = operation);
        theirs
            .iter_mut()
            .for_each(|session| session.operation = operation);
        let mut samples = [Sample::new(operation.name()), Sample::new(operation.name())];
        let [our_sample, their_sample] = &mut samples;
        for number in 0..SLICES {
            // Ours, theirs; theirs, ours: neither is always the one behind a pause.
            for our_turn in [number % 2 == 0, number % 2 != 0] {
                if our_turn {
                    let _paused = Paused::new(peers)?;
                    slice(our_sample, &plan.pids, until, &mut ours).await?;
                } else {
                    let _paused = Paused::new(&plan.pids)?;
                    slice(their_sample, peers, until, &mut theirs).await?;
                }
            }
        }
        samples.into_iter().for_each(Sample::print);
        if operation == Operation::Create
            && let Some(session) = theirs.first()
        {
            postgres::analyse(session).await?;
        }
    }
    Ok(())
}
