//! How much memory the pages of a Parquet file take when they are decoded. The reader decodes a whole
//! page at a time, and one dictionary page, for each column; only the header of a page says how large
//! it is, so the headers are read before anything else is.
//!
//! Format: <https://github.com/apache/parquet-format>, Thrift compact protocol.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

/// Bytes of a header that are looked at first, and at most.
const HEADER: std::ops::RangeInclusive<usize> = 1 << 10..=16 << 20;
/// Structures within structures.
const DEPTH: usize = 16;

/// The row group whose pages take most.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Largest {
    /// Bytes of the largest pages of all columns together.
    pub(super) bytes: u64,
    /// The row group, from 1.
    pub(super) row_group: usize,
    /// The column with the largest pages, and their bytes.
    pub(super) column: String,
    pub(super) column_bytes: u64,
}

/// What the headers say.
pub(super) fn largest(file: &mut File, metadata: &ParquetMetaData) -> std::io::Result<Largest> {
    let mut largest = Largest::default();
    for (at, group) in metadata.row_groups().iter().enumerate() {
        let mut of_group = Largest {
            row_group: at + 1,
            ..Largest::default()
        };
        for column in group.columns() {
            let bytes = pages_of(file, column)?;
            of_group.bytes = of_group.bytes.saturating_add(bytes);
            if bytes >= of_group.column_bytes {
                of_group.column_bytes = bytes;
                of_group.column = column.column_path().string();
            }
        }
        if of_group.bytes >= largest.bytes {
            largest = of_group;
        }
    }
    Ok(largest)
}

/// The largest dictionary page of a column and its largest other page. Where there is no header
/// that can be read, the whole column counts: whether it is damaged is found by reading it.
fn pages_of(file: &mut File, column: &ColumnChunkMetaData) -> std::io::Result<u64> {
    let (start, length) = column.byte_range();
    let end = start.saturating_add(length);
    let (mut at, mut dictionary, mut data) = (start, 0, 0);
    while at < end {
        let Some((page, header)) = header_at(file, at, end)? else {
            return Ok(u64::try_from(column.uncompressed_size()).unwrap_or(0));
        };
        let whole = u64::from(page.uncompressed) + u64::from(page.compressed);
        match page.kind {
            Page::DICTIONARY => dictionary = whole.max(dictionary),
            _ => data = whole.max(data),
        }
        at += header + u64::from(page.compressed);
    }
    Ok(dictionary + data)
}

/// The header at a place, and how long it is.
fn header_at(file: &mut File, at: u64, end: u64) -> std::io::Result<Option<(Page, u64)>> {
    let mut wanted = *HEADER.start();
    loop {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(at))?;
        let most = (wanted as u64).min(end - at);
        file.by_ref().take(most).read_to_end(&mut bytes)?;
        let whole = bytes.len() < wanted || wanted >= *HEADER.end();
        let mut compact = Compact {
            bytes: &bytes,
            at: 0,
        };
        match compact.page() {
            Ok(page) => return Ok(Some((page, compact.at as u64))),
            Err(Broken::Short) if !whole => wanted = (wanted * 16).min(*HEADER.end()),
            Err(Broken::Short | Broken::Wrong) => return Ok(None),
        }
    }
}

/// What counts of the header of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Page {
    kind: i64,
    uncompressed: u32,
    compressed: u32,
}

impl Page {
    const DICTIONARY: i64 = 2;
}

/// Why a header cannot be read.
#[derive(Debug, PartialEq, Eq)]
enum Broken {
    /// The bytes end within it.
    Short,
    Wrong,
}

