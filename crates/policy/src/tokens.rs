//! Static tokens: which one belongs to whom.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};
use zeroize::Zeroizing;

use crate::Actor;

/// Tokens as digests, each with its actor.
#[derive(Clone, Default)]
pub struct TokenTable {
    entries: Vec<(TokenDigest, Actor)>,
}

/// SHA-256 of a token; neither shown nor compared in variable time.
#[derive(Clone)]
pub(crate) struct TokenDigest([u8; 32]);

impl TokenTable {
    /// Reads `{"actor": "token", …}`. The error says what is wrong without any token.
    pub(crate) fn parse(json: &str) -> Result<TokenTable, String> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let entries = deserializer.deserialize_map(Entries);
        let entries = entries.and_then(|entries| deserializer.end().map(|()| entries));
        // The library's own text may quote what it found, so only the place is taken from it.
        let entries = entries.map_err(|error| {
            format!(
                "no JSON object of actors and tokens (line {}, column {})",
                error.line(),
                error.column()
            )
        })?;
        let mut table = TokenTable::default();
        for (actor, token) in entries {
            table.add(&actor, &token)?;
        }
        Ok(table)
    }

    /// Adds a token for an actor; both are trimmed.
    pub(crate) fn add(&mut self, actor: &str, token: &str) -> Result<(), String> {
        let name = actor.trim();
        if name.is_empty() {
            return Err("the name of an actor is blank".to_owned());
        }
        let actor = Actor::declared(name)
            .ok_or_else(|| format!("actor '{name}' is one of the system's own names"))?;
        if token.trim().is_empty() {
            return Err(format!("the token of actor '{name}' is blank"));
        }
        if self.entries.iter().any(|(_, known)| *known == actor) {
            return Err(format!("actor '{name}' is named twice"));
        }
        if self.find(token.trim()).is_some() {
            return Err(format!(
                "the token of actor '{name}' is another actor's as well"
            ));
        }
        self.entries.push((TokenDigest::of(token.trim()), actor));
        Ok(())
    }

    /// The actor of a token. Every entry is looked at, in constant time.
    pub(crate) fn find(&self, token: &str) -> Option<&Actor> {
        let digest = TokenDigest::of(token);
        let none = u64::MAX;
        let mut found = none;
        for (index, (known, _)) in self.entries.iter().enumerate() {
            let same: Choice = known.0.ct_eq(&digest.0);
            found.conditional_assign(&(index as u64), same);
        }
        let index = usize::try_from(found).ok().filter(|_| found != none)?;
        self.entries.get(index).map(|(_, actor)| actor)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl TokenDigest {
    /// Hashing first makes the time independent of the token's length and content.
    fn of(token: &str) -> TokenDigest {
        TokenDigest(Sha256::digest(token.as_bytes()).into())
    }
}

/// Keeps entries that a map would silently merge.
struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<(String, Zeroizing<String>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of actors and tokens")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((actor, token)) = map.next_entry::<String, String>()? {
            entries.push((actor, Zeroizing::new(token)));
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_has_one_actor() {
        let table = TokenTable::parse(r#"{" act-ann ": " a ", "act-bob": "b"}"#).expect("a table");
        let actor = |token| table.find(token).and_then(Actor::name);
        assert_eq!(actor("a"), Some("act-ann"));
        assert_eq!(actor("b"), Some("act-bob"));
        assert_eq!(actor("c"), None);
        assert_eq!(actor(""), None);
    }

    #[test]
    fn tables_that_are_no_tables_are_refused_without_their_tokens() {
        let cases = [
            (r#"{"": "a"}"#, "the name of an actor is blank"),
            (r#"{"a": " "}"#, "the token of actor 'a' is blank"),
            (r#"{"a": "x", " a": "y"}"#, "actor 'a' is named twice"),
            (r#"{"a": "x", "a": "y"}"#, "actor 'a' is named twice"),
            (
                r#"{"a": "x", "b": "x "}"#,
                "the token of actor 'b' is another actor's as well",
            ),
            (
                r#"{"omnigraph:recovery": "x"}"#,
                "actor 'omnigraph:recovery' is one of the system's own names",
            ),
            (
                r#"{"a": 5}"#,
                "no JSON object of actors and tokens (line 1, column 7)",
            ),
            (
                r#"["a"]"#,
                "no JSON object of actors and tokens (line 1, column 0)",
            ),
            (
                "s3cret",
                "no JSON object of actors and tokens (line 1, column 1)",
            ),
        ];
        for (json, expected) in cases {
            let refused = TokenTable::parse(json).err();
            assert_eq!(refused.as_deref(), Some(expected), "{json}");
        }
    }
}
