//! Results of `query`, `mutate` and `load`.

use serde_json::Value;

use super::words::{count, grouped};
use crate::client::shapes::{ChangeOutput, LoadOutput, ReadOutput, Target};
use crate::output::{Items, Rendered};

/// Rows of a read. `elapsed_ms` was measured by this program.
pub(crate) fn read(graph: &str, output: &ReadOutput, json: &str, elapsed_ms: u128) -> Rendered {
    let columns = columns(output);
    let rows: Vec<Vec<Value>> = output
        .rows
        .iter()
        .map(|row| cells(row.get(), &columns))
        .collect();
    let numeric = (0..columns.len())
        .map(|i| {
            let mut values = rows
                .iter()
                .map(|row| &row[i])
                .filter(|v| !v.is_null())
                .peekable();
            values.peek().is_some() && values.all(Value::is_number)
        })
        .collect();
    let items = Items {
        rows: rows
            .iter()
            .map(|row| row.iter().map(cell).collect())
            .collect(),
        numeric,
        json: output.rows.iter().map(|row| row.get().to_owned()).collect(),
        titled: true,
        columns,
    };
    let place = place(graph, &output.target);
    let commit = output.graph_commit_id.as_deref().unwrap_or_default();
    let rows = count(output.row_count, "row");
    Rendered {
        header: Some(format!(
            "{rows} · {place} {commit} · {} · {elapsed_ms} ms",
            output.query_name
        )),
        json: json.to_owned(),
        metadata: Some(metadata(output)),
        items: Some(items),
        ..Rendered::default()
    }
}

fn metadata(output: &ReadOutput) -> String {
    serde_json::json!({
        "kind": "metadata",
        "query_name": output.query_name,
        "target": {"branch": output.target.branch, "snapshot": output.target.snapshot},
        "columns": output.columns,
        "graph_commit_id": output.graph_commit_id,
    })
    .to_string()
}

fn place(graph: &str, target: &Target) -> String {
    match (&target.branch, &target.snapshot) {
        (Some(branch), _) => format!("{graph}@{branch}"),
        _ => graph.to_owned(),
    }
}

/// The declared columns; a server that sends none has the members of the first row.
fn columns(output: &ReadOutput) -> Vec<String> {
    if !output.columns.is_empty() {
        return output.columns.clone();
    }
    let first = output.rows.first().map(|row| row.get()).unwrap_or("{}");
    let object: serde_json::Map<String, Value> = serde_json::from_str(first).unwrap_or_default();
    object.keys().cloned().collect()
}

fn cells(row: &str, columns: &[String]) -> Vec<Value> {
    let mut object: serde_json::Map<String, Value> = serde_json::from_str(row).unwrap_or_default();
    let take = |name: &String| object.remove(name).unwrap_or(Value::Null);
    columns.iter().map(take).collect()
}

/// Strings bare, null empty, everything else as JSON.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let items: Vec<_> = items.iter().filter_map(Value::as_str).collect();
            items.join(", ")
        }
        other => other.to_string(),
    }
}

/// `debian@main: 1 node, 0 edges by set_priority, commit 01JDB4`.
pub(crate) fn change(graph: &str, output: &ChangeOutput, json: &str) -> Rendered {
    let nodes = count(output.affected_nodes, "node");
    let edges = count(output.affected_edges, "edge");
    let commit = output.commit.as_ref().map(|c| c.graph_commit_id.clone());
    let ended = match &commit {
        Some(id) => format!("commit {id}"),
        None => "nothing changed".to_owned(),
    };
    let branch = &output.branch;
    let text = format!(
        "{graph}@{branch}: {nodes}, {edges} by {}, {ended}",
        output.query_name
    );
    let fields = [
        ("graph", graph.to_owned()),
        ("branch", branch.clone()),
        ("query", output.query_name.clone()),
        ("nodes", output.affected_nodes.to_string()),
        ("edges", output.affected_edges.to_string()),
        ("commit", commit.unwrap_or_default()),
    ];
    Rendered::record(text, &fields, json)
}

