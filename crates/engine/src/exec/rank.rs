//! Rank keys: which entities are ranked, and in which sequence.

use omnigraph_lang::Code;
use omnigraph_lang::query::{Expr, ExprKind, Rank, RankCall};
use omnigraph_lang::value::Value;
use rustc_hash::FxHashMap;

use super::column::NONE;
use super::execution::Execution;
use super::expr::rule;
use super::paths::by_name;
use super::rows::Rows;
use super::scope::{Field, TEXT, address};
use super::search::Scores;
use crate::error::{Error, Result};

/// Ranks from 0 by ordinal; who is not in it is not ranked.
pub(crate) type Ranks = FxHashMap<u32, u32>;

impl Execution<'_> {
    /// `reach` is skip + limit: as many entities as an arm of `rrf` that is `nearest` contributes.
    pub(crate) async fn ranks(&mut self, rank: &Rank, rows: &Rows, reach: usize) -> Result<Ranks> {
        let entities = distinct(rows.column(rank.call.var())?);
        let mut ranked = match &rank.call {
            RankCall::Rrf { arms, k } => {
                let fused = self.fused(arms, k, &entities, reach).await?;
                fused.into_iter().map(|(_, _, ordinal)| ordinal).collect()
            }
            call => self.ranked(call, &entities).await?,
        };
        if rank.reverse {
            ranked.reverse();
        }
        Ok((0..)
            .zip(ranked)
            .map(|(rank, ordinal)| (ordinal, rank))
            .collect())
    }

    /// Entities with a score or distance, best first, equal ones by id.
    async fn ranked(&mut self, call: &RankCall, entities: &[u32]) -> Result<Vec<u32>> {
        let space = self.space(call.var()).await?;
        let ids = self.column_in(&space, &Field::Id, TEXT).await?;
        let mut scored: Vec<(f64, u32)> = match self.scores(call, entities).await? {
            Scores::Bm25(scores) => entities
                .iter()
                .filter_map(|o| scores.get(o).filter(|s| **s > 0.0).map(|s| (-s, *o)))
                .collect(),
            Scores::Distance(distances) => entities
                .iter()
                .filter_map(|o| distances.get(o).map(|d| (*d, *o)))
                .collect(),
        };
        self.guard.pause().await?;
        scored.sort_unstable_by(|a, b| {
            a.0.total_cmp(&b.0)
                .then_with(|| by_name(&space, &ids, a.1, b.1))
        });
        Ok(scored.into_iter().map(|(_, ordinal)| ordinal).collect())
    }

    /// Entities that an arm ranks, best first: the fused score, the place in each arm, who it is.
    async fn fused(
        &mut self,
        arms: &[RankCall; 2],
        k: &Expr,
        entities: &[u32],
        reach: usize,
    ) -> Result<Vec<(f64, [u32; 2], u32)>> {
        let k = match self.constant(k)? {
            Value::Int(k) if k > 0 => k as f64,
            Value::UInt(k) if k > 0 => k as f64,
            _ => return Err(rule(Code::R443, "the constant of rrf has to be positive")),
        };
        let mut places: FxHashMap<u32, [u32; 2]> = FxHashMap::default();
        for (at, arm) in arms.iter().enumerate() {
            if matches!(arm, RankCall::Rrf { .. }) {
                return Err(Error::internal("rrf inside rrf"));
            }
            let mut ranked = self.ranked(arm, entities).await?;
            if matches!(arm, RankCall::Nearest { .. }) {
                ranked.truncate(reach);
            }
            for (place, ordinal) in (1..).zip(ranked) {
                places.entry(ordinal).or_insert([u32::MAX; 2])[at] = place;
            }
        }
        let score = |places: &[u32; 2]| -> f64 {
            let in_arm = places.iter().filter(|p| **p != u32::MAX);
            in_arm.map(|p| 1.0 / (k + f64::from(*p))).sum()
        };
        let mut fused: Vec<(f64, [u32; 2], u32)> = places
            .iter()
            .map(|(&ordinal, places)| (score(places), *places, ordinal))
            .collect();
        fused.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        Ok(fused)
    }

    /// Computes the fused scores that these expressions show: they are about all rows of the match,
    /// so it has to be done before rows are left out.
    pub(super) async fn fuse<'e>(
        &mut self,
        exprs: impl IntoIterator<Item = &'e Expr>,
        rows: &Rows,
        reach: usize,
    ) -> Result<()> {
        let mut calls = Vec::new();
        for expr in exprs {
            expr.visit(&mut |e| {
                if let ExprKind::Score(call @ RankCall::Rrf { .. }) = &e.kind {
                    calls.push(call);
                }
            });
        }
        for call in calls {
            let RankCall::Rrf { arms, k } = call else {
                continue;
            };
            let entities = distinct(rows.column(call.var())?);
            let fused = self.fused(arms, k, &entities, reach).await?;
            let scores = fused
                .into_iter()
                .map(|(score, _, ordinal)| (ordinal, score));
            let scores: FxHashMap<u32, f64> = scores.collect();
            self.fused_scores.insert(address(call), scores);
        }
        Ok(())
    }
}

fn distinct(column: &[u32]) -> Vec<u32> {
    let mut entities = column.to_vec();
    entities.sort_unstable();
    entities.dedup();
    entities.retain(|&o| o != NONE);
    entities
}
