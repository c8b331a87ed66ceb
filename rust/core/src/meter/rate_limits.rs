//! The rate limits of the account, which a `token_count` reports after each response.
//!
//! A limit has one or two windows. Codex calls them primary and secondary, but which one is the shorter depends on the
//! account's plan, so a window is identified by its length.

use serde::{Deserialize, Serialize};

use crate::json::dump::Members;
use crate::rollout::session_meta::member;

/// The limit for Codex. Others are for single models.
const CODEX: &[u8] = b"\"codex\"";

/// The windows of a rate limit, no two of the same length.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RateLimits {
    /// The windows, in Codex's order.
    pub(crate) windows: Vec<Window>,
}

/// A window of a rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Window {
    /// How much of the limit is used, in percent.
    pub(crate) used_percent: Option<f64>,
    /// The length of the window in minutes.
    pub(crate) minutes: Option<u64>,
    /// The end of the window, in seconds since 1970.
    pub(crate) resets_at: Option<u64>,
}

impl RateLimits {
    /// Reads the value of `rate_limits`, which must be valid JSON, in a line that was written at `at`, in milliseconds
    /// since 1970. Returns no windows for another limit than Codex's.
    pub(super) fn read(value: &[u8], at: u64) -> Self {
        let mut limits = Self::default();
        if member(value, "limit_id").is_some_and(|id| id != CODEX && id != b"null") {
            return limits;
        }
        for name in ["primary", "secondary"] {
            let Some(window) = member(value, name).and_then(|window| Window::read(window, at)) else { continue };
            if limits.windows.iter().all(|known| known.minutes != window.minutes) {
                limits.windows.push(window);
            }
        }
        limits
    }

    /// Returns whether the text of a value in Codex's usual form has windows of Codex's limit. Returns `None` for another
    /// form.
    pub(super) fn has_windows(text: &[u8]) -> Option<bool> {
        if text.starts_with(b"null") {
            return Some(false);
        }
        let limits = text.strip_prefix(b"{\"limit_id\":\"codex\",")?;
        memchr::memmem::find(limits, b"\"primary\":{\"used_percent\":").map(|_| true)
    }

    /// Returns whether no window is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }
}

impl Window {
    fn read(value: &[u8], at: u64) -> Option<Self> {
        let (mut window, mut resets_in) = (Self { used_percent: None, minutes: None, resets_at: None }, None);
        for (key, number) in Members::of(value) {
            match key {
                b"\"used_percent\"" => window.used_percent = float(number),
                b"\"window_minutes\"" => window.minutes = whole(number),
                b"\"resets_at\"" => window.resets_at = whole(number),
                // The time until the reset, in earlier versions.
                b"\"resets_in_seconds\"" => resets_in = whole(number),
                _ => {}
            }
        }
        window.resets_at = window.resets_at.or(resets_in.map(|seconds| (at / 1000).saturating_add(seconds)));
        (window.used_percent.is_some() || window.resets_at.is_some()).then_some(window)
    }

    /// Returns the key and the label by which mngr shows the window.
    pub(crate) fn name(&self) -> (String, String) {
        const DAY: u64 = 24 * 60;
        let label = match self.minutes {
            None => return ("window".to_owned(), "limit".to_owned()),
            // Codex rounds a window to a whole number of hours if it is at most three minutes shorter or longer:
            // servers have reported 299 and 10079 minutes.
            Some(297..=303) => return ("five_hour".to_owned(), "5h".to_owned()),
            Some(10_077..=10_083) => return ("seven_day".to_owned(), "7d".to_owned()),
            Some(minutes) if minutes > 0 && minutes % DAY == 0 => format!("{}d", minutes / DAY),
            Some(minutes) if minutes > 0 && minutes % 60 == 0 => format!("{}h", minutes / 60),
            Some(minutes) => format!("{minutes}m"),
        };
        (format!("window_{label}"), label)
    }
}

fn float(number: &[u8]) -> Option<f64> {
    std::str::from_utf8(number).ok()?.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Returns a number without its fraction, if it is not negative.
fn whole(number: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(number).ok()?;
    text.split_once('.').map_or(text, |(whole, _)| whole).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time of the line, in milliseconds since 1970.
    const AT: u64 = 1_795_330_800_500;

    fn names(value: &str) -> Vec<String> {
        RateLimits::read(value.as_bytes(), AT).windows.iter().map(|window| window.name().0).collect()
    }

    #[test]
    fn a_window_is_named_by_its_length() {
        for (minutes, key, label) in [
            ("300", "five_hour", "5h"),
            ("299", "five_hour", "5h"),
            ("10080", "seven_day", "7d"),
            ("10079", "seven_day", "7d"),
            ("90", "window_90m", "90m"),
            ("120", "window_2h", "2h"),
            ("43200", "window_30d", "30d"),
            ("0", "window_0m", "0m"),
            ("null", "window", "limit"),
        ] {
            let value = format!(r#"{{"secondary":{{"used_percent":1.5,"window_minutes":{minutes}}}}}"#);
            let limits = RateLimits::read(value.as_bytes(), AT);
            assert_eq!(limits.windows[0].name(), (key.to_owned(), label.to_owned()));
        }
    }

    #[test]
    fn only_the_limit_for_codex_counts() {
        let limit = |id: &str| names(&format!(r#"{{{id}"primary":{{"used_percent":1,"window_minutes":300}}}}"#));
        for id in ["", r#""limit_id":null,"#, r#""limit_id":"codex","#] {
            assert_eq!(limit(id), ["five_hour"]);
        }
        assert!(limit(r#""limit_id":"codex_other","#).is_empty());
    }

    #[test]
    fn missing_windows_are_left_out() {
        for value in ["null", "{}", "7", r#"{"primary":null,"secondary":{}}"#, r#"{"primary":{"window_minutes":300}}"#]
        {
            assert!(names(value).is_empty(), "{value}");
        }
        let twice = r#"{"primary":{"used_percent":1,"window_minutes":300},"secondary":{"used_percent":2,"window_minutes":300}}"#;
        assert_eq!(names(twice), ["five_hour"]);
    }

    #[test]
    fn a_time_until_the_reset_is_added_to_the_time_of_the_line() {
        let read = |members: &str| {
            let value = format!(r#"{{"primary":{{"used_percent":12.5,{members}}}}}"#);
            let limits = RateLimits::read(value.as_bytes(), AT);
            (limits.windows[0].used_percent, limits.windows[0].resets_at)
        };
        assert_eq!(read(r#""resets_in_seconds":60"#), (Some(12.5), Some(1_795_330_860)));
        assert_eq!(read(r#""resets_at":1795330999"#), (Some(12.5), Some(1_795_330_999)));
        assert_eq!(read(r#""resets_at":-1"#), (Some(12.5), None));
    }
}
