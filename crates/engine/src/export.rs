//! Export: a snapshot as NDJSON that a load reads back (schema language, section 9).

mod blobs;

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::{Stream, StreamExt};
use lance::dataset::scanner::ColumnOrdering;
use omnigraph_lang::schema::{Catalog, DataType, EntityKind, EntityType, TypeId};
use omnigraph_lang::value::{self, Blob, Int64Style, KeptBlob, Value};

use self::blobs::{Filling, Hole};
use crate::error::{Error, Result};
use crate::exec::values::value_at;
use crate::graph::{Graph, Snapshot};

/// A chunk of the output is sent when it has so many bytes.
const CHUNK: usize = 64 << 10;
/// Rows that are read together.
const BATCH_ROWS: usize = 2048;
/// Memory for sorting one table by id; what does not fit is put on local disk.
const SORT_MEMORY: usize = 128 << 20;

impl Graph {
    /// The entities of the snapshot, one line each: node types before edge types, each by name,
    /// entities by id. No names mean all types.
    ///
    /// # Errors
    /// `NotFound` for a name that is no node and no edge type.
    pub async fn export(
        &self,
        snapshot: &Snapshot,
        type_names: &[String],
    ) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
        let types = selected(&snapshot.schema.catalog, type_names)?;
        Ok(self.export_types(snapshot, types))
    }

    /// The entities of these types, in this order of types.
    pub(crate) fn export_types(
        &self,
        snapshot: &Snapshot,
        types: VecDeque<TypeId>,
    ) -> impl Stream<Item = Result<Bytes>> + Send + use<> {
        let state = Export {
            types,
            snapshot: snapshot.clone(),
            current: None,
            filling: None,
            buffer: Vec::with_capacity(CHUNK),
        };
        futures::stream::try_unfold(state, |mut state| async move {
            let chunk = state.next_chunk().await?;
            Ok(chunk.map(|chunk| (chunk, state)))
        })
    }
}

struct Export {
    snapshot: Snapshot,
    /// Types still to come.
    types: VecDeque<TypeId>,
    current: Option<(TypeId, SendableRecordBatchStream)>,
    /// Lines of the current batch that still lack the content of blobs.
    filling: Option<Filling>,
    /// What is not sent yet. A line with large blobs is sent in parts.
    buffer: Vec<u8>,
}

impl Export {
    async fn next_chunk(&mut self) -> Result<Option<Bytes>> {
        while self.buffer.len() < CHUNK {
            if let Some(filling) = &mut self.filling {
                if !filling.fill(&mut self.buffer).await? {
                    self.filling = None;
                }
                continue;
            }
            let Some((id, batches)) = &mut self.current else {
                let Some(id) = self.types.pop_front() else {
                    break;
                };
                self.current = Some((id, sorted(&self.snapshot, id).await?));
                continue;
            };
            match batches.next().await {
                None => self.current = None,
                Some(batch) => {
                    let batch = batch.map_err(lance::Error::from)?;
                    let entity = entity(&self.snapshot.schema.catalog, *id)?;
                    let mut holes = Vec::new();
                    if !has_blobs(entity) {
                        write_lines(&mut self.buffer, &mut holes, entity, &batch)?;
                        continue;
                    }
                    let mut text = Vec::new();
                    write_lines(&mut text, &mut holes, entity, &batch)?;
                    let tables = self.snapshot.tables.clone();
                    let table = self.snapshot.table(*id)?.path.clone();
                    self.filling = Some(Filling::new(tables, table, text, holes));
                }
            }
        }
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK));
        Ok(Some(Bytes::from(chunk)))
    }
}

