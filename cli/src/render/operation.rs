//! `operation` for people.

use omnigraph_proto::control::v1 as pb;

use super::json;
use super::words::{ago, micros, minute};
use crate::output::{Items, Rendered};

/// One line per operation.
pub(crate) fn list(operations: &[pb::Operation], now_us: i64) -> Rendered {
    let columns = ["operation", "kind", "state", "actor", "started", "revision"];
    let rows = operations.iter().map(|one| {
        let revision = match one.revision {
            0 => "-".to_owned(),
            revision => revision.to_string(),
        };
        let actor = match one.actor_id.as_str() {
            "" => "-",
            actor => actor,
        };
        vec![
            one.operation_id.clone(),
            one.kind.clone(),
            one.state().label().to_owned(),
            actor.to_owned(),
            one.started_at
                .as_ref()
                .map(|at| ago(micros(at), now_us))
                .unwrap_or_default(),
            revision,
        ]
    });
    let objects: Vec<String> = operations
        .iter()
        .map(|one| json::operation(one).to_string())
        .collect();
    Rendered {
        json: format!("[{}]", objects.join(",")),
        items: Some(Items {
            columns: columns.into_iter().map(str::to_owned).collect(),
            rows: rows.collect(),
            json: objects,
            titled: true,
            ..Items::default()
        }),
        ..Rendered::default()
    }
}

/// `apply 01J… by act-andrew, begun 2026-11-22 14:02 on cp-0`.
pub(crate) fn head(operation: &pb::Operation) -> String {
    let mut text = format!("{} {}", operation.kind, operation.operation_id);
    if !operation.actor_id.is_empty() {
        text.push_str(&format!(" by {}", operation.actor_id));
    }
    if let Some(at) = &operation.started_at {
        text.push_str(&format!(", begun {}", minute(at)));
    }
    if !operation.holder.is_empty() {
        text.push_str(&format!(" on {}", operation.holder));
    }
    text
}

/// How it ended, after its own events.
pub(crate) fn end(operation: &pb::Operation) -> String {
    let mut text = operation.state().label().to_owned();
    if let Some(failure) = &operation.failure {
        text.push_str(&format!(": {}", failure.message));
    }
    if operation.revision > 0 {
        text.push_str(&format!(", revision {}", operation.revision));
    }
    text.push('\n');
    if let Some(made) = &operation.restored {
        text.push_str(&format!(
            "restored {} at {}\n",
            made.graph_id, made.graph_commit_id
        ));
    }
    if !operation.pending_graphs.is_empty() {
        let graphs = operation.pending_graphs.join(", ");
        text.push_str(&format!(
            "not resolved yet: {graphs}; the leader does that, or the next apply\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::golden::check;

    #[test]
    fn operations() {
        let at = crate::render::words::timestamp(1_795_356_000_000_000);
        let mut one = pb::Operation {
            operation_id: "01JDB5".into(),
            kind: "apply".into(),
            state: pb::OperationState::Running.into(),
            actor_id: "act-andrew".into(),
            started_at: Some(at),
            holder: "cp-0".into(),
            ..Default::default()
        };
        let running = one.clone();
        one.operation_id = "01JDB4".into();
        one.actor_id = String::new();
        one.state = pb::OperationState::Interrupted.into();
        one.revision = 17;
        one.pending_graphs = vec!["debian".into()];
        let rendered = list(&[running.clone(), one.clone()], 1_795_356_012_000_000);
        let text = rendered.stdout(crate::args::Format::Table).unwrap();
        check("operations.txt", &text);
        let mut failed = running.clone();
        failed.state = pb::OperationState::Failed.into();
        failed.failure = Some(omnigraph_proto::common::v1::Diagnostic {
            message: "the backup is not complete".into(),
            ..Default::default()
        });
        let all = [&running, &one, &failed].map(|one| format!("{}\n{}", head(one), end(one)));
        check("operation.txt", &all.concat());
    }
}
