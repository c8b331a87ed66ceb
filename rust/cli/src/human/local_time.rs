//! Times as people read them: in a time zone that is named where it begins to apply.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use mngr_codex_core::parse_timestamp;

/// The time zone in which times are shown.
#[derive(Clone, Debug)]
pub(crate) struct Zone(TimeZone);

/// Converts timestamps. Those within a minute, which most neighbors are, are converted once.
#[derive(Clone, Debug)]
pub(super) struct LocalClock {
    zone: Zone,
    /// The beginning of the last timestamp, up to its seconds, and its local time.
    minute: Option<([u8; 17], LocalTime)>,
}

impl LocalClock {
    pub(super) fn new(zone: Zone) -> Self {
        Self { zone, minute: None }
    }

    /// Returns the local time of a timestamp in ISO 8601.
    pub(super) fn read(&mut self, timestamp: &[u8]) -> LocalTime {
        // The form of Codex: `2026-11-22T07:12:04.790Z`.
        let split = timestamp.split_first_chunk::<17>().filter(|_| timestamp.len() == 24);
        let Some((minute, [tens @ b'0'..=b'5', ones @ b'0'..=b'9', b'.', .., b'Z'])) = split else {
            return self.zone.local_time(timestamp);
        };
        match &self.minute {
            Some((known, local)) if known == minute => {
                let mut local = local.clone();
                local.time.splice(6.., [*tens, *ones]);
                local
            }
            _ => {
                let local = self.zone.local_time(timestamp);
                self.minute = (!local.day.is_empty()).then(|| (*minute, local.clone()));
                local
            }
        }
    }
}

/// A timestamp in a time zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LocalTime {
    /// The date, such as `2026-01-31`. Empty if the timestamp is invalid.
    pub(super) day: Vec<u8>,
    /// The time of day in seconds, or the beginning of an invalid timestamp.
    pub(super) time: Vec<u8>,
    /// The zone's abbreviation at that time, such as `CET`, or its offset, such as `UTC-03:00`, if it has none. Empty if the
    /// timestamp is invalid.
    pub(super) zone: Vec<u8>,
}

impl Zone {
    /// Coordinated Universal Time.
    pub(crate) const UTC: Self = Self(TimeZone::UTC);

    /// Returns the zone that `$TZ` or `/etc/localtime` names, or UTC if neither names a zone that the system knows.
    pub(crate) fn local() -> Self {
        TimeZone::try_system().map_or(Self::UTC, Self)
    }

    /// Returns the zone with this rule, in the form of POSIX for `$TZ`.
    #[cfg(test)]
    pub(super) fn of_rule(rule: &str) -> Self {
        Self(TimeZone::posix(rule).expect("is valid"))
    }

    /// Returns the local time of a timestamp in ISO 8601.
    fn local_time(&self, timestamp: &[u8]) -> LocalTime {
        /// The length of `2026-01-31T12:34:56`.
        const SHOWN: usize = 19;
        let parsed = parse_timestamp(timestamp).and_then(|nanos| Timestamp::from_nanosecond(nanos).ok());
        let Some(at) = parsed else {
            let time = timestamp.get(..SHOWN).unwrap_or(timestamp).to_vec();
            return LocalTime { time, ..LocalTime::default() };
        };
        let info = self.0.to_offset_info(at);
        let local = info.offset().to_datetime(at);
        let mut day = Vec::with_capacity(10);
        push_digits(local.year().unsigned_abs(), 4, &mut day);
        day.push(b'-');
        push_digits(local.month().unsigned_abs().into(), 2, &mut day);
        day.push(b'-');
        push_digits(local.day().unsigned_abs().into(), 2, &mut day);
        let mut time = Vec::with_capacity(8);
        push_digits(local.hour().unsigned_abs().into(), 2, &mut time);
        time.push(b':');
        push_digits(local.minute().unsigned_abs().into(), 2, &mut time);
        time.push(b':');
        push_digits(local.second().unsigned_abs().into(), 2, &mut time);
        LocalTime { day, time, zone: zone_name(info.abbreviation(), info.offset().seconds()) }
    }
}

/// Returns an abbreviation, or the offset in seconds if the abbreviation only repeats it, such as `-03`.
fn zone_name(abbreviation: &str, offset: i32) -> Vec<u8> {
    if abbreviation.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return abbreviation.as_bytes().to_vec();
    }
    let minutes = offset.unsigned_abs() / 60;
    format!("UTC{}{:02}:{:02}", if offset < 0 { '-' } else { '+' }, minutes / 60, minutes % 60).into_bytes()
}

fn push_digits(number: u16, width: u32, out: &mut Vec<u8>) {
    out.extend((0..width).rev().map(|place| b'0' + u8::try_from(number / 10_u16.pow(place) % 10).unwrap_or(0)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(zone: &Zone, timestamp: &str) -> [String; 3] {
        let LocalTime { day, time, zone } = LocalClock::new(zone.clone()).read(timestamp.as_bytes());
        [day, time, zone].map(|part| String::from_utf8_lossy(&part).into_owned())
    }

    #[test]
    fn times_follow_the_zone_and_its_summer_time() {
        let berlin = Zone::of_rule("CET-1CEST,M3.5.0,M10.5.0/3");
        assert_eq!(shown(&berlin, "2026-01-31T23:30:01.999Z"), ["2026-02-01", "00:30:01", "CET"]);
        assert_eq!(shown(&berlin, "2026-10-25T00:59:59Z"), ["2026-10-25", "02:59:59", "CEST"]);
        assert_eq!(shown(&berlin, "2026-10-25T01:00:00Z"), ["2026-10-25", "02:00:00", "CET"]);
        assert_eq!(shown(&berlin, "2026-10-25T03:00:00+02:00"), ["2026-10-25", "02:00:00", "CET"]);
        assert_eq!(shown(&Zone::UTC, "2026-10-25T03:00:00+02:00"), ["2026-10-25", "01:00:00", "UTC"]);
    }

    #[test]
    fn timestamps_of_one_minute_are_converted_once() {
        let mut clock = LocalClock::new(Zone::of_rule("CET-1"));
        for second in 0..60 {
            let local = clock.read(format!("2026-01-31T23:30:{second:02}.999Z").as_bytes());
            assert_eq!(String::from_utf8_lossy(&local.time), format!("00:30:{second:02}"));
            assert_eq!((local.day.as_slice(), local.zone.as_slice()), (&b"2026-02-01"[..], &b"CET"[..]));
        }
        assert_eq!(clock.read(b"2026-01-31T23:31:00.000Z").time, b"00:31:00");
        assert_eq!(clock.read(b"2026-01-31T23:31:99.000Z").time, b"2026-01-31T23:31:99");
    }

    #[test]
    fn a_zone_without_an_abbreviation_is_named_by_its_offset() {
        assert_eq!(shown(&Zone::of_rule("<-03>3"), "2026-01-31T01:00:00Z"), ["2026-01-30", "22:00:00", "UTC-03:00"]);
        assert_eq!(
            shown(&Zone::of_rule("<+0545>-5:45"), "2026-01-31T01:00:00Z"),
            ["2026-01-31", "06:45:00", "UTC+05:45"]
        );
    }

    #[test]
    fn an_invalid_timestamp_is_shown_as_it_is() {
        assert_eq!(shown(&Zone::UTC, "yesterday"), ["", "yesterday", ""]);
        assert_eq!(shown(&Zone::UTC, "2026-01-31T12:34:56.789X"), ["", "2026-01-31T12:34:56", ""]);
        assert_eq!(shown(&Zone::UTC, ""), ["", "", ""]);
    }
}
