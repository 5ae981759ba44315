//! Numbers: IEEE doubles, but integers stay exact as long as they fit 64 bits.
//!
//! Invariant: NaN and infinities never leave this module; an operation that gives one is
//! undefined. A whole result is written as an integer (2, not 2.0), minus zero as 0.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// A number in calculation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Num {
    Int(i64),
    Float(f64),
}

/// 2^63: the first double above every i64.
const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;
/// 2^53: doubles below it are exact integers.
const TWO_POW_53: f64 = 9_007_199_254_740_992.0;

impl Num {
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Some(Self::of_number(number)),
            _ => None,
        }
    }

    pub(crate) fn of_number(number: &Number) -> Self {
        number
            .as_i64()
            .map_or_else(|| Self::Float(number.as_f64().unwrap_or_default()), Self::Int)
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "that is what promotion to double means"
    )]
    pub(crate) fn to_f64(self) -> f64 {
        match self {
            Self::Int(int) => int as f64,
            Self::Float(float) => float,
        }
    }

    /// The JSON number, or undefined for NaN and infinities.
    pub(crate) fn to_value(self) -> Option<Value> {
        match self {
            Self::Int(int) => Some(Value::from(int)),
            Self::Float(float) => {
                if float.abs() <= TWO_POW_53
                    && let Some(int) = exact_i64(float)
                {
                    return Some(Value::from(int));
                }
                Number::from_f64(float).map(Value::Number)
            }
        }
    }

    /// The integer, if this is one: 3 and 3.0, but not 3.5.
    pub(crate) fn to_i64(self) -> Option<i64> {
        match self {
            Self::Int(int) => Some(int),
            Self::Float(float) => exact_i64(float),
        }
    }

    pub(crate) fn negate(self) -> Self {
        match self {
            Self::Int(int) => int.checked_neg().map_or(Self::Float(TWO_POW_63), Self::Int),
            Self::Float(float) if float == TWO_POW_63 => Self::Int(i64::MIN),
            Self::Float(float) => Self::Float(-float),
        }
    }

    pub(crate) fn add(self, other: Self) -> Self {
        self.exact_or(other, i64::checked_add, |a, b| a + b)
    }

    pub(crate) fn subtract(self, other: Self) -> Self {
        self.exact_or(other, i64::checked_sub, |a, b| a - b)
    }

    pub(crate) fn multiply(self, other: Self) -> Self {
        self.exact_or(other, i64::checked_mul, |a, b| a * b)
    }

    /// Exact where it comes out even, else double division; by zero gives an infinity or NaN,
    /// hence undefined.
    pub(crate) fn divide(self, other: Self) -> Self {
        let even = |a: i64, b: i64| {
            if a.checked_rem(b)? == 0 {
                a.checked_div(b)
            } else {
                None
            }
        };
        self.exact_or(other, even, |a, b| a / b)
    }

    pub(crate) fn modulo(self, other: Self) -> Self {
        self.exact_or(other, i64::checked_rem, |a, b| a % b)
    }

    fn exact_or(
        self,
        other: Self,
        exact: impl Fn(i64, i64) -> Option<i64>,
        rounded: impl Fn(f64, f64) -> f64,
    ) -> Self {
        if let (Self::Int(a), Self::Int(b)) = (self, other)
            && let Some(result) = exact(a, b)
        {
            return Self::Int(result);
        }
        Self::Float(rounded(self.to_f64(), other.to_f64()))
    }

    /// The operand of a bitwise operator, as in the service's script engine: the double, cut off
    /// to an integer, its low 32 bits signed. Digits that a double can't hold are lost first.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "wrapping to 32 bits is the operation"
    )]
    pub(crate) fn to_i32_wrapping(self) -> i32 {
        let two_pow_32 = 4_294_967_296.0;
        let rest = self.to_f64().trunc() % two_pow_32;
        rest as i64 as i32
    }
}

/// The i64 that a double is exactly, if it is one.
#[allow(
    clippy::cast_possible_truncation,
    reason = "checked to be whole and within i64"
)]
pub(crate) fn exact_i64(float: f64) -> Option<i64> {
    if float.fract() == 0.0 && (-TWO_POW_63..TWO_POW_63).contains(&float) {
        Some(float as i64)
    } else {
        None
    }
}

/// Numeric order without rounding: 2^53 + 1 is greater than the double 2^53. Rounding both to
/// double instead would not be transitive.
pub(crate) fn compare_numbers(a: &Number, b: &Number) -> Ordering {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => compare_int_float(a, b.as_f64().unwrap_or_default()),
        (None, Some(b)) => compare_int_float(b, a.as_f64().unwrap_or_default()).reverse(),
        (None, None) => {
            let (a, b) = (a.as_f64().unwrap_or_default(), b.as_f64().unwrap_or_default());
            a.partial_cmp(&b).unwrap_or(Ordering::Equal)
        }
    }
}

fn integer(number: &Number) -> Option<i128> {
    number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
}

#[allow(clippy::cast_possible_truncation, reason = "whole and within 2^100")]
fn compare_int_float(int: i128, float: f64) -> Ordering {
    let far = 1.0e30;
    if float >= far {
        Ordering::Less
    } else if float <= -far {
        Ordering::Greater
    } else {
        let whole = float.trunc();
        int.cmp(&(whole as i128)).then_with(|| {
            let fraction = float - whole;
            0.0f64.partial_cmp(&fraction).unwrap_or(Ordering::Equal)
        })
    }
}
