//! Changing the columns of a table: metadata only.

use std::sync::Arc;

use arrow_schema::Field;
use lance::Dataset;
use lance::dataset::transaction::Operation;
use omnigraph_lang::schema::EntityType;

use super::{Tables, blob, layout, live_rows};
use crate::error::{Error, Result};
use crate::graph::TableRef;

/// One change of a table's columns.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum ColumnChange {
    /// A column that is null in every row there is; a column that may not be null needs a table
    /// without rows.
    Add(Field),
    /// A column gets another name.
    Rename { from: String, to: String },
    /// A column goes.
    Drop(String),
}

impl Tables {
    /// Changes columns, then builds the indexes that the type declares and the table lacks.
    pub(crate) async fn change_columns(
        &self,
        table: &TableRef,
        changes: &[ColumnChange],
        entity: EntityType<'_>,
    ) -> Result<TableRef> {
        let base = self.open(table).await?;
        let mut dataset = base.clone();
        for change in changes {
            dataset = self.change_column(&dataset, change).await?;
        }
        dataset = self.add_missing_indexes(&dataset, entity).await?;
        if Arc::ptr_eq(&dataset, &base) {
            return Ok(table.clone());
        }
        self.flush_tree(&table.path).await?;
        self.keep(&table.path, dataset.clone());
        Ok(TableRef {
            path: table.path.clone(),
            version: dataset.version_id(),
            rows: live_rows(&dataset)?,
        })
    }

    async fn change_column(
        &self,
        dataset: &Arc<Dataset>,
        change: &ColumnChange,
    ) -> Result<Arc<Dataset>> {
        let mut schema = dataset.schema().clone();
        let operation = match change {
            ColumnChange::Add(field) => {
                if !field.is_nullable() && live_rows(dataset)? > 0 {
                    return Err(Error::internal(format!(
                        "column {} may not be null, and the table has rows",
                        field.name()
                    )));
                }
                let field = blob::stored_field(field);
                schema.extend(std::slice::from_ref(&field))?;
                schema.metadata.extend(blob::table_metadata(&field));
                schema.set_field_id(Some(dataset.manifest().max_field_id()));
                Operation::Merge {
                    fragments: dataset.fragments().as_ref().clone(),
                    schema,
                    preserves_nullability: true,
                }
            }
            ColumnChange::Rename { from, to } => {
                let field = schema
                    .fields
                    .iter_mut()
                    .find(|field| field.name == *from)
                    .ok_or_else(|| missing(dataset, from))?;
                field.name.clone_from(to);
                Operation::Project {
                    schema,
                    preserves_nullability: true,
                }
            }
            ColumnChange::Drop(name) => {
                let before = schema.fields.len();
                schema.fields.retain(|field| field.name != *name);
                if schema.fields.len() == before {
                    return Err(missing(dataset, name));
                }
                Operation::Project {
                    schema,
                    preserves_nullability: true,
                }
            }
        };
        self.commit(dataset, operation).await
    }

    async fn add_missing_indexes(
        &self,
        dataset: &Arc<Dataset>,
        entity: EntityType<'_>,
    ) -> Result<Arc<Dataset>> {
        use lance::index::DatasetIndexExt as _;

        let present = dataset.load_indices().await?;
        let covers = |index: &layout::Index| {
            let field = dataset.schema().field(&index.column).map(|field| field.id);
            let suffix = index.name();
            let suffix = suffix.rsplit('_').next().unwrap_or_default();
            present
                .iter()
                .any(|there| there.fields.first().copied() == field && there.name.ends_with(suffix))
        };
        let missing: Vec<layout::Index> = layout::indexes(entity)
            .into_iter()
            .filter(|index| !covers(index))
            .collect();
        if missing.is_empty() {
            return Ok(dataset.clone());
        }
        self.add_indexes(dataset, &missing).await
    }
}

fn missing(dataset: &Dataset, column: &str) -> Error {
    Error::corrupt(format!("table {} has no column {column}", dataset.uri()))
}
