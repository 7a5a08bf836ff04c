//! Mutations as section 11 puts them, and the rules of section 7 of the schema language.

use std::collections::{BTreeMap, BTreeSet};

use omnigraph_lang::Code;
use omnigraph_lang::query::{Assignment, Endpoint, Ends, Expr, Statement};
use omnigraph_lang::schema::{DefaultValue, EntityType, Member, PropertyId, TypeId};
use omnigraph_lang::value::{Value, coerce, compare, derive_id, spell};

use super::data::{Entity, World};
use super::expr::Scope;

/// What a mutation leaves behind.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) world: World,
    /// Nodes and edges by statement.
    pub(super) counts: Vec<[u64; 2]>,
}

/// Runs statements; else the codes of what is wrong.
pub(super) fn mutate(
    world: &World,
    statements: &[Statement],
    params: &[Value],
    now: i64,
) -> Result<Written, BTreeSet<Code>> {
    let mut run = Run {
        world: world.clone(),
        params,
        now,
        wrong: BTreeSet::new(),
        fresh: 0,
    };
    let mut counts = Vec::new();
    for statement in statements {
        let count = run.statement(statement);
        counts.push(count.map_err(|code| BTreeSet::from([code]))?);
    }
    if !run.wrong.is_empty() {
        return Err(run.wrong);
    }
    let found = violations(world, &run.world);
    match found.is_empty() {
        true => Ok(Written {
            world: run.world,
            counts,
        }),
        false => Err(found),
    }
}

/// Rules that the second state breaks, if the first keeps them all.
pub(super) fn violations(before: &World, after: &World) -> BTreeSet<Code> {
    let mut found = BTreeSet::new();
    for entity in after.catalog.entities() {
        let ty = entity.body().id;
        let rows: Vec<&Entity> = after.entities.iter().filter(|e| e.ty == ty).collect();
        for row in &rows {
            found.extend(shape(after, row, &[]));
        }
        for tuple in &entity.body().uniques {
            let mut seen: Vec<Vec<Value>> = Vec::new();
            for row in &rows {
                let values: Vec<Value> = tuple
                    .iter()
                    .map(|member| self::member(row, *member))
                    .collect();
                if values.iter().any(Value::is_null) {
                    continue;
                }
                if seen.contains(&values) {
                    found.insert(Code::R414);
                }
                seen.push(values);
            }
        }
        let EntityType::Edge(edge) = entity else {
            continue;
        };
        for row in &rows {
            let [from, to] = row.ends.as_ref().expect("an edge");
            if after.find(edge.from, from).is_none() || after.find(edge.to, to).is_none() {
                found.insert(Code::R417);
            }
        }
        for at in after.of_type(edge.from) {
            let source = &after.entities[at].id;
            let of = |world: &World| {
                let mut edges: Vec<String> = world
                    .entities
                    .iter()
                    .filter(|e| {
                        e.ty == ty && e.ends.as_ref().is_some_and(|ends| ends[0] == *source)
                    })
                    .map(|e| e.id.clone())
                    .collect();
                edges.sort_unstable();
                edges
            };
            let (old, new) = (of(before), of(after));
            let count = new.len() as u64;
            let within = count >= edge.cardinality.min
                && edge.cardinality.max.is_none_or(|max| count <= max);
            if old != new && !within {
                found.insert(Code::R418);
            }
        }
    }
    found
}

fn member(row: &Entity, member: Member) -> Value {
    match member {
        Member::Src => Value::String(row.ends.as_ref().expect("an edge")[0].clone()),
        Member::Dst => Value::String(row.ends.as_ref().expect("an edge")[1].clone()),
        Member::Property(id) => row.values.get(&id).cloned().unwrap_or(Value::Null),
    }
}

