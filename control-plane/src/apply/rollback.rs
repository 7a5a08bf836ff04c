//! An earlier revision's content again, as a new one. Queries, settings and providers are simply
//! taken over; a schema moves as any schema does, with the same rules; what would lose data waits
//! for the same consent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt, TryStreamExt};
use omnigraph_engine::graph::GraphId;
use omnigraph_lang::{query, schema};
#[cfg(test)]
use omnigraph_proto::control::v1::ApplyResult;
use omnigraph_proto::control::v1::{ApplyRequest, ChangeOperation, RollbackRequest};

use super::{Admission, Admitted};
use crate::catalog::{BlobKind, Catalog};
use crate::declared::{
    Compiled, Declared, DeclaredGraph, DeclaredPolicy, DeclaredQuery, DeclaredSchema,
};
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{GraphContent, PolicyContent, Revision};
use crate::operation::Event;
use crate::plan::{Planned, check_expectations};
use crate::plane::ControlPlane;
use crate::sweep::Undecided;

/// Texts that are read at the same time.
const PARALLEL_READS: usize = 16;

impl ControlPlane {
    /// Makes the cluster what an earlier revision says.
    #[cfg(test)]
    pub(crate) async fn rollback(
        &self,
        request: &RollbackRequest,
        actor: Option<&str>,
    ) -> Result<(ApplyResult, Vec<Event>)> {
        let admission = self.admit_rollback(request, actor).await?;
        Ok(admission.run_to_the_end().await)
    }

    /// Waits for the turn, plans, and checks that this is what the caller expects. An error means
    /// that nothing was begun. With `dry_run` the plan is all.
    pub(crate) async fn admit_rollback(
        &self,
        request: &RollbackRequest,
        actor: Option<&str>,
    ) -> Result<Admission> {
        let mut declared = self.declared_at(request.to_revision).await?;
        declared.findings.extend(self.lockout(&declared, actor));
        if request.dry_run {
            let planned = self.plan(&declared, &Undecided::new(), true).await?;
            let planned = expected(planned, request)?;
            let told = vec![Event::Plan(planned.plan)];
            return Ok(Admission::Settled(told, Box::default()));
        }
        let patience = Duration::from_millis(request.lock_timeout_ms.into());
        let turn = self.begin("rollback", actor, patience).await?;
        let order = order(request);
        turn.operation.note(&order.message);
        let planned = async {
            let undecided = self.sweep(&turn.leader).await?;
            let planned = self.plan(&declared, &undecided, true).await?;
            expected(planned, request)
        };
        let planned = match planned.await {
            Ok(planned) => planned,
            Err(error) => {
                turn.give_back().await;
                return Err(error);
            }
        };
        Ok(Admission::Admitted(Box::new(Admitted {
            plane: self.clone(),
            turn,
            declared,
            planned,
            actor: actor.map(str::to_owned),
            request: order,
            operation: "rollback",
        })))
    }

    /// What a revision's content declares.
    pub(crate) async fn declared_at(&self, number: u64) -> Result<Declared> {
        if number == 0 {
            let message = "which revision? the request names none";
            return Err(Error::new(ErrorKind::Invalid, message)
                .with_hint("omnigraphctl history shows them"));
        }
        let revision = self.revision(number).await?;
        let catalog = &self.shared().catalog;
        let graphs: BTreeMap<GraphId, DeclaredGraph> =
            futures::stream::iter(revision.content.graphs.clone())
                .map(|(id, content)| {
                    let catalog = catalog.clone();
                    let read = async move {
                        let graph = declared_graph(&catalog, number, &id, &content).await?;
                        Ok::<_, Error>((id, graph))
                    };
                    read.boxed()
                })
                .buffer_unordered(PARALLEL_READS)
                .try_collect()
                .await
                .map_err(|error| lost(number, error))?;
        let mut policies = BTreeMap::new();
        for (name, content) in &revision.content.policies {
            let policy = declared_policy(catalog, number, name, content).await;
            policies.insert(name.clone(), policy.map_err(|error| lost(number, error))?);
        }
        Ok(declared(&revision, graphs, policies))
    }
}

/// The plan, if it is the one that the caller has seen.
fn expected(mut planned: Planned, request: &RollbackRequest) -> Result<Planned> {
    check_expectations(&planned, &request.plan_digest, request.expect_revision)?;
    explain_losses(&mut planned, request.to_revision);
    Ok(planned)
}

