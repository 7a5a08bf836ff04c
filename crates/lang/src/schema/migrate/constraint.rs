//! Constraints other than keys, as a migration compares and names them.

use std::collections::BTreeSet;

use crate::schema::digest::member_name;
use crate::schema::{Member, Property, TypeBody};
use crate::value::Value;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ConstraintKind {
    Unique,
    Index,
    Range,
    Check,
}

/// A constraint other than a key, by ids: renames do not change it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Constraint {
    pub(super) kind: ConstraintKind,
    pub(super) members: Vec<Member>,
    /// Bounds or pattern, as in a schema.
    argument: String,
}

impl Constraint {
    pub(super) fn text(&self, properties: &[Property]) -> String {
        let mut members: Vec<String> = self
            .members
            .iter()
            .map(|m| member_name(properties, *m))
            .collect();
        if !self.argument.is_empty() {
            members.push(self.argument.clone());
        }
        let word = match self.kind {
            ConstraintKind::Unique => "unique",
            ConstraintKind::Index => "index",
            ConstraintKind::Range => "range",
            ConstraintKind::Check => "check",
        };
        format!("@{word}({})", members.join(", "))
    }
}

pub(super) fn constraints_of(body: &TypeBody) -> BTreeSet<Constraint> {
    let constraint = |kind, members: Vec<Member>, argument: String| Constraint {
        kind,
        members,
        argument,
    };
    let uniques = body
        .uniques
        .iter()
        .map(|members| constraint(ConstraintKind::Unique, members.clone(), String::new()));
    let indexes = body.indexes.iter().map(|id| {
        constraint(
            ConstraintKind::Index,
            vec![Member::Property(*id)],
            String::new(),
        )
    });
    let ranges = body.ranges.iter().map(|range| {
        let argument = format!(
            "{}..{}",
            number(range.low.as_ref()),
            number(range.high.as_ref())
        );
        constraint(
            ConstraintKind::Range,
            vec![Member::Property(range.property)],
            argument,
        )
    });
    let checks = body.checks.iter().map(|check| {
        let argument = format!("{:?}", check.pattern);
        constraint(
            ConstraintKind::Check,
            vec![Member::Property(check.property)],
            argument,
        )
    });
    uniques.chain(indexes).chain(ranges).chain(checks).collect()
}

fn number(value: Option<&Value>) -> String {
    match value {
        Some(Value::Int(i)) => i.to_string(),
        Some(Value::UInt(u)) => u.to_string(),
        Some(Value::F64(x)) => x.to_string(),
        _ => String::new(),
    }
}
