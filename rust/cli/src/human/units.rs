//! Numbers, sizes and durations in human-readable form.

/// Formats a number with thousands separators: `12,345`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats a size in bytes: `12 B`, `1.5 kB`.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(super) fn size_of(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Formats the time since something began, in milliseconds, in full seconds: `12 s`, `3 min 5 s`, `2 h 5 min`, `3 days`.
pub(super) fn elapsed(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    match hours {
        48.. => format!("{} days", grouped(hours / 24)),
        1.. => format!("{hours} h {} min", minutes % 60),
        0 if minutes > 0 => format!("{minutes} min {} s", seconds % 60),
        0 => format!("{seconds} s"),
    }
}

/// Formats a duration in milliseconds: `15 ms`, `1.5 s`.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub(super) fn seconds(milliseconds: i64) -> String {
    if milliseconds < 1_000 { format!("{milliseconds} ms") } else { format!("{:.1} s", milliseconds as f64 / 1e3) }
}
