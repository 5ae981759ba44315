//! A query is answered the same by an index and by looking at every document.
//!
//! Containers, documents, what happens to them, and queries are made by chance from a seed; a
//! difference is made smaller before it is shown. `STABBUR_AGREEMENT_CASES` asks for more cases,
//! `STABBUR_AGREEMENT_SEED` begins with another seed.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod chance;
mod queries;
#[path = "../signed/mod.rs"]
mod signed;
mod values;
mod world;

use chance::Chance;
use world::{Case, Verdict, World};

/// Cases of an ordinary run.
const CASES: usize = 3_000;
/// Queries of one container.
const QUESTIONS: usize = 50;
/// Documents of one container, at most.
const DOCUMENTS: usize = 40;
/// Every so many containers one is so large that conditions are looked up, not read through.
const LARGE_EVERY: u64 = 40;
const DOCUMENTS_LARGE: usize = 600;

fn number<T: std::str::FromStr>(name: &str, default: T) -> T {
    let given = std::env::var(name).ok();
    given.map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name} is {text}"))
    })
}

#[derive(Default)]
struct Sum {
    cases: usize,
    refused: usize,
    with_rows: usize,
}

async fn live(seed: u64, count: usize, sum: &mut Sum) -> Result<(), Box<Case>> {
    let mut chance = Chance::new(seed);
    let size = if seed.is_multiple_of(LARGE_EVERY) {
        DOCUMENTS_LARGE
    } else {
        DOCUMENTS
    };
    let world = World::new(&mut chance, size);
    let built = world.build().await;
    for question in world.questions(&mut chance, count) {
        sum.cases += 1;
        match built.ask(&question).await {
            Verdict::Agree { rows } => sum.with_rows += usize::from(rows > 0),
            Verdict::Refused => sum.refused += 1,
            Verdict::Differ(difference) => {
                let case = Case {
                    world,
                    question,
                    difference: *difference,
                };
                return Err(Box::new(case.shrunk().await));
            }
        }
    }
    Ok(())
}

#[test]
fn an_index_changes_no_answer() {
    let cases = number("STABBUR_AGREEMENT_CASES", CASES);
    let first = number("STABBUR_AGREEMENT_SEED", 1);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut sum = Sum::default();
    for seed in first.. {
        let left = cases.saturating_sub(sum.cases);
        if left == 0 {
            break;
        }
        if let Err(case) = runtime.block_on(live(seed, left.min(QUESTIONS), &mut sum)) {
            panic!("STABBUR_AGREEMENT_SEED={seed}\n{case}");
        }
    }
    let Sum {
        cases,
        refused,
        with_rows,
    } = sum;
    println!(
        "index agreement: {cases} cases from seed {first}, {with_rows} with rows, {refused} refused, 0 differences"
    );
    assert!(
        refused * 50 < cases,
        "of {cases} queries {refused} can't be answered"
    );
    assert!(
        with_rows * 3 > cases,
        "of {cases} queries only {with_rows} find anything"
    );
}
