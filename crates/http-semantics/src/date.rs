//! HTTP dates (RFC 9110 section 5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`, always written so; the
//! two older forms are read as well.

use jiff::{Timestamp, fmt::rfc2822, tz::TimeZone};

/// Writes the fixed form, in whole seconds.
#[must_use]
pub fn format(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Reads any of the three forms; `None` if it is none of them.
#[must_use]
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(zoned) = rfc2822::parse(text) {
        return Some(zoned.timestamp());
    }
    let datetime = jiff::civil::DateTime::strptime("%A, %d-%b-%y %H:%M:%S GMT", text)
        .or_else(|_| jiff::civil::DateTime::strptime("%a %b %e %H:%M:%S %Y", text))
        .ok()?;
    TimeZone::UTC.to_timestamp(datetime).ok()
}

/// Cuts to whole seconds, as `Last-Modified` is compared.
#[must_use]
pub fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_the_fixed_form() {
        let at = Timestamp::from_second(784_111_777).unwrap();
        assert_eq!(format(at), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(parse("Sun, 06 Nov 1994 08:49:37 GMT"), Some(at));
        assert_eq!(parse("Sunday, 06-Nov-94 08:49:37 GMT"), Some(at));
        assert_eq!(parse("Sun Nov  6 08:49:37 1994"), Some(at));
        assert_eq!(parse("yesterday"), None);
    }
}
