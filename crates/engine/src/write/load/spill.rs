//! Keys that do not fit in memory, in sorted runs of temporary files.
//!
//! A record is a text or a fingerprint with where it came from. Records lie in sections; the runs
//! of a section are merged into one sorted sequence, as often as it takes.

use std::cmp::Ordering;
use std::collections::binary_heap::PeekMut;
use std::collections::{BTreeMap, BinaryHeap};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use parking_lot::Mutex;

use super::collect::Progress;
use crate::error::{Error, ErrorKind, Result};

/// Runs of one age that are merged into a longer one.
const FAN_IN: usize = 32;
/// Bytes that are read at once of a run, at least and at most.
const READ: std::ops::RangeInclusive<usize> = 4 << 10..=128 << 10;

/// What records are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Section {
    /// Ids of the rows of a type, by the type's position.
    Ids(usize),
    /// Ids of nodes that edges refer to, by the node type's position.
    Ends(usize),
    /// Fingerprints of a unique constraint: the type's position, and the constraint's.
    Unique(usize, usize),
}

/// Where a record came from. What `kind` says is up to the section.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    pub(super) kind: u32,
    pub(super) row: u32,
    /// The line; 0 where there is none.
    pub(super) line: u32,
}

/// Sorted runs, older ones merged into longer ones.
pub(super) struct Spill {
    /// By age.
    levels: Vec<Vec<Arc<Run>>>,
    progress: Arc<Progress>,
    /// Bytes for merging.
    memory: usize,
}

/// One file of sections, each sorted. It has no name, so it is gone with its handle.
struct Run {
    file: Mutex<File>,
    sections: BTreeMap<Section, Extent>,
}

#[derive(Clone, Copy, Debug)]
struct Extent {
    start: u64,
    bytes: u64,
}

/// Writes one run. Sections come one after the other, the records of each sorted by key and origin.
pub(super) struct RunWriter {
    file: BufWriter<File>,
    written: u64,
    sections: BTreeMap<Section, Extent>,
    open: Option<(Section, u64)>,
}

/// Sorts records that come in any order.
pub(super) struct Sorter {
    spill: Spill,
    limit: usize,
    texts: Vec<u8>,
    records: Vec<(Section, usize, u32, Origin)>,
}

/// One sorted sequence out of many runs.
pub(super) struct Merge {
    heap: BinaryHeap<Head>,
    key: Vec<u8>,
    /// Whether the record before had another key.
    is_new: bool,
    started: bool,
    memory: usize,
}

/// One record of a merge, beside its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Which of the merged sections it is from.
    pub(super) part: usize,
    pub(super) origin: Origin,
    /// Whether the record before had another key, or there was none.
    pub(super) is_new: bool,
}

struct Head {
    key: Vec<u8>,
    part: usize,
    origin: Origin,
    rest: BufReader<Slice>,
}

/// A part of a file that several readers may share.
struct Slice {
    run: Arc<Run>,
    at: u64,
    end: u64,
}

impl Spill {
    pub(super) fn new(progress: Arc<Progress>, memory: usize) -> Self {
        Self {
            levels: Vec::new(),
            progress,
            memory,
        }
    }

    /// Writes a run. Merges older ones when there are many.
    pub(super) fn add(
        &mut self,
        write: impl FnOnce(&mut RunWriter) -> io::Result<()>,
    ) -> Result<()> {
        let run = self.write(write)?;
        self.put(0, run)
    }

    fn put(&mut self, level: usize, run: Arc<Run>) -> Result<()> {
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, Vec::new);
        }
        self.levels[level].push(run);
        if self.levels[level].len() < FAN_IN {
            return Ok(());
        }
        let runs = std::mem::take(&mut self.levels[level]);
        let mut sections: Vec<Section> = runs
            .iter()
            .flat_map(|run| run.sections.keys().copied())
            .collect();
        sections.sort_unstable();
        sections.dedup();
        let memory = self.memory;
        let longer = self.write(|writer| {
            for section in sections {
                let mut merge = Merge::of(&runs, &[section], memory)?;
                writer.begin(section);
                while let Some(record) = merge.advance()? {
                    writer.put(merge.key(), record.origin)?;
                }
            }
            Ok(())
        })?;
        self.put(level + 1, longer)
    }

    fn write(&self, write: impl FnOnce(&mut RunWriter) -> io::Result<()>) -> Result<Arc<Run>> {
        let run = RunWriter::new().and_then(|mut writer| {
            write(&mut writer)?;
            writer.finish()
        });
        let run = run.map_err(|error| no_room(&error))?;
        let bytes: u64 = run.sections.values().map(|extent| extent.bytes).sum();
        self.progress
            .meter
            .spill(usize::try_from(bytes).unwrap_or(usize::MAX));
        Ok(Arc::new(run))
    }

    /// The records of these sections in one sequence: by key, then by the section's place here.
    pub(super) fn merge(&self, sections: &[Section], more: Option<&Spill>) -> Result<Merge> {
        let runs = self.levels.iter().flatten();
        let runs = runs.chain(
            more.into_iter()
                .flat_map(|more| more.levels.iter().flatten()),
        );
        let runs: Vec<Arc<Run>> = runs.cloned().collect();
        Merge::of(&runs, sections, self.memory).map_err(|error| no_room(&error))
    }
}

