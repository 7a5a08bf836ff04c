//! What the bytes of a load are: how they are compressed, and what they hold.

use std::io;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Bytes, BytesMut};
use futures::Stream;
use omnigraph_lang::{Code, Diagnostic};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

use crate::error::{Error, ErrorKind};
use crate::write::violations::Unit;

/// Decoded bytes that are read at once.
const PIECE: usize = 256 << 10;

/// How the input is compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LoadEncoding {
    /// Not at all.
    #[default]
    Identity,
    /// gzip, of one member or several.
    Gzip,
    /// Zstandard, of one frame or several.
    Zstd,
}

/// What the input holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum LoadFormat {
    /// One JSON object per line, of any type each.
    #[default]
    Ndjson,
    /// Arrow IPC, as a stream or as a file; its rows are entities of this type.
    Arrow(LoadType),
    /// A Parquet file; its rows are entities of this type.
    Parquet(LoadType),
}

/// The type of all rows of a columnar file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LoadType {
    /// A node type, by its name.
    Node(String),
    /// An edge type, by its name in any case.
    Edge(String),
}

impl LoadEncoding {
    /// The encoding with this name in `Content-Encoding`; empty is none.
    pub fn parse(name: &str) -> Option<Self> {
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        match () {
            () if name.is_empty() || is("identity") => Some(Self::Identity),
            () if is("gzip") || is("x-gzip") => Some(Self::Gzip),
            () if is("zstd") => Some(Self::Zstd),
            () => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Identity => "input",
            Self::Gzip => "gzip stream",
            Self::Zstd => "zstd stream",
        }
    }
}

impl LoadFormat {
    pub(super) fn unit(&self) -> Unit {
        match self {
            Self::Ndjson => Unit::Line,
            Self::Arrow(_) | Self::Parquet(_) => Unit::Row,
        }
    }
}

/// The pieces of an input, decoded.
pub(super) struct Input {
    encoding: LoadEncoding,
    bytes: Decoded,
    /// Decoded bytes so far.
    taken: u64,
}

enum Decoded {
    Plain(mpsc::Receiver<Bytes>),
    Read(Box<dyn AsyncRead + Send + Unpin>),
}

/// A compressed stream that ends too early or is none.
#[derive(Debug)]
pub(super) struct Damaged(String);

impl Input {
    /// `window_log`: the largest window of a zstd frame, as a power of two.
    pub(super) fn new(
        encoding: LoadEncoding,
        pieces: mpsc::Receiver<Bytes>,
        window_log: u32,
    ) -> Self {
        let bytes = match encoding {
            LoadEncoding::Identity => Decoded::Plain(pieces),
            LoadEncoding::Gzip => {
                let mut decoder = GzipDecoder::new(reader(pieces));
                decoder.multiple_members(true);
                Decoded::Read(Box::new(decoder))
            }
            LoadEncoding::Zstd => {
                let params = [DParameter::window_log_max(window_log)];
                let mut decoder = ZstdDecoder::with_params(reader(pieces), &params);
                decoder.multiple_members(true);
                Decoded::Read(Box::new(decoder))
            }
        };
        Self {
            encoding,
            bytes,
            taken: 0,
        }
    }

    /// The next piece; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Damaged> {
        let piece = match &mut self.bytes {
            Decoded::Plain(pieces) => pieces.recv().await,
            Decoded::Read(reader) => {
                let mut piece = BytesMut::with_capacity(PIECE);
                while piece.len() < PIECE {
                    match reader.read_buf(&mut piece).await {
                        Ok(0) => break,
                        Ok(read) => self.taken += read as u64,
                        Err(error) => return Err(self.damaged(&error)),
                    }
                }
                return Ok((!piece.is_empty()).then(|| piece.freeze()));
            }
        };
        self.taken += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Ok(piece)
    }

    fn damaged(&self, error: &io::Error) -> Damaged {
        let (what, taken) = (self.encoding.name(), self.taken);
        Damaged(match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                format!("the {what} breaks off after {taken} decoded bytes")
            }
            _ => format!("the {what} is damaged after {taken} decoded bytes: {error}"),
        })
    }
}

impl Damaged {
    /// The error, with the line that would come next.
    pub(super) fn at(self, line: Option<u64>) -> Error {
        unreadable(self.0, line)
    }
}

/// An input that cannot be read any further.
pub(super) fn unreadable(message: impl Into<String>, line: Option<u64>) -> Error {
    let mut diagnostic = Diagnostic::error(Code::R423, message.into());
    diagnostic.line = line;
    Error::diagnostics(ErrorKind::LoadInvalid, vec![diagnostic])
        .with_hint("nothing was loaded; check the input and send it again")
}

fn reader(
    mut pieces: mpsc::Receiver<Bytes>,
) -> StreamReader<impl Stream<Item = io::Result<Bytes>> + Unpin, Bytes> {
    StreamReader::new(futures::stream::poll_fn(move |context| {
        pieces.poll_recv(context).map(|piece| piece.map(Ok))
    }))
}
