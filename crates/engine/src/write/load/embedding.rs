//! Vectors that a load computes because its rows do not have them: piece by piece, between parsing
//! and writing. In rows of a file nothing and null are the same.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use omnigraph_lang::value::Value;

use super::collect::{Collector, type_at};
use super::columns::RowBatch;
use super::plan::{Computed, PropertyPlan, TypePlan};
use crate::embed::{self, Embedder};
use crate::error::{Error, Result};
use crate::exec::values;
use crate::write::embedding::{TEXTS_AT_ONCE, has_words};
use crate::write::shape::missing;
use crate::write::violations::{Check, Violation};

/// Vectors of so many bytes, in pieces of the input, are held at once.
const PIECES: usize = 4;

impl Collector {
    /// How many rows of a type are made whole at once: vectors may be much larger than their texts.
    pub(super) fn rows_at_once(&self, position: usize) -> Result<usize> {
        let type_plan = type_at(&self.plan, position)?;
        let computed = type_plan.properties.iter().filter_map(|plan| plan.computed);
        let numbers: usize = computed.map(|computed| computed.width as usize).sum();
        let bytes = numbers * size_of::<f32>();
        Ok(match bytes {
            0 => usize::MAX,
            bytes => (PIECES * self.shares.chunk / bytes).max(1),
        })
    }

    /// Gives the rows of a type their vectors. Rows that need one and have no text are refused.
    pub(super) async fn embed(&mut self, position: usize, rows: &mut RowBatch) -> Result<()> {
        let plan = Arc::clone(&self.plan);
        let type_plan = type_at(&plan, position)?;
        let Some(embedder) = plan.embedder.as_deref().filter(|_| type_plan.computes()) else {
            return Ok(());
        };
        let mut columns = rows.batch.columns().to_vec();
        let first = columns.len() - type_plan.properties.len();
        let mut complete = true;
        for (at, property) in type_plan.properties.iter().enumerate() {
            let Some(computed) = &property.computed else {
                continue;
            };
            let given = columns[first + at].as_ref();
            let texts = columns[first + computed.source].as_ref();
            let vectors = vectors(embedder, type_plan, property, *computed, given, texts).await?;
            if property.property.is_required() {
                for (row, _) in vectors.iter().enumerate().filter(|(_, v)| v.is_null()) {
                    complete = false;
                    self.violations
                        .push(refused(type_plan, property, rows.lines.get(row)));
                }
            }
            let data_type = values::storage_type(&property.property.data_type);
            columns[first + at] = values::array_of(&data_type, &vectors)?;
        }
        // Otherwise nothing is written any more.
        if complete {
            rows.batch = RecordBatch::try_new(Arc::clone(&type_plan.schema), columns)?;
        }
        Ok(())
    }
}

/// The vectors of all rows: those that were given, and those of the texts.
async fn vectors(
    embedder: &dyn Embedder,
    type_plan: &TypePlan,
    property: &PropertyPlan,
    computed: Computed,
    given: &dyn Array,
    texts: &dyn Array,
) -> Result<Vec<Value>> {
    let texts = texts
        .as_string_opt::<i32>()
        .ok_or_else(|| Error::internal("the source of a vector is no column of texts"))?;
    let text = |row: usize| {
        let text = texts.is_valid(row).then(|| texts.value(row))?;
        (given.is_null(row) && has_words(text)).then_some(text)
    };
    let wanted: BTreeSet<&str> = (0..given.len()).filter_map(text).collect();
    let wanted: Vec<String> = wanted.into_iter().map(str::to_owned).collect();
    if !wanted.is_empty() {
        embed::check_model(embedder, &type_plan.name, &property.property)?;
    }
    let mut known: HashMap<&str, Vec<f32>> = HashMap::new();
    for wanted in wanted.chunks(TEXTS_AT_ONCE) {
        let vectors = embed::vectors(embedder, wanted, computed.width).await?;
        known.extend(wanted.iter().map(String::as_str).zip(vectors));
    }
    let vector = |row: usize| match text(row) {
        Some(text) => known.get(text).cloned().map_or(Value::Null, Value::Vector),
        None => values::value_at(given, row),
    };
    Ok((0..given.len()).map(vector).collect())
}

fn refused(type_plan: &TypePlan, property: &PropertyPlan, line: Option<&u32>) -> Violation {
    let property = &property.property;
    let error = missing(property);
    Violation::new(Check::Shape, &type_plan.name, error.code, error.message)
        .property(&property.name)
        .line(line.map(|line| u64::from(*line)))
}
