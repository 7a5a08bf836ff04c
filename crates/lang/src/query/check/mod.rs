//! The syntax tree of one query to its checked form.

mod aggregate;
mod expr;
mod fit;
mod functions;
mod hop;
mod mutation;
mod names;
mod operation;
mod operators;
mod order;
mod pattern;
mod property;
mod returns;
mod search;
mod union;

use std::collections::{BTreeMap, BTreeSet};

use super::ast;
use super::{
    Aggregate, Body, CheckedQuery, Expr, ExprKind, ExprType, Operation, Param, ParamId,
    PropertyRef, VarId, VarKind, Variable,
};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::schema::{Catalog, DataType, EntityType, Property, TypeBody, TypeId};
use crate::syntax::{Failed, MOST_ERRORS};

/// The error has been reported.
type Checked<T> = Result<T, Failed>;

/// The checked query, with warnings, or everything that is wrong with it.
pub(super) fn check<'a>(
    query: &'a ast::Query,
    catalog: &'a Catalog,
    source: &str,
    budget: &'a mut usize,
) -> Result<CheckedQuery, Vec<Diagnostic>> {
    let mut checker = Checker::new(query, catalog, budget);
    checker
        .lost_params
        .extend(query.lost_params.iter().cloned());
    checker.params();
    let body = checker.body();
    let Checker {
        params,
        mut diagnostics,
        operation,
        ..
    } = checker;
    crate::diagnostic::sort(&mut diagnostics);
    match body {
        Ok(body) if !diagnostics.iter().any(Diagnostic::is_error) => Ok(CheckedQuery {
            name: query.name.text.clone(),
            description: query.description.clone(),
            instruction: query.instruction.clone(),
            timeout: query.timeout,
            params,
            body,
            operation,
            warnings: diagnostics,
            source: source
                .get(query.span.start as usize..query.span.end as usize)
                .unwrap_or_default()
                .to_owned(),
        }),
        _ => Err(diagnostics),
    }
}

struct Checker<'a> {
    /// What may still be made of the text beyond what is written in it.
    budget: &'a mut usize,
    query: &'a ast::Query,
    catalog: &'a Catalog,
    params: Vec<Param>,
    /// Names of parameters that could not be read.
    lost_params: BTreeSet<String>,
    diagnostics: Vec<Diagnostic>,
    place: Place,
    /// Of the arm that is being checked.
    variables: Vec<Variable>,
    /// Variables that can be seen from here.
    visible: BTreeMap<String, VarId>,
    /// Variable number at which those of the innermost block begin.
    block_start: usize,
    /// The types that the innermost block leaves possible for variables of other blocks.
    narrowed: BTreeMap<VarId, Vec<TypeId>>,
    /// The node type or interface that a binding gave a variable.
    declared: BTreeMap<VarId, TypeId>,
    /// Names whose introduction failed: uses are not complained about again.
    broken: BTreeSet<String>,
    aggregates: Vec<Aggregate>,
    in_aggregate: bool,
    /// Aliases of the projections so far.
    aliases: Vec<(String, Expr)>,
    operation: Operation,
}

/// Where an expression stands: this decides what names mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Match,
    /// A value in a binding.
    Binding,
    Return,
    Order,
    /// A value of an insert or upsert.
    Insert,
    /// A value of an update.
    Set(TypeId),
    Where(TypeId),
}

impl<'a> Checker<'a> {
    fn new(query: &'a ast::Query, catalog: &'a Catalog, budget: &'a mut usize) -> Self {
        Self {
            budget,
            query,
            catalog,
            params: Vec::new(),
            lost_params: BTreeSet::new(),
            diagnostics: Vec::new(),
            place: Place::Match,
            variables: Vec::new(),
            visible: BTreeMap::new(),
            block_start: 0,
            narrowed: BTreeMap::new(),
            declared: BTreeMap::new(),
            broken: BTreeSet::new(),
            aggregates: Vec::new(),
            in_aggregate: false,
            aliases: Vec::new(),
            operation: Operation::default(),
        }
    }

    fn body(&mut self) -> Checked<Body> {
        let query = self.query;
        match &query.body {
            ast::Body::Read(read) => self.read(read).map(Body::Read),
            ast::Body::Mutation(statements) => {
                if query.params.is_empty() {
                    let message =
                        format!("`{}` changes data and has no parameters", query.name.text);
                    self.warn(Code::W501, query.name.span, message);
                }
                self.statements(statements).map(Body::Mutation)
            }
        }
    }

