//! Bytes of an entry: `{"format":1,"id":"<ulid>","entry":{…}}`.

use object_store::path::Path;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::{Entry, Error};

/// The format that is written. Every format ever released can be read.
pub(crate) const FORMAT: u64 = 1;

#[derive(Serialize)]
struct Written<'a, T> {
    format: u64,
    id: Ulid,
    entry: &'a T,
}

/// The part that every format has.
#[derive(Deserialize)]
struct Tag {
    format: u64,
    id: Ulid,
}

#[derive(Deserialize)]
struct Body<T> {
    entry: T,
}

pub(super) fn encode<T: Entry>(path: &Path, entry: &T) -> Result<Vec<u8>, Error> {
    let written = Written {
        format: FORMAT,
        id: entry.entry_id(),
        entry,
    };
    serde_json::to_vec(&written).map_err(|source| Error::Encode {
        path: path.to_string(),
        source,
    })
}

/// The entry, and the format that it was written in.
pub(super) fn decode<T: Entry>(path: &Path, bytes: &[u8]) -> Result<(u64, T), Error> {
    let damaged = |source| Error::Decode {
        path: path.to_string(),
        source,
    };
    let tag: Tag = serde_json::from_slice(bytes).map_err(damaged)?;
    match tag.format {
        1 => {
            let body: Body<T> = serde_json::from_slice(bytes).map_err(damaged)?;
            Ok((tag.format, body.entry))
        }
        format => Err(Error::Format {
            path: path.to_string(),
            format,
        }),
    }
}

/// Whose entry it is, whatever its format.
pub(super) fn decode_id(path: &Path, bytes: &[u8]) -> Result<Ulid, Error> {
    let tag: Tag = serde_json::from_slice(bytes).map_err(|source| Error::Decode {
        path: path.to_string(),
        source,
    })?;
    Ok(tag.id)
}
