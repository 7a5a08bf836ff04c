//! One property's value from JSON into its column: the common forms at once, all others through
//! the rules of the language.

use std::sync::Arc;

use omnigraph_lang::Code;
use omnigraph_lang::schema::{DataType, Property, Scalar};
use omnigraph_lang::value::{self, Value, ValueError};

use super::columns::Column;
use super::json::Reader;
use super::parse::{Fault, Parser};
use super::plan::{PropertyPlan, TypePlan};
use crate::write::shape::{missing, shorten};

impl Parser {
    /// Reads the value of the property at this position.
    pub(super) fn value(
        &mut self,
        reader: &mut Reader<'_>,
        type_plan: &TypePlan,
        at: usize,
        position: usize,
    ) -> Result<(), Fault> {
        let Some(plan) = type_plan.properties.get(position) else {
            return Err(Fault::Form);
        };
        if reader.peek() == Some(b'n') && reader.word("null") {
            return self.store_null(plan, at, position);
        }
        if let DataType::Scalar(Scalar::String) = plan.property.data_type
            && reader.peek() == Some(b'"')
        {
            let text = reader.string()?;
            return self.store_text(type_plan, at, position, &text);
        }
        let value = match quick(reader, &plan.property.data_type) {
            Some(value) => value,
            None => thorough(reader, &plan.property)?,
        };
        self.store(type_plan, at, position, value)
    }

    /// Checks a value of the property's type and puts it into its column.
    pub(super) fn store(
        &mut self,
        type_plan: &TypePlan,
        at: usize,
        position: usize,
        value: Value,
    ) -> Result<(), Fault> {
        let Some(plan) = type_plan.properties.get(position) else {
            return Err(Fault::Form);
        };
        check(type_plan, position, plan, &value)?;
        if let Some(spelled) = plan.key_slot.and_then(|slot| self.spelled.get_mut(slot)) {
            *spelled = value::spell(&value).map_err(|e| Fault::of(&plan.property.name, e))?;
        }
        let value = self.take_blob(at, value, plan)?;
        if let Some(column) = self.rows(at).columns.get_mut(position) {
            column.append(value);
        }
        Ok(())
    }

    /// Content of a blob waits beside the rows; in them is where it will be.
    fn take_blob(&mut self, at: usize, value: Value, plan: &PropertyPlan) -> Result<Value, Fault> {
        if !matches!(value, Value::Blob(_)) {
            return Ok(value);
        }
        let rule = Arc::clone(&self.plan);
        let taken = self.rows(at).incoming.take(value, &rule.external);
        taken.map_err(|error| Fault::of(&plan.property.name, error))
    }

    /// A null that the input gives.
    pub(super) fn store_null(
        &mut self,
        plan: &PropertyPlan,
        at: usize,
        position: usize,
    ) -> Result<(), Fault> {
        if !plan.property.nullable && plan.computed.is_none() {
            return Err(Fault::of(&plan.property.name, missing(&plan.property)));
        }
        if let Some(column) = self.rows(at).columns.get_mut(position) {
            column.append_null();
        }
        Ok(())
    }

    /// Texts are most of the data: no copy on the way to the column.
    pub(super) fn store_text(
        &mut self,
        type_plan: &TypePlan,
        at: usize,
        position: usize,
        text: &str,
    ) -> Result<(), Fault> {
        let Some(plan) = type_plan.properties.get(position) else {
            return Err(Fault::Form);
        };
        if let Some(shape) = type_plan.shape.property(position) {
            shape
                .check_text(text)
                .map_err(|e| Fault::of(&plan.property.name, e))?;
        }
        if let Some(spelled) = plan.key_slot.and_then(|slot| self.spelled.get_mut(slot)) {
            spelled.push_str(text);
        }
        if let Some(Column::Text(column)) = self.rows(at).columns.get_mut(position) {
            column.append_value(text);
        }
        Ok(())
    }
}

fn check(
    type_plan: &TypePlan,
    position: usize,
    plan: &PropertyPlan,
    value: &Value,
) -> Result<(), Fault> {
    match type_plan.shape.property(position) {
        Some(shape) if !shape.is_free() => shape
            .check(value)
            .map_err(|e| Fault::of(&plan.property.name, e)),
        _ => Ok(()),
    }
}

