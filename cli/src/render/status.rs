//! `status` and `rollout status` for people.

use std::collections::BTreeSet;

use omnigraph_proto::common::v1::{GraphState, Lease};
use omnigraph_proto::control::v1 as pb;

use super::table;
use super::words::{ago, micros};
use crate::error::diagnostic_line;

/// The cluster as the ledger has it.
pub(crate) fn status(status: &pb::ClusterStatus, now_us: i64) -> String {
    let mut out = format!("{}{}\n", title(status), led_by(status));
    out.push_str(&format!("storage     {}\n", status.storage_root));
    if status.role() == pb::Role::Standby {
        out.push_str("answered    by a standby; replicas report to the leader\n");
    }
    if let Some(running) = &status.running {
        out.push_str(&format!("running     {}\n", runs(running, status, now_us)));
    }
    let rows: Vec<Vec<String>> = status.resources.iter().map(resource_row).collect();
    out.push_str(&table::columns(&rows));
    for approval in waiting(status) {
        out.push_str(&format!("{}\n", approval_line(approval)));
    }
    if status.recoveries.is_empty() {
        out.push_str("recoveries  none\n");
    }
    for sidecar in &status.recoveries {
        out.push_str(&format!(
            "recovery    {} {} of graph {}: {}; {}\n",
            sidecar.operation,
            sidecar.operation_id,
            sidecar.graph_id,
            sidecar.state,
            sidecar.remedy
        ));
    }
    if let Some(replicas) = &status.rollout {
        out.push_str(&rollout(replicas, now_us));
    }
    for diagnostic in &status.diagnostics {
        out.push_str(&format!("{}\n", diagnostic_line(&diagnostic.into())));
    }
    out
}

fn title(status: &pb::ClusterStatus) -> String {
    let name = match status.cluster_name.as_str() {
        "" => "cluster",
        name => name,
    };
    match (status.revision, status.converged) {
        (0, _) => format!("{name}  nothing applied yet"),
        (revision, true) => format!("{name}  revision {revision}, converged"),
        (revision, false) => format!("{name}  revision {revision}, not converged"),
    }
}

/// `   leader cp-0 (10.0.0.4:8090), epoch 6`.
fn led_by(status: &pb::ClusterStatus) -> String {
    let Some(lease) = &status.lease else {
        return "   nobody leads".to_owned();
    };
    let place = match (lease.address.as_str(), lease.host.as_str()) {
        ("", "") => String::new(),
        ("", host) => format!(" on {host}"),
        (address, _) => format!(" ({address})"),
    };
    format!(
        "   leader {}{place}, epoch {}, lease {}",
        lease.holder, lease.epoch, lease.lease_id
    )
}

/// `apply by act-andrew, 4 s ago, operation 01J…`.
fn runs(running: &pb::Operation, status: &pb::ClusterStatus, now_us: i64) -> String {
    let mut text = running.kind.clone();
    if !running.actor_id.is_empty() {
        text.push_str(&format!(" by {}", running.actor_id));
    }
    if let Some(at) = &running.started_at {
        text.push_str(&format!(", begun {}", ago(micros(at), now_us)));
    }
    text.push_str(&format!(", operation {}", running.operation_id));
    // A heartbeat that is overdue may be that of a dead process.
    let expired = status
        .lease
        .as_ref()
        .and_then(|lease| lease.expires_at.as_ref());
    if expired.is_some_and(|at| micros(at) < now_us) {
        text.push_str(" (no sign of life lately)");
    }
    text
}

/// Approvals that no change has used.
fn waiting(status: &pb::ClusterStatus) -> impl Iterator<Item = &pb::Approval> {
    status
        .approvals
        .iter()
        .filter(|one| one.consumed_at.is_none())
}

fn approval_line(approval: &pb::Approval) -> String {
    let stale = if approval.stale {
        "; stale: what it was given for has moved"
    } else {
        ""
    };
    format!(
        "approval    {} to {} {} by {}{stale}",
        approval.approval_id,
        approval.operation().label(),
        approval.resource,
        approval.approved_by
    )
}

/// What `status --watch` compares: everything but the times.
pub(crate) fn shape(status: &pb::ClusterStatus) -> String {
    let mut shape = status.clone();
    if let Some(lease) = &mut shape.lease {
        lease.expires_at = None;
    }
    if let Some(rollout) = &mut shape.rollout {
        forget_times(rollout);
    }
    format!("{shape:?}")
}

/// What `rollout status --watch` compares.
pub(crate) fn rollout_shape(rollout: &pb::Rollout) -> String {
    let mut shape = rollout.clone();
    forget_times(&mut shape);
    format!("{shape:?}")
}

fn forget_times(rollout: &mut pb::Rollout) {
    for replica in &mut rollout.replicas {
        replica.last_seen = None;
    }
}

