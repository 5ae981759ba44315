//! Functions of dates and times. Bad dates, unknown parts and results outside the years 1 to
//! 9999 are undefined.

use serde_json::Value;

use super::date::{
    Civil, Instant, TICKS_PER_DAY, TICKS_PER_HOUR, TICKS_PER_MICROSECOND, TICKS_PER_MILLISECOND,
    TICKS_PER_MINUTE, TICKS_PER_SECOND,
};
use super::date_format::format;
use super::{Args, FunctionSpec, impure, strict};

pub(super) const FUNCTIONS: &[FunctionSpec] = &[
    strict("DATETIMEADD", 3, 3, |args| {
        written(add(part(args, 0)?, args.integer(1)?, instant(args, 2)?))
    }),
    strict("DATETIMEDIFF", 3, 3, |args| {
        let part = part(args, 0)?;
        let (start, end) = (instant(args, 1)?, instant(args, 2)?);
        boundary(part, end)
            .checked_sub(boundary(part, start))
            .map(Value::from)
    }),
    strict("DATETIMEPART", 2, 2, |args| {
        Some(Value::from(value_of(part(args, 0)?, instant(args, 1)?)))
    }),
    strict("DATETIMEBIN", 2, 4, bin),
    strict("DATETIMEFROMPARTS", 3, 7, |args| {
        written(Instant::from_civil(Civil {
            year: args.integer(0)?,
            month: args.integer(1)?,
            day: args.integer(2)?,
            hour: args.integer_or(3, 0)?,
            minute: args.integer_or(4, 0)?,
            second: args.integer_or(5, 0)?,
            fraction: args.integer_or(6, 0)?,
        }))
    }),
    strict("DATETIMEFORMAT", 2, 2, |args| {
        format(instant(args, 0)?, args.string(1)?).map(Value::String)
    }),
    strict("DATETIMETOTICKS", 1, 1, |args| {
        Some(Value::from(instant(args, 0)?.ticks()))
    }),
    strict("DATETIMETOTIMESTAMP", 1, 1, |args| {
        Some(Value::from(
            instant(args, 0)?.ticks().div_euclid(TICKS_PER_MILLISECOND),
        ))
    }),
    strict("TICKSTODATETIME", 1, 1, |args| {
        written(Instant::from_ticks(args.integer(0)?))
    }),
    strict("TIMESTAMPTODATETIME", 1, 1, |args| {
        written(Instant::from_ticks(
            args.integer(0)?.checked_mul(TICKS_PER_MILLISECOND)?,
        ))
    }),
    strict("YEAR", 1, 1, |args| {
        Some(Value::from(instant(args, 0)?.civil().year))
    }),
    strict("MONTH", 1, 1, |args| {
        Some(Value::from(instant(args, 0)?.civil().month))
    }),
    strict("DAY", 1, 1, |args| {
        Some(Value::from(instant(args, 0)?.civil().day))
    }),
    impure("NOW", 0, 2, |args| {
        if args.count() == 0 {
            return written(now(args));
        }
        written(add(part(args, 0)?, args.integer(1)?, now(args)?))
    }),
    impure("AGO", 2, 2, |args| {
        written(add(part(args, 0)?, args.integer(1)?.checked_neg()?, now(args)?))
    }),
    impure("GETCURRENTDATETIME", 0, 0, |args| written(now(args))),
    impure("GETCURRENTDATETIMESTATIC", 0, 0, |args| written(now(args))),
    impure("GETCURRENTTICKS", 0, 0, |args| {
        Some(Value::from(now(args)?.ticks()))
    }),
    impure("GETCURRENTTICKSSTATIC", 0, 0, |args| {
        Some(Value::from(now(args)?.ticks()))
    }),
    impure("GETCURRENTTIMESTAMP", 0, 0, timestamp),
    impure("GETCURRENTTIMESTAMPSTATIC", 0, 0, timestamp),
];

/// A part of a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
}

fn part(args: &Args<'_>, index: usize) -> Option<Part> {
    Some(match args.string(index)?.to_ascii_lowercase().as_str() {
        "year" | "yyyy" | "yy" => Part::Year,
        "month" | "mm" | "m" => Part::Month,
        "day" | "dd" | "d" => Part::Day,
        "hour" | "hh" => Part::Hour,
        "minute" | "mi" | "n" => Part::Minute,
        "second" | "ss" | "s" => Part::Second,
        "millisecond" | "ms" => Part::Millisecond,
        "microsecond" | "mcs" => Part::Microsecond,
        "nanosecond" | "ns" => Part::Nanosecond,
        _ => return None,
    })
}

