//! `validate`, `plan` and `apply` for people.

use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::step_event::Phase;
use omnigraph_proto::error::DiagnosticOutput;

use super::source::Sources;
use super::words::{count, short_digest};
use crate::error::diagnostic_line;

/// `✓ 1 graph, 1 schema, 12 queries`.
pub(crate) fn validated(response: &pb::ValidateResponse) -> String {
    let of = |kind: &str| response.resources.iter().filter(|r| r.kind == kind).count() as u64;
    let counts = ["graph", "schema", "query", "policy", "provider"]
        .into_iter()
        .map(|kind| (of(kind), kind))
        .filter(|(number, _)| *number > 0)
        .map(|(number, kind)| count(number, kind));
    let found = counts.collect::<Vec<_>>().join(", ");
    match found.as_str() {
        "" => "✓ nothing is declared".to_owned(),
        found => format!("✓ {found}"),
    }
}

/// `supply-chain at s3://acme/clusters/supply-chain`.
pub(crate) fn place(answer: &pb::PlanResponse, label: &str) -> String {
    let root = match answer.storage_root.as_str() {
        "" => label,
        root => root,
    };
    match answer.cluster_name.as_str() {
        "" => root.to_owned(),
        name => format!("{name} at {root}"),
    }
}

/// `leader cp-0, idle`; nothing without a leader.
pub(crate) fn leader(answer: &pb::PlanResponse) -> Option<String> {
    let lease = answer.lease.as_ref()?;
    let doing = match lease.operation.as_str() {
        "" => "idle".to_owned(),
        operation => format!("runs {operation} {}", lease.operation_id),
    };
    Some(format!("leader {}, {}", lease.holder, doing.trim_end()))
}

/// What apply would do. `place` says which cluster was compared.
pub(crate) fn plan(
    plan: &pb::Plan,
    place: &str,
    leader: Option<&str>,
    sources: &Sources,
) -> String {
    let mut out = String::new();
    for diagnostic in &plan.diagnostics {
        let said = sources.explain(&diagnostic.into());
        let end = if said.contains('\n') { "\n\n" } else { "\n" };
        out.push_str(&format!("{said}{end}"));
    }
    let graphs: Vec<&str> = targets(plan);
    if plan.changes.is_empty() {
        let revision = plan.base_revision;
        let what = match graphs.as_slice() {
            [] => "matches this directory".to_owned(),
            graphs => format!("has {} as this directory says", graphs.join(", ")),
        };
        out.push_str(&format!(
            "no changes: {place} is at revision {revision} and {what}\n"
        ));
        out.push_str(&omitted(plan));
        return out;
    }
    out.push_str(&format!("{place} · revision {}", plan.base_revision));
    if let Some(leader) = leader {
        out.push_str(&format!(" · {leader}"));
    }
    out.push_str("\n\n");
    if !graphs.is_empty() {
        out.push_str(&format!(
            "only {}, with what it needs: its schema and its queries\n\n",
            graphs.join(", ")
        ));
    }
    let width = plan
        .changes
        .iter()
        .map(|c| c.resource.len())
        .max()
        .unwrap_or(0);
    for change in by_graph(plan) {
        out.push_str(&change_lines(change, width));
    }
    out.push_str(&format!("\nplan: {}\n", summary(plan)));
    out.push_str(&omitted(plan));
    for approval in plan.approvals_required.iter().filter(|a| !a.satisfied) {
        out.push_str(&format!(
            "hint: {} needs an approval: {}\n",
            approval.resource, approval.reason
        ));
    }
    out
}

/// The graphs that the plan was narrowed to.
fn targets(plan: &pb::Plan) -> Vec<&str> {
    let graphs = plan.targets.iter().map(String::as_str);
    graphs
        .filter(|address| address.starts_with("graph."))
        .collect()
}

