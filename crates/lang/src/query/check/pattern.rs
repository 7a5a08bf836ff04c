//! `match { … }`: bindings first, then hops in textual order decide the types; conditions apply to
//! the whole.

use std::collections::BTreeSet;

use super::{Checked, Checker, Place};
use crate::diagnostic::Code;
use crate::diagnostic::Diagnostic;
use crate::query::ast::{self, Clause};
use crate::query::{Block, Direction, Expr, ExprKind, Hop, HopEdge, VarId, VarKind};
use crate::schema::{EdgeType, TypeId, did_you_mean};
use crate::syntax::{Failed, Name};

/// A hop may take this many steps at most: what the engine counts in.
const MOST_STEPS: u64 = u32::MAX as u64;

impl<'a> Checker<'a> {
    pub(super) fn block(&mut self, written: &ast::Block) -> Block {
        let mut block = Block::default();
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
                Clause::Hop(hop) if self.hop(hop, &mut block).is_err() => {
                    let names = [Some(&hop.from), hop.edge_var.as_ref(), Some(&hop.to)];
                    for name in names.into_iter().flatten() {
                        self.broken.insert(name.text.clone());
                    }
                }
                Clause::Path(span) => {
                    self.unsupported("a path", *span);
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

    fn binding(&mut self, binding: &ast::Binding, block: &mut Block) -> Checked<VarId> {
        let name = &binding.type_name;
        let Some(node) = self.catalog.node(&name.text) else {
            if self.catalog.interface(&name.text).is_some() {
                return Err(self.unsupported("binding an interface", name.span));
            }
            let diagnostic =
                Diagnostic::error(Code::Q201, format!("unknown node type `{}`", name.text))
                    .at(name.span);
            let known = self.catalog.nodes.iter().map(|n| n.name.as_str());
            return Err(self.report(did_you_mean(diagnostic, &name.text, known)));
        };
        if binding.var.text == "_" {
            let id = self.introduce("_", VarKind::Node, vec![node.id]);
            block.variables.push(id);
            return Ok(id);
        }
        match self.lookup(&binding.var.text)? {
            Some(id) => {
                let variable = self.variable(id);
                if variable.kind != VarKind::Node || variable.types != [node.id] {
                    let message =
                        format!("`${}` is bound to something else already", binding.var.text);
                    return Err(self.error(Code::Q225, binding.var.span, message));
                }
                Ok(id)
            }
            None => {
                let id = self.introduce(&binding.var.text, VarKind::Node, vec![node.id]);
                block.variables.push(id);
                Ok(id)
            }
        }
    }

    fn hop(&mut self, hop: &ast::Hop, block: &mut Block) -> Checked<()> {
        let [name] = hop.edges.as_slice() else {
            return Err(self.unsupported("a hop over several edge types", hop.edges[1].span));
        };
        let edge = self.edge(name, hop)?;
        let (min, max) = self.bounds(hop);
        let from = self.end(&hop.from)?;
        let to = self.end(&hop.to)?;
        let (direction, start, end) = self.direction(hop, edge, from, to)?;
        let from = self.bind_end(&hop.from, start, edge, block)?;
        let to = self.bind_end(&hop.to, end, edge, block)?;
        let edge_var = match &hop.edge_var {
            Some(var) if var.text != "_" => Some(self.edge_var(var, hop, edge, block)?),
            _ => None,
        };
        block.hops.push(Hop {
            from,
            to,
            edges: vec![HopEdge {
                edge: edge.id,
                direction,
            }],
            min,
            max,
            edge_var,
        });
        Ok(())
    }

    fn edge_var(
        &mut self,
        var: &Name,
        hop: &ast::Hop,
        edge: &EdgeType,
        block: &mut Block,
    ) -> Checked<VarId> {
        if let Some(bounds) = &hop.bounds
            && (bounds.min, bounds.max) != (1, Some(1))
        {
            let message = "an edge can only be bound by a hop of one step";
            return Err(self.error(Code::Q223, bounds.span, message));
        }
        if self.lookup(&var.text)?.is_some() {
            let message = format!("`${}` is in use and cannot name the edge", var.text);
            return Err(self.error(Code::Q223, var.span, message));
        }
        let id = self.introduce(&var.text, VarKind::Edge, vec![edge.id]);
        block.variables.push(id);
        Ok(id)
    }

    fn edge(&mut self, name: &Name, hop: &ast::Hop) -> Checked<&'a EdgeType> {
        const OPERATORS: [&str; 7] = [
            "contains",
            "starts_with",
            "ends_with",
            "in",
            "is",
            "and",
            "or",
        ];
        let catalog = self.catalog;
        if let Some(edge) = catalog.edge(&name.text) {
            return Ok(edge);
        }
        if OPERATORS.contains(&name.text.as_str()) {
            let message = format!(
                "`${} {}` reads as a hop, and there is no edge `{1}`",
                hop.from.text, name.text
            );
            let hint = format!("as a test write `(${}) {} …`", hop.from.text, name.text);
            return Err(self.report(
                Diagnostic::error(Code::Q239, message)
                    .at(name.span)
                    .hint(hint),
            ));
        }
        let diagnostic =
            Diagnostic::error(Code::Q204, format!("unknown edge `{}`", name.text)).at(name.span);
        let known = catalog.edges.iter().map(|e| e.name.as_str());
        Err(self.report(did_you_mean(diagnostic, &name.text, known)))
    }

    fn bounds(&mut self, hop: &ast::Hop) -> (u32, u32) {
        let Some(bounds) = &hop.bounds else {
            return (1, 1);
        };
        let max = bounds.max.unwrap_or(0);
        if bounds.min == 0 || max < bounds.min || max > MOST_STEPS {
            let message = match bounds.max {
                None => "a hop needs an upper bound",
                Some(_) if bounds.min == 0 => "a hop takes at least one step",
                Some(max) if max < bounds.min => {
                    "the upper bound of the hop is below the lower one"
                }
                Some(_) => "the upper bound of the hop is too large",
            };
            self.report(
                Diagnostic::error(Code::Q215, message)
                    .at(bounds.span)
                    .hint("write `{m,k}` with 1 ≤ m ≤ k"),
            );
            return (1, 1);
        }
        let steps = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        (steps(bounds.min), steps(max))
    }

    /// The node type of an end that is known already.
    fn end(&mut self, name: &Name) -> Checked<Option<TypeId>> {
        if name.text == "_" {
            return Ok(None);
        }
        let Some(id) = self.lookup(&name.text)? else {
            return Ok(None);
        };
        let variable = self.variable(id);
        if variable.kind != VarKind::Node {
            let message = format!("`${}` is an edge and cannot be an end of a hop", name.text);
            return Err(self.error(Code::Q223, name.span, message));
        }
        Ok(variable.single_type())
    }

    /// The direction from left to right, and the types of both ends.
    fn direction(
        &mut self,
        hop: &ast::Hop,
        edge: &EdgeType,
        from: Option<TypeId>,
        to: Option<TypeId>,
    ) -> Checked<(Direction, TypeId, TypeId)> {
        if hop.undirected {
            if edge.from != edge.to {
                let message = format!("`{}` joins unequal ends and has a direction", edge.name);
                return Err(self.report(
                    Diagnostic::error(Code::Q222, message)
                        .at(hop.edges[0].span)
                        .hint("write the hop without `<` and `>`"),
                ));
            }
            return Ok((Direction::Both, edge.from, edge.to));
        }
        let forward = (Direction::Out, edge.from, edge.to);
        let backward = (Direction::In, edge.to, edge.from);
        match (from, to) {
            (Some(from), _) if from == edge.from => Ok(forward),
            (Some(from), _) if from == edge.to => Ok(backward),
            (Some(_), _) => Err(self.no_end(&hop.from, edge)),
            (None, Some(to)) if to == edge.to => Ok(forward),
            (None, Some(to)) if to == edge.from => Ok(backward),
            (None, Some(_)) => Err(self.no_end(&hop.to, edge)),
            (None, None) => Ok(forward),
        }
    }

    fn bind_end(
        &mut self,
        name: &Name,
        expected: TypeId,
        edge: &EdgeType,
        block: &mut Block,
    ) -> Checked<VarId> {
        if name.text != "_"
            && let Some(id) = self.lookup(&name.text)?
        {
            if self.variable(id).single_type() != Some(expected) {
                return Err(self.no_end(name, edge));
            }
            return Ok(id);
        }
        let id = self.introduce(&name.text, VarKind::Node, vec![expected]);
        block.variables.push(id);
        Ok(id)
    }

    fn no_end(&mut self, name: &Name, edge: &EdgeType) -> Failed {
        let node = |id| self.catalog.node_by_id(id).map_or("?", |n| n.name.as_str());
        let found = self
            .visible
            .get(&name.text)
            .and_then(|id| self.type_of(*id))
            .map_or("?", |t| t.body().name.as_str());
        let message = format!("`${}` is {found}, which cannot be here", name.text);
        let hint = format!(
            "{} goes from {} to {}",
            edge.name,
            node(edge.from),
            node(edge.to)
        );
        self.report(
            Diagnostic::error(Code::Q205, message)
                .at(name.span)
                .hint(hint),
        )
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
            if checked.variables.is_empty() && !self.mentions_broken(inner) {
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
            if !correlated {
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

fn all_variables(block: &Block) -> Vec<VarId> {
    let mut variables = block.variables.clone();
    for optional in &block.optionals {
        variables.extend(all_variables(optional));
    }
    variables
}

/// Every variable that a checked block mentions.
fn mentioned(block: &Block) -> BTreeSet<VarId> {
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
fn names_in(block: &ast::Block) -> BTreeSet<(String, bool)> {
    let mut names = BTreeSet::new();
    for clause in &block.clauses {
        match clause {
            Clause::Binding(binding) => {
                names.insert((binding.var.text.clone(), false));
                for (_, value) in &binding.values {
                    names_in_expr(value, &mut names);
                }
            }
            Clause::Hop(hop) => {
                let parts = [Some(&hop.from), hop.edge_var.as_ref(), Some(&hop.to)];
                names.extend(parts.into_iter().flatten().map(|n| (n.text.clone(), false)));
            }
            Clause::Not(inner, _) | Clause::Optional(inner, _) => names.extend(names_in(inner)),
            Clause::Condition(condition) => names_in_expr(condition, &mut names),
            Clause::Path(_) => {}
        }
    }
    names.remove(&("_".to_owned(), false));
    names
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
