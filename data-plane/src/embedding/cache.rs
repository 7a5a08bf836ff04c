//! The vectors that a provider gave lately. Bounded in number and in bytes: the least recently used
//! goes first.

use std::collections::HashMap;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// Bytes that the vectors of one provider may take, about.
const BYTES_MAX: usize = 16 << 20;
/// Vectors of one provider.
const VECTORS_MAX: usize = 4096;
/// What an entry takes beside its numbers, about.
const ENTRY: usize = 128;

/// By digest of the text, so that long texts are not kept, and width.
type Key = ([u8; 32], u32);

#[derive(Default)]
pub(super) struct Cache(Mutex<Entries>);

#[derive(Default)]
struct Entries {
    /// With the tick of the last use.
    by_key: HashMap<Key, (u64, Vec<f32>)>,
    tick: u64,
    bytes: usize,
}

impl Cache {
    pub(super) fn get(&self, text: &str, width: u32) -> Option<Vec<f32>> {
        let mut entries = self.0.lock();
        entries.tick += 1;
        let tick = entries.tick;
        let (used, vector) = entries.by_key.get_mut(&key(text, width))?;
        *used = tick;
        Some(vector.clone())
    }

    pub(super) fn put(&self, text: &str, width: u32, vector: &[f32]) {
        let mut entries = self.0.lock();
        entries.put(key(text, width), vector, VECTORS_MAX, BYTES_MAX);
    }
}

impl Entries {
    fn put(&mut self, key: Key, vector: &[f32], vectors_max: usize, bytes_max: usize) {
        let size = size(vector);
        if size > bytes_max {
            return;
        }
        self.forget(&key);
        while self.by_key.len() >= vectors_max || self.bytes + size > bytes_max {
            let oldest = self.by_key.iter().min_by_key(|(_, (used, _))| *used);
            match oldest.map(|(key, _)| *key) {
                Some(oldest) => self.forget(&oldest),
                None => break,
            }
        }
        self.tick += 1;
        self.bytes += size;
        self.by_key.insert(key, (self.tick, vector.to_vec()));
    }

    fn forget(&mut self, key: &Key) {
        if let Some((_, vector)) = self.by_key.remove(key) {
            self.bytes -= size(&vector);
        }
    }
}

fn key(text: &str, width: u32) -> Key {
    (Sha256::digest(text).into(), width)
}

fn size(vector: &[f32]) -> usize {
    ENTRY + size_of_val(vector)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let cache = Cache::default();
        cache.put("a", 2, &[1.0, 2.0]);
        assert_eq!(cache.get("a", 2), Some(vec![1.0, 2.0]));
        assert_eq!(cache.get("a", 3), None, "another width is another vector");
        assert_eq!(cache.get("b", 2), None);

        let mut entries = Entries::default();
        let put = |entries: &mut Entries, text, vectors, bytes| {
            entries.put(key(text, 1), &[0.5], vectors, bytes);
        };
        let texts = |entries: &Entries| {
            let known = |text: &&str| entries.by_key.contains_key(&key(text, 1));
            ["a", "b", "c"]
                .into_iter()
                .filter(known)
                .collect::<String>()
        };
        put(&mut entries, "a", 2, BYTES_MAX);
        put(&mut entries, "b", 2, BYTES_MAX);
        put(&mut entries, "a", 2, BYTES_MAX);
        put(&mut entries, "c", 2, BYTES_MAX);
        assert_eq!(texts(&entries), "ac");
        let one = size(&[0.5]);
        assert_eq!(entries.bytes, 2 * one);
        put(&mut entries, "b", 9, one);
        assert_eq!(texts(&entries), "b");
        put(&mut entries, "c", 9, one - 1);
        assert_eq!(texts(&entries), "b", "what has no room changes nothing");
    }
}
