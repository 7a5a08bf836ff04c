//! Reading rows of one version by fragment and offset, with the columns of a given type.

use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{Field, Schema};
use futures::{StreamExt, TryStreamExt};
use lance::Dataset;
use lance::dataset::fragment::FragReadConfig;
use omnigraph_lang::schema::{EntityKind, EntityType, TypeId};

use super::fragments::{Rows, file_fragment};
use crate::error::{Error, Result};
use crate::exec::values::storage_type;
use crate::graph::SchemaVersion;
use crate::table::blob;

/// Fragments that are read in parallel.
const FRAGMENTS_AT_ONCE: usize = 8;

/// A version of a table, the schema under which its columns have their names, and the schema under
/// which its rows are wanted.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) id: TypeId,
    pub(super) dataset: Arc<Dataset>,
    pub(super) stored: Arc<SchemaVersion>,
    pub(super) wanted: Arc<SchemaVersion>,
}

impl Version {
    /// The type whose columns the rows get.
    pub(super) fn wanted(&self) -> Result<EntityType<'_>> {
        entity(&self.wanted, self.id)
    }

    /// The ids of rows: one array per entry.
    pub(super) async fn ids(&self, rows: &[Rows]) -> Result<Vec<ArrayRef>> {
        // Made before the stream, because a closure in it would have to hold for any lifetime.
        let reads: Vec<_> = rows.iter().map(|rows| self.take(rows, &["id"])).collect();
        let batches = futures::stream::iter(reads).buffered(FRAGMENTS_AT_ONCE);
        let ids = batches.map_ok(|batch| batch.column(0).clone());
        ids.try_collect().await
    }

    /// Whole rows: one batch per entry.
    pub(super) async fn rows(&self, rows: &[Rows]) -> Result<Vec<Arc<RecordBatch>>> {
        let plan = self.columns()?;
        let mut names = vec!["id"];
        if self.wanted()?.kind() == EntityKind::Edge {
            names.extend(["src", "dst"]);
        }
        names.extend(plan.iter().filter_map(|column| column.stored.as_deref()));
        let reads: Vec<_> = rows.iter().map(|rows| self.take(rows, &names)).collect();
        let batches: Vec<RecordBatch> = futures::stream::iter(reads)
            .buffered(FRAGMENTS_AT_ONCE)
            .try_collect()
            .await?;
        let arranged = batches.iter().map(|batch| arranged(batch, &plan));
        arranged.map(|batch| batch.map(Arc::new)).collect()
    }

    async fn take(&self, rows: &Rows, columns: &[&str]) -> Result<RecordBatch> {
        let projection = blob::unloaded(self.dataset.schema().project(columns)?);
        let fragment = file_fragment(Some(&self.dataset), &rows.fragment)?;
        let config = FragReadConfig::default().with_ignore_deletions(true);
        let reader = fragment.open(&projection, config).await?;
        let batch = reader.take_as_batch(&rows.offsets, None).await?;
        if batch.num_rows() != rows.offsets.len() {
            return Err(Error::corrupt(format!(
                "fragment {} of {} gave {} of {} rows",
                rows.fragment.id,
                self.dataset.uri(),
                batch.num_rows(),
                rows.offsets.len()
            )));
        }
        Ok(batch)
    }

    /// The properties of the wanted type, and where they are stored.
    fn columns(&self) -> Result<Vec<Column>> {
        let stored = entity(&self.stored, self.id)?;
        let wanted = self.wanted()?;
        let column = |property: &omnigraph_lang::schema::Property| {
            let own = stored.body().property_by_id(property.id);
            // A column can be missing where the table was never written since it was declared.
            let own = own.filter(|own| self.dataset.schema().field(&own.name).is_some());
            Column {
                stored: own.map(|own| own.name.clone()),
                name: property.name.clone(),
                data_type: storage_type(&property.data_type),
            }
        };
        Ok(wanted.body().properties.iter().map(column).collect())
    }
}

struct Column {
    stored: Option<String>,
    name: String,
    data_type: arrow_schema::DataType,
}

/// The columns `id`, `src`, `dst` and the properties in the order and under the names of the plan.
fn arranged(batch: &RecordBatch, plan: &[Column]) -> Result<RecordBatch> {
    let mut fields = Vec::with_capacity(plan.len() + 3);
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(plan.len() + 3);
    for name in ["id", "src", "dst"] {
        if let Some(array) = batch.column_by_name(name) {
            fields.push(Field::new(name, array.data_type().clone(), false));
            arrays.push(array.clone());
        }
    }
    for column in plan {
        let stored = column.stored.as_deref();
        let array = stored.and_then(|name| batch.column_by_name(name)).cloned();
        let array = array.unwrap_or_else(|| new_null_array(&column.data_type, batch.num_rows()));
        fields.push(Field::new(&column.name, array.data_type().clone(), true));
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
        .map_err(|e| Error::internal("rows of a delta do not fit together").with_source(e))
}

fn entity(schema: &SchemaVersion, id: TypeId) -> Result<EntityType<'_>> {
    schema
        .catalog
        .entity(id)
        .ok_or_else(|| Error::corrupt(format!("schema {} lacks a type", schema.digest)))
}
