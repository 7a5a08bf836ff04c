//! Compressed and columnar input through real graphs.

use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Date64Array, Decimal128Array,
    DictionaryArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array,
    LargeStringArray, ListArray, NullArray, RecordBatch, StringArray, StringViewArray, StructArray,
    TimestampMicrosecondArray, TimestampNanosecondArray, UInt8Array,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Field};
use async_compression::tokio::bufread::{GzipEncoder, ZstdEncoder};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::{branch, codes, entities, graph, load};
use crate::error::{ErrorKind, Result};
use crate::graph::{BranchName, Graph};
use crate::write::{LoadEncoding, LoadFormat, LoadMode, LoadOptions, LoadOutcome, LoadType};

const P: &str = "node P { k: String @key  n: I64? } edge E: P -> P";

pub(super) async fn load_bytes(
    graph: &Graph,
    options: LoadOptions,
    bytes: &[u8],
    piece: usize,
) -> Result<LoadOutcome> {
    let mut session = graph.load(&BranchName::main(), options).await?;
    for piece in bytes.chunks(piece.max(1)) {
        session.push(Bytes::copy_from_slice(piece)).await?;
    }
    session.finish().await
}

async fn all(mut reader: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).await.unwrap();
    bytes
}

async fn compressed(encoding: LoadEncoding, text: &[u8]) -> Vec<u8> {
    match encoding {
        LoadEncoding::Identity => text.to_vec(),
        LoadEncoding::Gzip => all(GzipEncoder::new(text)).await,
        LoadEncoding::Zstd => all(ZstdEncoder::new(text)).await,
    }
}

fn encoded(encoding: LoadEncoding) -> LoadOptions {
    LoadOptions {
        encoding,
        ..LoadOptions::default()
    }
}

fn people(count: usize) -> String {
    (0..count)
        .map(|i| format!("{{\"type\":\"P\",\"data\":{{\"k\":\"p{i}\",\"n\":{i}}}}}\n"))
        .collect()
}

async fn count(graph: &Graph) -> usize {
    entities(graph, &BranchName::main(), "P").await.len()
}

#[tokio::test]
async fn compressed_input_is_what_it_decodes_to() {
    let text = people(300);
    // Two members, the first of which ends inside of a line.
    let (first, second) = text.as_bytes().split_at(1003);
    for encoding in [LoadEncoding::Gzip, LoadEncoding::Zstd] {
        let one = compressed(encoding, text.as_bytes()).await;
        assert!(one.len() < text.len() / 3);
        let two = [
            compressed(encoding, first).await,
            compressed(encoding, second).await,
        ]
        .concat();
        for bytes in [one, two] {
            for piece in [1, 777, usize::MAX] {
                let graph = graph(P).await;
                let outcome = load_bytes(&graph, encoded(encoding), &bytes, piece).await;
                assert_eq!(outcome.unwrap().total, 300);
                assert_eq!(count(&graph).await, 300);
            }
        }
    }
}

#[tokio::test]
async fn a_compressed_stream_that_breaks_off_loads_nothing() {
    let graph = graph(P).await;
    let text = people(300);
    for encoding in [LoadEncoding::Gzip, LoadEncoding::Zstd] {
        let bytes = compressed(encoding, text.as_bytes()).await;
        let cuts = (0..bytes.len())
            .step_by(bytes.len() / 40)
            .chain([bytes.len() - 1]);
        for cut in cuts {
            let outcome = load_bytes(&graph, encoded(encoding), &bytes[..cut], 512).await;
            let error = outcome.expect_err(&format!("{encoding:?} cut at {cut}"));
            assert_eq!(error.kind(), ErrorKind::LoadInvalid);
            assert_eq!(
                error.detail().diagnostics[0].code.as_str(),
                "R423",
                "{error:?}"
            );
            assert!(
                error.message().contains("breaks off"),
                "{}",
                error.message()
            );
        }
    }
    assert_eq!(count(&graph).await, 0);
}

