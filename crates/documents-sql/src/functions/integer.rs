//! 64-bit integer arithmetic: a fraction, an overflow and division by zero are undefined.

use serde_json::Value;

use super::{Args, FunctionSpec, strict};

pub(super) const FUNCTIONS: &[FunctionSpec] = &[
    strict("INTADD", 2, 2, |args| of_two(args, i64::checked_add)),
    strict("INTSUB", 2, 2, |args| of_two(args, i64::checked_sub)),
    strict("INTMUL", 2, 2, |args| of_two(args, i64::checked_mul)),
    strict("INTDIV", 2, 2, |args| of_two(args, i64::checked_div)),
    strict("INTMOD", 2, 2, |args| of_two(args, i64::checked_rem)),
    strict("INTBITAND", 2, 2, |args| of_two(args, |a, b| Some(a & b))),
    strict("INTBITOR", 2, 2, |args| of_two(args, |a, b| Some(a | b))),
    strict("INTBITXOR", 2, 2, |args| of_two(args, |a, b| Some(a ^ b))),
    strict("INTBITNOT", 1, 1, |args| Some(Value::from(!args.integer(0)?))),
    strict("INTBITLEFTSHIFT", 2, 2, |args| {
        of_two(args, |a, b| a.checked_shl(u32::try_from(b).ok()?))
    }),
    strict("INTBITRIGHTSHIFT", 2, 2, |args| {
        of_two(args, |a, b| a.checked_shr(u32::try_from(b).ok()?))
    }),
];

fn of_two(args: &Args<'_>, function: fn(i64, i64) -> Option<i64>) -> Option<Value> {
    function(args.integer(0)?, args.integer(1)?).map(Value::from)
}
