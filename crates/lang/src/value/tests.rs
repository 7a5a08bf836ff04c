use std::cmp::Ordering;

use serde_json::{Value as Json, json};

use super::*;
use crate::schema::{DataType, Scalar};

fn read(json: Json, data_type: &DataType) -> Result<Value, &'static str> {
    from_json(&json, data_type).map_err(|e| e.code.as_str())
}

fn scalar(scalar: Scalar) -> DataType {
    DataType::Scalar(scalar)
}

#[test]
fn load_rules_of_scalars() {
    let i32 = scalar(Scalar::I32);
    assert_eq!(read(json!(7), &i32), Ok(Value::Int(7)));
    assert_eq!(read(json!(2_147_483_648_u64), &i32), Err("R407"));
    assert_eq!(read(json!(3.0), &i32), Err("R406"));
    assert_eq!(read(json!("3"), &i32), Err("R406"));
    assert_eq!(read(json!(null), &i32), Err("R406"));
    let i64 = scalar(Scalar::I64);
    assert_eq!(
        read(json!("-9007199254740993"), &i64),
        Ok(Value::Int(-9_007_199_254_740_993))
    );
    assert_eq!(read(json!(i64::MAX), &i64), Ok(Value::Int(i64::MAX)));
    assert_eq!(read(json!(u64::MAX), &i64), Err("R407"));
    assert_eq!(read(json!("1e3"), &i64), Err("R406"));
    let u64 = scalar(Scalar::U64);
    assert_eq!(read(json!(u64::MAX), &u64), Ok(Value::UInt(u64::MAX)));
    assert_eq!(read(json!(-1), &u64), Err("R407"));
    assert_eq!(
        read(json!("99999999999999999999999999999999999999999999"), &u64),
        Err("R407")
    );
    assert_eq!(read(json!(1.5), &scalar(Scalar::F32)), Ok(Value::F32(1.5)));
    assert_eq!(read(json!(1e39), &scalar(Scalar::F32)), Err("R407"));
    assert_eq!(read(json!("x"), &scalar(Scalar::F64)), Err("R406"));
    let date = scalar(Scalar::Date);
    assert_eq!(read(json!("2024-1-5"), &date), Ok(Value::Date(19727)));
    assert_eq!(read(json!(19727), &date), Ok(Value::Date(19727)));
    assert_eq!(read(json!("Jan 5"), &date), Err("R408"));
    assert_eq!(read(json!(true), &date), Err("R406"));
    assert_eq!(
        read(json!("2024-01-01 02:00:00+02"), &scalar(Scalar::DateTime)),
        Ok(Value::DateTime(1_704_067_200_000))
    );
}

#[test]
fn load_rules_of_the_other_types() {
    let two = DataType::Vector(2);
    assert_eq!(read(json!([1]), &two), Err("R409"));
    assert_eq!(read(json!([1, null]), &two), Err("R409"));
    assert_eq!(read(json!([1, 1e300]), &two), Err("R409"));
    assert_eq!(read(json!("x"), &two), Err("R406"));
    assert_eq!(read(json!([1, 2]), &two), Ok(Value::Vector(vec![1.0, 2.0])));
    let tags = DataType::List(Scalar::String);
    assert_eq!(read(json!([]), &tags), Ok(Value::List(Vec::new())));
    assert_eq!(read(json!(["a", null]), &tags), Err("R406"));
    let state = DataType::Enum(vec!["closed".into(), "open".into()]);
    assert_eq!(
        read(json!("open"), &state),
        Ok(Value::String("open".into()))
    );
    assert_eq!(read(json!("ajar"), &state), Err("R411"));
    assert_eq!(
        read(json!("base64:Zm9v"), &DataType::Blob),
        Ok(Value::Blob(Blob::Bytes(b"foo".to_vec())))
    );
    assert_eq!(read(json!("base64:Zm9"), &DataType::Blob), Err("R420"));
    assert_eq!(
        read(json!("s3://b/k"), &DataType::Blob),
        Ok(Value::Blob(Blob::Uri("s3://b/k".into())))
    );
}

#[test]
fn parameters_are_stricter_about_dates_and_laxer_about_integers() {
    let read =
        |json: Json, ty: Scalar| from_json_param(&json, &scalar(ty)).map_err(|e| e.code.as_str());
    assert_eq!(read(json!(19723), Scalar::Date), Err("R432"));
    assert_eq!(
        read(json!("2024-01-01"), Scalar::Date),
        Ok(Value::Date(19723))
    );
    assert_eq!(
        read(json!("9007199254740993"), Scalar::I64),
        Ok(Value::Int(9_007_199_254_740_993))
    );
    assert_eq!(read(json!("7"), Scalar::U32), Ok(Value::UInt(7)));
    assert_eq!(read(json!("7x"), Scalar::I32), Err("R432"));
    assert_eq!(read(json!(1), Scalar::String), Err("R432"));
}