#[tokio::test]
async fn a_damaged_stream_says_where() {
    let graph = graph(P).await;
    let text = people(60_000);
    let mut gzip = compressed(LoadEncoding::Gzip, text.as_bytes()).await;
    let middle = gzip.len() * 3 / 4;
    gzip[middle..middle + 4].copy_from_slice(&[0xff; 4]);
    let error = load_bytes(&graph, encoded(LoadEncoding::Gzip), &gzip, 4096).await;
    let error = error.unwrap_err();
    let found = &error.detail().diagnostics[0];
    assert_eq!(found.code.as_str(), "R423");
    assert!(found.line.unwrap() > 1000, "{found:?}");
    for encoding in [LoadEncoding::Gzip, LoadEncoding::Zstd] {
        for bytes in [text.as_bytes(), b"no", &[0; 4000]] {
            let outcome = load_bytes(&graph, encoded(encoding), bytes, 4096).await;
            assert_eq!(codes(outcome), ["R423"], "{encoding:?}");
        }
        // Something else after the end.
        let tail = [
            compressed(encoding, text.as_bytes()).await,
            b"tail".to_vec(),
        ]
        .concat();
        assert_eq!(
            codes(load_bytes(&graph, encoded(encoding), &tail, 4096).await),
            ["R423"]
        );
    }
    // Nothing at all is not a compressed nothing.
    for encoding in [LoadEncoding::Gzip, LoadEncoding::Zstd] {
        assert_eq!(
            codes(load_bytes(&graph, encoded(encoding), b"", 1).await),
            ["R423"]
        );
        let empty = compressed(encoding, b"").await;
        assert_eq!(
            load_bytes(&graph, encoded(encoding), &empty, 1)
                .await
                .unwrap()
                .total,
            0
        );
    }
    assert_eq!(count(&graph).await, 0);
}

#[tokio::test]
async fn a_bomb_is_a_long_stream() {
    let graph = graph(P).await;
    let long = vec![b'\n'; 64 << 20];
    for encoding in [LoadEncoding::Gzip, LoadEncoding::Zstd] {
        let bytes = compressed(encoding, &long).await;
        assert!(bytes.len() < 100 << 10);
        let options = LoadOptions {
            memory: Some(8 << 20),
            ..encoded(encoding)
        };
        let mut session = graph.load(&BranchName::main(), options).await.unwrap();
        session.push(Bytes::from(bytes)).await.unwrap();
        let outcome = session.finish().await.unwrap();
        assert_eq!(outcome.total, 0);
        assert!(outcome.memory_peak <= 8 << 20, "{}", outcome.memory_peak);
    }
    // One line without an end is refused by its decoded length.
    let line = vec![b' '; 40 << 20];
    let bytes = compressed(LoadEncoding::Gzip, &line).await;
    let error = load_bytes(&graph, encoded(LoadEncoding::Gzip), &bytes, usize::MAX).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::ResourceLimit);
}

/// The same rows in every columnar form.
pub(super) fn files(batches: &[RecordBatch]) -> Vec<(&'static str, bool, Vec<u8>)> {
    let schema = batches[0].schema();
    let mut files = Vec::new();
    for (name, codec) in [
        ("plain", None),
        ("lz4", Some(CompressionType::LZ4_FRAME)),
        ("zstd", Some(CompressionType::ZSTD)),
    ] {
        let options = IpcWriteOptions::default()
            .try_with_compression(codec)
            .unwrap();
        let mut stream =
            StreamWriter::try_new_with_options(Vec::new(), &schema, options.clone()).unwrap();
        let mut file = FileWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
        for batch in batches {
            stream.write(batch).unwrap();
            file.write(batch).unwrap();
        }
        files.push((name, false, stream.into_inner().unwrap()));
        files.push((name, false, file.into_inner().unwrap()));
    }
    for (name, codec) in [
        ("parquet", Compression::UNCOMPRESSED),
        ("parquet snappy", Compression::SNAPPY),
        ("parquet zstd", Compression::ZSTD(ZstdLevel::default())),
    ] {
        let properties = WriterProperties::builder().set_compression(codec).build();
        let mut writer =
            ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties)).unwrap();
        for batch in batches {
            writer.write(batch).unwrap();
        }
        files.push((name, true, writer.into_inner().unwrap()));
    }
    files
}