/// Reads what is surely right; otherwise nothing is consumed.
fn quick(reader: &mut Reader<'_>, data_type: &DataType) -> Option<Value> {
    let before = reader.clone();
    let value = match data_type {
        DataType::Enum(members) => quick_enum(reader, members),
        DataType::List(Scalar::String) => quick_texts(reader),
        DataType::Scalar(scalar) => quick_scalar(reader, *scalar),
        DataType::Blob => quick_blob(reader),
        DataType::List(_) | DataType::Vector(_) => None,
    };
    if value.is_none() {
        *reader = before;
    }
    value
}

fn quick_enum(reader: &mut Reader<'_>, members: &[String]) -> Option<Value> {
    if reader.peek()? != b'"' {
        return None;
    }
    let text = reader.string().ok()?;
    let found = members.binary_search_by(|member| member.as_str().cmp(text.as_ref()));
    found.ok()?;
    Some(Value::String(text.into_owned()))
}

/// The text is not copied on its way to the bytes.
fn quick_blob(reader: &mut Reader<'_>) -> Option<Value> {
    if reader.peek()? != b'"' {
        return None;
    }
    let text = reader.string().ok()?;
    value::blob_from_text(&text).ok().map(Value::Blob)
}

fn quick_texts(reader: &mut Reader<'_>) -> Option<Value> {
    let mut items = Vec::new();
    reader.expect(b'[').ok()?;
    if reader.accept(b']') {
        return Some(Value::List(items));
    }
    loop {
        items.push(Value::String(reader.string().ok()?.into_owned()));
        if !reader.accept(b',') {
            reader.expect(b']').ok()?;
            return Some(Value::List(items));
        }
    }
}

fn quick_scalar(reader: &mut Reader<'_>, scalar: Scalar) -> Option<Value> {
    match scalar {
        Scalar::Bool if reader.word("true") => Some(Value::Bool(true)),
        Scalar::Bool if reader.word("false") => Some(Value::Bool(false)),
        Scalar::Bool | Scalar::String => None,
        Scalar::I32 => i32::try_from(quick_integer(reader)?)
            .ok()
            .map(|i| Value::Int(i64::from(i))),
        Scalar::I64 => quick_integer(reader).map(Value::Int),
        Scalar::U32 => u32::try_from(quick_integer(reader)?)
            .ok()
            .map(|u| Value::UInt(u64::from(u))),
        Scalar::U64 => u64::try_from(quick_integer(reader)?).ok().map(Value::UInt),
        // The standard library reads floats exactly.
        Scalar::F32 => {
            let rounded = reader.number().ok()?.parse::<f64>().ok()? as f32;
            rounded.is_finite().then_some(Value::F32(rounded))
        }
        Scalar::F64 => {
            let number: f64 = reader.number().ok()?.parse().ok()?;
            number.is_finite().then_some(Value::F64(number))
        }
        Scalar::Date => {
            (reader.peek()? == b'"').then_some(())?;
            value::parse_date(&reader.string().ok()?).map(Value::Date)
        }
        Scalar::DateTime => {
            (reader.peek()? == b'"').then_some(())?;
            value::parse_datetime(&reader.string().ok()?).map(Value::DateTime)
        }
    }
}

/// Integers short enough to need no thought about the range.
fn quick_integer(reader: &mut Reader<'_>) -> Option<i64> {
    let number = reader.number().ok()?;
    let digits = number.strip_prefix('-').unwrap_or(number);
    if digits.len() > 18 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse().ok()
}

/// The complete rules, which also say what is wrong.
fn thorough(reader: &mut Reader<'_>, property: &Property) -> Result<Value, Fault> {
    let text = reader.raw()?;
    if text.parse::<f64>().is_ok_and(f64::is_infinite)
        && property.data_type.scalar().is_some_and(Scalar::is_number)
    {
        let message = format!(
            "{} is out of range for {}",
            shorten(text),
            property.data_type
        );
        return Err(Fault::of(
            &property.name,
            ValueError::new(Code::R407, message),
        ));
    }
    let json = value::parse_json_strict(text).map_err(|_| Fault::Form)?;
    value::from_json(&json, &property.data_type)
        .map_err(|e: ValueError| Fault::of(&property.name, e))
}
