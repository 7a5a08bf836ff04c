//! Readers of columnar input on bytes that nobody wrote as such.

use std::io::Write;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use proptest::prelude::*;

use super::{FilePart, Frames, Room, read, slices};
use crate::error::{ErrorKind, Result};

const LIMIT: usize = 4 << 20;

fn rows() -> RecordBatch {
    let names: DictionaryArray<Int32Type> = ["a", "b", "a", "c"].into_iter().collect();
    RecordBatch::try_from_iter([
        (
            "n",
            Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)])) as ArrayRef,
        ),
        ("s", Arc::new(StringArray::from(vec!["x", "", "zz", "ü"]))),
        ("d", Arc::new(names)),
    ])
    .unwrap()
}

fn ipc(stream: bool, codec: Option<CompressionType>) -> Vec<u8> {
    let rows = rows();
    let options = IpcWriteOptions::default()
        .try_with_compression(codec)
        .unwrap();
    if stream {
        let mut writer =
            StreamWriter::try_new_with_options(Vec::new(), &rows.schema(), options).unwrap();
        writer.write(&rows).unwrap();
        writer.into_inner().unwrap()
    } else {
        let mut writer =
            FileWriter::try_new_with_options(Vec::new(), &rows.schema(), options).unwrap();
        writer.write(&rows).unwrap();
        writer.into_inner().unwrap()
    }
}

fn parquet_file() -> Vec<u8> {
    let rows = rows();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.into_inner().unwrap()
}

fn read_ipc(bytes: &[u8], piece: usize) -> Result<usize> {
    let mut frames = Frames::new(LIMIT);
    let mut rows = 0;
    for piece in bytes.chunks(piece) {
        frames.push(piece);
        while let Some(batch) = frames.next()? {
            rows += slices(&batch, 1000, 1)?
                .iter()
                .map(RecordBatch::num_rows)
                .sum::<usize>();
        }
    }
    frames.finish().map(|()| rows)
}

fn read_parquet(bytes: &[u8]) -> Result<usize> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
    let room = Room {
        batch: 1 << 20,
        pages: 1 << 20,
    };
    let reader = std::thread::spawn(move || read(file, room, &sender));
    let mut rows = 0;
    let mut failed = None;
    while let Some(next) = receiver.blocking_recv() {
        match next {
            Ok(FilePart::Begin(_, pages)) => assert!(pages <= room.pages),
            Ok(FilePart::Rows(batch)) => rows += batch.num_rows(),
            Err(error) => failed = Some(error),
        }
    }
    reader.join().unwrap();
    failed.map_or(Ok(rows), Err)
}

fn every_ipc() -> Vec<Vec<u8>> {
    let codecs = [
        None,
        Some(CompressionType::LZ4_FRAME),
        Some(CompressionType::ZSTD),
    ];
    codecs
        .into_iter()
        .flat_map(|codec| [ipc(true, codec), ipc(false, codec)])
        .collect()
}

#[test]
fn messages_may_be_cut_anywhere() {
    for bytes in every_ipc() {
        for piece in [1, 7, 64, 100_000] {
            assert_eq!(read_ipc(&bytes, piece).unwrap(), 4);
        }
        for cut in 0..bytes.len() {
            assert!(read_ipc(&bytes[..cut], 100_000).is_err(), "cut at {cut}");
        }
    }
    assert!(read_ipc(&[ipc(true, None), vec![1]].concat(), 100_000).is_err());
}

#[test]
fn a_batch_that_says_it_is_huge_is_refused_unread() {
    let bytes = ipc(true, Some(CompressionType::ZSTD));
    // The first eight bytes of a compressed buffer are its length: blow up each candidate.
    let mut refused = 0;
    for at in 0..bytes.len() - 8 {
        let length = i64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        if !(1..=64).contains(&length) {
            continue;
        }
        let mut changed = bytes.clone();
        changed[at..at + 8].copy_from_slice(&(1_i64 << 45).to_le_bytes());
        if let Err(error) = read_ipc(&changed, 100_000) {
            refused += usize::from(error.kind() == ErrorKind::ResourceLimit);
        }
    }
    assert!(refused > 0);
}

#[test]
fn parquet_is_read_or_refused() {
    let bytes = parquet_file();
    assert_eq!(read_parquet(&bytes).unwrap(), 4);
    for cut in (0..bytes.len()).step_by(7) {
        assert!(read_parquet(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = read_ipc(&bytes, 17);
        let file = [b"ARROW1\0\0", bytes.as_slice()].concat();
        prop_assert!(read_ipc(&file, 100).is_err());
        let file = [b"PAR1", bytes.as_slice(), b"PAR1"].concat();
        prop_assert!(read_parquet(&file).is_err());
    }

    #[test]
    fn damage_is_found_or_harmless(
        which in 0_usize..7,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = every_ipc().into_iter().nth(which).unwrap_or_else(parquet_file);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = match which {
            6 => read_parquet(&bytes),
            _ => read_ipc(&bytes, 100_000),
        };
    }
}
