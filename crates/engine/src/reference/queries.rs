//! Random reads and mutations as text.

use std::collections::BTreeSet;

use omnigraph_lang::schema::{DataType, EdgeType, EntityType, Member, Property, Scalar, TypeId};
use serde_json::Value as Json;

use super::data::World;
use super::expressions::{Maker, Want, wanted};
use super::random::Random;
use super::schemas::{shared, value};

/// A query with values for its parameters.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) source: String,
    pub(super) params: Json,
}

/// A variable that the text has bound.
#[derive(Clone, Debug)]
struct Var {
    name: String,
    is_edge: bool,
    types: BTreeSet<TypeId>,
    optional: bool,
}

struct Writer<'w> {
    world: &'w World,
    random: Random,
    vars: Vec<Var>,
    paths: Vec<String>,
    params: Vec<(String, Json)>,
    names: usize,
}

pub(super) fn read(random: &mut Random, world: &World) -> Query {
    let mut writer = Writer::new(random, world);
    let text = writer.read();
    writer.finish(&text)
}

pub(super) fn mutation(random: &mut Random, world: &World) -> Query {
    let mut writer = Writer::new(random, world);
    let count = 1 + writer.random.below(3);
    let statements: Vec<String> = (0..count).map(|_| writer.statement()).collect();
    writer.finish(&statements.join("  "))
}

impl<'w> Writer<'w> {
    fn new(random: &mut Random, world: &'w World) -> Self {
        Self {
            world,
            random: Random(random.next()),
            vars: Vec::new(),
            paths: Vec::new(),
            params: Vec::new(),
            names: 0,
        }
    }

    fn finish(self, body: &str) -> Query {
        let declared: Vec<&str> = self.params.iter().map(|(text, _)| text.as_str()).collect();
        let named = |(text, json): &(String, Json)| {
            let name = text[1..].split(':').next().unwrap_or_default().to_owned();
            (name, json.clone())
        };
        Query {
            source: format!("query q({}) {{ {body} }}", declared.join(", ")),
            params: Json::Object(self.params.iter().map(named).collect()),
        }
    }

    fn name(&mut self, of: &str) -> String {
        self.names += 1;
        // Out of the order in which they are introduced.
        let letter = char::from(b'a' + (self.names * 7 % 26) as u8);
        format!("{letter}{of}{}", self.names)
    }

