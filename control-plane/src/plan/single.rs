//! The way of one graph to another schema, outside of a plan of the whole cluster.

use omnigraph_engine::graph::{BranchName, GraphId};
use omnigraph_engine::{ReadOptions, Target};
use omnigraph_lang::schema::MigrationPlan;

use crate::error::{Error, ErrorKind, Result};
use crate::plane::ControlPlane;

impl ControlPlane {
    /// What moving the head of a graph's `main` to a schema would take, its rows included. Needs no
    /// lead and writes nothing. Without a name the cluster must have exactly one graph.
    ///
    /// # Errors
    /// `NotFound` if the ledger does not know the graph; `Config` if the text is no schema.
    pub async fn plan_schema(
        &self,
        graph: Option<&str>,
        desired: &str,
    ) -> Result<(GraphId, MigrationPlan)> {
        let not_found = |message: String| {
            Error::new(ErrorKind::NotFound, message)
                .with_hint("declare it in cluster.yaml and run omnigraphctl apply")
        };
        let revision = self.shared().ledger.newest().await?;
        let Some(revision) = revision else {
            return Err(not_found("nothing has been applied here".to_owned()));
        };
        let content = &revision.content;
        let ids: Vec<&GraphId> = content.graphs.keys().collect();
        let id = match (graph, ids.as_slice()) {
            (Some(name), _) => ids.iter().find(|id| id.as_str() == name).copied(),
            (None, [only]) => Some(*only),
            (None, _) => {
                let names: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
                let message = format!("which graph? there are {}", names.join(", "));
                return Err(
                    Error::new(ErrorKind::NotFound, message).with_hint("name one with --graph")
                );
            }
        };
        let Some((id, root)) = id.and_then(|id| Some((id, content.root(id)?))) else {
            let name = graph.unwrap_or_default();
            return Err(not_found(format!("there is no graph '{name}'")));
        };
        let graph = self.graph(&root).await?;
        let main = Target::Branch(BranchName::main());
        let snapshot = graph.snapshot(&main, &ReadOptions::default()).await?;
        let planned = graph.plan_schema(&snapshot, desired).await?;
        Ok((id.clone(), planned.plan))
    }
}