/// All rows of a type in the order of their ids, read in batches.
async fn sorted(snapshot: &Snapshot, id: TypeId) -> Result<SendableRecordBatchStream> {
    let dataset = snapshot.open(id).await?;
    let mut scanner = dataset.scan();
    scanner
        .batch_size(BATCH_ROWS)
        .order_by(Some(vec![ColumnOrdering::asc_nulls_first("id".to_owned())]))?;
    let plan = scanner.create_plan().await?;
    let plan: Arc<dyn ExecutionPlan> = match plan.output_ordering() {
        Some(ordering) if plan.output_partitioning().partition_count() > 1 => {
            let ordering = ordering.clone();
            Arc::new(SortPreservingMergeExec::new(ordering, plan))
        }
        _ => plan,
    };
    execute_stream(plan, spilling_context()?).map_err(|e| lance::Error::from(e).into())
}

fn spilling_context() -> Result<Arc<TaskContext>> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(SORT_MEMORY)))
        .build_arc()
        .map_err(lance::Error::from)?;
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(BATCH_ROWS);
    Ok(SessionContext::new_with_config_rt(config, runtime).task_ctx())
}

/// The types with these names, in the order of an export.
fn selected(catalog: &Catalog, names: &[String]) -> Result<VecDeque<TypeId>> {
    let is_named = |entity: &EntityType<'_>, name: &str| match entity {
        EntityType::Node(node) => node.name == name,
        EntityType::Edge(edge) => edge.name.eq_ignore_ascii_case(name),
    };
    for name in names {
        if !catalog.entities().any(|entity| is_named(&entity, name)) {
            return Err(Error::not_found(format!(
                "no node or edge type is called {name}"
            )));
        }
    }
    let mut types: Vec<EntityType<'_>> = catalog
        .entities()
        .filter(|entity| names.is_empty() || names.iter().any(|name| is_named(entity, name)))
        .collect();
    types.sort_by(|a, b| (a.kind(), &a.body().name).cmp(&(b.kind(), &b.body().name)));
    Ok(types.into_iter().map(|entity| entity.body().id).collect())
}

fn entity(catalog: &Catalog, id: TypeId) -> Result<EntityType<'_>> {
    catalog
        .entity(id)
        .ok_or_else(|| Error::internal("an exported type is missing in its schema"))
}

fn has_blobs(entity: EntityType<'_>) -> bool {
    let mut properties = entity.body().properties.iter();
    properties.any(|property| property.data_type == DataType::Blob)
}

