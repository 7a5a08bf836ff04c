//! Tokens of a text column: which rows have which, for text search and its scores.

use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use lance_index::scalar::InvertedIndexParams;
use lance_index::scalar::inverted::tokenizer::document_tokenizer::LanceTokenizer;
use rustc_hash::FxHashMap;

use super::column::Column;
use super::live::LiveSet;
use super::part_cache::Part;
use crate::error::{Error, Result};

/// Saturation of the token frequency in BM25.
const K1: f64 = 1.2;
/// Weight of the text's length in BM25.
const B: f64 = 0.75;

/// Splits text into the tokens that search compares, as the tables' full-text indexes do.
pub(crate) struct Tokens {
    tokenizer: Box<dyn LanceTokenizer>,
}

impl Tokens {
    /// Lower-cased, stemmed, without stop words, folded to ASCII.
    pub(crate) fn stemmed() -> Result<Self> {
        Self::new(true)
    }

    /// The same before stemming.
    pub(crate) fn unstemmed() -> Result<Self> {
        Self::new(false)
    }

    fn new(stem: bool) -> Result<Self> {
        let tokenizer = InvertedIndexParams::default().stem(stem).build()?;
        Ok(Self { tokenizer })
    }

    pub(crate) fn each(&mut self, text: &str, mut found: impl FnMut(&str)) -> Result<()> {
        let mut stream = self.tokenizer.token_stream_for_doc(text);
        while let Some(token) = stream
            .try_next()
            .map_err(|e| Error::internal(format!("a text cannot be split into tokens: {e}")))?
        {
            found(&token.text);
        }
        Ok(())
    }

    pub(crate) fn of(&mut self, text: &str) -> Result<Vec<String>> {
        let mut tokens = Vec::new();
        self.each(text, |token| tokens.push(token.to_owned()))?;
        Ok(tokens)
    }
}

/// Postings of one column. Layers cover consecutive ranges of ordinals; a derived version shares
/// those of its base and adds one for the new rows.
pub(crate) struct TextIndex {
    field_id: i32,
    live: Arc<LiveSet>,
    layers: Vec<Arc<Layer>>,
    /// Over live rows with a text.
    texts: u64,
    total_tokens: u64,
}

struct Layer {
    start: u32,
    end: u32,
    postings: FxHashMap<Box<str>, Vec<Posting>>,
    /// Tokens by ordinal, counted from `start`; `u32::MAX` where there is no text.
    lengths: Vec<u32>,
    bytes: usize,
}

#[derive(Clone, Copy)]
struct Posting {
    ordinal: u32,
    count: u32,
}

impl TextIndex {
    pub(crate) fn build(
        column: &Column,
        live: Arc<LiveSet>,
        base: Option<&TextIndex>,
    ) -> Result<Self> {
        let mut layers = base.map_or_else(Vec::new, |base| base.layers.clone());
        let mut start = layers.last().map_or(0, |layer| layer.end);
        let end = column.rows() as u32;
        if start < end {
            while layers
                .last()
                .is_some_and(|last| last.end - last.start <= 2 * (end - start))
            {
                start = layers.pop().map_or(start, |last| last.start);
            }
            layers.push(Arc::new(Layer::build(column, &live, start, end)?));
        }
        let mut index = Self {
            field_id: column.field_id(),
            live,
            layers,
            texts: 0,
            total_tokens: 0,
        };
        for layer in &index.layers {
            for (ordinal, &length) in (layer.start..).zip(&layer.lengths) {
                if length != u32::MAX && index.live.contains(ordinal) {
                    index.texts += 1;
                    index.total_tokens += u64::from(length);
                }
            }
        }
        Ok(index)
    }

    pub(crate) fn field_id(&self) -> i32 {
        self.field_id
    }

    /// Live rows that have the token, with how often, ascending.
    fn postings<'a>(&'a self, token: &'a str) -> impl Iterator<Item = Posting> + 'a {
        self.layers
            .iter()
            .filter_map(move |layer| layer.postings.get(token))
            .flatten()
            .copied()
            .filter(|posting| self.live.contains(posting.ordinal))
    }

    /// Rows with at least one of the tokens, as a mask over all ordinals.
    pub(crate) fn any(&self, tokens: &[String]) -> Vec<bool> {
        let mut found = vec![false; self.live.rows()];
        for token in tokens {
            for posting in self.postings(token) {
                found[posting.ordinal as usize] = true;
            }
        }
        found
    }

    /// BM25 of the rows that have at least one of the tokens.
    pub(crate) fn scores(&self, tokens: &[String]) -> FxHashMap<u32, f64> {
        let mut scores = FxHashMap::default();
        let average = self.total_tokens as f64 / (self.texts.max(1)) as f64;
        let mut tokens: Vec<&String> = tokens.iter().collect();
        tokens.sort_unstable();
        tokens.dedup();
        for token in tokens {
            let postings: Vec<Posting> = self.postings(token).collect();
            let with = postings.len() as f64;
            let weight = (1.0 + (self.texts as f64 - with + 0.5) / (with + 0.5)).ln();
            for posting in postings {
                let count = f64::from(posting.count);
                let length = f64::from(self.length(posting.ordinal));
                let norm = K1 * (1.0 - B + B * length / average.max(f64::MIN_POSITIVE));
                *scores.entry(posting.ordinal).or_insert(0.0) +=
                    weight * count * (K1 + 1.0) / (count + norm);
            }
        }
        scores
    }

    fn length(&self, ordinal: u32) -> u32 {
        let at = self.layers.partition_point(|layer| layer.end <= ordinal);
        let layer = &self.layers[at];
        layer.lengths[(ordinal - layer.start) as usize]
    }
}

impl Part for TextIndex {
    fn bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.bytes).sum::<usize>() + 64
    }
}

impl Layer {
    fn build(column: &Column, live: &LiveSet, start: u32, end: u32) -> Result<Self> {
        let mut tokens = Tokens::stemmed()?;
        let mut postings: FxHashMap<Box<str>, Vec<Posting>> = FxHashMap::default();
        let mut lengths = vec![u32::MAX; (end - start) as usize];
        for (first, array) in column.segments() {
            let array = array
                .as_string_opt::<i32>()
                .ok_or_else(|| Error::internal("search over a column that is not text"))?;
            let from = start.max(first);
            for ordinal in from..end.min(first + array.len() as u32) {
                let row = (ordinal - first) as usize;
                if array.is_null(row) || !live.contains(ordinal) {
                    continue;
                }
                let mut length = 0;
                tokens.each(array.value(row), |token| {
                    length += 1;
                    match postings.get_mut(token) {
                        Some(list) => match list.last_mut() {
                            Some(last) if last.ordinal == ordinal => last.count += 1,
                            _ => list.push(Posting { ordinal, count: 1 }),
                        },
                        None => {
                            postings.insert(token.into(), vec![Posting { ordinal, count: 1 }]);
                        }
                    }
                })?;
                lengths[(ordinal - start) as usize] = length;
            }
        }
        let mut bytes = lengths.len() * 4;
        for (token, list) in &postings {
            bytes += token.len() + list.capacity() * size_of::<Posting>() + 48;
        }
        Ok(Self {
            start,
            end,
            postings,
            lengths,
            bytes,
        })
    }
}
