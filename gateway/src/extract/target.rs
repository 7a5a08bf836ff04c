//! What a request wants to read: a branch, a commit, a tag, or a branch as it was at a time.

use omnigraph_proto::common::v1::read_target::Target;
use omnigraph_proto::common::v1::{BranchAsOf, ReadTarget};
use serde::{Deserialize, Serialize};

use super::params::{QueryParams, branch_name};
use crate::errors::ApiError;

/// A point in time: RFC 3339 text, or microseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AsOf {
    /// Microseconds.
    Micros(i64),
    /// Text of either kind.
    Text(String),
}

/// The members of a request that say what to read. At most one of branch, snapshot and tag; a time
/// goes with a branch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    pub(crate) branch: Option<String>,
    pub(crate) snapshot: Option<String>,
    pub(crate) tag: Option<String>,
    pub(crate) as_of: Option<AsOf>,
}

impl Selector {
    /// Whether it names something that does not move.
    pub(crate) fn is_pinned(&self) -> bool {
        self.snapshot.is_some() || self.tag.is_some() || self.as_of.is_some()
    }

    /// The target; `main` if nothing is named.
    pub(crate) fn target(self) -> Result<ReadTarget, ApiError> {
        let exclude = |a: &str, b: &str| {
            Err(ApiError::bad_request(format!(
                "'{a}' and '{b}' exclude each other"
            )))
        };
        let target = match (self.branch, self.snapshot, self.tag, self.as_of) {
            (Some(_), Some(_), _, _) => return exclude("branch", "snapshot"),
            (Some(_), _, Some(_), _) => return exclude("branch", "tag"),
            (_, Some(_), Some(_), _) => return exclude("snapshot", "tag"),
            (_, Some(_), _, Some(_)) => return exclude("snapshot", "as_of"),
            (_, _, Some(_), Some(_)) => return exclude("tag", "as_of"),
            (_, Some(id), _, _) => Target::CommitId(named("snapshot", &id)?),
            (_, _, Some(name), _) => Target::Tag(named("tag", &name)?),
            (branch, _, _, Some(time)) => Target::AsOf(BranchAsOf {
                branch: branch_name(branch.as_deref(), "main")?,
                at_us: time.micros()?,
            }),
            (branch, _, _, None) => Target::Branch(branch_name(branch.as_deref(), "main")?),
        };
        Ok(ReadTarget {
            target: Some(target),
        })
    }
}

impl QueryParams {
    /// `branch`, `snapshot`, `tag` and `as_of`.
    pub(crate) fn selector(&self) -> Result<Selector, ApiError> {
        Ok(Selector {
            branch: self.text("branch")?,
            snapshot: self.text("snapshot")?,
            tag: self.text("tag")?,
            as_of: self.text("as_of")?.map(AsOf::Text),
        })
    }
}

impl AsOf {
    /// Microseconds since the Unix epoch.
    pub(crate) fn micros(&self) -> Result<i64, ApiError> {
        let text = match self {
            AsOf::Micros(micros) => return Ok(*micros),
            AsOf::Text(text) => text.trim(),
        };
        if let Ok(micros) = text.parse::<i64>() {
            return Ok(micros);
        }
        rfc3339(text).ok_or_else(|| {
            ApiError::bad_request(format!(
                "'{text}' is no time: write 2026-11-22T20:05:00Z, or microseconds since the Unix epoch"
            ))
        })
    }
}

fn named(member: &str, value: &str) -> Result<String, ApiError> {
    match value.trim() {
        "" => Err(ApiError::bad_request(format!("'{member}' is empty"))),
        name => Ok(name.to_owned()),
    }
}