/// Values in Thrift's compact protocol.
struct Compact<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Compact<'_> {
    fn page(&mut self) -> Result<Page, Broken> {
        let (mut page, mut id) = (Page::default(), 0);
        let mut sizes = 0;
        while let Some((field, kind)) = self.field(id)? {
            id = field;
            match (field, kind) {
                (1, 5) => page.kind = self.signed()?,
                (2, 5) => page.uncompressed = self.size(&mut sizes)?,
                (3, 5) => page.compressed = self.size(&mut sizes)?,
                (_, kind) => self.skip(kind, 0)?,
            }
        }
        match sizes {
            2 => Ok(page),
            _ => Err(Broken::Wrong),
        }
    }

    fn size(&mut self, sizes: &mut u32) -> Result<u32, Broken> {
        *sizes += 1;
        u32::try_from(self.signed()?).map_err(|_| Broken::Wrong)
    }

    /// The id and the type of the next field of a structure; none at its end.
    fn field(&mut self, before: i64) -> Result<Option<(i64, u8)>, Broken> {
        let byte = self.byte()?;
        let (delta, kind) = (i64::from(byte >> 4), byte & 15);
        match (kind, delta) {
            (0, _) => Ok(None),
            (kind, 0) => Ok(Some((self.signed()?, kind))),
            (kind, delta) => Ok(Some((before + delta, kind))),
        }
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Result<(), Broken> {
        if depth > DEPTH {
            return Err(Broken::Wrong);
        }
        match kind {
            1 | 2 => Ok(()),
            3 => self.byte().map(|_| ()),
            4..=6 => self.unsigned().map(|_| ()),
            7 => self.pass(8),
            8 => {
                let length = self.unsigned()?;
                self.pass(length)
            }
            9 | 10 => self.skip_list(depth),
            12 => {
                let mut id = 0;
                while let Some((field, kind)) = self.field(id)? {
                    id = field;
                    self.skip(kind, depth + 1)?;
                }
                Ok(())
            }
            _ => Err(Broken::Wrong),
        }
    }

    fn skip_list(&mut self, depth: usize) -> Result<(), Broken> {
        let byte = self.byte()?;
        let length = match byte >> 4 {
            15 => self.unsigned()?,
            short => u64::from(short),
        };
        for _ in 0..length {
            match byte & 15 {
                // In a list a truth value takes a byte.
                1 | 2 => self.pass(1)?,
                kind => self.skip(kind, depth + 1)?,
            }
        }
        Ok(())
    }

    fn pass(&mut self, length: u64) -> Result<(), Broken> {
        let left = self.bytes.len() - self.at;
        let length = usize::try_from(length).map_err(|_| Broken::Wrong)?;
        if length > left {
            return Err(Broken::Short);
        }
        self.at += length;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Broken> {
        let byte = self.bytes.get(self.at).copied().ok_or(Broken::Short)?;
        self.at += 1;
        Ok(byte)
    }

    fn unsigned(&mut self) -> Result<u64, Broken> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Broken::Wrong)
    }

    fn signed(&mut self) -> Result<i64, Broken> {
        let zigzag = self.unsigned()?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
    use parquet::file::properties::WriterProperties;

    use super::*;

    fn file(text: usize, rows: usize, properties: WriterProperties) -> File {
        let texts = (0..rows).map(|row| format!("{row:06}{}", "x".repeat(text)));
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "name",
                Arc::new(StringArray::from_iter_values(texts)) as ArrayRef,
            ),
            (
                "number",
                Arc::new(Int64Array::from_iter_values(0..rows as i64)) as ArrayRef,
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        let copy = file.try_clone().unwrap();
        let mut writer = ArrowWriter::try_new(copy, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file
    }

    fn largest_of(mut file: File) -> Largest {
        let loaded = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).unwrap();
        largest(&mut file, loaded.metadata()).unwrap()
    }

    #[test]
    fn pages_are_as_large_as_their_headers_say() {
        let plain = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_data_page_size_limit(usize::MAX)
            .set_data_page_row_count_limit(usize::MAX)
            .build();
        let one_page = largest_of(file(1_000, 500, plain));
        assert_eq!((one_page.row_group, &*one_page.column), (1, "name"));
        // Each text with its length; twice, because it is not compressed.
        let text = 500 * (1_006 + 4) * 2;
        assert!(
            (text..text + 200).contains(&one_page.column_bytes),
            "{one_page:?}"
        );
        assert!(one_page.bytes > one_page.column_bytes);
        let small = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_data_page_row_count_limit(10)
            .set_write_batch_size(10)
            .build();
        let small = largest_of(file(1_000, 500, small));
        assert!(small.column_bytes < one_page.column_bytes / 40, "{small:?}");
    }

    #[test]
    fn long_statistics_and_dictionaries_are_passed_over() {
        let properties = WriterProperties::builder()
            .set_statistics_truncate_length(None)
            .set_max_row_group_row_count(Some(20))
            .build();
        let found = largest_of(file(40_000, 45, properties));
        assert!(found.column_bytes > 20 * 40_000, "{found:?}");
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let page = |bytes: &[u8]| Compact { bytes, at: 0 }.page();
        assert_eq!(page(&[]), Err(Broken::Short));
        assert_eq!(page(&[0]), Err(Broken::Wrong));
        assert_eq!(page(&[0x15, 0, 0x15]), Err(Broken::Short));
        // A negative size.
        assert_eq!(page(&[0x15, 0, 0x15, 1, 0x15, 2, 0]), Err(Broken::Wrong));
        let fine = Page {
            kind: 2,
            uncompressed: 4,
            compressed: 1,
        };
        assert_eq!(page(&[0x15, 4, 0x15, 8, 0x15, 2, 0]), Ok(fine));
        // Structures without end.
        let deep = [[0x15, 0, 0x15, 2].as_slice(), &[0x1c; 64]].concat();
        assert_eq!(page(&deep), Err(Broken::Wrong));
    }
}
