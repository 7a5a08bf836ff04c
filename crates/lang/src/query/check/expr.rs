//! Expressions: names, literals, lists, logic.

use super::functions::function_hint;
use super::property::Common;
use super::{Checked, Checker, Place, expr_type};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::query::ast;
use crate::query::{Expr, ExprKind, ExprType, OwnField, VarId, VarKind};
use crate::schema::{DataType, EntityType, Scalar, did_you_mean, suggest};
use crate::syntax::{DEEPEST, Failed, Name};
use crate::value::Value;

impl Checker<'_> {
    pub(super) fn expr(&mut self, written: &ast::Expr) -> Checked<Expr> {
        let span = written.span;
        match &written.kind {
            ast::ExprKind::Literal(value) => Ok(literal(value.clone())),
            ast::ExprKind::List(items) => self.list(items, span),
            ast::ExprKind::Var(name) => {
                let expr = self.entity_or_expr(written)?;
                if expr.ty == ExprType::Edge {
                    let message = format!("the edge `${name}` is no value");
                    return Err(self.report(
                        Diagnostic::error(Code::Q223, message)
                            .at(span)
                            .hint(format!("use a property, `${name}.p`, or `id(${name})`")),
                    ));
                }
                Ok(expr)
            }
            ast::ExprKind::Property(var, property) => self.property(var, property, span),
            ast::ExprKind::AllProperties(name) => {
                let message = format!("`${name}.*` can only be a projection");
                Err(self.error(Code::P001, span, message))
            }
            ast::ExprKind::Name(name) => self.bare_name(name, span),
            ast::ExprKind::Call(call) => self.call(call, span),
            ast::ExprKind::Cast { name, value, to } => self.cast(name, value, to, span),
            ast::ExprKind::Compare(op, left, right) => self.comparison(*op, left, right),
            ast::ExprKind::Text(test, text, part) => self.text_test(*test, text, part),
            ast::ExprKind::In {
                item,
                list,
                negated,
            } => self
                .membership(item, list)
                .map(|test| negate(test, *negated)),
            ast::ExprKind::IsNull { value, negated } => {
                let value = self.entity_or_expr(value)?;
                let test = Expr::bool(ExprKind::IsNull(Box::new(value)), false);
                Ok(negate(test, *negated))
            }
            ast::ExprKind::And(operands) => self.logic(operands, ExprKind::And),
            ast::ExprKind::Or(operands) => self.logic(operands, ExprKind::Or),
            ast::ExprKind::Not(operand) => {
                let checked = self.expr(operand)?;
                self.expect_bool(&checked, operand.span, "the operand of `not`")?;
                Ok(negate(checked, true))
            }
            ast::ExprKind::Arithmetic(op, left, right) => self.arithmetic(*op, left, right, span),
            ast::ExprKind::Negate(operand) => self.minus(operand),
        }
    }

    /// An expression, or a bare node or edge variable.
    pub(super) fn entity_or_expr(&mut self, written: &ast::Expr) -> Checked<Expr> {
        match &written.kind {
            ast::ExprKind::Var(name) => {
                let expr = self.bare_variable(name, written.span)?;
                if expr.ty == ExprType::Path {
                    return Err(self.path_misused(name, written.span));
                }
                Ok(expr)
            }
            _ => self.expr(written),
        }
    }

    /// A parameter, or a variable: `$x`.
    pub(super) fn bare_variable(&mut self, name: &str, span: Span) -> Checked<Expr> {
        if let Some((id, param)) = self.param(name) {
            let ty = expr_type(&param.data_type);
            let nullable = param.nullable;
            let is_read = matches!(
                self.place,
                Place::Match | Place::Binding | Place::Return | Place::Order
            );
            if ty == ExprType::Blob && is_read {
                return Err(self.error(Code::Q224, span, "a blob is no value in a read"));
            }
            return Ok(Expr::new(ExprKind::Param(id), ty, nullable));
        }
        if self.lost_params.contains(name) {
            return Err(Failed);
        }
        if matches!(self.place, Place::Insert | Place::Set(_) | Place::Where(_)) {
            return Err(self.undeclared_param(name, span));
        }
        match self.lookup(name)? {
            Some(id) => Ok(self.entity(id)),
            None if self.place == Place::Binding => Err(self.undeclared_param(name, span)),
            None => Err(self.unbound(name, span)),
        }
    }

    fn entity(&self, id: VarId) -> Expr {
        let variable = self.variable(id);
        let ty = match variable.kind {
            VarKind::Node => ExprType::Node,
            VarKind::Edge => ExprType::Edge,
            VarKind::Path => ExprType::Path,
        };
        Expr::new(ExprKind::Var(id), ty, variable.optional)
    }

    fn undeclared_param(&mut self, name: &str, span: Span) -> Failed {
        let known: Vec<String> = self.params.iter().map(|p| p.name.clone()).collect();
        let diagnostic =
            Diagnostic::error(Code::Q214, format!("`${name}` is not a declared parameter"))
                .at(span)
                .hint(format!(
                    "declare it: `query {}(${name}: …)`",
                    self.query.name.text
                ));
        self.report(did_you_mean(
            diagnostic,
            name,
            known.iter().map(String::as_str),
        ))
    }

    pub(super) fn unbound(&mut self, name: &str, span: Span) -> Failed {
        let mut known: Vec<String> = self.visible.keys().cloned().collect();
        known.extend(self.params.iter().map(|p| p.name.clone()));
        let diagnostic = Diagnostic::error(Code::Q206, format!("`${name}` is not bound")).at(span);
        let diagnostic = did_you_mean(diagnostic, name, known.iter().map(String::as_str));
        let diagnostic = if diagnostic.hints.is_empty() {
            diagnostic.hint(format!(
                "bind it in `match` with `${name}: Type`, or declare the parameter"
            ))
        } else {
            diagnostic
        };
        self.report(diagnostic)
    }

    /// The variable that `$x.…` or `id($x)` means: never a parameter.
    pub(super) fn entity_variable(&mut self, name: &str, span: Span) -> Checked<VarId> {
        if matches!(self.place, Place::Insert | Place::Set(_) | Place::Where(_)) {
            let message = format!("`${name}` is no variable: a mutation has only parameters");
            return Err(self.report(
                Diagnostic::error(Code::Q214, message)
                    .at(span)
                    .hint("name a property of the entity without a variable, as in `kb > 5`"),
            ));
        }
        match self.lookup(name)? {
            Some(id) => Ok(id),
            None => Err(self.unbound(name, span)),
        }
    }

    fn property(&mut self, var: &str, property: &Name, span: Span) -> Checked<Expr> {
        let id = self.entity_variable(var, span)?;
        let found = self.common_property(id, property)?;
        if found.property.data_type == DataType::Blob {
            let message = format!("`{}` is a blob and no value in a read", property.text);
            return Err(self.error(Code::Q224, span, message));
        }
        Ok(property_expr(id, found))
    }

    pub(super) fn known_property<'e>(
        &mut self,
        entity: EntityType<'e>,
        name: &Name,
    ) -> Checked<&'e crate::schema::Property> {
        let body = entity.body();
        if let Some(property) = body.property(&name.text) {
            return Ok(property);
        }
        let message = format!("`{}` has no property `{}`", body.name, name.text);
        let diagnostic = Diagnostic::error(Code::Q202, message).at(name.span);
        let known = body.properties.iter().map(|p| p.name.as_str());
        if name.text != "id" {
            return Err(self.report(suggest(diagnostic, &name.text, known)));
        }
        let hint = match self.place {
            Place::Insert | Place::Set(_) if body.is_keyed() => {
                "the id is made from the key and never assigned"
            }
            Place::Insert | Place::Set(_) => {
                "ids are given by the system; only a load may bring its own"
            }
            _ => "the id is not a property: write `id($x)`",
        };
        Err(self.report(diagnostic.hint(hint)))
    }

    fn bare_name(&mut self, name: &str, span: Span) -> Checked<Expr> {
        match self.place {
            Place::Match | Place::Binding | Place::Insert => {
                let message = format!("`{name}` means nothing here");
                let edge = self.catalog.edge(name);
                let hop = edge.map(|_| format!("`{name}` is an edge: write `$a {name} $b`"));
                let hint = function_hint(name).or(hop).unwrap_or_else(|| {
                    "write a property as `$x.name`, a parameter as `$name`, a text in quotes"
                        .to_owned()
                });
                Err(self.report(Diagnostic::error(Code::Q206, message).at(span).hint(hint)))
            }
            Place::Return => {
                let alias = self.aliases.iter().find(|(alias, _)| alias == name);
                match alias {
                    Some((_, value)) if value.ty == ExprType::Path => {
                        let message =
                            format!("the column `{name}` is a path and can only be returned");
                        Err(self.error(Code::Q233, span, message))
                    }
                    Some((_, value)) => {
                        let value = value.clone();
                        self.copied(&value, span)?;
                        Ok(value)
                    }
                    None => {
                        let message = format!("no column before this one is called `{name}`");
                        let hint = function_hint(name).unwrap_or_else(|| {
                            "write a property as `$x.name`, a text in quotes".to_owned()
                        });
                        Err(self.report(Diagnostic::error(Code::Q206, message).at(span).hint(hint)))
                    }
                }
            }
            Place::Order => {
                let message = format!("no column is called `{name}`");
                Err(self.error(Code::Q229, span, message))
            }
            Place::Set(target) | Place::Where(target) => self.own(name, target, span),
        }
    }

    /// An expression that an alias stands for counts as if it were written again.
    fn copied(&mut self, value: &Expr, span: Span) -> Checked<()> {
        let mut parts = 0;
        value.visit(&mut |_| parts += 1);
        self.spend(parts, span)?;
        if value.depth() > DEEPEST {
            let message = format!("nested more than {DEEPEST} levels deep by its aliases");
            return Err(self.error(Code::P020, span, message));
        }
        Ok(())
    }

    /// A property of the entity that a mutation looks at, its id, or its ends.
    fn own(&mut self, name: &str, target: crate::schema::TypeId, span: Span) -> Checked<Expr> {
        let Some(entity) = self.catalog.entity(target) else {
            return Err(self.error(Code::Q202, span, format!("unknown property `{name}`")));
        };
        let text = ExprType::Scalar(Scalar::String);
        let is_edge = matches!(entity, EntityType::Edge(_));
        let field = match name {
            "id" => Some(OwnField::Id),
            "from" if is_edge => Some(OwnField::From),
            "to" if is_edge => Some(OwnField::To),
            _ => None,
        };
        if let Some(field) = field {
            return Ok(Expr::new(ExprKind::Own(field), text, false));
        }
        if entity.body().property(name).is_none() {
            // The parser could not know whether a property has the name.
            let word = match name {
                "true" => Some(Value::Bool(true)),
                "false" => Some(Value::Bool(false)),
                "null" => Some(Value::Null),
                _ => None,
            };
            if let Some(word) = word {
                return Ok(literal(word));
            }
            if let Some(hint) = function_hint(name) {
                let message = format!("`{}` has no property `{name}`", entity.body().name);
                return Err(self.report(Diagnostic::error(Code::Q202, message).at(span).hint(hint)));
            }
        }
        let name = Name {
            text: name.to_owned(),
            span,
        };
        let property = self.known_property(entity, &name)?;
        if property.data_type == DataType::Blob {
            let (code, place) = match self.place {
                Place::Where(_) => (Code::Q211, "in `where`"),
                _ => (Code::Q224, "as a value"),
            };
            let message = format!("`{}` is a blob and cannot be used {place}", name.text);
            return Err(self.error(code, span, message));
        }
        Ok(Expr::new(
            ExprKind::Own(OwnField::Property(property.id)),
            expr_type(&property.data_type),
            property.nullable,
        ))
    }

    fn logic(&mut self, operands: &[ast::Expr], join: fn(Vec<Expr>) -> ExprKind) -> Checked<Expr> {
        let mut checked = Vec::with_capacity(operands.len());
        let mut failed = None;
        for operand in operands {
            let result = self.expr(operand).and_then(|e| {
                self.expect_bool(&e, operand.span, "an operand of `and` and `or`")?;
                Ok(e)
            });
            match result {
                Ok(expr) => checked.push(expr),
                Err(error) => failed = Some(error),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        let nullable = checked.iter().any(|e| e.nullable);
        Ok(Expr::bool(join(checked), nullable))
    }

    pub(super) fn expect_bool(&mut self, expr: &Expr, span: Span, what: &str) -> Checked<()> {
        match expr.ty {
            ExprType::Scalar(Scalar::Bool) | ExprType::Null => Ok(()),
            other => {
                let message = format!("{what} must be Bool, this is {other}");
                let diagnostic = Diagnostic::error(Code::Q207, message).at(span);
                Err(self.report(match other {
                    ExprType::Node => diagnostic
                        .hint("what must not be there stands in a block, `not { $a edge $b }`"),
                    _ => diagnostic,
                }))
            }
        }
    }

    /// Elements have one common type and are not lists.
    fn list(&mut self, items: &[ast::Expr], span: Span) -> Checked<Expr> {
        if items.is_empty() {
            let kind = ExprKind::Literal(Value::List(Vec::new()));
            return Ok(Expr::new(kind, ExprType::EmptyList, false));
        }
        let mut checked = Vec::with_capacity(items.len());
        let mut common: Option<Scalar> = None;
        for item in items {
            let expr = self.expr(item)?;
            match expr.ty {
                ExprType::Null => {}
                ExprType::Scalar(scalar) => {
                    common = match common {
                        None => Some(scalar),
                        Some(before) => match common_scalar(before, scalar) {
                            Some(common) => Some(common),
                            None => {
                                let message = format!(
                                    "{scalar} does not go with the {before} before it in one list"
                                );
                                return Err(self.error(Code::Q228, item.span, message));
                            }
                        },
                    };
                }
                other => {
                    let message = format!("a list cannot hold {other}");
                    return Err(self.error(Code::Q228, item.span, message));
                }
            }
            checked.push(expr);
        }
        let Some(scalar) = common else {
            return Err(self.error(Code::Q228, span, "a list of nulls has no type"));
        };
        Ok(fold_list(checked, scalar))
    }
}

/// The property of a variable as a value.
pub(super) fn property_expr(var: VarId, found: Common<'_>) -> Expr {
    let ty = expr_type(&found.property.data_type);
    let kind = ExprKind::Property {
        var,
        property: found.reference,
    };
    Expr::new(kind, ty, found.nullable)
}

/// A list of literals is a literal.
fn fold_list(items: Vec<Expr>, scalar: Scalar) -> Expr {
    let literals: Option<Vec<Value>> = items
        .iter()
        .map(|item| match &item.kind {
            ExprKind::Literal(value) => Some(value.clone()),
            _ => None,
        })
        .collect();
    let kind = match literals {
        Some(values) => ExprKind::Literal(Value::List(values)),
        None => ExprKind::List(items),
    };
    Expr::new(kind, ExprType::List(scalar), false)
}

pub(super) fn negate(test: Expr, negated: bool) -> Expr {
    if negated {
        let nullable = test.nullable;
        Expr::bool(ExprKind::Not(Box::new(test)), nullable)
    } else {
        test
    }
}

pub(super) fn literal(value: Value) -> Expr {
    let ty = match &value {
        Value::Bool(_) => ExprType::Scalar(Scalar::Bool),
        Value::Int(_) => ExprType::Scalar(Scalar::I64),
        Value::UInt(_) => ExprType::Scalar(Scalar::U64),
        Value::F32(_) => ExprType::Scalar(Scalar::F32),
        Value::F64(_) => ExprType::Scalar(Scalar::F64),
        Value::String(_) => ExprType::Scalar(Scalar::String),
        Value::Date(_) => ExprType::Scalar(Scalar::Date),
        Value::DateTime(_) => ExprType::Scalar(Scalar::DateTime),
        Value::Null | Value::List(_) | Value::Vector(_) | Value::Blob(_) => ExprType::Null,
    };
    let nullable = value.is_null();
    Expr::new(ExprKind::Literal(value), ty, nullable)
}

/// Equal types; integers: I64, all unsigned: U64; an integer and a float: F64.
pub(super) fn common_scalar(a: Scalar, b: Scalar) -> Option<Scalar> {
    if a == b {
        Some(a)
    } else if a.is_unsigned() && b.is_unsigned() {
        Some(Scalar::U64)
    } else if a.is_integer() && b.is_integer() {
        Some(Scalar::I64)
    } else if a.is_number() && b.is_number() {
        Some(Scalar::F64)
    } else {
        None
    }
}
