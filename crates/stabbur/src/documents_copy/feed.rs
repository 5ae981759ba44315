//! A container's change feed, range by range, from where a note says to where each ends.
//!
//! A range that is gone was split or merged. A child goes on from its parent's continuation if one
//! parent had all that the child has; what is put together of several begins anew, because their
//! continuations count different things. Items that come twice change nothing.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::source::Source;
use crate::pauses::{PAUSE_MILLISECONDS_MAX, Pauses};

/// As many items as the protocol gives at once.
const ITEMS_AT_ONCE: &str = "1000";
/// Pages of a list.
const LIST_PAGES_MAX: usize = 10_000;

/// How far a range is, as notes have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RangeNote {
    id: String,
    /// The range's bounds, as effective partition keys.
    min: String,
    max: String,
    /// Where it goes on; from the beginning without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    continuation: Option<String>,
}

/// A range as the source lists it.
#[derive(Debug, Clone, Deserialize)]
struct Range {
    id: String,
    #[serde(rename = "minInclusive")]
    min: String,
    #[serde(rename = "maxExclusive")]
    max: String,
    #[serde(default)]
    parents: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Ranges {
    #[serde(rename = "PartitionKeyRanges")]
    ranges: Vec<Range>,
}

#[derive(Deserialize)]
struct Items<'a> {
    #[serde(rename = "Documents", borrow)]
    items: Vec<&'a RawValue>,
}

/// Where the ranges that are there now go on.
fn carry_on(noted: &[RangeNote], now: Vec<Range>) -> Vec<RangeNote> {
    let now = now.into_iter().map(|range| {
        let same = noted.iter().find(|noted| noted.id == range.id);
        let parent = || {
            let mut before = noted
                .iter()
                .filter(|noted| noted.min < range.max && range.min < noted.max);
            let parent = before.next().filter(|_| before.next().is_none())?;
            let parents = range.parents.as_deref().unwrap_or_default();
            let is_whole = parent.min <= range.min && range.max <= parent.max;
            (is_whole && parents.contains(&parent.id)).then_some(parent)
        };
        let continuation = same.or_else(parent).and_then(|noted| noted.continuation.clone());
        RangeNote {
            id: range.id,
            min: range.min,
            max: range.max,
            continuation,
        }
    });
    now.collect()
}

/// Some items of a range, and where it goes on behind them.
#[derive(Debug)]
pub(super) struct Page {
    /// A JSON text each.
    pub(super) items: Vec<Box<RawValue>>,
    at: usize,
    continuation: String,
}

/// Reads a container's feed.
#[derive(Debug)]
pub(super) struct Feed<'a> {
    source: &'a Source,
    database: &'a str,
    container: &'a str,
    ranges: Vec<RangeNote>,
    /// Ids of those that are at their end.
    ended: Vec<String>,
}

impl<'a> Feed<'a> {
    /// Goes on where the notes say; without any, from the beginning.
    pub(super) async fn open(
        source: &'a Source,
        database: &'a str,
        container: &'a str,
        noted: &[RangeNote],
    ) -> Result<Self> {
        let mut feed = Self {
            source,
            database,
            container,
            ranges: noted.to_vec(),
            ended: Vec::new(),
        };
        feed.read_ranges().await?;
        Ok(feed)
    }

    /// How far each range is.
    pub(super) fn noted(&self) -> &[RangeNote] {
        &self.ranges
    }

    async fn read_ranges(&mut self) -> Result<()> {
        let mut found = Vec::new();
        let segments = ["dbs", self.database, "colls", self.container, "pkranges"];
        list(self.source, &segments, |body| {
            let page: Ranges = serde_json::from_slice(body)?;
            found.extend(page.ranges);
            Ok(())
        })
        .await?;
        ensure!(
            !found.is_empty(),
            "the source lists no partition key ranges of container {:?}",
            self.container
        );
        self.ranges = carry_on(&self.ranges, found);
        Ok(())
    }

