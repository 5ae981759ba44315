//! Points in time as the original writes them: UTC with `Z`, at most seven decimals.

use std::fmt;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time. Reading cuts it to 100 nanoseconds, the finest the original knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Timestamp);

impl Moment {
    /// The moment of a timestamp, cut to microseconds: the precision of what the server stamps.
    #[must_use]
    pub fn stamped(at: Timestamp) -> Self {
        Self(Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at))
    }

    /// Reads ISO 8601; without a zone it is UTC, without a time midnight.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let at = match text.parse::<Timestamp>() {
            Ok(at) => at,
            Err(_) => TimeZone::UTC.to_timestamp(text.parse::<DateTime>().ok()?).ok()?,
        };
        let nanoseconds = at.as_nanosecond();
        Timestamp::from_nanosecond(nanoseconds - nanoseconds.rem_euclid(100))
            .ok()
            .map(Self)
    }

    /// The timestamp.
    #[must_use]
    pub fn timestamp(self) -> Timestamp {
        self.0
    }

    /// Microseconds since 1970.
    #[must_use]
    pub fn microseconds(self) -> i64 {
        self.0.as_microsecond()
    }

    /// The moment `days` of 24 hours later (earlier if negative), clamped to the calendar.
    #[must_use]
    pub fn plus_days(self, days: i64) -> Self {
        let hours = days.saturating_mul(24).clamp(-100_000_000, 100_000_000);
        let fallback = if hours < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Self(self.0.checked_add(hours.hours()).unwrap_or(fallback))
    }

    /// The later of the server's time and the first microsecond after `previous`: stamps of one
    /// instance grow even if the clock stands still or goes back.
    #[must_use]
    pub fn after(now: Timestamp, previous: Option<Self>) -> Self {
        let now = Self::stamped(now);
        let next = previous.and_then(|previous| {
            let next = previous.microseconds().checked_add(1)?;
            Timestamp::from_microsecond(next).ok().map(Self)
        });
        next.map_or(now, |next| next.max(now))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom(format!("{text:?} is no date and time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_with_and_without_a_zone() {
        for (text, written) in [
            ("2024-05-01T10:00:00Z", "2024-05-01T10:00:00Z"),
            ("2024-05-01T10:00:00.1234567Z", "2024-05-01T10:00:00.1234567Z"),
            ("2024-05-01T10:00:00.123456789Z", "2024-05-01T10:00:00.1234567Z"),
            ("2024-05-01T10:00:00+02:00", "2024-05-01T08:00:00Z"),
            ("2024-05-01T10:00:00", "2024-05-01T10:00:00Z"),
            ("2024-05-01", "2024-05-01T00:00:00Z"),
        ] {
            assert_eq!(Moment::parse(text).unwrap().to_string(), written, "{text}");
        }
        for bad in ["", "never", "2024-13-01", "10:00"] {
            assert_eq!(Moment::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn stamps_grow_though_the_clock_stands() {
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let first = Moment::after(now, None);
        let second = Moment::after(now, Some(first));
        assert_eq!(second.microseconds(), first.microseconds() + 1);
        let later = now.checked_add(1.second()).unwrap();
        assert_eq!(Moment::after(later, Some(second)), Moment::stamped(later));
    }
}