/// How many ticks a part of fixed length has; months and years have none, a nanosecond less
/// than one.
fn ticks_of(part: Part) -> Option<i64> {
    Some(match part {
        Part::Year | Part::Month | Part::Nanosecond => return None,
        Part::Day => TICKS_PER_DAY,
        Part::Hour => TICKS_PER_HOUR,
        Part::Minute => TICKS_PER_MINUTE,
        Part::Second => TICKS_PER_SECOND,
        Part::Millisecond => TICKS_PER_MILLISECOND,
        Part::Microsecond => TICKS_PER_MICROSECOND,
    })
}

const NANOSECONDS_PER_TICK: i64 = 100;

fn instant(args: &Args<'_>, index: usize) -> Option<Instant> {
    Instant::parse(args.string(index)?)
}

fn written(instant: Option<Instant>) -> Option<Value> {
    instant.map(|instant| Value::String(instant.to_string()))
}

/// The query's time, cut off to whole ticks.
fn now(args: &Args<'_>) -> Option<Instant> {
    let ticks = args
        .runtime
        .context
        .now
        .as_nanosecond()
        .div_euclid(i128::from(NANOSECONDS_PER_TICK));
    Instant::from_ticks(i64::try_from(ticks).ok()?)
}

fn timestamp(args: &Args<'_>) -> Option<Value> {
    Some(Value::from(now(args)?.ticks().div_euclid(TICKS_PER_MILLISECOND)))
}

fn add(part: Part, count: i64, to: Instant) -> Option<Instant> {
    match part {
        Part::Year => to.add_months(count.checked_mul(12)?),
        Part::Month => to.add_months(count),
        Part::Nanosecond => to.add_ticks(count.div_euclid(NANOSECONDS_PER_TICK)),
        _ => to.add_ticks(count.checked_mul(ticks_of(part)?)?),
    }
}

/// How many boundaries of a part lie before an instant; DATETIMEDIFF is a difference of these,
/// since it counts boundaries crossed and not time passed.
fn boundary(part: Part, at: Instant) -> i64 {
    let civil = at.civil();
    match part {
        Part::Year => civil.year,
        Part::Month => civil.year * 12 + civil.month,
        // Nanoseconds of 9999 years don't fit 64 bits; saturation makes the difference undefined
        // or at worst the largest number.
        Part::Nanosecond => at.ticks().saturating_mul(NANOSECONDS_PER_TICK),
        _ => at.ticks().div_euclid(ticks_of(part).unwrap_or(1)),
    }
}

/// The value of a part; below the second always the whole fraction, in the part's unit.
fn value_of(part: Part, at: Instant) -> i64 {
    let civil = at.civil();
    match part {
        Part::Year => civil.year,
        Part::Month => civil.month,
        Part::Day => civil.day,
        Part::Hour => civil.hour,
        Part::Minute => civil.minute,
        Part::Second => civil.second,
        Part::Millisecond => civil.fraction / TICKS_PER_MILLISECOND,
        Part::Microsecond => civil.fraction / TICKS_PER_MICROSECOND,
        Part::Nanosecond => civil.fraction * NANOSECONDS_PER_TICK,
    }
}

/// DATETIMEBIN(date, part[, size][, origin]): the start of the bin that the date lies in.
fn bin(args: &Args<'_>) -> Option<Value> {
    let (date, part, size) = (instant(args, 0)?, part(args, 1)?, args.integer_or(2, 1)?);
    let origin = if args.count() > 3 {
        instant(args, 3)?
    } else {
        Instant::from_ticks(0)?
    };
    // The calendar of the service's bins begins in 1601.
    if size < 1 || origin.civil().year < 1601 {
        return None;
    }
    if let Part::Year | Part::Month = part {
        let months = if part == Part::Year {
            size.checked_mul(12)?
        } else {
            size
        };
        let mut count = (boundary(Part::Month, date) - boundary(Part::Month, origin)).div_euclid(months);
        let start = |count: i64| origin.add_months(count.checked_mul(months)?);
        // In the origin's own month the date may still lie before the bin's start.
        if start(count)? > date {
            count -= 1;
        }
        return written(start(count));
    }
    let ticks = match part {
        Part::Nanosecond => (size / NANOSECONDS_PER_TICK).max(1),
        _ => size.checked_mul(ticks_of(part)?)?,
    };
    let passed = date.ticks() - origin.ticks();
    written(origin.add_ticks(passed.div_euclid(ticks) * ticks))
}
