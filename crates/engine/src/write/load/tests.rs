//! Parsing without tables: what becomes of single lines.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use bytes::Bytes;
use omnigraph_lang::schema::{Catalog, parse_schema};
use omnigraph_lang::value::Value;

use super::collect::parse;
use super::parse::Parsed;
use super::plan::Plan;
use super::split::Chunk;
use crate::error::ErrorKind;
use crate::exec::values::value_at;
use crate::write::blobs::ExternalRule;

const NOW: i64 = 1_700_000_000_000;

fn catalog(source: &str) -> Catalog {
    match parse_schema(source) {
        Ok((catalog, _)) => catalog,
        Err(found) => panic!("{found:?}"),
    }
}

fn read_as(schema: &str, text: &str, permissive: bool) -> Parsed {
    let plan = Plan::new(
        &catalog(schema),
        NOW,
        permissive,
        ExternalRule::none(),
        None,
    )
    .unwrap();
    let chunk = Chunk {
        bytes: Bytes::copy_from_slice(text.as_bytes()),
        first_line: 1,
        lines: 0,
    };
    parse(Arc::new(plan), &chunk).unwrap()
}

/// The only batch of a text that is right.
fn batch(schema: &str, text: &str) -> RecordBatch {
    let mut parsed = read_as(schema, text, false);
    if !parsed.violations.is_empty() {
        panic!("{:?}", parsed.violations);
    }
    assert_eq!(parsed.batches.len(), 1);
    parsed.batches.remove(0).1.batch
}

/// Lines and codes of what is wrong.
fn faults(schema: &str, text: &str) -> Vec<(u64, String)> {
    let violations = read_as(schema, text, false).violations;
    if violations.is_empty() {
        return Vec::new();
    }
    let error = violations.into_error(ErrorKind::LoadInvalid);
    let found = error.detail().diagnostics.iter();
    found
        .map(|d| (d.line.unwrap_or(0), d.code.to_string()))
        .collect()
}

fn code(schema: &str, line: &str) -> String {
    match faults(schema, line).as_slice() {
        [] => "ok".to_owned(),
        [(1, code)] => code.clone(),
        other => panic!("{other:?}"),
    }
}

fn cell(batch: &RecordBatch, column: &str) -> Value {
    value_at(batch.column_by_name(column).unwrap().as_ref(), 0)
}

const P: &str = "node P { k: String @key } edge E: P -> P { n: I64? }";