/// `2026-11-22T20:05:00.5+01:00`; a date alone is its first moment in UTC. A `+` that a query string
/// has turned into a space counts as `+`.
fn rfc3339(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        let all = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<i64>().ok().filter(|_| all)
    };
    let is = |at: usize, any: &str| {
        let byte = text.as_bytes().get(at).copied();
        byte.is_some_and(|byte| any.as_bytes().contains(&byte))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let calendar = is(4, "-") && is(7, "-") && (1..=12).contains(&month);
    if !calendar || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    let days = days_since_epoch(year, month, day);
    if text.len() == 10 {
        return Some(days * 86_400_000_000);
    }
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let clock = is(10, "Tt ") && is(13, ":") && is(16, ":");
    if !clock || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let mut at = 19;
    let mut micros = 0;
    if is(at, ".") {
        let digits = text[20..].bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return None;
        }
        let kept = digits.min(6);
        micros = number(20, 20 + kept)? * 10_i64.pow(6 - u32::try_from(kept).ok()?);
        at = 20 + digits;
    }
    let offset = match text.get(at..)? {
        "Z" | "z" => 0,
        zone if zone.len() == 6 && is(at, "+- ") && is(at + 3, ":") => {
            let (hours, minutes) = (number(at + 1, at + 3)?, number(at + 4, at + 6)?);
            let sign = if is(at, "-") { -1 } else { 1 };
            (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes))?
        }
        _ => return None,
    };
    let seconds = ((days * 24 + hour) * 60 + minute - offset) * 60 + second;
    Some(seconds * 1_000_000 + micros)
}

fn days_of(year: i64, month: i64) -> i64 {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar: years begin in March, so that the leap day is the
/// last of a year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let cases = [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01", Some(0)),
            ("2000-02-29T12:00:00.25Z", Some(951_825_600_250_000)),
            ("2026-11-22T21:05:00+01:00", Some(1_795_377_900_000_000)),
            ("2026-11-22T21:05:00 01:00", Some(1_795_377_900_000_000)),
            ("2026-11-22 20:05:00.0000009z", Some(1_795_377_900_000_000)),
            ("1969-12-31T23:59:59-00:30", Some(1_799_000_000)),
            ("2026-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-11-22T20:05:00", None),
            ("2026-11-22T20:05", None),
            ("2026-11-22T25:05:00Z", None),
            ("2026-11-22T20:05:00.Z", None),
            ("yesterday", None),
            ("2026-1é-22T20:05:00Z", None),
        ];
        for (text, expected) in cases {
            assert_eq!(rfc3339(text), expected, "{text}");
        }
        let micros = AsOf::Text("1795377900000000".to_owned());
        assert_eq!(micros.micros().ok(), Some(1_795_377_900_000_000));
    }

    #[test]
    fn one_thing_is_read() {
        let some = |text: &str| Some(text.to_owned());
        let time = || Some(AsOf::Micros(7));
        let select = |branch, snapshot, tag, as_of| Selector {
            branch,
            snapshot,
            tag,
            as_of,
        };
        let good = [
            (
                select(None, None, None, None),
                Target::Branch("main".into()),
            ),
            (
                select(some(" x "), None, None, None),
                Target::Branch("x".into()),
            ),
            (
                select(None, some("c"), None, None),
                Target::CommitId("c".into()),
            ),
            (select(None, None, some("t"), None), Target::Tag("t".into())),
            (
                select(some("x"), None, None, time()),
                Target::AsOf(BranchAsOf {
                    branch: "x".into(),
                    at_us: 7,
                }),
            ),
        ];
        for (selector, expected) in good {
            assert_eq!(selector.target().unwrap().target, Some(expected));
        }
        let bad = [
            select(some("x"), some("c"), None, None),
            select(some("x"), None, some("t"), None),
            select(None, some("c"), some("t"), None),
            select(None, some("c"), None, time()),
            select(None, None, some("t"), time()),
            select(None, some(" "), None, None),
            select(None, None, None, Some(AsOf::Text("soon".into()))),
        ];
        for selector in bad {
            assert!(selector.clone().target().is_err(), "{selector:?}");
        }
    }
}
