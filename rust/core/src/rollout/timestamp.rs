//! ISO 8601 timestamps.
//!
//! Codex writes `2026-11-22T07:12:04.790Z` (seen on 0.64 to 0.169). mngr accepts the forms that Python's
//! `datetime.fromisoformat` accepts. This module accepts their common part: a full date, `T` or a space, hours and
//! minutes, optionally seconds and a fraction, optionally `Z` or an offset.

/// Nanoseconds since 1970-01-01T00:00:00Z. A timestamp without an offset is in UTC.
pub(crate) type Nanos = i128;

/// Parses a timestamp. Returns `None` if it is invalid.
#[must_use]
pub fn parse(text: &[u8]) -> Option<Nanos> {
    let mut rest = text;
    let year = digits(&mut rest, 4)?;
    byte(&mut rest, b'-')?;
    let month = digits(&mut rest, 2)?;
    byte(&mut rest, b'-')?;
    let day = digits(&mut rest, 2)?;
    if year < 1 || !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    byte(&mut rest, b'T').or_else(|| byte(&mut rest, b' '))?;
    let hour = digits(&mut rest, 2)?;
    byte(&mut rest, b':')?;
    let minute = digits(&mut rest, 2)?;
    let mut second = 0;
    let mut nanos = 0;
    if byte(&mut rest, b':').is_some() {
        second = digits(&mut rest, 2)?;
        if byte(&mut rest, b'.').is_some() {
            nanos = fraction(&mut rest)?;
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let mut offset = 0;
    if byte(&mut rest, b'Z').is_none() && !rest.is_empty() {
        let sign = if byte(&mut rest, b'+').is_some() { 1 } else { byte(&mut rest, b'-').map(|()| -1)? };
        let hours = digits(&mut rest, 2)?;
        byte(&mut rest, b':')?;
        let minutes = digits(&mut rest, 2)?;
        if hours > 23 || minutes > 59 {
            return None;
        }
        offset = sign * (hours * 60 + minutes) * 60;
    }
    if !rest.is_empty() {
        return None;
    }
    let seconds = days_from_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanos))
}

/// Parses timestamps in the form of Codex, `2026-11-22T07:12:04.790Z`. Most of them are compared with the minute of the
/// previous one instead of being parsed completely.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    /// The beginning of the last timestamp, up to its seconds, and the time of that minute.
    minute: Option<([u8; 17], Nanos)>,
}

impl Clock {
    /// Parses a timestamp of this form. Returns `None` for any other text.
    #[inline]
    pub(crate) fn read(&mut self, text: &[u8; 24]) -> Option<Nanos> {
        let (minute, rest) = text.split_first_chunk::<17>()?;
        let [s1, s2, b'.', m1, m2, m3, b'Z'] = *rest else { return None };
        if ![s1, s2, m1, m2, m3].iter().all(u8::is_ascii_digit) || s1 > b'5' {
            return None;
        }
        let digit = |byte: u8| i64::from(byte - b'0');
        let millis = (digit(s1) * 10 + digit(s2)) * 1000 + digit(m1) * 100 + digit(m2) * 10 + digit(m3);
        let start = match self.minute {
            Some((known, start)) if known == *minute => start,
            _ => {
                let start = parse(text)? - i128::from(millis) * 1_000_000;
                self.minute = Some((*minute, start));
                start
            }
        };
        Some(start + i128::from(millis) * 1_000_000)
    }
}

/// Rounds to the nearest millisecond, and halves to the even one, as Python's `round` does.
#[must_use]
pub(crate) fn millis(nanos: Nanos) -> i64 {
    let (milliseconds, rest) = (nanos.div_euclid(1_000_000), nanos.rem_euclid(1_000_000));
    let up = rest > 500_000 || (rest == 500_000 && milliseconds % 2 != 0);
    i64::try_from(milliseconds + i128::from(up)).unwrap_or(i64::MAX)
}

fn byte(rest: &mut &[u8], expected: u8) -> Option<()> {
    *rest = rest.strip_prefix(&[expected])?;
    Some(())
}

fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (number, remaining) = rest.split_at_checked(count)?;
    *rest = remaining;
    number.iter().try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
}

/// Parses one to nine digits after the decimal point, in nanoseconds.
fn fraction(rest: &mut &[u8]) -> Option<i64> {
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    let value = digits(rest, count)?;
    Some((count..9).fold(value, |value, _| value * 10))
}

fn days_in(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the number of days since 1970-01-01 in the proleptic Gregorian calendar.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    // Years are counted from March, so that the leap day is the last day of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    // 719,468 days lie between 0000-03-01 and 1970-01-01; (153 m + 2) / 5 counts the days of the months before.
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests;
