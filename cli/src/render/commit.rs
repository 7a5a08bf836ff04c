//! Commits, branches, graphs and what is stored in them.

use super::words::{ago, grouped, utc};
use crate::client::data::understand;
use crate::client::shapes::{
    BranchOutput, CommitOutput, Dataset, GraphListItem, GraphOutput, Param, StoredQuery, TypeCount,
};
use crate::error::Result;
use crate::output::{Items, Rendered};

/// `01JDB6  merge  act-andrew  2 min ago  +7 ~1 -1  message` per commit.
pub(crate) fn commits(raw: &[&str], json: &str, now_us: i64) -> Result<Rendered> {
    let columns = ["commit", "kind", "actor", "when", "changes", "message"];
    list(&columns, raw, json, |text| {
        let commit: CommitOutput = understand(text)?;
        Ok(vec![
            commit.graph_commit_id.clone(),
            commit.kind.clone(),
            dash(commit.actor_id.as_deref()),
            ago(commit.created_at, now_us),
            changes(&commit.touched),
            commit.message.unwrap_or_default(),
        ])
    })
}

/// Every fact of one commit.
pub(crate) fn commit(commit: &CommitOutput, json: &str) -> Rendered {
    let touched: Vec<_> = commit
        .touched
        .iter()
        .map(|t| {
            format!(
                "{} {} {}",
                t.entity_kind,
                t.type_name,
                changes(std::slice::from_ref(t))
            )
        })
        .collect();
    let fields = [
        ("commit", commit.graph_commit_id.clone()),
        ("branch", commit.graph_branch.clone().unwrap_or_default()),
        ("version", commit.graph_manifest_version.to_string()),
        (
            "parent",
            commit.parent_commit_id.clone().unwrap_or_default(),
        ),
        (
            "merged",
            commit.merged_parent_commit_id.clone().unwrap_or_default(),
        ),
        ("kind", commit.kind.clone()),
        ("actor", commit.actor_id.clone().unwrap_or_default()),
        ("time", utc(commit.created_at)),
        ("message", commit.message.clone().unwrap_or_default()),
        ("changes", touched.join("; ")),
    ];
    Rendered::fields(&fields, json)
}

