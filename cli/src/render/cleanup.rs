//! What was reclaimed, or would be.

use super::words::{bytes, count, utc};
use crate::client::shapes::CleanupOutput;
use crate::output::Rendered;

/// `would reclaim 1,204 objects, 3.1 GB; oldest kept commit 01JC…`, and what follows from it.
pub(crate) fn cleaned(output: &CleanupOutput, json: &str) -> Rendered {
    let oldest = output.oldest_retained_commit_id.clone().unwrap_or_default();
    let kept = match oldest.as_str() {
        "" => String::new(),
        oldest => format!("; oldest kept commit {oldest}"),
    };
    let removed = amount(output.objects_removed, output.bytes_removed);
    let mut lines = vec![match (output.dry_run, output.objects_removed) {
        (_, 0) => format!("nothing to remove{kept}"),
        (true, _) => format!("would remove {removed}{kept}"),
        (false, _) => format!("removed {removed}{kept}"),
    }];
    let width = output
        .datasets
        .iter()
        .map(|table| table.type_name.chars().count())
        .max();
    let width = width.unwrap_or(0);
    for table in &output.datasets {
        let found = amount(table.objects_removed, table.bytes_removed);
        lines.push(format!("  {:width$}  {found}", table.type_name));
    }
    if output.log_entries_removed > 0 {
        lines.push(format!(
            "  {} of branch logs",
            count(output.log_entries_removed, "entry")
        ));
    }
    if let Some(at) = output.removable_at {
        let waiting = amount(output.condemned_objects, output.condemned_bytes);
        lines.push(format!(
            "{waiting} condemned; a cleanup after {} removes them",
            utc(at)
        ));
    }
    if output.dry_run && output.objects_removed > 0 {
        lines.push(
            "repeat with --confirm to condemn them; a day later they can be removed".to_owned(),
        );
    }
    let fields = [
        ("objects_removed", output.objects_removed.to_string()),
        ("bytes_removed", output.bytes_removed.to_string()),
        ("condemned_objects", output.condemned_objects.to_string()),
        ("condemned_bytes", output.condemned_bytes.to_string()),
        (
            "removable_at",
            output.removable_at.map(utc).unwrap_or_default(),
        ),
        ("oldest_kept", oldest),
    ];
    Rendered::record(lines.join("\n"), &fields, json)
}

fn amount(objects: u64, size: u64) -> String {
    format!("{}, {}", count(objects, "object"), bytes(size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Format;
    use crate::client::data::understand;

    const PREVIEW: &str = r#"{"dry_run":true,"objects_removed":1204,"bytes_removed":3100000000,
        "condemned_objects":0,"condemned_bytes":0,"removable_at":null,"log_entries_removed":0,
        "oldest_retained_commit_id":"01JC",
        "datasets":[{"type_name":"Package","objects_removed":1204,"bytes_removed":3100000000}]}"#;
    const DONE: &str = r#"{"dry_run":false,"objects_removed":1,"bytes_removed":10,
        "condemned_objects":2,"condemned_bytes":2000,"removable_at":1795000000000000,
        "log_entries_removed":3,"oldest_retained_commit_id":null}"#;

    #[test]
    fn a_preview_says_what_to_do() {
        let rendered = cleaned(&understand(PREVIEW).unwrap(), PREVIEW);
        assert_eq!(
            rendered.stdout(Format::Table).unwrap(),
            "would remove 1,204 objects, 3.1 GB; oldest kept commit 01JC\n  \
             Package  1,204 objects, 3.1 GB\n\
             repeat with --confirm to condemn them; a day later they can be removed\n"
        );
    }

    #[test]
    fn what_waits_is_told_with_its_time() {
        let rendered = cleaned(&understand(DONE).unwrap(), DONE);
        assert_eq!(
            rendered.stdout(Format::Table).unwrap(),
            "removed 1 object, 10 B\n  3 entries of branch logs\n\
             2 objects, 2.0 kB condemned; a cleanup after 2026-11-18T11:06:40Z removes them\n"
        );
    }
}
