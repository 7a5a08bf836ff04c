//! Formats of results, and that what is cut off does not look whole.

use http::StatusCode;

use super::fake::{COMMIT, Fake};
use super::{post, post_with, send, send_with};
use crate::Options;

const QUERY: &str = r#"{"query":"query q() {}"}"#;
const PATH: &str = "/graphs/debian/query";

#[tokio::test]
async fn rows_pass_through_as_text() {
    let got = send(&Fake::default(), post(PATH, QUERY)).await;
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("omnigraph-graph-commit"), COMMIT);
    assert_eq!(got.header("omnigraph-actor"), "act-ada");
    let expected = format!(
        r#"{{"query_name":"q","target":{{"branch":"main","snapshot":null}},"row_count":2,"columns":["n"],"rows":[{{"n": 18446744073709551615}},{{"n":1.0}}],"graph_commit_id":"{COMMIT}"}}"#
    );
    assert_eq!(got.text(), expected);
}

#[tokio::test]
async fn stored_reads_and_mutations_answer_untagged() {
    let fake = Fake::default();
    let got = send(&fake, post("/graphs/debian/queries/find", "")).await;
    assert_eq!(got.json()["row_count"], 2);
    let got = send(&fake, post("/graphs/debian/queries/set", "null")).await;
    assert_eq!(got.json()["affected_nodes"], 1);
    assert_eq!(got.header("idempotency-replayed"), "true");
    let no_type = super::request("POST", "/graphs/debian/queries/find", &[], "");
    assert_eq!(send(&fake, no_type).await.status, StatusCode::OK);
}

#[tokio::test]
async fn ndjson_has_control_lines() {
    let accept = ("accept", "application/x-ndjson");
    let got = send(&Fake::default(), post_with(PATH, QUERY, accept)).await;
    assert_eq!(got.header("content-type"), "application/x-ndjson");
    let lines: Vec<&str> = got.text().lines().collect();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        lines[0].starts_with(r#"{"$metadata":{"query_name":"q""#),
        "{}",
        lines[0]
    );
    assert_eq!(lines[1], r#"{"n": 18446744073709551615}"#);
    assert_eq!(lines[3], r#"{"$end":{"row_count":2}}"#);
}

#[tokio::test]
async fn arrow_bytes_pass_through() {
    let accept = ("accept", "application/vnd.apache.arrow.stream");
    let fake = Fake::default();
    let got = send(&fake, post_with(PATH, QUERY, accept)).await;
    assert_eq!(got.text(), "ARROW");
    assert!(got.whole);
    assert!(
        fake.asked().contains("encoding: ArrowIpc"),
        "{}",
        fake.asked()
    );
}

#[tokio::test]
async fn a_cut_off_result_is_seen_as_incomplete() {
    let fake = Fake::truncated();
    let got = send(&fake, post(PATH, QUERY)).await;
    assert_eq!(got.status, StatusCode::SERVICE_UNAVAILABLE);
    let ndjson = post_with(PATH, QUERY, ("accept", "application/x-ndjson"));
    let got = send(&fake, ndjson).await;
    let last = got.text().lines().last().expect("a line").to_owned();
    assert!(last.starts_with(r#"{"$error":{"error":"#), "{last}");
    let arrow = post_with(
        PATH,
        QUERY,
        ("accept", "application/vnd.apache.arrow.stream"),
    );
    assert!(!send(&fake, arrow).await.whole);
    let got = send(&fake, post("/graphs/debian/export", "{}")).await;
    assert_eq!(got.status, StatusCode::OK);
    assert!(!got.whole);
}

#[tokio::test]
async fn what_accept_excludes_is_406() {
    let got = send(
        &Fake::default(),
        post_with(PATH, QUERY, ("accept", "text/html")),
    )
    .await;
    assert_eq!(got.status, StatusCode::NOT_ACCEPTABLE);
    assert_eq!(got.json()["code"], "bad_request");
}

#[tokio::test]
async fn a_buffered_answer_has_a_limit() {
    let options = Options {
        json_result_max: 10,
        ..Options::default()
    };
    let got = send_with(&Fake::default(), options, post(PATH, QUERY)).await;
    assert_eq!(got.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        got.json()["resource_limit"]["resource"],
        "result_json_bytes"
    );
}