/// As an apply has it.
fn order(request: &RollbackRequest) -> ApplyRequest {
    let message = match request.message.as_str() {
        "" => format!("content of revision {}", request.to_revision),
        message => message.to_owned(),
    };
    ApplyRequest {
        message,
        ..ApplyRequest::default()
    }
}

fn declared(
    revision: &Revision,
    graphs: BTreeMap<GraphId, DeclaredGraph>,
    policies: BTreeMap<String, DeclaredPolicy>,
) -> Declared {
    let content = &revision.content;
    let providers = content.providers.iter();
    Declared {
        cluster_name: content.cluster_name.clone(),
        graphs,
        policies,
        providers: providers
            .filter_map(|(name, provider)| Some((name.clone(), provider.profile.clone()?)))
            .collect(),
        config_digest: revision.record.config_digest.clone(),
        carried: content.held_back.clone(),
        findings: Vec::new(),
        compiled: Compiled::default(),
        broken: false,
    }
}

async fn declared_graph(
    catalog: &Catalog,
    number: u64,
    id: &GraphId,
    content: &GraphContent,
) -> Result<DeclaredGraph> {
    let path = format!("revision {number}");
    let source = text(catalog, &content.schema_source, BlobKind::Schema).await?;
    let (checked, _) = schema::parse_schema(&source).map_err(|found| {
        let first = found.first().map(|found| found.message.clone());
        let message = format!(
            "the schema of graph '{id}' in revision {number} cannot be read by this release: {}",
            first.unwrap_or_default()
        );
        Error::corrupt(message)
    })?;
    // Owned, and with a type that has a name: callers run in tasks of their own.
    let texts: Vec<(String, Digest, String)> = futures::stream::iter(content.queries.clone())
        .map(|(name, digest)| {
            let catalog = catalog.clone();
            let read = async move {
                let source = text(&catalog, &digest, BlobKind::Query).await?;
                Ok::<_, Error>((name, digest, source))
            };
            read.boxed()
        })
        .buffered(PARALLEL_READS)
        .try_collect()
        .await?;
    let queries = texts.into_iter().map(|(name, digest, source)| {
        let problem = query::compile(&source, &checked).err();
        DeclaredQuery {
            name,
            path: path.clone(),
            digest,
            problem: problem.map(|found| {
                let first = found.iter().find(|found| found.is_error());
                first.map_or_else(|| "it does not check".to_owned(), |f| f.message.clone())
            }),
            source,
        }
    });
    let queries: Vec<DeclaredQuery> = queries.collect();
    Ok(DeclaredGraph {
        id: id.clone(),
        schema_path: path.clone(),
        schema: Some(Arc::new(DeclaredSchema {
            digest: Digest::of_schema(&checked),
            source,
            catalog: checked,
        })),
        queries: queries
            .into_iter()
            .map(|query| (query.name.clone(), query))
            .collect(),
        embedding: content.embedding.clone(),
        retention: content.retention.clone(),
        external_blobs: content.external_blobs.clone(),
    })
}

async fn declared_policy(
    catalog: &Catalog,
    number: u64,
    name: &str,
    content: &PolicyContent,
) -> Result<DeclaredPolicy> {
    let source = text(catalog, &content.text, content.kind()).await?;
    let groups = match &content.groups {
        None => None,
        Some(digest) => Some(text(catalog, digest, BlobKind::Policy).await?),
    };
    let path = format!("revision {number}");
    DeclaredPolicy::of_content(name, &path, content, source, groups)
}

async fn text(catalog: &Catalog, digest: &Digest, kind: BlobKind) -> Result<String> {
    let bytes = catalog.get(digest, kind).await?;
    String::from_utf8(bytes.into()).map_err(|error| {
        let message = format!("catalog object {digest} is no UTF-8 text");
        Error::corrupt(message).with_source(error)
    })
}

/// The texts of an old revision cannot be published again by applying a new configuration.
fn lost(number: u64, error: Error) -> Error {
    if error.kind() != ErrorKind::Corrupt {
        return error;
    }
    let message = format!("revision {number} cannot be restored: {}", error.message());
    Error::corrupt(message)
        .with_hint("apply the configuration of that time, or roll back to another revision")
        .with_source(error)
}

/// A graph that was deleted since does not come back with what it held.
fn explain_losses(planned: &mut Planned, number: u64) {
    for change in &mut planned.plan.changes {
        let graph = change.resource.starts_with("graph.");
        if graph && change.operation() == ChangeOperation::Create && change.reason.is_empty() {
            change.reason = format!("it was deleted after revision {number} and comes back empty");
        }
    }
}
