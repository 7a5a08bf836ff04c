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

/// What apply would do. `place` says which cluster was compared.
pub(crate) fn plan(plan: &pb::Plan, place: &str, sources: &Sources) -> String {
    let mut out = String::new();
    for diagnostic in &plan.diagnostics {
        let said = sources.explain(&diagnostic.into());
        let end = if said.contains('\n') { "\n\n" } else { "\n" };
        out.push_str(&format!("{said}{end}"));
    }
    if plan.changes.is_empty() {
        let revision = plan.base_revision;
        out.push_str(&format!(
            "no changes: {place} is at revision {revision} and matches this directory\n"
        ));
        return out;
    }
    out.push_str(&format!("{place} · revision {}\n\n", plan.base_revision));
    let width = plan
        .changes
        .iter()
        .map(|c| c.resource.len())
        .max()
        .unwrap_or(0);
    for change in &plan.changes {
        out.push_str(&change_lines(change, width));
    }
    out.push_str(&format!("\nplan: {}\n", summary(plan)));
    for approval in plan.approvals_required.iter().filter(|a| !a.satisfied) {
        out.push_str(&format!(
            "hint: {} needs an approval: {}\n",
            approval.resource, approval.reason
        ));
    }
    out
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
        let code = match step.code.as_str() {
            "" => String::new(),
            code => format!("{code}  "),
        };
        out.push_str(&format!("      {code}{}\n", step.summary));
    }
    out
}

fn mark(change: &pb::PlanChange) -> &'static str {
    match (change.disposition(), change.operation()) {
        (pb::Disposition::Blocked, _) => "!",
        (_, operation) => operation_mark(operation),
    }
}

fn operation_mark(operation: pb::ChangeOperation) -> &'static str {
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
        (_, pb::ChangeOperation::Recreate) => "re-create, empty".to_owned(),
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
        (Phase::Done, operation) => operation_mark(operation),
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
        let step = |code: &str, summary: &str| pb::MigrationStep {
            code: code.into(),
            summary: summary.into(),
            ..Default::default()
        };
        let mut schema = change("schema.debian", pb::ChangeOperation::Update);
        schema.migration = Some(pb::Migration {
            supported: true,
            steps: vec![
                step("", "+ property Package.license: String?"),
                step("", "~ extend enum Package.priority (+unknown)"),
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
                &Sources::default(),
            ),
        );
        let nothing = pb::Plan {
            base_revision: 17,
            converged: true,
            ..Default::default()
        };
        check(
            "plan-empty.txt",
            &plan(&nothing, "supply-chain", &Sources::default()),
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
