//! `match { … }`: bindings first, then hops in textual order decide the types; conditions apply to
//! the whole.

use std::collections::BTreeSet;

use super::names::{all_variables, mentioned, names_in};
use super::{Checked, Checker, Place};
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::query::ast::{self, Clause};
use crate::query::{Block, Expr, ExprKind, VarId, VarKind};
use crate::schema::{TypeId, suggest};
use crate::syntax::{Failed, Name};

impl Checker<'_> {
    pub(super) fn block(&mut self, written: &ast::Block) -> Block {
        let block_start = std::mem::replace(&mut self.block_start, self.variables.len());
        let narrowed = self.narrowed.clone();
        let block = self.block_inside(written);
        self.narrowed = narrowed;
        self.block_start = block_start;
        block
    }

    fn block_inside(&mut self, written: &ast::Block) -> Block {
        let mut block = Block::default();
        self.broken.extend(written.lost.iter().cloned());
        let mut bound = Vec::new();
        for clause in &written.clauses {
            if let Clause::Binding(binding) = clause {
                match self.binding(binding, &mut block) {
                    Ok(var) => bound.push((binding, var)),
                    Err(Failed) => {
                        self.broken.insert(binding.var.text.clone());
                    }
                }
            }
        }
        for clause in &written.clauses {
            match clause {
                Clause::Hop(hop) if self.hop(hop, &mut block).is_err() => self.broken_hop(hop),
                Clause::Path(path) if self.path(path, &mut block).is_err() => {
                    self.broken_hop(&path.hop);
                    self.broken.insert(path.var.text.clone());
                }
                _ => {}
            }
        }
        let optional = self.optionals(written, &mut block);
        let mut conditions = Vec::new();
        for (binding, var) in bound {
            conditions.extend(self.binding_values(binding, var));
        }
        conditions.extend(self.conditions(written));
        for condition in conditions.into_iter().flat_map(split) {
            if condition.variables().iter().any(|v| optional.contains(v)) {
                block.late_filters.push(condition);
            } else {
                block.filters.push(condition);
            }
        }
        self.negations(written, &optional, &mut block);
        block
    }

    /// What the hop would have introduced is not complained about again.
    fn broken_hop(&mut self, hop: &ast::Hop) {
        let names = [Some(&hop.from), hop.edge_var.as_ref(), Some(&hop.to)];
        for name in names.into_iter().flatten() {
            self.broken.insert(name.text.clone());
        }
    }

    fn binding(&mut self, binding: &ast::Binding, block: &mut Block) -> Checked<VarId> {
        let (declared, types) = self.bound_types(&binding.type_name)?;
        // Execution may look at all of them, also if a hop leaves only some possible.
        self.describe_types(&types);
        let var = &binding.var;
        if var.text != "_"
            // A name that was lost elsewhere is known again by its binding.
            && let Some(id) = self.visible.get(&var.text).copied()
        {
            let same = match self.declared.get(&id) {
                Some(before) => *before == declared,
                None => self.variable(id).types == types,
            };
            if self.variable(id).kind != VarKind::Node || !same {
                let message = format!("`${}` is bound to something else already", var.text);
                return Err(self.error(Code::Q225, var.span, message));
            }
            return Ok(id);
        }
        let id = self.introduce(&var.text, VarKind::Node, types);
        self.declared.insert(id, declared);
        block.variables.push(id);
        Ok(id)
    }

    /// A node type, or the implementers of an interface, with the id of what has the name.
    fn bound_types(&mut self, name: &Name) -> Checked<(TypeId, Vec<TypeId>)> {
        let catalog = self.catalog;
        if let Some(node) = catalog.node(&name.text) {
            return Ok((node.id, vec![node.id]));
        }
        if let Some(interface) = catalog.interface(&name.text) {
            let mut types: Vec<TypeId> = catalog.implementers(interface.id).map(|n| n.id).collect();
            types.sort_unstable();
            self.spend(types.len(), name.span)?;
            return Ok((interface.id, types));
        }
        let message = format!("unknown node type or interface `{}`", name.text);
        let mut diagnostic = Diagnostic::error(Code::Q201, message).at(name.span);
        if let Some(edge) = catalog.edge(&name.text) {
            diagnostic = diagnostic.hint(format!(
                "`{}` is an edge: bind it in a hop, `$a $w:{} $b`",
                edge.name, name.text
            ));
            return Err(self.report(diagnostic));
        }
        let nodes = catalog.nodes.iter().map(|n| n.name.as_str());
        let known = nodes.chain(catalog.interfaces.iter().map(|i| i.name.as_str()));
        Err(self.report(suggest(diagnostic, &name.text, known)))
    }

    /// Checks the optional blocks and gives the variables that they introduce.
    fn optionals(&mut self, written: &ast::Block, block: &mut Block) -> BTreeSet<VarId> {
        let mut introduced = BTreeSet::new();
        for clause in &written.clauses {
            let Clause::Optional(inner, span) = clause else {
                continue;
            };
            let first = self.variables.len();
            let checked = self.block(inner);
            let complete =
                !inner.damaged && !inner.clauses.is_empty() && !self.mentions_broken(inner);
            if checked.variables.is_empty() && complete {
                let message = "an optional block must introduce a variable";
                self.error(Code::Q231, *span, message);
            }
            let own: Vec<VarId> = all_variables(&checked);
            for variable in self.variables.iter_mut().skip(first) {
                variable.optional = true;
            }
            introduced.extend(own);
            block.optionals.push(checked);
        }
        introduced
    }

    fn conditions(&mut self, written: &ast::Block) -> Vec<Expr> {
        let mut checked = Vec::new();
        for clause in &written.clauses {
            if let Clause::Condition(condition) = clause {
                self.place = Place::Match;
                checked.extend(self.condition(condition));
            }
        }
        checked
    }

    /// An expression that must be Bool.
    pub(super) fn condition(&mut self, written: &ast::Expr) -> Checked<Expr> {
        let condition = self.expr(written)?;
        self.expect_bool(&condition, written.span, "a condition")?;
        Ok(condition)
    }

    fn negations(&mut self, written: &ast::Block, optional: &BTreeSet<VarId>, block: &mut Block) {
        for clause in &written.clauses {
            let Clause::Not(inner, span) = clause else {
                continue;
            };
            let correlated = names_in(inner).iter().any(|(name, bare)| {
                let is_param = *bare && self.param(name).is_some();
                !is_param && (self.visible.contains_key(name) || self.broken.contains(name))
            });
            if !correlated && !inner.damaged && !inner.clauses.is_empty() {
                self.report(
                    Diagnostic::error(
                        Code::Q209,
                        "the block mentions no variable from outside of it",
                    )
                    .at(*span)
                    .hint("`not` keeps a row if the block, started from that row, finds nothing"),
                );
            }
            let visible = self.visible.clone();
            let broken = self.broken.clone();
            let checked = self.block(inner);
            self.visible = visible;
            self.broken = broken;
            if mentioned(&checked).iter().any(|v| optional.contains(v)) {
                block.late_negations.push(checked);
            } else {
                block.negations.push(checked);
            }
        }
    }

    fn mentions_broken(&self, block: &ast::Block) -> bool {
        names_in(block)
            .iter()
            .any(|(name, _)| self.broken.contains(name))
    }
}

/// The operands of an `and`: as filters they apply one by one.
fn split(condition: Expr) -> Vec<Expr> {
    match condition.kind {
        ExprKind::And(operands) => operands.into_iter().flat_map(split).collect(),
        _ => vec![condition],
    }
}
