//! Table versions and the files that they name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use object_store::path::Path;
use omnigraph_lang::schema::TypeId;

use super::super::{Commit, Graph, TableRef};
use super::{FsckOptions, FsckReport, Survey};
use crate::error::{ErrorKind, Result};
use crate::table::{References, arrow_schema, live_rows, references};

/// Every table begins with it, on the chain that nothing is committed to afterwards.
const FIRST_VERSION: u64 = 1;
const RESTORE: &str = "restore the graph from a backup, or revert to a commit that is whole";

impl Graph {
    pub(super) async fn check_tables(
        &self,
        survey: &Survey,
        objects: &BTreeMap<Path, u64>,
        options: &FsckOptions,
        report: &mut FsckReport,
    ) -> Result<()> {
        let commits: Vec<&Arc<Commit>> = if options.history {
            survey.retained.iter().collect()
        } else {
            survey.heads.iter().map(|(_, head)| head).collect()
        };
        let mut named = References::default();
        let mut seen: BTreeSet<(String, u64)> = BTreeSet::new();
        for commit in commits {
            let place = format!("commit {}", commit.id);
            let schema = match self.shared.schemas.get(&commit.schema).await {
                Ok(schema) => schema,
                Err(error) => {
                    report.error(place, error.message(), RESTORE);
                    continue;
                }
            };
            let declared: BTreeSet<TypeId> = schema
                .catalog
                .entities()
                .map(|entity| entity.body().id)
                .collect();
            let held: BTreeSet<TypeId> = commit.tables.keys().copied().collect();
            if declared != held {
                report.error(
                    place.clone(),
                    format!(
                        "has tables for {} types, its schema declares {}",
                        held.len(),
                        declared.len()
                    ),
                    RESTORE,
                );
            }
            for entity in schema.catalog.entities() {
                let body = entity.body();
                let Some(table) = commit.tables.get(&body.id) else {
                    continue;
                };
                if !seen.insert((table.path.clone(), table.version)) {
                    continue;
                }
                let columns = arrow_schema(entity);
                let names: Vec<&str> = columns.fields().iter().map(|f| f.name().as_str()).collect();
                let place = format!("type {} at commit {}", body.name, commit.id);
                self.check_table(&place, table, &names, objects, &mut named, report)
                    .await?;
            }
        }
        let tables = self
            .store()
            .path(&format!("{}/tables", self.shared.root.path()));
        let left = objects
            .iter()
            .filter(|(path, _)| path.prefix_matches(&tables) && !named.covers(path));
        for (_, size) in left {
            report.unreferenced_objects += 1;
            report.unreferenced_bytes += size;
        }
        Ok(())
    }

    async fn check_table(
        &self,
        place: &str,
        table: &TableRef,
        columns: &[&str],
        objects: &BTreeMap<Path, u64>,
        named: &mut References,
        report: &mut FsckReport,
    ) -> Result<()> {
        let dataset = match Box::pin(self.tables().open(table)).await {
            Ok(dataset) => dataset,
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                report.error(place, error.message(), RESTORE);
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        report.table_versions += 1;
        match live_rows(&dataset) {
            Ok(rows) if rows == table.rows => {}
            Ok(rows) => report.error(
                place,
                format!("has {rows} rows, its commit says {}", table.rows),
                RESTORE,
            ),
            Err(error) => report.error(place, error.message(), RESTORE),
        }
        for column in columns {
            if dataset.schema().field(column).is_none() {
                report.error(place, format!("has no column {column}"), RESTORE);
            }
        }
        if !named.covers(&first_manifest(&dataset)) {
            self.name_first(table, named).await?;
        }
        let needed = references(&dataset).await?;
        for file in needed
            .files
            .iter()
            .filter(|file| !objects.contains_key(*file))
        {
            report.error(place, format!("needs {file}, which is missing"), RESTORE);
        }
        named.extend(needed);
        Ok(())
    }

    /// The empty version that a table began with: kept as long as the table is. Whether it is still
    /// there matters to nobody.
    async fn name_first(&self, table: &TableRef, named: &mut References) -> Result<()> {
        let first = TableRef {
            path: table.path.clone(),
            version: FIRST_VERSION,
            rows: 0,
        };
        if let Ok(dataset) = Box::pin(self.tables().load(&first)).await {
            named.extend(references(&dataset.into()).await?);
        }
        Ok(())
    }
}

/// Where Lance keeps the manifest of a table's first version.
fn first_manifest(dataset: &lance::Dataset) -> Path {
    dataset
        .versions_dir()
        .join(format!("{:020}.manifest", u64::MAX - FIRST_VERSION))
}
