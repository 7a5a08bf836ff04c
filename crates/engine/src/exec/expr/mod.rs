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
use arrow_array::{Array, ArrayRef, StringArray, UInt32Array, new_empty_array, new_null_array};
use arrow_schema::DataType;
use arrow_select::take::take;
use omnigraph_lang::query::{
    Expr, ExprKind, ExprType, Function, OwnField, ParamId, PropertyRef, RankCall, SearchCall,
    TextTest, VarId,
};
use omnigraph_lang::value::Value;
use omnigraph_lang::{Code, Diagnostic};

use super::values::{array_of, list_type, scalar_type, value_at, vector_type};
use crate::error::{Error, ErrorKind, Result};
pub(super) use compare::compare_floats;
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

/// The values of an expression for all rows of the scope. Without rows nothing is computed: a
/// constant that divides by zero harms only where it is used.
///
/// # Errors
/// `Invalid` with R440–R443.
pub(crate) fn evaluate(expr: &Expr, scope: &dyn Scope, ctx: &EvalContext<'_>) -> Result<ArrayRef> {
    if scope.rows() == 0 {
        return Ok(new_empty_array(&arrow_type(&expr.ty)));
    }
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
    let rows = scope.rows();
    if rows == 0 {
        return Ok(Vec::new());
    }
    let result = Evaluator { scope, ctx }.eval(expr)?;
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

/// An error of values, which other rows need not have.
fn of_a_row(error: &Error) -> bool {
    let found = &error.detail().diagnostics;
    let codes = [Code::R440, Code::R441, Code::R442, Code::R443];
    !found.is_empty() && found.iter().all(|d| codes.contains(&d.code))
}

/// An integer in the range of its place.
///
/// # Errors
/// R440.
fn in_type(value: Value, ty: &DataType) -> Result<Value> {
    let exact = match &value {
        Value::Int(i) => i128::from(*i),
        Value::UInt(u) => i128::from(*u),
        _ => return Ok(value),
    };
    let fits = match ty {
        DataType::Int32 => i32::try_from(exact).is_ok(),
        DataType::Int64 => i64::try_from(exact).is_ok(),
        DataType::UInt32 => u32::try_from(exact).is_ok(),
        DataType::UInt64 => u64::try_from(exact).is_ok(),
        _ => true,
    };
    match fits {
        true => Ok(value),
        false => Err(arithmetic::overflow()),
    }
}

/// Some of the rows of a scope.
struct Part<'a> {
    scope: &'a dyn Scope,
    rows: UInt32Array,
}

impl Scope for Part<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn resolve(&self, leaf: Leaf<'_>) -> Result<ArrayRef> {
        Ok(take(&self.scope.resolve(leaf)?, &self.rows, None)?)
    }
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
            ExprKind::And(parts) => match self.all(parts) {
                Ok(parts) => logic::and(&parts),
                Err(error) => self.until(parts, false, error),
            },
            ExprKind::Or(parts) => match self.all(parts) {
                Ok(parts) => logic::or(&parts),
                Err(error) => self.until(parts, true, error),
            },
            ExprKind::Not(part) => logic::not(&self.eval(part)?),
            ExprKind::IsNull(part) => logic::is_null(&self.eval(part)?),
            ExprKind::Arithmetic { op, left, right } => {
                arithmetic::arithmetic(*op, &self.eval(left)?, &self.eval(right)?, &expr.ty)
            }
            ExprKind::Negate(part) => arithmetic::negate(&self.eval(part)?, &expr.ty),
            ExprKind::Call { function, args } => {
                let ty = arrow_type(&expr.ty);
                match self.all(args) {
                    Ok(args) => function::call(*function, &args, &ty),
                    Err(error) if *function == Function::Coalesce => {
                        self.first_known(args, &ty, error)
                    }
                    Err(error) => Err(error),
                }
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

    /// `and` and `or` where some part cannot be told for some row: from left to right, each part
    /// only for the rows that the parts before it have not decided.
    fn until(&self, parts: &[Expr], decides: bool, error: Error) -> Result<Operand> {
        if !of_a_row(&error) {
            return Err(error);
        }
        let mut results = vec![Value::Bool(!decides); self.scope.rows()];
        let mut open: Vec<u32> = (0..results.len() as u32).collect();
        for part in parts {
            let values = self.evaluate_at(part, &open)?;
            let mut at = 0;
            open.retain(|row| {
                let value = value_at(&values, at);
                at += 1;
                let result = &mut results[*row as usize];
                match value {
                    Value::Bool(b) if b == decides => *result = Value::Bool(b),
                    Value::Bool(_) => {}
                    _ => *result = Value::Null,
                }
                *result != Value::Bool(decides)
            });
        }
        Ok(Operand::rows(array_of(&DataType::Boolean, &results)?))
    }

    /// `coalesce` where some argument cannot be told for some row: each only for the rows that have
    /// no value yet.
    fn first_known(&self, args: &[Expr], ty: &DataType, error: Error) -> Result<Operand> {
        if !of_a_row(&error) {
            return Err(error);
        }
        let mut results = vec![Value::Null; self.scope.rows()];
        let mut open: Vec<u32> = (0..results.len() as u32).collect();
        for arg in args {
            let values = self.evaluate_at(arg, &open)?;
            for (at, row) in open.iter().enumerate() {
                results[*row as usize] = in_type(value_at(&values, at), ty)?;
            }
            open.retain(|row| results[*row as usize].is_null());
        }
        Ok(Operand::rows(array_of(ty, &results)?))
    }

    /// The values of an expression for some of the rows.
    fn evaluate_at(&self, expr: &Expr, rows: &[u32]) -> Result<ArrayRef> {
        let part = Part {
            scope: self.scope,
            rows: rows.to_vec().into(),
        };
        if rows.is_empty() {
            return Ok(new_null_array(&arrow_type(&expr.ty), 0));
        }
        evaluate(expr, &part, self.ctx)
    }

    fn param(&self, id: ParamId) -> Result<&Value> {
        self.ctx
            .params
            .get(id.0 as usize)
            .ok_or_else(|| Error::internal("a parameter is not bound"))
    }

    fn list(&self, expr: &Expr, items: &[Expr]) -> Result<Operand> {
        let items = self.all(items)?;
        let ty = arrow_type(&expr.ty);
        let item_type = match &ty {
            DataType::List(item) => item.data_type(),
            other => other,
        };
        let all: Vec<&Operand> = items.iter().collect();
        from_values(&ty, &all, |row| {
            let items = items.iter().map(|item| in_type(item.value(row), item_type));
            Ok(Value::List(items.collect::<Result<_>>()?))
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
        let indices = UInt32Array::from(vec![0; rows]);
        Ok(take(&self.array, &indices, None)?)
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
