//! What a segment of a page blob holds: spans of pages, each with the place where its bytes are. Pages
//! that no span covers are zeros.
//!
//! Invariant: spans are in order, don't overlap, and lie within the segment. A span says at which epoch
//! its pages were written, also when their bytes are moved to another place later: that is what tells
//! two snapshots apart.

use std::collections::HashSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::limits::SEGMENT_PAGES;
use crate::store::records::StoredId;

/// Where bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Place {
    /// In the ledger: the segment's piece of this number.
    #[serde(rename = "p")]
    Piece(u64),
    /// As a piece, and encrypted.
    #[serde(rename = "e")]
    EncryptedPiece(u64, StoredId),
    /// In the content store.
    #[serde(rename = "c")]
    Content(StoredId),
}

impl Place {
    /// The number of a piece.
    pub(crate) fn piece(self) -> Option<u64> {
        match self {
            Self::Piece(number) | Self::EncryptedPiece(number, _) => Some(number),
            Self::Content(_) => None,
        }
    }

    /// The content in the content store, or how a piece is encrypted.
    pub(crate) fn stored(self) -> Option<StoredId> {
        match self {
            Self::Piece(_) => None,
            Self::EncryptedPiece(_, stored) | Self::Content(stored) => Some(stored),
        }
    }
}

/// Pages that were written together and are there still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(u32, u32, u64, u32, Place)", from = "(u32, u32, u64, u32, Place)")]
pub(crate) struct Span {
    /// The first of them, counted in pages from the segment's begin.
    pub(crate) first: u32,
    /// How many.
    pub(crate) pages: u32,
    /// The blob's epoch when they were written.
    pub(crate) epoch: u64,
    /// How many pages of the place come before them.
    pub(crate) skip: u32,
    pub(crate) place: Place,
}

impl Span {
    pub(crate) fn end(&self) -> u32 {
        self.first + self.pages
    }
}

impl From<(u32, u32, u64, u32, Place)> for Span {
    fn from((first, pages, epoch, skip, place): (u32, u32, u64, u32, Place)) -> Self {
        Self {
            first,
            pages,
            epoch,
            skip,
            place,
        }
    }
}

impl From<Span> for (u32, u32, u64, u32, Place) {
    fn from(span: Span) -> Self {
        (span.first, span.pages, span.epoch, span.skip, span.place)
    }
}

/// A segment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Segment {
    /// The number that the next piece has.
    #[serde(rename = "n")]
    pub(crate) next_piece: u64,
    #[serde(rename = "s")]
    pub(crate) spans: Vec<Span>,
}

impl Segment {
    /// Makes pages zeros; spans that reach into them are trimmed, or split.
    pub(crate) fn clear(&mut self, pages: Range<u32>) {
        let mut left = Vec::with_capacity(self.spans.len() + 1);
        for span in self.spans.drain(..) {
            let before = span.first..span.end().min(pages.start);
            let behind = span.first.max(pages.end)..span.end();
            for part in [before, behind] {
                if part.start < part.end {
                    left.push(Span {
                        first: part.start,
                        pages: part.end - part.start,
                        skip: span.skip + (part.start - span.first),
                        ..span
                    });
                }
            }
        }
        self.spans = left;
    }

    /// Puts a span in the place of what is there.
    pub(crate) fn put(&mut self, span: Span) {
        self.clear(span.first..span.end());
        let at = self.spans.partition_point(|found| found.first < span.first);
        self.spans.insert(at, span);
    }

    /// Where its bytes are.
    pub(crate) fn places(&self) -> HashSet<Place> {
        self.spans.iter().map(|span| span.place).collect()
    }

    /// The same pages, one behind the other in one place.
    pub(crate) fn gathered(&self, place: Place) -> Self {
        let mut spans: Vec<Span> = Vec::new();
        let mut skip = 0;
        for span in &self.spans {
            match spans.last_mut() {
                Some(last) if last.end() == span.first && last.epoch == span.epoch => {
                    last.pages += span.pages;
                }
                _ => spans.push(Span { skip, place, ..*span }),
            }
            skip += span.pages;
        }
        Self {
            next_piece: self.next_piece,
            spans,
        }
    }
}

/// What became of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// They hold what was written.
    Written,
    /// They are zeros, and weren't.
    Cleared,
}

/// The pages that are written, as runs in order.
pub(crate) fn written(segment: &Segment) -> Vec<(Fate, Range<u32>)> {
    runs(|pages| {
        for span in &segment.spans {
            paint(pages, span, Some(Fate::Written));
        }
    })
}

