//! DATETIMEFORMAT's pictures: .NET custom date and time format strings, invariant culture, UTC.

use super::date::{Civil, Instant};
use crate::limits::PATTERN_BYTES_MAX;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// The instant in a picture, or none for a picture that .NET refuses.
pub(super) fn format(instant: Instant, picture: &str) -> Option<String> {
    if picture.len() > PATTERN_BYTES_MAX {
        return None;
    }
    let civil = instant.civil();
    let mut out = String::new();
    let mut chars = picture.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(chars.next()?),
            '\'' | '"' => loop {
                match chars.next()? {
                    end if end == c => break,
                    '\\' => out.push(chars.next()?),
                    other => out.push(other),
                }
            },
            '%' => {
                // Marks a picture of one letter.
                let single = chars.next().filter(|next| *next != '%')?;
                letters(&mut out, single, 1, instant, &civil)?;
            }
            _ => {
                let mut count = 1;
                while c.is_ascii_alphabetic() && chars.peek() == Some(&c) {
                    chars.next();
                    count += 1;
                }
                letters(&mut out, c, count, instant, &civil)?;
            }
        }
    }
    Some(out)
}

fn letters(out: &mut String, letter: char, count: usize, instant: Instant, civil: &Civil) -> Option<()> {
    let mut number = |value: i64, width: usize| out.push_str(&format!("{value:0width$}"));
    match letter {
        'y' if count <= 2 => number(civil.year % 100, count),
        'y' => number(civil.year, count),
        'M' if count <= 2 => number(civil.month, count),
        'M' => out.push_str(name(&MONTHS, civil.month - 1, count)),
        'd' if count <= 2 => number(civil.day, count),
        'd' => out.push_str(name(&DAYS, instant.weekday(), count)),
        'H' => number(civil.hour, count.min(2)),
        'h' => number((civil.hour + 11) % 12 + 1, count.min(2)),
        'm' => number(civil.minute, count.min(2)),
        's' => number(civil.second, count.min(2)),
        'f' | 'F' => {
            let digits = format!("{:07}", civil.fraction);
            let digits = digits.get(..count)?; // more than seven are refused
            if letter == 'f' {
                out.push_str(digits);
            } else {
                let digits = digits.trim_end_matches('0');
                if digits.is_empty() && out.ends_with('.') {
                    out.pop();
                }
                out.push_str(digits);
            }
        }
        't' => {
            let half = if civil.hour < 12 { "AM" } else { "PM" };
            out.push_str(half.get(..count.min(2))?);
        }
        'z' => out.push_str(match count {
            1 => "+0",
            2 => "+00",
            _ => "+00:00",
        }),
        'K' => out.push_str(&"Z".repeat(count)),
        'g' => out.push_str("A.D."),
        other => out.extend(std::iter::repeat_n(other, count)),
    }
    Some(())
}

/// Three letters of a name, or all of it.
fn name(names: &[&'static str], index: i64, count: usize) -> &'static str {
    let name = usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index))
        .copied()
        .unwrap_or_default();
    if count == 3 {
        name.get(..3).unwrap_or(name)
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures() {
        let instant = Instant::parse("2026-03-05T15:04:09.1230000Z").unwrap();
        for (picture, text) in [
            ("yyyy-MM-dd", Some("2026-03-05")),
            ("d/M/yy", Some("5/3/26")),
            ("dddd d MMMM", Some("Thursday 5 March")),
            ("ddd MMM", Some("Thu Mar")),
            ("HH:mm:ss.fff", Some("15:04:09.123")),
            ("h:m:s tt", Some("3:4:9 PM")),
            ("ss.FFFFFFF", Some("09.123")),
            ("yyyy-MM-ddTHH:mm:ssK", Some("2026-03-05T15:04:09Z")),
            ("'at' HH\\h zzz", Some("at 15h +00:00")),
            ("%d", Some("5")),
            ("ffffffff", None),
            ("'open", None),
            ("%", None),
        ] {
            assert_eq!(format(instant, picture).as_deref(), text, "{picture}");
        }
    }
}
