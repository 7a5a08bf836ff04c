//! Between values, descriptors, and the layouts that Lance wants of a blob column.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow_array::builder::{PrimitiveBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{UInt8Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, StructArray, UInt64Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use lance::blob::{BlobDescriptor, BlobDescriptorArrayBuilder, blob_field};
use lance_core::datatypes::{BLOB_V2_DESC_FIELDS, BLOB_V2_DESC_TYPE, BlobKind};
use lance_table::feature_flags::MANAGED_BLOBS_META_KEY;
use omnigraph_lang::value::{Blob, KeptBlob, ManagedBlob, Value};

use crate::error::{Error, Result};

/// The Arrow type of blob cells everywhere but inside of Lance.
pub(crate) fn descriptor_type() -> DataType {
    BLOB_V2_DESC_TYPE.clone()
}

/// Whether a column holds blobs.
pub(crate) fn is_blob(data_type: &DataType) -> bool {
    *data_type == *BLOB_V2_DESC_TYPE
}

/// What the cell holds.
pub(crate) fn value_at(array: &dyn Array, row: usize) -> Value {
    let Some(cells) = array.as_struct_opt() else {
        return Value::Null;
    };
    match Descriptors::new(cells).ok().and_then(|d| d.kept(row)) {
        Some(kept) => Value::Blob(Blob::Kept(kept)),
        None => Value::Null,
    }
}

/// Cells of these values. One that is to be fetched still gets the size 0, for [`with_places`].
///
/// # Errors
/// `Internal` for bytes, which have to be stored first.
pub(crate) fn array_of(values: &[Value]) -> Result<ArrayRef> {
    let mut cells = CellsBuilder::with_capacity(values.len());
    for value in values {
        match value {
            Value::Null => cells.push(None),
            Value::Blob(Blob::Kept(kept)) => cells.push(Some(kept)),
            other => {
                return Err(Error::internal(format!(
                    "{} was not stored before its row was made",
                    other.kind_name()
                )));
            }
        }
    }
    cells.finish()
}

/// The cells with the places that have become known, by the path that stood for them.
pub(crate) fn with_places(
    array: &ArrayRef,
    places: &HashMap<String, ManagedBlob>,
) -> Result<ArrayRef> {
    let cells = structs(array)?;
    let columns = Descriptors::new(cells)?;
    let known = |row: usize| places.get(columns.uris.value(row));
    let sizes = (0..cells.len())
        .map(|row| known(row).map_or_else(|| columns.sizes.value(row), |place| place.size));
    let uris = (0..cells.len())
        .map(|row| known(row).map_or_else(|| columns.uris.value(row), |place| &place.path));
    let mut children = cells.columns().to_vec();
    children[2] = Arc::new(UInt64Array::from_iter_values(sizes));
    children[4] = Arc::new(StringArray::from_iter_values(uris));
    let made = StructArray::try_new(cells.fields().clone(), children, cells.nulls().cloned())?;
    Ok(Arc::new(made))
}

/// Paths, relative to the table, of the objects that these cells name.
pub(crate) fn managed_paths(array: &ArrayRef, into: &mut BTreeSet<String>) -> Result<()> {
    let columns = Descriptors::new(structs(array)?)?;
    for row in 0..array.len() {
        if let Some(KeptBlob::Managed(blob)) = columns.kept(row) {
            into.insert(blob.path);
        }
    }
    Ok(())
}

/// The field as the schema of a table has it.
pub(crate) fn stored_field(field: &Field) -> Field {
    match is_blob(field.data_type()) {
        true => blob_field(field.name(), field.is_nullable()),
        false => field.clone(),
    }
}

/// The schema as a table has it.
pub(crate) fn stored_schema(schema: &Schema) -> SchemaRef {
    if !has_blobs(schema) {
        return Arc::new(schema.clone());
    }
    let fields: Vec<Field> = schema.fields().iter().map(|f| stored_field(f)).collect();
    let mut metadata = schema.metadata().clone();
    metadata.extend(managed());
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

/// What a table's schema needs beside this field of [`stored_field`].
pub(crate) fn table_metadata(field: &Field) -> HashMap<String, String> {
    let like = blob_field(field.name(), field.is_nullable());
    match field.metadata() == like.metadata() {
        true => managed(),
        false => HashMap::new(),
    }
}

fn managed() -> HashMap<String, String> {
    [(MANAGED_BLOBS_META_KEY.to_owned(), "true".to_owned())].into()
}

/// The schema of batches as Lance's writer wants them.
pub(crate) fn prepared_schema(schema: &SchemaRef) -> Result<SchemaRef> {
    if !has_blobs(schema) {
        return Ok(Arc::clone(schema));
    }
    Ok(prepared_batch(&RecordBatch::new_empty(Arc::clone(schema)))?.schema())
}

/// A batch as Lance's writer wants it.
pub(crate) fn prepared_batch(batch: &RecordBatch) -> Result<RecordBatch> {
    let schema = batch.schema();
    if !has_blobs(&schema) {
        return Ok(batch.clone());
    }
    let mut fields = Vec::with_capacity(schema.fields().len());
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if !is_blob(field.data_type()) {
            fields.push(Arc::clone(field));
            columns.push(Arc::clone(column));
            continue;
        }
        let array = prepared(field.name(), column)?;
        let like = blob_field(field.name(), field.is_nullable());
        let made = Field::new(field.name(), array.data_type().clone(), field.is_nullable());
        fields.push(Arc::new(made.with_metadata(like.metadata().clone())));
        columns.push(array);
    }
    let mut metadata = schema.metadata().clone();
    metadata.extend(managed());
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// The type of a column's cells in memory.
pub(crate) fn cell_type(field: &lance_core::datatypes::Field) -> DataType {
    match field.is_blob_v2() {
        true => descriptor_type(),
        false => field.data_type(),
    }
}

/// A projection that reads descriptors where there are blobs.
pub(crate) fn unloaded(
    mut projection: lance_core::datatypes::Schema,
) -> lance_core::datatypes::Schema {
    for field in &mut projection.fields {
        field.unload_blobs_recursive();
    }
    projection
}

fn has_blobs(schema: &Schema) -> bool {
    schema.fields().iter().any(|f| is_blob(f.data_type()))
}

fn prepared(name: &str, array: &ArrayRef) -> Result<ArrayRef> {
    let cells = structs(array)?;
    let columns = Descriptors::new(cells)?;
    let mut builder = BlobDescriptorArrayBuilder::new(name);
    for row in 0..cells.len() {
        builder.push(columns.descriptor(row)?)?;
    }
    Ok(builder.finish()?.into_parts().1)
}

fn structs(array: &ArrayRef) -> Result<&StructArray> {
    array
        .as_struct_opt()
        .ok_or_else(|| Error::corrupt("a blob column holds no descriptors"))
}

/// The parts of descriptors.
struct Descriptors<'a> {
    cells: &'a StructArray,
    kinds: &'a arrow_array::UInt8Array,
    positions: &'a UInt64Array,
    sizes: &'a UInt64Array,
    ids: &'a arrow_array::UInt32Array,
    uris: &'a arrow_array::StringArray,
}

