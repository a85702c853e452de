//! Values on the command line: durations and sizes.

use std::time::Duration;

/// What may be `none`.
#[derive(Clone, Copy, Debug)]
pub struct Limit<T>(pub Option<T>);

/// `5`, `1.5s`, `200ms`, `2m`, `1h`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("", 1.0)];
    let (number, unit) = split(text, &units)
        .ok_or("a duration is a number and a unit, such as 200ms, 5s, 1.5m or 1h")?;
    Duration::try_from_secs_f64(number * unit).map_err(|_| "that is too long".into())
}

/// As [`duration`], or `none`.
pub fn duration_or_none(text: &str) -> Result<Limit<Duration>, String> {
    or_none(text, duration)
}

/// `512`, `64K`, `1.5M`, `2G`; powers of 1024.
pub fn size(text: &str) -> Result<u64, String> {
    const K: f64 = 1024.0;
    let units = [("k", K), ("m", K * K), ("g", K * K * K), ("", 1.0)];
    let lower = text.to_ascii_lowercase();
    let lower = lower.strip_suffix("ib").or(lower.strip_suffix('b')).unwrap_or(&lower);
    let (number, unit) =
        split(lower, &units).ok_or("a size is a number of bytes, such as 512, 64K, 1M or 2G")?;
    let bytes = number * unit;
    if bytes > (1_u64 << 53) as f64 { Err("that is too much".into()) } else { Ok(bytes as u64) }
}

/// As [`size`], or `none`.
pub fn size_or_none(text: &str) -> Result<Limit<u64>, String> {
    or_none(text, size)
}

fn or_none<T>(text: &str, parse: fn(&str) -> Result<T, String>) -> Result<Limit<T>, String> {
    if text == "none" { Ok(Limit(None)) } else { parse(text).map(|value| Limit(Some(value))) }
}

/// A number of at least zero, and what its unit is worth.
fn split(text: &str, units: &[(&str, f64)]) -> Option<(f64, f64)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, worth) = units.iter().find(|(name, _)| *name == unit)?;
    Some((number.parse().ok()?, *worth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let parsed = |text| duration(text).ok();
        assert_eq!(parsed("5"), Some(Duration::from_secs(5)));
        assert_eq!(parsed("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(parsed("200ms"), Some(Duration::from_millis(200)));
        assert_eq!(parsed("2m"), Some(Duration::from_secs(120)));
        assert_eq!(parsed("0"), Some(Duration::ZERO));
        for wrong in ["", "s", "-1", "1x", "1 s", "1.2.3", ".", "1e400", "none", "∞"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
        assert_eq!(parsed(&"9".repeat(400)), None);
        assert!(matches!(duration_or_none("none"), Ok(Limit(None))));
    }

    #[test]
    fn sizes() {
        let parsed = |text| size(text).ok();
        assert_eq!(parsed("512"), Some(512));
        assert_eq!(parsed("64K"), Some(65536));
        assert_eq!(parsed("1.5MiB"), Some(1_572_864));
        assert_eq!(parsed("2gb"), Some(2 << 30));
        for wrong in ["", "K", "-1", "1T", "99999999999G", "one"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
        assert!(matches!(size_or_none("none"), Ok(Limit(None))));
    }
}