impl RunWriter {
    fn new() -> io::Result<Self> {
        Ok(Self {
            file: BufWriter::with_capacity(*READ.end(), tempfile::tempfile()?),
            written: 0,
            sections: BTreeMap::new(),
            open: None,
        })
    }

    /// The records that follow are of this section.
    pub(super) fn begin(&mut self, section: Section) {
        self.end();
        self.open = Some((section, self.written));
    }

    fn end(&mut self) {
        if let Some((section, start)) = self.open.take() {
            let bytes = self.written - start;
            self.sections.insert(section, Extent { start, bytes });
        }
    }

    pub(super) fn put(&mut self, key: &[u8], origin: Origin) -> io::Result<()> {
        let length = u32::try_from(key.len()).map_err(io::Error::other)?;
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(key)?;
        for number in [origin.kind, origin.row, origin.line] {
            self.file.write_all(&number.to_le_bytes())?;
        }
        self.written += 16 + key.len() as u64;
        Ok(())
    }

    fn finish(mut self) -> io::Result<Run> {
        self.end();
        Ok(Run {
            file: Mutex::new(self.file.into_inner()?),
            sections: self.sections,
        })
    }
}

impl Sorter {
    /// Keeps records of `limit` bytes in memory.
    pub(super) fn new(spill: Spill, limit: usize) -> Self {
        Self {
            spill,
            limit,
            texts: Vec::new(),
            records: Vec::new(),
        }
    }

    pub(super) fn put(&mut self, section: Section, key: &[u8], origin: Origin) -> Result<()> {
        let length = u32::try_from(key.len())
            .map_err(|_| Error::internal("a key has more than four GiB"))?;
        self.records
            .push((section, self.texts.len(), length, origin));
        self.texts.extend_from_slice(key);
        if self.bytes() > self.limit {
            self.flush()?;
        }
        Ok(())
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.texts.len() + self.records.len() * size_of::<(Section, usize, u32, Origin)>()
    }

    pub(super) fn finish(mut self) -> Result<Spill> {
        self.flush()?;
        Ok(self.spill)
    }

    fn flush(&mut self) -> Result<()> {
        if self.records.is_empty() {
            return Ok(());
        }
        let texts = std::mem::take(&mut self.texts);
        let mut records = std::mem::take(&mut self.records);
        let key = |start: usize, length: u32| &texts[start..start + length as usize];
        records.sort_unstable_by(|a, b| {
            let order = a.0.cmp(&b.0);
            let order = order.then_with(|| key(a.1, a.2).cmp(key(b.1, b.2)));
            order.then_with(|| a.3.cmp(&b.3))
        });
        self.spill.add(|writer| {
            let mut section = None;
            for (of, start, length, origin) in &records {
                if section != Some(*of) {
                    writer.begin(*of);
                    section = Some(*of);
                }
                writer.put(key(*start, *length), *origin)?;
            }
            Ok(())
        })?;
        Ok(())
    }
}

impl Merge {
    fn of(runs: &[Arc<Run>], sections: &[Section], memory: usize) -> io::Result<Self> {
        let parts = sections.iter().enumerate().flat_map(|(part, section)| {
            let found = runs
                .iter()
                .filter_map(|run| Some((run, *run.sections.get(section)?)));
            found.map(move |(run, extent)| (part, run, extent))
        });
        let parts: Vec<_> = parts.collect();
        let buffer = (memory / parts.len().max(1)).clamp(*READ.start(), *READ.end());
        let mut heap = BinaryHeap::with_capacity(parts.len());
        for (part, run, extent) in &parts {
            let slice = Slice {
                run: Arc::clone(run),
                at: extent.start,
                end: extent.start + extent.bytes,
            };
            let mut head = Head {
                key: Vec::new(),
                part: *part,
                origin: Origin::default(),
                rest: BufReader::with_capacity(buffer, slice),
            };
            if head.advance()? {
                heap.push(head);
            }
        }
        Ok(Self {
            memory: heap.len() * buffer,
            heap,
            key: Vec::new(),
            is_new: true,
            started: false,
        })
    }

    /// Bytes that it holds.
    pub(super) fn bytes(&self) -> usize {
        self.memory
    }

    /// The key of the record that [`Merge::next`] gave.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The next record.
    pub(super) fn next(&mut self) -> Result<Option<Record>> {
        self.advance().map_err(|error| no_room(&error))
    }