/// Lines with a hole where the content of a blob is to stand.
fn write_lines(
    out: &mut Vec<u8>,
    holes: &mut Vec<Hole>,
    entity: EntityType<'_>,
    batch: &RecordBatch,
) -> Result<()> {
    let body = entity.body();
    let column = |name: &str| {
        batch
            .column_by_name(name)
            .ok_or_else(|| Error::corrupt(format!("table of {} lacks column {name}", body.name)))
    };
    let text = |name: &str| {
        column(name)?
            .as_string_opt::<i32>()
            .ok_or_else(|| Error::corrupt(format!("column {name} of {} is no text", body.name)))
    };
    let ids = text("id")?;
    let ends = match entity.kind() {
        EntityKind::Node => None,
        EntityKind::Edge => Some((text("src")?, text("dst")?)),
    };
    let mut properties = Vec::with_capacity(body.properties.len());
    for property in &body.properties {
        properties.push((json_text(&property.name)?, column(&property.name)?));
    }
    let name = json_text(&body.name)?;
    for row in 0..batch.num_rows() {
        match ends {
            None => put(out, &[r#"{"type":"#, &name]),
            Some((src, dst)) => {
                put(out, &[r#"{"edge":"#, &name, r#","from":"#]);
                write_json(out, src.value(row))?;
                put(out, &[r#","to":"#]);
                write_json(out, dst.value(row))?;
            }
        }
        put(out, &[r#","data":{"id":"#]);
        write_json(out, ids.value(row))?;
        for (name, column) in &properties {
            put(out, &[",", name, ":"]);
            if let Some(texts) = column.as_string_opt::<i32>().filter(|t| t.is_valid(row)) {
                write_json(out, texts.value(row))?;
                continue;
            }
            match value_at(column.as_ref(), row) {
                Value::Blob(Blob::Kept(KeptBlob::Managed(blob))) => {
                    put(out, &["\"base64:"]);
                    holes.push(Hole {
                        at: out.len(),
                        blob,
                    });
                    out.push(b'"');
                }
                value => write_value(out, &value)?,
            }
        }
        out.extend_from_slice(b"}}\n");
    }
    Ok(())
}

/// Dates and times as exact integers, everything else as in results.
fn write_value(out: &mut Vec<u8>, value: &Value) -> Result<()> {
    match value {
        Value::Date(days) => put(out, &[&days.to_string()]),
        Value::DateTime(millis) => put(out, &[&millis.to_string()]),
        Value::List(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_value(out, item)?;
            }
            out.push(b']');
        }
        other => write_json(out, &value::to_json(other, Int64Style::Number))?,
    }
    Ok(())
}

fn put(out: &mut Vec<u8>, parts: &[&str]) {
    parts
        .iter()
        .for_each(|part| out.extend_from_slice(part.as_bytes()));
}

fn write_json(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) -> Result<()> {
    serde_json::to_writer(out, value)
        .map_err(|e| Error::internal("an exported value is no JSON").with_source(e))
}

fn json_text(text: &str) -> Result<String> {
    serde_json::to_string(text)
        .map_err(|e| Error::internal("an exported name is no JSON").with_source(e))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, Date32Array, StringArray};
    use omnigraph_lang::schema::parse_schema;

    use super::*;

    fn catalog(source: &str) -> Catalog {
        parse_schema(source).expect("a valid schema").0
    }

    #[test]
    fn types_are_ordered_and_unknown_ones_refused() {
        let catalog = catalog(
            "node B { k: String @key } node A { k: String @key } edge Z: A -> B edge Y: A -> B",
        );
        let names = |wanted: &[&str]| {
            let wanted: Vec<String> = wanted.iter().map(|n| (*n).to_owned()).collect();
            selected(&catalog, &wanted).map(|types| {
                let name = |id| catalog.entity(id).unwrap().body().name.clone();
                types.into_iter().map(name).collect::<Vec<_>>()
            })
        };
        assert_eq!(names(&[]).unwrap(), ["A", "B", "Y", "Z"]);
        assert_eq!(names(&["z", "B"]).unwrap(), ["B", "Z"]);
        assert!(names(&["b"]).is_err());
    }

    #[test]
    fn lines_are_load_envelopes() {
        let catalog = catalog("node P { k: String @key  d: Date?  t: [String]? } edge E: P -> P");
        let text = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
        let node = EntityType::Node(catalog.node("P").unwrap());
        let mut columns: Vec<(&str, ArrayRef)> = vec![("id", text(vec!["a\"b"]))];
        for property in &node.body().properties {
            let column = match property.name.as_str() {
                "k" => text(vec!["a\"b"]),
                "d" => Arc::new(Date32Array::from(vec![19723])),
                _ => arrow_array::new_null_array(
                    &crate::exec::values::storage_type(&property.data_type),
                    1,
                ),
            };
            columns.push((&property.name, column));
        }
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                .map(|(name, column)| (name, column, true)),
        )
        .unwrap();
        let mut out = Vec::new();
        write_lines(&mut out, &mut Vec::new(), node, &batch).unwrap();
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let expected = serde_json::json!({
            "type": "P", "data": {"id": "a\"b", "k": "a\"b", "d": 19723, "t": null}
        });
        assert_eq!(line, expected);

        let edge = EntityType::Edge(catalog.edge("E").unwrap());
        let columns = ["id", "src", "dst"].map(|name| (name, text(vec![name])));
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut out = Vec::new();
        write_lines(&mut out, &mut Vec::new(), edge, &batch).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"edge\":\"E\",\"from\":\"src\",\"to\":\"dst\",\"data\":{\"id\":\"id\"}}\n"
        );
    }
}