impl<'a> Descriptors<'a> {
    fn new(cells: &'a StructArray) -> Result<Self> {
        if !is_blob(cells.data_type()) {
            return Err(Error::corrupt("a blob column holds no descriptors"));
        }
        Ok(Self {
            cells,
            kinds: cells.column(0).as_primitive::<UInt8Type>(),
            positions: cells.column(1).as_primitive::<UInt64Type>(),
            sizes: cells.column(2).as_primitive::<UInt64Type>(),
            ids: cells.column(3).as_primitive::<UInt32Type>(),
            uris: cells.column(4).as_string(),
        })
    }

    /// `None` for a null cell, and for a kind that this program never writes.
    fn kept(&self, row: usize) -> Option<KeptBlob> {
        if self.cells.is_null(row) {
            return None;
        }
        let uri = self.uris.value(row).to_owned();
        match self.kinds.value(row) {
            kind if kind == BlobKind::Managed as u8 => Some(KeptBlob::Managed(ManagedBlob {
                path: uri,
                size: self.sizes.value(row),
            })),
            // A part of an external object is nothing that this program writes.
            kind if kind == BlobKind::External as u8 => (self.positions.value(row) == 0
                && self.sizes.value(row) == 0)
                .then_some(KeptBlob::External { uri }),
            _ => None,
        }
    }

    fn descriptor(&self, row: usize) -> Result<BlobDescriptor> {
        if self.cells.is_null(row) {
            return Ok(BlobDescriptor::Null);
        }
        let uri = self.uris.value(row).to_owned();
        let (offset, size) = (self.positions.value(row), self.sizes.value(row));
        match self.kinds.value(row) {
            kind if kind == BlobKind::Managed as u8 => Ok(BlobDescriptor::Managed {
                base_id: None,
                uri,
                offset,
                size,
            }),
            kind if kind == BlobKind::External as u8 => Ok(BlobDescriptor::External {
                base_id: self.ids.value(row),
                uri,
                offset,
                size,
            }),
            kind => Err(Error::corrupt(format!(
                "a blob cell has kind {kind}, which this program does not write"
            ))),
        }
    }
}

struct CellsBuilder {
    kinds: PrimitiveBuilder<UInt8Type>,
    positions: PrimitiveBuilder<UInt64Type>,
    sizes: PrimitiveBuilder<UInt64Type>,
    ids: PrimitiveBuilder<UInt32Type>,
    uris: StringBuilder,
    valid: Vec<bool>,
}

impl CellsBuilder {
    fn with_capacity(rows: usize) -> Self {
        Self {
            kinds: PrimitiveBuilder::with_capacity(rows),
            positions: PrimitiveBuilder::with_capacity(rows),
            sizes: PrimitiveBuilder::with_capacity(rows),
            ids: PrimitiveBuilder::with_capacity(rows),
            uris: StringBuilder::with_capacity(rows, rows * 80),
            valid: Vec::with_capacity(rows),
        }
    }

    fn push(&mut self, kept: Option<&KeptBlob>) {
        let (kind, size, uri) = match kept {
            None => (0, 0, ""),
            Some(KeptBlob::Managed(blob)) => (BlobKind::Managed as u8, blob.size, &*blob.path),
            Some(KeptBlob::External { uri }) => (BlobKind::External as u8, 0, &**uri),
        };
        self.kinds.append_value(kind);
        self.positions.append_value(0);
        self.sizes.append_value(size);
        self.ids.append_value(0);
        self.uris.append_value(uri);
        self.valid.push(kept.is_some());
    }

    fn finish(mut self) -> Result<ArrayRef> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.kinds.finish()),
            Arc::new(self.positions.finish()),
            Arc::new(self.sizes.finish()),
            Arc::new(self.ids.finish()),
            Arc::new(self.uris.finish()),
        ];
        let nulls = NullBuffer::from(self.valid);
        let nulls = (nulls.null_count() > 0).then_some(nulls);
        let made = StructArray::try_new(BLOB_V2_DESC_FIELDS.clone(), columns, nulls)?;
        Ok(Arc::new(made))
    }
}
