//! The rules that one row keeps or breaks by itself: required values, ranges, patterns.

use std::cmp::Ordering;

use omnigraph_lang::Code;
use omnigraph_lang::schema::{DefaultValue, Property, TypeBody};
use omnigraph_lang::value::{self, Value, ValueError};
use regex::Regex;

use crate::error::{Error, Result};

/// The constraints of a type on single values, compiled, by the position of the property.
#[derive(Debug)]
pub(crate) struct Shape {
    properties: Vec<PropertyShape>,
}

#[derive(Debug, Default)]
pub(crate) struct PropertyShape {
    ranges: Vec<(Option<Value>, Option<Value>)>,
    checks: Vec<Regex>,
}

impl Shape {
    pub(crate) fn new(body: &TypeBody) -> Result<Self> {
        let mut properties = Vec::with_capacity(body.properties.len());
        for property in &body.properties {
            let ranges = body
                .ranges
                .iter()
                .filter(|range| range.property == property.id)
                .map(|range| (range.low.clone(), range.high.clone()))
                .collect();
            let checks = body
                .checks
                .iter()
                .filter(|check| check.property == property.id)
                .map(|check| Regex::new(&check.pattern))
                .collect::<std::result::Result<_, _>>()
                .map_err(|e| Error::corrupt("a pattern of the schema is invalid").with_source(e))?;
            properties.push(PropertyShape { ranges, checks });
        }
        Ok(Self { properties })
    }

    pub(crate) fn property(&self, position: usize) -> Option<&PropertyShape> {
        self.properties.get(position)
    }

    /// Whether the value may stand in the property at this position.
    pub(crate) fn check(
        &self,
        position: usize,
        property: &Property,
        value: &Value,
    ) -> std::result::Result<(), ValueError> {
        match value {
            Value::Null if property.nullable => return Ok(()),
            Value::Null => return Err(missing(property)),
            _ => {}
        }
        match self.property(position) {
            Some(shape) => shape.check(value),
            None => Ok(()),
        }
    }
}

impl PropertyShape {
    /// True where every value of the type fits.
    pub(crate) fn is_free(&self) -> bool {
        self.ranges.is_empty() && self.checks.is_empty()
    }

    /// Of a value that is not null.
    pub(crate) fn check(&self, value: &Value) -> std::result::Result<(), ValueError> {
        for (low, high) in &self.ranges {
            let below = |bound: &Value| value::compare(value, bound) == Some(Ordering::Less);
            let above = |bound: &Value| value::compare(value, bound) == Some(Ordering::Greater);
            if low.as_ref().is_some_and(below) || high.as_ref().is_some_and(above) {
                return Err(ValueError::new(
                    Code::R412,
                    format!(
                        "{} is outside the range {}..{}",
                        number(value),
                        low.as_ref().map(number).unwrap_or_default(),
                        high.as_ref().map(number).unwrap_or_default()
                    ),
                ));
            }
        }
        if let Value::String(text) = value {
            return self.check_text(text);
        }
        Ok(())
    }

    pub(crate) fn check_text(&self, text: &str) -> std::result::Result<(), ValueError> {
        match self.checks.iter().find(|check| !check.is_match(text)) {
            None => Ok(()),
            Some(check) => Err(ValueError::new(
                Code::R413,
                format!("`{}` does not match \"{check}\"", shorten(text)),
            )),
        }
    }
}

/// What a property is when a write leaves it out: its default or null. `now` is in epoch ms.
pub(crate) fn omitted(property: &Property, now: i64) -> Value {
    match &property.default {
        Some(DefaultValue::Value(value)) => value.clone(),
        Some(DefaultValue::Now) => Value::DateTime(now),
        None => Value::Null,
    }
}

pub(crate) fn missing(property: &Property) -> ValueError {
    ValueError::new(
        Code::R410,
        format!("required {} is missing or null", property.data_type),
    )
}

/// Values in messages are cut, because data may be large.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST).chain("…".chars()).collect()
    }
}

fn number(value: &Value) -> String {
    match value {
        Value::Int(i) => i.to_string(),
        Value::UInt(u) => u.to_string(),
        Value::F32(x) => x.to_string(),
        Value::F64(x) => x.to_string(),
        other => other.kind_name().to_owned(),
    }
}
