//! Numbers, times and counts as people read them.

/// `3,325`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// `1 row`, `2 rows`, `0 edges`. Regular plurals only, and `query`, `entity`, `policy`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let noun = match (number, noun.strip_suffix('y')) {
        (1, _) => noun.to_owned(),
        (_, Some(stem)) => format!("{stem}ies"),
        (_, None) => format!("{noun}s"),
    };
    format!("{} {noun}", grouped(number))
}

/// `1.1 MB`, decimal units.
pub(crate) fn bytes(number: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut value = number as f64;
    if number < 1000 {
        return format!("{number} B");
    }
    let mut unit = "B";
    for next in units {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// `now`, `12 s ago`, `2 min ago`, `5 h ago`, `3 d ago`, then the day.
pub(crate) fn ago(at_us: i64, now_us: i64) -> String {
    let seconds = now_us.saturating_sub(at_us) / 1_000_000;
    match seconds {
        i64::MIN..=0 => "now".to_owned(),
        1..=59 => format!("{seconds} s ago"),
        60..=3_599 => format!("{} min ago", seconds / 60),
        3_600..=86_399 => format!("{} h ago", seconds / 3_600),
        86_400..=1_209_599 => format!("{} d ago", seconds / 86_400),
        _ => utc(at_us)[..10].to_owned(),
    }
}

/// `2026-11-22T14:02:11Z`.
pub(crate) fn utc(at_us: i64) -> String {
    match jiff::Timestamp::from_microsecond(at_us) {
        Ok(time) => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Err(_) => "0000-00-00".to_owned(),
    }
}

/// `2026-11-22 14:02`, in UTC.
pub(crate) fn minute(at: &prost_types::Timestamp) -> String {
    utc(micros(at))
        .get(..16)
        .unwrap_or_default()
        .replace('T', " ")
}

/// Epoch microseconds of a time on the wire.
pub(crate) fn micros(at: &prost_types::Timestamp) -> i64 {
    at.seconds * 1_000_000 + i64::from(at.nanos) / 1_000
}

#[cfg(test)]
pub(crate) fn timestamp(micros: i64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: 0,
    }
}

/// Wall clock in epoch microseconds.
pub(crate) fn now_us() -> i64 {
    jiff::Timestamp::now().as_microsecond()
}

/// `0.28s`.
pub(crate) fn seconds(elapsed: std::time::Duration) -> String {
    format!("{:.2}s", elapsed.as_secs_f64())
}

/// The first characters of a digest.
pub(crate) fn short_digest(digest: &str) -> &str {
    digest.get(..8).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(count(1, "entity"), "1 entity");
        assert_eq!(count(3325, "entity"), "3,325 entities");
        assert_eq!(count(0, "edge"), "0 edges");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_100_000), "1.1 MB");
    }

    #[test]
    fn times() {
        let now = 1_795_356_000_000_000;
        assert_eq!(ago(now, now), "now");
        assert_eq!(ago(now + 5_000_000, now), "now");
        assert_eq!(ago(now - 130_000_000, now), "2 min ago");
        assert_eq!(ago(now - 90_000_000_000_000, now), "2024-01-15");
        assert_eq!(utc(now), "2026-11-22T14:00:00Z");
    }
}
