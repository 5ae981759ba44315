//! Compares all items of both sides: which are on one side only, and which differ in content.
//!
//! The source is read once more from the beginning, and each item looked up here by partition key
//! and id. A bit for each number of an item here says that it was met, so what nobody asked for is
//! found by reading this side once; a hundred million items take some 12 MB.
#![allow(clippy::print_stdout, reason = "these commands print their answer")]

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use documents::{Container, Documents};
use indicatif::ProgressBar;
use ledger::Snapshot;
use serde_json::Value;

use super::feed::Feed;
use super::items::content;
use super::source::Source;

/// Differences of a container that are printed one by one.
const PRINTED_MAX: u64 = 100;
const NUMBERS_AT_ONCE: u64 = 4_096;
const BITS: u64 = 64;

/// A set of numbers that lie close together.
#[derive(Debug, Default)]
struct Numbers(HashMap<u64, Vec<u64>>);

impl Numbers {
    fn place(number: u64) -> (u64, usize, u64) {
        let within = number % NUMBERS_AT_ONCE;
        let word = usize::try_from(within / BITS).unwrap_or_default();
        (number / NUMBERS_AT_ONCE, word, 1 << (within % BITS))
    }

    /// Whether the number wasn't there before.
    fn insert(&mut self, number: u64) -> bool {
        let (block, word, bit) = Self::place(number);
        let words = self
            .0
            .entry(block)
            .or_insert_with(|| vec![0; usize::try_from(NUMBERS_AT_ONCE / BITS).unwrap_or_default()]);
        let Some(word) = words.get_mut(word) else {
            return false;
        };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    fn contains(&self, number: u64) -> bool {
        let (block, word, bit) = Self::place(number);
        let words = self.0.get(&block);
        words
            .and_then(|words| words.get(word))
            .is_some_and(|word| word & bit != 0)
    }
}

/// What was found of a container.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    there: u64,
    here: u64,
    same: u64,
    only_there: u64,
    other_content: u64,
    only_here: u64,
}

impl Comparison {
    pub(super) fn differences(&self) -> u64 {
        self.only_there + self.other_content + self.only_here
    }

    fn print(&self, container: &Container, document: &Value, what: &str) {
        if self.differences() > PRINTED_MAX {
            return;
        }
        let id = document.get("id").unwrap_or(&Value::Null);
        let key = container.partition_key().extract(document);
        let key = key.map_or(Value::Null, |key| key.to_json());
        println!("{}: {what}: id {id}, partition key {key}", container.id());
    }

    pub(super) fn print_sum(&self, container: &Container) {
        if self.differences() > PRINTED_MAX {
            println!(
                "{}: {} more differences aren't printed",
                container.id(),
                self.differences() - PRINTED_MAX
            );
        }
        println!(
            "{}: {} items at the source, {} here, {} the same; {} only at the source, {} only here, {} with other content",
            container.id(),
            self.there,
            self.here,
            self.same,
            self.only_there,
            self.only_here,
            self.other_content
        );
    }
}

/// Reads both sides and prints what differs.
pub(super) async fn run(
    source: &Source,
    documents: &Documents,
    snapshot: &dyn Snapshot,
    container: &Container,
    bar: &ProgressBar,
) -> Result<Comparison> {
    let mut found = Comparison::default();
    let mut met = Numbers::default();
    let mut feed = Feed::open(source, container.database(), container.id(), &[]).await?;
    while let Some(page) = feed.next().await? {
        for item in &page.items {
            let there = content(item.get().as_bytes()).context("an item of the source can't be read")?;
            let stored = documents.stored_item(snapshot, container, &there).await?;
            match stored {
                None => {
                    found.there += 1;
                    found.only_there += 1;
                    found.print(container, &there, "only at the source");
                }
                // Written meanwhile, so it came again.
                Some(stored) if !met.insert(stored.number) => {}
                Some(stored) => {
                    found.there += 1;
                    if content(&stored.text)? == there {
                        found.same += 1;
                    } else {
                        found.other_content += 1;
                        found.print(container, &there, "other content");
                    }
                }
            }
        }
        feed.done(page);
        bar.set_message(format!("{}: {} items compared", container.id(), found.there));
    }
    let mut from = Some(0);
    while let Some(number) = from {
        let page = documents.stored_page(snapshot, container, number).await?;
        for item in page.items {
            found.here += 1;
            if !met.contains(item.number) {
                found.only_here += 1;
                found.print(container, &content(&item.text)?, "only here");
            }
        }
        from = page.next;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_apart() {
        let mut numbers = Numbers::default();
        let some = [0, 1, 63, 64, 4_095, 4_096, 1 << 40, u64::MAX];
        for number in some {
            assert!(!numbers.contains(number));
            assert!(numbers.insert(number));
            assert!(!numbers.insert(number));
        }
        for number in some {
            assert!(numbers.contains(number));
        }
        assert!(!numbers.contains(2) && !numbers.contains(4_097) && !numbers.contains(1 << 41));
    }
}
