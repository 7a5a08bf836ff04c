//! Graphs to measure: the shipped schema, filled from a file.

use std::path::Path;

use bytes::Bytes;
use omnigraph_engine::{
    Authorship, BranchName, Engine, EngineOptions, Graph, GraphId, GraphRoot, LoadEncoding,
    LoadMode, LoadOptions, LoadOutcome, Store, StoreOptions,
};
use tokio::io::AsyncReadExt;

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The schema of the shipped example.
pub(crate) const SCHEMA: &str = include_str!("../../examples/debian/debian.pg");

/// An engine with nothing at hand.
pub(crate) async fn open(root: &str) -> Result<Engine, Failure> {
    let store = Store::open(root, StoreOptions::default()).await?;
    Ok(Engine::new(store, EngineOptions::default()))
}

/// A new graph with the shipped schema.
pub(crate) async fn create(engine: &Engine, id: &str) -> Result<(GraphRoot, Graph), Failure> {
    let id = GraphId::parse(id)?;
    let root = engine
        .create_graph(&id, SCHEMA, &Authorship::default())
        .await?;
    let graph = engine.open_graph(&root).await?;
    Ok((root, graph))
}

/// Appends a file to `main`: NDJSON, as it is or compressed (`.zst`, `.gz`).
pub(crate) async fn load_file(
    graph: &Graph,
    data: &Path,
    memory: Option<u64>,
) -> Result<LoadOutcome, Failure> {
    let extension = data.extension().and_then(|extension| extension.to_str());
    let options = LoadOptions {
        mode: LoadMode::Append,
        encoding: match extension {
            Some("zst") => LoadEncoding::Zstd,
            Some("gz") => LoadEncoding::Gzip,
            _ => LoadEncoding::Identity,
        },
        memory,
        ..LoadOptions::default()
    };
    let mut session = graph.load(&BranchName::main(), options).await?;
    let mut file = tokio::fs::File::open(data)
        .await
        .map_err(|error| format!("{} cannot be read: {error}", data.display()))?;
    loop {
        let mut chunk = vec![0; 1 << 20];
        let read = file.read(&mut chunk).await?;
        if read == 0 {
            break;
        }
        chunk.truncate(read);
        session.push(Bytes::from(chunk)).await?;
    }
    Ok(session.finish().await?)
}

/// Loads lines into a branch.
pub(crate) async fn load_lines(
    graph: &Graph,
    branch: &BranchName,
    mode: LoadMode,
    lines: &[String],
) -> Result<LoadOutcome, Failure> {
    let options = LoadOptions {
        mode,
        ..LoadOptions::default()
    };
    let mut session = graph.load(branch, options).await?;
    for lines in lines.chunks(10_000) {
        let mut text = lines.join("\n");
        text.push('\n');
        session.push(Bytes::from(text)).await?;
    }
    Ok(session.finish().await?)
}
