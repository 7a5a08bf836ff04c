//! Mutations: statements run on a commit, the whole validated, one commit or none.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use omnigraph_lang::query::{Body, CheckedQuery, Statement, bind_params};
use omnigraph_lang::schema::TypeId;
use omnigraph_lang::value::Value;
use omnigraph_lang::{Code, Diagnostic};
use serde::{Deserialize, Serialize};

use super::added::{Added, NewRows, Repeated};
use super::blobs::{self, Incoming};
use super::overlay::{Overlay, Pending};
use super::rows::to_batch;
use super::statement::{Runner, StatementOutcome};
use super::validate::{Changed, FinalState, Gone, TableState, tables_read};
use super::view::{AddedBatches, StagedTables, View};
use super::violations::Violations;
use crate::error::{Error, ErrorKind, Result};
use crate::exec::expr::EvalContext;
use crate::graph::idempotency::{Keyed, recorded};
use crate::graph::writer::Write;
use crate::graph::{
    Attempt, Base, BranchName, Commit, CommitKind, CommitRequest, Graph, Staged, Touched, TypeGate,
    TypeUse, WriteOptions,
};
use crate::table::{Appended, TableChange};

/// What a mutation did.
#[derive(Clone, Debug)]
pub struct MutationOutcome {
    /// The branch that it ran on.
    pub branch: BranchName,
    /// The query's name.
    pub query_name: String,
    /// Nodes written, matched or removed, over all statements.
    pub affected_nodes: u64,
    /// Edges written, matched or removed, over all statements.
    pub affected_edges: u64,
    /// Each statement by itself.
    pub statements: Vec<StatementOutcome>,
    /// Findings about the query and its parameters.
    pub warnings: Vec<Diagnostic>,
    /// None if nothing changed.
    pub commit: Option<Commit>,
    /// Whether this is the answer of an earlier request with the same idempotency key.
    pub replayed: bool,
}

impl Graph {
    /// Runs a mutation and commits what it changes.
    ///
    /// # Errors
    /// `Invalid` with diagnostics for a wrong query, wrong parameters, or data that breaks the
    /// schema; then nothing is written.
    pub async fn mutate(
        &self,
        branch: &BranchName,
        source: &str,
        name: Option<&str>,
        params: &serde_json::Map<String, serde_json::Value>,
        options: &WriteOptions,
    ) -> Result<MutationOutcome> {
        let mut mutation = Mutation {
            graph: self,
            branch,
            source,
            name,
            params: serde_json::Value::Object(params.clone()),
            now: self.store().clock().now_micros().div_euclid(1000),
            types: options.types.as_ref(),
            staged: None,
        };
        let request = CommitRequest {
            branch,
            options,
            fork_from: None,
        };
        let (answer, commit) = self.commit_with(request, &mut mutation).await?;
        if let (Some(_), false, Some((view, staged, added))) =
            (&commit, answer.replayed, &mutation.staged)
        {
            view.remember(staged, added).await;
        }
        Ok(MutationOutcome {
            branch: branch.clone(),
            query_name: answer.query_name,
            affected_nodes: answer.statements.iter().map(|s| s.nodes).sum(),
            affected_edges: answer.statements.iter().map(|s| s.edges).sum(),
            statements: answer.statements,
            warnings: answer.warnings,
            replayed: answer.replayed,
            commit: commit.map(Arc::unwrap_or_clone),
        })
    }
}

struct Mutation<'a> {
    graph: &'a Graph,
    branch: &'a BranchName,
    source: &'a str,
    name: Option<&'a str>,
    params: serde_json::Value,
    /// When the request began, epoch ms; the same in every run.
    now: i64,
    types: Option<&'a TypeGate>,
    /// What the last run staged, and on what.
    staged: Option<(View, StagedTables, AddedBatches)>,
}

/// What the caller gets; kept with the commit for repeats of a request with a key.
#[derive(Serialize, Deserialize)]
struct Answer {
    query_name: String,
    statements: Vec<StatementOutcome>,
    #[serde(skip)]
    warnings: Vec<Diagnostic>,
    #[serde(skip)]
    replayed: bool,
}