    fn advance(&mut self) -> io::Result<Option<Record>> {
        let Some(mut head) = self.heap.peek_mut() else {
            return Ok(None);
        };
        self.is_new = !self.started || head.key != self.key;
        self.started = true;
        if self.is_new {
            self.key.clear();
            self.key.extend_from_slice(&head.key);
        }
        let record = Record {
            part: head.part,
            origin: head.origin,
            is_new: self.is_new,
        };
        if !head.advance()? {
            PeekMut::pop(head);
        }
        Ok(Some(record))
    }
}

impl Head {
    /// Reads the next record of the run; false at its end.
    fn advance(&mut self) -> io::Result<bool> {
        let mut number = [0; 4];
        if self.rest.buffer().is_empty() && io::BufRead::fill_buf(&mut self.rest)?.is_empty() {
            return Ok(false);
        }
        self.rest.read_exact(&mut number)?;
        self.key.resize(u32::from_le_bytes(number) as usize, 0);
        self.rest.read_exact(&mut self.key)?;
        let Origin { kind, row, line } = &mut self.origin;
        for field in [kind, row, line] {
            self.rest.read_exact(&mut number)?;
            *field = u32::from_le_bytes(number);
        }
        Ok(true)
    }
}

impl Read for Slice {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let mut file = self.run.file.lock();
        file.seek(SeekFrom::Start(self.at))?;
        let read = file.read(&mut buffer[..length])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Ord for Head {
    /// The heap gives the greatest: the smallest record is that.
    fn cmp(&self, other: &Self) -> Ordering {
        let theirs = (&other.key, other.part, other.origin);
        theirs.cmp(&(&self.key, self.part, self.origin))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

fn no_room(error: &io::Error) -> Error {
    let message = format!("the keys of the load cannot be kept in temporary files: {error}");
    Error::new(ErrorKind::Unavailable, message).with_hint(format!(
        "make room in {}, set TMPDIR for the server, or give loads more memory",
        std::env::temp_dir().display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spill(memory: usize) -> Spill {
        Spill::new(Arc::new(Progress::default()), memory)
    }

    fn all(mut merge: Merge) -> Vec<(Vec<u8>, Record)> {
        let mut found = Vec::new();
        while let Some(record) = merge.next().unwrap() {
            found.push((merge.key().to_vec(), record));
        }
        found
    }

    #[test]
    fn records_come_back_sorted_from_many_runs() {
        // So small that there are hundreds of runs on two levels.
        let mut sorter = Sorter::new(spill(1 << 20), 1000);
        let mut expected = Vec::new();
        let mut state = 1_u32;
        for row in 0..20_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let key = format!("k{}", state % 5000).into_bytes();
            let origin = Origin {
                kind: state >> 30,
                row,
                line: row + 1,
            };
            let part = usize::from(row % 3 == 0);
            let section = [Section::Ids(1), Section::Ends(1)][part];
            sorter.put(section, &key, origin).unwrap();
            sorter
                .put(Section::Unique(0, 0), b"elsewhere", origin)
                .unwrap();
            expected.push((key, part, origin));
        }
        expected.sort();
        let spill = sorter.finish().unwrap();
        assert!(spill.levels.len() > 1 && spill.levels.iter().all(|level| level.len() < FAN_IN));
        for _ in 0..2 {
            let merge = spill
                .merge(&[Section::Ids(1), Section::Ends(1)], None)
                .unwrap();
            let found = all(merge);
            let new = found.iter().filter(|(_, record)| record.is_new).count();
            let found: Vec<_> = found
                .into_iter()
                .map(|(key, r)| (key, r.part, r.origin))
                .collect();
            assert_eq!(found, expected);
            let mut keys: Vec<_> = expected.iter().map(|(key, _, _)| key).collect();
            keys.dedup();
            assert_eq!(new, keys.len());
        }
        assert!(all(spill.merge(&[Section::Ids(7)], None).unwrap()).is_empty());
    }

    #[test]
    fn empty_keys_and_two_spills() {
        let mut one = spill(1 << 20);
        let at = |row| Origin {
            row,
            ..Origin::default()
        };
        one.add(|writer| {
            writer.begin(Section::Ids(0));
            writer.put(b"", at(1))?;
            writer.put(b"b", at(2))
        })
        .unwrap();
        let mut two = spill(1 << 20);
        two.add(|writer| {
            writer.begin(Section::Ids(0));
            writer.put(b"", at(0))?;
            writer.put(b"a", at(3))
        })
        .unwrap();
        let found = all(one.merge(&[Section::Ids(0)], Some(&two)).unwrap());
        let rows: Vec<_> = found
            .iter()
            .map(|(_, r)| (r.origin.row, r.is_new))
            .collect();
        assert_eq!(rows, [(0, true), (1, false), (3, true), (2, true)]);
    }
}
