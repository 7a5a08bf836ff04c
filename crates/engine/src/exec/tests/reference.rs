//! The results on the page of reads in `docs/reference` are what the engine gives.

use serde_json::{Value as Json, json};

use super::example::example;

#[tokio::test]
async fn results_on_the_page_of_reads() {
    let page = include_str!("../../../../../docs/reference/queries.md");
    let graph = example().await;
    let mut query = None;
    let mut compared = 0;
    for block in page.split("\n```").skip(1).step_by(2) {
        let (info, text) = block.split_once('\n').unwrap_or((block, ""));
        match info {
            "gq" => query = Some(text),
            "rows" => {
                let source = query.take().expect("rows stand behind their query");
                let expected: Json = serde_json::from_str(text).unwrap();
                let rows = graph.rows(source, json!({})).await;
                let rows = rows.unwrap_or_else(|code| panic!("{code}: {source}"));
                assert_eq!(json!(super::accept::flat(rows)), expected, "{source}");
                compared += 1;
            }
            _ => query = None,
        }
    }
    assert!(compared > 15, "{compared}");
}
