//! Lines of a data file become columns. Whatever is said of a line is the first thing wrong in it.

use std::borrow::Cow;
use std::sync::Arc;

use omnigraph_lang::Code;
use omnigraph_lang::value::{self, ValueError};
use ulid::Ulid;

use super::columns::{RowBatch, Rows};
use super::endpoint::endpoint;
use super::json::{Reader, Unexpected};
use super::plan::{Plan, TypePlan};
use crate::error::Result;
use crate::write::shape::{missing, omitted};
use crate::write::violations::{Check, Violation, Violations};

/// Reads the lines of one chunk.
pub(super) struct Parser {
    pub(super) plan: Arc<Plan>,
    /// By the type's position.
    rows: Vec<Option<Rows>>,
    /// Which members the current line has given, by the property's position.
    pub(super) seen: Vec<bool>,
    /// The key of the current line as it is spelled in ids, by the place in the key.
    pub(super) spelled: Vec<String>,
    violations: Violations,
}

/// What a chunk was found to hold.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// Rows by the type's position; none if there are violations.
    pub(super) batches: Vec<(usize, RowBatch)>,
    pub(super) violations: Violations,
}

/// Why a line is refused.
#[derive(Debug)]
pub(super) enum Fault {
    /// Not JSON, a repeated member, or not the form of an envelope: found out by parsing anew.
    Form,
    Found {
        code: Code,
        message: String,
        property: Option<String>,
    },
}

impl Fault {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self::Found {
            code,
            message: message.into(),
            property: None,
        }
    }

    pub(super) fn of(property: &str, error: ValueError) -> Self {
        Self::Found {
            code: error.code,
            message: error.message,
            property: Some(property.to_owned()),
        }
    }
}

impl From<Unexpected> for Fault {
    fn from(_: Unexpected) -> Self {
        Self::Form
    }
}

/// The members of a line, as far as they are known.
#[derive(Default)]
struct Envelope<'a> {
    node: Option<Cow<'a, str>>,
    edge: Option<Cow<'a, str>>,
    ends: [Option<&'a str>; 2],
    data: Data<'a>,
}

