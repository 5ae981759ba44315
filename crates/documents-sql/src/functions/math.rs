//! Numbers. A result that is no finite number is undefined.

use serde_json::Value;

use super::{Args, FunctionSpec, impure, strict};
use crate::number::Num;

pub(super) const FUNCTIONS: &[FunctionSpec] = &[
    strict("ABS", 1, 1, |args| {
        match args.number(0)? {
            Num::Int(int) => int.checked_abs().map_or_else(|| Num::Int(int).negate(), Num::Int),
            Num::Float(float) => Num::Float(float.abs()),
        }
        .to_value()
    }),
    strict("CEILING", 1, 1, |args| whole(args, f64::ceil)),
    strict("FLOOR", 1, 1, |args| whole(args, f64::floor)),
    // Half away from zero.
    strict("ROUND", 1, 1, |args| whole(args, f64::round)),
    strict("TRUNC", 1, 1, |args| whole(args, f64::trunc)),
    strict("SIGN", 1, 1, |args| {
        let sign = args.float(0)?;
        Some(Value::from(i64::from(sign > 0.0) - i64::from(sign < 0.0)))
    }),
    strict("SQRT", 1, 1, |args| real(args, f64::sqrt)),
    strict("SQUARE", 1, 1, |args| {
        let number = args.number(0)?;
        number.multiply(number).to_value()
    }),
    strict("POWER", 2, 2, power),
    strict("EXP", 1, 1, |args| real(args, f64::exp)),
    strict("LOG", 1, 2, |args| {
        let logarithm = args.float(0)?.ln();
        let base = if args.count() > 1 {
            args.float(1)?.ln()
        } else {
            1.0
        };
        Num::Float(logarithm / base).to_value()
    }),
    strict("LOG10", 1, 1, |args| real(args, f64::log10)),
    strict("PI", 0, 0, |_| Num::Float(std::f64::consts::PI).to_value()),
    impure("RAND", 0, 0, |args| {
        // 53 bits: as many as a double holds exactly.
        #[allow(clippy::cast_precision_loss, reason = "below 2^53")]
        let fraction = (args.runtime.random() >> 11) as f64 / (1u64 << 53) as f64;
        Num::Float(fraction).to_value()
    }),
    strict("SIN", 1, 1, |args| real(args, f64::sin)),
    strict("COS", 1, 1, |args| real(args, f64::cos)),
    strict("TAN", 1, 1, |args| real(args, f64::tan)),
    strict("COT", 1, 1, |args| real(args, |x| 1.0 / x.tan())),
    strict("ASIN", 1, 1, |args| real(args, f64::asin)),
    strict("ACOS", 1, 1, |args| real(args, f64::acos)),
    strict("ATAN", 1, 1, |args| real(args, f64::atan)),
    strict("ATN2", 2, 2, |args| {
        Num::Float(args.float(0)?.atan2(args.float(1)?)).to_value()
    }),
    strict("DEGREES", 1, 1, |args| real(args, f64::to_degrees)),
    strict("RADIANS", 1, 1, |args| real(args, f64::to_radians)),
    strict("NUMBERBIN", 1, 2, |args| {
        let size = if args.count() > 1 { args.float(1)? } else { 1.0 };
        Num::Float((args.float(0)? / size).floor() * size).to_value()
    }),
];

fn real(args: &Args<'_>, function: fn(f64) -> f64) -> Option<Value> {
    Num::Float(function(args.float(0)?)).to_value()
}

/// To a whole number; one that is whole already stays exact.
fn whole(args: &Args<'_>, function: fn(f64) -> f64) -> Option<Value> {
    match args.number(0)? {
        Num::Int(int) => Some(Value::from(int)),
        Num::Float(float) => Num::Float(function(float)).to_value(),
    }
}

fn power(args: &Args<'_>) -> Option<Value> {
    let (base, exponent) = (args.number(0)?, args.number(1)?);
    if let (Num::Int(base), Num::Int(exponent)) = (base, exponent)
        && let Ok(exponent) = u32::try_from(exponent)
        && let Some(exact) = base.checked_pow(exponent)
    {
        return Some(Value::from(exact));
    }
    Num::Float(base.to_f64().powf(exponent.to_f64())).to_value()
}
