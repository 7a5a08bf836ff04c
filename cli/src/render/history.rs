//! `history` for people.

use omnigraph_proto::control::v1 as pb;

use super::words::{minute, short_digest};
use super::{json, table};
use crate::output::{Items, Rendered};

/// One line per revision, and with `changes` one per resource that changed.
pub(crate) fn list(revisions: &[pb::RevisionSummary], changes: bool) -> Rendered {
    let columns = ["REV", "WHEN", "ACTOR", "OPERATION", "CHANGES", "MESSAGE"];
    let columns: Vec<String> = columns.into_iter().map(str::to_owned).collect();
    let rows: Vec<Vec<String>> = revisions.iter().map(row).collect();
    let objects: Vec<String> = revisions
        .iter()
        .map(|r| json::revision(r).to_string())
        .collect();
    let mut text = String::new();
    if rows.is_empty() {
        text.push_str("nothing was applied yet\n");
    } else {
        let all: Vec<Vec<String>> = std::iter::once(columns.clone())
            .chain(rows.clone())
            .collect();
        let lines = table::columns(&all);
        let mut lines = lines.lines();
        text.push_str(&format!("{}\n", lines.next().unwrap_or_default()));
        for (line, revision) in lines.zip(revisions) {
            text.push_str(&format!("{line}\n"));
            for change in revision.changes.iter().filter(|_| changes) {
                text.push_str(&format!(
                    "     {} {}\n",
                    super::plan::mark(change),
                    change.resource
                ));
            }
        }
    }
    Rendered {
        text,
        json: format!("[{}]", objects.join(",")),
        items: Some(Items {
            columns: columns.iter().map(|name| name.to_lowercase()).collect(),
            rows,
            json: objects,
            ..Items::default()
        }),
        ..Rendered::default()
    }
}

fn row(revision: &pb::RevisionSummary) -> Vec<String> {
    vec![
        revision.revision.to_string(),
        revision.created_at.as_ref().map(minute).unwrap_or_default(),
        or_dash(&revision.actor_id),
        revision.operation.clone(),
        counts(&revision.changes),
        revision.message.clone(),
    ]
}

/// `+1 ~3 -2`.
fn counts(changes: &[pb::PlanChange]) -> String {
    let of = |operation| {
        changes
            .iter()
            .filter(|c| c.operation() == operation)
            .count()
    };
    let counts = [
        ('+', of(pb::ChangeOperation::Create)),
        ('~', of(pb::ChangeOperation::Update)),
        ('-', of(pb::ChangeOperation::Delete)),
    ];
    let shown = counts.iter().filter(|(_, count)| *count > 0);
    let shown: Vec<String> = shown
        .map(|(mark, count)| format!("{mark}{count}"))
        .collect();
    match shown.is_empty() {
        true => "none".to_owned(),
        false => shown.join(" "),
    }
}

fn or_dash(text: &str) -> String {
    match text {
        "" => "-".to_owned(),
        text => text.to_owned(),
    }
}

/// Who made a revision, and what it has.
pub(crate) fn show(shown: &pb::GetRevisionResponse) -> Rendered {
    let none = pb::RevisionSummary::default();
    let summary = shown.summary.as_ref().unwrap_or(&none);
    let yes = |value: bool| if value { "yes" } else { "no" }.to_owned();
    let fields = [
        ("revision", summary.revision.to_string()),
        (
            "when",
            summary.created_at.as_ref().map(minute).unwrap_or_default(),
        ),
        ("actor", summary.actor_id.clone()),
        (
            "operation",
            format!("{} {}", summary.operation, summary.operation_id),
        ),
        ("message", summary.message.clone()),
        ("converged", yes(summary.converged)),
        ("config", short_digest(&summary.config_digest).to_owned()),
        ("serving", short_digest(&summary.serving_digest).to_owned()),
    ];
    let shown_fields: Vec<Vec<String>> = fields
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| vec![(*name).to_owned(), value.clone()])
        .collect();
    let resources: Vec<Vec<String>> = shown
        .resources
        .iter()
        .map(|r| {
            vec![
                format!("  {}", r.address),
                short_digest(&r.digest).to_owned(),
            ]
        })
        .collect();
    let text = format!(
        "{}\n{}",
        table::columns(&shown_fields),
        table::columns(&resources)
    );
    Rendered::document(text, json::shown_revision(shown).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::golden::check;

    fn revision(
        number: u64,
        message: &str,
        operations: &[pb::ChangeOperation],
    ) -> pb::RevisionSummary {
        let changes = operations
            .iter()
            .enumerate()
            .map(|(n, operation)| pb::PlanChange {
                resource: format!("query.debian.q{n}"),
                operation: (*operation).into(),
                ..Default::default()
            });
        pb::RevisionSummary {
            revision: number,
            created_at: Some(crate::render::words::timestamp(1_795_356_000_000_000)),
            actor_id: "act-andrew".into(),
            operation: "apply".into(),
            operation_id: "01JDB5".into(),
            message: message.into(),
            converged: true,
            config_digest: "0123456789abcdef".into(),
            serving_digest: "fedcba9876543210".into(),
            changes: changes.collect(),
        }
    }

    #[test]
    fn lists_and_records() {
        use pb::ChangeOperation::{Create, Delete, Update};
        let two = [
            revision(18, "license field", &[Create, Update, Update, Delete]),
            revision(17, "", &[]),
        ];
        check("history.txt", &list(&two, false).text);
        check("history-changes.txt", &list(&two, true).text);
        check("history-none.txt", &list(&[], false).text);
        let shown = pb::GetRevisionResponse {
            summary: Some(two[0].clone()),
            resources: vec![pb::ResourceSummary {
                address: "graph.debian".into(),
                kind: "graph".into(),
                digest: "00112233445566".into(),
                path: String::new(),
            }],
            content: None,
            policies: Vec::new(),
        };
        check("history-show.txt", &show(&shown).text);
    }
}