#[async_trait]
impl Write for Mutation<'_> {
    type Answer = Answer;

    async fn attempt(&mut self, base: &Base) -> Result<(Answer, Attempt)> {
        let snapshot = &base.snapshot;
        let query = self.graph.compile(snapshot, self.source, self.name).await?;
        let statements = statements(&query)?;
        if let Some(gate) = self.types {
            admit(gate, &query)?;
        }
        let bound = bind_params(&query.params, Some(&self.params))
            .map_err(|found| Error::diagnostics(ErrorKind::Invalid, found))?;
        let view = View::new(self.graph, snapshot);
        let run = run(&view, statements, &bound.values, self.now).boxed();
        let done = match query.timeout {
            None => run.await?,
            Some(limit) => tokio::time::timeout(limit, run)
                .await
                .map_err(|_| timed_out(&query))??,
        };
        let answer = Answer {
            query_name: query.name.clone(),
            statements: done.statements,
            warnings: query
                .warnings
                .iter()
                .cloned()
                .chain(bound.warnings)
                .collect(),
            replayed: false,
        };
        if done.changes.is_empty() {
            return Ok((answer, Attempt::Nothing));
        }
        blobs::store(&view, done.blobs).await?;
        let tables = view.stage(done.changes).await?;
        self.staged = Some((view, tables.clone(), done.batches));
        let staged = Staged {
            tables,
            read: done.read,
            touched: done.touched,
            kind: CommitKind::Mutate,
        };
        Ok((answer, Attempt::Staged(staged)))
    }

    fn keyed(&self, options: &WriteOptions) -> Result<Option<Keyed>> {
        // An operation with a name of its own stands for its source.
        let source = options.operation.is_none().then_some(self.source);
        Keyed::of(options, "mutate", |request| {
            request
                .field(self.branch.as_str())
                .maybe(source)
                .maybe(self.name)
                .field(&self.params.to_string())
        })
    }

    fn record(&self, answer: &Answer) -> Option<serde_json::Value> {
        serde_json::to_value(answer).ok()
    }

    fn replay(&mut self, commit: &Commit) -> Result<Answer> {
        let mut answer: Answer = recorded(commit)?;
        answer.replayed = true;
        Ok(answer)
    }
}

/// Asks about every type that the query may touch. Another schema may have been applied since the
/// last attempt, so each one asks.
fn admit(gate: &TypeGate, query: &CheckedQuery) -> Result<()> {
    let operation = &query.operation;
    for written in &operation.writes {
        gate.check(TypeUse::Write, &written.type_name)?;
    }
    for read in &operation.reads {
        gate.check(TypeUse::Read, &read.type_name)?;
    }
    Ok(())
}

/// What a run came to, valid and not yet written.
struct Done {
    statements: Vec<StatementOutcome>,
    changes: BTreeMap<TypeId, TableChange>,
    batches: AddedBatches,
    /// Content that the rows name and that is to be stored before them.
    blobs: BTreeMap<TypeId, Incoming>,
    read: BTreeSet<TypeId>,
    touched: Vec<Touched>,
}

fn statements(query: &CheckedQuery) -> Result<&[Statement]> {
    match &query.body {
        Body::Mutation(statements) => Ok(statements),
        Body::Read(_) => Err(Error::diagnostics(
            ErrorKind::Invalid,
            vec![Diagnostic::error(
                Code::R435,
                format!("query {} reads, it cannot be run as a mutation", query.name),
            )],
        )
        .with_hint("run it as a query")),
    }
}

fn timed_out(query: &CheckedQuery) -> Error {
    let message = format!("query {} took longer than its @timeout", query.name);
    Error::diagnostics(
        ErrorKind::Deadline,
        vec![Diagnostic::error(Code::R450, message)],
    )
}

