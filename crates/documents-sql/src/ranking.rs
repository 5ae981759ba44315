//! ORDER BY RANK: scores of all matching rows, best first.
//!
//! A full-text score (BM25) weighs a word by how rare it is among all documents that are pushed,
//! whether they match or not; fused rankings need every row's place in each of them. So rows are
//! kept until the last document was seen.

use std::cmp::Ordering;

use serde_json::Value;

use crate::error::ExecError;
use crate::eval::{Env, Runtime, eval};
use crate::functions::full_text::Words;
use crate::limits::ITEMS_PER_WORK;
use crate::program::{Ranking, ScoreNode};

/// BM25's usual constants: how soon further occurrences stop to count, and how much length does.
const SATURATION: f64 = 1.2;
const LENGTH_WEIGHT: f64 = 0.75;
/// What reciprocal rank fusion adds to a rank; the clients fuse with the same number.
const FUSION: f64 = 60.0;

/// What a row's score will be made from.
#[derive(Debug)]
pub(crate) enum Raw {
    /// Larger is better.
    Number(Option<f64>),
    /// How often each term occurs, in how many words.
    Counts { terms: Vec<u32>, words: usize },
}

/// A row and what it is ranked by.
#[derive(Debug)]
pub(crate) struct RankedRow {
    pub(crate) raw: Vec<Raw>,
    /// Ties go by `_rid`.
    pub(crate) place: u64,
    pub(crate) row: Value,
    pub(crate) bytes: usize,
}

/// Rows so far, and what is known of all documents.
#[derive(Debug)]
pub(crate) struct Ranker {
    statistics: Vec<Statistics>,
    rows: Vec<RankedRow>,
}

/// Of one full-text score, over all documents.
#[derive(Debug, Default)]
struct Statistics {
    documents: u64,
    words: u64,
    /// Documents that have the term.
    hits: Vec<u64>,
}

#[allow(clippy::cast_precision_loss, reason = "counts of documents and words")]
fn float(count: u64) -> f64 {
    count as f64
}

impl Ranker {
    pub(crate) fn new(ranking: &Ranking) -> Self {
        let statistics = ranking.scores.iter().map(|score| Statistics {
            hits: match score {
                ScoreNode::Vector { .. } => Vec::new(),
                ScoreNode::FullText { terms, .. } => vec![0; terms.len()],
            },
            ..Statistics::default()
        });
        Self {
            statistics: statistics.collect(),
            rows: Vec::new(),
        }
    }

    /// Looks at a document, before it is known whether it matches.
    pub(crate) fn observe(
        &mut self,
        ranking: &Ranking,
        env: &Env<'_>,
        runtime: &Runtime,
    ) -> Result<Vec<Raw>, ExecError> {
        let mut raws = Vec::with_capacity(ranking.scores.len());
        for (score, statistics) in ranking.scores.iter().zip(&mut self.statistics) {
            raws.push(match score {
                ScoreNode::Vector {
                    distance,
                    larger_is_nearer,
                } => {
                    let found = eval(distance, env, runtime)?.and_then(|value| value.as_f64());
                    Raw::Number(found.map(|found| if *larger_is_nearer { found } else { -found }))
                }
                ScoreNode::FullText { text, terms } => {
                    let text = eval(text, env, runtime)?;
                    let words = Words::of(text.as_deref().and_then(Value::as_str).unwrap_or_default());
                    statistics.documents += 1;
                    statistics.words += words.len() as u64;
                    let work: usize = terms.iter().map(|term| words.work(term)).sum();
                    runtime.work(work.saturating_add(words.len() / ITEMS_PER_WORK));
                    runtime.check_work()?;
                    let mut counts = Vec::with_capacity(terms.len());
                    for (term, hits) in terms.iter().zip(&mut statistics.hits) {
                        let count = words.count(term);
                        *hits += u64::from(count > 0);
                        counts.push(u32::try_from(count).unwrap_or(u32::MAX));
                    }
                    Raw::Counts {
                        terms: counts,
                        words: words.len(),
                    }
                }
            });
        }
        Ok(raws)
    }

    pub(crate) fn keep(&mut self, row: RankedRow) {
        self.rows.push(row);
    }

    /// The rows, best first.
    pub(crate) fn finish(self, ranking: &Ranking) -> Vec<RankedRow> {
        let Self { statistics, rows } = self;
        let scores: Vec<Vec<Option<f64>>> = (0..ranking.scores.len())
            .map(|at| {
                let score = |row: &RankedRow| match (row.raw.get(at)?, statistics.get(at)?) {
                    (Raw::Number(number), _) => *number,
                    (Raw::Counts { terms, words }, statistics) => Some(statistics.score(terms, *words)),
                };
                rows.iter().map(score).collect()
            })
            .collect();
        let totals: Vec<Option<f64>> = match &ranking.weights {
            None => scores.into_iter().next().unwrap_or_default(),
            Some(weights) => fused(&scores, weights, rows.len()),
        };
        let mut ranked: Vec<(Option<f64>, RankedRow)> = totals.into_iter().zip(rows).collect();
        ranked.sort_by(|(a, a_row), (b, b_row)| best_first(*a, *b).then(a_row.place.cmp(&b_row.place)));
        ranked.into_iter().map(|(_, row)| row).collect()
    }
}

impl Statistics {
    fn score(&self, counts: &[u32], words: usize) -> f64 {
        let documents = float(self.documents);
        let average = float(self.words) / documents.max(1.0);
        let length = if average > 0.0 {
            float(words as u64) / average
        } else {
            1.0
        };
        counts
            .iter()
            .zip(&self.hits)
            .map(|(count, hits)| {
                let (count, hits) = (f64::from(*count), float(*hits));
                let rarity = (1.0 + (documents - hits + 0.5) / (hits + 0.5)).ln();
                let damped = count + SATURATION * (1.0 - LENGTH_WEIGHT + LENGTH_WEIGHT * length);
                rarity * count * (SATURATION + 1.0) / damped
            })
            .sum()
    }
}

/// Undefined comes last.
fn best_first(a: Option<f64>, b: Option<f64>) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => b.total_cmp(&a),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

/// Reciprocal rank fusion. Equal scores share a rank; a row without a score gets nothing.
fn fused(scores: &[Vec<Option<f64>>], weights: &[f64], rows: usize) -> Vec<Option<f64>> {
    let mut totals = vec![0.0; rows];
    for (scores, weight) in scores.iter().zip(weights) {
        let mut order: Vec<(f64, usize)> = scores
            .iter()
            .enumerate()
            .filter_map(|(row, score)| Some(((*score)?, row)))
            .collect();
        order.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        let mut rank = 0.0;
        let mut before = f64::INFINITY;
        for (score, row) in order {
            if rank == 0.0 || score < before {
                rank += 1.0;
            }
            before = score;
            if let Some(total) = totals.get_mut(row) {
                *total += weight / (FUSION + rank);
            }
        }
    }
    totals.into_iter().map(Some).collect()
}
