//! Arrow IPC, stream or file, message by message as the bytes come. A file is a stream between a
//! magic word and a footer, so neither has to be kept.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::convert::fb_to_schema;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::{CompressionType, Endianness, Message, MessageHeader, root_as_message};
use arrow_schema::{ArrowError, SchemaRef};
use bytes::{Buf, Bytes, BytesMut};

use super::lz4;
use crate::error::{Error, ErrorKind, Result};
use crate::write::load::input::unreadable;

const MAGIC: &[u8] = b"ARROW1";
const CONTINUATION: u32 = u32::MAX;
/// The longest description of one message.
const MESSAGE_MAX: usize = 16 << 20;
/// The most rows of one batch: a column of nulls has no bytes that would bound them.
const BATCH_ROWS_MAX: i64 = 1 << 26;

/// Takes bytes and gives batches.
pub(in super::super) struct Frames {
    waiting: BytesMut,
    state: State,
    /// The most bytes of one batch, decoded, and of all dictionaries together.
    limit: usize,
    schema: Option<SchemaRef>,
    dictionaries: HashMap<i64, ArrayRef>,
    batches: u64,
    is_file: bool,
    /// Bytes before the waiting ones.
    taken: u64,
}

enum State {
    Start,
    Prefix,
    Message {
        length: usize,
    },
    Body {
        message: Bytes,
        length: usize,
    },
    /// The end marker has come.
    Ended,
}

impl Frames {
    pub(in super::super) fn new(limit: usize) -> Self {
        Self {
            waiting: BytesMut::new(),
            state: State::Start,
            limit,
            schema: None,
            dictionaries: HashMap::new(),
            batches: 0,
            is_file: false,
            taken: 0,
        }
    }

    /// Columns of the batches, once they are known.
    pub(in super::super) fn schema(&self) -> Option<&SchemaRef> {
        self.schema.as_ref()
    }

    /// Bytes that are held.
    pub(in super::super) fn bytes(&self) -> usize {
        let dictionaries = self.dictionaries.values();
        let dictionaries = dictionaries.map(|values| values.get_array_memory_size());
        self.waiting.capacity() + dictionaries.sum::<usize>()
    }