pub(super) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap()
}

pub(super) fn columnar(parquet: bool, of: LoadType, mode: LoadMode) -> LoadOptions {
    LoadOptions {
        mode,
        format: match parquet {
            true => LoadFormat::Parquet(of),
            false => LoadFormat::Arrow(of),
        },
        ..LoadOptions::default()
    }
}

fn of(name: &str) -> LoadType {
    LoadType::Node(name.to_owned())
}

const ALL: &str = r#"node T { k: String @key  flag: Bool?  small: I32?  big: U64?  x: F32?  y: F64?
    day: Date?  at: DateTime?  tags: [String]?  v: Vector(2)?  kind: enum(a, b)?  d: I64 @default(7) }"#;

fn everything() -> RecordBatch {
    let mut tags =
        arrow_array::builder::ListBuilder::new(arrow_array::builder::StringBuilder::new());
    tags.append_value([Some("ü"), Some("")]);
    tags.append_null();
    let vectors = FixedSizeListArray::from_iter_primitive::<arrow_array::types::Float64Type, _, _>(
        [Some(vec![Some(0.5), Some(1.0)]), None],
        2,
    );
    let kinds: DictionaryArray<Int32Type> = [Some("a"), None].into_iter().collect();
    batch(vec![
        ("k", Arc::new(LargeStringArray::from(vec!["one", "two"]))),
        ("flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("small", Arc::new(UInt8Array::from(vec![Some(200), None]))),
        ("big", Arc::new(Int64Array::from(vec![Some(1 << 60), None]))),
        ("x", Arc::new(Float64Array::from(vec![Some(0.1), None]))),
        ("y", Arc::new(Float32Array::from(vec![Some(0.5), None]))),
        ("day", Arc::new(Date32Array::from(vec![Some(19727), None]))),
        (
            "at",
            Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None])),
        ),
        ("tags", Arc::new(tags.finish())),
        ("v", Arc::new(vectors)),
        ("kind", Arc::new(kinds)),
    ])
}

#[tokio::test]
async fn every_type_comes_in_by_every_format() {
    let text = r#"{"type":"T","data":{"k":"one","flag":true,"small":200,"big":1152921504606846976,"x":0.1,"y":0.5,"day":"2024-01-05","at":"1969-12-31T23:59:59.999Z","tags":["ü",""],"v":[0.5,1],"kind":"a"}}
{"type":"T","data":{"k":"two"}}"#;
    let plain = graph(ALL).await;
    load(&plain, LoadMode::Append, text).await.unwrap();
    let main = BranchName::main();
    let expected = entities(&plain, &main, "T").await;
    assert_eq!(expected["one"]["d"], json!(7));
    for (name, parquet, bytes) in files(&[everything()]) {
        for piece in [13, usize::MAX] {
            let graph = graph(ALL).await;
            let options = columnar(parquet, of("T"), LoadMode::Append);
            let outcome = load_bytes(&graph, options, &bytes, piece).await;
            let outcome = outcome.unwrap_or_else(|e| panic!("{name}: {e:?}"));
            assert_eq!(outcome.nodes, [("T".to_owned(), 2)]);
            assert_eq!(entities(&graph, &main, "T").await, expected, "{name}");
        }
        // Each ends where it ends: not earlier, and a stream not later.
        let graph = graph(ALL).await;
        for cut in [0, 1, 9, bytes.len() / 2, bytes.len() - 9, bytes.len() - 1] {
            let options = columnar(parquet, of("T"), LoadMode::Append);
            let outcome = load_bytes(&graph, options, &bytes[..cut], usize::MAX).await;
            assert_eq!(codes(outcome), ["R423"], "{name} cut at {cut}");
        }
        assert_eq!(entities(&graph, &main, "T").await.len(), 0);
    }
}

