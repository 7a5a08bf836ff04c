//! Expressions, one row at a time, as section 6 of the query language puts it.

use std::cmp::Ordering;

use omnigraph_lang::Code;
use omnigraph_lang::query::{
    Arithmetic, Comparison, Expr, ExprKind, ExprType, OwnField, PropertyRef, RankCall, SearchKind,
    TextTest, VarId,
};
use omnigraph_lang::schema::Scalar;
use omnigraph_lang::value::{self, Value};

use super::cast::cast;
use super::data::{Entity, World};
use super::functions::call;
use super::paths::Path;
use super::text;

pub(super) type Evaluated = Result<Value, Code>;

/// What a variable stands for in a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bound {
    Unbound,
    /// An optional block found nothing.
    Nothing,
    Entity(usize),
    Path(Path),
}

/// What an expression can see.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) world: &'a World,
    pub(super) params: &'a [Value],
    pub(super) now: i64,
    pub(super) row: &'a [Bound],
    /// The entity that a statement looks at.
    pub(super) own: Option<&'a Entity>,
    /// Values of the group key and of the aggregates.
    pub(super) group: Option<(&'a [Value], &'a [Value])>,
}

impl<'a> Scope<'a> {
    pub(super) fn with_row<'b>(self, row: &'b [Bound]) -> Scope<'b>
    where
        'a: 'b,
    {
        Scope { row, ..self }
    }

    pub(super) fn entity(self, var: VarId) -> Option<&'a Entity> {
        match &self.row[var.0 as usize] {
            Bound::Entity(at) => Some(&self.world.entities[*at]),
            Bound::Nothing => None,
            other => panic!("{other:?} is no entity"),
        }
    }

    fn path(self, var: VarId) -> Option<&'a Path> {
        match &self.row[var.0 as usize] {
            Bound::Path(path) => Some(path),
            Bound::Nothing => None,
            other => panic!("{other:?} is no path"),
        }
    }

    pub(super) fn property(self, var: VarId, property: &PropertyRef) -> Value {
        let found = self.entity(var).and_then(|entity| {
            let id = property.of(entity.ty)?;
            entity.values.get(&id).cloned()
        });
        found.unwrap_or(Value::Null)
    }

    /// The value, or the code of what went wrong.
    pub(super) fn eval(self, expr: &Expr) -> Evaluated {
        let ids = |ids: Vec<String>| Value::List(ids.into_iter().map(Value::String).collect());
        let text = |text: Option<String>| text.map_or(Value::Null, Value::String);
        Ok(match &expr.kind {
            ExprKind::Literal(value) => as_type(value.clone(), expr.ty)?,
            ExprKind::Param(id) => as_type(self.params[id.0 as usize].clone(), expr.ty)?,
            ExprKind::Now => Value::DateTime(self.now),
            ExprKind::Property { var, property } => self.property(*var, property),
            ExprKind::Var(var) | ExprKind::EntityId(var) => {
                text(self.entity(*var).map(|e| e.id.clone()))
            }
            ExprKind::TypeName(var) => text(
                self.entity(*var)
                    .map(|e| self.world.type_name(e.ty).to_owned()),
            ),
            ExprKind::FromId(var) => text(self.end(*var, 0)),
            ExprKind::ToId(var) => text(self.end(*var, 1)),
            ExprKind::PathLength(var) => self
                .path(*var)
                .map_or(Value::Null, |path| Value::Int(path.edges.len() as i64)),
            ExprKind::PathNodes(var) => self.path(*var).map_or(Value::Null, |path| {
                ids(path.nodes.iter().map(|n| n.1.clone()).collect())
            }),
            ExprKind::PathEdges(var) => self.path(*var).map_or(Value::Null, |path| {
                ids(path.edges.iter().map(|e| e.1.clone()).collect())
            }),
            ExprKind::Own(field) => self.own(*field),
            ExprKind::GroupKey(at) => self.group.expect("a group").0[*at].clone(),
            ExprKind::AggregateResult(at) => self.group.expect("a group").1[*at].clone(),
            ExprKind::List(items) => {
                let items: Result<Vec<Value>, Code> = items.iter().map(|i| self.eval(i)).collect();
                as_type(Value::List(items?), expr.ty)?
            }
            ExprKind::Compare { op, left, right } => {
                compare(*op, &self.eval(left)?, &self.eval(right)?)
            }
            ExprKind::Text { test, text, part } => {
                text_test(*test, &self.eval(text)?, &self.eval(part)?)
            }
            ExprKind::In { item, list } => is_in(&self.eval(item)?, &self.eval(list)?),
            ExprKind::And(parts) => self.until(parts, false)?,
            ExprKind::Or(parts) => self.until(parts, true)?,
            ExprKind::Not(part) => match self.eval(part)? {
                Value::Bool(b) => Value::Bool(!b),
                _ => Value::Null,
            },
            ExprKind::IsNull(part) => Value::Bool(match &part.kind {
                ExprKind::Var(var) => self.entity(*var).is_none(),
                _ => self.eval(part)?.is_null(),
            }),
            ExprKind::Arithmetic { op, left, right } => {
                arithmetic(*op, &self.eval(left)?, &self.eval(right)?, expr.ty)?
            }
            ExprKind::Negate(part) => match self.eval(part)? {
                Value::Null => Value::Null,
                value @ (Value::F32(_) | Value::F64(_)) => Value::F64(-float(&value)),
                value => fit(-integer(&value), expr.ty)?,
            },
            ExprKind::Call { function, args } => call(self, *function, args, expr.ty)?,
            ExprKind::Cast { value, to, mode } => cast(self.eval(value)?, to, *mode)?,
            ExprKind::Search(call) => {
                if self.entity(call.var).is_none() {
                    return Ok(Value::Null);
                }
                let query = self.eval(&call.query)?;
                let edits = match &call.kind {
                    SearchKind::Fuzzy { edits } => match self.eval(edits)? {
                        Value::Null => return Ok(Value::Bool(false)),
                        edits => match usize::try_from(integer(&edits)) {
                            Ok(edits) => Some(edits),
                            Err(_) => return Err(Code::R443),
                        },
                    },
                    _ => None,
                };
                let (Value::String(f), Value::String(q)) =
                    (self.property(call.var, &call.property), query)
                else {
                    return Ok(Value::Bool(false));
                };
                Value::Bool(text::search(&call.kind, edits, &f, &q))
            }
            ExprKind::Score(call) => match self.entity(call.var()) {
                None => Value::Null,
                Some(entity) => self.score(call, entity)?,
            },
        })
    }

    /// `nearest` or `bm25` of one entity.
    pub(super) fn score(self, call: &RankCall, entity: &Entity) -> Evaluated {
        let value = |property: &PropertyRef| {
            let id = property.of(entity.ty);
            id.and_then(|id| entity.values.get(&id).cloned())
                .unwrap_or(Value::Null)
        };
        Ok(match call {
            RankCall::Nearest {
                property, query, ..
            } => {
                let query: Vec<f64> = match self.eval(query)? {
                    Value::Vector(items) => items.iter().map(|x| f64::from(*x)).collect(),
                    Value::List(items) => items.iter().map(float).collect(),
                    other => panic!("{other:?} is no vector"),
                };
                match value(property) {
                    Value::Vector(items) => {
                        let pairs = items.iter().zip(&query);
                        Value::F64(pairs.map(|(a, b)| (f64::from(*a) - b).powi(2)).sum())
                    }
                    _ => Value::Null,
                }
            }
            RankCall::Bm25 {
                property, query, ..
            } => {
                let Value::String(query) = self.eval(query)? else {
                    return Ok(Value::F64(0.0));
                };
                let Value::String(own) = value(property) else {
                    return Ok(Value::F64(0.0));
                };
                let id = property.of(entity.ty).expect("a property");
                let all = self.world.entities.iter().filter(|e| e.ty == entity.ty);
                let corpus: Vec<&str> = all
                    .filter_map(|e| match e.values.get(&id) {
                        Some(Value::String(text)) => Some(text.as_str()),
                        _ => None,
                    })
                    .collect();
                Value::F64(text::bm25(&corpus, &own, &query))
            }
            RankCall::Rrf { .. } => panic!("rrf is no score"),
        })
    }

    fn end(self, var: VarId, end: usize) -> Option<String> {
        let entity = self.entity(var)?;
        Some(entity.ends.as_ref().expect("an edge")[end].clone())
    }

    fn own(self, field: OwnField) -> Value {
        let own = self.own.expect("an entity");
        match field {
            OwnField::Id => Value::String(own.id.clone()),
            OwnField::From => Value::String(own.ends.as_ref().expect("an edge")[0].clone()),
            OwnField::To => Value::String(own.ends.as_ref().expect("an edge")[1].clone()),
            OwnField::Property(id) => own.values.get(&id).cloned().unwrap_or(Value::Null),
        }
    }

    /// From left to right, until one decides.
    fn until(self, parts: &[Expr], decides: bool) -> Evaluated {
        let mut unknown = false;
        for part in parts {
            match self.eval(part)? {
                Value::Bool(b) if b == decides => return Ok(Value::Bool(b)),
                Value::Bool(_) => {}
                _ => unknown = true,
            }
        }
        Ok(match unknown {
            true => Value::Null,
            false => Value::Bool(!decides),
        })
    }
}

