//! What the rows that exist have to say about a change of schema. Only columns that a new rule is
//! about are read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_select::take::take;
use omnigraph_lang::schema::{
    Cardinality, Catalog, DefaultValue, EntityType, Member, Property, PropertyId, TypeBody, TypeId,
};
use omnigraph_lang::value::Value;
use omnigraph_lang::{Code, Diagnostic};
use rustc_hash::FxHashMap;

use super::offenders::{Findings, Offenders, Rule};
use crate::error::{Error, Result};
use crate::exec::{TableSnapshot, values};
use crate::graph::{Graph, Snapshot, Touched};
use crate::table::{Fills, or_value};
use crate::write::{Shape, TupleHasher, View, member_name, shorten};

/// What the rows of a snapshot ask of a change.
#[derive(Debug, Default)]
pub(super) struct Demands {
    /// What forbids it.
    pub(super) found: Vec<Diagnostic>,
    /// How many entities do.
    pub(super) violations: u64,
    /// Values that have to be filled in.
    pub(super) fills: BTreeMap<TypeId, Fills>,
    /// Types whose rows were looked at.
    pub(super) read: BTreeSet<TypeId>,
    /// Rows that get values.
    pub(super) touched: Vec<Touched>,
}

/// Holds the rows of a snapshot against a desired schema that the language supports.
pub(super) async fn demands(
    graph: &Graph,
    snapshot: &Snapshot,
    desired: &Catalog,
) -> Result<Demands> {
    let view = View::new(graph, snapshot);
    let now = graph.store().clock().now_micros().div_euclid(1000);
    let mut demands = Demands::default();
    let mut findings = Findings::default();
    for after in desired.entities() {
        let id = after.body().id;
        let Some(before) = view.catalog().entity(id) else {
            continue;
        };
        let new = NewRules::between(before, after);
        if new.is_empty() {
            continue;
        }
        demands.read.insert(id);
        let rows = snapshot.table(id)?.rows;
        if rows == 0 {
            continue;
        }
        if graph.tables().is_outline() {
            findings.unseen(after.body(), rows);
            continue;
        }
        let table = view.table(id).await?;
        let mut rows = Rows {
            before: before.body(),
            after,
            live: table.live().collect(),
            table,
            fills: Fills::new(),
            touched: 0,
        };
        rows.hold_against(&new, now, &mut findings).await?;
        if rows.touched > 0 {
            demands.touched.push(Touched {
                edge: matches!(after, EntityType::Edge(_)),
                type_name: after.body().name.clone(),
                inserted: 0,
                updated: rows.touched,
                deleted: 0,
            });
        }
        if !rows.fills.is_empty() {
            demands.fills.insert(id, rows.fills);
        }
    }
    demands.violations = findings.total;
    demands.found = findings.found;
    Ok(demands)
}

/// The rules of a type that its rows have not been held against yet.
struct NewRules<'a> {
    /// Properties that are new and not simply null.
    added: Vec<&'a Property>,
    /// Properties that must have a value from now on.
    required: Vec<&'a Property>,
    uniques: Vec<&'a Vec<Member>>,
    /// Positions of properties with ranges or patterns.
    shapes: Vec<usize>,
    cardinality: Option<Cardinality>,
}

impl<'a> NewRules<'a> {
    fn between(before: EntityType<'a>, after: EntityType<'a>) -> Self {
        let (old, new) = (before.body(), after.body());
        let was = |p: &Property| old.property_by_id(p.id);
        let added = new
            .properties
            .iter()
            .filter(|p| was(p).is_none() && (p.default.is_some() || !p.nullable))
            .collect::<Vec<_>>();
        let required = new
            .properties
            .iter()
            .filter(|p| !p.nullable && was(p).is_some_and(|was| was.nullable))
            .collect::<Vec<_>>();
        // Where values are filled in, the old rules are to be kept as well.
        let filled: BTreeSet<PropertyId> = added
            .iter()
            .chain(&required)
            .filter(|p| p.default.is_some())
            .map(|p| p.id)
            .collect();
        let has_filled = |members: &[Member]| {
            let mut members = members.iter();
            members.any(|m| matches!(m, Member::Property(id) if filled.contains(id)))
        };
        let uniques = new.uniques.iter();
        let uniques = uniques
            .filter(|members| !old.uniques.contains(members) || has_filled(members))
            .collect();
        let has_new_shape = |p: &Property| {
            let ranges = new.ranges.iter().filter(|r| r.property == p.id);
            let checks = new.checks.iter().filter(|c| c.property == p.id);
            let (mut ranges, mut checks) = (ranges.peekable(), checks.peekable());
            let some = ranges.peek().is_some() || checks.peek().is_some();
            some && filled.contains(&p.id)
                || ranges.any(|range| !old.ranges.contains(range))
                || checks.any(|check| !old.checks.contains(check))
        };
        let positions = new.properties.iter().enumerate();
        let shapes = positions
            .filter(|(_, p)| has_new_shape(p))
            .map(|(position, _)| position)
            .collect();
        Self {
            added,
            required,
            uniques,
            shapes,
            cardinality: tightened(before, after),
        }
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty()
            && self.required.is_empty()
            && self.uniques.is_empty()
            && self.shapes.is_empty()
            && self.cardinality.is_none()
    }
}

