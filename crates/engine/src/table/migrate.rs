//! Fitting a table to another version of its type: columns by metadata alone where their values
//! stay, new column files beside the old ones where values are filled in, indexes added and taken
//! away. Rows keep their places, so nothing else has to be rewritten.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch, Scalar, UInt32Array};
use arrow_schema::{Field, Schema as ArrowSchema};
use arrow_select::take::take;
use arrow_select::zip::zip;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt, stream};
use lance::Dataset;
use lance::dataset::fragment::FileFragment;
use lance::dataset::fragment::write::FragmentCreateBuilder;
use lance::dataset::transaction::Operation;
use lance::dataset::write::WriteParams;
use lance::index::DatasetIndexExt as _;
use lance_core::datatypes::Schema;
use lance_table::format::Fragment;
use omnigraph_lang::schema::{EntityType, Property, PropertyId};
use omnigraph_lang::value::Value;

use super::{Tables, arrow_field, blob, layout, live_rows};
use crate::error::{Error, Result};
use crate::exec::{read_fragments, values};
use crate::graph::TableRef;

/// Rows of a filled column that are written in one piece.
const PIECE: usize = 8192;
/// Fragments whose new columns are written at the same time.
const FRAGMENTS_AT_ONCE: usize = 4;

/// Values for properties: of every row where the property is new, of the rows that have none where
/// it is not.
pub(crate) type Fills = BTreeMap<PropertyId, Value>;

/// One type before and after a change of schema.
#[derive(Clone, Copy)]
pub(crate) struct TypeChange<'a> {
    pub(crate) before: EntityType<'a>,
    pub(crate) after: EntityType<'a>,
    pub(crate) fills: &'a Fills,
}

/// A column that the table does not have yet.
struct NewColumn {
    field: Field,
    from: Source,
}

/// Where the values of a new column come from.
enum Source {
    /// Nothing is written: a column without a file is null.
    Nulls,
    Constant(Value),
    /// An old column of the base, its nulls replaced.
    Filled {
        column: String,
        value: Value,
    },
}

impl TypeChange<'_> {
    /// Whether the table may have to become another one. Where only the rules of the type change,
    /// it does not: which columns are required is a matter of the schema, not of the table.
    fn concerns_table(&self) -> bool {
        let (before, after) = (self.before.body(), self.after.body());
        let column = |p: &Property| (p.id, p.name.clone(), p.data_type.clone());
        let columns = |list: &[Property]| list.iter().map(column).collect::<Vec<_>>();
        let loosened = |p: &Property| {
            let was = before.property_by_id(p.id);
            p.nullable && was.is_some_and(|was| !was.nullable)
        };
        !self.fills.is_empty()
            || columns(&before.properties) != columns(&after.properties)
            || after.properties.iter().any(loosened)
            || layout::indexes(self.before) != layout::indexes(self.after)
    }

    /// The columns that stay, with their names and nullability, if that is any change.
    fn kept(&self, schema: &Schema) -> Option<Schema> {
        let mut kept = schema.clone();
        kept.fields.clear();
        for field in &schema.fields {
            let mut field = field.clone();
            if let Some(property) = self.before.body().property(&field.name) {
                let Some(after) = self.after.body().property_by_id(property.id) else {
                    continue;
                };
                if self.fills.contains_key(&property.id) {
                    continue;
                }
                field.name.clone_from(&after.name);
                field.nullable |= after.nullable;
            }
            kept.fields.push(field);
        }
        let names = |schema: &Schema| {
            let fields = schema.fields.iter();
            fields
                .map(|f| (f.name.clone(), f.nullable))
                .collect::<Vec<_>>()
        };
        (names(&kept) != names(schema)).then_some(kept)
    }

    /// The columns that come. All may be null as far as the table is concerned: what a property
    /// must have is checked before anything is written, and rows that are deleted have nothing.
    fn new_columns(&self) -> Vec<NewColumn> {
        let mut new = Vec::new();
        for property in &self.after.body().properties {
            let fill = self.fills.get(&property.id).cloned();
            let before = self.before.body().property_by_id(property.id);
            let from = match (before, fill) {
                (Some(_), None) => continue,
                (Some(before), Some(value)) => Source::Filled {
                    column: before.name.clone(),
                    value,
                },
                (None, Some(value)) => Source::Constant(value),
                (None, None) => Source::Nulls,
            };
            let field = blob::stored_field(&arrow_field(property).with_nullable(true));
            new.push(NewColumn { field, from });
        }
        new
    }
}

