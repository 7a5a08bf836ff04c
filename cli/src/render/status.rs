//! `status` and `rollout status` for people.

use std::collections::BTreeSet;

use omnigraph_proto::common::v1::GraphState;
use omnigraph_proto::control::v1 as pb;

use super::table;
use super::words::ago;
use crate::error::diagnostic_line;

/// The cluster as the ledger has it.
pub(crate) fn status(status: &pb::ClusterStatus, now_us: i64) -> String {
    let name = match status.cluster_name.as_str() {
        "" => "cluster",
        name => name,
    };
    let mut out = match status.revision {
        0 => format!("{name}  nothing applied yet"),
        revision => {
            let converged = if status.converged {
                "converged"
            } else {
                "not converged"
            };
            format!("{name}  revision {revision}, {converged}")
        }
    };
    if !status.leader.is_empty() {
        out.push_str(&format!("   leader {}", status.leader));
        if let Some(lease) = &status.lease {
            out.push_str(&format!(", epoch {}", lease.epoch));
        }
    }
    out.push('\n');
    out.push_str(&format!("storage  {}\n", status.storage_root));
    if let Some(line) = status
        .lease
        .as_ref()
        .and_then(|lease| running(lease, now_us))
    {
        out.push_str(&line);
    }
    let rows: Vec<Vec<String>> = status.resources.iter().map(resource_row).collect();
    out.push_str(&table::columns(&rows));
    if status.recoveries.is_empty() {
        out.push_str("recoveries  none\n");
    }
    for sidecar in &status.recoveries {
        let head = format!(
            "recovery  {} of graph {}",
            sidecar.operation, sidecar.graph_id
        );
        out.push_str(&format!("{head}: {}; {}\n", sidecar.state, sidecar.remedy));
    }
    for diagnostic in &status.diagnostics {
        out.push_str(&format!("{}\n", diagnostic_line(&diagnostic.into())));
    }
    out
}

fn running(lease: &omnigraph_proto::common::v1::Lease, now_us: i64) -> Option<String> {
    if lease.operation.is_empty() {
        return None;
    }
    let actor = match lease.actor_id.as_str() {
        "" => String::new(),
        actor => format!(" by {actor}"),
    };
    let since = lease.acquired_at.map_or_else(String::new, |t| {
        let at_us = t.seconds * 1_000_000 + i64::from(t.nanos) / 1_000;
        format!(", {}", ago(at_us, now_us))
    });
    Some(format!(
        "running  {}{actor}{since} (lease {})\n",
        lease.operation, lease.lease_id
    ))
}

fn resource_row(resource: &pb::ResourceStatus) -> Vec<String> {
    let mut said = resource.conditions.join(", ");
    if !resource.message.is_empty() {
        if !said.is_empty() {
            said.push_str(": ");
        }
        said.push_str(&resource.message);
    }
    vec![resource.address.clone(), resource.status.clone(), said]
}

/// Replicas and graphs, then how many serve the revision.
pub(crate) fn rollout(rollout: &pb::Rollout) -> String {
    if rollout.replicas.is_empty() {
        let revision = rollout.target_revision;
        return format!("no replica is connected; revision {revision} is served when one comes\n");
    }
    let graphs: BTreeSet<&str> = rollout
        .replicas
        .iter()
        .flat_map(|r| r.graphs.iter().map(|g| g.graph_id.as_str()))
        .collect();
    let mut rows = vec![vec!["REPLICA".to_owned(), "REVISION".to_owned()]];
    rows[0].extend(graphs.iter().map(|g| (*g).to_owned()));
    for replica in &rollout.replicas {
        let mut row = vec![replica.replica_id.clone(), replica.revision.to_string()];
        row.extend(graphs.iter().map(|graph| cell(replica, graph)));
        rows.push(row);
    }
    let mut out = table::columns(&rows);
    out.push_str(&format!(
        "revision {} is served by {} of {} replicas\n",
        rollout.target_revision, rollout.replicas_at_target, rollout.live_replicas
    ));
    for line in missing(rollout) {
        out.push_str(&format!("{line}\n"));
    }
    out
}

