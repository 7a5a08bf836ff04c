//! Checked queries of ad-hoc texts.

use std::sync::Arc;

use omnigraph_lang::Code;
use omnigraph_lang::Diagnostic;
use omnigraph_lang::query::{self, CheckedQuery};
use omnigraph_lang::schema::Catalog;
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::error::{Error, ErrorKind, Result};

/// Texts beyond this are checked anew each time.
const MAX_CACHED_SOURCE: usize = 64 * 1024;

/// The queries of recently seen texts, by text and schema. Bounded: the least recently used text
/// goes first.
pub(crate) struct PlanCache {
    entries: Mutex<Entries>,
    capacity: usize,
}

/// Digest of the schema and text.
type Key = (Box<str>, Box<str>);
type Queries = Arc<Vec<Arc<CheckedQuery>>>;

#[derive(Default)]
struct Entries {
    by_key: FxHashMap<Key, (u64, Queries)>,
    tick: u64,
}

impl PlanCache {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            entries: Mutex::default(),
            capacity: capacity.max(1),
        }
    }

    /// The query with this name; without a name the only one of the text.
    ///
    /// # Errors
    /// `Invalid` with diagnostics, or if several queries need a name; `NotFound` for a name that
    /// the text does not have.
    pub(crate) fn compile(
        &self,
        schema_digest: &str,
        catalog: &Catalog,
        source: &str,
        name: Option<&str>,
    ) -> Result<Arc<CheckedQuery>> {
        let queries = self.queries(schema_digest, catalog, source)?;
        match (name, queries.as_slice()) {
            (Some(name), all) => all.iter().find(|q| q.name == name).cloned().ok_or_else(|| {
                let found = Diagnostic::error(Code::R434, format!("there is no query {name}"));
                Error::diagnostics(ErrorKind::NotFound, vec![found])
            }),
            (None, [only]) => Ok(only.clone()),
            (None, []) => Err(Error::invalid("the text has no query")),
            (None, all) => Err(
                Error::invalid(format!("the text has {} queries", all.len()))
                    .with_hint("name the query to run"),
            ),
        }
    }

    fn queries(&self, schema_digest: &str, catalog: &Catalog, source: &str) -> Result<Queries> {
        let key: Key = (schema_digest.into(), source.into());
        {
            let mut entries = self.entries.lock();
            entries.tick += 1;
            let tick = entries.tick;
            if let Some((used, queries)) = entries.by_key.get_mut(&key) {
                *used = tick;
                return Ok(queries.clone());
            }
        }
        let queries = query::compile(source, catalog)
            .map_err(|found| Error::diagnostics(ErrorKind::Invalid, found))?;
        let queries = Arc::new(queries.into_iter().map(Arc::new).collect::<Vec<_>>());
        if source.len() <= MAX_CACHED_SOURCE {
            self.insert(key, queries.clone());
        }
        Ok(queries)
    }

    fn insert(&self, key: Key, queries: Queries) {
        let mut entries = self.entries.lock();
        if entries.by_key.len() >= self.capacity {
            let oldest = entries.by_key.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                entries.by_key.remove(&oldest);
            }
        }
        let tick = entries.tick;
        entries.by_key.insert(key, (tick, queries));
    }
}

#[cfg(test)]
mod tests {
    use omnigraph_lang::schema::parse_schema;

    use super::*;

    #[test]
    fn the_oldest_text_goes_first_and_names_decide() {
        let (catalog, _) = parse_schema("node N { name: String @key }").unwrap();
        let cache = PlanCache::new(2);
        let text =
            |name: &str| format!("query {name}() {{ match {{ $n: N }} return {{ $n.name }} }}");
        let compile = |source: &str, name| cache.compile("digest", &catalog, source, name);
        let first = compile(&text("a"), None).unwrap();
        compile(&text("b"), None).unwrap();
        assert!(Arc::ptr_eq(&first, &compile(&text("a"), None).unwrap()));
        compile(&text("c"), None).unwrap();
        assert!(Arc::ptr_eq(&first, &compile(&text("a"), None).unwrap()));
        assert_eq!(cache.entries.lock().by_key.len(), 2);
        let two = text("a") + &text("b");
        assert_eq!(compile(&two, None).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(compile(&two, Some("b")).unwrap().name, "b");
        assert_eq!(
            compile(&two, Some("c")).unwrap_err().kind(),
            ErrorKind::NotFound
        );
    }
}
