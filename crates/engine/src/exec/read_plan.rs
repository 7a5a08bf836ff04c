//! The plan of a whole read.

use omnigraph_lang::query::{Arm, CheckedRead};

use super::execution::Execution;
use super::plan::BlockPlan;
use super::profile::OpId;
use crate::error::Result;

pub(crate) struct ReadPlan<'a> {
    /// The first arm and those that are united with it.
    pub arms: Vec<ArmPlan<'a>>,
    /// Order, skip and limit; none if rows come as they are.
    pub order: Option<OpId>,
}

pub(crate) struct ArmPlan<'a> {
    pub arm: &'a Arm,
    pub block: BlockPlan<'a>,
    pub rank: Option<OpId>,
    pub aggregate: Option<OpId>,
    pub project: Option<OpId>,
    pub distinct: Option<OpId>,
    /// With the arms before it.
    pub union: Option<OpId>,
}

impl<'a> Execution<'a> {
    pub(crate) async fn plan_read(&mut self, read: &'a CheckedRead) -> Result<ReadPlan<'a>> {
        let mut arms = Vec::with_capacity(1 + read.unions.len());
        arms.push(self.plan_arm(&read.arm, read.rank.is_some()).await?);
        for (_, arm) in &read.unions {
            let mut plan = self.plan_arm(arm, false).await?;
            plan.union = Some(self.next_op());
            arms.push(plan);
        }
        let cuts = !read.order.is_empty() || read.rank.is_some() || read.skip.is_some();
        Ok(ReadPlan {
            arms,
            order: (cuts || read.limit.is_some()).then(|| self.next_op()),
        })
    }

    async fn plan_arm(&mut self, arm: &'a Arm, ranked: bool) -> Result<ArmPlan<'a>> {
        self.enter(arm);
        Ok(ArmPlan {
            arm,
            block: self.plan(&arm.matches, &[]).await?,
            rank: ranked.then(|| self.next_op()),
            aggregate: arm.grouping.is_some().then(|| self.next_op()),
            project: Some(self.next_op()),
            distinct: arm.distinct.then(|| self.next_op()),
            union: None,
        })
    }
}