    /// A clause that tests something: a parameter alone would be none.
    fn condition(&mut self, depth: usize) -> String {
        let text = self.make(|m| m.expr(Want::Bool, depth));
        let name = text.strip_prefix('$').unwrap_or(".");
        match name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            true => format!("{text} = true"),
            false => text,
        }
    }

    /// Makes an expression over what is bound.
    fn make<T>(&mut self, f: impl FnOnce(&mut Maker<'_>) -> T) -> T {
        let mut atoms = Vec::new();
        let mut searches = Vec::new();
        for var in &self.vars {
            let types: Vec<TypeId> = var.types.iter().copied().collect();
            for property in shared(self.world, &types) {
                let text = format!("${}.{}", var.name, property.name);
                if property.data_type == DataType::Scalar(Scalar::String) && !var.is_edge {
                    searches.push(text.clone());
                }
                atoms.push((text, property.data_type));
            }
            let text = DataType::Scalar(Scalar::String);
            atoms.push((format!("id(${})", var.name), text.clone()));
            atoms.push((format!("type_name(${})", var.name), text.clone()));
            if var.is_edge {
                atoms.push((format!("to_id(${})", var.name), text));
            }
        }
        for path in &self.paths {
            atoms.push((format!("nodes(${path})"), DataType::List(Scalar::String)));
        }
        let optional = self.vars.iter().filter(|v| v.optional);
        let mut maker = Maker {
            random: &mut self.random,
            atoms,
            params: std::mem::take(&mut self.params),
            searches,
            nullable: optional.map(|v| format!("${}", v.name)).collect(),
            paths: self.paths.iter().map(|p| format!("${p}")).collect(),
        };
        let made = f(&mut maker);
        self.params = maker.params;
        made
    }

    fn read(&mut self) -> String {
        let mut text = self.arm_match();
        let mut wants: Option<Vec<Want>> = None;
        let mut arms = 1;
        if self.random.one_in(6) {
            // Columns of one type in all arms.
            let count = 1 + self.random.below(2);
            let all = [
                Want::Integer,
                Want::Text,
                Want::Number,
                Want::Bool,
                Want::Date,
            ];
            wants = Some((0..count).map(|_| *self.random.pick(&all)).collect());
            arms = 2 + self.random.below(2);
        }
        if let Some(wants) = &wants {
            text += &self.typed_return(wants);
            for _ in 1..arms {
                self.vars.clear();
                self.paths.clear();
                let all = if self.random.one_in(2) { "all " } else { "" };
                text += &format!(" union {all}{}", self.arm_match());
                text += &self.typed_return(wants);
            }
            let mut order = Vec::new();
            for at in 0..wants.len() {
                if self.random.one_in(2) {
                    order.push(format!("c{at}{}", self.direction()));
                }
            }
            return text + &self.tail(&order, false);
        }
        match self.random.below(7) {
            0..=2 => text + &self.plain(),
            3 => {
                let (columns, scalars) = self.columns();
                let mut order = Vec::new();
                for (at, scalar) in scalars.into_iter().enumerate() {
                    if scalar && self.random.one_in(2) {
                        order.push(format!("c{at}{}", self.direction()));
                    }
                }
                text += &format!(" return distinct {{ {} }}", columns.join(", "));
                text + &self.tail(&order, false)
            }
            4..=5 => text + &self.grouped(),
            _ => match self.rank() {
                Some(rank) => {
                    let (columns, _) = self.columns();
                    text += &format!(" return {{ {} }}", columns.join(", "));
                    text + &format!(" order {{ {rank} }} limit {}", 1 + self.random.below(4))
                }
                None => text + &self.plain(),
            },
        }
    }

    fn typed_return(&mut self, wants: &[Want]) -> String {
        let distinct = if self.random.one_in(4) {
            "distinct "
        } else {
            ""
        };
        let columns: Vec<String> = wants
            .iter()
            .enumerate()
            .map(|(at, want)| format!("{} as c{at}", self.make(|m| m.expr(*want, 1))))
            .collect();
        format!(" return {distinct}{{ {} }}", columns.join(", "))
    }

    fn direction(&mut self) -> &'static str {
        self.random.pick::<&str>(&["", " desc", " asc"])
    }

    fn tail(&mut self, order: &[String], may_be_unordered: bool) -> String {
        let mut text = String::new();
        if !order.is_empty() {
            text += &format!(" order {{ {} }}", order.join(", "));
        }
        let cuts = !order.is_empty() || may_be_unordered;
        if cuts && self.random.one_in(4) {
            text += &format!(" skip {}", self.random.below(3));
        }
        if cuts && self.random.one_in(2) {
            text += &format!(" limit {}", self.random.below(6));
        }
        text
    }

    fn plain(&mut self) -> String {
        let (columns, _) = self.columns();
        let mut order = Vec::new();
        while self.random.one_in(2) {
            let want = *self
                .random
                .pick(&[Want::Number, Want::Text, Want::Date, Want::Bool]);
            let key = match self.random.below(3) {
                0 if !self.vars.is_empty() => {
                    let nodes: Vec<String> = self
                        .vars
                        .iter()
                        .filter(|v| !v.is_edge)
                        .map(|v| format!("${}", v.name))
                        .collect();
                    self.random.pick(&nodes).clone()
                }
                _ => self.make(|m| m.expr(want, 1)),
            };
            order.push(format!("{key}{}", self.direction()));
        }
        let returned = format!(" return {{ {} }}", columns.join(", "));
        returned + &self.tail(&order, true)
    }

    /// Projections with aliases, and which of them are scalars.
    fn columns(&mut self) -> (Vec<String>, Vec<bool>) {
        let mut columns = Vec::new();
        let mut scalars = Vec::new();
        for at in 0..1 + self.random.below(3) {
            let nodes: Vec<String> = self
                .vars
                .iter()
                .filter(|v| !v.is_edge)
                .map(|v| v.name.clone())
                .collect();
            let (text, scalar) = if self.random.one_in(3) && !nodes.is_empty() {
                (format!("${}", self.random.pick(&nodes)), true)
            } else {
                let want = self.any_want();
                let scalar = !matches!(want, Want::Texts | Want::Integers);
                (self.make(|m| m.expr(want, 2)), scalar)
            };
            columns.push(format!("{text} as c{at}"));
            scalars.push(scalar);
        }
        (columns, scalars)
    }

    fn any_want(&mut self) -> Want {
        *self.random.pick(&[
            Want::Bool,
            Want::Number,
            Want::Integer,
            Want::Text,
            Want::Text,
            Want::Date,
            Want::DateTime,
            Want::Texts,
        ])
    }

    fn grouped(&mut self) -> String {
        let mut columns = Vec::new();
        let mut order = Vec::new();
        for at in 0..self.random.below(3) {
            let want = *self
                .random
                .pick(&[Want::Text, Want::Bool, Want::Integer, Want::Date]);
            let nodes: Vec<String> = self
                .vars
                .iter()
                .filter(|v| !v.is_edge)
                .map(|v| v.name.clone())
                .collect();
            let text = match self.random.below(3) {
                0 if !nodes.is_empty() => format!("${}", self.random.pick(&nodes)),
                _ => self.make(|m| m.expr(want, 1)),
            };
            columns.push(format!("{text} as c{at}"));
            if self.random.one_in(2) {
                order.push(format!("c{at}{}", self.direction()));
            }
        }
        for at in 0..1 + self.random.below(2) {
            let distinct = if self.random.one_in(2) {
                "distinct "
            } else {
                ""
            };
            let name = self.random.pick(&self.vars).name.clone();
            let text = match self.random.below(9) {
                0 => "count(*)".to_owned(),
                1 => format!("count({distinct}${name})"),
                2 => format!("collect({distinct}${name})"),
                3 => format!("count({distinct}{})", self.make(|m| m.expr(Want::Text, 1))),
                4 => format!("sum({distinct}{})", self.make(|m| m.expr(Want::Integer, 1))),
                5 => format!("avg({})", self.make(|m| m.expr(Want::Integer, 1))),
                6 => format!("min({})", self.make(|m| m.expr(Want::Number, 1))),
                7 => format!("max({})", self.make(|m| m.expr(Want::Text, 1))),
                _ => format!(
                    "collect({distinct}{})",
                    self.make(|m| m.expr(Want::Integer, 1))
                ),
            };
            columns.push(format!("{text} as n{at}"));
            if !text.starts_with("collect") && self.random.one_in(2) {
                order.push(format!("n{at}{}", self.direction()));
            }
        }
        let returned = format!(" return {{ {} }}", columns.join(", "));
        returned + &self.tail(&order, false)
    }

    /// A rank key over a variable that can be ranked.
    fn rank(&mut self) -> Option<String> {
        let mut calls = Vec::new();
        for var in self.vars.iter().filter(|v| !v.is_edge) {
            let types: Vec<TypeId> = var.types.iter().copied().collect();
            for property in shared(self.world, &types) {
                let of = format!("${}.{}", var.name, property.name);
                match property.data_type {
                    DataType::Vector(_) => calls.push(format!("nearest({of}, [0.5, 1.0])")),
                    DataType::Scalar(Scalar::String) => {
                        calls.push(format!("bm25({of}, \"oak fig\")"));
                    }
                    _ => {}
                }
            }
        }
        (!calls.is_empty()).then(|| self.random.pick(&calls).clone())
    }

    fn arm_match(&mut self) -> String {
        let mut clauses = Vec::new();
        for _ in 0..1 + self.random.below(2) {
            clauses.push(self.binding());
        }
        for _ in 0..self.random.below(3) {
            clauses.extend(self.hop(false));
        }
        // Bindings of interfaces that no node type implements would have no type.
        for _ in 0..self.random.below(3) {
            clauses.push(self.condition(2));
        }
        if self.random.one_in(3) {
            clauses.extend(self.inner("not"));
        }
        if self.random.one_in(3) {
            clauses.extend(self.inner("optional"));
            if self.random.one_in(2) {
                clauses.push(self.condition(1));
            }
            if self.random.one_in(4) {
                clauses.extend(self.inner("optional"));
            }
        }
        format!("match {{ {} }}", clauses.join(", "))
    }

    fn binding(&mut self) -> String {
        let catalog = &self.world.catalog;
        let interfaces: Vec<(&str, BTreeSet<TypeId>)> = catalog
            .interfaces
            .iter()
            .map(|i| {
                (
                    i.name.as_str(),
                    catalog.implementers(i.id).map(|n| n.id).collect(),
                )
            })
            .filter(|(_, types): &(&str, BTreeSet<TypeId>)| !types.is_empty())
            .collect();
        let (ty, types) = match self.random.one_in(4) && !interfaces.is_empty() {
            true => self.random.pick(&interfaces).clone(),
            false => {
                let node = self.random.pick(&catalog.nodes);
                (node.name.as_str(), BTreeSet::from([node.id]))
            }
        };
        let name = self.name("v");
        let list: Vec<TypeId> = types.iter().copied().collect();
        let properties: Vec<Property> = shared(self.world, &list)
            .into_iter()
            .filter(|p| wanted(&p.data_type).is_some())
            .collect();
        let mut text = format!("${name}: {ty}");
        if self.random.one_in(4) && !properties.is_empty() {
            let property = self.random.pick(&properties).clone();
            let want = match (&property.data_type, wanted(&property.data_type)) {
                (DataType::Enum(words), _) => {
                    let word = self.random.pick(words).clone();
                    text += &format!(" {{ {}: {word:?} }}", property.name);
                    None
                }
                (_, Some(Want::Texts)) => Some(Want::Text),
                (_, Some(Want::Integers)) => Some(Want::Integer),
                (_, want) => want,
            };
            if let Some(want) = want {
                let constant = self.make(|m| match m.random.one_in(2) {
                    true => m.param(want),
                    false => m.constant(want),
                });
                text += &format!(" {{ {}: {constant} }}", property.name);
            }
        }
        self.vars.push(Var {
            name,
            is_edge: false,
            types,
            optional: false,
        });
        text
    }

    /// A hop from a variable; inside of an optional block its new variables may be null outside.
    fn hop(&mut self, optional: bool) -> Option<String> {
        let nodes: Vec<usize> = (0..self.vars.len())
            .filter(|at| !self.vars[*at].is_edge && (optional || !self.vars[*at].optional))
            .collect();
        let from = *self.random.pick(&nodes);
        let types = self.vars[from].types.clone();
        let undirected = self.random.one_in(4);
        // What each edge type would lead to, as if it were alone.
        let ends = |edge: &EdgeType| {
            if undirected {
                let fits = edge.from == edge.to && types.contains(&edge.from);
                return fits.then_some((edge.from, edge.to));
            }
            if types.contains(&edge.from) {
                Some((edge.from, edge.to))
            } else {
                types.contains(&edge.to).then_some((edge.to, edge.from))
            }
        };
        let catalog = &self.world.catalog;
        let mut fitting: Vec<(&str, TypeId, TypeId)> = catalog
            .edges
            .iter()
            .filter_map(|e| ends(e).map(|(start, end)| (e.name.as_str(), start, end)))
            .collect();
        if fitting.is_empty() {
            return None;
        }
        let count = match self.random.one_in(3) {
            true => fitting.len().min(2),
            false => 1,
        };
        let mut chosen = Vec::new();
        for _ in 0..count {
            chosen.push(fitting.remove(self.random.below(fitting.len())));
        }
        let starts: BTreeSet<TypeId> = chosen.iter().map(|c| c.1).collect();
        let ends: BTreeSet<TypeId> = chosen.iter().map(|c| c.2).collect();
        // To what is bound: then every alternative must end there.
        let known: Vec<usize> = nodes
            .iter()
            .copied()
            .filter(|at| ends.iter().all(|ty| self.vars[*at].types.contains(ty)))
            .filter(|at| *at != from || starts.intersection(&ends).next().is_some())
            .collect();
        let to = (!known.is_empty() && self.random.one_in(5)).then(|| *self.random.pick(&known));
        let kept: BTreeSet<TypeId> = types.intersection(&starts).copied().collect();
        self.vars[from].types = kept;
        let left = self.vars[from].name.clone();
        let right = match to {
            Some(at) => {
                let kept = self.vars[at].types.intersection(&ends).copied().collect();
                self.vars[at].types = kept;
                self.vars[at].name.clone()
            }
            None if self.random.one_in(6) => "_".to_owned(),
            None => {
                let name = self.name("v");
                self.vars.push(Var {
                    name: name.clone(),
                    is_edge: false,
                    types: ends,
                    optional,
                });
                name
            }
        };
        let words: Vec<&str> = chosen.iter().map(|c| c.0).collect();
        let words = match undirected {
            true => format!("<{}>", words.join("|")),
            false => words.join("|"),
        };
        let bounds = match self.random.below(5) {
            0 => {
                let min = 1 + self.random.below(2);
                format!("{{{min},{}}}", min + self.random.below(3))
            }
            1 => format!("{{{}}}", 1 + self.random.below(2)),
            _ => String::new(),
        };
        Some(match self.random.below(4) {
            0 if bounds.is_empty() => {
                let name = self.name("w");
                let ids = chosen
                    .iter()
                    .filter_map(|c| catalog.edge(c.0))
                    .map(|e| e.id);
                self.vars.push(Var {
                    name: name.clone(),
                    is_edge: true,
                    types: ids.collect(),
                    optional,
                });
                format!("${left} ${name}:{words} ${right}")
            }
            1 => {
                let name = self.name("r");
                self.paths.push(name.clone());
                format!("path ${name} = shortest ${left} {words}{bounds} ${right}")
            }
            _ => format!("${left} {words}{bounds} ${right}"),
        })
    }

    /// `not { … }` or `optional { … }`, which begins with a hop from outside.
    fn inner(&mut self, word: &str) -> Option<String> {
        let (vars, paths) = (self.vars.clone(), self.paths.clone());
        let optional = word == "optional";
        let mut clauses = Vec::from_iter(self.hop(optional));
        if clauses.is_empty() {
            return None;
        }
        if self.random.one_in(2) {
            clauses.extend(self.hop(optional));
        }
        let introduces = self.vars.len() > vars.len() || self.paths.len() > paths.len();
        if self.random.one_in(2) {
            clauses.push(self.condition(1));
        }
        if self.random.one_in(4) {
            let nested = self.inner("not");
            clauses.extend(nested);
        }
        if optional && !introduces {
            (self.vars, self.paths) = (vars, paths);
            return None;
        }
        if optional {
            // Types that the block narrows are narrow inside only.
            for (var, before) in self.vars.iter_mut().zip(&vars) {
                var.types.clone_from(&before.types);
            }
        } else {
            (self.vars, self.paths) = (vars, paths);
        }
        Some(format!("{word} {{ {} }}", clauses.join(", ")))
    }

    fn statement(&mut self) -> String {
        let entities: Vec<EntityType<'_>> = self.world.catalog.entities().collect();
        let entity = *self.random.pick(&entities);
        let body = entity.body();
        let name = body.name.clone();
        match self.random.below(6) {
            0..=1 => format!("insert {name} {{ {} }}", self.assignments(entity, true)),
            2 if body.is_keyed() => {
                format!("upsert {name} {{ {} }}", self.assignments(entity, false))
            }
            3 | 2 => {
                let free: Vec<Property> = body
                    .properties
                    .iter()
                    .filter(|p| !body.is_key_member(p.id))
                    .cloned()
                    .collect();
                if free.is_empty() {
                    return format!("delete {name} where {}", self.own_condition(entity));
                }
                let property = self.random.pick(&free).clone();
                let value = self.assigned(entity, &property, true);
                format!(
                    "update {name} set {{ {}: {value} }} where {}",
                    property.name,
                    self.own_condition(entity)
                )
            }
            _ => format!("delete {name} where {}", self.own_condition(entity)),
        }
    }

    fn own<T>(&mut self, entity: Option<EntityType<'_>>, f: impl FnOnce(&mut Maker<'_>) -> T) -> T {
        let mut atoms = Vec::new();
        if let Some(entity) = entity {
            let properties = entity.body().properties.iter();
            atoms.extend(properties.map(|p| (p.name.clone(), p.data_type.clone())));
            let text = DataType::Scalar(Scalar::String);
            atoms.push(("id".to_owned(), text.clone()));
            if matches!(entity, EntityType::Edge(_)) {
                atoms.push(("from".to_owned(), text.clone()));
                atoms.push(("to".to_owned(), text));
            }
        }
        let mut maker = Maker {
            random: &mut self.random,
            atoms,
            params: std::mem::take(&mut self.params),
            searches: Vec::new(),
            nullable: Vec::new(),
            paths: Vec::new(),
        };
        let made = f(&mut maker);
        self.params = maker.params;
        made
    }

    fn own_condition(&mut self, entity: EntityType<'_>) -> String {
        if self.random.one_in(2) {
            // One of the ids that are there.
            let all = self.world.of_type(entity.body().id);
            if !all.is_empty() {
                let id = &self.world.entities[*self.random.pick(&all)].id;
                let id = Json::from(id.as_str()).to_string();
                return format!("id = {id}");
            }
        }
        self.own(Some(entity), |m| m.expr(Want::Bool, 2))
    }

    /// A value for a property, now and then one that does not fit.
    fn assigned(&mut self, entity: EntityType<'_>, property: &Property, own: bool) -> String {
        let Some(want) = wanted(&property.data_type) else {
            return "[0.5, 1.0]".to_owned();
        };
        if let DataType::Enum(words) = &property.data_type {
            return format!("{:?}", self.random.pick(words));
        }
        let float = matches!(property.data_type, DataType::Scalar(s) if s.is_float());
        let list = matches!(want, Want::Integers | Want::Texts);
        if property.nullable && self.random.one_in(5) {
            return "null".to_owned();
        }
        if float || list || self.random.one_in(2) {
            // What the property may hold, as a parameter or literal.
            let given = value(&mut self.random, &property.data_type);
            let json =
                omnigraph_lang::value::to_json(&given, omnigraph_lang::value::Int64Style::String);
            let name = format!("q{}", self.params.len());
            self.params
                .push((format!("${name}: {}", property.data_type), json));
            return format!("${name}");
        }
        let entity = own.then_some(entity);
        self.own(entity, |m| m.expr(want, 1))
    }

    fn assignments(&mut self, entity: EntityType<'_>, all: bool) -> String {
        let body = entity.body();
        let mut parts = Vec::new();
        if let EntityType::Edge(edge) = entity {
            for (word, node) in [("from", edge.from), ("to", edge.to)] {
                let ids = self.world.of_type(node);
                let id = match ids.is_empty() || self.random.one_in(12) {
                    true => "nobody".to_owned(),
                    false => self.world.entities[*self.random.pick(&ids)].id.clone(),
                };
                parts.push(format!("{word}: {}", Json::from(id)));
            }
        }
        for property in &body.properties {
            let is_key = body
                .key
                .iter()
                .flatten()
                .any(|m| *m == Member::Property(property.id));
            let required = is_key || (all && !property.nullable && property.default.is_none());
            if required || self.random.one_in(2) {
                let value = self.assigned(entity, property, false);
                parts.push(format!("{}: {value}", property.name));
            }
        }
        if parts.is_empty() {
            // An assignment block is never empty.
            let nullable = body.properties.iter().find(|p| p.nullable);
            let default = body.properties.iter().find(|p| p.default.is_some());
            match (nullable, default) {
                (Some(property), _) => parts.push(format!("{}: null", property.name)),
                (None, Some(property)) => parts.push(format!("{}: 7", property.name)),
                (None, None) => panic!("a required property is assigned"),
            }
        }
        parts.join(", ")
    }
}