    fn params(&mut self) {
        for param in &self.query.params {
            let default = param.default.as_ref().and_then(|written| {
                let value = self.param_default(param, written);
                if let Err(reason) = &value {
                    let message = format!(
                        "the default of `${}` does not fit: {reason}",
                        param.name.text
                    );
                    self.error(Code::Q238, written.span, message);
                }
                value.ok()
            });
            self.params.push(Param {
                name: param.name.text.clone(),
                data_type: param.data_type.clone(),
                nullable: param.nullable,
                default,
            });
        }
    }

    fn param(&self, name: &str) -> Option<(ParamId, &Param)> {
        let position = self.params.iter().position(|p| p.name == name)?;
        let id = ParamId(u32::try_from(position).unwrap_or(u32::MAX));
        Some((id, &self.params[position]))
    }

    // ------------------------------------------------------------------------------- variables

    fn introduce(&mut self, name: &str, kind: VarKind, types: Vec<TypeId>) -> VarId {
        let id = VarId(u32::try_from(self.variables.len()).unwrap_or(u32::MAX));
        let anonymous = name == "_";
        self.variables.push(Variable {
            name: (!anonymous).then(|| name.to_owned()),
            kind,
            types,
            optional: false,
        });
        if !anonymous {
            self.visible.insert(name.to_owned(), id);
        }
        id
    }

    /// A variable that can be seen from here. `Err`: its introduction failed.
    fn lookup(&self, name: &str) -> Checked<Option<VarId>> {
        if let Some(id) = self.visible.get(name) {
            return Ok(Some(*id));
        }
        if self.broken.contains(name) {
            Err(Failed)
        } else {
            Ok(None)
        }
    }

    fn variable(&self, id: VarId) -> &Variable {
        &self.variables[id.0 as usize]
    }

    fn body_of(&self, id: TypeId) -> Option<&'a TypeBody> {
        let catalog = self.catalog;
        catalog.entity(id).map(EntityType::body)
    }

    /// The property, that of one of the types if the variable has several.
    fn property_of(&self, var: VarId, property: &PropertyRef) -> Option<&'a Property> {
        let (ty, id) = match property {
            PropertyRef::Single(id) => (self.variable(var).single_type()?, *id),
            PropertyRef::ByType(list) => *list.first()?,
        };
        self.body_of(ty)?.property_by_id(id)
    }

    // ------------------------------------------------------------------------------- reporting

    fn error(&mut self, code: Code, span: Span, message: impl Into<String>) -> Failed {
        self.report(Diagnostic::error(code, message).at(span))
    }

    fn report(&mut self, diagnostic: Diagnostic) -> Failed {
        // More would not help, and a text may have as many as words. Warnings are counted apart: what
        // fails has an error, however many warnings came before it.
        let alike = self.diagnostics.iter();
        let alike = alike.filter(|d| d.severity == diagnostic.severity);
        if alike.count() <= MOST_ERRORS {
            self.diagnostics.push(diagnostic);
        }
        Failed
    }

    /// Counts copies of what is written once: uses of aliases, and the types of an interface. They
    /// may be more than any multiple of the text.
    fn spend(&mut self, amount: usize, span: Span) -> Checked<()> {
        match self.budget.checked_sub(amount) {
            Some(left) => {
                *self.budget = left;
                Ok(())
            }
            None => {
                *self.budget = 0;
                let message = "this text stands for too much: aliases, `*`, interfaces and patterns \
                               in it come to more than a server takes";
                Err(self.error(Code::P020, span, message))
            }
        }
    }

    fn warn(&mut self, code: Code, span: Span, message: impl Into<String>) {
        self.report(Diagnostic::warning(code, message).at(span));
    }
}

impl Expr {
    fn new(kind: ExprKind, ty: ExprType, nullable: bool) -> Self {
        Self { kind, ty, nullable }
    }

    fn bool(kind: ExprKind, nullable: bool) -> Self {
        Self::new(
            kind,
            ExprType::Scalar(crate::schema::Scalar::Bool),
            nullable,
        )
    }
}

/// The type of an expression that has a stored type.
fn expr_type(data_type: &DataType) -> ExprType {
    match data_type {
        DataType::Scalar(scalar) => ExprType::Scalar(*scalar),
        DataType::Enum(_) => ExprType::Scalar(crate::schema::Scalar::String),
        DataType::List(scalar) => ExprType::List(*scalar),
        DataType::Vector(width) => ExprType::Vector(*width),
        DataType::Blob => ExprType::Blob,
    }
}
