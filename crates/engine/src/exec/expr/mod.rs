//! Expressions over columns: one array per expression, for all rows at once.

mod arithmetic;
mod cast;
mod compare;
mod function;
mod logic;
mod operand;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_schema::DataType;
use omnigraph_lang::query::{
    Expr, ExprKind, ExprType, OwnField, ParamId, PropertyRef, RankCall, SearchCall, TextTest, VarId,
};
use omnigraph_lang::value::Value;
use omnigraph_lang::{Code, Diagnostic};

use super::values::{array_of, list_type, scalar_type, value_at, vector_type};
use crate::error::{Error, ErrorKind, Result};
use operand::Operand;

/// What the leaves of an expression are, for the rows at hand.
pub(crate) trait Scope {
    fn rows(&self) -> usize;
    /// An array with as many values as there are rows.
    fn resolve(&self, leaf: Leaf<'_>) -> Result<ArrayRef>;
}

/// The parts of expressions that differ from row to row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaf<'a> {
    Property {
        var: VarId,
        property: &'a PropertyRef,
    },
    /// A variable by itself: of an entity its id, of a path all of it.
    Entity(VarId),
    /// Null where the entity is null.
    Id(VarId),
    TypeName(VarId),
    FromId(VarId),
    ToId(VarId),
    PathLength(VarId),
    PathNodes(VarId),
    PathEdges(VarId),
    /// Of the entity that a mutation looks at.
    Own(OwnField),
    GroupKey(usize),
    AggregateResult(usize),
    Search(&'a SearchCall),
    Score(&'a RankCall),
}

/// What is the same for all rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EvalContext<'a> {
    /// By [`ParamId`].
    pub params: &'a [Value],
    /// When the request began, in milliseconds since 1970-01-01T00:00Z.
    pub now: i64,
}

/// The Arrow type of an expression's values.
pub(crate) fn arrow_type(ty: &ExprType) -> DataType {
    match ty {
        ExprType::Null => DataType::Null,
        ExprType::Scalar(scalar) => scalar_type(*scalar),
        ExprType::List(scalar) => list_type(*scalar),
        ExprType::EmptyList => list_type(omnigraph_lang::schema::Scalar::String),
        ExprType::Vector(width) => vector_type(*width),
        ExprType::Blob => DataType::LargeBinary,
        ExprType::Node | ExprType::Edge => DataType::Utf8,
        ExprType::Path => super::path_values::whole_type(),
    }
}

/// The values of an expression for all rows of the scope.
///
/// # Errors
/// `Invalid` with R440–R443.
pub(crate) fn evaluate(expr: &Expr, scope: &dyn Scope, ctx: &EvalContext<'_>) -> Result<ArrayRef> {
    Evaluator { scope, ctx }
        .eval(expr)?
        .into_array(scope.rows())
}

/// The rows for which the condition is true.
///
/// # Errors
/// `Invalid` with R440–R443.
pub(crate) fn evaluate_filter(
    expr: &Expr,
    scope: &dyn Scope,
    ctx: &EvalContext<'_>,
) -> Result<Vec<bool>> {
    let result = Evaluator { scope, ctx }.eval(expr)?;
    let rows = scope.rows();
    let Some(values) = result.array.as_boolean_opt() else {
        return Ok(vec![false; rows]);
    };
    if result.constant {
        return Ok(vec![values.is_valid(0) && values.value(0); rows]);
    }
    Ok(match values.nulls() {
        None => values.values().iter().collect(),
        Some(nulls) => values
            .values()
            .iter()
            .zip(nulls)
            .map(|(v, valid)| v && valid)
            .collect(),
    })
}

/// The value of an expression without leaves.
///
/// # Errors
/// `Invalid` with R440–R443; `Internal` if there is a leaf.
pub(crate) fn evaluate_constant(expr: &Expr, ctx: &EvalContext<'_>) -> Result<Value> {
    let evaluator = Evaluator {
        scope: &Nothing,
        ctx,
    };
    // Blobs may be large, and may be the URI of one, which is no array of bytes.
    if let (ExprType::Blob, ExprKind::Param(id)) = (&expr.ty, &expr.kind) {
        return evaluator.param(*id).cloned();
    }
    let result = evaluator.eval(expr)?;
    Ok(value_at(&result.array, 0))
}

/// An error of the query language's rules.
pub(crate) fn rule(code: Code, message: impl Into<String>) -> Error {
    Error::diagnostics(ErrorKind::Invalid, vec![Diagnostic::error(code, message)])
}

struct Nothing;

impl Scope for Nothing {
    fn rows(&self) -> usize {
        1
    }

    fn resolve(&self, _: Leaf<'_>) -> Result<ArrayRef> {
        Err(Error::internal("a constant expression has a variable"))
    }
}

struct Evaluator<'a> {
    scope: &'a dyn Scope,
    ctx: &'a EvalContext<'a>,
}

