//! Mutations: statements run on a commit, the whole validated, one commit or none.
//!
//! The statements are run, and what they write is uploaded, before the branch's turn comes (storage
//! protocol, section 4). If nothing that they looked at has moved until then, all that is left is
//! to name the files in new versions; if something has, they are run again, and what comes out as
//! it did before is not uploaded again.

mod run;
mod stock;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::FutureExt;
use omnigraph_lang::query::{Body, CheckedQuery, Statement, bind_params};
use omnigraph_lang::schema::TypeId;
use omnigraph_lang::{Code, Diagnostic};
use serde::{Deserialize, Serialize};

use self::run::{Done, run};
use self::stock::Stock;
use super::embedding::Texts;
use super::statement::StatementOutcome;
use super::view::{AddedBatches, StagedTables, View};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::idempotency::{Keyed, recorded};
use crate::graph::writer::Write;
use crate::graph::{
    Attempt, Base, BranchName, Commit, CommitId, CommitKind, CommitRequest, Graph, Staged,
    TableRef, TypeGate, TypeUse, WriteOptions,
};
use crate::table::{Appended, TableChange};

/// So many bytes of rows are uploaded while the branch's turn is held; more only when the write has
/// given it up often enough.
const UPLOADED_IN_TURN: usize = 1 << 20;

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
            params: in_order(params),
            now: self.store().clock().now_micros().div_euclid(1000),
            ready: None,
            stock: Stock::new(self.store()),
            types: options.types.as_ref(),
            staged: None,
            texts: Texts::new(self.embedding()),
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
    /// The last run, if no version was made of it yet.
    ready: Option<Ready>,
    /// What was uploaded so far.
    stock: Stock,
    types: Option<&'a TypeGate>,
    /// Vectors that were computed so far.
    texts: Texts,
    /// What the last run staged, and on what.
    staged: Option<(View, StagedTables, AddedBatches)>,
}

/// What the caller gets; kept with the commit for repeats of a request with a key.
#[derive(Clone, Serialize, Deserialize)]
struct Answer {
    query_name: String,
    statements: Vec<StatementOutcome>,
    #[serde(skip)]
    warnings: Vec<Diagnostic>,
    #[serde(skip)]
    replayed: bool,
}

impl Answer {
    /// Of an attempt that came to nothing.
    fn none() -> Self {
        Self {
            query_name: String::new(),
            statements: Vec::new(),
            warnings: Vec::new(),
            replayed: false,
        }
    }
}

#[async_trait]
impl Write for Mutation<'_> {
    type Answer = Answer;

    fn can_prepare(&self) -> bool {
        true
    }

    async fn prepare(&mut self, base: &Base) -> Result<()> {
        let view = View::new(self.graph, &base.snapshot);
        let ready = match self.ready.take().filter(|ready| ready.fits(base)) {
            Some(ready) => ready,
            None => self.run(&view, true).await,
        };
        let uploaded = match &ready.ran {
            Ok((_, done)) => self.stock.upload(&view, done).await,
            Err(_) => Ok(()),
        };
        self.ready = Some(ready);
        uploaded
    }

    async fn attempt(&mut self, base: &Base) -> Result<(Answer, Attempt)> {
        let view = View::new(self.graph, &base.snapshot);
        let ready = match self.ready.take().filter(|ready| ready.fits(base)) {
            Some(ready) => ready,
            None => self.run(&view, !base.may_yield).await,
        };
        if self.texts.missed() {
            return Ok((Answer::none(), Attempt::Yield));
        }
        if let Ok((answer, done)) = &ready.ran
            && base.may_yield
            && self.stock.missing_bytes(&view, done) > UPLOADED_IN_TURN
        {
            let answer = answer.clone();
            self.ready = Some(ready);
            return Ok((answer, Attempt::Yield));
        }
        let (answer, done) = ready.ran?;
        if done.gone.is_empty() {
            return Ok((answer, Attempt::Nothing));
        }
        self.stock.upload(&view, &done).await?;
        let mut changes = BTreeMap::new();
        for (id, delete) in done.gone {
            let append = match done.batches.get(&id) {
                Some(batch) => Appended::Fragments(self.stock.fragments(&view, id, batch)?),
                None => Appended::None,
            };
            let change = TableChange {
                append,
                delete,
                truncate: false,
            };
            changes.insert(id, change);
        }
        let tables = view.stage(changes).await?;
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

/// A run, and what it was made on.
struct Ready {
    commit: CommitId,
    schema: String,
    /// The tables that it looked at, as they were.
    tables: BTreeMap<TypeId, Option<TableRef>>,
    ran: Result<(Answer, Done)>,
}

impl Ready {
    fn of(view: &View, ran: Result<(Answer, Done)>) -> Self {
        let commit = &view.snapshot.commit;
        let looked_at = ran.iter().flat_map(|(_, done)| {
            let changed = done.gone.keys();
            changed.chain(&done.read)
        });
        Self {
            commit: commit.id,
            schema: commit.schema.clone(),
            tables: looked_at
                .map(|id| (*id, commit.tables.get(id).cloned()))
                .collect(),
            ran,
        }
    }

    /// Whether a run on this base would be the same. What an unsuccessful one has looked at is not
    /// known.
    fn fits(&self, base: &Base) -> bool {
        let commit = &base.snapshot.commit;
        let unmoved =
            |(id, table): (&TypeId, &Option<TableRef>)| commit.tables.get(id) == table.as_ref();
        commit.id == self.commit
            || (self.ran.is_ok() && commit.schema == self.schema && self.tables.iter().all(unmoved))
    }
}

impl Mutation<'_> {
    /// `may_ask`: whether texts may be given to the embedder now.
    async fn run(&mut self, view: &View, may_ask: bool) -> Ready {
        self.stock.forget_old();
        self.texts.allow(may_ask);
        let ran = self.run_once(view).await;
        Ready::of(view, ran)
    }

    async fn run_once(&mut self, view: &View) -> Result<(Answer, Done)> {
        let snapshot = &view.snapshot;
        let query = self.graph.compile(snapshot, self.source, self.name).await?;
        let statements = statements(&query)?;
        if let Some(gate) = self.types {
            admit(gate, &query)?;
        }
        let bound = bind_params(&query.params, Some(&self.params))
            .map_err(|found| Error::diagnostics(ErrorKind::Invalid, found))?;
        let stored = &mut self.stock.blobs;
        let texts = &mut self.texts;
        let run = run(view, statements, &bound.values, self.now, stored, texts).boxed();
        let done = match query.timeout {
            None => run.await?,
            Some(limit) => tokio::time::timeout(limit, run)
                .await
                .map_err(|_| timed_out(&query))??,
        };
        let answer = Answer {
            query_name: query.name.clone(),
            statements: done.statements.clone(),
            warnings: query
                .warnings
                .iter()
                .cloned()
                .chain(bound.warnings)
                .collect(),
            replayed: false,
        };
        Ok((answer, done))
    }
}

/// Parameters are the same whatever order they come in: requests are told apart by their text.
fn in_order(params: &serde_json::Map<String, serde_json::Value>) -> serde_json::Value {
    let mut params = serde_json::Value::Object(params.clone());
    params.sort_all_objects();
    params
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
