//! Hops and paths: which edges they follow, in which direction, between which types.

use std::collections::BTreeSet;

use super::{Checked, Checker};
use crate::diagnostic::{Code, Diagnostic};
use crate::query::ast;
use crate::query::{Block, Direction, Hop, HopEdge, VarId, VarKind};
use crate::schema::{EdgeType, TypeId, suggest};
use crate::syntax::{Failed, Name};

/// A hop may take this many steps at most: what the engine counts in.
const MOST_STEPS: u64 = u32::MAX as u64;

/// Words after a variable that were meant as an operator if there is no such edge.
const OPERATORS: [&str; 7] = [
    "contains",
    "starts_with",
    "ends_with",
    "in",
    "is",
    "and",
    "or",
];

/// One alternative of a hop: its direction from left to right, and the types at both ends.
struct Alternative<'a> {
    edge: &'a EdgeType,
    direction: Direction,
    start: TypeId,
    end: TypeId,
}

impl<'a> Checker<'a> {
    pub(super) fn path(&mut self, path: &ast::Path, block: &mut Block) -> Checked<()> {
        self.hop(&path.hop, block)?;
        if path.var.text == "_" {
            return Ok(());
        }
        if self.lookup(&path.var.text)?.is_some() {
            let message = format!("`${}` is in use and cannot name the path", path.var.text);
            return Err(self.error(Code::Q225, path.var.span, message));
        }
        let id = self.introduce(&path.var.text, VarKind::Path, Vec::new());
        block.variables.push(id);
        if let Some(hop) = block.hops.last_mut() {
            hop.path_var = Some(id);
        }
        Ok(())
    }

    pub(super) fn hop(&mut self, hop: &ast::Hop, block: &mut Block) -> Checked<()> {
        let edges = self.edges(hop)?;
        let (min, max) = self.bounds(hop);
        let from = self.end(&hop.from)?;
        let to = self.end(&hop.to)?;
        let mut alternatives: Vec<Alternative<'a>> = Vec::new();
        let mut failed = None;
        for (name, edge) in edges {
            match self.alternative(hop, name, edge, from.as_deref(), to.as_deref()) {
                Ok(alternative) => alternatives.push(alternative),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let starts = alternatives.iter().map(|a| a.start).collect();
        let ends = alternatives.iter().map(|a| a.end).collect();
        let edge = alternatives[0].edge;
        let from = self.bind_end(&hop.from, &starts, edge, block)?;
        let to = self.bind_end(&hop.to, &ends, edge, block)?;
        let edge_var = match &hop.edge_var {
            Some(var) if var.text != "_" => {
                let types = alternatives.iter().map(|a| a.edge.id).collect();
                Some(self.edge_var(var, hop, types, block)?)
            }
            _ => None,
        };
        let edges = alternatives.iter().map(|alternative| HopEdge {
            edge: alternative.edge.id,
            direction: alternative.direction,
        });
        block.hops.push(Hop {
            from,
            to,
            edges: edges.collect(),
            min,
            max,
            edge_var,
            path_var: None,
        });
        Ok(())
    }

    fn edge_var(
        &mut self,
        var: &Name,
        hop: &ast::Hop,
        types: BTreeSet<TypeId>,
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
        let types = types.into_iter().collect();
        let id = self.introduce(&var.text, VarKind::Edge, types);
        block.variables.push(id);
        Ok(id)
    }

    /// The edge types of the hop, each once. All names that are not one are reported.
    fn edges<'n>(&mut self, hop: &'n ast::Hop) -> Checked<Vec<(&'n Name, &'a EdgeType)>> {
        let mut edges: Vec<(&Name, &EdgeType)> = Vec::new();
        let mut failed = None;
        for name in &hop.edges {
            match self.edge(name, hop) {
                Ok(edge) if edges.iter().any(|(_, e)| e.id == edge.id) => {}
                Ok(edge) => edges.push((name, edge)),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(edges), Err)
    }

    fn edge(&mut self, name: &Name, hop: &ast::Hop) -> Checked<&'a EdgeType> {
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
        Err(self.report(suggest(diagnostic, &name.text, known)))
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

    /// The possible node types of an end that is known already.
    fn end(&mut self, name: &Name) -> Checked<Option<Vec<TypeId>>> {
        if name.text == "_" {
            return Ok(None);
        }
        let Some(id) = self.lookup(&name.text)? else {
            return Ok(None);
        };
        match self.variable(id).kind {
            VarKind::Node => Ok(Some(self.types_of(id).to_vec())),
            VarKind::Edge => {
                let message = format!("`${}` is an edge and cannot be an end of a hop", name.text);
                Err(self.error(Code::Q223, name.span, message))
            }
            VarKind::Path => Err(self.path_misused(&name.text, name.span)),
        }
    }

    /// The direction of one edge type, as if it were the only one of the hop.
    fn alternative(
        &mut self,
        hop: &ast::Hop,
        name: &Name,
        edge: &'a EdgeType,
        from: Option<&[TypeId]>,
        to: Option<&[TypeId]>,
    ) -> Checked<Alternative<'a>> {
        let made = |direction, start, end| Alternative {
            edge,
            direction,
            start,
            end,
        };
        let forward = made(Direction::Out, edge.from, edge.to);
        let backward = made(Direction::In, edge.to, edge.from);
        let has = |types: Option<&[TypeId]>, ty| types.is_none_or(|types| types.contains(&ty));
        let chosen = if hop.undirected {
            if edge.from != edge.to {
                let message = format!("`{}` joins unequal ends and has a direction", edge.name);
                return Err(self.report(
                    Diagnostic::error(Code::Q222, message)
                        .at(name.span)
                        .hint("write the hop without `<` and `>`"),
                ));
            }
            made(Direction::Both, edge.from, edge.to)
        } else if from.is_some() {
            if has(from, edge.from) {
                forward
            } else {
                backward
            }
        } else if has(to, edge.to) {
            forward
        } else {
            backward
        };
        if !has(from, chosen.start) {
            return Err(self.no_end(&hop.from, edge));
        }
        if !has(to, chosen.end) {
            return Err(self.no_end(&hop.to, edge));
        }
        Ok(chosen)
    }

    /// Introduces the end, or leaves it only the types that are expected there.
    fn bind_end(
        &mut self,
        name: &Name,
        expected: &BTreeSet<TypeId>,
        edge: &EdgeType,
        block: &mut Block,
    ) -> Checked<VarId> {
        if name.text != "_"
            && let Some(id) = self.lookup(&name.text)?
        {
            let known = self.types_of(id);
            let left: Vec<TypeId> = known
                .iter()
                .copied()
                .filter(|ty| expected.contains(ty))
                .collect();
            if left.is_empty() {
                return Err(self.no_end(name, edge));
            }
            if left.len() < known.len() {
                self.narrow(id, left);
            }
            return Ok(id);
        }
        let types = expected.iter().copied().collect();
        let id = self.introduce(&name.text, VarKind::Node, types);
        block.variables.push(id);
        Ok(id)
    }

    fn no_end(&mut self, name: &Name, edge: &EdgeType) -> Failed {
        let node = |id| self.catalog.node_by_id(id).map_or("?", |n| n.name.as_str());
        let found = match self.visible.get(&name.text) {
            Some(id) => self.type_names(*id),
            None => "of another type".to_owned(),
        };
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
}