/// `cp-0 on host-1 (apply by ann)`.
pub(crate) fn holder(lease: &Lease) -> String {
    let mut text = format!("{} on {}", lease.holder, lease.host);
    if !lease.operation.is_empty() {
        text.push_str(&format!(" ({}", lease.operation));
        if !lease.actor_id.is_empty() {
            text.push_str(&format!(" by {}", lease.actor_id));
        }
        text.push(')');
    }
    text
}

/// `released lease 01J… of cp-0 on host-1 (apply by ann), taken 12 min ago`.
pub(crate) fn released(lease: &Lease, now_us: i64) -> String {
    let taken = lease.acquired_at.as_ref().map(|at| ago(micros(at), now_us));
    format!(
        "released lease {} of {}, taken {}",
        lease.lease_id,
        holder(lease),
        taken.unwrap_or_default()
    )
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
pub(crate) fn rollout(rollout: &pb::Rollout, now_us: i64) -> String {
    if rollout.replicas.is_empty() {
        let revision = rollout.target_revision;
        return format!("no replica is connected; revision {revision} is served when one comes\n");
    }
    let graphs: BTreeSet<&str> = rollout
        .replicas
        .iter()
        .flat_map(|r| r.graphs.iter().map(|g| g.graph_id.as_str()))
        .collect();
    let head = ["REPLICA", "REVISION", "SEEN"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows[0].extend(graphs.iter().map(|g| (*g).to_owned()));
    for replica in &rollout.replicas {
        let seen = replica.last_seen.as_ref().map(|at| ago(micros(at), now_us));
        let mut row = vec![
            replica.replica_id.clone(),
            replica.revision.to_string(),
            seen.unwrap_or_default(),
        ];
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
    if replica.draining {
        return "draining".to_owned();
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

    const NOW: i64 = 1_795_356_000_000_000;

    /// So many seconds from now.
    fn at(seconds: i64) -> prost_types::Timestamp {
        crate::render::words::timestamp(NOW + seconds * 1_000_000)
    }

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
            leader: "10.0.0.4:8090".into(),
            lease: Some(Lease {
                lease_id: "01JDB1".into(),
                epoch: 6,
                holder: "cp-0".into(),
                host: "host-1".into(),
                operation: "apply".into(),
                actor_id: "act-andrew".into(),
                operation_id: "01JDB5".into(),
                address: "10.0.0.4:8090".into(),
                acquired_at: Some(at(-60)),
                expires_at: Some(at(10)),
                ..Default::default()
            }),
            running: Some(pb::Operation {
                operation_id: "01JDB5".into(),
                kind: "apply".into(),
                state: pb::OperationState::Running.into(),
                actor_id: "act-andrew".into(),
                started_at: Some(at(-4)),
                ..Default::default()
            }),
            recoveries: vec![pb::Sidecar {
                operation_id: "01JDB3".into(),
                operation: "apply".into(),
                graph_id: "debian".into(),
                state: "pending".into(),
                remedy: "the leader resolves it; so does the next apply".into(),
                ..Default::default()
            }],
            approvals: vec![pb::Approval {
                approval_id: "01JDB2".into(),
                resource: "graph.old".into(),
                operation: pb::ChangeOperation::Delete.into(),
                approved_by: "act-bruno".into(),
                stale: true,
                ..Default::default()
            }],
            role: pb::Role::Leader.into(),
            rollout: Some(pb::Rollout {
                target_revision: 18,
                ..Default::default()
            }),
            resources: vec![
                resource("graph.debian", "applied", ""),
                resource("graph.old", "blocked", "approval_required"),
            ],
            ..Default::default()
        };
        check("status.txt", &status(&sample, NOW));
        let before = shape(&sample);
        sample.lease.as_mut().unwrap().expires_at = Some(at(20));
        assert_eq!(shape(&sample), before, "a heartbeat is no change");
        sample.revision = 19;
        assert_ne!(shape(&sample), before);
        sample.revision = 18;
        let text = released(sample.lease.as_ref().unwrap(), NOW);
        assert_eq!(
            text,
            "released lease 01JDB1 of cp-0 on host-1 (apply by act-andrew), taken 1 min ago"
        );
        let json = crate::render::json::status(&sample).to_string();
        check("status.json", &crate::render::pretty::pretty(&json));
        sample = pb::ClusterStatus::default();
        sample.storage_root = "file:///srv/debian".into();
        sample.role = pb::Role::Standby.into();
        check("status-empty.txt", &status(&sample, NOW));
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
            last_seen: Some(at(if live { -2 } else { -90 })),
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
        check("rollout.txt", &rollout(&sample, NOW));
        check(
            "rollout-none.txt",
            &rollout(
                &pb::Rollout {
                    target_revision: 3,
                    ..Default::default()
                },
                NOW,
            ),
        );
    }
}