fn cell(replica: &pb::ReplicaRollout, graph: &str) -> String {
    if !replica.live {
        return "gone".to_owned();
    }
    let Some(graph) = replica.graphs.iter().find(|g| g.graph_id == graph) else {
        return "-".to_owned();
    };
    match graph.state() {
        GraphState::Ready => format!("ready  {:.1}s", graph.elapsed_ms as f64 / 1000.0),
        state => state.label().to_owned(),
    }
}

/// A line for each graph of a live replica that does not serve the revision, and why.
pub(crate) fn missing(rollout: &pb::Rollout) -> Vec<String> {
    let mut lines = Vec::new();
    for replica in rollout.replicas.iter().filter(|r| r.live && !r.draining) {
        for graph in &replica.graphs {
            if graph.state() == GraphState::Ready {
                continue;
            }
            let mut line = format!(
                "{}: {} {} at {}",
                replica.replica_id,
                graph.graph_id,
                graph.state().label(),
                graph.served_revision
            );
            for part in [&graph.reason_code, &graph.message] {
                if !part.is_empty() {
                    line.push_str(&format!(": {part}"));
                }
            }
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::golden::check;

    #[test]
    fn cluster() {
        let resource = |address: &str, status: &str, message: &str| pb::ResourceStatus {
            address: address.into(),
            status: status.into(),
            message: message.into(),
            ..Default::default()
        };
        let mut sample = pb::ClusterStatus {
            cluster_name: "supply-chain".into(),
            storage_root: "s3://acme/clusters/supply-chain".into(),
            revision: 18,
            leader: "cp-0 (10.0.0.4:8090)".into(),
            lease: Some(omnigraph_proto::common::v1::Lease {
                lease_id: "01JDB1".into(),
                epoch: 6,
                operation: "apply".into(),
                actor_id: "act-andrew".into(),
                ..Default::default()
            }),
            resources: vec![
                resource("graph.debian", "applied", ""),
                resource("graph.old", "blocked", "approval_required"),
            ],
            ..Default::default()
        };
        check("status.txt", &status(&sample, 0));
        let json = crate::render::json::status(&sample).to_string();
        check("status.json", &crate::render::pretty::pretty(&json));
        sample = pb::ClusterStatus::default();
        sample.storage_root = "file:///srv/debian".into();
        check("status-empty.txt", &status(&sample, 0));
    }

    #[test]
    fn replicas() {
        let graph = |id: &str, state: GraphState, reason: &str| pb::ReplicaGraph {
            graph_id: id.into(),
            state: state.into(),
            reason_code: reason.into(),
            served_revision: 17,
            elapsed_ms: 400,
            ..Default::default()
        };
        let replica = |id: &str, live: bool, graphs: Vec<pb::ReplicaGraph>| pb::ReplicaRollout {
            replica_id: id.into(),
            live,
            revision: 18,
            graphs,
            ..Default::default()
        };
        let sample = pb::Rollout {
            target_revision: 18,
            live_replicas: 2,
            replicas_at_target: 1,
            replicas: vec![
                replica(
                    "dp-0",
                    true,
                    vec![
                        graph("debian", GraphState::Ready, ""),
                        graph("scratch", GraphState::Ready, ""),
                    ],
                ),
                replica(
                    "dp-1",
                    true,
                    vec![graph("debian", GraphState::Stale, "query_invalid")],
                ),
                replica("dp-2", false, vec![]),
            ],
            ..Default::default()
        };
        check("rollout.txt", &rollout(&sample));
        check(
            "rollout-none.txt",
            &rollout(&pb::Rollout {
                target_revision: 3,
                ..Default::default()
            }),
        );
    }
}
