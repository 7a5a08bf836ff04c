//! Control-plane messages as JSON: snake_case members, lower-case words for enum values, times in
//! ISO 8601. Fields are only ever added.

use omnigraph_proto::common::v1::{Diagnostic, Lease};
use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::error::DiagnosticOutput;
use serde_json::{Value, json};

pub(crate) fn lease(lease: &Lease) -> Value {
    json!({
        "lease_id": lease.lease_id,
        "epoch": lease.epoch,
        "holder": lease.holder,
        "host": lease.host,
        "actor_id": lease.actor_id,
        "operation": lease.operation,
        "acquired_at": time(lease.acquired_at.map(|t| (t.seconds, t.nanos))),
        "expires_at": time(lease.expires_at.map(|t| (t.seconds, t.nanos))),
        "operation_id": lease.operation_id,
        "operation_since": time(lease.operation_since.map(|t| (t.seconds, t.nanos))),
        "address": lease.address,
    })
}

pub(crate) fn operation(operation: &pb::Operation) -> Value {
    json!({
        "operation_id": operation.operation_id,
        "kind": operation.kind,
        "state": operation.state().label(),
        "actor_id": operation.actor_id,
        "started_at": time(operation.started_at.map(|t| (t.seconds, t.nanos))),
        "ended_at": time(operation.ended_at.map(|t| (t.seconds, t.nanos))),
        "holder": operation.holder,
        "message": operation.message,
        "revision": operation.revision,
        "pending_graphs": operation.pending_graphs,
        "result": operation.result.as_ref().map(result),
        "failure": operation.failure.as_ref().map(|d| json!(DiagnosticOutput::from(d))),
        "restored": operation.restored.as_ref().map(restored),
        "followable": operation.followable,
    })
}

pub(crate) fn restored(made: &pb::RestoreResult) -> Value {
    json!({
        "graph_id": made.graph_id,
        "graph_commit_id": made.graph_commit_id,
        "incarnation": made.incarnation,
        "objects": made.objects,
        "bytes": made.bytes,
        "uri": made.uri,
    })
}

pub(crate) fn validate(response: &pb::ValidateResponse) -> Value {
    json!({
        "ok": response.ok,
        "resources": list(&response.resources, |r| json!({
            "address": r.address, "kind": r.kind, "digest": r.digest, "path": r.path,
        })),
        "dependencies": list(&response.dependencies, |d| json!({"from": d.from, "to": d.to})),
        "config_digest": response.config_digest,
        "diagnostics": diagnostics(&response.diagnostics),
    })
}

pub(crate) fn plan(plan: &pb::Plan) -> Value {
    json!({
        "plan_digest": plan.plan_digest,
        "config_digest": plan.config_digest,
        "base_revision": plan.base_revision,
        "changes": list(&plan.changes, change),
        "approvals_required": list(&plan.approvals_required, |a| json!({
            "resource": a.resource, "reason": a.reason, "satisfied": a.satisfied,
            "approval_id": a.approval_id,
        })),
        "converged": plan.converged,
        "diagnostics": diagnostics(&plan.diagnostics),
        "targets": plan.targets,
        "omitted_changes": plan.omitted_changes,
    })
}

fn change(change: &pb::PlanChange) -> Value {
    json!({
        "resource": change.resource,
        "operation": change.operation().label(),
        "before_digest": change.before_digest,
        "after_digest": change.after_digest,
        "disposition": change.disposition().label(),
        "reason": change.reason,
        "metadata_change": change.metadata_change,
        "migration": change.migration.as_ref().map(migration),
        "drift": change.drift,
        "affects": change.affects,
    })
}

fn migration(migration: &pb::Migration) -> Value {
    json!({
        "supported": migration.supported,
        "steps": list(&migration.steps, |step| json!({
            "kind": step.kind,
            "summary": step.summary,
            "detail": serde_json::from_str::<Value>(&step.detail_json).unwrap_or(Value::Null),
            "code": step.code,
            "destructive": step.destructive,
        })),
    })
}

pub(crate) fn step(step: &pb::StepEvent) -> Value {
    json!({
        "resource": step.resource,
        "operation": step.operation().label(),
        "phase": step.phase().label(),
        "elapsed_ms": step.elapsed_ms,
        "message": step.message,
        "diagnostic": step.diagnostic.as_ref().map(DiagnosticOutput::from),
    })
}

pub(crate) fn result(result: &pb::ApplyResult) -> Value {
    json!({
        "ok": result.ok,
        "revision": result.revision,
        "converged": result.converged,
        "state_written": result.state_written,
        "applied_count": result.applied_count,
        "blocked_count": result.blocked_count,
        "operation_id": result.operation_id,
        "actor_id": result.actor_id,
        "changes": list(&result.changes, change),
        "diagnostics": diagnostics(&result.diagnostics),
    })
}

