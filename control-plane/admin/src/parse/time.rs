//! Points in time and durations, as people write them.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use revoq_credentials::Millis;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime};

const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const MINUTES: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day] [hour]:[minute]");
const SECONDS: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

const EXPECTED: &str = "expected RFC 3339 (2026-03-01T12:00:00Z), a UTC date or time (2026-03-01, \
                        2026-03-01 12:00), now, or how long ago (90m ago)";

/// The wall clock, for values that are relative to it.
#[must_use]
pub fn clock() -> Millis {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// A point in time; `now` is the clock's reading.
///
/// # Errors
/// What is expected instead.
pub fn instant(text: &str, now: Millis) -> Result<Millis, String> {
    let text = text.trim();
    if text == "now" {
        return Ok(now);
    }
    if let Some(ago) = text.strip_suffix("ago") {
        let ago = duration(ago)?;
        let ago_ms = u64::try_from(ago.as_millis()).map_err(|_| EXPECTED)?;
        return now.0.checked_sub(ago_ms).map(Millis).ok_or_else(|| "that is before 1970".to_owned());
    }
    let parsed = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| PrimitiveDateTime::parse(text, SECONDS).map(PrimitiveDateTime::assume_utc))
        .or_else(|_| PrimitiveDateTime::parse(text, MINUTES).map(PrimitiveDateTime::assume_utc))
        .or_else(|_| Date::parse(text, DATE).map(|date| date.midnight().assume_utc()))
        .map_err(|_| EXPECTED)?;
    let ms = parsed.unix_timestamp_nanos() / 1_000_000;
    u64::try_from(ms).map(Millis).map_err(|_| "that is before 1970".to_owned())
}

/// `90s`, `12h`, `30d`, `1y` and sums of such.
///
/// # Errors
/// What is expected instead.
pub fn duration(text: &str) -> Result<Duration, String> {
    let parsed = humantime::parse_duration(text.trim());
    parsed.map_err(|_| "expected a duration such as 90s, 12h, 30d, 1y or 1h 30m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = Millis(1_790_000_000_000);

    #[test]
    fn points_in_time() {
        let table = [
            ("2026-03-01T12:00:00Z", 1_772_366_400_000),
            ("2026-03-01T12:00:00.250Z", 1_772_366_400_250),
            ("2026-03-01T13:00:00+01:00", 1_772_366_400_000),
            ("2026-03-01 12:00", 1_772_366_400_000),
            ("2026-03-01 12:00:00", 1_772_366_400_000),
            ("2026-03-01", 1_772_323_200_000),
            ("1970-01-01", 0),
            ("now", NOW.0),
            ("90m ago", NOW.0 - 5_400_000),
            (" 1h 30m ago ", NOW.0 - 5_400_000),
        ];
        for (text, expected) in table {
            assert_eq!(instant(text, NOW).expect(text), Millis(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_point_in_time() {
        for text in
            ["", "yesterday", "2026-13-01", "2026-02-30", "2026-03-01T12:00", "5", "-1h ago", "9999y ago"]
        {
            instant(text, NOW).expect_err(text);
        }
        assert!(instant("1969-12-31", NOW).expect_err("before").contains("before 1970"));
    }

    #[test]
    fn durations() {
        assert_eq!(duration("1h 30m").expect("valid"), Duration::from_secs(5_400));
        assert_eq!(duration("30d").expect("valid"), Duration::from_secs(30 * 86_400));
        for text in ["", "5", "h", "1 fortnight"] {
            duration(text).expect_err(text);
        }
    }
}
