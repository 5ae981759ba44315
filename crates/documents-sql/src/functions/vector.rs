//! VECTORDISTANCE. One entry per metric: which one a call means is known when it is compiled,
//! from its options or the container's vector policy.

use serde_json::Value;

use super::{Args, FunctionSpec, strict};
use crate::limits::VECTOR_NUMBERS_MAX;
use crate::number::Num;

/// How vectors are compared (`distanceFunction` of a vector embedding policy).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VectorMetric {
    /// Cosine similarity: from -1 to 1, 1 is nearest.
    #[default]
    Cosine,
    /// Dot product: the larger the nearer.
    DotProduct,
    /// Euclidean distance: 0 is nearest.
    Euclidean,
}

impl VectorMetric {
    /// By the name of a policy, in any case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        const NAMES: [(&str, VectorMetric); 3] = [
            ("cosine", VectorMetric::Cosine),
            ("dotproduct", VectorMetric::DotProduct),
            ("euclidean", VectorMetric::Euclidean),
        ];
        NAMES
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, metric)| *metric)
    }

    /// The function of this metric.
    pub(crate) fn function(self) -> &'static FunctionSpec {
        match self {
            Self::Cosine => &COSINE,
            Self::DotProduct => &DOT_PRODUCT,
            Self::Euclidean => &EUCLIDEAN,
        }
    }
}

static COSINE: FunctionSpec = strict(NAME, 2, 4, |args| compare(args, VectorMetric::Cosine));
static DOT_PRODUCT: FunctionSpec = strict(NAME, 2, 4, |args| compare(args, VectorMetric::DotProduct));
static EUCLIDEAN: FunctionSpec = strict(NAME, 2, 4, |args| compare(args, VectorMetric::Euclidean));

/// The function's name.
pub(crate) const NAME: &str = "VECTORDISTANCE";

pub(super) const FUNCTIONS: &[FunctionSpec] =
    &[strict(NAME, 2, 4, |args| compare(args, VectorMetric::Cosine))];

/// Undefined unless both are arrays of as many numbers, at least one.
fn compare(args: &Args<'_>, metric: VectorMetric) -> Option<Value> {
    let (a, b) = (args.array(0)?, args.array(1)?);
    if a.is_empty() || a.len() != b.len() || a.len() > VECTOR_NUMBERS_MAX {
        return None;
    }
    let (mut dot, mut a_square, mut b_square, mut apart) = (0.0, 0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (Num::of(x)?.to_f64(), Num::of(y)?.to_f64());
        dot += x * y;
        a_square += x * x;
        b_square += y * y;
        apart += (x - y) * (x - y);
    }
    Num::Float(match metric {
        VectorMetric::Cosine => dot / (a_square.sqrt() * b_square.sqrt()),
        VectorMetric::DotProduct => dot,
        VectorMetric::Euclidean => apart.sqrt(),
    })
    .to_value()
}
