//! Between the languages' values and Arrow arrays.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, FixedSizeListBuilder, Float32Builder, LargeBinaryBuilder, PrimitiveBuilder,
    StringBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int32Type, Int64Type,
    TimestampMillisecondType, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, new_null_array};
use arrow_schema::{DataType, Field, TimeUnit};
use omnigraph_lang::schema::{DataType as PropertyType, Scalar};
use omnigraph_lang::value::{Blob, Value};

use crate::error::{Error, Result};
use crate::table::blob;

/// The Arrow type in which a property is stored.
pub(crate) fn storage_type(ty: &PropertyType) -> DataType {
    match ty {
        PropertyType::Scalar(scalar) => scalar_type(*scalar),
        PropertyType::Enum(_) => DataType::Utf8,
        PropertyType::List(scalar) => list_type(*scalar),
        PropertyType::Vector(width) => vector_type(*width),
        PropertyType::Blob => blob::descriptor_type(),
    }
}

pub(crate) fn scalar_type(scalar: Scalar) -> DataType {
    match scalar {
        Scalar::String => DataType::Utf8,
        Scalar::Bool => DataType::Boolean,
        Scalar::I32 => DataType::Int32,
        Scalar::I64 => DataType::Int64,
        Scalar::U32 => DataType::UInt32,
        Scalar::U64 => DataType::UInt64,
        Scalar::F32 => DataType::Float32,
        Scalar::F64 => DataType::Float64,
        Scalar::Date => DataType::Date32,
        Scalar::DateTime => DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())),
    }
}

pub(crate) fn list_type(scalar: Scalar) -> DataType {
    DataType::List(Arc::new(Field::new("item", scalar_type(scalar), true)))
}

pub(crate) fn vector_type(width: u32) -> DataType {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    DataType::FixedSizeList(item, i32::try_from(width).unwrap_or(i32::MAX))
}

/// The value in one cell.
pub(crate) fn value_at(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Int32 => Value::Int(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Value::Int(array.as_primitive::<Int64Type>().value(row)),
        DataType::UInt32 => Value::UInt(array.as_primitive::<UInt32Type>().value(row).into()),
        DataType::UInt64 => Value::UInt(array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float32 => Value::F32(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => Value::F64(array.as_primitive::<Float64Type>().value(row)),
        DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            Value::DateTime(array.as_primitive::<TimestampMillisecondType>().value(row))
        }
        DataType::Utf8 => Value::String(array.as_string::<i32>().value(row).to_owned()),
        DataType::LargeBinary => {
            Value::Blob(Blob::Bytes(array.as_binary::<i64>().value(row).to_vec()))
        }
        DataType::Struct(_) => blob::value_at(array, row),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            Value::List((0..items.len()).map(|i| value_at(&items, i)).collect())
        }
        DataType::FixedSizeList(_, _) => {
            let items = array.as_fixed_size_list().value(row);
            match items.as_primitive_opt::<Float32Type>() {
                Some(items) => Value::Vector(items.values().to_vec()),
                None => Value::Null,
            }
        }
        _ => Value::Null,
    }
}

