//! Names of the objects of a log.

use std::fmt;

use object_store::path::Path;
use serde::{Deserialize, Serialize};

/// Position of an entry in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// The first entry of every log.
    pub const FIRST: Seq = Seq(0);

    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

const ENTRY_SUFFIX: &str = ".json";
const FLOOR_PREFIX: &str = "floor-";
const DIGITS: usize = 20;

/// What a name under the prefix stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Entry(Seq),
    Floor(Seq),
    Other,
}

/// Makes and reads names.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: Path,
}

impl Keys {
    pub(super) fn new(prefix: Path) -> Self {
        Self { prefix }
    }

    pub(super) fn prefix(&self) -> &Path {
        &self.prefix
    }

    pub(super) fn entry(&self, seq: Seq) -> Path {
        self.prefix
            .clone()
            .join(format!("{:020}{ENTRY_SUFFIX}", seq.0))
    }

    pub(super) fn hint(&self) -> Path {
        self.prefix.clone().join("hint")
    }

    pub(super) fn floor(&self, seq: Seq) -> Path {
        self.prefix
            .clone()
            .join(format!("{FLOOR_PREFIX}{:020}", seq.0))
    }

    /// A name that sorts after every entry and before every floor.
    pub(super) fn before_floors(&self) -> Path {
        self.prefix.clone().join(FLOOR_PREFIX)
    }

    /// Reads a name. Staged files of the local store and foreign objects are `Other`.
    pub(super) fn parse(path: &Path) -> Name {
        let name = path.filename().unwrap_or_default();
        if let Some(seq) = name.strip_suffix(ENTRY_SUFFIX).and_then(number) {
            return Name::Entry(seq);
        }
        match name.strip_prefix(FLOOR_PREFIX).and_then(number) {
            Some(seq) => Name::Floor(seq),
            None => Name::Other,
        }
    }
}

fn number(text: &str) -> Option<Seq> {
    let plain = text.len() == DIGITS && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok().map(Seq)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_read_back() {
        let keys = Keys::new(Path::from("a/b"));
        assert_eq!(keys.entry(Seq(7)).as_ref(), "a/b/00000000000000000007.json");
        assert_eq!(Keys::parse(&keys.entry(Seq(7))), Name::Entry(Seq(7)));
        assert_eq!(Keys::parse(&keys.floor(Seq(9))), Name::Floor(Seq(9)));
        assert_eq!(Keys::parse(&keys.hint()), Name::Other);
        assert_eq!(Keys::parse(&Path::from("a/b/7.json")), Name::Other);
        assert_eq!(
            Keys::parse(&Path::from("a/b/+0000000000000000007.json")),
            Name::Other
        );
    }

    #[test]
    fn numbers_sort_as_their_names() {
        let keys = Keys::new(Path::from("a"));
        assert!(keys.entry(Seq(9)) < keys.entry(Seq(10)));
        assert!(keys.entry(Seq(u64::MAX)) < keys.before_floors());
        assert!(keys.before_floors() < keys.floor(Seq(0)));
    }
}