impl Tables {
    /// The version of the table that fits the type after the change.
    pub(crate) async fn migrate(
        &self,
        table: &TableRef,
        change: TypeChange<'_>,
    ) -> Result<TableRef> {
        if !change.concerns_table() {
            return Ok(table.clone());
        }
        if self.is_outline() {
            return self.outline_of(table.path.clone(), table.rows).await;
        }
        let base = self.open(table).await?;
        let mut made = base.clone();
        if let Some(schema) = change.kept(base.schema()) {
            schema.validate()?;
            let operation = Operation::Project {
                schema,
                preserves_nullability: true,
            };
            made = self.commit_flushed(&base, operation).await?;
        }
        let new = change.new_columns();
        if !new.is_empty() {
            made = self.add_columns(&base, &made, &new).await?;
        }
        made = self.fit_indexes(&table.path, &made, change.after).await?;
        if Arc::ptr_eq(&made, &base) {
            return Ok(table.clone());
        }
        self.keep(&table.path, made.clone());
        Ok(TableRef {
            path: table.path.clone(),
            version: made.version_id(),
            rows: live_rows(&made)?,
        })
    }

    async fn commit_flushed(
        &self,
        base: &Arc<Dataset>,
        operation: Operation,
    ) -> Result<Arc<Dataset>> {
        let made = self.commit(base, operation).await?;
        self.flush(Some(base), &made).await?;
        Ok(made)
    }

    /// Adds columns to `dataset`; what old columns they take over is read from `base`, which has
    /// the same fragments.
    async fn add_columns(
        &self,
        base: &Arc<Dataset>,
        dataset: &Arc<Dataset>,
        new: &[NewColumn],
    ) -> Result<Arc<Dataset>> {
        let fields: Vec<Field> = new.iter().map(|column| column.field.clone()).collect();
        let mut schema = dataset.schema().clone();
        schema.extend(&fields)?;
        for field in &fields {
            schema.metadata.extend(blob::table_metadata(field));
        }
        // Above the ids that the base had, too: one that was just dropped must not come back.
        let used = base.manifest().max_field_id();
        schema.try_set_field_id(Some(used.max(dataset.manifest().max_field_id())))?;
        let filled: Vec<&NewColumn> = new
            .iter()
            .filter(|column| !matches!(column.from, Source::Nulls))
            .collect();
        let mut fragments = dataset.fragments().as_ref().clone();
        if !filled.is_empty() && !fragments.is_empty() {
            let names: Vec<&str> = filled.iter().map(|c| c.field.name().as_str()).collect();
            let written = schema.project(&names)?;
            fragments = stream::iter(fragments)
                .map(|fragment| self.fill(base, fragment, &filled, &written))
                .buffered(FRAGMENTS_AT_ONCE)
                .try_collect()
                .await?;
        }
        let operation = Operation::Merge {
            fragments,
            schema,
            preserves_nullability: true,
        };
        self.commit_flushed(dataset, operation).await
    }

    /// Writes one file with the values of columns for the rows of a fragment, and names it there.
    async fn fill(
        &self,
        base: &Arc<Dataset>,
        mut fragment: Fragment,
        columns: &[&NewColumn],
        schema: &Schema,
    ) -> Result<Fragment> {
        let before = base
            .fragments()
            .iter()
            .find(|other| other.id == fragment.id)
            .ok_or_else(|| Error::internal("a fragment of the table has gone"))?;
        let stored = FileFragment::new(base.clone(), before.clone());
        let rows = stored.physical_rows().await?;
        if rows == 0 {
            return Ok(fragment);
        }
        let mut sources = Vec::with_capacity(columns.len());
        for column in columns {
            sources.push(Filled::new(base, &stored, column).await?);
        }
        let fields: Vec<Field> = columns.iter().map(|c| c.field.clone()).collect();
        let arrow = Arc::new(ArrowSchema::new(fields));
        let batches = (0..rows).step_by(PIECE).map({
            let arrow = arrow.clone();
            move |start| {
                let length = PIECE.min(rows - start);
                let arrays = sources.iter().map(|s| s.slice(start, length)).collect();
                Ok(RecordBatch::try_new(arrow.clone(), arrays)?)
            }
        });
        let batches: SendableRecordBatchStream =
            Box::pin(RecordBatchStreamAdapter::new(arrow, stream::iter(batches)));
        let version = base.manifest().data_storage_format.lance_file_format();
        let params = WriteParams {
            data_storage_version: version.to_string().parse().ok(),
            store_params: Some(self.shared.store.lance_params().clone()),
            session: Some(self.shared.session.clone()),
            ..WriteParams::default()
        };
        let uri = base.uri().to_owned();
        let written = FragmentCreateBuilder::new(&uri)
            .schema(schema)
            .write_params(&params)
            .write(batches, None)
            .await?;
        fragment.files.extend(written.files);
        Ok(fragment)
    }