#[tokio::test]
async fn columnar_files_may_be_compressed_as_well() {
    for (name, parquet, bytes) in files(&[everything()]) {
        let graph = graph(ALL).await;
        let bytes = compressed(LoadEncoding::Gzip, &bytes).await;
        let options = LoadOptions {
            encoding: LoadEncoding::Gzip,
            ..columnar(parquet, of("T"), LoadMode::Append)
        };
        let outcome = load_bytes(&graph, options, &bytes, 100).await;
        assert_eq!(outcome.unwrap().total, 2, "{name}");
    }
}

/// What comes of one column in a node type with one property.
async fn cell(data_type: &str, array: ArrayRef) -> Json {
    let graph = graph(&format!("node N {{ v: {data_type} }}")).await;
    let rows = batch(vec![("v", array)]);
    let mut results = Vec::new();
    for (_, parquet, bytes) in files(std::slice::from_ref(&rows)) {
        let options = columnar(parquet, of("N"), LoadMode::Overwrite);
        let outcome = load_bytes(&graph, options, &bytes, usize::MAX).await;
        results.push(match outcome {
            Ok(_) => {
                let found = entities(&graph, &BranchName::main(), "N").await;
                found.values().next().unwrap()["v"].clone()
            }
            Err(error) => {
                let found = &error.detail().diagnostics[0];
                json!([found.code.as_str(), found.line])
            }
        });
    }
    assert!(
        results.windows(2).all(|two| two[0] == two[1]),
        "{data_type} {results:?}"
    );
    results.remove(0)
}

fn decimal(unscaled: i128, scale: i8) -> ArrayRef {
    let array = Decimal128Array::from(vec![unscaled]);
    Arc::new(array.with_precision_and_scale(38, scale).unwrap())
}

fn bad(code: &str) -> Json {
    json!([code, 1])
}

fn misfit(code: &str) -> Json {
    json!([code, null])
}

#[tokio::test]
async fn numbers_fit_or_are_refused() {
    let int = |i: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![i])) };
    let float = |x: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![x])) };
    for (data_type, array, expected) in [
        ("I32", int(i64::from(i32::MAX)), json!(i32::MAX)),
        ("I32", int(1 << 31), bad("R407")),
        ("U32", int(-1), bad("R407")),
        ("I64", float(1.0), misfit("R406")),
        ("I64", decimal(1200, 2), json!(12)),
        ("I64", decimal(1250, 2), bad("R406")),
        ("U64", decimal(i128::from(u64::MAX), 0), json!(u64::MAX)),
        ("F64", decimal(125, 2), json!(1.25)),
        ("F64", decimal(12_345_678_901_234_567_890, 2), bad("R407")),
        ("F64", int(1 << 53), json!(9_007_199_254_740_992.0)),
        ("F64", int((1 << 53) + 1), bad("R407")),
        ("F64", float(f64::NAN), bad("R407")),
        ("F32", float(1e39), bad("R407")),
        ("F32", int((1 << 24) + 1), bad("R407")),
        ("Bool", int(1), misfit("R406")),
        ("String", int(1), misfit("R406")),
        ("I64?", Arc::new(NullArray::new(1)), Json::Null),
        ("I64", Arc::new(Int64Array::from(vec![None])), bad("R410")),
    ] {
        let found = cell(data_type, array.clone()).await;
        assert_eq!(found, expected, "{data_type} {array:?}");
    }
}

