//! Columns of a file to the members of entities.

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType as Arrow, Schema};
use omnigraph_lang::schema::{DataType, Property, Scalar};
use omnigraph_lang::value::{self, ValueError};
use omnigraph_lang::{Code, Diagnostic};

use super::cell::{accepts, cell, is_null, is_text, text};
use crate::error::{Error, ErrorKind, Result};
use crate::write::load::LoadType;
use crate::write::load::parse::{Fault, Parsed, Parser};
use crate::write::load::plan::{Plan, TypePlan};
use crate::write::shape::missing;
use crate::write::violations::{Check, Violation};

/// The columns that hold one type's entities, by their positions.
#[derive(Debug)]
pub(in super::super) struct Mapping {
    /// The type's position.
    at: usize,
    id: Option<usize>,
    ends: Option<[End; 2]>,
    /// Columns and the properties that they hold, by position.
    properties: Vec<(usize, usize)>,
}

/// Where the id of a node at an end comes from.
#[derive(Debug)]
struct End {
    column: usize,
    member: &'static str,
    form: EndForm,
}

#[derive(Debug)]
enum EndForm {
    /// A text: the id.
    Id,
    /// The only member of the node's key.
    Key(Property),
    /// A struct of all members of the node's key, with the places of their columns.
    Members(Vec<(usize, Property)>),
}

/// The position of the type that a columnar input is said to hold.
pub(in super::super) fn position_of(plan: &Plan, of: &LoadType) -> Result<usize> {
    let (kind, name, found) = match of {
        LoadType::Node(name) => ("node", name, plan.node(name)),
        LoadType::Edge(name) => ("edge", name, plan.edge(name)),
    };
    found.ok_or_else(|| {
        wrong(vec![Diagnostic::error(
            Code::R404,
            format!("unknown {kind} type `{name}`"),
        )])
    })
}

/// The rows of a batch as entities; `first_row` counts from 1.
pub(in super::super) fn convert(
    plan: Arc<Plan>,
    mapping: &Mapping,
    batch: &RecordBatch,
    first_row: u32,
) -> Result<Parsed> {
    let mut parser = Parser::new(Arc::clone(&plan));
    let Some(type_plan) = plan.types.get(mapping.at) else {
        return Err(Error::internal("rows of a type that the schema lacks"));
    };
    for (number, row) in (first_row..).zip(0..batch.num_rows()) {
        if let Err(fault) = mapping.row(&mut parser, type_plan, batch, row, number) {
            parser.refuse(violation(type_plan, fault, number));
        }
    }
    parser.finish()
}

impl Mapping {
    /// # Errors
    /// `LoadInvalid` with all columns that do not fit the type, and those that are missing.
    pub(in super::super) fn new(plan: &Plan, at: usize, schema: &Schema) -> Result<Self> {
        let Some(type_plan) = plan.types.get(at) else {
            return Err(Error::internal("rows of a type that the schema lacks"));
        };
        let mut mapping = Self {
            at,
            id: None,
            ends: None,
            properties: Vec::new(),
        };
        let mut found = Vec::new();
        let mut ends: [Vec<End>; 2] = Default::default();
        for (column, field) in schema.fields().iter().enumerate() {
            let name = field.name().as_str();
            let known = type_plan.properties.iter();
            let mut known = known.map(|plan| &plan.property);
            if schema
                .fields()
                .iter()
                .take(column)
                .any(|other| other.name() == name)
            {
                let message = format!("column `{name}` is there twice");
                found.push(Diagnostic::error(Code::R403, message));
            } else if let Some(position) = known.position(|property| property.name == name) {
                let property = &type_plan.properties[position].property;
                if !accepts(&property.data_type, field.data_type()) {
                    found.push(misfit(type_plan, property, field.data_type()));
                }
                mapping.properties.push((column, position));
            } else if name == "id" {
                if !is_text(field.data_type()) {
                    let message = format!("column `id` is {}, ids are texts", field.data_type());
                    found.push(Diagnostic::error(Code::R416, message));
                }
                mapping.id = Some(column);
            } else if let (Some(end), Some(types)) = (end_of(name), type_plan.ends) {
                match End::new(plan, types[end], column, MEMBERS[end], field.data_type()) {
                    Ok(made) => ends[end].push(made),
                    Err(diagnostic) => found.push(diagnostic),
                }
            } else {
                let message = format!("{} has no property `{name}`", type_plan.name);
                found.push(Diagnostic::error(Code::R405, message).path(&type_plan.name));
            }
        }
        found.extend(mapping.absent(type_plan));
        if type_plan.is_edge() {
            mapping.ends = both(ends, schema, &mut found);
        }
        match found.is_empty() {
            true => Ok(mapping),
            false => Err(wrong(found)),
        }
    }

    /// Required properties without a column and without a default.
    fn absent(&self, type_plan: &TypePlan) -> Vec<Diagnostic> {
        let plans = type_plan.properties.iter().enumerate();
        plans
            .filter(|(position, plan)| {
                plan.must_be_given() && self.properties.iter().all(|(_, known)| known != position)
            })
            .map(|(_, plan)| {
                let property = &plan.property;
                let message = format!(
                    "{}: there is no column `{}`",
                    missing(property).message,
                    property.name
                );
                let path = format!("{}.{}", type_plan.name, property.name);
                Diagnostic::error(Code::R410, message).path(path)
            })
            .collect()
    }