#[derive(Default)]
enum Data<'a> {
    #[default]
    Absent,
    /// It came before the type; its text.
    Waiting(&'a str),
    /// Read into the columns, with the id that it gave.
    Read(Option<Cow<'a, str>>),
}

impl Parser {
    pub(super) fn new(plan: Arc<Plan>) -> Self {
        let rows = plan.types.iter().map(|_| None).collect();
        Self {
            plan,
            rows,
            seen: Vec::new(),
            spelled: Vec::new(),
            violations: Violations::default(),
        }
    }

    /// Reads one line; `number` counts from 1.
    pub(super) fn line(&mut self, text: &str, number: u32) {
        let Err(fault) = self.try_line(text, number) else {
            return;
        };
        self.refuse(explain(text, number, fault));
    }

    /// A line that is not even text.
    pub(super) fn not_text(&mut self, number: u32) {
        let message = "not JSON: the line is not valid UTF-8".to_owned();
        self.violations.push(
            Violation::new(Check::Shape, "", Code::R401, message).line(Some(u64::from(number))),
        );
    }

    pub(super) fn finish(self) -> Result<Parsed> {
        let mut parsed = Parsed {
            batches: Vec::new(),
            violations: self.violations,
        };
        if !parsed.violations.is_empty() {
            return Ok(parsed);
        }
        for (position, rows) in self.rows.into_iter().enumerate() {
            if let (Some(rows), Some(plan)) = (rows, self.plan.types.get(position)) {
                parsed.batches.push((position, rows.finish(&plan.parsed)?));
            }
        }
        Ok(parsed)
    }

    fn try_line(&mut self, text: &str, number: u32) -> Result<(), Fault> {
        let mut reader = Reader::new(text);
        let mut envelope = Envelope::default();
        let mut type_at = None;
        let mut first = true;
        while let Some(name) = reader.member(&mut first)? {
            match name.as_ref() {
                "type" if envelope.node.is_none() => {
                    let name = envelope.node.insert(reader.string()?);
                    type_at = Some(self.node_type(name)?);
                }
                "edge" if envelope.edge.is_none() => {
                    let name = envelope.edge.insert(reader.string()?);
                    type_at = Some(self.edge_type(name)?);
                }
                "from" if envelope.ends[0].is_none() => envelope.ends[0] = Some(reader.raw()?),
                "to" if envelope.ends[1].is_none() => envelope.ends[1] = Some(reader.raw()?),
                "data" if matches!(envelope.data, Data::Absent) => {
                    envelope.data = match type_at {
                        Some(at) => Data::Read(self.data(&mut reader, at)?),
                        None => Data::Waiting(reader.raw()?),
                    };
                }
                "type" | "edge" | "from" | "to" | "data" => return Err(Fault::Form),
                _ if self.plan.permissive => {
                    reader.raw()?;
                }
                other => {
                    return Err(Fault::new(
                        Code::R402,
                        format!("unknown member `{other}` beside type, edge, from, to, data"),
                    ));
                }
            }
        }
        if !reader.is_at_end() {
            return Err(Fault::Form);
        }
        self.entity(envelope, type_at, number)
    }

    fn entity(
        &mut self,
        envelope: Envelope<'_>,
        type_at: Option<usize>,
        number: u32,
    ) -> Result<(), Fault> {
        let (Some(at), true) = (type_at, envelope.node.is_some() ^ envelope.edge.is_some()) else {
            return Err(Fault::new(
                Code::R402,
                "exactly one of `type` and `edge` is expected",
            ));
        };
        let ends = self.ends(at, envelope.ends)?;
        let given = match envelope.data {
            Data::Read(given) => given,
            Data::Waiting(text) => self.data(&mut Reader::new(text), at)?,
            Data::Absent => self.data(&mut Reader::new("{}"), at)?,
        };
        self.complete(at)?;
        self.finish_row(at, given, ends, number)
    }

    fn node_type(&self, name: &str) -> Result<usize, Fault> {
        let unknown = || Fault::new(Code::R404, format!("unknown node type `{name}`"));
        self.plan.node(name).ok_or_else(unknown)
    }

    fn edge_type(&self, name: &str) -> Result<usize, Fault> {
        let unknown = || Fault::new(Code::R404, format!("unknown edge type `{name}`"));
        self.plan.edge(name).ok_or_else(unknown)
    }

    /// The ids of the ends of an edge.
    fn ends<'a>(
        &self,
        at: usize,
        given: [Option<&'a str>; 2],
    ) -> Result<Option<[Cow<'a, str>; 2]>, Fault> {
        let types = self.plan.types.get(at).and_then(|plan| plan.ends);
        match (types, given) {
            (None, [None, None]) => Ok(None),
            (None, _) => Err(Fault::new(Code::R402, "a node has no `from` and `to`")),
            (Some([from, to]), [Some(src), Some(dst)]) => Ok(Some([
                endpoint(&self.plan, from, "from", src)?,
                endpoint(&self.plan, to, "to", dst)?,
            ])),
            (Some(_), _) => Err(Fault::new(Code::R402, "an edge needs `from` and `to`")),
        }
    }

    /// Reads the object of properties into the columns of the type.
    fn data<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        at: usize,
    ) -> Result<Option<Cow<'a, str>>, Fault> {
        let plan = Arc::clone(&self.plan);
        let Some(type_plan) = plan.types.get(at) else {
            return Err(Fault::Form);
        };
        if reader.peek() != Some(b'{') {
            return Err(Fault::new(Code::R402, "`data` has to be an object"));
        }
        self.begin(type_plan);
        let mut given = None;
        let mut hint = 0;
        let mut first = true;
        while let Some(name) = reader.member(&mut first)? {
            if let Some(position) = type_plan.position(&name, hint) {
                hint = position + 1;
                if std::mem::replace(&mut self.seen[position], true) {
                    return Err(Fault::Form);
                }
                self.value(reader, type_plan, at, position)?;
            } else if name == "id" {
                if given.is_some() {
                    return Err(Fault::Form);
                }
                if reader.peek() != Some(b'"') {
                    return Err(Fault::new(Code::R416, "`id` has to be a text"));
                }
                given = Some(reader.string()?);
            } else if plan.permissive {
                reader.raw()?;
            } else {
                return Err(Fault::new(Code::R405, format!("unknown member `{name}`")));
            }
        }
        Ok(given)
    }

    /// Forgets what the line before has given.
    pub(super) fn begin(&mut self, type_plan: &TypePlan) {
        self.seen.clear();
        self.seen.resize(type_plan.properties.len(), false);
        self.spelled.iter_mut().for_each(String::clear);
        self.spelled
            .resize(type_plan.key_len.unwrap_or(0), String::new());
    }

    /// Notes a row that is refused.
    pub(super) fn refuse(&mut self, violation: Violation) {
        // Columns may have grown unevenly, and nothing of this load will be stored.
        self.rows.iter_mut().for_each(|rows| *rows = None);
        self.violations.push(violation);
    }

    /// Gives what the line has left out its default or null.
    pub(super) fn complete(&mut self, at: usize) -> Result<(), Fault> {
        let plan = Arc::clone(&self.plan);
        let properties = plan.types.get(at).map_or(&[][..], |plan| &plan.properties);
        for (position, property) in properties.iter().enumerate() {
            if self.seen.get(position) == Some(&true) {
                continue;
            }
            let must_be_given = property.must_be_given();
            let property = &property.property;
            if must_be_given {
                return Err(Fault::of(&property.name, missing(property)));
            }
            let value = omitted(property, plan.now);
            if let Some(column) = self.rows(at).columns.get_mut(position) {
                if value.is_null() {
                    column.append_null();
                } else {
                    column.append(value);
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish_row(
        &mut self,
        at: usize,
        given: Option<Cow<'_, str>>,
        ends: Option<[Cow<'_, str>; 2]>,
        number: u32,
    ) -> Result<(), Fault> {
        let plan = Arc::clone(&self.plan);
        let Some(type_plan) = plan.types.get(at) else {
            return Err(Fault::Form);
        };
        if let Some(ends) = &ends {
            for (slot, end) in type_plan.end_slots.iter().zip(ends) {
                if let Some(spelled) = slot.and_then(|slot| self.spelled.get_mut(slot)) {
                    spelled.push_str(end);
                }
            }
        }
        let derived;
        let mut buffer = [0; 26];
        let mut fresh = false;
        let id = match (type_plan.key_len, &given) {
            (Some(1), None) => self.spelled.first().map_or("", String::as_str),
            (Some(_), given) => {
                derived = value::derive_id(&self.spelled);
                if given.as_ref().is_some_and(|given| *given != derived) {
                    return Err(Fault::new(
                        Code::R416,
                        format!("the key makes the id `{derived}`, not the given one"),
                    ));
                }
                &derived
            }
            (None, Some(given)) if given.is_empty() => {
                return Err(Fault::new(Code::R416, "`id` must not be empty"));
            }
            (None, Some(given)) => given,
            (None, None) => {
                fresh = true;
                fresh_id(plan.now, &mut buffer)
            }
        };
        // Split borrows: `id` may lie in `self.spelled`.
        let rows = self.rows[at].get_or_insert_with(|| new_rows(&plan, at));
        rows.ids.append_value(id);
        if let (Some((src, dst)), Some([from, to])) = (&mut rows.ends, &ends) {
            src.append_value(from);
            dst.append_value(to);
        }
        rows.lines.push(number);
        rows.fresh.push(fresh);
        Ok(())
    }

    pub(super) fn rows(&mut self, at: usize) -> &mut Rows {
        let plan = &self.plan;
        self.rows[at].get_or_insert_with(|| new_rows(plan, at))
    }
}

fn new_rows(plan: &Plan, at: usize) -> Rows {
    let type_plan = &plan.types[at];
    let types = type_plan
        .properties
        .iter()
        .map(|plan| &plan.property.data_type);
    Rows::new(type_plan.is_edge(), types)
}

/// A ULID of this moment.
pub(crate) fn fresh_id(now_millis: i64, buffer: &mut [u8; 26]) -> &str {
    let random = rand::RngExt::random(&mut rand::rng());
    let ulid = Ulid::from_parts(u64::try_from(now_millis).unwrap_or(0), random);
    ulid.array_to_str(buffer)
}

/// Malformed JSON and repeated members come before everything else that may be wrong in a line.
fn explain(text: &str, number: u32, fault: Fault) -> Violation {
    // The complete parser also refuses numbers that no float can hold; those are JSON.
    let malformed = value::parse_json_strict(text)
        .err()
        .filter(|error| error.code == Code::R403 || !Reader::is_json(text));
    let (code, message, property) = match (malformed, fault) {
        (Some(error), _) => (error.code, error.message, None),
        (
            None,
            Fault::Found {
                code,
                message,
                property,
            },
        ) => (code, message, property),
        (None, Fault::Form) => (
            Code::R402,
            r#"expected {"type": …, "data": {…}} or {"edge": …, "from": …, "to": …, "data": {…}}"#
                .to_owned(),
            None,
        ),
    };
    let type_name = type_of(text);
    let mut violation = Violation::new(Check::Shape, &type_name, code, message);
    if let Some(property) = property {
        violation = violation.property(&property);
    }
    violation.line(Some(u64::from(number)))
}

/// The type that a refused line names, if it names one.
fn type_of(text: &str) -> String {
    let line: Option<serde_json::Value> = serde_json::from_str(text).ok();
    let name = |member| line.as_ref()?.get(member)?.as_str().map(str::to_owned);
    name("type").or_else(|| name("edge")).unwrap_or_default()
}
