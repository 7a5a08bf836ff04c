//! Which variables a block mentions, before and after it is checked.

use std::collections::BTreeSet;

use crate::query::ast::{self, Clause};
use crate::query::{Block, VarId};

/// The variables that a checked block and its optional blocks introduce.
pub(super) fn all_variables(block: &Block) -> Vec<VarId> {
    let mut variables = block.variables.clone();
    for optional in &block.optionals {
        variables.extend(all_variables(optional));
    }
    variables
}

/// Every variable that a checked block mentions.
pub(super) fn mentioned(block: &Block) -> BTreeSet<VarId> {
    let mut found: BTreeSet<VarId> = block.variables.iter().copied().collect();
    for hop in &block.hops {
        found.extend([hop.from, hop.to]);
    }
    for filter in block.filters.iter().chain(&block.late_filters) {
        found.extend(filter.variables());
    }
    let inner = [&block.negations, &block.optionals, &block.late_negations];
    for block in inner.into_iter().flatten() {
        found.extend(mentioned(block));
    }
    found
}

/// The names of variables that a block mentions, and whether bare, so that a parameter may be meant.
pub(super) fn names_in(block: &ast::Block) -> BTreeSet<(String, bool)> {
    let mut names = BTreeSet::new();
    for clause in &block.clauses {
        match clause {
            Clause::Binding(binding) => {
                names.insert((binding.var.text.clone(), false));
                for (_, value) in &binding.values {
                    names_in_expr(value, &mut names);
                }
            }
            Clause::Hop(hop) => names.extend(names_in_hop(hop)),
            Clause::Path(path) => {
                names.insert((path.var.text.clone(), false));
                names.extend(names_in_hop(&path.hop));
            }
            Clause::Not(inner, _) | Clause::Optional(inner, _) => names.extend(names_in(inner)),
            Clause::Condition(condition) => names_in_expr(condition, &mut names),
        }
    }
    names.remove(&("_".to_owned(), false));
    names
}

fn names_in_hop(hop: &ast::Hop) -> impl Iterator<Item = (String, bool)> {
    let parts = [Some(&hop.from), hop.edge_var.as_ref(), Some(&hop.to)];
    parts.into_iter().flatten().map(|n| (n.text.clone(), false))
}

fn names_in_expr(expr: &ast::Expr, names: &mut BTreeSet<(String, bool)>) {
    expr.visit(&mut |e| match &e.kind {
        ast::ExprKind::Var(name) => {
            names.insert((name.clone(), true));
        }
        ast::ExprKind::Property(name, _) | ast::ExprKind::AllProperties(name) => {
            names.insert((name.clone(), false));
        }
        _ => {}
    });
}