/// What is wrong with a row by itself, some properties apart.
fn shape(world: &World, row: &Entity, apart: &[PropertyId]) -> BTreeSet<Code> {
    let mut wrong = BTreeSet::new();
    let body = world.body(row.ty);
    for property in body.properties.iter().filter(|p| !apart.contains(&p.id)) {
        let value = row.values.get(&property.id).unwrap_or(&Value::Null);
        if value.is_null() {
            if !property.nullable {
                wrong.insert(Code::R410);
            }
            continue;
        }
        for range in body.ranges.iter().filter(|r| r.property == property.id) {
            let below = range
                .low
                .as_ref()
                .is_some_and(|low| compare(value, low).is_some_and(|o| o.is_lt()));
            let above = range
                .high
                .as_ref()
                .is_some_and(|high| compare(value, high).is_some_and(|o| o.is_gt()));
            if below || above {
                wrong.insert(Code::R412);
            }
        }
        for check in body.checks.iter().filter(|c| c.property == property.id) {
            let pattern = regex::Regex::new(&check.pattern).expect("checked");
            if let Value::String(text) = value
                && !pattern.is_match(text)
            {
                wrong.insert(Code::R413);
            }
        }
    }
    wrong
}

struct Run<'a> {
    world: World,
    params: &'a [Value],
    now: i64,
    wrong: BTreeSet<Code>,
    fresh: usize,
}

type Values = BTreeMap<PropertyId, Value>;