pub(crate) fn rollout(rollout: &pb::Rollout) -> Value {
    json!({
        "target_revision": rollout.target_revision,
        "complete": rollout.complete,
        "live_replicas": rollout.live_replicas,
        "replicas_at_target": rollout.replicas_at_target,
        "replicas": list(&rollout.replicas, |r| json!({
            "replica_id": r.replica_id,
            "address": r.address,
            "version": r.version,
            "live": r.live,
            "draining": r.draining,
            "last_seen": time(r.last_seen.map(|t| (t.seconds, t.nanos))),
            "revision": r.revision,
            "graphs": list(&r.graphs, |g| json!({
                "graph_id": g.graph_id,
                "state": g.state().label(),
                "reason_code": g.reason_code,
                "message": g.message,
                "served_revision": g.served_revision,
                "elapsed_ms": g.elapsed_ms,
            })),
        })),
    })
}

pub(crate) fn status(status: &pb::ClusterStatus) -> Value {
    json!({
        "cluster_name": status.cluster_name,
        "storage_root": status.storage_root,
        "revision": status.revision,
        "config_digest": status.config_digest,
        "serving_digest": status.serving_digest,
        "converged": status.converged,
        "lease": status.lease.as_ref().map(lease),
        "resources": list(&status.resources, |r| json!({
            "address": r.address,
            "digest": r.digest,
            "status": r.status,
            "conditions": r.conditions,
            "message": r.message,
            "observation": serde_json::from_str::<Value>(&r.observation_json)
                .unwrap_or(Value::Null),
        })),
        "recoveries": list(&status.recoveries, sidecar),
        "approvals": list(&status.approvals, approval),
        "diagnostics": diagnostics(&status.diagnostics),
        "leader": status.leader,
        "version": status.version,
        "running": status.running.as_ref().map(operation),
        "rollout": status.rollout.as_ref().map(rollout),
        "role": status.role().label(),
    })
}

pub(crate) fn revision(revision: &pb::RevisionSummary) -> Value {
    json!({
        "revision": revision.revision,
        "created_at": time(revision.created_at.map(|t| (t.seconds, t.nanos))),
        "actor_id": revision.actor_id,
        "operation": revision.operation,
        "operation_id": revision.operation_id,
        "message": revision.message,
        "converged": revision.converged,
        "config_digest": revision.config_digest,
        "serving_digest": revision.serving_digest,
        "changes": list(&revision.changes, change),
    })
}

pub(crate) fn shown_revision(shown: &pb::GetRevisionResponse) -> Value {
    json!({
        "summary": shown.summary.as_ref().map(revision),
        "resources": list(&shown.resources, |r| json!({
            "address": r.address, "kind": r.kind, "digest": r.digest,
        })),
        "graphs": list(shown.content.as_ref().map_or(&[][..], |c| c.graphs.as_slice()), |g| json!({
            "graph_id": g.graph_id,
            "incarnation": g.incarnation,
            "root_uri": g.root_uri,
            "schema_digest": g.schema_digest,
            "queries": list(&g.queries, |q| json!({"name": q.name, "digest": q.digest})),
        })),
    })
}

fn sidecar(sidecar: &pb::Sidecar) -> Value {
    json!({
        "operation_id": sidecar.operation_id,
        "operation": sidecar.operation,
        "graph_id": sidecar.graph_id,
        "actor_id": sidecar.actor_id,
        "epoch": sidecar.epoch,
        "created_at": time(sidecar.created_at.map(|t| (t.seconds, t.nanos))),
        "state": sidecar.state,
        "remedy": sidecar.remedy,
    })
}

pub(crate) fn approval(approval: &pb::Approval) -> Value {
    json!({
        "approval_id": approval.approval_id,
        "resource": approval.resource,
        "operation": approval.operation().label(),
        "reason": approval.reason,
        "bound_config_digest": approval.bound_config_digest,
        "bound_state_digest": approval.bound_state_digest,
        "approved_by": approval.approved_by,
        "created_at": time(approval.created_at.map(|t| (t.seconds, t.nanos))),
        "consumed_at": time(approval.consumed_at.map(|t| (t.seconds, t.nanos))),
        "consumed_by_operation": approval.consumed_by_operation,
        "stale": approval.stale,
    })
}

fn diagnostics(diagnostics: &[Diagnostic]) -> Value {
    list(diagnostics, |d| json!(DiagnosticOutput::from(d)))
}

fn list<T>(items: &[T], one: impl Fn(&T) -> Value) -> Value {
    Value::Array(items.iter().map(one).collect())
}

/// Seconds and nanoseconds since the epoch as ISO 8601, absent as null.
fn time(timestamp: Option<(i64, i32)>) -> Value {
    let parsed = timestamp.and_then(|(seconds, nanos)| jiff::Timestamp::new(seconds, nanos).ok());
    match parsed {
        Some(time) => Value::String(format!("{time:.3}")),
        None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_iso() {
        assert_eq!(
            time(Some((1_795_356_000, 5_000_000))),
            "2026-11-22T14:00:00.005Z"
        );
        assert_eq!(time(None), Value::Null);
    }
}