/// What differs between a segment now and as it was at `epoch`, as runs in order. Pages that were written
/// since count, also with the bytes that they had.
pub(crate) fn changed(before: &Segment, epoch: u64, now: &Segment) -> Vec<(Fate, Range<u32>)> {
    runs(|pages| {
        for span in &before.spans {
            paint(pages, span, Some(Fate::Cleared));
        }
        for span in &now.spans {
            paint(pages, span, (span.epoch > epoch).then_some(Fate::Written));
        }
    })
}

fn paint(pages: &mut [Option<Fate>], span: &Span, fate: Option<Fate>) {
    if let Some(pages) = pages.get_mut(span.first as usize..span.end() as usize) {
        pages.fill(fate);
    }
}

fn runs(fill: impl FnOnce(&mut [Option<Fate>])) -> Vec<(Fate, Range<u32>)> {
    let mut pages = vec![None; SEGMENT_PAGES as usize];
    fill(&mut pages);
    let mut runs: Vec<(Fate, Range<u32>)> = Vec::new();
    for (at, fate) in (0_u32..).zip(pages) {
        let Some(fate) = fate else { continue };
        match runs.last_mut() {
            Some((last, run)) if *last == fate && run.end == at => run.end += 1,
            _ => runs.push((fate, at..at + 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use ledger::Random as _;
    use ledger::random::SeededRandom;

    use super::*;

    /// The model: each page's epoch, piece, and page within the piece.
    type Model = Vec<Option<(u64, u64, u32)>>;

    fn shown(segment: &Segment) -> Model {
        let mut pages = vec![None; SEGMENT_PAGES as usize];
        let mut end = 0;
        for span in &segment.spans {
            assert!(span.first >= end && span.pages > 0 && span.end() <= SEGMENT_PAGES);
            end = span.end();
            for at in 0..span.pages {
                let Place::Piece(number) = span.place else {
                    unreachable!("the test puts pieces alone")
                };
                pages[(span.first + at) as usize] = Some((span.epoch, number, span.skip + at));
            }
        }
        pages
    }

    fn painted(runs: &[(Fate, Range<u32>)]) -> Vec<Option<Fate>> {
        let mut pages = vec![None; SEGMENT_PAGES as usize];
        for (fate, run) in runs {
            pages[run.start as usize..run.end as usize].fill(Some(*fate));
        }
        pages
    }

    #[test]
    fn a_segment_is_what_a_plain_array_is() {
        for seed in 0..20 {
            let random = SeededRandom::new(seed);
            let below = |end: u32| u32::try_from(random.u64() % u64::from(end)).unwrap();
            let mut segment = Segment::default();
            let mut model: Model = vec![None; SEGMENT_PAGES as usize];
            let mut kept = (segment.clone(), model.clone(), 0);
            for epoch in 1..6 {
                for _ in 0..20 {
                    let first = below(SEGMENT_PAGES);
                    let pages = 1 + below((SEGMENT_PAGES - first).min(3_000));
                    if below(3) == 0 {
                        segment.clear(first..first + pages);
                        model[first as usize..(first + pages) as usize].fill(None);
                    } else {
                        let number = segment.next_piece;
                        segment.next_piece += 1;
                        segment.put(Span {
                            first,
                            pages,
                            epoch,
                            skip: 7,
                            place: Place::Piece(number),
                        });
                        for at in 0..pages {
                            model[(first + at) as usize] = Some((epoch, number, 7 + at));
                        }
                    }
                    assert_eq!(shown(&segment), model, "seed {seed}");
                }
                let (before, before_model, then) = &kept;
                let expected: Vec<_> = before_model
                    .iter()
                    .zip(&model)
                    .map(|pages| match pages {
                        (_, Some((written, ..))) if written > then => Some(Fate::Written),
                        (Some(_), None) => Some(Fate::Cleared),
                        _ => None,
                    })
                    .collect();
                assert_eq!(
                    painted(&changed(before, *then, &segment)),
                    expected,
                    "seed {seed}"
                );
                let all: Vec<_> = model.iter().map(|page| page.map(|_| Fate::Written)).collect();
                assert_eq!(painted(&written(&segment)), all, "seed {seed}");
                kept = (segment.clone(), model.clone(), epoch);
            }
            let gathered = shown(&segment.gathered(Place::Piece(99)));
            let mut next = 0;
            for (page, found) in model.iter().zip(gathered) {
                let expected = page.map(|(epoch, ..)| (epoch, 99, next));
                next += u32::from(page.is_some());
                assert_eq!(found, expected, "seed {seed}");
            }
            let stored = serde_json::to_vec(&segment).unwrap();
            assert_eq!(serde_json::from_slice::<Segment>(&stored).unwrap(), segment);
        }
    }
}