    /// The next page; `None` when every range is at its end. A page counts as read with [`Feed::done`].
    pub(super) async fn next(&mut self) -> Result<Option<Page>> {
        let mut pauses = Pauses::new(self.source.patience);
        loop {
            let Some(at) = self
                .ranges
                .iter()
                .position(|range| !self.ended.contains(&range.id))
            else {
                return Ok(None);
            };
            let Some(range) = self.ranges.get(at) else {
                return Ok(None);
            };
            let mut headers = vec![
                ("a-im", "Incremental feed"),
                ("x-ms-max-item-count", ITEMS_AT_ONCE),
                ("x-ms-documentdb-partitionkeyrangeid", range.id.as_str()),
            ];
            if let Some(continuation) = &range.continuation {
                headers.push(("if-none-match", continuation));
            }
            let segments = ["dbs", self.database, "colls", self.container, "docs"];
            let answer = self.source.get(&segments, &headers).await?;
            let etag = answer.header("etag").map(str::to_owned);
            match answer.status {
                StatusCode::NOT_MODIFIED => {
                    let id = range.id.clone();
                    if let (Some(range), Some(etag)) = (self.ranges.get_mut(at), etag) {
                        range.continuation = Some(etag);
                    }
                    self.ended.push(id);
                }
                StatusCode::GONE => {
                    tracing::debug!(range = range.id, "a range is gone; they are read again");
                    ensure!(
                        pauses.wait(None).await,
                        "the source goes on saying that range {} of container {:?} is gone; run the same command again",
                        range.id,
                        self.container
                    );
                    self.read_ranges().await?;
                }
                _ => {
                    let continuation = etag
                        .context("the source's page of changes has no etag, so nothing goes on behind it")?;
                    let page: Items<'_> = serde_json::from_slice(&answer.body)
                        .context("the source's page of changes can't be read")?;
                    let items = page.items.into_iter().map(ToOwned::to_owned).collect();
                    return Ok(Some(Page {
                        items,
                        at,
                        continuation,
                    }));
                }
            }
        }
    }

    /// Goes on behind a page.
    pub(super) fn done(&mut self, page: Page) {
        if let Some(range) = self.ranges.get_mut(page.at) {
            range.continuation = Some(page.continuation);
        }
    }
}

/// Reads all pages of a list.
pub(super) async fn list(
    source: &Source,
    segments: &[&str],
    mut each: impl FnMut(&[u8]) -> serde_json::Result<()>,
) -> Result<()> {
    let path = segments.join("/");
    let mut continuation: Option<String> = None;
    let mut pauses = Pauses::new(source.patience.min(Duration::from_millis(PAUSE_MILLISECONDS_MAX)));
    for _ in 0..LIST_PAGES_MAX {
        let headers: Vec<_> = continuation
            .iter()
            .map(|token| ("x-ms-continuation", token.as_str()))
            .collect();
        let answer = source.get(segments, &headers).await?;
        if answer.status == StatusCode::GONE {
            ensure!(
                pauses.wait(None).await,
                "the source goes on answering 410 to GET /{path}"
            );
            continue;
        }
        each(&answer.body).with_context(|| format!("the source's answer to GET /{path} can't be read"))?;
        match answer
            .header("x-ms-continuation")
            .filter(|token| !token.is_empty())
        {
            Some(token) => continuation = Some(token.to_owned()),
            None => return Ok(()),
        }
    }
    anyhow::bail!("the source's list at /{path} doesn't end")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(id: &str, min: &str, max: &str, continuation: &str) -> RangeNote {
        RangeNote {
            id: id.to_owned(),
            min: min.to_owned(),
            max: max.to_owned(),
            continuation: (!continuation.is_empty()).then(|| continuation.to_owned()),
        }
    }

    fn range(id: &str, min: &str, max: &str, parents: &[&str]) -> Range {
        Range {
            id: id.to_owned(),
            min: min.to_owned(),
            max: max.to_owned(),
            parents: Some(parents.iter().map(|&parent| parent.to_owned()).collect()),
        }
    }

    #[test]
    fn children_go_on_from_their_parent() {
        let before = [noted("0", "", "80", "\"7\""), noted("1", "80", "FF", "\"9\"")];
        let now = vec![
            range("1", "80", "FF", &[]),
            range("2", "", "40", &["0"]),
            // A child's child, whose parent was never read.
            range("4", "40", "60", &["0", "3"]),
            range("5", "60", "80", &["0", "3"]),
        ];
        assert_eq!(
            carry_on(&before, now),
            [
                noted("1", "80", "FF", "\"9\""),
                noted("2", "", "40", "\"7\""),
                noted("4", "40", "60", "\"7\""),
                noted("5", "60", "80", "\"7\""),
            ]
        );
    }

    #[test]
    fn what_has_no_single_parent_begins_anew() {
        let before = [noted("0", "", "80", "\"7\""), noted("1", "80", "FF", "\"9\"")];
        for now in [
            range("2", "", "FF", &["0", "1"]),
            range("2", "40", "90", &["0", "1"]),
            // Not of this container's past, whatever its bounds.
            range("2", "", "80", &["9"]),
            range("2", "", "80", &[]),
        ] {
            let begun = noted("2", &now.min, &now.max, "");
            assert_eq!(carry_on(&before, vec![now]), [begun]);
        }
        let first = carry_on(&[], vec![range("0", "", "FF", &[])]);
        assert_eq!(first, [noted("0", "", "FF", "")]);
    }
}
