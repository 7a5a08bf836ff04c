//! What maintenance did.

use super::commit::list;
use crate::client::data::understand;
use crate::client::shapes::DatasetMaintenance;
use crate::error::Result;
use crate::output::Rendered;

/// `Package  fragments 14 → 2, index summary_fts extended` per table, then the commit.
pub(crate) fn optimized(
    raw: &[&str],
    commit: Option<&str>,
    dry_run: bool,
    json: &str,
) -> Result<Rendered> {
    let columns = [
        "type",
        "fragments_removed",
        "fragments_added",
        "indexes_extended",
        "error",
    ];
    let mut rendered = list(&columns, raw, json, |text| {
        let table: DatasetMaintenance = understand(text)?;
        Ok(vec![
            table.type_name.clone(),
            table.fragments_removed.to_string(),
            table.fragments_added.to_string(),
            table.indexes_extended.join(" "),
            table.error.unwrap_or_default(),
        ])
    })?;
    let tables: Vec<DatasetMaintenance> = raw
        .iter()
        .map(|text| understand(text))
        .collect::<Result<_>>()?;
    let width = tables.iter().map(|t| t.type_name.chars().count()).max();
    let width = width.unwrap_or(0);
    let mut lines: Vec<String> = tables
        .iter()
        .map(|table| format!("{:width$}  {}", table.type_name, done(table)))
        .collect();
    lines.push(match (commit, dry_run) {
        (Some(commit), _) => format!("commit {commit}"),
        (None, true) => "dry run: nothing was written".to_owned(),
        (None, false) => "nothing to do".to_owned(),
    });
    rendered.text = lines.join("\n");
    Ok(rendered)
}

fn done(table: &DatasetMaintenance) -> String {
    if let Some(error) = &table.error {
        return format!("failed: {error}");
    }
    let mut parts = Vec::new();
    if table.fragments_removed > 0 {
        let (removed, added) = (table.fragments_removed, table.fragments_added);
        parts.push(format!("fragments {removed} → {added}"));
    }
    match table.indexes_extended.as_slice() {
        [] => {}
        [one] => parts.push(format!("index {one} extended")),
        several => parts.push(format!("indexes {} extended", several.join(", "))),
    }
    if parts.is_empty() {
        parts.push("nothing to do".to_owned());
    }
    if !table.pending_indexes.is_empty() {
        let reasons = table.pending_reasons.iter().map(Some);
        let reasons = reasons.chain(std::iter::repeat(None));
        let pending = table.pending_indexes.iter().zip(reasons);
        let named: Vec<String> = pending
            .map(|(index, reason)| match reason {
                Some(reason) => format!("{index} ({reason})"),
                None => index.clone(),
            })
            .collect();
        parts.push(format!("not built: {}", named.join(", ")));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;

    const TABLES: [&str; 2] = [
        r#"{"type_name":"Package","fragments_removed":14,"fragments_added":2,"indexes_extended":["summary_fts"],"pending_indexes":[]}"#,
        r#"{"type_name":"DependsOn","fragments_removed":0,"fragments_added":0,"indexes_extended":[],"pending_indexes":["v_vector"],"pending_reasons":["needs 5000 vectors, has 12"]}"#,
    ];

    #[test]
    fn one_line_per_table_then_the_commit() {
        let rendered = optimized(&TABLES, Some("01JD"), false, "{}").unwrap();
        assert_eq!(
            rendered.stdout(Format::Table).unwrap(),
            "Package    fragments 14 → 2, index summary_fts extended\n\
             DependsOn  nothing to do, not built: v_vector (needs 5000 vectors, has 12)\n\
             commit 01JD\n"
        );
        let csv = rendered.stdout(Format::Csv).unwrap();
        assert!(csv.starts_with("type,fragments_removed,"), "{csv}");
    }

    #[test]
    fn a_dry_run_has_no_commit() {
        let rendered = optimized(&TABLES[1..], None, true, "{}").unwrap();
        let text = rendered.stdout(Format::Table).unwrap();
        assert!(text.ends_with("dry run: nothing was written\n"), "{text}");
    }
}