    fn row(
        &self,
        parser: &mut Parser,
        type_plan: &TypePlan,
        batch: &RecordBatch,
        row: usize,
        number: u32,
    ) -> Result<(), Fault> {
        parser.begin(type_plan);
        for (column, position) in &self.properties {
            let array = batch.column(*column).as_ref();
            let plan = &type_plan.properties[*position];
            parser.seen[*position] = true;
            if is_null(array, row) {
                parser.store_null(plan, self.at, *position)?;
            } else if let (true, Some(text)) =
                (is_free_text(&plan.property.data_type), text(array, row))
            {
                parser.store_text(type_plan, self.at, *position, text)?;
            } else {
                let value = cell(array, row, &plan.property.data_type)
                    .map_err(|error| Fault::of(&plan.property.name, error))?;
                parser.store(type_plan, self.at, *position, value)?;
            }
        }
        let ends = match &self.ends {
            None => None,
            Some([from, to]) => Some([from.id(batch, row)?, to.id(batch, row)?]),
        };
        let given = self.id.map(|column| batch.column(column).as_ref());
        let given = given.filter(|array| !is_null(*array, row));
        let given = given.and_then(|array| text(array, row)).map(Cow::Borrowed);
        parser.complete(self.at)?;
        parser.finish_row(self.at, given, ends, number)
    }
}

fn is_free_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Scalar(Scalar::String))
}

const MEMBERS: [&str; 2] = ["from", "to"];

fn end_of(name: &str) -> Option<usize> {
    match name {
        "from" | "src" => Some(0),
        "to" | "dst" => Some(1),
        _ => None,
    }
}

impl End {
    fn new(
        plan: &Plan,
        node: usize,
        column: usize,
        member: &'static str,
        found: &Arrow,
    ) -> Result<Self, Diagnostic> {
        let Some(node) = plan.types.get(node) else {
            return Err(Diagnostic::error(Code::R404, "an end has no type"));
        };
        let keys: Vec<&Property> = node.key_properties().collect();
        let form = match (found, keys.as_slice()) {
            (found, _) if is_text(found) => Some(EndForm::Id),
            (Arrow::Struct(fields), keys) if fields.len() == keys.len() => {
                let place = |key: &&Property| {
                    let (at, field) = fields.find(&key.name)?;
                    let fits = accepts(&key.data_type, field.data_type());
                    fits.then(|| (at, (*key).clone()))
                };
                let members: Option<Vec<_>> = keys.iter().map(place).collect();
                members.map(EndForm::Members)
            }
            (found, [only]) if accepts(&only.data_type, found) => {
                Some(EndForm::Key((*only).clone()))
            }
            _ => None,
        };
        form.map(|form| Self {
            column,
            member,
            form,
        })
        .ok_or_else(|| {
            let message = format!(
                "`{member}` has to be the id of a {}, the column is {found}",
                node.name
            );
            Diagnostic::error(Code::R402, message)
        })
    }

    fn id<'a>(&self, batch: &'a RecordBatch, row: usize) -> Result<Cow<'a, str>, Fault> {
        let array = batch.column(self.column).as_ref();
        let absent = || Fault::new(Code::R402, format!("`{}` is null", self.member));
        if is_null(array, row) {
            return Err(absent());
        }
        let spell = |array: &dyn Array, key: &Property| {
            if is_null(array, row) {
                return Err(absent());
            }
            cell(array, row, &key.data_type)
                .and_then(|value| value::spell(&value))
                .map_err(|e: ValueError| Fault::of(self.member, e))
        };
        match &self.form {
            EndForm::Id => text(array, row).map(Cow::Borrowed).ok_or_else(absent),
            EndForm::Key(key) => {
                let spelled = spell(array, key)?;
                Ok(Cow::Owned(value::derive_id(&[spelled])))
            }
            EndForm::Members(members) => {
                let columns = array.as_struct();
                let spelled = members.iter();
                let spelled = spelled.map(|(at, key)| spell(columns.column(*at).as_ref(), key));
                let spelled = spelled.collect::<Result<Vec<_>, _>>()?;
                Ok(Cow::Owned(value::derive_id(&spelled)))
            }
        }
    }
}

/// Exactly one column for each end.
fn both(ends: [Vec<End>; 2], schema: &Schema, found: &mut Vec<Diagnostic>) -> Option<[End; 2]> {
    let mut one = |mut columns: Vec<End>, member: &str, other: &str| {
        if columns.len() > 1 {
            let message = format!("the columns `{member}` and `{other}` exclude each other");
            found.push(Diagnostic::error(Code::R402, message));
        }
        let is_there = schema
            .fields()
            .iter()
            .any(|f| f.name() == member || f.name() == other);
        if !is_there {
            let message = format!("an edge needs a column `{member}` or `{other}`");
            found.push(Diagnostic::error(Code::R402, message));
        }
        columns.pop()
    };
    let [from, to] = ends;
    let from = one(from, "from", "src");
    let to = one(to, "to", "dst");
    Some([from?, to?])
}

fn misfit(type_plan: &TypePlan, property: &Property, found: &Arrow) -> Diagnostic {
    let message = format!(
        "column `{}` is {found}, which cannot become {}",
        property.name, property.data_type
    );
    Diagnostic::error(Code::R406, message).path(format!("{}.{}", type_plan.name, property.name))
}

fn wrong(found: Vec<Diagnostic>) -> Error {
    Error::diagnostics(ErrorKind::LoadInvalid, found)
}

fn violation(type_plan: &TypePlan, fault: Fault, row: u32) -> Violation {
    let (code, message, property) = match fault {
        Fault::Found {
            code,
            message,
            property,
        } => (code, message, property),
        Fault::Form => (Code::R402, "the row has no form".to_owned(), None),
    };
    let mut violation = Violation::new(Check::Shape, &type_plan.name, code, message);
    if let Some(property) = property {
        violation = violation.property(&property);
    }
    violation.line(Some(u64::from(row)))
}