    pub(in super::super) fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// The next batch; `None` until more bytes have come.
    pub(in super::super) fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Start => match self.waiting.get(..8) {
                    None => {
                        self.state = State::Start;
                        return Ok(None);
                    }
                    Some(start) => {
                        self.is_file = start.starts_with(MAGIC);
                        if self.is_file {
                            self.take(8);
                        }
                        self.state = State::Prefix;
                    }
                },
                State::Prefix => match self.prefix() {
                    None => {
                        self.state = State::Prefix;
                        return Ok(None);
                    }
                    // The magic word of a file may be padded to any length.
                    Some(0) if self.is_file && self.schema.is_none() => {
                        self.state = State::Prefix;
                    }
                    Some(0) => {}
                    Some(length) if length > MESSAGE_MAX => {
                        return Err(self.broken("this is no Arrow IPC stream"));
                    }
                    Some(length) => self.state = State::Message { length },
                },
                State::Message { length } if self.waiting.len() < length => {
                    self.state = State::Message { length };
                    return Ok(None);
                }
                State::Message { length } => {
                    let message = self.take(length);
                    let length = match root_as_message(&message) {
                        Ok(message) => usize::try_from(message.bodyLength()).ok(),
                        Err(error) => return Err(self.broken(&error.to_string())),
                    };
                    match length {
                        Some(length) if length <= self.limit => {
                            self.state = State::Body { message, length };
                        }
                        Some(length) => return Err(self.too_large(length)),
                        None => return Err(self.broken("a message has a negative length")),
                    }
                }
                State::Body { message, length } if self.waiting.len() < length => {
                    self.state = State::Body { message, length };
                    return Ok(None);
                }
                State::Body { message, length } => {
                    let body = Buffer::from(self.take(length));
                    self.state = State::Prefix;
                    if let Some(batch) = self.message(&message, &body)? {
                        return Ok(Some(batch));
                    }
                }
                State::Ended => return self.after_the_end().map(|()| None),
            }
        }
    }

    /// # Errors
    /// If the input ended before its end marker, or a file before its footer.
    pub(in super::super) fn finish(self) -> Result<()> {
        match self.state {
            State::Ended if !self.is_file || self.waiting.ends_with(MAGIC) => Ok(()),
            State::Ended => Err(self.broken("the file breaks off in its footer")),
            _ => Err(self.broken("the input breaks off before its end marker")),
        }
    }

    fn take(&mut self, length: usize) -> Bytes {
        self.taken += length as u64;
        self.waiting.split_to(length).freeze()
    }

    /// The length of the next message; 0 is the end.
    fn prefix(&mut self) -> Option<usize> {
        let mut waiting = self.waiting.as_ref();
        if waiting.len() < 4 {
            return None;
        }
        let first = waiting.get_u32_le();
        if first != CONTINUATION {
            self.take(4);
            return Some(first as usize);
        }
        if waiting.len() < 4 {
            return None;
        }
        let length = waiting.get_u32_le();
        self.take(8);
        Some(length as usize)
    }

    fn message(&mut self, message: &[u8], body: &Buffer) -> Result<Option<RecordBatch>> {
        let message = root_as_message(message).map_err(|e| self.broken(&e.to_string()))?;
        self.check(&message, body)?;
        // The library trusts what it decodes and would panic over some damage.
        let decoded = catch_unwind(AssertUnwindSafe(|| self.decode(&message, body)));
        match decoded {
            Ok(Ok(batch)) => Ok(batch),
            Ok(Err(error)) => Err(self.broken(&error.to_string())),
            Err(_) => Err(self.broken("a message contradicts itself")),
        }
    }

    fn decode(
        &mut self,
        message: &Message<'_>,
        body: &Buffer,
    ) -> std::result::Result<Option<RecordBatch>, ArrowError> {
        let wrong = |message: &str| ArrowError::IpcError(message.to_owned());
        let version = message.version();
        match message.header_type() {
            MessageHeader::Schema if self.schema.is_some() => Err(wrong("a second schema")),
            MessageHeader::Schema => {
                let schema = message.header_as_schema();
                let schema = schema.ok_or_else(|| wrong("a schema is missing"))?;
                if schema.endianness() != Endianness::Little {
                    return Err(wrong("big-endian data is not supported"));
                }
                self.schema = Some(Arc::new(fb_to_schema(schema)));
                Ok(None)
            }
            MessageHeader::DictionaryBatch => {
                let schema = self.schema.clone().ok_or_else(|| wrong("no schema"))?;
                let dictionary = message.header_as_dictionary_batch();
                let dictionary = dictionary.ok_or_else(|| wrong("a dictionary is missing"))?;
                read_dictionary(body, dictionary, &schema, &mut self.dictionaries, &version)?;
                Ok(None)
            }
            MessageHeader::RecordBatch => {
                let schema = self.schema.clone().ok_or_else(|| wrong("no schema"))?;
                let batch = message.header_as_record_batch();
                let batch = batch.ok_or_else(|| wrong("a batch is missing"))?;
                self.batches += 1;
                let known = &self.dictionaries;
                read_record_batch(body, batch, schema, known, None, &version).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// Refuses what would not fit in memory, before anything is decoded.
    fn check(&self, message: &Message<'_>, body: &Buffer) -> Result<()> {
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => {
                let dictionary = message.header_as_dictionary_batch();
                dictionary.and_then(|dictionary| dictionary.data())
            }
            _ => return Ok(()),
        };
        let Some(batch) = batch else {
            return Err(self.broken("a message has no content"));
        };
        if !(0..=BATCH_ROWS_MAX).contains(&batch.length()) {
            return Err(self.broken(&format!("a batch of {} rows", batch.length())));
        }
        let codec = batch.compression().map(|compression| compression.codec());
        let mut decoded = body.len();
        for buffer in batch.buffers().iter().flatten() {
            let bytes = usize::try_from(buffer.offset()).ok();
            let bytes = bytes.and_then(|start| {
                let end = start.checked_add(usize::try_from(buffer.length()).ok()?)?;
                body.get(start..end)
            });
            let Some(bytes) = bytes else {
                return Err(self.broken("a buffer lies outside of its message"));
            };
            if let (Some(codec), false) = (codec, bytes.is_empty()) {
                decoded = decoded.saturating_add(self.decoded_length(codec, bytes)?);
            }
        }
        let dictionaries = match message.header_type() {
            MessageHeader::DictionaryBatch => self.bytes(),
            _ => 0,
        };
        match decoded.saturating_add(dictionaries) {
            fits if fits <= self.limit => Ok(()),
            large => Err(self.too_large(large)),
        }
    }

    /// What a compressed buffer decodes to.
    fn decoded_length(&self, codec: CompressionType, bytes: &[u8]) -> Result<usize> {
        let Some((length, content)) = bytes.split_first_chunk::<8>() else {
            return Err(self.broken("a compressed buffer has no length"));
        };
        let length = i64::from_le_bytes(*length);
        if length == -1 {
            return Ok(0);
        }
        let Ok(length) = usize::try_from(length) else {
            return Err(self.broken("a compressed buffer has a negative length"));
        };
        let is_lz4 = codec == CompressionType::LZ4_FRAME;
        if is_lz4 && length > 0 && length <= self.limit && !lz4::is_bounded(content, length) {
            return Err(self.broken("an LZ4 buffer is not one frame of its length"));
        }
        Ok(length)
    }

    /// Of a file the footer follows, of which only the end is kept; of a stream nothing.
    fn after_the_end(&mut self) -> Result<()> {
        if !self.is_file && !self.waiting.is_empty() {
            return Err(self.broken("there are bytes after the end marker"));
        }
        let over = self.waiting.len().saturating_sub(MAGIC.len());
        self.take(over);
        Ok(())
    }

    fn broken(&self, what: &str) -> Error {
        let (taken, batches) = (self.taken, self.batches);
        unreadable(
            format!("Arrow input, near byte {taken}, after {batches} batches: {what}"),
            None,
        )
    }

    fn too_large(&self, bytes: usize) -> Error {
        let message = format!(
            "Arrow batch {} has {bytes} bytes, {} fit the memory of a load",
            self.batches + 1,
            self.limit
        );
        Error::diagnostics(
            ErrorKind::ResourceLimit,
            vec![omnigraph_lang::Diagnostic::error(
                omnigraph_lang::Code::R422,
                message,
            )],
        )
        .with_hint("write smaller batches, or send Parquet")
        .with_detail(|detail| {
            let limit = ("load_memory".to_owned(), self.limit as u64, bytes as u64);
            detail.limit = Some(limit);
        })
    }
}