    /// Builds the indexes that the type declares and the table lacks, over all its rows, and takes
    /// away those that it no longer declares.
    async fn fit_indexes(
        &self,
        path: &str,
        dataset: &Arc<Dataset>,
        entity: EntityType<'_>,
    ) -> Result<Arc<Dataset>> {
        let present = dataset.load_indices().await?;
        let field = |column: &str| dataset.schema().field(column).map(|field| field.id);
        let wanted = layout::indexes(entity);
        let body = entity.body();
        let declared: Vec<i32> = body
            .indexes
            .iter()
            .filter_map(|id| field(&body.property_by_id(*id)?.name))
            .collect();
        let serves = |index: &layout::Index, name: &str, id: Option<i32>| {
            id.is_some()
                && id == field(&index.column)
                && layout::Kind::of_name(name) == Some(index.kind)
        };
        let removed: Vec<_> = present
            .iter()
            .filter(|there| {
                let Some(id) = there.fields.first().copied() else {
                    return false;
                };
                match layout::Kind::of_name(&there.name) {
                    Some(_) => !wanted
                        .iter()
                        .any(|index| serves(index, &there.name, Some(id))),
                    None => !declared.contains(&id),
                }
            })
            .cloned()
            .collect();
        let mut missing = Vec::new();
        for index in wanted {
            let has = |there: &lance_table::format::IndexMetadata| {
                serves(&index, &there.name, there.fields.first().copied())
            };
            if !present.iter().any(has) {
                // The name may still be that of an index over a column that was called so before.
                let taken = |name: &str| present.iter().any(|there| there.name == name);
                let name = match index.name() {
                    name if taken(&name) => index.name_of_field(field(&index.column).unwrap_or(-1)),
                    name => name,
                };
                missing.push((index, name));
            }
        }
        if missing.is_empty() && removed.is_empty() {
            return Ok(dataset.clone());
        }
        let mut builder = Dataset::clone(dataset);
        let mut built = Vec::with_capacity(missing.len());
        for (index, name) in &missing {
            built.push(
                Box::pin(super::create::build_index(
                    &mut builder,
                    index,
                    name.clone(),
                ))
                .await?,
            );
        }
        let files: Vec<String> = built.iter().map(|index| index.uuid.to_string()).collect();
        let operation = Operation::CreateIndex {
            new_indices: built,
            removed_indices: removed,
        };
        let made = self.commit_flushed(dataset, operation).await?;
        for uuid in files {
            self.flush_tree(&format!("{path}/_indices/{uuid}")).await?;
        }
        Ok(made)
    }
}

/// The values of a column that is being written.
enum Filled {
    /// One value, as often as a piece has rows.
    Constant(ArrayRef),
    Rows(ArrayRef),
}

impl Filled {
    async fn new(base: &Arc<Dataset>, fragment: &FileFragment, column: &NewColumn) -> Result<Self> {
        let one =
            |value: &Value| values::array_of(column.field.data_type(), std::slice::from_ref(value));
        Ok(match &column.from {
            Source::Nulls => Self::Constant(repeated(&one(&Value::Null)?)?),
            Source::Constant(value) => Self::Constant(repeated(&one(value)?)?),
            Source::Filled { column, value } => {
                let read = read_fragments(base, vec![fragment.clone()], column).await?;
                let stored = read
                    .into_iter()
                    .next()
                    .ok_or_else(|| Error::internal("a fragment gave no values"))?;
                Self::Rows(or_value(&stored, one(value)?)?)
            }
        })
    }

    fn slice(&self, start: usize, length: usize) -> ArrayRef {
        match self {
            Self::Constant(piece) => piece.slice(0, length),
            Self::Rows(rows) => rows.slice(start, length),
        }
    }
}

fn repeated(one: &ArrayRef) -> Result<ArrayRef> {
    Ok(take(one, &UInt32Array::from(vec![0; PIECE]), None)?)
}

/// The array with a value in the place of its nulls.
pub(crate) fn or_value(array: &ArrayRef, one: ArrayRef) -> Result<ArrayRef> {
    if array.null_count() == 0 {
        return Ok(array.clone());
    }
    let present =
        arrow_array::BooleanArray::from_iter((0..array.len()).map(|row| Some(array.is_valid(row))));
    Ok(zip(&present, array, &Scalar::new(one))?)
}
