//! The sources that a configuration names, compiled: each once, however many graphs name it, and
//! all processors at work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use omnigraph_proto::common::v1::Diagnostic;
use parking_lot::Mutex;

use super::{DeclaredQuery, DeclaredSchema, query_paths, read_queries, read_schema};
use crate::bundle::{Config, Files};

/// How much was compiled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compiled {
    pub(crate) schemas: usize,
    /// Query files, once for each schema that they are held against.
    pub(crate) query_files: usize,
}

/// Compiled sources. Findings are told by the first graph that names a source.
pub(super) struct Sources {
    schemas: BTreeMap<String, (Option<Arc<DeclaredSchema>>, Vec<Diagnostic>)>,
    queries: BTreeMap<(String, String), (Vec<DeclaredQuery>, Vec<Diagnostic>)>,
}

impl Sources {
    pub(super) fn compile(config: &Config, files: &Files) -> Self {
        let named = config.graphs.values().map(|graph| graph.schema.0.as_str());
        let named: BTreeSet<&str> = named.filter(|path| files.text(path).is_some()).collect();
        let schemas = in_parallel(named.into_iter().collect(), |path| {
            let mut findings = Vec::new();
            let text = files.text(path).unwrap_or_default();
            let schema = read_schema(text, path, &mut findings).map(Arc::new);
            (path.to_owned(), (schema, findings))
        });
        let schemas: BTreeMap<_, (Option<Arc<DeclaredSchema>>, _)> = schemas.into_iter().collect();
        let mut pairs = BTreeSet::new();
        for graph in config.graphs.values() {
            // What is wrong with the paths is found again, and told, graph by graph.
            let (paths, _) = query_paths(graph, files, &mut Vec::new());
            pairs.extend(paths.into_iter().map(|path| (graph.schema.0.clone(), path)));
        }
        let queries = in_parallel(pairs.into_iter().collect(), |pair| {
            let (schema, path) = &pair;
            let schema = schemas
                .get(schema)
                .and_then(|(schema, _)| schema.as_deref());
            let mut findings = Vec::new();
            let text = files.text(path).unwrap_or_default();
            let found = read_queries(text, path, schema, &mut findings);
            (pair, (found, findings))
        });
        Self {
            schemas,
            queries: queries.into_iter().collect(),
        }
    }

    pub(super) fn schema(
        &mut self,
        path: &str,
        findings: &mut Vec<Diagnostic>,
    ) -> Option<Arc<DeclaredSchema>> {
        let (schema, found) = self.schemas.get_mut(path)?;
        findings.append(found);
        schema.clone()
    }

    pub(super) fn queries(
        &mut self,
        schema: &str,
        path: &str,
        findings: &mut Vec<Diagnostic>,
    ) -> Vec<DeclaredQuery> {
        let pair = (schema.to_owned(), path.to_owned());
        let Some((queries, found)) = self.queries.get_mut(&pair) else {
            return Vec::new();
        };
        findings.append(found);
        queries.clone()
    }

    pub(super) fn compiled(&self) -> Compiled {
        Compiled {
            schemas: self.schemas.len(),
            query_files: self.queries.len(),
        }
    }
}

/// Maps on all processors; the results are in no particular order.
fn in_parallel<I: Send, O: Send>(items: Vec<I>, map: impl Fn(I) -> O + Sync) -> Vec<O> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    if workers == 1 || items.len() < 2 {
        return items.into_iter().map(map).collect();
    }
    let next = AtomicUsize::new(0);
    let items: Vec<Mutex<Option<I>>> = items.into_iter().map(|one| Mutex::new(Some(one))).collect();
    let done = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..workers.min(items.len()) {
            scope.spawn(|| {
                let mut own = Vec::new();
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    own.extend(item.lock().take().map(&map));
                }
                done.lock().append(&mut own);
            });
        }
    });
    done.into_inner()
}
