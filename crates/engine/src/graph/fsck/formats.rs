//! Which stored formats the descriptions and schemas of a graph have.

use std::collections::BTreeMap;

use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use super::super::formats::{self, Stored};
use super::super::model::{GraphFile, SchemaFile};
use super::FsckReport;
use crate::error::Result;
use crate::graph::Graph;
use crate::store::Store;

/// Objects that are read at the same time.
const PARALLEL: usize = 8;

#[derive(Clone, Copy)]
enum Kind {
    Description,
    Schema,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Description => GraphFile::NAME,
            Kind::Schema => SchemaFile::NAME,
        }
    }
}

impl Graph {
    pub(super) async fn check_formats(
        &self,
        objects: &BTreeMap<Path, u64>,
        report: &mut FsckReport,
    ) -> Result<()> {
        let root = self.store().path(&self.shared.root.path());
        let schemas = root.clone().join("schema");
        let description = root.join("graph.json");
        // Nothing borrowed goes through the stream: callers run in tasks of their own.
        let mut wanted: Vec<(Kind, Path)> = Vec::new();
        for path in objects.keys() {
            if *path == description {
                wanted.push((Kind::Description, path.clone()));
            } else if path.prefix_matches(&schemas) {
                wanted.push((Kind::Schema, path.clone()));
            }
        }
        let store = self.store().clone();
        let found: Vec<Option<(Kind, u64)>> = futures::stream::iter(wanted)
            .map(move |(kind, path)| format_of(store.clone(), kind, path).boxed())
            .buffered(PARALLEL)
            .try_collect()
            .await?;
        for (kind, format) in found.into_iter().flatten() {
            report.formatted(kind.name(), format, formats::NEWEST);
        }
        report
            .formats
            .sort_by_key(|found| (found.kind, found.format));
        Ok(())
    }
}

/// What cannot be read is told of where it is needed.
async fn format_of(store: Store, kind: Kind, path: Path) -> Result<Option<(Kind, u64)>> {
    match store.object_store().get(&path).await {
        Ok(got) => Ok(formats::tag(&got.bytes().await?).map(|format| (kind, format))),
        // Reclaimed since it was listed.
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
