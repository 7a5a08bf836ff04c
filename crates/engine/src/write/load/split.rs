//! Cuts a stream of bytes into chunks of whole lines.

use bytes::{Bytes, BytesMut};
use omnigraph_lang::{Code, Diagnostic};

use crate::error::{Error, ErrorKind, Result};

/// Whole lines, and the number of the first.
#[derive(Debug)]
pub(super) struct Chunk {
    pub(super) bytes: Bytes,
    pub(super) first_line: u32,
    pub(super) lines: u32,
}

#[derive(Debug)]
pub(super) struct Splitter {
    waiting: BytesMut,
    /// Bytes at the beginning of `waiting` that are known to have no line end.
    searched: usize,
    next_line: u32,
    whole: bool,
    /// A chunk is parsed as one piece of work.
    chunk: usize,
    /// The longest line, and of a whole input its size.
    longest: usize,
}

impl Splitter {
    /// `whole`: the input is one chunk, whatever it holds; else one has about `chunk` bytes. No line,
    /// and no whole input, may be longer than `longest`.
    pub(super) fn new(whole: bool, chunk: usize, longest: usize) -> Self {
        Self {
            waiting: BytesMut::new(),
            searched: 0,
            next_line: 1,
            whole,
            chunk,
            longest,
        }
    }

    /// Bytes that are held until there is a chunk of them.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The number of the next line, as far as lines have been cut.
    pub(super) fn next_line(&self) -> u64 {
        let ends = self.waiting.iter().filter(|byte| **byte == b'\n').count();
        u64::from(self.next_line) + ends as u64
    }

    /// Takes bytes in, and gives a chunk when there is enough for one.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Option<Chunk>> {
        self.waiting.extend_from_slice(bytes);
        if self.whole {
            return match self.waiting.len() {
                fits if fits <= self.longest => Ok(None),
                long => Err(self.too_long("the input of a load in one piece", long)),
            };
        }
        if self.waiting.len() < self.chunk {
            return Ok(None);
        }
        let unsearched = &self.waiting[self.searched..];
        match unsearched.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => {
                let end = self.searched + end + 1;
                self.searched = 0;
                self.cut(end).map(Some)
            }
            None if self.waiting.len() > self.longest => {
                let what = format!("line {}", self.next_line);
                Err(self.too_long(&what, self.waiting.len()))
            }
            None => {
                self.searched = self.waiting.len();
                Ok(None)
            }
        }
    }

    /// The rest, whose last line may have no end.
    pub(super) fn finish(mut self) -> Result<Option<Chunk>> {
        match self.waiting.len() {
            0 => Ok(None),
            all => self.cut(all).map(Some),
        }
    }

    fn cut(&mut self, end: usize) -> Result<Chunk> {
        let bytes = self.waiting.split_to(end).freeze();
        let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
        let open = usize::from(bytes.last() != Some(&b'\n'));
        let first_line = self.next_line;
        let lines = u32::try_from(ends + open).ok();
        let next = lines.and_then(|lines| Some((lines, first_line.checked_add(lines)?)));
        let Some((lines, next)) = next else {
            return Err(Error::new(
                ErrorKind::ResourceLimit,
                "one load can hold at most 4,294,967,294 lines",
            )
            .with_hint("split the input"));
        };
        self.next_line = next;
        Ok(Chunk {
            bytes,
            first_line,
            lines,
        })
    }

    fn too_long(&self, what: &str, length: usize) -> Error {
        let longest = self.longest;
        let message = format!("{what} has more than {longest} bytes");
        Error::diagnostics(
            ErrorKind::ResourceLimit,
            vec![Diagnostic::error(Code::R422, message)],
        )
        .with_detail(|detail| {
            let (limit, actual) = (longest as u64, length as u64);
            detail.limit = Some(("graph_batch_line_bytes".to_owned(), limit, actual));
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: usize = 32 << 20;

    #[test]
    fn lines_are_never_cut_and_always_numbered() {
        let line = format!("{}\n", "x".repeat(700));
        let text = line.repeat(5000) + "last";
        for step in [333, 4096, 1 << 20, 5 << 20] {
            let mut splitter = Splitter::new(false, 1 << 20, LONGEST);
            let mut chunks = Vec::new();
            for piece in text.as_bytes().chunks(step) {
                chunks.extend(splitter.push(piece).unwrap());
            }
            chunks.extend(splitter.finish().unwrap());
            let mut expected = 1;
            let mut joined = Vec::new();
            for chunk in &chunks {
                assert_eq!(chunk.first_line, expected);
                expected += chunk.lines;
                joined.extend_from_slice(&chunk.bytes);
            }
            assert_eq!(expected, 5002);
            assert_eq!(joined, text.as_bytes());
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut splitter = Splitter::new(false, 1 << 20, LONGEST);
        let piece = vec![b'x'; 1 << 20];
        let error = (0..40).find_map(|_| splitter.push(&piece).err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::ResourceLimit);
        assert!(error.message().contains("line 1"));
    }
}