/// `+7 ~1 -1`.
pub(super) fn changes(touched: &[TypeCount]) -> String {
    let sum = |of: fn(&TypeCount) -> u64| touched.iter().map(of).sum::<u64>();
    let parts = [
        ('+', sum(|t| t.inserted)),
        ('~', sum(|t| t.updated)),
        ('-', sum(|t| t.deleted)),
    ];
    let shown = parts.iter().filter(|(_, number)| *number > 0);
    shown
        .map(|(sign, number)| format!("{sign}{number}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// `main  01JDB6  2 min ago  act-andrew` per branch.
pub(crate) fn branches(raw: &[&str], json: &str, now_us: i64) -> Result<Rendered> {
    list(&["branch", "head", "when", "actor"], raw, json, |text| {
        let branch: BranchOutput = understand(text)?;
        let head = branch.head.as_ref();
        Ok(vec![
            branch.name.clone(),
            dash(head.map(|c| c.graph_commit_id.as_str())),
            ago(head.map_or(branch.created_at, |c| c.created_at), now_us),
            dash(head.and_then(|c| c.actor_id.as_deref())),
        ])
    })
}

pub(crate) fn branch(branch: &BranchOutput, json: &str) -> Rendered {
    let head = branch.head.as_ref();
    let fields = [
        ("branch", branch.name.clone()),
        (
            "head",
            head.map(|c| c.graph_commit_id.clone()).unwrap_or_default(),
        ),
        (
            "version",
            head.map(|c| c.graph_manifest_version.to_string())
                .unwrap_or_default(),
        ),
        ("base", branch.base_commit_id.clone().unwrap_or_default()),
        ("created", utc(branch.created_at)),
    ];
    Rendered::fields(&fields, json)
}

/// `debian  ready  rev 18` per graph.
pub(crate) fn graphs(items: &[GraphListItem], raw: &[&str], json: &str) -> Result<Rendered> {
    let mut next = items.iter();
    list(
        &["graph", "status", "revision", "reason"],
        raw,
        json,
        |_| {
            let graph = next.next();
            Ok(graph.map_or_else(Vec::new, |graph| {
                let revision = graph.served_revision.map(|r| format!("rev {r}"));
                vec![
                    graph.graph_id.clone(),
                    graph.status.clone(),
                    revision.unwrap_or_else(|| "-".to_owned()),
                    graph.reason_code.clone().unwrap_or_default(),
                ]
            }))
        },
    )
}

pub(crate) fn graph(graph: &GraphOutput, json: &str) -> Rendered {
    let reason: Vec<_> = [&graph.reason_code, &graph.reason]
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    let head = graph.head.as_ref().map(|c| c.graph_commit_id.clone());
    let fields = [
        ("graph", graph.graph_id.clone()),
        ("status", graph.status.clone()),
        ("reason", reason.join(": ")),
        ("remedy", graph.remedy.clone().unwrap_or_default()),
        (
            "served",
            graph
                .served_revision
                .map(|r| r.to_string())
                .unwrap_or_default(),
        ),
        ("target", graph.target_revision.to_string()),
        ("head", head.unwrap_or_default()),
        ("schema", graph.schema_digest.clone()),
        ("queries", graph.query_count.to_string()),
        ("uri", graph.uri.clone()),
    ];
    Rendered::fields(&fields, json)
}

/// `node  Package  577  graphs/… @ 12` per type.
pub(crate) fn datasets(raw: &[&str], json: &str) -> Result<Rendered> {
    list(
        &["kind", "type", "entities", "dataset"],
        raw,
        json,
        |text| {
            let dataset: Dataset = understand(text)?;
            Ok(vec![
                dataset.entity_kind,
                dataset.type_name,
                grouped(dataset.entity_count),
                format!(
                    "{} @ {}",
                    dataset.dataset_path, dataset.published_dataset_version
                ),
            ])
        },
    )
}

/// `read  find_package(name: String)  Finds one package` per stored query.
pub(crate) fn queries(raw: &[&str], json: &str) -> Result<Rendered> {
    list(&["kind", "query", "description"], raw, json, |text| {
        let query: StoredQuery = understand(text)?;
        let params: Vec<_> = query.params.iter().map(param).collect();
        Ok(vec![
            if query.mutation { "mutation" } else { "read" }.to_owned(),
            format!("{}({})", query.name, params.join(", ")),
            query.description.unwrap_or_default(),
        ])
    })
}

fn param(param: &Param) -> String {
    let kind = match &param.item_kind {
        Some(item) => format!("[{item}]"),
        None => param.kind.clone(),
    };
    format!(
        "{}: {kind}{}",
        param.name,
        if param.nullable { "?" } else { "" }
    )
}

/// A list whose items are shown as rows and kept as they came.
pub(crate) fn list(
    columns: &[&str],
    raw: &[&str],
    json: &str,
    mut row: impl FnMut(&str) -> Result<Vec<String>>,
) -> Result<Rendered> {
    let rows = raw
        .iter()
        .map(|text| row(text))
        .collect::<Result<Vec<_>>>()?;
    let items = Items {
        columns: columns.iter().map(|c| (*c).to_owned()).collect(),
        rows,
        json: raw.iter().map(|text| (*text).to_owned()).collect(),
        ..Items::default()
    };
    Ok(Rendered {
        json: json.to_owned(),
        items: Some(items),
        ..Rendered::default()
    })
}

fn dash(value: Option<&str>) -> String {
    value.unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;
    use crate::render::golden::check;

    const NOW: i64 = 1_795_356_000_000_000;
    const HEAD: &str = r#"{"graph_commit_id":"01JDB6000000000000000000T0","graph_branch":"main","graph_manifest_version":7,"parent_commit_id":"01JDB5000000000000000000T0","merged_parent_commit_id":null,"actor_id":"act-andrew","created_at":1795355880000000,"kind":"merge","message":"weekly import","touched":[{"entity_kind":"node","type_name":"Package","inserted":7,"updated":1,"deleted":0},{"entity_kind":"edge","type_name":"DependsOn","inserted":0,"updated":0,"deleted":1}]}"#;
    const FIRST: &str = r#"{"graph_commit_id":"01JDB5000000000000000000T0","graph_branch":"main","graph_manifest_version":1,"parent_commit_id":null,"merged_parent_commit_id":null,"actor_id":null,"created_at":1795355000000000,"kind":"schema"}"#;

    fn shown(rendered: &Rendered) -> String {
        rendered.stdout(Format::Table).unwrap()
    }

    #[test]
    fn history() {
        let json = format!(r#"{{"commits":[{HEAD},{FIRST}]}}"#);
        let rendered = commits(&[HEAD, FIRST], &json, NOW).unwrap();
        let mut text = shown(&rendered);
        text += &rendered.stdout(Format::Csv).unwrap();
        text += &shown(&commit(&understand(HEAD).unwrap(), HEAD));
        check("commits.txt", &text);
        check("commits.json", &rendered.stdout(Format::Json).unwrap());
    }

    #[test]
    fn branches_and_their_heads() {
        let main = format!(r#"{{"name":"main","head":{HEAD},"created_at":1795355000000000}}"#);
        let review = format!(
            r#"{{"name":"review/x","head":{FIRST},"base_commit_id":"01JDB5000000000000000000T0","created_at":1795355990000000}}"#
        );
        let mut text = shown(&branches(&[&main, &review], "{}", NOW).unwrap());
        text += &shown(&branch(&understand(&review).unwrap(), &review));
        check("branches.txt", &text);
    }

    #[test]
    fn graphs_and_their_content() {
        let ready =
            r#"{"graph_id":"debian","uri":"file:///x","status":"ready","served_revision":18}"#;
        let bad = r#"{"graph_id":"scratch","uri":"file:///y","status":"quarantined","reason_code":"schema_mismatch"}"#;
        let items = [understand(ready).unwrap(), understand(bad).unwrap()];
        let mut text = shown(&graphs(&items, &[ready, bad], "{}").unwrap());
        let one = format!(
            r#"{{"graph_id":"debian","uri":"file:///x","status":"ready","served_revision":18,"target_revision":18,"head":{HEAD},"schema_digest":"ab12","internal_schema_version":1,"query_count":12}}"#
        );
        text += &shown(&graph(&understand(&one).unwrap(), &one));
        let dataset = r#"{"entity_kind":"node","type_name":"Package","dataset_path":"graphs/debian.omni/01JC/tables/1.lance","published_dataset_version":9223372036854775911,"native_dataset_branch":null,"entity_count":63436}"#;
        text += &shown(&datasets(&[dataset], "{}").unwrap());
        let query = r#"{"name":"find_package","tool_name":"find_package","description":"Finds one package","mutation":false,"params":[{"name":"name","kind":"string","nullable":false},{"name":"tags","kind":"list","item_kind":"string","nullable":true}]}"#;
        text += &shown(&queries(&[query], "{}").unwrap());
        check("graphs.txt", &text);
    }
}
