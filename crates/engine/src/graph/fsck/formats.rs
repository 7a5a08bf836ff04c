//! Which stored formats the descriptions and schemas of a graph have.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt as _;
use object_store::path::Path;

use super::super::formats::{self, Stored};
use super::super::model::{GraphFile, SchemaFile};
use super::FsckReport;
use crate::error::Result;
use crate::graph::Graph;

/// Objects that are read at the same time.
const PARALLEL: usize = 8;

impl Graph {
    pub(super) async fn check_formats(
        &self,
        objects: &BTreeMap<Path, u64>,
        report: &mut FsckReport,
    ) -> Result<()> {
        let root = self.store().path(&self.shared.root.path());
        let schemas = root.clone().join("schema");
        let description = root.join("graph.json");
        let found: Vec<(&'static str, u64)> = futures::stream::iter(objects.keys())
            .filter_map(|path| {
                let kind = if *path == description {
                    Some(GraphFile::NAME)
                } else if path.prefix_matches(&schemas) {
                    Some(SchemaFile::NAME)
                } else {
                    None
                };
                futures::future::ready(kind.map(|kind| (kind, path)))
            })
            .map(|(kind, path)| async move {
                let got = self.store().object_store().get(path).await;
                let bytes = match got {
                    Ok(got) => got.bytes().await?,
                    // Reclaimed since it was listed.
                    Err(object_store::Error::NotFound { .. }) => return Ok(None),
                    Err(error) => return Err(error.into()),
                };
                // What cannot be read is told of where it is needed.
                Ok::<_, crate::error::Error>(formats::tag(&bytes).map(|format| (kind, format)))
            })
            .buffered(PARALLEL)
            .try_filter_map(|found| futures::future::ready(Ok(found)))
            .try_collect()
            .await?;
        for (kind, format) in found {
            report.formatted(kind, format, formats::NEWEST);
        }
        report.formats.sort_by_key(|found| (found.kind, found.format));
        Ok(())
    }
}
