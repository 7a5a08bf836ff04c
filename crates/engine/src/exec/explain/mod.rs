//! `explain` and `profile`: the plan that runs, for people and programs.

mod logical;
mod node;
mod physical;
mod words;
mod write;

use std::time::Instant;

use omnigraph_lang::Code;
use omnigraph_lang::query::{Body, CheckedQuery, bind_params};
use omnigraph_lang::value::Value;
use serde_json::Map;

pub use node::PlanNode;

use super::execution::{Execution, QueryContext};
use super::expr::rule;
use super::profile::Profile;
use super::read::bounded;
use super::result::{QueryLimits, QueryResult};
use super::rows::Guard;
use crate::error::{Error, ErrorKind, Result};
use crate::write::StatementOutcome;

/// How a query is, or was, carried out.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What the query asks for, as it was written.
    pub logical: PlanNode,
    /// The operators that give it, those that rows come from inside of those that take them.
    pub plan: PlanNode,
}

impl Explanation {
    /// Puts in what the statements of a mutation did.
    pub fn measured(&mut self, statements: &[StatementOutcome]) {
        for (node, outcome) in self.plan.children.iter_mut().zip(statements) {
            node.rows = Some(outcome.nodes + outcome.edges);
        }
    }

    /// Both plans as indented trees.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "{}\nlogical plan\n{}",
            self.plan.text(),
            self.logical.text()
        )
    }
}

/// The plan of a query; nothing is run. Parameters that are given must fit, others may be missing:
/// a plan does not depend on their values.
///
/// # Errors
/// `Invalid` with R431 to R433 for parameters, and what the tables give.
pub(crate) async fn explain(
    ctx: &QueryContext<'_>,
    query: &CheckedQuery,
    params: &Map<String, serde_json::Value>,
) -> Result<Explanation> {
    check_given(query, params)?;
    let logical = logical::plan(ctx.catalog, query);
    let mut execution = Execution::new(*ctx, &[], Guard::new(&QueryLimits::default()));
    execution.explaining = true;
    let plan = match &query.body {
        Body::Read(read) => {
            let plan = execution.plan_read(read).await?;
            physical::read(ctx.catalog, query, read, &plan, None)
        }
        Body::Mutation(statements) => write::plan(&mut execution, query, statements).await?,
    };
    Ok(Explanation { logical, plan })
}

/// Runs a read and measures each operator.
///
/// # Errors
/// Those of running it.
pub(crate) async fn profile(
    ctx: &QueryContext<'_>,
    query: &CheckedQuery,
    params: &Map<String, serde_json::Value>,
    limits: &QueryLimits,
) -> Result<(Explanation, QueryResult)> {
    let started = Instant::now();
    let Body::Read(read) = &query.body else {
        let message = format!("query {} is a mutation", query.name);
        return Err(rule(Code::R435, message));
    };
    let json = serde_json::Value::Object(params.clone());
    let bound = bind_params(&query.params, Some(&json))
        .map_err(|found| Error::diagnostics(ErrorKind::Invalid, found))?;
    let guard = Guard::new(&bounded(query, limits, started));
    let mut execution = Execution::new(*ctx, &bound.values, guard);
    execution.explaining = true;
    execution.profile = Some(Profile::default());
    let plan = execution.plan_read(read).await?;
    let arrays = execution.read(read, &plan).await?;
    let result = super::read::result(&execution, read, arrays, started, bound.warnings)?;
    let profile = execution.profile.take();
    let tree = physical::read(ctx.catalog, query, read, &plan, profile.as_ref());
    let explanation = Explanation {
        logical: logical::plan(ctx.catalog, query),
        plan: tree,
    };
    Ok((explanation, result))
}

/// Parameters that are there must fit.
fn check_given(query: &CheckedQuery, params: &Map<String, serde_json::Value>) -> Result<()> {
    let given: Vec<_> = query
        .params
        .iter()
        .map(|param| {
            let mut param = param.clone();
            if !params.contains_key(&param.name) && param.default.is_none() {
                param.default = Some(Value::Null);
            }
            param
        })
        .collect();
    let json = serde_json::Value::Object(params.clone());
    bind_params(&given, Some(&json))
        .map(|_| ())
        .map_err(|found| Error::diagnostics(ErrorKind::Invalid, found))
}
