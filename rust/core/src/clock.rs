//! The system clock, and timestamps. A clock that is set to a time before 1970 causes no panic.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The last second that RFC 3339 can express, in seconds since 1970: 9999-12-31T23:59:59Z.
const MAX_SECONDS: u64 = 253_402_300_799;

/// Returns the current time in milliseconds since 1970, or 0 if the clock is set to an earlier time.
pub(crate) fn now_millis() -> u64 {
    millis(SystemTime::now())
}

/// Returns a time in milliseconds since 1970, or 0 for an earlier one.
pub(crate) fn millis(time: SystemTime) -> u64 {
    u64::try_from(since_1970(time).as_millis()).unwrap_or(u64::MAX)
}

/// Returns the time since 1970, or zero for an earlier `time`.
fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// Formats a time as RFC 3339 with nanoseconds. A time before 1970 is shown as the start of 1970, and one after 9999 as
/// the end of that year.
pub(crate) fn rfc3339_nanos(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(in_range(since_1970(time))).to_string()
}

/// Formats a time, in milliseconds since 1970, as RFC 3339 with milliseconds. A time after 9999 is shown as the end of
/// that year.
pub(crate) fn rfc3339_millis(millis: u64) -> String {
    humantime::format_rfc3339_millis(in_range(Duration::from_millis(millis))).to_string()
}

fn in_range(since_1970: Duration) -> SystemTime {
    let last = Duration::new(MAX_SECONDS, 999_999_999);
    UNIX_EPOCH + since_1970.min(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_before_1970_is_shown_as_1970() {
        for earlier in [Duration::from_nanos(1), Duration::from_secs(1 << 40)] {
            let time = UNIX_EPOCH - earlier;
            assert_eq!((millis(time), rfc3339_nanos(time).as_str()), (0, "1970-01-01T00:00:00.000000000Z"));
        }
    }

    #[test]
    fn a_time_after_9999_is_shown_as_the_end_of_that_year() {
        let time = UNIX_EPOCH + Duration::from_secs(MAX_SECONDS + 1);
        assert_eq!(rfc3339_nanos(time), "9999-12-31T23:59:59.999999999Z");
        assert_eq!(rfc3339_millis(u64::MAX), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn other_times_are_shown_exactly() {
        let time = UNIX_EPOCH + Duration::new(1_795_331_570, 678_000_009);
        assert_eq!(millis(time), 1_795_331_570_678);
        assert_eq!(rfc3339_nanos(time), "2026-11-22T07:12:50.678000009Z");
        assert_eq!(rfc3339_millis(millis(time)), "2026-11-22T07:12:50.678Z");
    }
}
