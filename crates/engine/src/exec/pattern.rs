//! Matching of blocks: their plans carried out.

use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use omnigraph_lang::query::{Expr, VarId};
use omnigraph_lang::value::{Value, derive_id, spell};

use super::execution::Execution;
use super::plan::{Action, BlockPlan, KnownId};
use super::rows::Rows;
use crate::error::Result;

impl Execution<'_> {
    /// The rows continued by everything that satisfies the block.
    pub(crate) fn block<'f>(
        &'f mut self,
        plan: &'f BlockPlan<'_>,
        rows: Rows,
    ) -> BoxFuture<'f, Result<Rows>> {
        self.run_block(plan, rows).boxed()
    }

    async fn run_block(&mut self, plan: &BlockPlan<'_>, mut rows: Rows) -> Result<Rows> {
        for step in &plan.steps {
            if rows.len() == 0 {
                return Ok(nothing(plan, rows));
            }
            let started = self.profile.is_some().then(Instant::now);
            rows = match &step.action {
                Action::Filter(conditions) => self.filter(rows, conditions).await?,
                Action::CheckHop(hop) => self.check_hop(hop, rows).await?,
                Action::Lookup { var, id } => self.look_up_rows(*var, id, rows).await?,
                Action::Expand { hop, from_left } => self.expand(hop, *from_left, rows).await?,
                Action::Scan { var, own, join } => self.scan(*var, own, *join, rows).await?,
                Action::Without {
                    block,
                    plan,
                    shared,
                } => self.without(block, plan, shared, rows).await?,
                Action::LeftJoin { plan, shared, step } => {
                    self.left_join(plan, shared, *step, rows).await?
                }
            };
            if let (Some(profile), Some(started)) = (&mut self.profile, started) {
                profile.add(step.op, rows.len(), started);
            }
            self.guard.pause().await?;
        }
        Ok(rows)
    }

    /// Binds a variable to the entity with an id; of several types there may be several.
    async fn look_up_rows(&mut self, var: VarId, id: &KnownId<'_>, mut rows: Rows) -> Result<Rows> {
        let id = match id {
            KnownId::Id(id) => match self.constant(id)? {
                Value::String(id) => Some(id),
                _ => None,
            },
            KnownId::Key(members) => self.key_id(members)?,
        };
        self.rows_scanned += 1;
        let found = match id {
            Some(id) => self.space(var).await?.numbers_of(&id).await?,
            None => Vec::new(),
        };
        match found.as_slice() {
            [] => rows.clear(),
            [_] => {}
            several => {
                let each = |row: u32| std::iter::repeat_n(row, several.len());
                rows = rows.select(&(0..rows.len() as u32).flat_map(each).collect::<Vec<_>>());
                let numbers = several.repeat(rows.len() / several.len());
                rows.bind(var, numbers);
                return Ok(rows);
            }
        }
        rows.bind(var, found.repeat(rows.len()));
        Ok(rows)
    }

    /// `None`: no entity can have the key.
    fn key_id(&self, members: &[&Expr]) -> Result<Option<String>> {
        let mut spelled = Vec::with_capacity(members.len());
        for member in members {
            match spell(&self.constant(member)?) {
                Ok(text) => spelled.push(text),
                Err(_) => return Ok(None),
            }
        }
        Ok(Some(derive_id(&spelled)))
    }
}

/// No rows, with all variables bound.
fn nothing(plan: &BlockPlan<'_>, mut rows: Rows) -> Rows {
    rows.clear();
    for var in &plan.introduces {
        rows.bind(*var, Vec::new());
    }
    rows
}
