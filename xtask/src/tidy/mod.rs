//! House rules as a test. Each rule is a function from the sources to what breaks it; all of them
//! run, so that one run shows everything.

mod licences;
mod sources;
mod text;

use anyhow::Result;

use crate::context::Context;
use crate::tally::Tally;
use crate::{floors, fuzz};

/// A rule's name and what breaks it.
type Outcome = (&'static str, Vec<String>);

/// Prints each rule and what breaks it; whether all hold.
pub(crate) fn run(context: &Context) -> Result<bool> {
    let mut tally = Tally::default();
    check(context, &mut tally)?;
    Ok(tally.total().failed == 0)
}

/// The same, counted.
pub(crate) fn check(context: &Context, tally: &mut Tally) -> Result<()> {
    for (name, broken) in outcomes(context)? {
        println!(
            "    {} {name}",
            if broken.is_empty() { "ok    " } else { "BROKEN" }
        );
        for line in &broken {
            println!("             {line}");
        }
        tally.check("house rules", broken.is_empty());
    }
    Ok(())
}

fn outcomes(context: &Context) -> Result<Vec<Outcome>> {
    let sources = sources::read(context)?;
    Ok(vec![
        (
            "dependencies between crates point down only",
            floors::check(context)?,
        ),
        (
            "no source file is longer than 600 lines",
            text::too_long(&sources),
        ),
        (
            "each Rust file begins with what it is for",
            text::without_header(&sources),
        ),
        ("nothing is left to be done in code", text::unfinished(&sources)),
        ("each lifted lint says why", text::unreasoned_allows(&sources)),
        (
            "no module has a name that means nothing",
            text::nameless(&sources),
        ),
        (
            "each fuzz target is built and has a corpus",
            fuzz::orphans(context)?,
        ),
        (
            "no dependency comes from a git repository",
            licences::git_sources(context)?,
        ),
        ("all licences are allowed", licences::refused(context)?),
    ])
}
