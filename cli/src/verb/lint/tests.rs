use super::*;
use crate::render::golden::check;

const SCHEMA: &str = "node P {\n    k: String @key\n    n: I64?\n}\nedge Knows: P -> P\n";
const QUERIES: &str = "query good($k: String) {
    match { $p: P { k: $k } }
    return { $p.n }
}
query bad() {
    match { $p: P  $p knwos $q }
    return { $p.m }
}
query worse( {
    match { $p: P }
    return { 1 }
}
query touch($k: String) {
    update P set { n: 1.5 } where k = $k
}
";

fn text(name: &str, source: &str) -> Text {
    Text::new(name.to_owned(), None, source.to_owned())
}

/// Text and JSON of a run that finds its schema among the texts.
fn lint(texts: &[Text]) -> (String, Value) {
    let mut findings = Findings::default();
    let against = match Against::choose(texts, None).unwrap() {
        Choice::Nothing => None,
        Choice::Text(text) => Some(Against::text(text, &mut findings)),
        other => panic!("{other:?}"),
    };
    findings.all(texts, against.as_ref());
    let rendered = findings.rendered(against.as_ref());
    (rendered.text, serde_json::from_str(&rendered.json).unwrap())
}

#[test]
fn one_query_does_not_hide_another() {
    let (shown, json) = lint(&[text("s.pg", SCHEMA), text("q.gq", QUERIES)]);
    check("lint.txt", &shown);
    check(
        "lint.json",
        &format!("{}\n", serde_json::to_string_pretty(&json).unwrap()),
    );
    let of = |at: usize| {
        let result = &json["results"][at];
        (result["name"].clone(), result["status"].clone())
    };
    assert_eq!(of(0), (json!("good"), json!("ok")));
    assert_eq!(of(1), (json!("bad"), json!("error")));
    assert_eq!(of(2), (json!("worse"), json!("error")));
    assert!(json["results"][1].get("operation").is_none());
}

#[test]
fn a_schema_alone_needs_nothing_else() {
    let (shown, json) = lint(&[text("s.pg", SCHEMA)]);
    assert_eq!(shown, "1 schema: 0 errors, 0 warnings\n");
    assert_eq!(json["schema_source"], Value::Null);
    let broken = "interface P { a: Txt }\nnode P { a: String  a: I32 }\nedge E: P -> Q\n";
    let (shown, json) = lint(&[text("s.pg", broken)]);
    check("lint-schema.txt", &shown);
    assert_eq!(json["schemas"][0]["status"], "error");
}

/// Without its schema a query would be wrong in every name.
#[test]
fn queries_of_a_broken_schema_are_checked_for_syntax() {
    let (shown, json) = lint(&[text("q.gq", QUERIES), text("s.pg", "node P { k: Txt }")]);
    assert_eq!(json["errors"], 2, "{shown}");
    assert!(
        shown.ends_with("1 schema, queries for their syntax only: 2 errors, 0 warnings\n"),
        "{shown}"
    );
}

#[test]
fn the_schema_is_the_only_one_or_must_be_named() {
    let (a, b, q) = (text("a.pg", ""), text("b.pg", ""), text("q.gq", QUERIES));
    let choose = |texts: &[Text]| match Against::choose(texts, None) {
        Ok(Choice::Nothing) => "nothing".to_owned(),
        Ok(Choice::Graph) => "graph".to_owned(),
        Ok(Choice::Text(text)) => text.name.clone(),
        Ok(Choice::File(path)) => path.display().to_string(),
        Err(error) => error.message.clone(),
    };
    assert_eq!(choose(&[a.clone(), b.clone()]), "nothing");
    assert_eq!(choose(std::slice::from_ref(&q)), "graph");
    assert_eq!(choose(&[q.clone(), b.clone()]), "b.pg");
    assert_eq!(
        choose(&[a, b, q.clone()]),
        "which schema are the queries for: a.pg, b.pg?"
    );
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("main.pg");
    std::fs::write(&path, SCHEMA).unwrap();
    let same = directory.path().join(".").join("main.pg");
    let texts = [Text::file(&path).unwrap(), q];
    let chosen = Against::choose(&texts, Some(&same)).unwrap();
    assert_eq!(chosen, Choice::Text(&texts[0]), "it is read and told once");
}

#[test]
fn editors_get_the_findings_of_every_file() {
    let mut findings = Findings::default();
    findings.all(&[text("s.pg", SCHEMA), text("bad.pg", "node p { }")], None);
    let json: Value = serde_json::from_str(&findings.for_editors().json).unwrap();
    assert_eq!(json["files"][0]["diagnostics"], json!([]));
    assert_eq!(json["files"][1]["diagnostics"][0]["code"], "P007");
}