impl Run<'_> {
    fn statement(&mut self, statement: &Statement) -> Result<[u64; 2], Code> {
        match statement {
            Statement::Insert {
                target,
                ends,
                assignments,
                ..
            } => self.put(*target, ends.as_ref(), assignments, false),
            Statement::Upsert {
                target,
                ends,
                assignments,
                ..
            } => self.put(*target, ends.as_ref(), assignments, true),
            Statement::Update {
                target,
                assignments,
                filter,
                ..
            } => {
                let found = self.matching(*target, filter)?;
                let count = self.count(*target, found.len());
                let former = self.world.clone();
                for at in found {
                    for assignment in assignments {
                        let own = &former.entities[at];
                        let value = self.eval(&assignment.value, Some(own))?;
                        if let Some(value) = self.fits(*target, assignment, value) {
                            self.world.entities[at]
                                .values
                                .insert(assignment.property, value);
                        }
                    }
                    if self.world.entities[at] != former.entities[at] {
                        self.wrong
                            .extend(shape(&self.world, &self.world.entities[at], &[]));
                    }
                }
                Ok(count)
            }
            Statement::Delete { target, filter, .. } => {
                let found = self.matching(*target, filter)?;
                let [mut nodes, mut edges] = self.count(*target, found.len());
                let gone: Vec<Entity> = found
                    .iter()
                    .map(|at| self.world.entities[*at].clone())
                    .collect();
                self.world.entities.retain(|e| !gone.contains(e));
                if self.world.catalog.node_by_id(*target).is_some() {
                    let before = self.world.entities.len();
                    let catalog = self.world.catalog.clone();
                    let ids: Vec<&String> = gone.iter().map(|e| &e.id).collect();
                    self.world.entities.retain(|e| {
                        let Some(edge) = catalog.edge_by_id(e.ty) else {
                            return true;
                        };
                        let ends = e.ends.as_ref().expect("an edge");
                        !((edge.from == *target && ids.contains(&&ends[0]))
                            || (edge.to == *target && ids.contains(&&ends[1])))
                    });
                    edges += (before - self.world.entities.len()) as u64;
                    nodes = gone.len() as u64;
                }
                Ok([nodes, edges])
            }
        }
    }

    fn count(&self, ty: TypeId, count: usize) -> [u64; 2] {
        match self.world.catalog.node_by_id(ty) {
            Some(_) => [count as u64, 0],
            None => [0, count as u64],
        }
    }

    fn scope<'s>(&'s self, own: Option<&'s Entity>) -> Scope<'s> {
        Scope {
            world: &self.world,
            params: self.params,
            now: self.now,
            row: &[],
            own,
            group: None,
        }
    }

    fn eval(&self, expr: &Expr, own: Option<&Entity>) -> Result<Value, Code> {
        let scope = Scope {
            world: &self.world,
            params: self.params,
            now: self.now,
            row: &[],
            own,
            group: None,
        };
        scope.eval(expr)
    }

    fn matching(&self, ty: TypeId, filter: &Expr) -> Result<Vec<usize>, Code> {
        let mut found = Vec::new();
        for at in self.world.of_type(ty) {
            let own = &self.world.entities[at];
            if self.scope(Some(own)).eval(filter)? == Value::Bool(true) {
                found.push(at);
            }
        }
        Ok(found)
    }

    /// The value in the property's type; what does not fit is noted.
    fn fits(&mut self, ty: TypeId, assignment: &Assignment, value: Value) -> Option<Value> {
        let property = self.world.body(ty).property_by_id(assignment.property);
        match coerce(value, &property.expect("a property").data_type) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong.insert(error.code);
                None
            }
        }
    }

    fn put(
        &mut self,
        ty: TypeId,
        ends: Option<&Ends>,
        assignments: &[Assignment],
        keep: bool,
    ) -> Result<[u64; 2], Code> {
        let mut given: Values = BTreeMap::new();
        let mut failed = Vec::new();
        for assignment in assignments {
            let value = self.eval(&assignment.value, None)?;
            match self.fits(ty, assignment, value) {
                Some(value) => {
                    given.insert(assignment.property, value);
                }
                None => failed.push(assignment.property),
            }
        }
        let count = self.count(ty, 1);
        let ends = match ends {
            None => None,
            Some(ends) => {
                let edge = self.world.catalog.edge_by_id(ty).expect("an edge");
                let (from, to) = (edge.from, edge.to);
                let from = self.end(from, &ends.from)?;
                let to = self.end(to, &ends.to)?;
                match (from, to) {
                    (Some(from), Some(to)) => Some([from, to]),
                    _ => return Ok(count),
                }
            }
        };
        let body = self.world.body(ty).clone();
        let id = match &body.key {
            None => {
                self.fresh += 1;
                format!("fresh {}", self.fresh)
            }
            Some(key) => {
                let mut spelled = Vec::new();
                for member in key {
                    let text = match member {
                        Member::Src => ends.as_ref().expect("an edge")[0].clone(),
                        Member::Dst => ends.as_ref().expect("an edge")[1].clone(),
                        Member::Property(id) if failed.contains(id) => return Ok(count),
                        Member::Property(id) => {
                            match spell(given.get(id).unwrap_or(&Value::Null)) {
                                Ok(text) => text,
                                Err(error) => {
                                    self.wrong.insert(error.code);
                                    return Ok(count);
                                }
                            }
                        }
                    };
                    spelled.push(text);
                }
                derive_id(&spelled)
            }
        };
        let known = self.world.find(ty, &id);
        let mut values: Values = match known {
            Some(at) if keep => self.world.entities[at].values.clone(),
            _ => body
                .properties
                .iter()
                .map(|p| {
                    let value = match &p.default {
                        Some(DefaultValue::Value(value)) => value.clone(),
                        Some(DefaultValue::Now) => Value::DateTime(self.now),
                        None => Value::Null,
                    };
                    (p.id, value)
                })
                .collect(),
        };
        values.extend(given);
        let row = Entity {
            ty,
            id,
            ends,
            values,
        };
        // That some values do not fit has been said.
        self.wrong.extend(shape(&self.world, &row, &failed));
        match known {
            Some(at) => self.world.entities[at] = row,
            None => self.world.entities.push(row),
        }
        Ok(count)
    }

    fn end(&mut self, node: TypeId, end: &Endpoint) -> Result<Option<String>, Code> {
        let mut spelled = Vec::new();
        match end {
            Endpoint::Id(expr) => match spell(&self.eval(expr, None)?) {
                Ok(id) => return Ok(Some(id)),
                Err(error) => {
                    self.wrong.insert(error.code);
                    return Ok(None);
                }
            },
            Endpoint::Key(members) => {
                for member in members {
                    let value = self.eval(&member.value, None)?;
                    let Some(value) = self.fits(node, member, value) else {
                        return Ok(None);
                    };
                    match spell(&value) {
                        Ok(text) => spelled.push(text),
                        Err(error) => {
                            self.wrong.insert(error.code);
                            return Ok(None);
                        }
                    }
                }
            }
        }
        Ok(Some(derive_id(&spelled)))
    }
}