fn omitted(plan: &pb::Plan) -> String {
    match plan.omitted_changes {
        0 => String::new(),
        number => format!(
            "note: {} left out by --target; apply without it to converge\n",
            count(u64::from(number), "change")
        ),
    }
}

/// Changes of one graph beside each other, graphs in the order in which they come.
fn by_graph(plan: &pb::Plan) -> Vec<&pb::PlanChange> {
    let graph = |change: &pb::PlanChange| {
        let mut parts = change.resource.splitn(3, '.');
        let kind = parts.next().unwrap_or_default();
        match kind {
            "graph" | "schema" | "query" => parts.next().unwrap_or_default().to_owned(),
            // What belongs to the cluster comes together, too.
            _ => String::new(),
        }
    };
    let mut order: Vec<String> = Vec::new();
    for change in &plan.changes {
        let graph = graph(change);
        if !order.contains(&graph) {
            order.push(graph);
        }
    }
    let place: std::collections::BTreeMap<&str, usize> = order
        .iter()
        .enumerate()
        .map(|(at, graph)| (graph.as_str(), at))
        .collect();
    let mut changes: Vec<&pb::PlanChange> = plan.changes.iter().collect();
    changes.sort_by_key(|change| place.get(graph(change).as_str()).copied());
    changes
}

fn change_lines(change: &pb::PlanChange, width: usize) -> String {
    let steps = change.migration.iter().flat_map(|m| &m.steps);
    let mut out = format!(
        "{:>3} {:width$}  {}",
        mark(change),
        change.resource,
        what(change)
    );
    out.truncate(out.trim_end().len());
    out.push('\n');
    if change.operation() == pb::ChangeOperation::Create {
        return out;
    }
    for step in steps {
        out.push_str(&format!("      {}\n", step_line(step)));
    }
    out
}

/// `+ property Package.license`, `~ rename property Package.a -> b`, `! M301  …`.
fn step_line(step: &pb::MigrationStep) -> String {
    if !step.code.is_empty() {
        return format!("! {}  {}", step.code, step.summary);
    }
    let (verb, rest) = step.summary.split_once(' ').unwrap_or(("", &step.summary));
    match (step.kind.as_str(), verb) {
        ("", _) => step.summary.clone(),
        (_, "add") => format!("+ {rest}"),
        (_, "drop") => format!("- {rest}"),
        _ => format!("~ {}", step.summary),
    }
}

pub(super) fn mark(change: &pb::PlanChange) -> &'static str {
    match (change.disposition(), change.operation()) {
        (pb::Disposition::Blocked, _) => "!",
        (_, operation) => mark_of(operation),
    }
}

fn mark_of(operation: pb::ChangeOperation) -> &'static str {
    match operation {
        pb::ChangeOperation::Create => "+",
        pb::ChangeOperation::Delete => "-",
        pb::ChangeOperation::Recreate => "-/+",
        pb::ChangeOperation::Update | pb::ChangeOperation::Unspecified => "~",
    }
}

fn what(change: &pb::PlanChange) -> String {
    let mut text = match (change.disposition(), change.operation()) {
        (pb::Disposition::Blocked, _) => format!("blocked: {}", change.reason),
        (pb::Disposition::ApprovalRequired, _) => "approval required".to_owned(),
        (_, pb::ChangeOperation::Create) if change.reason.is_empty() => "create".to_owned(),
        (_, pb::ChangeOperation::Create) => change.reason.clone(),
        (_, pb::ChangeOperation::Delete) => "delete".to_owned(),
        (_, pb::ChangeOperation::Recreate) => "re-create: its root has vanished".to_owned(),
        _ => match (&change.migration, change.metadata_change.as_str()) {
            (Some(migration), _) if !migration.steps.is_empty() => {
                count(migration.steps.len() as u64, "step")
            }
            (_, "") => "source".to_owned(),
            (_, metadata) => metadata.to_owned(),
        },
    };
    if change.drift {
        text.push_str("  (drift)");
    }
    text
}

