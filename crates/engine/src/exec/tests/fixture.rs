//! Tables of a schema, changed by detached commits as the table layer does.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchIterator};
use arrow_schema::{DataType, Field, Schema};
use async_trait::async_trait;
use lance::Dataset;
use lance::dataset::write::{CommitBuilder, DeleteBuilder, InsertBuilder};
use lance::dataset::{WriteMode, WriteParams};
use omnigraph_lang::query::{CheckedQuery, compile};
use omnigraph_lang::schema::{Catalog, EntityKind, EntityType, TypeId, parse_schema};
use omnigraph_lang::value::{Value, from_json};
use serde_json::{Value as Json, json};

use crate::embed::Embedder;
use crate::error::Result;
use crate::exec::values::{array_of, storage_type};
use crate::exec::{
    QueryContext, QueryLimits, QueryResult, SnapshotCache, TableKey, TableSnapshot, TableSource,
    rows_to_json, run,
};

pub(super) struct Fixture {
    pub(super) catalog: Catalog,
    pub(super) cache: SnapshotCache,
    pub(super) embedder: Option<Arc<dyn Embedder>>,
    tables: HashMap<TypeId, Arc<Dataset>>,
    _directory: tempfile::TempDir,
}

impl Fixture {
    pub(super) async fn new(schema: &str) -> Self {
        let (catalog, _) = parse_schema(schema).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let mut tables = HashMap::new();
        for entity in catalog.entities() {
            let schema = arrow_schema(entity);
            let empty = RecordBatchIterator::new(Vec::new(), schema);
            let path = directory.path().join(entity.body().id.to_string());
            let params = WriteParams {
                mode: WriteMode::Create,
                enable_stable_row_ids: true,
                ..WriteParams::default()
            };
            let dataset = Dataset::write(empty, path.to_str().unwrap(), Some(params))
                .await
                .unwrap();
            tables.insert(entity.body().id, Arc::new(dataset));
        }
        Self {
            catalog,
            cache: SnapshotCache::new(256 << 20),
            embedder: None,
            tables,
            _directory: directory,
        }
    }

    pub(super) fn type_id(&self, name: &str) -> TypeId {
        let node = self.catalog.node(name).map(|n| n.id);
        node.or_else(|| self.catalog.edge(name).map(|e| e.id))
            .unwrap()
    }

    /// Rows as JSON objects: `id`, for edges `src` and `dst`, and properties.
    pub(super) async fn insert(&mut self, type_name: &str, rows: &[Json]) {
        let id = self.type_id(type_name);
        let entity = self.catalog.entity(id).unwrap();
        let schema = arrow_schema(entity);
        let mut arrays = Vec::new();
        for field in schema.fields() {
            let property = entity.body().property(field.name());
            let value = |row: &Json| match (&row[field.name()], property) {
                (Json::Null, _) => Value::Null,
                (value, Some(property)) => from_json(value, &property.data_type).unwrap(),
                (value, None) => Value::String(value.as_str().unwrap().to_owned()),
            };
            let values: Vec<Value> = rows.iter().map(value).collect();
            arrays.push(array_of(field.data_type(), &values).unwrap());
        }
        let batch = RecordBatch::try_new(schema, arrays).unwrap();
        let base = self.tables[&id].clone();
        let params = WriteParams {
            mode: WriteMode::Append,
            ..WriteParams::default()
        };
        let transaction = InsertBuilder::new(base.clone())
            .with_params(&params)
            .execute_uncommitted(vec![batch])
            .await
            .unwrap();
        self.commit(id, base, transaction).await;
    }

    pub(super) async fn delete(&mut self, type_name: &str, predicate: &str) {
        let id = self.type_id(type_name);
        let base = self.tables[&id].clone();
        let deleted = DeleteBuilder::new(base.clone(), predicate)
            .execute_uncommitted()
            .await
            .unwrap();
        self.commit(id, base, deleted.transaction).await;
    }

    async fn commit(
        &mut self,
        id: TypeId,
        base: Arc<Dataset>,
        transaction: lance::dataset::transaction::Transaction,
    ) {
        let committed = CommitBuilder::new(base)
            .with_detached(true)
            .execute(transaction)
            .await
            .unwrap();
        self.tables.insert(id, Arc::new(committed));
    }

    pub(super) fn table(&self, type_name: &str) -> (TableKey, Arc<Dataset>) {
        self.current(self.type_id(type_name))
    }

    /// Goes back to an earlier version, as another branch would.
    pub(super) fn reset(&mut self, type_name: &str, dataset: Arc<Dataset>) {
        self.tables.insert(self.type_id(type_name), dataset);
    }

    fn current(&self, id: TypeId) -> (TableKey, Arc<Dataset>) {
        let dataset = self.tables[&id].clone();
        (
            TableKey::new(&id.to_string(), dataset.version_id()),
            dataset,
        )
    }

    pub(super) async fn snapshot(&self, type_name: &str) -> Arc<TableSnapshot> {
        self.snapshot_in(&self.cache, type_name).await
    }

    pub(super) async fn snapshot_in(
        &self,
        cache: &SnapshotCache,
        type_name: &str,
    ) -> Arc<TableSnapshot> {
        let (key, dataset) = self.table(type_name);
        cache.get(&dataset, &key).await.unwrap()
    }

    pub(super) fn check(&self, source: &str) -> std::result::Result<CheckedQuery, String> {
        match compile(source, &self.catalog) {
            Ok(mut queries) => Ok(queries.remove(0)),
            Err(found) => Err(found[0].code.to_string()),
        }
    }

    pub(super) fn context(&self) -> QueryContext<'_> {
        QueryContext {
            catalog: &self.catalog,
            tables: self,
            cache: &self.cache,
            embedder: self.embedder.as_deref(),
            now: 1_700_000_000_000,
        }
    }

    pub(super) async fn run(
        &self,
        query: &CheckedQuery,
        params: Json,
        limits: &QueryLimits,
    ) -> Result<QueryResult> {
        run(&self.context(), query, params.as_object().unwrap(), limits).await
    }

    /// The rows as arrays of values, or the code of the first error.
    pub(super) async fn rows(
        &self,
        source: &str,
        params: Json,
    ) -> std::result::Result<Vec<Json>, String> {
        let query = self.check(source)?;
        let limits = QueryLimits::default();
        let result = self.run(&query, params, &limits).await.map_err(|error| {
            let diagnostics = &error.detail().diagnostics;
            diagnostics
                .first()
                .map_or_else(|| error.to_string(), |d| d.code.to_string())
        })?;
        let names: Vec<&str> = result.columns.iter().map(|c| c.name.as_str()).collect();
        Ok(rows_to_json(&result, false)
            .map(|text| {
                let object: Json = serde_json::from_str(&text).unwrap();
                json!(
                    names
                        .iter()
                        .map(|name| object[*name].clone())
                        .collect::<Vec<_>>()
                )
            })
            .collect())
    }
}

#[async_trait]
impl TableSource for Fixture {
    async fn dataset(&self, ty: TypeId) -> Result<(TableKey, Arc<Dataset>)> {
        Ok(self.current(ty))
    }
}

fn arrow_schema(entity: EntityType<'_>) -> Arc<Schema> {
    let text = |name| Field::new(name, DataType::Utf8, false);
    let mut fields = vec![text("id")];
    if entity.kind() == EntityKind::Edge {
        fields.extend([text("src"), text("dst")]);
    }
    let properties = entity.body().properties.iter();
    fields.extend(properties.map(|p| Field::new(&p.name, storage_type(&p.data_type), p.nullable)));
    Arc::new(Schema::new(fields))
}
