use proptest::prelude::*;

use super::*;

/// Returns every day's number and date, counted from 1970-01-01.
fn calendar() -> impl Iterator<Item = (i64, (i64, i64, i64))> {
    let mut date = (1970, 1, 1);
    (0..).map(move |number| {
        let today = date;
        let (year, month, day) = date;
        let is_leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let days = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        date = match (month, day) {
            (12, 31) => (year + 1, 1, 1),
            (month, day) if days[usize::try_from(month - 1).unwrap_or(0)] == day => (year, month + 1, 1),
            (month, day) => (year, month, day + 1),
        };
        (number, today)
    })
}

proptest! {
    #[test]
    fn every_part_is_parsed(
        day in 0_i64..100_000,
        (hour, minute, second, nanos) in (0_i64..24, 0_i64..60, 0_i64..60, 0_i64..1_000_000_000),
        digits in 1_usize..=9,
        (sign, hours, minutes) in (prop_oneof![Just(1), Just(-1)], 0_i64..24, 0_i64..60),
        gap in prop_oneof![Just('T'), Just(' ')],
    ) {
        let (_, (year, month, day_of_month)) = calendar().nth(usize::try_from(day).unwrap_or(0)).unwrap_or_default();
        let fraction = &format!("{nanos:09}")[..digits];
        let local = format!("{year:04}-{month:02}-{day_of_month:02}{gap}{hour:02}:{minute:02}:{second:02}");
        let seconds = i128::from(day * 86_400 + hour * 3600 + minute * 60 + second) * 1_000_000_000;
        let nanos: i128 = format!("{fraction:0<9}").parse().unwrap_or(0);
        let offset = i128::from(sign * (hours * 3600 + minutes * 60)) * 1_000_000_000;
        let zone = format!("{}{hours:02}:{minutes:02}", if sign > 0 { '+' } else { '-' });
        prop_assert_eq!(parse(format!("{local}Z").as_bytes()), Some(seconds));
        prop_assert_eq!(parse(local.as_bytes()), Some(seconds));
        prop_assert_eq!(parse(format!("{local}.{fraction}").as_bytes()), Some(seconds + nanos));
        prop_assert_eq!(parse(format!("{local}.{fraction}Z").as_bytes()), Some(seconds + nanos));
        prop_assert_eq!(parse(format!("{local}.{fraction}{zone}").as_bytes()), Some(seconds + nanos - offset));
        prop_assert_eq!(parse(format!("{}{zone}", &local[..16]).as_bytes()), Some(seconds - i128::from(second) * 1_000_000_000 - offset));
    }

    #[test]
    fn the_clock_parses_any_sequence_like_parse(
        texts in prop::collection::vec(
            "(2026-1[12]-2[12]|2026-02-(28|29)|0000-01-01)[T ](07:1[23]|24:00):([0-6][0-9])[.,][0-9]{2}[0-9x][Z0]",
            1..20,
        ),
    ) {
        let mut clock = Clock::default();
        for text in texts {
            let Ok(exact) = <&[u8; 24]>::try_from(text.as_bytes()) else { continue };
            // The clock accepts only one form.
            let has_the_form_of_codex = text.as_bytes()[19] == b'.' && text.ends_with('Z');
            prop_assert_eq!(clock.read(exact), parse(text.as_bytes()).filter(|_| has_the_form_of_codex), "{}", text);
        }
    }

    #[test]
    fn arbitrary_bytes_are_not_a_timestamp(bytes in any::<Vec<u8>>(), text in "[0-9TZ:. +-]{0,15}", exact in any::<[u8; 24]>()) {
        prop_assert_eq!(parse(&bytes), None);
        prop_assert_eq!(parse(text.as_bytes()), None);
        prop_assert_eq!(Clock::default().read(&exact), None);
    }

    #[test]
    fn milliseconds_are_rounded_to_the_nearest(nanos in any::<i64>()) {
        let away = i128::from(millis(i128::from(nanos))) * 1_000_000 - i128::from(nanos);
        prop_assert!(away.abs() <= 500_000);
    }
}

#[test]
fn known_timestamps_are_parsed() {
    assert_eq!(parse(b"1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(parse(b"2026-11-22T07:12:04.790Z"), Some(1_795_331_524_790_000_000));
    assert_eq!(parse(b"2026-11-22T07:12:04.790+00:00"), Some(1_795_331_524_790_000_000));
    assert_eq!(parse(b"2026-11-22 08:12:04.79+01:00"), Some(1_795_331_524_790_000_000));
    assert_eq!(parse(b"2000-02-29T00:00Z"), Some(951_782_400_000_000_000));
    assert_eq!(parse(b"1969-12-31T23:59:59.999999999Z"), Some(-1));
    assert_eq!(parse(b"0001-01-01T00:00:00Z"), Some(-62_135_596_800_000_000_000));
    assert_eq!(parse(b"9999-12-31T23:59:59Z"), Some(253_402_300_799_000_000_000));
}

#[test]
fn invalid_timestamps_are_refused() {
    for text in [
        "",
        "yesterday",
        "2026-11-22",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2026-04-31T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T07:60:00Z",
        "2026-11-22T07:00:61Z",
        "2026-11-22T07:00:00.Z",
        "2026-11-22T07:00:00.1234567890Z",
        "2026-11-22T07:00:00Zx",
        "2026-11-22T07:00:00+25:00",
        "2026-11-22T07:00:00+01",
        "2026-11-22t07:00:00Z",
        "+026-11-22T07:00:00Z",
    ] {
        assert_eq!(parse(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn the_clock_parses_known_timestamps_like_parse() {
    let mut clock = Clock::default();
    for text in [
        b"2026-11-22T07:12:04.790Z",
        b"2026-11-22T07:12:59.001Z",
        b"2026-11-22T07:13:00.000Z",
        b"2026-11-22T07:12:04.790Z",
        b"2026-02-29T07:12:04.790Z",
        b"2026-11-22T07:12:60.000Z",
        b"2026-11-22T07:12:04.79xZ",
        b"2026-11-22T07:12:04,790Z",
        b"2026-11-22 07:12:04.790Z",
    ] {
        assert_eq!(clock.read(text), parse(text), "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn halves_are_rounded_to_the_even_millisecond() {
    assert_eq!(millis(1_500_000), 2);
    assert_eq!(millis(2_500_000), 2);
    assert_eq!(millis(2_500_001), 3);
    assert_eq!(millis(-1), 0);
    assert_eq!(millis(-500_000), 0);
    assert_eq!(millis(-1_500_000), -2);
}