/// The value in a type that several values have in common.
pub(super) fn as_type(value: Value, ty: ExprType) -> Evaluated {
    Ok(match (ty, value) {
        (ExprType::List(scalar), Value::List(items)) => {
            let item = |item| as_type(item, ExprType::Scalar(scalar));
            Value::List(items.into_iter().map(item).collect::<Result<_, _>>()?)
        }
        (_, Value::Null) => Value::Null,
        (ExprType::Scalar(Scalar::F64), value) => Value::F64(float(&value)),
        (ExprType::Scalar(Scalar::F32), value @ (Value::Int(_) | Value::UInt(_))) => {
            Value::F32(float(&value) as f32)
        }
        (ExprType::Scalar(scalar), value) if scalar.is_integer() => fit(integer(&value), ty)?,
        (_, value) => value,
    })
}

pub(super) fn float(value: &Value) -> f64 {
    match value {
        Value::Int(i) => *i as f64,
        Value::UInt(u) => *u as f64,
        Value::F32(x) => f64::from(*x),
        Value::F64(x) => *x,
        other => panic!("{other:?} is no number"),
    }
}

pub(super) fn integer(value: &Value) -> i128 {
    match value {
        Value::Int(i) => i128::from(*i),
        Value::UInt(u) => i128::from(*u),
        other => panic!("{other:?} is no integer"),
    }
}