fn summary(plan: &pb::Plan) -> String {
    let blocked = |c: &&pb::PlanChange| c.disposition() == pb::Disposition::Blocked;
    let of = |operation| {
        let changes = plan.changes.iter().filter(|c| !blocked(c));
        changes.filter(|c| c.operation() == operation).count()
    };
    let mut text = format!(
        "{} to add, {} to change, {} to destroy",
        of(pb::ChangeOperation::Create) + of(pb::ChangeOperation::Recreate),
        of(pb::ChangeOperation::Update),
        of(pb::ChangeOperation::Delete) + of(pb::ChangeOperation::Recreate),
    );
    let blocked = plan.changes.iter().filter(blocked).count();
    if blocked > 0 {
        text.push_str(&format!(", {blocked} blocked"));
    }
    format!("{text}   digest {}", short_digest(&plan.plan_digest))
}

/// The line of a finished step; nothing for the phases before.
pub(crate) fn step(step: &pb::StepEvent, width: usize) -> Option<String> {
    let mark = match (step.phase(), step.operation()) {
        (Phase::Failed | Phase::Skipped, _) => "!",
        (Phase::Done, operation) => mark_of(operation),
        (Phase::Unspecified | Phase::Queued | Phase::Started, _) => return None,
    };
    let phase = step.phase().label();
    let time = match step.phase() {
        Phase::Done => format!("{:.2}s", step.elapsed_ms as f64 / 1000.0),
        _ => String::new(),
    };
    let said = match &step.diagnostic {
        Some(diagnostic) => diagnostic_line(&DiagnosticOutput::from(diagnostic)),
        None => step.message.clone(),
    };
    let line = format!(
        "{mark:>3} {:width$}  {phase:7}  {time:6}  {said}",
        step.resource
    );
    Some(line.trim_end().to_owned())
}

/// `applied revision 18: 4 changes, 2 blocked, not converged`.
pub(crate) fn applied(result: &pb::ApplyResult) -> String {
    if result.ok && !result.state_written && result.converged {
        return format!("no changes: revision {} is converged", result.revision);
    }
    let verb = match (result.ok, result.state_written) {
        (true, true) => "applied revision",
        (false, true) => "partly applied: revision",
        (_, false) => "nothing applied: still at revision",
    };
    let mut text = format!(
        "{verb} {}: {}",
        result.revision,
        count(u64::from(result.applied_count), "change")
    );
    if result.blocked_count > 0 {
        text.push_str(&format!(", {} blocked", result.blocked_count));
    }
    text.push_str(if result.converged {
        ", converged"
    } else {
        ", not converged"
    });
    text
}

#[cfg(test)]
mod tests {
    use omnigraph_proto::common::v1::Diagnostic;

    use super::*;
    use crate::render::golden::check;

    fn change(resource: &str, operation: pb::ChangeOperation) -> pb::PlanChange {
        pb::PlanChange {
            resource: resource.into(),
            operation: operation.into(),
            disposition: pb::Disposition::Applied.into(),
            ..Default::default()
        }
    }

