//! Backups.

use omnigraph_engine::BackupCheck;
use serde::Deserialize;

use super::commit::list as items;
use super::words::{ago, bytes, count};
use crate::client::data::understand;
use crate::client::shapes::BackupOutput;
use crate::error::Result;
use crate::output::Rendered;

/// `debian 01JDB7…4V → s3://b/debian/01JDC…  412 objects, 1.2 GB (3 new, 10 kB)`.
pub(crate) fn created(graph: &str, made: &BackupOutput, json: &str) -> Rendered {
    let uri = made.manifest_uri.trim_end_matches("/manifest.ndjson");
    let text = format!(
        "{graph} {} → {uri}  {}, {} ({} new, {})",
        made.graph_commit_id,
        count(made.objects, "object"),
        bytes(made.bytes),
        made.objects_copied,
        bytes(made.bytes_copied),
    );
    let fields = [
        ("backup", made.backup_id.clone()),
        ("uri", uri.to_owned()),
        ("commit", made.graph_commit_id.clone()),
        ("objects", made.objects.to_string()),
        ("bytes", made.bytes.to_string()),
        ("objects_copied", made.objects_copied.to_string()),
        ("bytes_copied", made.bytes_copied.to_string()),
    ];
    Rendered::record(text, &fields, json)
}

#[derive(Deserialize)]
struct Item {
    graph_id: String,
    uri: String,
    graph_commit_id: String,
    history: bool,
    created_at: i64,
    bytes: u64,
}

/// One line per backup.
pub(crate) fn list(raw: &[String], now_us: i64) -> Result<Rendered> {
    let json = format!("[{}]", raw.join(","));
    let raw: Vec<&str> = raw.iter().map(String::as_str).collect();
    let columns = ["graph", "when", "commit", "holds", "size", "uri"];
    items(&columns, &raw, &json, |text| {
        let item: Item = understand(text)?;
        let holds = if item.history { "history" } else { "commit" };
        Ok(vec![
            item.graph_id,
            ago(item.created_at, now_us),
            item.graph_commit_id,
            holds.to_owned(),
            bytes(item.bytes),
            item.uri,
        ])
    })
}

/// `✓ 412 objects match`, or what does not.
pub(crate) fn verified(check: &BackupCheck) -> String {
    let mut lines = Vec::new();
    for path in &check.missing {
        lines.push(format!("missing     {path}"));
    }
    for path in &check.mismatched {
        lines.push(format!("mismatched  {path}"));
    }
    let matching = count(check.matching.objects, "object");
    lines.push(match check.is_ok() {
        true => format!("✓ {matching} match, {}", bytes(check.matching.bytes)),
        false => format!(
            "✗ {} missing, {} with another content, {matching} match",
            check.missing.len(),
            check.mismatched.len()
        ),
    });
    lines.join("\n")
}
