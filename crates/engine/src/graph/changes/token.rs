//! Tokens: opaque text that says where a list goes on. They are checksummed, and bound to what they
//! were made for, so that none is taken for another's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// No token is longer.
const TOKEN_MAX: usize = 4096;
const CHECK_BYTES: usize = 8;
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    v: u8,
    t: T,
}

/// The text of a token of this kind.
pub(crate) fn seal<T: Serialize>(kind: &str, content: &T) -> Result<String> {
    let sealed = Sealed {
        v: VERSION,
        t: content,
    };
    let mut bytes = serde_json::to_vec(&sealed)
        .map_err(|e| Error::internal("a token cannot be written").with_source(e))?;
    let check = check(kind, &bytes);
    bytes.extend_from_slice(&check);
    let text = URL_SAFE_NO_PAD.encode(bytes);
    if text.len() > TOKEN_MAX {
        return Err(Error::internal("a token became too long"));
    }
    Ok(text)
}

/// What a token of this kind says.
pub(crate) fn open<T: DeserializeOwned>(kind: &str, text: &str) -> Result<T> {
    if text.len() > TOKEN_MAX {
        return Err(rejected("it is too long"));
    }
    let bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| rejected("it is damaged"))?;
    let Some((content, sum)) = bytes.split_last_chunk::<CHECK_BYTES>() else {
        return Err(rejected("it is damaged"));
    };
    if check(kind, content) != *sum {
        return Err(rejected(
            "it is damaged, or was made for another kind of request",
        ));
    }
    let sealed: Sealed<T> =
        serde_json::from_slice(content).map_err(|_| rejected("it has an unknown format"))?;
    if sealed.v != VERSION {
        return Err(rejected("it has an unknown format"));
    }
    Ok(sealed.t)
}

/// The refusal of a token.
pub(crate) fn rejected(why: &str) -> Error {
    Error::new(
        ErrorKind::CursorRejected,
        format!("change cursor rejected: {why}"),
    )
    .with_hint("start again without it, or take a baseline")
}

/// Refuses a token of other circumstances.
pub(crate) fn bound<T: PartialEq>(what: &str, token: &T, request: &T) -> Result<()> {
    if token == request {
        Ok(())
    } else {
        Err(rejected(&format!("it belongs to another {what}")))
    }
}

fn check(kind: &str, bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hash = Sha256::new();
    hash.update(b"omnigraph token ");
    hash.update(kind.as_bytes());
    hash.update([0]);
    hash.update(bytes);
    let mut sum = [0; CHECK_BYTES];
    sum.copy_from_slice(&hash.finalize()[..CHECK_BYTES]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_character_is_noticed() {
        let token = seal("page", &("a".to_owned(), 7)).unwrap();
        assert_eq!(
            open::<(String, i32)>("page", &token).unwrap(),
            ("a".to_owned(), 7)
        );
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let bent = String::from_utf8(bytes).unwrap();
            let error = open::<(String, i32)>("page", &bent).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::CursorRejected);
            assert!(error.message().starts_with("change cursor rejected:"));
        }
        assert!(open::<(String, i32)>("cursor", &token).is_err());
        for bad in ["", "A", "%%%", &"A".repeat(5000)] {
            assert!(open::<(String, i32)>("page", bad).is_err());
        }
    }
}