    fn sample() -> pb::Plan {
        let step = |code: &str, kind: &str, summary: &str| pb::MigrationStep {
            code: code.into(),
            kind: kind.into(),
            summary: summary.into(),
            ..Default::default()
        };
        let mut schema = change("schema.debian", pb::ChangeOperation::Update);
        schema.migration = Some(pb::Migration {
            supported: true,
            steps: vec![
                step("", "add_property", "add property Package.license"),
                step("", "extend_enum", "extend enum Package.priority (+unknown)"),
                step(
                    "",
                    "drop_property",
                    "drop property Package.homepage: history keeps it until cleanup",
                ),
                step(
                    "M301",
                    "unsupported_change",
                    "node:Package.kb: I32 -> String",
                ),
            ],
        });
        let mut query = change("query.debian.find_package", pb::ChangeOperation::Update);
        query.drift = true;
        let mut delete = change("graph.old", pb::ChangeOperation::Delete);
        delete.disposition = pb::Disposition::ApprovalRequired.into();
        let mut blocked = change("query.debian.by_vendor", pb::ChangeOperation::Create);
        blocked.disposition = pb::Disposition::Blocked.into();
        blocked.reason = "unknown property Package.vendor (queries/vendor.gq:3:12)".into();
        pb::Plan {
            plan_digest: "7f3a91c2aabbcc".into(),
            base_revision: 17,
            changes: vec![
                change("graph.scratch", pb::ChangeOperation::Create),
                schema,
                query,
                delete,
                blocked,
            ],
            approvals_required: vec![pb::ApprovalRequirement {
                resource: "graph.old".into(),
                reason: "deletes a graph".into(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn plans() {
        check(
            "plan.txt",
            &plan(
                &sample(),
                "supply-chain at s3://acme/clusters/supply-chain",
                Some("leader cp-0, idle"),
                &Sources::default(),
            ),
        );
        let mut narrowed = sample();
        narrowed.changes.truncate(2);
        narrowed.changes.swap(0, 1);
        narrowed.approvals_required.clear();
        narrowed.targets = vec!["graph.debian".into(), "schema.debian".into()];
        narrowed.omitted_changes = 3;
        narrowed.changes[1].operation = pb::ChangeOperation::Recreate.into();
        check(
            "plan-target.txt",
            &plan(&narrowed, "supply-chain", None, &Sources::default()),
        );
        let nothing = pb::Plan {
            base_revision: 17,
            converged: true,
            ..Default::default()
        };
        check(
            "plan-empty.txt",
            &plan(&nothing, "supply-chain", None, &Sources::default()),
        );
        let json = crate::render::json::plan(&sample()).to_string();
        check("plan.json", &crate::render::pretty::pretty(&json));
    }

    #[test]
    fn steps_and_result() {
        let event = |resource: &str, phase: Phase, operation: pb::ChangeOperation| pb::StepEvent {
            resource: resource.into(),
            phase: phase.into(),
            operation: operation.into(),
            elapsed_ms: 210,
            ..Default::default()
        };
        let mut failed = event("schema.debian", Phase::Failed, pb::ChangeOperation::Update);
        failed.diagnostic = Some(Diagnostic {
            code: "M301".into(),
            message: "Package.installed_kb: I32 -> String is not supported".into(),
            ..Default::default()
        });
        let mut skipped = event("graph.old", Phase::Skipped, pb::ChangeOperation::Delete);
        skipped.message = "approval required".into();
        let steps = [
            event("graph.scratch", Phase::Started, pb::ChangeOperation::Create),
            event("graph.scratch", Phase::Done, pb::ChangeOperation::Create),
            failed,
            skipped,
        ];
        let mut out: String = steps
            .iter()
            .filter_map(|s| step(s, 16))
            .map(|l| l + "\n")
            .collect();
        let mut result = pb::ApplyResult {
            ok: true,
            revision: 18,
            state_written: true,
            applied_count: 4,
            blocked_count: 2,
            ..Default::default()
        };
        out += &format!("{}\n", applied(&result));
        result.ok = false;
        out += &format!("{}\n", applied(&result));
        result.ok = true;
        result.state_written = false;
        result.applied_count = 0;
        out += &format!("{}\n", applied(&result));
        result.blocked_count = 0;
        result.converged = true;
        out += &format!("{}\n", applied(&result));
        check("apply.txt", &out);
    }

    #[test]
    fn declarations() {
        let resource = |kind: &str| pb::ResourceSummary {
            kind: kind.into(),
            ..Default::default()
        };
        let response = pb::ValidateResponse {
            ok: true,
            resources: ["graph", "schema", "query", "query"].map(resource).to_vec(),
            ..Default::default()
        };
        assert_eq!(validated(&response), "✓ 1 graph, 1 schema, 2 queries");
    }
}
