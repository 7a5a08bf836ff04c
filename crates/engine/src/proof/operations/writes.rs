//! Mutations and loads, with and without blobs.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;

use super::super::matrix::Operation;
use super::super::world::World;
use super::{keyed as with_key, mutate, seed};
use crate::error::Result;
use crate::external::{ExternalBlobBase, ExternalBlobScope};
use crate::graph::{BranchName, Graph, WriteOptions};
use crate::write::{LoadFormat, LoadMode, LoadOptions, LoadType};

const BLOBS: &str = "node Package { name: String @key  size: I32?  image: Blob? }";
const LINES: &str = r#"
{"type":"Package","data":{"name":"a","size":11}}
{"type":"Package","data":{"name":"l","size":12}}
{"edge":"DependsOn","from":"l","to":"a"}
"#;
/// Larger than what is stored in one request.
const LARGE: usize = (16 << 20) + 77;

fn mutation(seed: World, source: impl Into<String>) -> Operation {
    let source = source.into();
    Operation::new(seed, move |world| {
        mutate(world.graph.clone(), source.clone(), WriteOptions::default())
    })
}

pub(super) async fn insert() -> Operation {
    mutation(
        seed().await,
        r#"query q() { insert Package { name: "x" } }"#,
    )
}

pub(super) async fn several() -> Operation {
    mutation(
        seed().await,
        r#"query q() {
            insert Package { name: "x" }
            insert DependsOn { from: "x", to: "a" }
            update Package set { size: 7 } where name = "b"
            insert Owns { from: "t", to: "x" }
        }"#,
    )
}

pub(super) async fn delete() -> Operation {
    mutation(
        seed().await,
        r#"query q() { delete Package where name = "b" }"#,
    )
}

pub(super) async fn keyed_mutation() -> Operation {
    Operation::new(seed().await, |world| {
        let source = r#"query q() { update Package set { size: 77 } where name = "a" }"#;
        mutate(world.graph.clone(), source.to_owned(), with_key())
    })
}

/// A graph whose packages have images.
async fn with_blobs() -> World {
    let world = World::new(BLOBS).await;
    let line = r#"{"type":"Package","data":{"name":"a","image":"base64:b2xk"}}"#;
    world.load("main", LoadMode::Append, line).await;
    world
}

pub(super) async fn put_blob() -> Operation {
    mutation(
        with_blobs().await,
        r#"query q() {
            update Package set { image: "base64:bmV3" } where name = "a"
            insert Package { name: "b", image: "base64:b3RoZXI=" }
        }"#,
    )
}

/// An object outside of the graph, and the graph for those who may name it.
struct Outside {
    directory: tempfile::TempDir,
}

impl Outside {
    fn new(bytes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("image"), vec![7; bytes]).unwrap();
        Self { directory }
    }

    fn base(&self) -> String {
        format!("file://{}/", self.directory.path().display())
    }

    fn uri(&self) -> String {
        format!("{}image", self.base())
    }

    fn admitted(&self, graph: &Graph) -> Graph {
        let base = ExternalBlobBase::parse(&self.base(), ExternalBlobScope::Copy).unwrap();
        graph.with_external_blobs(&[base]).unwrap()
    }
}

async fn copied(bytes: usize) -> Operation {
    let outside = Outside::new(bytes);
    Operation::new(with_blobs().await, move |world| {
        let uri = outside.uri();
        let source =
            format!(r#"query q() {{ update Package set {{ image: "{uri}" }} where name = "a" }}"#);
        mutate(
            outside.admitted(&world.graph),
            source,
            WriteOptions::default(),
        )
    })
}

pub(super) async fn copy_blob() -> Operation {
    copied(1000).await
}

pub(super) async fn copy_large_blob() -> Operation {
    copied(LARGE).await
}

fn loading(seed: World, branch: &str, options: LoadOptions, input: impl Into<Bytes>) -> Operation {
    let (branch, input) = (BranchName::parse(branch).unwrap(), input.into());
    Operation::new(seed, move |world| {
        load(
            world.graph.clone(),
            branch.clone(),
            options.clone(),
            input.clone(),
        )
    })
}

async fn load(graph: Graph, branch: BranchName, options: LoadOptions, input: Bytes) -> Result<()> {
    let mut session = graph.load(&branch, options).await?;
    session.push(input).await?;
    session.finish().await?;
    Ok(())
}

fn by(mode: LoadMode) -> LoadOptions {
    LoadOptions {
        mode,
        ..LoadOptions::default()
    }
}

pub(super) async fn append() -> Operation {
    let lines = LINES.replace(r#""name":"a""#, r#""name":"k""#);
    let lines = lines.replace(r#""to":"a""#, r#""to":"k""#);
    loading(seed().await, "main", by(LoadMode::Append), lines)
}

pub(super) async fn merge() -> Operation {
    loading(seed().await, "main", by(LoadMode::Merge), LINES)
}

pub(super) async fn overwrite() -> Operation {
    let lines = "{\"type\":\"Team\",\"data\":{\"name\":\"t\"}}\n{\"edge\":\"Owns\",\"from\":\"t\",\"to\":\"b\"}\n";
    loading(seed().await, "main", by(LoadMode::Overwrite), lines)
}

pub(super) async fn fork() -> Operation {
    let options = LoadOptions {
        from: Some(BranchName::main()),
        ..LoadOptions::default()
    };
    loading(seed().await, "fresh", options, LINES)
}

pub(super) async fn keyed_load() -> Operation {
    let options = LoadOptions {
        write: with_key(),
        ..LoadOptions::default()
    };
    loading(seed().await, "main", options, LINES)
}

pub(super) async fn load_blobs() -> Operation {
    let lines = concat!(
        r#"{"type":"Package","data":{"name":"a","image":"base64:bmV3"}}"#,
        "\n",
        r#"{"type":"Package","data":{"name":"b","image":"base64:b3RoZXI="}}"#,
        "\n",
    );
    loading(with_blobs().await, "main", by(LoadMode::Merge), lines)
}

pub(super) async fn load_external_blobs() -> Operation {
    let outside = Outside::new(1000);
    Operation::new(with_blobs().await, move |world| {
        let line = format!(
            "{{\"type\":\"Package\",\"data\":{{\"name\":\"a\",\"image\":\"{}\"}}}}\n",
            outside.uri()
        );
        let graph = outside.admitted(&world.graph);
        load(graph, BranchName::main(), by(LoadMode::Merge), line.into())
    })
}

fn batch() -> RecordBatch {
    let names: ArrayRef = Arc::new(StringArray::from(vec!["a", "l"]));
    let sizes: ArrayRef = Arc::new(Int32Array::from(vec![Some(11), None]));
    RecordBatch::try_from_iter_with_nullable([("name", names, true), ("size", sizes, true)])
        .unwrap()
}

fn packages(format: fn(LoadType) -> LoadFormat) -> LoadOptions {
    LoadOptions {
        format: format(LoadType::Node("Package".to_owned())),
        ..LoadOptions::default()
    }
}

pub(super) async fn arrow() -> Operation {
    let batch = batch();
    let mut stream = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    stream.write(&batch).unwrap();
    let options = packages(LoadFormat::Arrow);
    loading(seed().await, "main", options, stream.into_inner().unwrap())
}

pub(super) async fn parquet() -> Operation {
    let batch = batch();
    let mut file = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    file.write(&batch).unwrap();
    let options = packages(LoadFormat::Parquet);
    loading(seed().await, "main", options, file.into_inner().unwrap())
}
