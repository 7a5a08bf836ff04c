//! `import`, `refresh` and `approve` for people.

use omnigraph_proto::control::v1 as pb;

use super::words::count;

/// `imported 2 graphs as revision 1`, and a line for each resource that was not taken over as it is
/// declared.
pub(crate) fn imported(status: &pb::ClusterStatus) -> String {
    let graphs = status
        .resources
        .iter()
        .filter(|resource| resource.address.starts_with("graph.") && !resource.digest.is_empty());
    let mut out = format!(
        "imported {} as revision {}\n",
        count(graphs.count() as u64, "graph"),
        status.revision
    );
    out.push_str(&troubled(status));
    if !status.converged {
        out.push_str("hint: omnigraphctl plan shows what apply would change\n");
    }
    out
}

/// `observed 2 graphs, 1 drifted: schema.debian`, and a line for each resource in trouble.
pub(crate) fn refreshed(status: &pb::ClusterStatus) -> String {
    let of = |word: &str| -> Vec<&str> {
        let resources = status.resources.iter().filter(|r| r.status == word);
        resources
            .map(|resource| resource.address.as_str())
            .collect()
    };
    let graphs = status
        .resources
        .iter()
        .filter(|resource| resource.address.starts_with("graph.") && !resource.digest.is_empty());
    let mut out = format!("observed {}", count(graphs.count() as u64, "graph"));
    for (word, found) in [("drifted", of("drifted")), ("unreadable", of("error"))] {
        if !found.is_empty() {
            out.push_str(&format!(", {} {word}: {}", found.len(), found.join(", ")));
        }
    }
    if of("drifted").is_empty() && of("error").is_empty() {
        out.push_str(", nothing drifted");
    }
    out.push('\n');
    out.push_str(&troubled(status));
    out
}

fn troubled(status: &pb::ClusterStatus) -> String {
    let resources = status.resources.iter().filter(|r| r.status != "applied");
    resources
        .map(|r| format!("  ! {}  {}  {}\n", r.address, r.status, r.message))
        .collect()
}

/// `approved: delete graph.old (approval 01JDB3…1C), as it is now`.
pub(crate) fn approved(approval: &pb::Approval) -> String {
    format!(
        "approved: {} {} (approval {}), exactly as it is and as it is declared now",
        approval.operation().label(),
        approval.resource,
        approval.approval_id
    )
}

pub(crate) fn approval_fields(approval: &pb::Approval) -> Vec<(&'static str, String)> {
    vec![
        ("approval", approval.approval_id.clone()),
        ("resource", approval.resource.clone()),
        ("operation", approval.operation().label().to_owned()),
        ("reason", approval.reason.clone()),
        ("approved_by", approval.approved_by.clone()),
        ("state", approval.bound_state_digest.clone()),
        ("declared", approval.bound_config_digest.clone()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::golden::check;

    fn resource(address: &str, status: &str, message: &str) -> pb::ResourceStatus {
        pb::ResourceStatus {
            address: address.into(),
            digest: "d".into(),
            status: status.into(),
            message: message.into(),
            ..Default::default()
        }
    }

    #[test]
    fn outcomes() {
        let mut status = pb::ClusterStatus {
            revision: 1,
            converged: true,
            resources: vec![
                resource("graph.debian", "applied", ""),
                resource("schema.debian", "applied", ""),
            ],
            ..Default::default()
        };
        let mut out = imported(&status) + &refreshed(&status);
        status.converged = false;
        status.resources[1] = resource(
            "schema.debian",
            "drifted",
            "the graph's schema is not the applied one",
        );
        let missing = resource(
            "query.debian.by_name",
            "error",
            "catalog object 12 cannot be read",
        );
        status.resources.push(missing);
        out += &imported(&status);
        out += &refreshed(&status);
        let approval = pb::Approval {
            approval_id: "01JDB3000000000000000000AB".into(),
            resource: "graph.old".into(),
            operation: pb::ChangeOperation::Delete.into(),
            ..Default::default()
        };
        out += &approved(&approval);
        out.push('\n');
        check("resources.txt", &out);
    }
}
