//! The content of blobs in exported lines: small ones ahead and together, large ones in pieces.

use std::collections::{HashMap, VecDeque};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use omnigraph_lang::value::ManagedBlob;

use crate::error::Result;
use crate::table::Tables;

/// Bytes of a large blob that are in memory: three bytes are four characters, so pieces that are
/// multiples of three join without padding.
const PIECE: u64 = 3 << 20;
/// Blobs up to this size are read ahead.
const SMALL: u64 = 256 << 10;
/// How many of them at the same time.
const AHEAD: usize = 16;

/// Where the content of a blob belongs.
pub(super) struct Hole {
    /// Position in the text.
    pub(super) at: usize,
    pub(super) blob: ManagedBlob,
}

/// Text with holes, filled from its beginning to its end.
pub(super) struct Filling {
    tables: Tables,
    table: String,
    text: Vec<u8>,
    done: usize,
    holes: VecDeque<Hole>,
    /// How much of the first hole is filled.
    filled: u64,
    ready: HashMap<String, Bytes>,
}

impl Filling {
    pub(super) fn new(tables: Tables, table: String, text: Vec<u8>, holes: Vec<Hole>) -> Self {
        Self {
            tables,
            table,
            text,
            done: 0,
            holes: holes.into(),
            filled: 0,
            ready: HashMap::new(),
        }
    }

    /// Appends the next part; false when there is none.
    pub(super) async fn fill(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        let Some(hole) = self.holes.front() else {
            out.extend_from_slice(self.text.get(self.done..).unwrap_or_default());
            return Ok(false);
        };
        out.extend_from_slice(self.text.get(self.done..hole.at).unwrap_or_default());
        self.done = hole.at;
        let blob = hole.blob.clone();
        if blob.size <= SMALL {
            let bytes = self.small(&blob).await?;
            encode(&bytes, out);
            self.holes.pop_front();
            return Ok(true);
        }
        let end = blob.size.min(self.filled + PIECE);
        let range = self.filled..end;
        encode(
            &self.tables.read_blob(&self.table, &blob, range).await?,
            out,
        );
        self.filled = end;
        if end == blob.size {
            self.holes.pop_front();
            self.filled = 0;
        }
        Ok(true)
    }

    /// A small blob; those after it come along.
    async fn small(&mut self, blob: &ManagedBlob) -> Result<Bytes> {
        if let Some(bytes) = self.ready.remove(&blob.path) {
            return Ok(bytes);
        }
        let next: Vec<ManagedBlob> = self
            .holes
            .iter()
            .take(AHEAD)
            .map(|hole| hole.blob.clone())
            .filter(|blob| blob.size <= SMALL)
            .collect();
        let (tables, table) = (&self.tables, &self.table);
        self.ready = stream::iter(next)
            .map(|blob| async move {
                let bytes = tables.read_blob(table, &blob, 0..blob.size).await?;
                Ok::<_, crate::error::Error>((blob.path, bytes))
            })
            .buffered(AHEAD)
            .try_collect()
            .await?;
        Ok(self.ready.remove(&blob.path).unwrap_or_default())
    }
}

fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(STANDARD.encode(bytes).as_bytes());
}