/// `debian@import (created from main): 3,325 entities, 2 node types, 4 edge types, commit 01JDB5`.
pub(crate) fn load(graph: &str, output: &LoadOutput, json: &str) -> Rendered {
    let created = match (&output.base_branch, output.branch_created) {
        (Some(base), true) => format!(" (created from {base})"),
        _ => String::new(),
    };
    let commit = output.commit.as_ref().map(|c| c.graph_commit_id.clone());
    let ended = match &commit {
        Some(id) => format!("commit {id}"),
        None => "nothing changed".to_owned(),
    };
    let text = format!(
        "{graph}@{}{created}: {}, {}, {}, {ended}",
        output.branch,
        count(output.total_entities, "entity"),
        count(output.nodes.len() as u64, "node type"),
        count(output.edges.len() as u64, "edge type"),
    );
    let mut fields = vec![
        ("graph", graph.to_owned()),
        ("branch", output.branch.clone()),
        ("mode", output.mode.clone()),
        ("entities", grouped(output.total_entities)),
    ];
    for loaded in output.nodes.iter().chain(&output.edges) {
        fields.push((&loaded.name, grouped(loaded.entities_loaded)));
    }
    fields.push(("commit", commit.unwrap_or_default()));
    Rendered::record(text, &fields, json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;
    use crate::client::data::understand;
    use crate::render::golden::check;

    const READ: &str = r#"{"query_name":"find_package","target":{"branch":"main","snapshot":null},"row_count":2,"columns":["p.name","kb","tags","p.homepage"],"rows":[{"p.name":"bash","kb":7164,"tags":["role::program","shell"],"p.homepage":null},{"p.name":"zsh","kb":9007199254740993,"tags":[],"p.homepage":"https://zsh.org"}],"graph_commit_id":"01JDB2000000000000000000K7"}"#;
    const COMMIT: &str = r#"{"graph_commit_id":"01JDB4000000000000000000M2","graph_branch":"main","graph_manifest_version":4,"parent_commit_id":null,"merged_parent_commit_id":null,"actor_id":null,"created_at":1}"#;

    #[test]
    fn reads_in_every_form() {
        let output: ReadOutput = understand(READ).unwrap();
        let rendered = read("debian", &output, READ, 6);
        for (format, file) in [
            (Format::Table, "query.txt"),
            (Format::Kv, "query.kv.txt"),
            (Format::Json, "query.json"),
            (Format::Jsonl, "query.jsonl"),
            (Format::Csv, "query.csv"),
        ] {
            let text = rendered.stdout(format).unwrap();
            check(file, &text);
        }
        check("query.stderr.txt", rendered.header.as_deref().unwrap());
    }

    #[test]
    fn a_read_without_rows_keeps_its_columns() {
        let json = r#"{"query_name":"q","target":{"branch":"main","snapshot":null},"row_count":0,"columns":["a","b"],"rows":[]}"#;
        let output: ReadOutput = understand(json).unwrap();
        assert_eq!(
            read("g", &output, json, 0).stdout(Format::Table).unwrap(),
            "a | b\n--+--\n"
        );
    }

    #[test]
    fn paths_and_lists_stand_in_cells() {
        let json = r#"{"query_name":"q","target":{"branch":"main","snapshot":null},"row_count":1,"columns":["r","l"],"rows":[{"r":{"nodes":[{"type":"P","id":"a"}],"edges":[],"length":0},"l":[1,null]}]}"#;
        let output: ReadOutput = understand(json).unwrap();
        let csv = read("g", &output, json, 0).stdout(Format::Csv).unwrap();
        assert!(
            csv.contains("\"\"id\"\":\"\"a\"\"") && csv.contains("\"\"length\"\":0"),
            "{csv}"
        );
        assert!(
            csv.starts_with("r,l\r\n\"{") && csv.ends_with(",\"[1,null]\"\r\n"),
            "{csv}"
        );
    }

    #[test]
    fn writes() {
        let json = format!(
            r#"{{"branch":"main","query_name":"set_priority","affected_nodes":1,"affected_edges":0,"actor_id":null,"commit":{COMMIT}}}"#
        );
        let output: ChangeOutput = understand(&json).unwrap();
        let mut text = change("debian", &output, &json)
            .stdout(Format::Table)
            .unwrap();
        let json = json.replace(COMMIT, "null");
        let output: ChangeOutput = understand(&json).unwrap();
        text += &change("debian", &output, &json)
            .stdout(Format::Table)
            .unwrap();
        let json = format!(
            r#"{{"branch":"import","base_branch":"main","branch_created":true,"mode":"merge","nodes":[{{"name":"Maintainer","entities_loaded":147}},{{"name":"Package","entities_loaded":577}}],"edges":[{{"name":"DependsOn","entities_loaded":1852}}],"total_entities":2576,"actor_id":null,"commit":{COMMIT}}}"#
        );
        let output: LoadOutput = understand(&json).unwrap();
        let rendered = load("debian", &output, &json);
        text += &rendered.stdout(Format::Table).unwrap();
        text += &rendered.stdout(Format::Kv).unwrap();
        check("writes.txt", &text);
    }
}
