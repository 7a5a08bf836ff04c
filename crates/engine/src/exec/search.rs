//! Text search and vector distance over the entities of a match.

use std::sync::Arc;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use omnigraph_lang::Code;
use omnigraph_lang::query::{ExprType, PropertyRef, RankCall, SearchCall, SearchKind, VarId};
use omnigraph_lang::value::Value;
use rustc_hash::{FxHashMap, FxHashSet};

use super::column::NONE;
use super::execution::Execution;
use super::expr::rule;
use super::scope::{Field, TEXT, address};
use super::space::EntityColumn;
use super::text_index::{TextIndex, Tokens};
use crate::error::{Error, Result};

/// Entities that a text search was true for.
pub(crate) enum Found {
    /// By ordinal.
    Mask(Vec<bool>),
    Set(FxHashSet<u32>),
}

/// The numbers of a rank call by ordinal.
pub(crate) enum Scores {
    /// 0 where there is none.
    Bm25(FxHashMap<u32, f64>),
    /// Also a fused score. Null where there is none.
    Distance(FxHashMap<u32, f64>),
}

impl Found {
    pub(crate) fn contains(&self, ordinal: u32) -> bool {
        match self {
            Self::Mask(mask) => mask.get(ordinal as usize).copied().unwrap_or(false),
            Self::Set(set) => set.contains(&ordinal),
        }
    }
}

impl Scores {
    pub(crate) fn get(&self, ordinal: u32) -> Option<f64> {
        match self {
            Self::Bm25(scores) => Some(scores.get(&ordinal).copied().unwrap_or(0.0)),
            Self::Distance(distances) => distances.get(&ordinal).copied(),
        }
    }
}

