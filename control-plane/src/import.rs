//! The first revision of a cluster whose graphs exist already: their roots, and what a look at them
//! tells, are taken over into the ledger. No graph is written to.

use std::collections::BTreeMap;
use std::time::Duration;

use omnigraph_engine::graph::GraphId;
use omnigraph_proto::control::v1 as pb;

use crate::apply::{Publication, declare, graph_content, providers};
use crate::catalog::{BlobKind, Catalog};
use crate::declared::{Declared, DeclaredGraph};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::failpoint::Point;
use crate::finding;
use crate::lead::Turn;
use crate::ledger::{Content, GraphContent};
use crate::plan::expect_revision;
use crate::plane::ControlPlane;
use crate::roots::FoundRoot;

/// Content that is being put together.
struct Imported {
    content: Content,
    /// Texts for the catalog.
    texts: Vec<(BlobKind, String)>,
    /// The highest epoch that the graphs know of.
    epoch: u64,
}

impl ControlPlane {
    /// Takes over the declared graphs that exist. Refuses where a revision exists and can be read.
    pub(crate) async fn import(
        &self,
        request: &pb::ImportRequest,
        actor: Option<&str>,
    ) -> Result<pb::ClusterStatus> {
        let declared = declare(request.bundle.clone().unwrap_or_default()).await?;
        if declared.broken {
            let errors = declared.findings.iter().filter(|f| finding::is_error(f));
            return Err(Error::config(errors.cloned().collect()));
        }
        let patience = Duration::from_millis(request.lock_timeout_ms.into());
        let turn = self.begin("import", actor, patience).await?;
        let outcome = self.import_in_turn(&turn, &declared, request, actor).await;
        turn.conclude(outcome).await?;
        self.status().await
    }

    async fn import_in_turn(
        &self,
        turn: &Turn,
        declared: &Declared,
        request: &pb::ImportRequest,
        actor: Option<&str>,
    ) -> Result<()> {
        let number = self.shared().ledger.state().await?.revision;
        let number = number.map_or(0, |revision| revision.number);
        expect_revision(request.expect_revision, number)?;
        self.refuse_second_import().await?;
        let imported = self.observe(declared).await?;
        if imported.content.graphs.is_empty() {
            let held = imported.content.held_back.values().next().cloned();
            let message = held.unwrap_or_else(|| "the configuration declares no graph".to_owned());
            return Err(
                Error::new(ErrorKind::NotFound, format!("nothing to import: {message}"))
                    .with_hint("omnigraphctl apply makes graphs that do not exist"),
            );
        }
        let failpoints = &self.options().failpoints;
        put_texts(&self.shared().catalog, &imported.texts).await?;
        failpoints.hit(Point::Catalogued).await?;
        let converged = imported.content.held_back.is_empty();
        let publication = Publication {
            content: imported.content,
            config_digest: declared.config_digest.clone(),
            converged,
            actor: actor.map(str::to_owned),
            operation: "import",
            operation_id: turn.operation_id,
            message: request.message.clone(),
            epoch_floor: imported.epoch,
        };
        failpoints.hit(Point::Publishing).await?;
        self.publish(&turn.leader, publication).await?;
        failpoints.hit(Point::Published).await?;
        self.lead_above(&turn.leader, imported.epoch).await
    }

    /// A ledger with a revision knows its graphs; only one whose content is lost may be told anew.
    async fn refuse_second_import(&self) -> Result<()> {
        match self.shared().ledger.newest().await {
            Ok(None) => Ok(()),
            // An apply that found the graphs and left them alone was here.
            Ok(Some(revision)) if revision.content.graphs.is_empty() => Ok(()),
            Ok(Some(revision)) => {
                let number = revision.record.number;
                let message =
                    format!("revision {number} is applied here: there is nothing to import");
                Err(Error::new(ErrorKind::Invalid, message).with_hint(
                    "omnigraphctl plan shows how the cluster differs from the configuration",
                ))
            }
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::warn!(error = error.chain(), "the ledger is told anew what exists");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    async fn observe(&self, declared: &Declared) -> Result<Imported> {
        let mut imported = Imported {
            content: Content {
                cluster_name: declared.cluster_name.clone(),
                providers: providers(declared),
                ..Content::empty()
            },
            texts: Vec::new(),
            epoch: 0,
        };
        for (id, graph) in &declared.graphs {
            match self.root_to_import(id).await {
                Ok(found) => imported.take_over(graph, &found),
                Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error),
                Err(error) => {
                    let address = format!("graph.{id}");
                    let reason = error.message().to_owned();
                    imported.content.held_back.insert(address, reason);
                }
            }
        }
        Ok(imported)
    }

    /// The one root that can be meant.
    async fn root_to_import(&self, id: &GraphId) -> Result<FoundRoot> {
        let mut found = self.found_roots(id, &Content::empty()).await?;
        if found.iter().any(|found| !found.blank) {
            // What a dead apply prepared and never used is nobody's graph.
            found.retain(|found| !found.blank);
        } else if let Some(newest) = found.pop() {
            return Ok(newest);
        }
        match found.as_slice() {
            [only] => Ok(only.clone()),
            [] => {
                let message = format!("graph '{id}' does not exist on this storage");
                Err(Error::new(ErrorKind::NotFound, message))
            }
            several => {
                let places: Vec<_> = several.iter().map(|f| self.place_of(&f.root)).collect();
                let message = format!(
                    "graph '{id}' has several roots, move all but one away: {}",
                    places.join(", ")
                );
                Err(Error::new(ErrorKind::Invalid, message))
            }
        }
    }
}

impl Imported {
    /// A graph with the declared schema is taken over as it is declared. One with another schema
    /// keeps that, and has no stored queries until an apply moves it.
    fn take_over(&mut self, graph: &DeclaredGraph, found: &FoundRoot) {
        let id = &graph.id;
        let incarnation = found.root.incarnation;
        self.epoch = self.epoch.max(found.control_epoch);
        let matching = graph.schema.as_ref();
        let matching = matching.filter(|schema| schema.digest == found.schema);
        let mut content = graph_content(graph, incarnation, None);
        match matching {
            Some(schema) => {
                self.texts.push((BlobKind::Schema, schema.source.clone()));
                for query in graph.queries.values() {
                    match &query.problem {
                        None => self.texts.push((BlobKind::Query, query.source.clone())),
                        Some(problem) => self.hold(format!("query.{id}.{}", query.name), problem),
                    }
                }
            }
            None => {
                self.texts.push((BlobKind::Schema, found.source.clone()));
                content = GraphContent {
                    schema: found.schema.clone(),
                    schema_source: Digest::of(found.source.as_bytes()),
                    queries: BTreeMap::new(),
                    ..content
                };
                let reason = "the graph has another schema: omnigraphctl plan shows the steps";
                self.hold(format!("schema.{id}"), reason);
                for query in graph.queries.values() {
                    let reason = format!("waits for schema.{id}");
                    self.hold(format!("query.{id}.{}", query.name), &reason);
                }
            }
        }
        self.content.graphs.insert(id.clone(), content);
    }

    fn hold(&mut self, address: String, reason: &str) {
        self.content.held_back.insert(address, reason.to_owned());
    }
}

async fn put_texts(catalog: &Catalog, texts: &[(BlobKind, String)]) -> Result<()> {
    for (kind, text) in texts {
        catalog.put(*kind, text.as_bytes()).await?;
    }
    Ok(())
}
