//! Durations as role files write them: `8h0m0s`, `30m`, `1d12h`.

use std::time::Duration;

/// Nanoseconds in each unit. `mo` and `ms` stand before the units they begin with.
const UNITS: [(&str, u64); 10] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("mo", 30 * 24 * 3600 * 1_000_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3600 * 1_000_000_000),
    ("d", 24 * 3600 * 1_000_000_000),
    ("y", 365 * 24 * 3600 * 1_000_000_000),
];

/// Reads a sequence of decimal numbers with units: `ns us µs ms s m h`, and `d` (24 h), `mo` (30 d), `y` (365 d).
/// `None` if the text is no such sequence or too long a time for 64 bits of nanoseconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, behind) = rest.split_at(end);
        let (unit, nanos) = UNITS.iter().find(|(unit, _)| behind.starts_with(unit))?;
        total = total.checked_add(scale(number, *nanos)?)?;
        rest = &behind[unit.len()..];
    }
    (!text.is_empty()).then_some(Duration::from_nanos(total))
}

/// A decimal number times a unit, rounded down.
fn scale(number: &str, nanos: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = &fraction[..fraction.len().min(9)];
    let parts: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let part_of = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let below_one = u64::try_from(u128::from(parts) * u128::from(nanos) / part_of).ok()?;
    whole.checked_mul(nanos)?.checked_add(below_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_durations_are_read() {
        for (text, seconds) in [
            ("30h", 108_000.0),
            ("8h0m0s", 28_800.0),
            ("1h30m", 5_400.0),
            ("1.5h", 5_400.0),
            (".5s", 0.5),
            ("1.s", 1.0),
            ("100ms", 0.1),
            ("1us1µs1ns", 0.000_002_001),
            ("1d12h", 129_600.0),
            ("1mo", 2_592_000.0),
            ("1y", 31_536_000.0),
            ("0s", 0.0),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_secs_f64(seconds)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_none() {
        for text in [
            "",
            "8",
            "h",
            "8 h",
            "-1h",
            "1.2.3h",
            ".h",
            "8hours",
            "1h1",
            "99999999999h",
            "∞",
            "99999999999999999999s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