async fn run(view: &View, statements: &[Statement], params: &[Value], now: i64) -> Result<Done> {
    let context = EvalContext { params, now };
    let mut runner = Runner::new(Overlay::new(view), context);
    for statement in statements {
        // Boxed, because the futures of table operations are deep.
        runner.run(statement).boxed().await?;
    }
    // Rows that break a rule by themselves cannot stand in a table: what the others would come to
    // is not known before they are right.
    runner.violations.into_result(ErrorKind::Invalid)?;
    let mut violations = Violations::default();
    let looked_at = runner.overlay.into_types();
    let mut read: BTreeSet<TypeId> = looked_at.keys().copied().collect();
    let mut changed: BTreeMap<TypeId, Pending> = looked_at
        .into_iter()
        .filter(|(_, pending)| pending.is_changed())
        .collect();
    let mut blobs = runner.blobs;
    blobs::settle(view, &mut changed, &mut blobs, &mut violations)
        .boxed()
        .await?;
    if !violations.is_empty() {
        return Err(violations.into_error(ErrorKind::Invalid));
    }
    let batches = batches(view, &changed)?;
    read.extend(
        check(view, &changed, &batches, &mut violations)
            .boxed()
            .await?,
    );
    violations.into_result(ErrorKind::Invalid)?;

    let mut changes = BTreeMap::new();
    let mut touched = Vec::new();
    for (id, pending) in changed {
        let entity = entity(view, id)?;
        let updated = pending.updated() as u64;
        touched.push(Touched {
            edge: entity.kind() == omnigraph_lang::schema::EntityKind::Edge,
            type_name: entity.body().name.clone(),
            inserted: pending.rows.len() as u64 - updated,
            updated,
            deleted: pending.gone.len() as u64 - updated,
        });
        let mut gone: Vec<u32> = pending.gone.into_iter().collect();
        gone.sort_unstable();
        let change = TableChange {
            append: match batches.get(&id) {
                Some(batch) => Appended::Batches(vec![batch.clone()]),
                None => Appended::None,
            },
            delete: gone
                .iter()
                .map(|o| pending.stored.row_address(*o))
                .collect(),
            truncate: false,
        };
        changes.insert(id, change);
    }
    Ok(Done {
        statements: runner.outcomes,
        changes,
        batches,
        blobs,
        read,
        touched,
    })
}

fn entity(view: &View, id: TypeId) -> Result<omnigraph_lang::schema::EntityType<'_>> {
    view.catalog()
        .entity(id)
        .ok_or_else(|| Error::internal("a statement names a type that the schema lacks"))
}

/// The pending rows in the form of their tables.
fn batches(view: &View, changed: &BTreeMap<TypeId, Pending>) -> Result<AddedBatches> {
    let with_rows = changed
        .iter()
        .filter(|(_, pending)| !pending.rows.is_empty());
    with_rows
        .map(|(id, pending)| Ok((*id, to_batch(entity(view, *id)?, pending.rows.values())?)))
        .collect()
}

/// Checks the final state; which tables that took.
async fn check(
    view: &View,
    changed: &BTreeMap<TypeId, Pending>,
    batches: &AddedBatches,
    violations: &mut Violations,
) -> Result<BTreeSet<TypeId>> {
    let catalog = view.catalog();
    let mut added = Added::default();
    for (id, batch) in batches {
        let rows = NewRows {
            batch,
            lines: &[],
            fresh: &[],
        };
        added.push(entity(view, *id)?, &rows, Repeated::Refused, violations)?;
    }
    let changes = changed
        .iter()
        .map(|(id, pending)| {
            let adds = !pending.rows.is_empty();
            (
                *id,
                Changed {
                    adds,
                    empties: false,
                },
            )
        })
        .collect();
    let read = tables_read(catalog, &changes);
    let mut tables = BTreeMap::new();
    for (id, pending) in changed {
        let gone = Gone::Some(pending.gone.clone());
        let look_up = read.contains(id) && catalog.node_by_id(*id).is_some();
        let state = TableState::new(Arc::clone(&pending.stored), gone, look_up).await?;
        tables.insert(*id, state);
    }
    for id in &read {
        if !tables.contains_key(id) {
            let stored = view.table(*id).await?;
            tables.insert(*id, TableState::new(stored, Gone::default(), true).await?);
        }
    }
    let state = FinalState {
        catalog,
        added: &added,
        tables,
    };
    state.check(violations).await?;
    Ok(read)
}
