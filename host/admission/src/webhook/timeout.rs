//! [`budget`]: the time for an answer, from the `?timeout=` that the API server appends to the
//! webhook's URL.
//!
//! The value is a duration in Go's format (`10s`, `1m30s`, `1.5s`, `500ms`).

use std::time::Duration;

/// Kubernetes' default of `timeoutSeconds`.
const DEFAULT: Duration = Duration::from_secs(10);
/// Kubernetes' maximum of `timeoutSeconds`.
const MAX: Duration = Duration::from_secs(30);
/// Time for the answer's way back; at most a tenth of the timeout.
const MARGIN: Duration = Duration::from_millis(500);

/// The time from a request's arrival to its answer. An unreadable timeout counts as absent.
pub(super) fn budget(query: Option<&str>) -> Duration {
    let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
    let requested = pairs.filter(|(key, _)| *key == "timeout").find_map(|(_, value)| parse(value));
    let timeout = requested.filter(|timeout| !timeout.is_zero()).unwrap_or(DEFAULT).min(MAX);
    timeout - MARGIN.min(timeout / 10)
}

/// Parses a duration in Go's format. `None` for other text and for negative durations.
fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (value, tail) = rest.split_at(number);
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let seconds = value.parse::<f64>().ok()? * seconds_of(unit)?;
        sum = sum.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(sum)
}

fn seconds_of(unit: &str) -> Option<f64> {
    Some(match unit {
        "h" => 3600.0,
        "m" => 60.0,
        "s" => 1.0,
        "ms" => 1e-3,
        // Both micro signs of Unicode.
        "us" | "µs" | "μs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, millis: u64) {
        assert_eq!(budget(Some(query)).as_millis(), u128::from(millis), "{query}");
    }

    #[test]
    fn reads_durations_in_gos_format() {
        check("timeout=10s", 9_500);
        check("timeout=1s", 900);
        check("timeout=1.5s", 1_350);
        check("timeout=500ms", 450);
        check("timeout=0m20s", 19_500);
        check("timeout=1h0m0s", 29_500);
        check("timeout=250000us", 225);
        check("a=b&timeout=2s&c", 1_800);
    }

    #[test]
    fn uses_the_default_for_an_unreadable_duration() {
        for query in [
            "",
            "timeout=",
            "timeout=10",
            "timeout=-5s",
            "timeout=s",
            "timeout=1..5s",
            "timeout=0s",
            "timeout=x",
            "time=1s",
        ] {
            check(query, 9_500);
        }
        assert_eq!(budget(None), Duration::from_millis(9_500));
        check(&format!("timeout={}h", "9".repeat(400)), 9_500);
    }
}