#[test]
fn envelopes_are_checked() {
    for (line, expected) in [
        (r#"{"type":"P","data":{"k":"a"}}"#, "ok"),
        (r#"{"data":{"k":"a"},"type":"P"}"#, "ok"),
        (r#" { "type" : "P" , "data" : { "k" : "a\u0041" } } "#, "ok"),
        (r#"{"edge":"E","from":"a","to":"b"}"#, "ok"),
        (
            r#"{"edge":"e","to":"b","data":{"n":null},"from":"a"}"#,
            "ok",
        ),
        (r#"{"type":"P","data":{"k":"a","zz":1}}"#, "R405"),
        (r#"{"type":"P","data":{"k":"a","src":"x"}}"#, "R405"),
        (r#"{"type":"P","edge":"E"}"#, "R402"),
        (r#"{"type":"P","data":null}"#, "R402"),
        (r#"{"type":"P","type":"P"}"#, "R403"),
        (r#"{"type":"P","data":{"k":"a","k":"a"}}"#, "R403"),
        (r#"{"type":"P","data":{"k":"a"},"data":{}}"#, "R403"),
        (r#"{"type":"P","data":{"k":"a"},"more":1}"#, "R402"),
        (r#"{"type":"P","from":"a","data":{"k":"a"}}"#, "R402"),
        (r#"{"edge":"E","from":"a"}"#, "R402"),
        (r#"{"edge":"E","from":"a","to":7}"#, "R402"),
        (r#"{"type":7}"#, "R402"),
        (r#"{}"#, "R402"),
        (r#"[]"#, "R402"),
        (r#"{"type":"p","data":{"k":"a"}}"#, "R404"),
        (r#"{"edge":"F","from":"a","to":"b"}"#, "R404"),
        (r#"{"type":"P","data":{"k":"a"}"#, "R401"),
        (r#"{"type":"P","data":{"k":"a"}} x"#, "R401"),
        ("\u{feff}{}", "R401"),
        (
            r#"{"type":"P","data":{"k":"a","zz":{"a":1,"a":2}}}"#,
            "R403",
        ),
        (r#"{"type":"P"}"#, "R410"),
        (r#"{"type":"P","data":{"k":null}}"#, "R410"),
        (r#"{"type":"P","data":{"id":"a","k":"a"}}"#, "ok"),
        (r#"{"type":"P","data":{"id":"b","k":"a"}}"#, "R416"),
        (r#"{"type":"P","data":{"id":7,"k":"a"}}"#, "R416"),
    ] {
        assert_eq!(code(P, line), expected, "{line}");
    }
}

#[test]
fn every_bad_line_has_its_number() {
    let good = r#"{"type":"P","data":{"k":"a"}}"#;
    let text =
        format!("{good}\n\n{{\n{good}\r\n  \t\n{{\"type\":\"X\"}}\n{good}\n{{\"type\":\"P\"}}");
    assert_eq!(
        faults(P, &text),
        [(3, "R401".into()), (6, "R404".into()), (8, "R410".into())]
    );
}

#[test]
fn a_line_that_is_no_text_is_reported() {
    let plan = Plan::new(&catalog(P), NOW, false, ExternalRule::none(), None).unwrap();
    let chunk = Chunk {
        bytes: Bytes::from_static(b"{\"type\":\"P\",\"data\":{\"k\":\"a\"}}\n\xff\n"),
        first_line: 11,
        lines: 2,
    };
    let error = parse(Arc::new(plan), &chunk)
        .unwrap()
        .violations
        .into_error(ErrorKind::LoadInvalid);
    let found = &error.detail().diagnostics;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].code.as_str(), found[0].line), ("R401", Some(12)));
}

fn of_type(data_type: &str, json: &str) -> String {
    let schema = format!("node T {{ v: {data_type} }}");
    let line = format!(r#"{{"type":"T","data":{{"v":{json}}}}}"#);
    match code(&schema, &line) {
        ok if ok == "ok" => format!("{:?}", cell(&batch(&schema, &line), "v")),
        code => code,
    }
}

#[test]
fn values_follow_the_table() {
    for (data_type, json, expected) in [
        ("I32", "2147483648", "R407"),
        ("I32", "2147483647", "Int(2147483647)"),
        ("I32", "3.0", "R406"),
        ("I32", "3e0", "R406"),
        ("I32", "\"3\"", "R406"),
        ("I64", "\"9007199254740993\"", "Int(9007199254740993)"),
        ("I64", "-9223372036854775808", "Int(-9223372036854775808)"),
        ("I64", "9223372036854775808", "R407"),
        ("U32", "-1", "R407"),
        ("U64", "18446744073709551615", "UInt(18446744073709551615)"),
        ("U64", "18446744073709551616", "R407"),
        ("Bool", "true", "Bool(true)"),
        ("Bool", "1", "R406"),
        ("F64", "0.1", "F64(0.1)"),
        ("F64", "1e400", "R407"),
        ("F32", "0.1", "F32(0.1)"),
        ("F32", "1e39", "R407"),
        ("F32", "7", "F32(7.0)"),
        ("String", "\"\"", "String(\"\")"),
        ("String", "1", "R406"),
        ("enum(a, phase-1)", "\"phase-1\"", "String(\"phase-1\")"),
        ("enum(a, phase-1)", "\"b\"", "R411"),
        ("Date", "\"2024-1-5\"", "Date(19727)"),
        ("Date", "\"20240105\"", "Date(19727)"),
        ("Date", "19727", "Date(19727)"),
        ("Date", "\"Jan 5\"", "R408"),
        (
            "DateTime",
            "\"2024-01-01 02:00:00+02\"",
            "DateTime(1704067200000)",
        ),
        ("Vector(2)", "[1]", "R409"),
        ("Vector(2)", "[1, null]", "R409"),
        ("Vector(2)", "[1, 2]", "Vector([1.0, 2.0])"),
        ("[String]", "[]", "List([])"),
        (
            "[String]",
            "[\"a\\n\", \"b\"]",
            "List([String(\"a\\n\"), String(\"b\")])",
        ),
        ("[String]", "[\"a\", 1]", "R406"),
        ("[String]", "[null]", "R406"),
        ("[I64]", "[1, 2]", "List([Int(1), Int(2)])"),
        ("String?", "null", "Null"),
        ("I64", "null", "R410"),
        ("Blob", "\"base64:AA=\"", "R420"),
        ("Blob", "\"s3://b/k\"", "R421"),
    ] {
        assert_eq!(of_type(data_type, json), expected, "{data_type} {json}");
    }
}

#[test]
fn floats_are_read_exactly() {
    for text in [
        "7.297352569e-3",
        "123456789.12345679",
        "5e-324",
        "0.30000000000000004",
    ] {
        let expected = format!("{:?}", Value::F64(text.parse().unwrap()));
        assert_eq!(of_type("F64", text), expected);
    }
}

#[test]
fn ids_are_derived_from_keys() {
    let key = |members: &str, data: &str| {
        let schema = format!("node K {{ {members} }}");
        let line = format!(r#"{{"type":"K","data":{data}}}"#);
        match code(&schema, &line) {
            ok if ok == "ok" => batch(&schema, &line)
                .column(0)
                .as_string::<i32>()
                .value(0)
                .into(),
            code => code,
        }
    };
    let composite = "tenant: String  slot: U32  @key(tenant, slot)";
    assert_eq!(
        key(composite, r#"{"tenant":"acme","slot":7}"#),
        r#"["7","acme"]"#
    );
    assert_eq!(
        key(composite, r#"{"tenant":"acme","slot":7,"id":"7"}"#),
        "R416"
    );
    assert_eq!(key("d: Date @key", r#"{"d":"2024-01-01"}"#), "19723");
    assert_eq!(key("f: F64 @key", r#"{"f":1.50}"#), "1.5");
    assert_eq!(key("f: F64 @key", r#"{"f":-0.0}"#), "0");
    assert_eq!(key("b: Bool @key", r#"{"b":true}"#), "true");
    // Without a key the id is given or made up.
    assert_eq!(key("s: String", r#"{"s":"x","id":"mine"}"#), "mine");
    assert_eq!(key("s: String", r#"{"s":"x"}"#).len(), 26);
    assert_eq!(key("s: String", r#"{"s":"x","id":""}"#), "R416");
}

#[test]
fn edges_name_their_ends() {
    let schema = "node P { tenant: String  slot: U32  @key(tenant, slot) }
                  node N { t: String }
                  edge E: P -> P { @key(src, dst) }  edge F: N -> P";
    let line = r#"{"edge":"E","from":"x","to":{"tenant":"acme","slot":7}}"#;
    let rows = batch(schema, line);
    assert_eq!(cell(&rows, "src"), Value::String("x".into()));
    assert_eq!(cell(&rows, "dst"), Value::String(r#"["7","acme"]"#.into()));
    assert_eq!(
        cell(&rows, "id"),
        Value::String(r#"["x","[\"7\",\"acme\"]"]"#.into())
    );
    for (line, expected) in [
        (r#"{"edge":"E","from":"x","to":{"tenant":"acme"}}"#, "R402"),
        (
            r#"{"edge":"E","from":"x","to":{"tenant":"acme","slot":-7}}"#,
            "R407",
        ),
        (
            r#"{"edge":"E","from":"x","to":{"tenant":"acme","slot":7,"more":1}}"#,
            "R402",
        ),
        (r#"{"edge":"F","from":{"t":"x"},"to":"y"}"#, "R402"),
    ] {
        assert_eq!(code(schema, line), expected, "{line}");
    }
}

#[test]
fn constraints_and_defaults_apply() {
    let schema = r#"node T { n: I32?  k: String?  d: I64 @default(5)  at: DateTime @default(now)
                    @range(n, ..5)  @check(k, "[A-Z]") }"#;
    for (data, expected) in [
        (r#"{"n":6}"#, "R412"),
        (r#"{"n":5}"#, "ok"),
        (r#"{"n":null}"#, "ok"),
        (r#"{"k":"xAy"}"#, "ok"),
        (r#"{"k":"xay"}"#, "R413"),
        (r#"{"d":null}"#, "R410"),
    ] {
        let line = format!(r#"{{"type":"T","data":{data}}}"#);
        assert_eq!(code(schema, &line), expected, "{data}");
    }
    let rows = batch(schema, r#"{"type":"T"}"#);
    assert_eq!(cell(&rows, "d"), Value::Int(5));
    assert_eq!(cell(&rows, "at"), Value::DateTime(NOW));
    assert_eq!(cell(&rows, "n"), Value::Null);
}

#[test]
fn columns_stay_aligned() {
    let schema = "node T { a: String?  b: I64?  c: [String]? }";
    let text = r#"{"type":"T","data":{"a":"x"}}
{"type":"T","data":{"c":["y"],"b":2}}
{"type":"T","data":{}}
{"type":"T","data":{"b":3,"a":"z"}}"#;
    let rows = batch(schema, text);
    assert_eq!(rows.num_rows(), 4);
    let column = |name: &str| {
        let array = rows.column_by_name(name).unwrap();
        (0..array.len())
            .map(|row| value_at(array.as_ref(), row))
            .collect::<Vec<_>>()
    };
    let text = |s: &str| Value::String(s.into());
    assert_eq!(
        column("a"),
        [text("x"), Value::Null, Value::Null, text("z")]
    );
    assert_eq!(
        column("b"),
        [Value::Null, Value::Int(2), Value::Null, Value::Int(3)]
    );
    assert_eq!(column("c")[1], Value::List(vec![text("y")]));
}

#[test]
fn the_permissive_form_takes_any_white_space_and_unknown_members() {
    let text = "{\"type\":\"P\",\n \"data\":{\"k\":\"a\",\"zz\":[1]}} {\"type\":\"P\",\"data\":{\"k\":\"b\"},\"note\":{}}\n\n{\"type\":\"Q\"}";
    let parsed = read_as(P, text, true);
    let error = parsed.violations.into_error(ErrorKind::LoadInvalid);
    assert_eq!(error.detail().diagnostics.len(), 1);
    assert_eq!(error.detail().diagnostics[0].line, Some(4));
    let good = text.rsplit_once("\n\n").unwrap().0;
    let parsed = read_as(P, good, true);
    assert!(parsed.violations.is_empty());
    assert_eq!(parsed.batches[0].1.batch.num_rows(), 2);
    assert_eq!(parsed.batches[0].1.lines, [1, 2]);
}