#[test]
fn results_as_json() {
    let json = |v: Value| to_json(&v, Int64Style::Number);
    assert_eq!(json(Value::UInt(u64::MAX)), json!(u64::MAX));
    assert_eq!(
        to_json(&Value::Int(-9_007_199_254_740_992), Int64Style::String),
        json!("-9007199254740992")
    );
    assert_eq!(to_json(&Value::Int(5), Int64Style::String), json!(5));
    assert_eq!(json(Value::F64(f64::NAN)), json!("NaN"));
    assert_eq!(json(Value::F64(f64::NEG_INFINITY)), json!("-Infinity"));
    assert_eq!(json(Value::F32(0.1)), json!(0.100_000_001_490_116_12));
    assert_eq!(json(Value::Date(19782)), json!("2024-02-29"));
    assert_eq!(
        json(Value::List(vec![Value::Null, Value::Bool(true)])),
        json!([null, true])
    );
    assert_eq!(
        json(Value::Blob(Blob::Bytes(vec![1]))),
        json!("base64:AQ==")
    );
}

#[test]
fn strict_json_refuses_repeated_members() {
    assert_eq!(
        parse_json_strict(r#"{"a":[1,{"b":2.5}]}"#).unwrap(),
        json!({"a":[1,{"b":2.5}]})
    );
    for (text, code) in [
        (r#"{"a":1,"a":1}"#, Code::R403),
        (r#"{"x":{"a":1,"b":1,"a":2}}"#, Code::R403),
        ("{", Code::R401),
        ("{} {}", Code::R401),
        ("\u{feff}{}", Code::R401),
        ("", Code::R401),
    ] {
        assert_eq!(parse_json_strict(text).unwrap_err().code, code, "{text}");
    }
}

#[test]
fn assignments_convert_numbers_that_fit() {
    let to = |v: Value, ty: &DataType| coerce(v, ty).map_err(|e| e.code.as_str());
    assert_eq!(to(Value::Int(5), &scalar(Scalar::U32)), Ok(Value::UInt(5)));
    assert_eq!(to(Value::Int(-5), &scalar(Scalar::U32)), Err("R407"));
    assert_eq!(to(Value::Int(5), &scalar(Scalar::F32)), Ok(Value::F32(5.0)));
    assert_eq!(
        to(Value::F64(1.5), &scalar(Scalar::F32)),
        Ok(Value::F32(1.5))
    );
    assert_eq!(
        to(Value::F64(f64::INFINITY), &scalar(Scalar::F64)),
        Err("R407")
    );
    assert_eq!(to(Value::F64(1.5), &scalar(Scalar::I64)), Err("R406"));
    assert_eq!(to(Value::Null, &scalar(Scalar::I64)), Ok(Value::Null));
    assert_eq!(
        to(
            Value::List(vec![Value::Int(1), Value::F64(2.5)]),
            &DataType::Vector(2)
        ),
        Ok(Value::Vector(vec![1.0, 2.5]))
    );
    assert_eq!(
        to(Value::Vector(vec![1.0]), &DataType::Vector(2)),
        Err("R409")
    );
    assert_eq!(
        to(Value::String("x".into()), &DataType::Enum(vec!["a".into()])),
        Err("R411")
    );
}

#[test]
fn numbers_compare_by_exact_value() {
    use Ordering::{Equal, Greater, Less};
    let big = 9_007_199_254_740_993_i64;
    for (a, b, order) in [
        (Value::Int(2), Value::F64(2.7), Some(Less)),
        (Value::Int(-2), Value::F64(-2.7), Some(Greater)),
        (
            Value::Int(big),
            Value::F64(9_007_199_254_740_992.0),
            Some(Greater),
        ),
        (Value::UInt(u64::MAX), Value::Int(-1), Some(Greater)),
        (Value::UInt(u64::MAX), Value::F64(f64::INFINITY), Some(Less)),
        (Value::F64(0.0), Value::F64(-0.0), Some(Equal)),
        (Value::F32(0.5), Value::F64(0.5), Some(Equal)),
        (Value::F64(f64::NAN), Value::Int(1), Some(Greater)),
        (Value::Null, Value::Int(1), None),
        (
            Value::String("a".into()),
            Value::String("B".into()),
            Some(Greater),
        ),
        (Value::Date(1), Value::DateTime(1), None),
        (Value::Bool(false), Value::Bool(true), Some(Less)),
    ] {
        assert_eq!(compare(&a, &b), order, "{a:?} {b:?}");
        assert_eq!(compare(&b, &a), order.map(Ordering::reverse), "{b:?} {a:?}");
    }
}

/// The faster reading of floats in JSON is off by one unit in the last place for some of these.
#[test]
fn floats_of_json_are_read_exactly() {
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..2000 {
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        let float = f64::from_bits(bits);
        if float.is_finite() {
            let json: Json = serde_json::from_str(&format!("{float:e}")).unwrap();
            assert_eq!(read(json, &scalar(Scalar::F64)), Ok(Value::F64(float)));
        }
    }
}
