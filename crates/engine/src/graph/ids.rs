//! Names and ids, each of its own type, valid from the moment that they exist.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::error::{Error, Result};

/// Bytes that a branch name may take when it is percent-encoded into a path.
const BRANCH_BYTES: usize = 200;

/// Words that the HTTP surface needs for itself.
const RESERVED_GRAPH_IDS: [&str; 8] = [
    "policies", "healthz", "openapi", "graphs", "livez", "readyz", "metrics", "cluster",
];

/// Everything but letters, digits, `-` and `_` is escaped in paths, the dot included, so that
/// encoded names never nest and never mean a directory.
const PATH_SEGMENT: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_');

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::parse(text)
            }
        }
    };
}

text_id! {
    /// The id of a graph: 1 to 64 letters, digits or `-`.
    GraphId
}

text_id! {
    /// The name of a branch.
    BranchName
}

text_id! {
    /// Who did something, as the credential says.
    ActorId
}

impl GraphId {
    /// Checks an id.
    pub fn parse(text: &str) -> Result<Self> {
        let fits = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !fits {
            return Err(Error::invalid(format!(
                "graph id '{text}' is malformed: use 1 to 64 letters, digits or '-'"
            )));
        }
        if RESERVED_GRAPH_IDS.contains(&text) {
            return Err(Error::invalid(format!(
                "graph id '{text}' is reserved: choose another"
            )));
        }
        Ok(Self(text.to_owned()))
    }
}

impl BranchName {
    /// Checks a name; white space around it does not count.
    pub fn parse(text: &str) -> Result<Self> {
        let name = text.trim();
        if name.is_empty() {
            return Err(Error::invalid("the branch name is empty"));
        }
        if name.chars().any(char::is_control) {
            return Err(Error::invalid(format!(
                "branch name {name:?} contains a control character"
            )));
        }
        let name = Self(name.to_owned());
        if name.encoded().len() > BRANCH_BYTES {
            return Err(Error::invalid(format!(
                "branch name '{}…' is too long: it may take {BRANCH_BYTES} bytes when percent-encoded",
                name.0.chars().take(40).collect::<String>()
            )));
        }
        Ok(name)
    }

    /// The branch that every graph has.
    pub fn main() -> Self {
        Self("main".to_owned())
    }

    /// Whether this is the branch that every graph has.
    pub fn is_main(&self) -> bool {
        self.0 == "main"
    }

    /// The name as one segment of a path.
    pub(crate) fn encoded(&self) -> String {
        percent_encoding::utf8_percent_encode(&self.0, PATH_SEGMENT).to_string()
    }

    /// The name behind one segment of a path.
    pub(crate) fn decode(segment: &str) -> Result<Self> {
        let text = percent_encoding::percent_decode_str(segment)
            .decode_utf8()
            .map_err(|_| Error::corrupt(format!("branch marker {segment} is no UTF-8")))?;
        Self::parse(&text)
    }
}

impl ActorId {
    /// Checks an actor: visible text of up to 255 bytes.
    pub fn parse(text: &str) -> Result<Self> {
        let fits = (1..=255).contains(&text.len()) && !text.chars().any(char::is_control);
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(
                "the actor must be 1 to 255 bytes without control characters",
            ))
        }
    }
}

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub Ulid);

        impl $name {
            /// A fresh id.
            #[expect(clippy::new_without_default, reason = "each one is different")]
            pub fn new() -> Self {
                Self(Ulid::new())
            }

            /// Reads an id.
            pub fn parse(text: &str) -> Result<Self> {
                Ulid::from_string(text)
                    .map(Self)
                    .map_err(|_| Error::invalid(format!("'{text}' is no {} id", $what)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                Self::parse(text)
            }
        }
    };
}

ulid_id! {
    /// The id of a commit, chosen before it is written.
    CommitId, "commit"
}

ulid_id! {
    /// One life of a graph or of a branch: a name can be used again, an incarnation cannot.
    Incarnation, "incarnation"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graph_ids() {
        assert!(GraphId::parse("debian-12").is_ok());
        for bad in ["", "a_b", "a/b", "cluster", "healthz", &"x".repeat(65)] {
            assert!(GraphId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn branch_names_are_trimmed_and_never_nest_in_paths() {
        let name = BranchName::parse(" review/x ").unwrap();
        assert_eq!(name.as_str(), "review/x");
        assert_eq!(name.encoded(), "review%2Fx");
        assert_eq!(BranchName::decode("review%2Fx").unwrap(), name);
        assert_eq!(BranchName::parse("..").unwrap().encoded(), "%2E%2E");
        assert!(BranchName::parse("  ").is_err());
        assert!(BranchName::parse(&"é".repeat(40)).is_err());
    }
}
