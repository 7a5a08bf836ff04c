//! Mutations: statements in order, then the checks.

use omnigraph_lang::query::{
    Assignment, CheckedQuery, Comparison, Endpoint, Ends, Expr, ExprKind, OwnField, Statement,
};
use omnigraph_lang::schema::{Catalog, EntityType, Member, TypeId};
use serde_json::Value as Json;

use super::node::PlanNode;
use super::words::Words;
use crate::error::Result;
use crate::exec::execution::Execution;

/// The operators of a mutation, with how many entities each is expected to touch.
pub(super) async fn plan(
    execution: &mut Execution<'_>,
    query: &CheckedQuery,
    statements: &[Statement],
) -> Result<PlanNode> {
    let catalog = execution.ctx.catalog;
    let mut top = PlanNode::new("validate", "the state that is left behind");
    let mut touched = 0.0;
    for written in statements {
        let mut node = statement(catalog, query, written);
        let (target, filter) = match written {
            Statement::Update { target, filter, .. } | Statement::Delete { target, filter, .. } => {
                (*target, Some(filter))
            }
            Statement::Insert { target, .. } | Statement::Upsert { target, .. } => (*target, None),
        };
        let rows = match filter {
            None => 1.0,
            Some(filter) => {
                let words = self::words(catalog, query, target);
                let all = execution.table(target).await?.live_rows() as f64;
                let name = words.type_name(target).to_owned();
                let found = match pins_id(catalog, target, filter) {
                    true => PlanNode::new("key_lookup", name.clone())
                        .arg("index", "id")
                        .expecting(1.0),
                    false => PlanNode::new("scan", name.clone())
                        .arg("index", Json::Null)
                        .expecting(all),
                };
                let rows = match pins_id(catalog, target, filter) {
                    true => 1.0,
                    false => all * 0.4,
                };
                let condition = words.expr(filter);
                let filter = PlanNode::new("filter", condition.clone())
                    .arg("conditions", vec![condition])
                    .expecting(rows)
                    .over(Some(found.arg("type", name)));
                node = node.over(Some(filter));
                rows
            }
        };
        touched += rows;
        top = top.over(Some(node.expecting(rows)));
    }
    Ok(top.expecting(touched))
}

fn words<'a>(catalog: &'a Catalog, query: &'a CheckedQuery, target: TypeId) -> Words<'a> {
    Words {
        catalog,
        params: &query.params,
        variables: &[],
        target: Some(target),
    }
}

/// One statement as it was written.
pub(super) fn statement(
    catalog: &Catalog,
    query: &CheckedQuery,
    statement: &Statement,
) -> PlanNode {
    let (op, target, ends, assignments, filter) = match statement {
        Statement::Insert {
            target,
            ends,
            assignments,
            ..
        } => (
            "insert",
            *target,
            ends.as_ref(),
            assignments.as_slice(),
            None,
        ),
        Statement::Upsert {
            target,
            ends,
            assignments,
            ..
        } => (
            "upsert",
            *target,
            ends.as_ref(),
            assignments.as_slice(),
            None,
        ),
        Statement::Update {
            target,
            assignments,
            filter,
            ..
        } => (
            "update",
            *target,
            None,
            assignments.as_slice(),
            Some(filter),
        ),
        Statement::Delete { target, filter, .. } => {
            ("delete", *target, None, &[][..], Some(filter))
        }
    };
    let words = words(catalog, query, target);
    let mut sets = ends.map_or_else(Vec::new, |ends| self::ends(words, ends));
    sets.extend(assignments.iter().map(|a| assignment(words, target, a)));
    let name = words.type_name(target).to_owned();
    let mut about = name.clone();
    if !sets.is_empty() {
        about = format!("{about} {{ {} }}", sets.join(", "));
    }
    let mut node = PlanNode::new(op, "").arg("type", name).arg("set", sets);
    if let Some(filter) = filter {
        let condition = words.expr(filter);
        about = format!("{about} where {condition}");
        node = node.arg("condition", condition);
    }
    node.about = about;
    node
}

fn ends(words: Words<'_>, ends: &Ends) -> Vec<String> {
    [("from", &ends.from), ("to", &ends.to)]
        .into_iter()
        .map(|(word, end)| match end {
            Endpoint::Id(id) => format!("{word}: {}", words.expr(id)),
            Endpoint::Key(members) => {
                let members = members.iter().map(|member| words.expr(&member.value));
                format!("{word}: {{ {} }}", members.collect::<Vec<_>>().join(", "))
            }
        })
        .collect()
}

fn assignment(words: Words<'_>, target: TypeId, assignment: &Assignment) -> String {
    let body = words.catalog.entity(target).map(EntityType::body);
    let property = body.and_then(|body| body.property_by_id(assignment.property));
    let name = property.map_or("?", |property| property.name.as_str());
    format!("{name}: {}", words.expr(&assignment.value))
}

/// The condition asks for one id: `id = c`, or `p = c` for a key of one member.
fn pins_id(catalog: &Catalog, target: TypeId, filter: &Expr) -> bool {
    let only = match catalog.entity(target).map(EntityType::body) {
        Some(body) => match body.key.as_deref() {
            Some([Member::Property(only)]) => Some(*only),
            _ => None,
        },
        None => None,
    };
    let pins = |condition: &Expr| {
        let ExprKind::Compare {
            op: Comparison::Eq,
            left,
            right,
        } = &condition.kind
        else {
            return false;
        };
        [(left, right), (right, left)]
            .into_iter()
            .any(|(own, other)| {
                let of_id = match own.kind {
                    ExprKind::Own(OwnField::Id) => true,
                    ExprKind::Own(OwnField::Property(property)) => Some(property) == only,
                    _ => false,
                };
                of_id && other.is_constant()
            })
    };
    match &filter.kind {
        ExprKind::And(parts) => parts.iter().any(pins),
        _ => pins(filter),
    }
}