impl Evaluator<'_> {
    fn eval(&self, expr: &Expr) -> Result<Operand> {
        match &expr.kind {
            ExprKind::Literal(value) => Operand::constant(&arrow_type(&expr.ty), value),
            ExprKind::Param(id) => Operand::constant(&arrow_type(&expr.ty), self.param(*id)?),
            ExprKind::Now => {
                Operand::constant(&arrow_type(&expr.ty), &Value::DateTime(self.ctx.now))
            }
            ExprKind::List(items) => self.list(expr, items),
            ExprKind::Compare { op, left, right } => {
                compare::compare(*op, &self.eval(left)?, &self.eval(right)?)
            }
            ExprKind::Text { test, text, part } => {
                text_test(*test, &self.eval(text)?, &self.eval(part)?)
            }
            ExprKind::In { item, list } => logic::contains(&self.eval(item)?, &self.eval(list)?),
            ExprKind::And(parts) => logic::and(&self.all(parts)?),
            ExprKind::Or(parts) => logic::or(&self.all(parts)?),
            ExprKind::Not(part) => logic::not(&self.eval(part)?),
            ExprKind::IsNull(part) => logic::is_null(&self.eval(part)?),
            ExprKind::Arithmetic { op, left, right } => {
                arithmetic::arithmetic(*op, &self.eval(left)?, &self.eval(right)?, &expr.ty)
            }
            ExprKind::Negate(part) => arithmetic::negate(&self.eval(part)?, &expr.ty),
            ExprKind::Call { function, args } => {
                function::call(*function, &self.all(args)?, &arrow_type(&expr.ty))
            }
            ExprKind::Cast { value, to, mode } => cast::cast(&self.eval(value)?, to, *mode),
            _ => self.leaf(expr),
        }
    }

    fn leaf(&self, expr: &Expr) -> Result<Operand> {
        let leaf = match &expr.kind {
            ExprKind::Property { var, property } => Leaf::Property {
                var: *var,
                property,
            },
            ExprKind::Var(var) => Leaf::Entity(*var),
            ExprKind::EntityId(var) => Leaf::Id(*var),
            ExprKind::PathLength(var) => Leaf::PathLength(*var),
            ExprKind::PathNodes(var) => Leaf::PathNodes(*var),
            ExprKind::PathEdges(var) => Leaf::PathEdges(*var),
            ExprKind::TypeName(var) => Leaf::TypeName(*var),
            ExprKind::FromId(var) => Leaf::FromId(*var),
            ExprKind::ToId(var) => Leaf::ToId(*var),
            ExprKind::Own(field) => Leaf::Own(*field),
            ExprKind::GroupKey(at) => Leaf::GroupKey(*at),
            ExprKind::AggregateResult(at) => Leaf::AggregateResult(*at),
            ExprKind::Search(call) => Leaf::Search(call),
            ExprKind::Score(call) => Leaf::Score(call),
            _ => return Err(Error::internal("an expression is of no known kind")),
        };
        Ok(Operand::rows(self.scope.resolve(leaf)?))
    }

    fn all(&self, parts: &[Expr]) -> Result<Vec<Operand>> {
        parts.iter().map(|part| self.eval(part)).collect()
    }

    fn param(&self, id: ParamId) -> Result<&Value> {
        self.ctx
            .params
            .get(id.0 as usize)
            .ok_or_else(|| Error::internal("a parameter is not bound"))
    }

    fn list(&self, expr: &Expr, items: &[Expr]) -> Result<Operand> {
        let items = self.all(items)?;
        let (len, constant) = operand::extent(&items);
        let values: Vec<Value> = (0..len)
            .map(|row| Value::List(items.iter().map(|item| item.value(row)).collect()))
            .collect();
        Ok(Operand {
            array: array_of(&arrow_type(&expr.ty), &values)?,
            constant,
        })
    }
}

fn text_test(test: TextTest, text: &Operand, part: &Operand) -> Result<Operand> {
    let (Some(texts), Some(parts)) = (text.text(), part.text()) else {
        return operand::nulls_like(&[text, part], &DataType::Boolean);
    };
    let holds: fn(&str, &str) -> bool = match test {
        TextTest::Contains => |text, part| text.contains(part),
        TextTest::StartsWith => |text, part| text.starts_with(part),
        TextTest::EndsWith => |text, part| text.ends_with(part),
    };
    operand::predicate(&[text, part], |row| {
        holds(texts.value(text.index(row)), parts.value(part.index(row)))
    })
}

impl Operand {
    /// The texts, if this has the type of texts.
    fn text(&self) -> Option<&StringArray> {
        self.array.as_string_opt::<i32>()
    }

    fn constant(ty: &DataType, value: &Value) -> Result<Self> {
        Ok(Self {
            array: array_of(ty, std::slice::from_ref(value))?,
            constant: true,
        })
    }

    fn rows(array: ArrayRef) -> Self {
        Self {
            array,
            constant: false,
        }
    }

    fn into_array(self, rows: usize) -> Result<ArrayRef> {
        if !self.constant {
            return Ok(self.array);
        }
        if rows == 1 {
            return Ok(self.array);
        }
        let indices = arrow_array::UInt32Array::from(vec![0; rows]);
        Ok(arrow_select::take::take(&self.array, &indices, None)?)
    }
}

/// For results that are made row by row.
fn from_values(
    ty: &DataType,
    operands: &[&Operand],
    of: impl FnMut(usize) -> Result<Value>,
) -> Result<Operand> {
    let (len, constant) = operand::extent_of(operands);
    let values: Vec<Value> = (0..len).map(of).collect::<Result<_>>()?;
    Ok(Operand {
        array: array_of(ty, &values)?,
        constant,
    })
}

/// A boolean result as an operand.
fn boolean(array: arrow_array::BooleanArray, constant: bool) -> Operand {
    Operand {
        array: Arc::new(array),
        constant,
    }
}