#[tokio::test]
async fn texts_times_and_lists_fit_or_are_refused() {
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let list = |items: Vec<Option<i32>>| -> ArrayRef {
        Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(
            items,
        )]))
    };
    for (data_type, array, expected) in [
        (
            "String",
            Arc::new(StringViewArray::from(vec!["a view that is not inlined"])) as ArrayRef,
            json!("a view that is not inlined"),
        ),
        ("enum(a, b)", text("c"), bad("R411")),
        ("Date", text("2024-01-05"), json!(19727)),
        ("Date", text("soon"), bad("R408")),
        (
            "Date",
            Arc::new(Date64Array::from(vec![86_400_000 + 5])),
            json!(1),
        ),
        (
            "Date",
            Arc::new(TimestampNanosecondArray::from(vec![-1])),
            json!(-1),
        ),
        (
            "DateTime",
            Arc::new(TimestampNanosecondArray::from(vec![1_999_999])),
            json!(1),
        ),
        (
            "DateTime",
            Arc::new(Date32Array::from(vec![1])),
            json!(86_400_000),
        ),
        ("[I64]", list(vec![Some(1), Some(-2)]), json!([1, -2])),
        ("[I64]", list(vec![Some(1), None]), bad("R406")),
        ("[U32]", list(vec![Some(-2)]), bad("R407")),
        ("Vector(2)", list(vec![Some(1), Some(2)]), json!([1.0, 2.0])),
        ("Vector(2)", list(vec![Some(1)]), bad("R409")),
        ("Vector(2)", list(vec![Some(1), None]), bad("R409")),
        (
            "String",
            Arc::new(BinaryArray::from(vec![&b"x"[..]])),
            misfit("R406"),
        ),
    ] {
        let found = cell(data_type, array.clone()).await;
        assert_eq!(found, expected, "{data_type} {array:?}");
    }
}

#[tokio::test]
async fn columns_that_do_not_belong_are_named() {
    let graph = graph("node N { a: String  b: I64  c: I64 @default(1) }").await;
    let texts = || -> ArrayRef { Arc::new(StringArray::from(vec!["x"])) };
    let rows = batch(vec![("a", texts()), ("z", texts()), ("src", texts())]);
    for (name, parquet, bytes) in files(std::slice::from_ref(&rows)) {
        let options = columnar(parquet, of("N"), LoadMode::Append);
        let error = load_bytes(&graph, options, &bytes, usize::MAX)
            .await
            .unwrap_err();
        let found: Vec<_> = error
            .detail()
            .diagnostics
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(error.detail().diagnostics_total, 3, "{name} {found:?}");
        assert!(
            found[0].contains("R405") && found[0].contains("`z`"),
            "{found:?}"
        );
        assert!(
            found[2].contains("R410") && found[2].contains("`b`"),
            "{found:?}"
        );
    }
    let error = graph
        .load(
            &BranchName::main(),
            columnar(true, of("M"), LoadMode::Append),
        )
        .await;
    assert_eq!(codes(error), ["R404"]);
    let error = load_bytes(
        &graph,
        columnar(true, of("N"), LoadMode::Append),
        b"PAR1 nothing",
        5,
    );
    assert_eq!(codes(error.await), ["R423"]);
}

