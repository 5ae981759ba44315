//! Arrays.

use serde_json::{Map, Value};

use super::{Args, FunctionSpec, MANY, lenient, strict};
use crate::limits::{ITEMS_PER_WORK, VALUE_BYTES_MAX};
use crate::number::Num;
use crate::value::{compare_values, deep_equal, value_bytes};

pub(super) const FUNCTIONS: &[FunctionSpec] = &[
    strict("ARRAY_CONCAT", 2, MANY, concat),
    lenient("ARRAY_CONTAINS", 2, 3, |args| {
        let (items, sought) = (args.array(0)?, args.value(1)?);
        // A flag that isn't defined is no flag.
        let partial = args.value(2).is_some() && args.flag(2)?;
        let found = items.iter().any(|item| {
            if partial {
                covers(item, sought)
            } else {
                deep_equal(item, sought)
            }
        });
        Some(Value::Bool(found))
    }),
    lenient("ARRAY_CONTAINS_ANY", 2, MANY, |args| contains_several(args, true)),
    lenient("ARRAY_CONTAINS_ALL", 2, MANY, |args| {
        contains_several(args, false)
    }),
    strict("ARRAY_LENGTH", 1, 1, |args| {
        Some(Value::from(args.array(0)?.len()))
    }),
    strict("ARRAY_SLICE", 2, 3, slice),
    strict("ARRAY_AVG", 1, 1, |args| {
        let numbers = numbers(args)?;
        let count = Num::Int(i64::try_from(numbers.len()).ok()?);
        sum(&numbers).divide(count).to_value()
    }),
    strict("ARRAY_SUM", 1, 1, |args| sum(&numbers(args)?).to_value()),
    strict("ARRAY_MIN", 1, 1, |args| {
        scalars(args)?
            .iter()
            .min_by(|a, b| compare_values(Some(a), Some(b)))
            .cloned()
    }),
    strict("ARRAY_MAX", 1, 1, |args| {
        scalars(args)?
            .iter()
            .max_by(|a, b| compare_values(Some(a), Some(b)))
            .cloned()
    }),
    strict("ARRAY_MEDIAN", 1, 1, median),
    // 1-based; only the chosen argument counts.
    lenient("CHOOSE", 2, MANY, |args| {
        let index = usize::try_from(args.integer(0)?)
            .ok()
            .filter(|index| *index > 0)?;
        args.value(index).cloned()
    }),
    strict("OBJECTTOARRAY", 1, 3, object_to_array),
];

fn concat(args: &Args<'_>) -> Option<Value> {
    let mut result = Vec::new();
    let mut bytes = 0;
    for argument in args.from(0) {
        let argument = argument?;
        bytes += value_bytes(argument);
        if bytes > VALUE_BYTES_MAX {
            return None;
        }
        result.extend_from_slice(argument.as_array()?);
    }
    Some(Value::Array(result))
}

/// Whether an element has everything that a sought object has.
fn covers(item: &Value, sought: &Value) -> bool {
    match (item, sought) {
        (Value::Object(item), Value::Object(sought)) => sought
            .iter()
            .all(|(name, wanted)| item.get(name).is_some_and(|value| covers(value, wanted))),
        _ => deep_equal(item, sought),
    }
}

/// One argument that decides (found for ANY, not found for ALL) does so whatever is undefined.
fn contains_several(args: &Args<'_>, any: bool) -> Option<Value> {
    let items = args.array(0)?;
    let pairs = items.len().saturating_mul(args.count());
    args.runtime.work(pairs / ITEMS_PER_WORK)?;
    let mut undefined = false;
    for sought in args.from(1) {
        match sought {
            Some(sought) if items.iter().any(|item| deep_equal(item, sought)) == any => {
                return Some(Value::Bool(any));
            }
            Some(_) => {}
            None => undefined = true,
        }
    }
    if undefined { None } else { Some(Value::Bool(!any)) }
}

fn slice(args: &Args<'_>) -> Option<Value> {
    let (items, from) = (args.array(0)?, args.integer(1)?);
    let start = if from < 0 {
        items
            .len()
            .saturating_sub(usize::try_from(from.unsigned_abs()).unwrap_or(usize::MAX))
    } else {
        usize::try_from(from).unwrap_or(usize::MAX)
    };
    let count = usize::try_from(args.integer_or(2, i64::MAX)?).unwrap_or(0);
    Some(Value::Array(
        items.iter().skip(start).take(count).cloned().collect(),
    ))
}

fn numbers(args: &Args<'_>) -> Option<Vec<Num>> {
    args.array(0)?.iter().map(Num::of).collect()
}

fn sum(numbers: &[Num]) -> Num {
    numbers.iter().fold(Num::Int(0), |sum, number| sum.add(*number))
}

fn scalars<'a>(args: &Args<'a>) -> Option<&'a Vec<Value>> {
    args.array(0)
        .filter(|items| !items.iter().any(|item| item.is_array() || item.is_object()))
}

fn median(args: &Args<'_>) -> Option<Value> {
    let mut numbers = numbers(args)?;
    numbers.sort_by(|a, b| a.to_f64().total_cmp(&b.to_f64()));
    let middle = numbers.len() / 2;
    let upper = *numbers.get(middle)?;
    if numbers.len() % 2 == 1 {
        return upper.to_value();
    }
    let lower = *numbers.get(middle.checked_sub(1)?)?;
    lower.add(upper).divide(Num::Int(2)).to_value()
}

fn object_to_array(args: &Args<'_>) -> Option<Value> {
    let object = args.object(0)?;
    let key_name = if args.count() > 1 { args.string(1)? } else { "k" };
    let value_name = if args.count() > 2 { args.string(2)? } else { "v" };
    let pairs = object.iter().map(|(key, value)| {
        let mut pair = Map::new();
        pair.insert(key_name.to_owned(), Value::from(key.as_str()));
        pair.insert(value_name.to_owned(), value.clone());
        Value::Object(pair)
    });
    Some(Value::Array(pairs.collect()))
}
