//! A container's stored procedures, triggers and user-defined functions: few, so all are read in each run,
//! and those are written that aren't here as they are there.
//!
//! What was deleted at the source stays here, as items do; comparing finds it.
#![allow(clippy::print_stdout, reason = "these commands print their answer")]

use anyhow::{Context as _, Result, ensure};
use documents::{Container, Documents, NewScript, ScriptKind};
use indicatif::ProgressBar;
use ledger::Snapshot;
use serde_json::{Map, Value};

use super::feed::list;
use super::source::Source;

/// The source's scripts of a kind, in the order of their ids.
async fn read(source: &Source, container: &Container, kind: ScriptKind) -> Result<Vec<NewScript>> {
    let segments = [
        "dbs",
        container.database(),
        "colls",
        container.id(),
        kind.segment(),
    ];
    let mut found = Vec::new();
    list(source, &segments, |body| {
        let mut page: Map<String, Value> = serde_json::from_slice(body)?;
        if let Some(Value::Array(scripts)) = page.get_mut(kind.feed()).map(Value::take) {
            // More than may be here aren't kept in memory, either.
            let room = (kind.count_max() + 1).saturating_sub(found.len());
            found.extend(scripts.into_iter().take(room));
        }
        Ok(())
    })
    .await
    .context("--without-scripts copies without stored procedures, triggers and user-defined functions")?;
    ensure!(
        found.len() <= kind.count_max(),
        "container {:?} has more than {} of the kind {}, the most it can have here; --without-scripts copies without",
        container.id(),
        kind.count_max(),
        kind.name()
    );
    let mut scripts = Vec::with_capacity(found.len());
    for script in &found {
        let read = NewScript::from_value(kind, script).with_context(|| {
            let id = script.get("id").unwrap_or(&Value::Null);
            format!(
                "{} {id} of container {:?} can't be kept here; --without-scripts copies without",
                kind.name(),
                container.id()
            )
        })?;
        scripts.push(read);
    }
    scripts.sort_by(|one, other| one.id().cmp(other.id()));
    Ok(scripts)
}

/// Brings what isn't here as it is there; how many were written.
pub(super) async fn copy(source: &Source, documents: &Documents, container: &Container) -> Result<u64> {
    let mut brought = 0;
    for kind in ScriptKind::ALL {
        for script in read(source, container, kind).await? {
            let written = documents
                .put_script(container, kind, &script)
                .await
                .with_context(|| {
                    let id = script.id();
                    format!("{} {id:?} of container {:?}", kind.name(), container.id())
                })?;
            brought += u64::from(written);
        }
    }
    Ok(brought)
}

/// What was found of a container's scripts.
#[derive(Debug, Default, PartialEq, Eq)]
struct Comparison {
    there: u64,
    here: u64,
    same: u64,
    only_there: u64,
    only_here: u64,
    other_content: u64,
}

impl Comparison {
    fn print_sum(&self, container: &Container) {
        println!(
            "{}: {} scripts at the source, {} here, {} the same; {} only at the source, {} only here, {} with other content",
            container.id(),
            self.there,
            self.here,
            self.same,
            self.only_there,
            self.only_here,
            self.other_content
        );
    }

    /// Compares the scripts of a kind, both in the order of their ids; tells `each` difference.
    fn of_kind(&mut self, there: &[NewScript], here: &[NewScript], mut each: impl FnMut(&str, &NewScript)) {
        self.there += there.len() as u64;
        self.here += here.len() as u64;
        let place = |id: &str| here.iter().find(|script| script.id() == id);
        for script in there {
            match place(script.id()) {
                None => {
                    self.only_there += 1;
                    each("only at the source", script);
                }
                Some(known) if known == script => self.same += 1,
                Some(_) => {
                    self.other_content += 1;
                    each("other content", script);
                }
            }
        }
        for script in here {
            if !there.iter().any(|other| other.id() == script.id()) {
                self.only_here += 1;
                each("only here", script);
            }
        }
    }
}

/// Compares both sides and prints what differs; how many do.
pub(super) async fn compare(
    source: &Source,
    documents: &Documents,
    snapshot: &dyn Snapshot,
    container: &Container,
    bar: &ProgressBar,
) -> Result<u64> {
    let mut found = Comparison::default();
    for kind in ScriptKind::ALL {
        let there = read(source, container, kind).await?;
        let here = documents.stored_scripts(snapshot, container, kind).await?;
        found.of_kind(&there, &here, |what, script| {
            bar.suspend(|| println!("{}: {what}: {} {:?}", container.id(), kind.name(), script.id()));
        });
    }
    if found != Comparison::default() {
        bar.suspend(|| found.print_sum(container));
    }
    Ok(found.only_there + found.only_here + found.other_content)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scripts_are_told_apart() {
        let kind = ScriptKind::Trigger;
        let script = |id: &str, body: &str, operation: &str| {
            let resource = json!({"id": id, "body": body, "triggerType": "Pre",
                "triggerOperation": operation, "_etag": body.len()});
            NewScript::from_value(kind, &resource).unwrap()
        };
        let there = [
            script("a", "1", "All"),
            script("b", "1", "All"),
            script("c", "1", "All"),
            script("d", "1", "All"),
        ];
        let here = [
            script("a", "1", "All"),
            script("b", "2", "All"),
            script("c", "1", "Create"),
            script("e", "1", "All"),
        ];
        let (mut found, mut said) = (Comparison::default(), Vec::new());
        found.of_kind(&there, &here, |what, script| {
            said.push(format!("{what}: {}", script.id()));
        });
        assert_eq!(
            said,
            [
                "other content: b",
                "other content: c",
                "only at the source: d",
                "only here: e"
            ]
        );
        let wanted = Comparison {
            there: 4,
            here: 4,
            same: 1,
            only_there: 1,
            only_here: 1,
            other_content: 2,
        };
        assert_eq!(found, wanted);
    }
}