impl Execution<'_> {
    /// Which of these entities a text search is true for.
    pub(crate) async fn search(&mut self, call: &SearchCall, ordinals: &[u32]) -> Result<Found> {
        let Value::String(query) = self.constant(&call.query)? else {
            return Ok(Found::Set(FxHashSet::default()));
        };
        match &call.kind {
            SearchKind::AnyToken => {
                let tokens = Tokens::stemmed()?.of(&query)?;
                Ok(Found::Mask(self.any_token(call, &tokens).await?))
            }
            SearchKind::Phrase => {
                let mut tokens = Tokens::stemmed()?;
                let phrase = tokens.of(&query)?;
                if phrase.is_empty() {
                    return Ok(Found::Set(FxHashSet::default()));
                }
                // Only texts with the first token are split again.
                let first = self.any_token(call, &phrase[..1]).await?;
                let candidates: Vec<u32> = ordinals
                    .iter()
                    .copied()
                    .filter(|&o| first.get(o as usize).copied().unwrap_or(false))
                    .collect();
                self.each_text(call, &candidates, |text| {
                    let tokens = tokens.of(text)?;
                    Ok(tokens.windows(phrase.len()).any(|window| window == phrase))
                })
                .await
            }
            SearchKind::Fuzzy { edits } => {
                let edits = match self.constant(edits)? {
                    Value::Int(n) => usize::try_from(n)
                        .map_err(|_| rule(Code::R443, "fuzzy takes no negative number of edits"))?,
                    Value::UInt(n) => usize::try_from(n).unwrap_or(usize::MAX),
                    _ => return Ok(Found::Set(FxHashSet::default())),
                };
                let mut tokens = Tokens::unstemmed()?;
                let wanted: Vec<Vec<char>> = tokens
                    .of(&query)?
                    .iter()
                    .map(|t| t.chars().collect())
                    .collect();
                self.each_text(call, ordinals, |text| {
                    let mut near = false;
                    tokens.each(text, |token| {
                        near = near || wanted.iter().any(|w| within_edits(w, token, edits));
                    })?;
                    Ok(near)
                })
                .await
            }
        }
    }

    async fn each_text(
        &mut self,
        call: &SearchCall,
        ordinals: &[u32],
        mut test: impl FnMut(&str) -> Result<bool>,
    ) -> Result<Found> {
        let field = Field::Property(call.property.clone());
        let column = self.column(call.var, &field, TEXT).await?;
        let mut ordinals = ordinals.to_vec();
        ordinals.sort_unstable();
        ordinals.dedup();
        let mut found = FxHashSet::default();
        for (at, ordinal) in ordinals.into_iter().enumerate() {
            if ordinal != NONE
                && let Some(text) = column.text(ordinal)
                && test(text)?
            {
                found.insert(ordinal);
            }
            if at % 256 == 0 {
                self.guard.pause().await?;
            }
        }
        Ok(Found::Set(found))
    }

    /// By number whether the text has one of the tokens.
    async fn any_token(&mut self, call: &SearchCall, tokens: &[String]) -> Result<Vec<bool>> {
        let rows = self.space(call.var).await?.rows();
        let mut found = Vec::with_capacity(rows);
        for (start, index) in self.text_indexes(call.var, &call.property).await? {
            found.resize(start as usize, false);
            found.extend(index.any(tokens));
        }
        found.resize(rows, false);
        Ok(found)
    }

    /// The index of each possible type that has the property, with the type's first number.
    async fn text_indexes(
        &mut self,
        var: VarId,
        property: &PropertyRef,
    ) -> Result<Vec<(u32, Arc<TextIndex>)>> {
        let space = self.space(var).await?;
        let mut indexes = Vec::with_capacity(space.parts().len());
        for part in space.parts() {
            let Some(property) = property.of(part.ty) else {
                continue;
            };
            let property = self.body(part.ty)?.property_by_id(property);
            let name = &property
                .ok_or_else(|| Error::internal("a property is not in the catalog"))?
                .name;
            indexes.push((part.start, part.table.text_index(name).await?));
        }
        Ok(indexes)
    }

    /// The scores of these entities.
    pub(crate) async fn scores(&mut self, call: &RankCall, ordinals: &[u32]) -> Result<Scores> {
        match call {
            RankCall::Bm25 {
                var,
                property,
                query,
            } => {
                let Value::String(query) = self.constant(query)? else {
                    return Ok(Scores::Bm25(FxHashMap::default()));
                };
                let tokens = Tokens::stemmed()?.of(&query)?;
                let mut scores = FxHashMap::default();
                for (start, index) in self.text_indexes(*var, property).await? {
                    let own = index.scores(&tokens).into_iter();
                    scores.extend(own.map(|(ordinal, score)| (start + ordinal, score)));
                }
                Ok(Scores::Bm25(scores))
            }
            RankCall::Nearest {
                var,
                property,
                query,
            } => {
                let target = self.target(*var, property, query).await?;
                let width = ExprType::Vector(u32::try_from(target.len()).unwrap_or(u32::MAX));
                let field = Field::Property(property.clone());
                let column = self.column(*var, &field, width).await?;
                self.distances(&column, &target, ordinals).await
            }
            RankCall::Rrf { .. } => match self.fused_scores.get(&address(call)) {
                Some(scores) => Ok(Scores::Distance(scores.clone())),
                None => Err(Error::internal("a fused score was not computed")),
            },
        }
    }

    async fn distances(
        &mut self,
        column: &EntityColumn,
        target: &[f64],
        ordinals: &[u32],
    ) -> Result<Scores> {
        let mut ordinals: Vec<u32> = ordinals.iter().copied().filter(|&o| o != NONE).collect();
        ordinals.sort_unstable();
        ordinals.dedup();
        let mut distances = FxHashMap::default();
        for some in ordinals.chunks(4096) {
            let vectors = column.gather(some)?;
            let Some(vectors) = vectors.as_fixed_size_list_opt() else {
                return Err(Error::internal(
                    "nearest over a column that holds no vectors",
                ));
            };
            let width = vectors.value_length() as usize;
            if width != target.len() {
                return Err(rule(
                    Code::R432,
                    format!(
                        "the query vector has {} numbers and the property {width}",
                        target.len()
                    ),
                ));
            }
            for (at, &ordinal) in some
                .iter()
                .enumerate()
                .filter(|(at, _)| vectors.is_valid(*at))
            {
                let vector = vectors.value(at);
                let vector = vector.as_primitive::<Float32Type>().values();
                let squares = vector
                    .iter()
                    .zip(target)
                    .map(|(&a, b)| (f64::from(a) - b).powi(2));
                distances.insert(ordinal, squares.sum());
            }
            self.guard.pause().await?;
        }
        Ok(Scores::Distance(distances))
    }
}

/// Whether at most this many insertions, deletions and replacements lead from one to the other.
fn within_edits(wanted: &[char], token: &str, edits: usize) -> bool {
    let token: Vec<char> = token.chars().collect();
    if wanted.len().abs_diff(token.len()) > edits {
        return false;
    }
    let mut row: Vec<usize> = (0..=token.len()).collect();
    for (i, a) in wanted.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in token.iter().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[token.len()] <= edits
}
