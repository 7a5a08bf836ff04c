//! One graph, ready to serve: immutable, built beside the one that is being served.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use omnigraph_control_plane::serving::{ServingGraph, ServingQuery};
use omnigraph_engine::{
    CommitId, Engine, Error, ErrorKind, Graph, ReadOptions, SchemaVersion, Snapshot, Target,
};
use omnigraph_lang::query::{Body, CheckedQuery, Param};

use crate::embedding::{self, Environment, Provider};
use crate::revision_source::{RevisionSource, SourceError};
use crate::state::{ReasonCode, Trouble};

/// Query texts that are fetched at the same time.
const FETCHES_MAX: usize = 16;

/// What serves the requests of one graph.
#[derive(Debug)]
pub(crate) struct Generation {
    /// The graph; clones share what they know.
    pub graph: Graph,
    /// What makes vectors of texts.
    pub embedding: Option<Arc<Provider>>,
    /// The schema at the head of `main` when the generation was built.
    pub schema: Arc<SchemaVersion>,
    /// The commit that brought that schema.
    pub schema_commit: CommitId,
    /// The stored queries by name.
    pub queries: BTreeMap<String, StoredQuery>,
}

/// One stored query. It is checked again against the schema of each commit that it runs on.
#[derive(Debug)]
pub(crate) struct StoredQuery {
    /// Its name.
    pub name: String,
    /// Its text.
    pub source: String,
    /// Whether it writes.
    pub mutation: bool,
    /// What it takes.
    pub params: Vec<Param>,
    /// What it is for.
    pub description: Option<String>,
    /// How to use it.
    pub instruction: Option<String>,
}

/// Builds the generation of one graph. An earlier one of the same incarnation lends its handle, so
/// that writers keep their queue and readers their caches.
pub(crate) async fn build(
    engine: &Engine,
    source: &dyn RevisionSource,
    spec: &ServingGraph,
    previous: Option<&Generation>,
    environment: &Environment,
) -> Result<Generation, Trouble> {
    let known = previous.and_then(|previous| previous.embedding.as_ref());
    let embedding = embedding::resolve(spec.embedding.as_ref(), environment, known)?;
    let pending = spec.pending_operation.as_deref();
    let graph = match previous.filter(|previous| *previous.graph.root() == spec.root) {
        Some(previous) => previous.graph.clone(),
        None => {
            let opened = engine.open_graph(&spec.root).await;
            opened.map_err(|error| unreadable(&error, pending))?
        }
    };
    let graph = admitting(&graph, spec)?;
    let on_write = spec.embedding.as_ref().is_some_and(|spec| spec.on_write);
    let lent = embedding
        .as_ref()
        .map(|provider| embedding::lend(provider, on_write));
    let graph = graph.with_embedding(lent);
    let head = graph
        .snapshot(&Target::default(), &ReadOptions::default())
        .await
        .map_err(|error| unreadable(&error, pending))?;
    let queries = stream::iter(spec.queries.clone())
        .map(|query| load(source, query))
        .buffer_unordered(FETCHES_MAX)
        .try_collect::<Vec<_>>()
        .await?;
    let mut checked = BTreeMap::new();
    for (name, text) in queries {
        let query = check(&graph, &head, spec, &name, &text).await?;
        checked.insert(name.clone(), StoredQuery::new(name, text, &query));
    }
    Ok(Generation {
        schema: head.schema().clone(),
        schema_commit: head.commit().schema_commit,
        graph,
        embedding,
        queries: checked,
    })
}

/// The graph for writers who may name the external objects that the revision declares.
fn admitting(graph: &Graph, spec: &ServingGraph) -> Result<Graph, Trouble> {
    let unusable = |message: String| Trouble {
        code: ReasonCode::CatalogDigestMismatch,
        message,
    };
    let bases = spec.external_blobs().map_err(|e| unusable(e.to_string()))?;
    let graph = graph.with_external_blobs(&bases);
    graph.map_err(|error| unusable(error.to_string()))
}

async fn load(
    source: &dyn RevisionSource,
    query: ServingQuery,
) -> Result<(String, String), Trouble> {
    match source.query_source(&query).await {
        Ok(text) => Ok((query.name, text)),
        Err(error) => Err(Trouble {
            code: match error {
                SourceError::Unreachable(_) => ReasonCode::GraphUnreadable,
                SourceError::Content(_) | SourceError::Unreadable(_) => {
                    ReasonCode::CatalogDigestMismatch
                }
            },
            message: format!("query '{}' cannot be loaded: {error}", query.name),
        }),
    }
}

/// Whether the query fits the graph as it is now. If it does not, the reason is the schema where
/// that is not the applied one.
async fn check(
    graph: &Graph,
    head: &Snapshot,
    spec: &ServingGraph,
    name: &str,
    text: &str,
) -> Result<Arc<CheckedQuery>, Trouble> {
    let compiled = graph.compile(head, text, Some(name)).await;
    compiled.map_err(|error| {
        let moved = head.schema().meaning != spec.schema_digest;
        let (code, cause) = match (moved, &spec.pending_operation) {
            (false, _) => (ReasonCode::QueryInvalid, String::new()),
            (true, None) => (
                ReasonCode::SchemaMismatch,
                "the graph's schema is not the applied one: ".to_owned(),
            ),
            (true, Some(operation)) => (
                ReasonCode::RecoveryPending,
                format!("operation {operation} is unfinished: "),
            ),
        };
        Trouble {
            code,
            message: format!("{cause}query '{name}' does not check: {error}"),
        }
    })
}

fn unreadable(error: &Error, pending: Option<&str>) -> Trouble {
    let code = match (error.kind(), pending) {
        (ErrorKind::NotFound, Some(_)) => ReasonCode::RecoveryPending,
        _ => ReasonCode::GraphUnreadable,
    };
    Trouble {
        code,
        message: error.to_string(),
    }
}

impl StoredQuery {
    fn new(name: String, source: String, query: &CheckedQuery) -> Self {
        StoredQuery {
            name,
            source,
            mutation: is_mutation(query),
            params: query.params.clone(),
            description: query.description.clone(),
            instruction: query.instruction.clone(),
        }
    }
}

/// Whether a query writes.
pub(crate) fn is_mutation(query: &CheckedQuery) -> bool {
    matches!(query.body, Body::Mutation(_))
}
