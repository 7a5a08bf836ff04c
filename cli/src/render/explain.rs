//! Plans.

use super::words::{count, grouped};
use crate::client::shapes::ExplainOutput;
use crate::output::Rendered;

/// The trees, under a line that says of what, and over one that says what it took.
pub(crate) fn explained(graph: &str, output: &ExplainOutput, json: &str) -> Rendered {
    let mut text = output.text.trim_end().to_owned();
    if let Some(totals) = &output.totals {
        text.push_str(&format!(
            "\n\n{:.1} ms · {} scanned · {} · peak {} KiB",
            totals.elapsed_us as f64 / 1000.0,
            count(totals.rows_scanned, "row"),
            count(totals.object_store_requests, "request"),
            grouped(totals.peak_memory_bytes.div_ceil(1024)),
        ));
    }
    Rendered {
        header: Some(format!(
            "{} · {graph} {}",
            output.query_name, output.graph_commit_id
        )),
        text,
        json: json.to_owned(),
        ..Rendered::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_ends_with_what_it_took() {
        let json = r#"{"query_name":"q","graph_commit_id":"01J","text":"project p.name  est 1\n",
            "totals":{"elapsed_us":8400,"rows_scanned":577,"object_store_requests":5,"peak_memory_bytes":2000}}"#;
        let output: ExplainOutput = serde_json::from_str(json).expect("well formed");
        let rendered = explained("debian", &output, json);
        assert_eq!(
            rendered.text,
            "project p.name  est 1\n\n8.4 ms · 577 rows scanned · 5 requests · peak 2 KiB"
        );
        assert_eq!(rendered.header.as_deref(), Some("q · debian 01J"));
    }
}