/// The integer in the range of its type.
pub(super) fn fit(number: i128, ty: ExprType) -> Evaluated {
    let value = match ty {
        ExprType::Scalar(Scalar::U64) => u64::try_from(number).ok().map(Value::UInt),
        ExprType::Scalar(Scalar::U32) => u32::try_from(number).ok().map(|u| Value::UInt(u.into())),
        ExprType::Scalar(Scalar::I32) => i32::try_from(number).ok().map(|i| Value::Int(i.into())),
        _ => i64::try_from(number).ok().map(Value::Int),
    };
    value.ok_or(Code::R440)
}

/// The order of two values that are not null: NaN equals itself and is above all numbers.
pub(super) fn order(a: &Value, b: &Value) -> Ordering {
    let nan = |v: &Value| {
        matches!(v, Value::F64(x) if x.is_nan()) || matches!(v, Value::F32(x) if x.is_nan())
    };
    match (nan(a), nan(b)) {
        (false, false) => {}
        (a, b) => return a.cmp(&b),
    }
    if let (Value::List(a), Value::List(b)) = (a, b) {
        let differing = a.iter().zip(b).map(|(a, b)| nulls_first(a, b));
        let first = differing.into_iter().find(|order| order.is_ne());
        return first.unwrap_or_else(|| a.len().cmp(&b.len()));
    }
    if let (Value::Vector(a), Value::Vector(b)) = (a, b) {
        return a.partial_cmp(b).expect("finite");
    }
    value::compare(a, b).unwrap_or_else(|| panic!("{a:?} and {b:?} do not compare"))
}

