//! The bytes of every stored format, as they will have to be read for ever.

use omnigraph_engine::log::Entry as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::approval::{Approval, Loss};
use crate::ledger::{Content, Event, LedgerEntry, Verdict};
use crate::sidecar::Sidecar;

/// Reads the text and writes the same again.
fn golden<T: Serialize + DeserializeOwned>(text: &str) -> T {
    let value: T = serde_json::from_str(text).unwrap();
    let written: serde_json::Value = serde_json::to_value(&value).unwrap();
    let expected: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(written, expected);
    value
}

const ID: &str = "01JD8Z5W0000000000000000AB";
const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn fill(text: &str) -> String {
    text.replace("ID", ID).replace("DIGEST", DIGEST)
}

#[test]
fn ledger_entries() {
    let leader = fill(
        r#"{"id":"ID","at":1,"epoch":4,"leader":{"epoch":4,"lease_id":"ID","holder":"cp-0","host":"a","address":"10.0.0.1:8090","process":{"boot":"b","namespace":"pid:[1]","pid":7,"started":99},"since":1},"revision":{"seq":3,"number":2},"event":{"kind":"leader"}}"#,
    );
    let entry: LedgerEntry = golden(&leader);
    assert_eq!(entry.leader.unwrap().epoch, 4);
    let released = fill(
        r#"{"id":"ID","at":1,"epoch":4,"leader":null,"revision":null,"event":{"kind":"released","lease_id":"ID","reason":"dead"}}"#,
    );
    golden::<LedgerEntry>(&released);
    let revision = fill(
        r#"{"id":"ID","at":1,"epoch":4,"leader":null,"revision":{"seq":5,"number":3},"event":{"kind":"revision","number":3,"epoch":4,"content":"DIGEST","config_digest":"DIGEST","serving_digest":"DIGEST","converged":true,"actor":"ann","operation":"apply","operation_id":"ID","message":"m","created_at":1,"previous":{"seq":3,"number":2}}}"#,
    );
    let entry: LedgerEntry = golden(&revision);
    assert!(matches!(entry.event, Event::Revision(record) if record.number == 3));
    let void = fill(
        r#"{"id":"ID","at":0,"epoch":0,"leader":null,"revision":null,"event":{"kind":"void"}}"#,
    );
    let entry: LedgerEntry = golden(&void);
    assert_eq!(entry, LedgerEntry::void(ID.parse().unwrap()));
}

const GRAPH: &str = r#"{"incarnation":"ID","schema":"DIGEST","schema_source":"DIGEST","queries":{"cheap":"DIGEST"},"retention":{"commits":5,"age_seconds":60}}"#;

#[test]
fn contents() {
    let text = format!(
        r#"{{"format":1,"cluster_name":"shop","graphs":{{"shop":{GRAPH}}},"held_back":{{"graph.old":"approval"}}}}"#
    );
    let content: Content = golden(&fill(&text));
    assert_eq!(content.resources().len(), 3);
    assert!(
        Content::read(
            fill(&text)
                .replace("\"format\":1", "\"format\":2")
                .as_bytes()
        )
        .is_err()
    );
}

#[test]
fn contents_with_external_blobs() {
    let graph = GRAPH.replace(
        r#","retention""#,
        r#","external_blobs":[{"base":"s3://m/p/"},{"base":"s3://m/q/","scope":"copy"}],"retention""#,
    );
    let text = format!(r#"{{"format":1,"cluster_name":"shop","graphs":{{"shop":{graph}}}}}"#);
    let with: Content = golden(&fill(&text));
    let text = format!(r#"{{"format":1,"cluster_name":"shop","graphs":{{"shop":{GRAPH}}}}}"#);
    let without: Content = golden(&fill(&text));
    assert_ne!(with.resources(), without.resources());
}

#[test]
fn sidecars() {
    let text = format!(
        r#"{{"format":1,"id":"ID","operation_id":"ID","operation":"apply","graph":"shop","actor":"ann","epoch":4,"created_at":1,"commit_id":"ID","expected_head":"ID","before":{GRAPH},"after":{GRAPH},"message":""}}"#
    );
    golden::<Sidecar>(&fill(&text));
}

#[test]
fn contents_with_providers_observations_and_endings() {
    let graph = GRAPH.replace(
        r#","retention""#,
        r#","embedding":{"provider":"p","profile":{"kind":"openai-compatible","base_url":"https://h/v1","model":"m","api_key_env":"K"}},"retention""#,
    );
    let text = format!(
        r#"{{"format":1,"cluster_name":"shop","graphs":{{"shop":{graph}}},"providers":{{"p":{{"digest":"DIGEST","profile":{{"kind":"mock"}}}},"old":{{"digest":"DIGEST"}}}},"observations":{{"schema.shop":{{"verdict":"drifted","condition":"schema_drifted","message":"m","observed":"DIGEST","since":1}},"graph.shop":{{"verdict":"error","condition":"graph_unreadable","message":"m","since":1}}}},"endings":[{{"graph":"gone","incarnation":"ID","operation_id":"ID","approval":"ID","actor":"ann","at":1}}]}}"#
    );
    let content: Content = golden(&fill(&text));
    assert_eq!(content.resources().len(), 5);
    assert_eq!(content.observations["graph.shop"].verdict, Verdict::Error);
    // A graph that computes vectors when it is written: another state of the same graph.
    let on_write = text.replace(
        r#""api_key_env":"K"}},"retention""#,
        r#""api_key_env":"K"},"on_write":true},"retention""#,
    );
    let computing: Content = golden(&fill(&on_write));
    let settings = |content: &Content| content.resources()["graph.shop"].clone();
    assert_ne!(settings(&computing), settings(&content));
    // A graph whose profile was never recorded.
    let graph = GRAPH.replace(
        r#","retention""#,
        r#","embedding":{"provider":"p"},"retention""#,
    );
    let text = format!(r#"{{"format":1,"cluster_name":"shop","graphs":{{"shop":{graph}}}}}"#);
    let old: Content = golden(&fill(&text));
    assert!(old.graphs.values().all(|graph| {
        graph
            .embedding
            .as_ref()
            .is_some_and(|embedding| embedding.profile.is_none())
    }));
}

#[test]
fn sidecars_that_complete_an_operation() {
    let text = format!(
        r#"{{"format":1,"id":"ID","operation_id":"ID","operation":"rollback","graph":"shop","actor":null,"epoch":4,"created_at":1,"commit_id":"ID","expected_head":"ID","before":{GRAPH},"after":{GRAPH},"message":"","policies":{{"revision":7,"after":{{"readers":{{"text":"DIGEST","format":"yaml","applies_to":["shop"]}}}}}},"completes":{{"revision":7,"config_digest":"DIGEST","cluster_name":"shop","held_back":{{"graph.old":"approval"}}}}}}"#
    );
    let sidecar: Sidecar = golden(&fill(&text));
    assert_eq!(sidecar.completes.unwrap().revision, 7);
}

#[test]
fn approvals() {
    let text = r#"{"format":1,"id":"ID","resource":"graph.old","loss":"delete","state":"DIGEST","desired":"DIGEST","reason":"not used","approved_by":"ann","created_at":1,"consumed":{"at":2,"operation_id":"ID"}}"#;
    let approval: Approval = golden(&fill(text));
    assert_eq!(approval.loss, Loss::Delete);
    let text = r#"{"format":1,"id":"ID","resource":"graph.old","loss":"recreate","state":"DIGEST","desired":"DIGEST","approved_by":null,"created_at":1}"#;
    let approval: Approval = golden(&fill(text));
    assert!(approval.consumed.is_none());
}
