//! Instants as the language has them: 100-nanosecond ticks from 1970, years 1 to 9999, UTC,
//! written `YYYY-MM-DDThh:mm:ss.fffffffZ`.
//!
//! Own calendar arithmetic rather than a time library's: ticks, boundary counts and bins are
//! integer rules here, and no zone or leap second is involved.

/// Ticks in a millisecond, second, ... day.
pub(super) const TICKS_PER_MICROSECOND: i64 = 10;
pub(super) const TICKS_PER_MILLISECOND: i64 = 10_000;
pub(super) const TICKS_PER_SECOND: i64 = 10_000_000;
pub(super) const TICKS_PER_MINUTE: i64 = 60 * TICKS_PER_SECOND;
pub(super) const TICKS_PER_HOUR: i64 = 60 * TICKS_PER_MINUTE;
pub(super) const TICKS_PER_DAY: i64 = 24 * TICKS_PER_HOUR;

/// 0001-01-01T00:00:00 and the first tick of year 10000.
const FIRST_TICK: i64 = -719_162 * TICKS_PER_DAY;
const END_TICK: i64 = 2_932_897 * TICKS_PER_DAY;

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Instant {
    ticks: i64,
}

/// An instant taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    /// Ticks within the second.
    pub(super) fraction: i64,
}

impl Instant {
    pub(super) fn from_ticks(ticks: i64) -> Option<Self> {
        (FIRST_TICK..END_TICK).contains(&ticks).then_some(Self { ticks })
    }

    pub(super) fn ticks(self) -> i64 {
        self.ticks
    }

    pub(super) fn from_civil(civil: Civil) -> Option<Self> {
        let valid = (1..=9999).contains(&civil.year)
            && (1..=12).contains(&civil.month)
            && (1..=days_in_month(civil.year, civil.month)).contains(&civil.day)
            && (0..24).contains(&civil.hour)
            && (0..60).contains(&civil.minute)
            && (0..60).contains(&civil.second)
            && (0..TICKS_PER_SECOND).contains(&civil.fraction);
        if !valid {
            return None;
        }
        let days = days_from_civil(civil.year, civil.month, civil.day);
        let time = civil.hour * TICKS_PER_HOUR
            + civil.minute * TICKS_PER_MINUTE
            + civil.second * TICKS_PER_SECOND
            + civil.fraction;
        Self::from_ticks(days * TICKS_PER_DAY + time)
    }

    pub(super) fn civil(self) -> Civil {
        let days = self.ticks.div_euclid(TICKS_PER_DAY);
        let time = self.ticks.rem_euclid(TICKS_PER_DAY);
        let (year, month, day) = civil_from_days(days);
        Civil {
            year,
            month,
            day,
            hour: time / TICKS_PER_HOUR,
            minute: time / TICKS_PER_MINUTE % 60,
            second: time / TICKS_PER_SECOND % 60,
            fraction: time % TICKS_PER_SECOND,
        }
    }

    /// 0 is Sunday.
    pub(super) fn weekday(self) -> i64 {
        (self.ticks.div_euclid(TICKS_PER_DAY) + 4).rem_euclid(7)
    }

    /// `date[(T or space)hh:mm:ss[.1-7 digits]][Z]`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_suffix('Z').unwrap_or(text);
        if !text.is_ascii() {
            return None;
        }
        let date = text.get(..10)?;
        let mut civil = Civil {
            year: digits(date.get(..4)?)?,
            month: digits(date.get(5..7)?)?,
            day: digits(date.get(8..10)?)?,
            hour: 0,
            minute: 0,
            second: 0,
            fraction: 0,
        };
        if date.get(4..5)? != "-" || date.get(7..8)? != "-" {
            return None;
        }
        let time = text.get(10..)?;
        if !time.is_empty() {
            let time = time.strip_prefix(['T', ' '])?;
            let (clock, fraction) = match time.split_once('.') {
                Some((clock, fraction)) => (clock, Some(fraction)),
                None => (time, None),
            };
            if clock.len() != 8 || clock.get(2..3)? != ":" || clock.get(5..6)? != ":" {
                return None;
            }
            civil.hour = digits(clock.get(..2)?)?;
            civil.minute = digits(clock.get(3..5)?)?;
            civil.second = digits(clock.get(6..)?)?;
            if let Some(fraction) = fraction {
                let places = u32::try_from(fraction.len())
                    .ok()
                    .filter(|places| (1..=7).contains(places))?;
                civil.fraction = digits(fraction)? * 10i64.pow(7 - places);
            }
        }
        Self::from_civil(civil)
    }

    /// Adds calendar months; a day that the month lacks becomes its last.
    pub(super) fn add_months(self, months: i64) -> Option<Self> {
        let mut civil = self.civil();
        let total = (civil.year * 12 + civil.month - 1).checked_add(months)?;
        civil.year = total.div_euclid(12);
        civil.month = total.rem_euclid(12) + 1;
        if !(1..=9999).contains(&civil.year) {
            return None;
        }
        civil.day = civil.day.min(days_in_month(civil.year, civil.month));
        Self::from_civil(civil)
    }

    pub(super) fn add_ticks(self, ticks: i64) -> Option<Self> {
        Self::from_ticks(self.ticks.checked_add(ticks)?)
    }
}

impl std::fmt::Display for Instant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Civil {
            year,
            month,
            day,
            hour,
            minute,
            second,
            fraction,
        } = self.civil();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction:07}Z"
        )
    }
}

fn digits(text: &str) -> Option<i64> {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 (proleptic Gregorian calendar, counted in eras of 400 years that begin
/// in March, so that the leap day comes last).
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_the_years_1_to_9999() {
        assert_eq!(
            Instant::from_ticks(FIRST_TICK).unwrap().to_string(),
            "0001-01-01T00:00:00.0000000Z"
        );
        assert_eq!(
            Instant::from_ticks(END_TICK - 1).unwrap().to_string(),
            "9999-12-31T23:59:59.9999999Z"
        );
        assert_eq!(Instant::from_ticks(END_TICK), None);
    }

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in -800..146_200 {
            let instant = Instant::from_ticks(day * TICKS_PER_DAY + 12_345).unwrap();
            assert_eq!(Instant::from_civil(instant.civil()), Some(instant));
            assert_eq!(Instant::parse(&instant.to_string()), Some(instant));
        }
    }

    #[test]
    fn parsing() {
        let time = |text| Instant::parse(text).map(|i| i.to_string());
        assert_eq!(
            time("2020-02-29").as_deref(),
            Some("2020-02-29T00:00:00.0000000Z")
        );
        assert_eq!(
            time("2020-02-29 01:02:03").as_deref(),
            Some("2020-02-29T01:02:03.0000000Z")
        );
        assert_eq!(
            time("2020-02-29T01:02:03.5Z").as_deref(),
            Some("2020-02-29T01:02:03.5000000Z")
        );
        for bad in [
            "",
            "2020",
            "2021-02-29",
            "2020-13-01",
            "2020-1-1",
            "2020-01-01T",
            "2020-01-01T24:00:00",
            "2020-01-01T00:00:00.12345678",
            "2020-01-01T00:00",
            "2020-01-01T00:00:00+01:00",
            "+020-01-01",
            "2020-01-01T00:00:00.",
            "0000-01-01",
            "2020-01-01T00:00:0é",
        ] {
            assert_eq!(time(bad), None, "{bad}");
        }
        assert_eq!(Instant::parse("1970-01-01").unwrap().weekday(), 4);
    }
}