/// The values as an array of this type; numbers may be of any width that holds them.
///
/// # Errors
/// `Internal` for a value of another type: callers have converted it.
pub(crate) fn array_of(ty: &DataType, values: &[Value]) -> Result<ArrayRef> {
    match ty {
        DataType::Null => Ok(new_null_array(ty, values.len())),
        DataType::Boolean => {
            let mut builder = BooleanBuilder::with_capacity(values.len());
            for value in values {
                match value {
                    Value::Null => builder.append_null(),
                    Value::Bool(b) => builder.append_value(*b),
                    other => return Err(misfit(other, ty)),
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        DataType::Int32 => primitive::<Int32Type>(ty, values, |v| i32::try_from(integer(v)?).ok()),
        DataType::Int64 => primitive::<Int64Type>(ty, values, |v| i64::try_from(integer(v)?).ok()),
        DataType::UInt32 => {
            primitive::<UInt32Type>(ty, values, |v| u32::try_from(integer(v)?).ok())
        }
        DataType::UInt64 => {
            primitive::<UInt64Type>(ty, values, |v| u64::try_from(integer(v)?).ok())
        }
        DataType::Float32 => primitive::<Float32Type>(ty, values, |v| match v {
            Value::F32(x) => Some(*x),
            Value::F64(x) => Some(*x as f32),
            other => integer(other).map(|i| i as f32),
        }),
        DataType::Float64 => primitive::<Float64Type>(ty, values, |v| match v {
            Value::F32(x) => Some(f64::from(*x)),
            Value::F64(x) => Some(*x),
            other => integer(other).map(|i| i as f64),
        }),
        DataType::Date32 => primitive::<Date32Type>(ty, values, |v| match v {
            Value::Date(days) => Some(*days),
            _ => None,
        }),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            primitive::<TimestampMillisecondType>(ty, values, |v| match v {
                Value::DateTime(millis) => Some(*millis),
                _ => None,
            })
        }
        DataType::Utf8 => {
            let mut builder = StringBuilder::new();
            for value in values {
                match value {
                    Value::Null => builder.append_null(),
                    Value::String(s) => builder.append_value(s),
                    other => return Err(misfit(other, ty)),
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        DataType::LargeBinary => {
            let mut builder = LargeBinaryBuilder::new();
            for value in values {
                match value {
                    Value::Null => builder.append_null(),
                    Value::Blob(Blob::Bytes(bytes)) => builder.append_value(bytes),
                    other => return Err(misfit(other, ty)),
                }
            }
            Ok(Arc::new(builder.finish()))
        }
        ty if blob::is_blob(ty) => blob::array_of(values),
        DataType::List(item) => lists(ty, item, values),
        DataType::FixedSizeList(item, width) => vectors(ty, item, *width, values),
        other => Err(Error::internal(format!("no values of type {other} exist"))),
    }
}

fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Int(i) => Some(i128::from(*i)),
        Value::UInt(u) => Some(i128::from(*u)),
        _ => None,
    }
}

fn primitive<T: ArrowPrimitiveType>(
    ty: &DataType,
    values: &[Value],
    read: impl Fn(&Value) -> Option<T::Native>,
) -> Result<ArrayRef> {
    let mut builder = PrimitiveBuilder::<T>::with_capacity(values.len()).with_data_type(ty.clone());
    for value in values {
        match value {
            Value::Null => builder.append_null(),
            other => builder.append_value(read(other).ok_or_else(|| misfit(other, ty))?),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn lists(ty: &DataType, item: &Arc<Field>, values: &[Value]) -> Result<ArrayRef> {
    let mut items = Vec::new();
    let mut lengths = Vec::with_capacity(values.len());
    let mut valid = Vec::with_capacity(values.len());
    for value in values {
        let before = items.len();
        match value {
            Value::Null => valid.push(false),
            Value::List(list) => {
                items.extend(list.iter().cloned());
                valid.push(true);
            }
            other => return Err(misfit(other, ty)),
        }
        lengths.push(items.len() - before);
    }
    let items = array_of(item.data_type(), &items)?;
    let offsets = arrow_buffer::OffsetBuffer::from_lengths(lengths);
    let nulls = arrow_buffer::NullBuffer::from(valid);
    let nulls = (nulls.null_count() > 0).then_some(nulls);
    Ok(Arc::new(arrow_array::ListArray::try_new(
        item.clone(),
        offsets,
        items,
        nulls,
    )?))
}

fn vectors(ty: &DataType, item: &Arc<Field>, width: i32, values: &[Value]) -> Result<ArrayRef> {
    let width_usize = usize::try_from(width).unwrap_or(0);
    let mut builder =
        FixedSizeListBuilder::new(Float32Builder::new(), width).with_field(item.clone());
    for value in values {
        match value {
            Value::Null => {
                builder.values().append_nulls(width_usize);
                builder.append(false);
            }
            Value::Vector(vector) if vector.len() == width_usize => {
                builder.values().append_slice(vector);
                builder.append(true);
            }
            other => return Err(misfit(other, ty)),
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn misfit(value: &Value, ty: &DataType) -> Error {
    Error::internal(format!(
        "{} does not fit a column of type {ty}",
        value.kind_name()
    ))
}
