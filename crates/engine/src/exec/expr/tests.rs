use omnigraph_lang::query::{Arithmetic, CastMode, Comparison, Function};
use omnigraph_lang::schema::{DataType as PropertyType, Scalar};

use super::*;

struct Column(Vec<Value>, Scalar);

impl Scope for Column {
    fn rows(&self) -> usize {
        self.0.len()
    }

    fn resolve(&self, _: Leaf<'_>) -> Result<ArrayRef> {
        array_of(&scalar_type(self.1), &self.0)
    }
}

const CTX: EvalContext<'static> = EvalContext {
    params: &[],
    now: 0,
};

fn scalar(scalar: Scalar) -> ExprType {
    ExprType::Scalar(scalar)
}

fn expr(kind: ExprKind, ty: Scalar) -> Expr {
    Expr {
        kind,
        ty: scalar(ty),
        nullable: true,
    }
}

fn literal(value: Value) -> Expr {
    let ty = match &value {
        Value::Bool(_) => Scalar::Bool,
        Value::Int(_) => Scalar::I64,
        Value::UInt(_) => Scalar::U64,
        Value::F32(_) => Scalar::F32,
        Value::F64(_) => Scalar::F64,
        Value::Date(_) => Scalar::Date,
        Value::DateTime(_) => Scalar::DateTime,
        _ => Scalar::String,
    };
    expr(ExprKind::Literal(value), ty)
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

fn constant(expr: &Expr) -> std::result::Result<Value, String> {
    evaluate_constant(expr, &CTX).map_err(|e| e.detail().diagnostics[0].code.to_string())
}

fn compared(op: Comparison, left: Value, right: Value) -> Value {
    let compare = ExprKind::Compare {
        op,
        left: Box::new(literal(left)),
        right: Box::new(literal(right)),
    };
    constant(&expr(compare, Scalar::Bool)).unwrap()
}

fn calculated(
    op: Arithmetic,
    left: Value,
    right: Value,
    ty: Scalar,
) -> std::result::Result<Value, String> {
    let arithmetic = ExprKind::Arithmetic {
        op,
        left: Box::new(literal(left)),
        right: Box::new(literal(right)),
    };
    constant(&expr(arithmetic, ty))
}

#[test]
fn numbers_compare_by_exact_value() {
    use Comparison::{Eq, Ge, Gt, Lt, Ne};
    let big = (1i64 << 53) + 1;
    for (op, left, right, expected) in [
        (Eq, Value::Int(2), Value::F64(2.0), true),
        (Eq, Value::Int(big), Value::F64((1i64 << 53) as f64), false),
        (Gt, Value::Int(big), Value::F64((1i64 << 53) as f64), true),
        (Lt, Value::Int(-1), Value::UInt(u64::MAX), true),
        (Lt, Value::UInt(u64::MAX), Value::F64(f64::INFINITY), true),
        (Ge, Value::F64(2.5), Value::Int(2), true),
        (Lt, Value::Int(-2), Value::F64(-1.5), true),
        (Gt, Value::Int(-1), Value::F64(-1.5), true),
        (Eq, Value::F64(-0.0), Value::F64(0.0), true),
        (Eq, Value::F64(f64::NAN), Value::F64(f64::NAN), true),
        (Ne, Value::F64(f64::NAN), Value::Int(1), true),
        (Lt, text("B"), text("a"), true),
    ] {
        assert_eq!(
            compared(op, left.clone(), right.clone()),
            Value::Bool(expected),
            "{left:?} {op:?} {right:?}"
        );
    }
    assert_eq!(compared(Eq, Value::Null, text("a")), Value::Null);
}

#[test]
fn arithmetic_is_exact_or_fails() {
    use Arithmetic::{Add, Div, Mul, Rem, Sub};
    let int = Value::Int;
    for (op, left, right, ty, expected) in [
        (Div, int(-7), int(2), Scalar::I64, Ok(int(-3))),
        (Rem, int(-7), int(2), Scalar::I64, Ok(int(-1))),
        (Add, int(i64::MAX), int(1), Scalar::I64, Err("R440")),
        (Div, int(i64::MIN), int(-1), Scalar::I64, Err("R440")),
        (Div, int(1), int(0), Scalar::I64, Err("R441")),
        (Rem, int(1), int(0), Scalar::I64, Err("R441")),
        (
            Mul,
            Value::UInt(u64::MAX),
            Value::UInt(u64::MAX),
            Scalar::U64,
            Err("R440"),
        ),
        (
            Add,
            Value::UInt(u64::MAX),
            int(-1),
            Scalar::I64,
            Err("R440"),
        ),
        (
            Sub,
            Value::UInt(1),
            Value::UInt(2),
            Scalar::I64,
            Ok(int(-1)),
        ),
        (
            Div,
            Value::F64(1.0),
            int(0),
            Scalar::F64,
            Ok(Value::F64(f64::INFINITY)),
        ),
        (Add, text("a"), text("b"), Scalar::String, Ok(text("ab"))),
        (
            Sub,
            Value::Date(10),
            Value::Date(3),
            Scalar::I64,
            Ok(int(7)),
        ),
        (
            Add,
            Value::Date(i32::MAX),
            int(1),
            Scalar::Date,
            Err("R440"),
        ),
        (
            Sub,
            Value::DateTime(10),
            int(3),
            Scalar::DateTime,
            Ok(Value::DateTime(7)),
        ),
    ] {
        let found = calculated(op, left.clone(), right.clone(), ty);
        assert_eq!(
            found,
            expected.map_err(str::to_owned),
            "{left:?} {op:?} {right:?}"
        );
    }
}

#[test]
fn logic_has_three_values() {
    let truth = [Value::Bool(true), Value::Bool(false), Value::Null];
    for a in &truth {
        for b in &truth {
            let parts = || {
                vec![
                    expr(ExprKind::Literal(a.clone()), Scalar::Bool),
                    expr(ExprKind::Literal(b.clone()), Scalar::Bool),
                ]
            };
            let is = |value: bool| *a == Value::Bool(value) || *b == Value::Bool(value);
            let both = |value: bool| *a == Value::Bool(value) && *b == Value::Bool(value);
            let and = if is(false) {
                Value::Bool(false)
            } else if both(true) {
                Value::Bool(true)
            } else {
                Value::Null
            };
            let or = if is(true) {
                Value::Bool(true)
            } else if both(false) {
                Value::Bool(false)
            } else {
                Value::Null
            };
            assert_eq!(
                constant(&expr(ExprKind::And(parts()), Scalar::Bool)),
                Ok(and)
            );
            assert_eq!(constant(&expr(ExprKind::Or(parts()), Scalar::Bool)), Ok(or));
        }
    }
}

#[test]
fn rows_meet_constants() {
    let scope = Column(vec![Value::Int(1), Value::Null, Value::Int(3)], Scalar::I32);
    let leaf = expr(ExprKind::EntityId(VarId(0)), Scalar::I32);
    let filter = expr(
        ExprKind::Compare {
            op: Comparison::Gt,
            left: Box::new(leaf.clone()),
            right: Box::new(literal(Value::Int(1))),
        },
        Scalar::Bool,
    );
    assert_eq!(
        evaluate_filter(&filter, &scope, &CTX).unwrap(),
        [false, false, true]
    );
    let negated = expr(ExprKind::Not(Box::new(filter)), Scalar::Bool);
    assert_eq!(
        evaluate_filter(&negated, &scope, &CTX).unwrap(),
        [true, false, false]
    );
    let null = expr(ExprKind::IsNull(Box::new(leaf.clone())), Scalar::Bool);
    assert_eq!(
        evaluate_filter(&null, &scope, &CTX).unwrap(),
        [false, true, false]
    );
    let among = ExprKind::In {
        item: Box::new(leaf),
        list: Box::new(Expr {
            kind: ExprKind::Literal(Value::List(vec![Value::Int(3), Value::Null])),
            ty: ExprType::List(Scalar::I64),
            nullable: false,
        }),
    };
    let values = evaluate(&expr(among, Scalar::Bool), &scope, &CTX).unwrap();
    let values: Vec<Value> = (0..3).map(|row| value_at(&values, row)).collect();
    assert_eq!(values, [Value::Null, Value::Null, Value::Bool(true)]);
}

#[test]
fn casts_follow_the_table() {
    let cast = |value: Value, to: Scalar, mode| {
        constant(&expr(
            ExprKind::Cast {
                value: Box::new(literal(value)),
                to: PropertyType::Scalar(to),
                mode,
            },
            to,
        ))
    };
    use CastMode::{Round, Strict, Try};
    for (value, to, mode, expected) in [
        (text("12"), Scalar::I32, Strict, Ok(Value::Int(12))),
        (text("x"), Scalar::I32, Strict, Err("R442")),
        (text("x"), Scalar::I32, Try, Ok(Value::Null)),
        (Value::F64(-2.9), Scalar::I64, Strict, Ok(Value::Int(-2))),
        (Value::F64(f64::NAN), Scalar::I64, Strict, Err("R442")),
        (Value::Int(3), Scalar::U32, Strict, Ok(Value::UInt(3))),
        (Value::Int(-3), Scalar::U32, Strict, Err("R442")),
        (Value::F64(1e300), Scalar::F32, Strict, Err("R442")),
        (
            Value::F64(1e300),
            Scalar::F32,
            Round,
            Ok(Value::F32(f32::INFINITY)),
        ),
        (Value::Bool(true), Scalar::I64, Strict, Ok(Value::Int(1))),
        (Value::Int(2), Scalar::Bool, Strict, Err("R442")),
        (
            Value::Date(1),
            Scalar::DateTime,
            Strict,
            Ok(Value::DateTime(86_400_000)),
        ),
        (
            Value::DateTime(-1),
            Scalar::Date,
            Strict,
            Ok(Value::Date(-1)),
        ),
        (
            Value::Date(19782),
            Scalar::String,
            Strict,
            Ok(text("2024-02-29")),
        ),
        (Value::F64(2.0), Scalar::String, Strict, Ok(text("2.0"))),
    ] {
        let found = cast(value.clone(), to, mode);
        assert_eq!(found, expected.map_err(str::to_owned), "{value:?} as {to}");
    }
}

#[test]
fn functions_follow_the_table() {
    let call = |function, args: Vec<Value>, ty| {
        let args = args.into_iter().map(literal).collect();
        constant(&expr(ExprKind::Call { function, args }, ty))
    };
    let monday = 1_704_067_200_000; // 2024-01-01
    for (function, args, ty, expected) in [
        (
            Function::Substring,
            vec![text("curl"), Value::Int(1), Value::Int(9)],
            Scalar::String,
            Ok(text("url")),
        ),
        (
            Function::Substring,
            vec![text("curl"), Value::Int(-1)],
            Scalar::String,
            Err("R443"),
        ),
        (
            Function::Length,
            vec![text("é€")],
            Scalar::I64,
            Ok(Value::Int(2)),
        ),
        (
            Function::Upper,
            vec![text("straße")],
            Scalar::String,
            Ok(text("STRASSE")),
        ),
        (
            Function::Trim,
            vec![text(" a ")],
            Scalar::String,
            Ok(text("a")),
        ),
        (
            Function::Round,
            vec![Value::F64(-2.5)],
            Scalar::F64,
            Ok(Value::F64(-3.0)),
        ),
        (
            Function::Round,
            vec![Value::F64(1.25), Value::Int(1)],
            Scalar::F64,
            Ok(Value::F64(1.3)),
        ),
        (
            Function::Round,
            vec![Value::Int(-155), Value::Int(-1)],
            Scalar::I64,
            Ok(Value::Int(-160)),
        ),
        (
            Function::Abs,
            vec![Value::Int(i64::MIN)],
            Scalar::I64,
            Err("R440"),
        ),
        (
            Function::Weekday,
            vec![Value::DateTime(monday)],
            Scalar::I64,
            Ok(Value::Int(1)),
        ),
        (
            Function::Hour,
            vec![Value::DateTime(-1)],
            Scalar::I64,
            Ok(Value::Int(23)),
        ),
        (
            Function::Year,
            vec![Value::Date(-1)],
            Scalar::I64,
            Ok(Value::Int(1969)),
        ),
        (
            Function::Matches,
            vec![text("zlib"), text("(")],
            Scalar::Bool,
            Err("R443"),
        ),
    ] {
        let found = call(function, args.clone(), ty);
        assert_eq!(
            found,
            expected.map_err(str::to_owned),
            "{function:?} {args:?}"
        );
    }
}
