//! Schema changes of a graph with rows, and fences.

use super::super::matrix::Operation;
use super::seed;
use crate::engine::Authorship;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{CommitId, Graph, SchemaCommitError};

/// A property more, by metadata alone.
const WIDER_SCHEMA: &str = "
node Package { name: String @key  size: I32?  summary: String? @index  homepage: String?  @range(size, 0..1000) }
node Team { name: String @key }
node Licence { name: String @key }
edge DependsOn: Package -> Package { floor: String?  @key(src, dst) }
edge Owns: Team -> Package { @key(src, dst) }
";

/// A property with a default, which existing rows are given.
pub(super) const NEXT_SCHEMA: &str = r#"
node Package { name: String @key  size: I32?  summary: String? @index  licence: String @default("free")  @range(size, 0..1000) }
node Team { name: String @key }
edge DependsOn: Package -> Package { floor: String?  @key(src, dst) }
edge Owns: Team -> Package { @key(src, dst) }
"#;

/// A type less, an index less, an index more, a rule more.
const OTHER_SCHEMA: &str = "
node Package { name: String @key  size: I32? @index  summary: String?  @range(size, 0..9) }
node Team { name: String @key }
edge DependsOn: Package -> Package { least: String? @rename_from(\"floor\")  @key(src, dst) }
";

/// Stages and commits.
pub(super) async fn change(graph: Graph, schema: &str) -> Result<()> {
    let by = Authorship::default();
    let staged = graph.stage_schema(schema, CommitId::new(), &by).await?;
    match graph.commit_schema(staged).await {
        Ok(_) => Ok(()),
        Err(SchemaCommitError::Other(error)) => Err(error),
        Err(SchemaCommitError::Unknown(error)) => {
            let message = "outcome unknown: the schema change";
            Err(Error::new(ErrorKind::Unavailable, message).with_source(error))
        }
        Err(other @ (SchemaCommitError::Conflict | SchemaCommitError::Fenced)) => {
            Err(Error::new(ErrorKind::WriteConflict, other.to_string()))
        }
    }
}

async fn changing(schema: &'static str) -> Operation {
    Operation::new(seed().await, move |world| {
        change(world.graph.clone(), schema)
    })
}

pub(super) async fn by_metadata() -> Operation {
    changing(WIDER_SCHEMA).await
}

pub(super) async fn with_fill() -> Operation {
    changing(NEXT_SCHEMA).await
}

pub(super) async fn types_and_indexes() -> Operation {
    changing(OTHER_SCHEMA).await
}

pub(super) async fn fence() -> Operation {
    Operation::new(seed().await, |world| {
        let graph = world.graph.clone();
        async move {
            let by = Authorship {
                control_epoch: Some(3),
                ..Authorship::default()
            };
            let head = graph.fence(CommitId::new(), &by).await?;
            assert_eq!(head.control_epoch, 3);
            Ok(())
        }
    })
}