pub(super) fn nulls_first(a: &Value, b: &Value) -> Ordering {
    match (a.is_null(), b.is_null()) {
        (false, false) => order(a, b),
        (a, b) => b.cmp(&a),
    }
}

fn compare(op: Comparison, a: &Value, b: &Value) -> Value {
    if a.is_null() || b.is_null() {
        return Value::Null;
    }
    let order = order(a, b);
    Value::Bool(match op {
        Comparison::Eq => order.is_eq(),
        Comparison::Ne => order.is_ne(),
        Comparison::Lt => order.is_lt(),
        Comparison::Le => order.is_le(),
        Comparison::Gt => order.is_gt(),
        Comparison::Ge => order.is_ge(),
    })
}

fn text_test(test: TextTest, text: &Value, part: &Value) -> Value {
    let (Value::String(text), Value::String(part)) = (text, part) else {
        return Value::Null;
    };
    Value::Bool(match test {
        TextTest::Contains => text.contains(part.as_str()),
        TextTest::StartsWith => text.starts_with(part.as_str()),
        TextTest::EndsWith => text.ends_with(part.as_str()),
    })
}

fn is_in(item: &Value, list: &Value) -> Value {
    let Value::List(items) = list else {
        return Value::Null;
    };
    if item.is_null() {
        return Value::Null;
    }
    if items.iter().any(|i| !i.is_null() && order(i, item).is_eq()) {
        return Value::Bool(true);
    }
    match items.iter().any(Value::is_null) {
        true => Value::Null,
        false => Value::Bool(false),
    }
}

fn arithmetic(op: Arithmetic, a: &Value, b: &Value, ty: ExprType) -> Evaluated {
    let days = |number: i128| {
        i32::try_from(number)
            .map(Value::Date)
            .map_err(|_| Code::R440)
    };
    let millis = |number: i128| {
        i64::try_from(number)
            .map(Value::DateTime)
            .map_err(|_| Code::R440)
    };
    let sign = if op == Arithmetic::Sub { -1 } else { 1 };
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => Ok(Value::Null),
        (Value::String(a), Value::String(b)) => Ok(Value::String(format!("{a}{b}"))),
        (Value::Date(a), Value::Date(b)) => Ok(Value::Int(i64::from(*a) - i64::from(*b))),
        (Value::DateTime(a), Value::DateTime(b)) => fit(
            i128::from(*a) - i128::from(*b),
            ExprType::Scalar(Scalar::I64),
        ),
        (Value::Date(a), n) => days(i128::from(*a) + sign * integer(n)),
        (Value::DateTime(a), n) => millis(i128::from(*a) + sign * integer(n)),
        (Value::F32(_) | Value::F64(_), _) | (_, Value::F32(_) | Value::F64(_)) => {
            let (a, b) = (float(a), float(b));
            Ok(Value::F64(match op {
                Arithmetic::Add => a + b,
                Arithmetic::Sub => a - b,
                Arithmetic::Mul => a * b,
                Arithmetic::Div => a / b,
                Arithmetic::Rem => a % b,
            }))
        }
        (a, b) => {
            let (a, b) = (integer(a), integer(b));
            let exact = match op {
                Arithmetic::Add => a + b,
                Arithmetic::Sub => a - b,
                Arithmetic::Mul => a.checked_mul(b).ok_or(Code::R440)?,
                Arithmetic::Div => a.checked_div(b).ok_or(Code::R441)?,
                Arithmetic::Rem => a.checked_rem(b).ok_or(Code::R441)?,
            };
            fit(exact, ty)
        }
    }
}