#[tokio::test]
async fn edges_have_two_ends() {
    let schema =
        "node P { k: String @key }  node C { tenant: String  slot: U32  @key(tenant, slot) }
                  node Q { n: I64 @key }
                  edge E: P -> Q { w: I64? }  edge F: C -> P";
    let nodes = r#"{"type":"P","data":{"k":"a"}}
{"type":"Q","data":{"n":7}}
{"type":"C","data":{"tenant":"acme","slot":3}}"#;
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let number = || -> ArrayRef { Arc::new(Int32Array::from(vec![7])) };
    let member = |name: &str, data_type| Arc::new(Field::new(name, data_type, true));
    let both: ArrayRef = Arc::new(StructArray::from(vec![
        (
            member("slot", DataType::Int64),
            Arc::new(Int64Array::from(vec![3])) as ArrayRef,
        ),
        (member("tenant", DataType::Utf8), text("acme")),
    ]));
    let ids = || {
        batch(vec![
            ("from", text("a")),
            ("to", text("7")),
            ("w", number()),
        ])
    };
    for (edge, rows, expected) in [
        ("E", ids(), Ok(json!(["a", "7"]))),
        (
            "e",
            batch(vec![("dst", number()), ("src", text("a"))]),
            Ok(json!(["a", "7"])),
        ),
        (
            "F",
            batch(vec![("from", both.clone()), ("dst", text("a"))]),
            Ok(json!([r#"["3","acme"]"#, "a"])),
        ),
        ("E", batch(vec![("from", text("a"))]), Err(vec!["R402"])),
        (
            "E",
            batch(vec![
                ("from", text("a")),
                ("src", text("a")),
                ("to", number()),
            ]),
            Err(vec!["R402"]),
        ),
        (
            "F",
            batch(vec![("from", number()), ("to", text("a"))]),
            Err(vec!["R402"]),
        ),
        (
            "E",
            batch(vec![("from", text("nobody")), ("to", number())]),
            Err(vec!["R417"]),
        ),
        (
            "E",
            batch(vec![
                ("from", Arc::new(NullArray::new(1))),
                ("to", number()),
            ]),
            Err(vec!["R402"]),
        ),
    ] {
        for (name, parquet, bytes) in files(std::slice::from_ref(&rows)) {
            let graph = graph(schema).await;
            load(&graph, LoadMode::Append, nodes).await.unwrap();
            let options = columnar(parquet, LoadType::Edge(edge.to_owned()), LoadMode::Append);
            let outcome = load_bytes(&graph, options, &bytes, usize::MAX).await;
            match &expected {
                Ok(ends) => {
                    outcome.unwrap_or_else(|e| panic!("{name} {edge}: {e:?}"));
                    let name = edge.to_ascii_uppercase();
                    let found = entities(&graph, &BranchName::main(), &name).await;
                    let found = found.values().next().unwrap();
                    assert_eq!(json!([found["from"], found["to"]]), *ends);
                }
                Err(expected) => assert_eq!(&codes(outcome), expected, "{name} {edge} {rows:?}"),
            }
        }
    }
}

#[tokio::test]
async fn rows_are_numbered_over_all_batches() {
    let graph = graph(P).await;
    let rows = |first: usize, count: usize, bad: Option<usize>| {
        let keys = (first..first + count).map(|i| (Some(i) != bad).then(|| format!("p{i}")));
        batch(vec![(
            "k",
            Arc::new(StringArray::from_iter(keys)) as ArrayRef,
        )])
    };
    let batches = [rows(0, 10_000, None), rows(10_000, 10_000, Some(15_678))];
    for (name, parquet, bytes) in files(&batches) {
        let options = columnar(parquet, of("P"), LoadMode::Append);
        let error = load_bytes(&graph, options, &bytes, 5000).await.unwrap_err();
        let found = &error.detail().diagnostics[0];
        assert_eq!(
            (found.code.as_str(), found.line),
            ("R410", Some(15_679)),
            "{name}"
        );
        assert!(error.message().contains("row 15679"), "{}", error.message());
    }
    // The same key twice, in two batches.
    for (name, parquet, bytes) in files(&[rows(0, 5, None), rows(3, 5, None)]) {
        let options = columnar(parquet, of("P"), LoadMode::Append);
        let error = load_bytes(&graph, options, &bytes, 5000).await.unwrap_err();
        let found: Vec<_> = error
            .detail()
            .diagnostics
            .iter()
            .map(|d| d.line.unwrap())
            .collect();
        assert_eq!(found, [6, 7], "{name}");
    }
    assert_eq!(count(&graph).await, 0);
}

#[tokio::test]
async fn modes_are_the_same_for_every_format() {
    let rows = |keys: &[&str], n: i64| {
        batch(vec![
            ("k", Arc::new(StringArray::from(keys.to_vec())) as ArrayRef),
            ("n", Arc::new(Int64Array::from(vec![n; keys.len()]))),
        ])
    };
    let (one, two) = (
        files(&[rows(&["a", "b"], 1)]),
        files(&[rows(&["b", "c"], 2)]),
    );
    for ((name, parquet, first), (_, _, second)) in one.into_iter().zip(two) {
        for (mode, expected) in [
            (LoadMode::Append, None),
            (LoadMode::Merge, Some(json!({"a": 1, "b": 2, "c": 2}))),
            (LoadMode::Overwrite, Some(json!({"b": 2, "c": 2}))),
        ] {
            let graph = graph(P).await;
            let options = || columnar(parquet, of("P"), mode);
            load_bytes(&graph, options(), &first, usize::MAX)
                .await
                .unwrap();
            let outcome = load_bytes(&graph, options(), &second, usize::MAX).await;
            match expected {
                None => assert_eq!(
                    outcome.unwrap_err().kind(),
                    ErrorKind::KeyConflict,
                    "{name}"
                ),
                Some(expected) => {
                    outcome.unwrap();
                    let found = entities(&graph, &BranchName::main(), "P").await;
                    let found: serde_json::Map<_, _> = found
                        .into_iter()
                        .map(|(id, data)| (id, data["n"].clone()))
                        .collect();
                    assert_eq!(Json::Object(found), expected, "{name} {mode:?}");
                }
            }
        }
        // A load that fails leaves no branch.
        let graph = graph(P).await;
        let new = branch("new");
        for (bytes, there) in [(&first[..first.len() - 3], false), (&first[..], true)] {
            let options = LoadOptions {
                from: Some(BranchName::main()),
                ..columnar(parquet, of("P"), LoadMode::Append)
            };
            let mut session = graph.load(&new, options).await.unwrap();
            session.push(Bytes::copy_from_slice(bytes)).await.unwrap();
            assert_eq!(session.finish().await.is_ok(), there, "{name}");
            assert_eq!(graph.branch(&new).await.is_ok(), there, "{name}");
        }
    }
}

/// A page is decoded as a whole: one that does not fit is refused by its place, and is counted where
/// it fits.
#[tokio::test]
async fn pages_that_do_not_fit_are_refused() {
    let long = "node P { k: String @key  t: String }";
    let keys = (0..64).map(|i| format!("p{i}"));
    let texts = (0..64).map(|_| "x".repeat(64 << 10));
    let rows = batch(vec![
        (
            "k",
            Arc::new(StringArray::from_iter_values(keys)) as ArrayRef,
        ),
        (
            "t",
            Arc::new(StringArray::from_iter_values(texts)) as ArrayRef,
        ),
    ]);
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_data_page_size_limit(usize::MAX)
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties)).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    for (memory, fits) in [(8 << 20, false), (64 << 20, true)] {
        let graph = graph(long).await;
        let options = LoadOptions {
            memory: Some(memory),
            ..columnar(true, of("P"), LoadMode::Append)
        };
        let loaded = load_bytes(&graph, options, &bytes, usize::MAX).await;
        if fits {
            let outcome = loaded.unwrap();
            assert_eq!(outcome.total, 64);
            assert!(outcome.memory_peak > 64 * (64 << 10));
            continue;
        }
        let error = loaded.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceLimit);
        assert_eq!(error.detail().diagnostics[0].code.as_str(), "R422");
        assert!(error.message().contains("row group 1"), "{error}");
        assert!(error.message().contains("column `t`"), "{error}");
        let (_, limit, actual) = error.detail().limit.clone().unwrap();
        assert_eq!(limit, 3 << 20);
        assert!(actual > 64 * (64 << 10));
    }
}

/// A line is in memory as a whole, so the longest is a part of what the load may take.
#[tokio::test]
async fn a_line_that_does_not_fit_is_refused_by_its_number() {
    let graph = graph("node P { k: String @key  t: String }").await;
    let line = |key: &str, length: usize| {
        let data = json!({ "k": key, "t": "x".repeat(length) });
        format!("{}\n", json!({ "type": "P", "data": data }))
    };
    let text = line("a", 10) + &line("b", 1 << 20) + &line("c", 5 << 20) + &line("d", 10);
    let options = || LoadOptions {
        memory: Some(8 << 20),
        ..LoadOptions::default()
    };
    let refused = load_bytes(&graph, options(), text.as_bytes(), 100_000).await;
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceLimit);
    assert!(
        error.message().contains("line 3 has more than 2097152"),
        "{error}"
    );
    let fits = line("a", 10) + &line("b", 1 << 20);
    let outcome = load_bytes(&graph, options(), fits.as_bytes(), 100_000).await;
    let outcome = outcome.unwrap();
    assert_eq!(outcome.total, 2);
    assert!(outcome.memory_peak > 1 << 20);
}