/// The bounds after the change, if they exclude something that was allowed.
fn tightened(before: EntityType<'_>, after: EntityType<'_>) -> Option<Cardinality> {
    let (EntityType::Edge(before), EntityType::Edge(after)) = (before, after) else {
        return None;
    };
    let (was, is) = (before.cardinality, after.cardinality);
    let max = |card: Cardinality| card.max.unwrap_or(u64::MAX);
    (is.min > was.min || max(is) < max(was)).then_some(is)
}

/// The live rows of one type, as they would be after the change.
struct Rows<'a> {
    before: &'a TypeBody,
    after: EntityType<'a>,
    table: Arc<TableSnapshot>,
    /// Ordinals.
    live: Vec<u32>,
    fills: Fills,
    /// Rows that get values.
    touched: u64,
}

impl Rows<'_> {
    async fn hold_against(
        &mut self,
        new: &NewRules<'_>,
        now: i64,
        findings: &mut Findings,
    ) -> Result<()> {
        for property in &new.added {
            self.added(property, now, findings);
        }
        for property in &new.required {
            self.required(property, now, findings).await?;
        }
        for members in &new.uniques {
            self.unique(members, findings).await?;
        }
        if !new.shapes.is_empty() {
            let shape = Shape::new(self.after.body())?;
            for position in &new.shapes {
                self.shape(&shape, *position, findings).await?;
            }
        }
        if let Some(cardinality) = new.cardinality {
            self.cardinality(cardinality, findings).await?;
        }
        Ok(())
    }

    fn path(&self, property: &Property) -> String {
        format!("{}.{}", self.after.body().name, property.name)
    }

    /// A new property: its default stands in every row.
    fn added(&mut self, property: &Property, now: i64, findings: &mut Findings) {
        if let Some(value) = default(property, now) {
            self.fills.insert(property.id, value);
            self.touched = self.live.len() as u64;
            return;
        }
        let rule = Rule {
            code: Code::M303,
            path: self.path(property),
            text: "a new required property without a default".to_owned(),
            hint: "give it @default(…), or make it optional",
        };
        let rows = self.live.len();
        findings.add(rule, rows as u64, rows, std::iter::empty());
    }

    /// A property that must have a value: its default stands where there is none.
    async fn required(
        &mut self,
        property: &Property,
        now: i64,
        findings: &mut Findings,
    ) -> Result<()> {
        let column = self.column(Member::Property(property.id)).await?;
        let mut missing = Offenders::default();
        if column.null_count() > 0 {
            for row in (0..column.len()).filter(|row| column.is_null(*row)) {
                missing.push(row, || "has no value".to_owned());
            }
        }
        if missing.total() == 0 {
            return Ok(());
        }
        if let Some(value) = default(property, now) {
            self.touched = self.touched.max(missing.total());
            self.fills.insert(property.id, value);
            return Ok(());
        }
        let rule = Rule {
            code: Code::M304,
            path: self.path(property),
            text: format!("required {}", property.data_type),
            hint: "give these entities a value, or the property a @default(…)",
        };
        findings
            .report(rule, missing, &self.table, &self.live)
            .await
    }

    /// No two entities share the tuple.
    async fn unique(&self, members: &[Member], findings: &mut Findings) -> Result<()> {
        let body = self.after.body();
        let mut columns = Vec::with_capacity(members.len());
        let mut names = Vec::with_capacity(members.len());
        for member in members {
            columns.push(self.column(*member).await?);
            names.push(member_name(body, *member)?);
        }
        let mut first: FxHashMap<u128, usize> = FxHashMap::default();
        let mut again = Offenders::default();
        let ids = self.table.column("id").await?;
        for (row, tuple) in TupleHasher::default()
            .rows(&columns)?
            .into_iter()
            .enumerate()
        {
            let Some(tuple) = tuple else { continue };
            let other = *first.entry(tuple).or_insert(row);
            if other != row {
                let id = ids.text(self.live[other]).unwrap_or_default();
                again.push(row, || format!("has the same values as `{}`", shorten(id)));
            }
        }
        let path = match names.as_slice() {
            [one] => format!("{}.{one}", body.name),
            _ => body.name.clone(),
        };
        let rule = Rule {
            code: Code::M307,
            path,
            text: format!("@unique({})", names.join(", ")),
            hint: "change these entities first",
        };
        findings.report(rule, again, &self.table, &self.live).await
    }

    /// The ranges and patterns of one property.
    async fn shape(&self, shape: &Shape, position: usize, findings: &mut Findings) -> Result<()> {
        let body = self.after.body();
        let property = &body.properties[position];
        let Some(rules) = shape.property(position) else {
            return Ok(());
        };
        let column = self.column(Member::Property(property.id)).await?;
        let mut broken = Offenders::default();
        for row in 0..column.len() {
            if column.is_null(row) {
                continue;
            }
            if let Err(error) = rules.check(&values::value_at(column.as_ref(), row)) {
                broken.push(row, || error.message);
            }
        }
        let ranges = body
            .ranges
            .iter()
            .any(|range| range.property == property.id);
        let checks = body
            .checks
            .iter()
            .any(|check| check.property == property.id);
        let text = match (ranges, checks) {
            (true, true) => format!("@range and @check of {}", property.name),
            (true, false) => format!("@range of {}", property.name),
            (false, _) => format!("@check of {}", property.name),
        };
        let rule = Rule {
            code: Code::M307,
            path: self.path(property),
            text,
            hint: "change these entities first",
        };
        findings.report(rule, broken, &self.table, &self.live).await
    }

    /// Sources that have edges have as many as they may.
    async fn cardinality(&self, bounds: Cardinality, findings: &mut Findings) -> Result<()> {
        let sources = self.table.column("src").await?;
        let mut counts: FxHashMap<&str, u64> = FxHashMap::default();
        for ordinal in &self.live {
            if let Some(source) = sources.text(*ordinal) {
                *counts.entry(source).or_default() += 1;
            }
        }
        let of = counts.len();
        let fits = |count: u64| count >= bounds.min && bounds.max.is_none_or(|max| count <= max);
        let mut broken: Vec<_> = counts.into_iter().filter(|(_, n)| !fits(*n)).collect();
        if broken.is_empty() {
            return Ok(());
        }
        broken.sort_unstable();
        let max = bounds.max.map_or_else(String::new, |max| max.to_string());
        let name = &self.after.body().name;
        let rule = Rule {
            code: Code::M307,
            path: name.clone(),
            text: format!("@card({}..{max})", bounds.min),
            hint: "add or delete edges of these nodes first",
        };
        let total = broken.len() as u64;
        let named = broken.into_iter().map(|(source, count)| {
            let edges = if count == 1 { "edge" } else { "edges" };
            (
                shorten(source),
                format!("has {count} {edges} of type {name}"),
            )
        });
        findings.add(rule, total, of, named);
        Ok(())
    }

    /// The values of the live rows after the change.
    async fn column(&self, member: Member) -> Result<ArrayRef> {
        let name = match member {
            Member::Src => "src",
            Member::Dst => "dst",
            Member::Property(id) => match self.before.property_by_id(id) {
                Some(before) => &before.name,
                None => return self.new_column(id),
            },
        };
        let stored = self.table.column(name).await?.gather(&self.live)?;
        let Member::Property(id) = member else {
            return Ok(stored);
        };
        match self.fills.get(&id) {
            None => Ok(stored),
            Some(value) => {
                let one = values::array_of(stored.data_type(), std::slice::from_ref(value))?;
                or_value(&stored, one)
            }
        }
    }

    fn new_column(&self, id: PropertyId) -> Result<ArrayRef> {
        let property = self
            .after
            .body()
            .property_by_id(id)
            .ok_or_else(|| Error::internal("a rule names no property"))?;
        let data_type = values::storage_type(&property.data_type);
        let value = self.fills.get(&id).unwrap_or(&Value::Null);
        let one = values::array_of(&data_type, std::slice::from_ref(value))?;
        Ok(take(
            &one,
            &UInt32Array::from(vec![0; self.live.len()]),
            None,
        )?)
    }
}

/// What stands in rows that have no value. `now` is in epoch milliseconds.
fn default(property: &Property, now: i64) -> Option<Value> {
    match property.default.as_ref()? {
        DefaultValue::Value(value) => Some(value.clone()),
        DefaultValue::Now => Some(Value::DateTime(now)),
    }
}
