//! Bundles as people write them. `golden/` holds bundles with mistakes, and what their author reads;
//! `UPDATE_EXPECT=1` rewrites the outputs.

use std::path::PathBuf;

use super::*;

const FULL: &str = r#"
version: 1
kind: graph
groups:
  team: [act-andrew, act-bruno]
  admins: [act-ragnor]
external_groups:
  team: ["idp:engineering"]
  auditors: ["idp:audit"]
protected_branches: [main]
rules:
  - id: team-read
    allow:
      actors: { group: team }
      actions: [read]
      branch_scope: any
      types: [Package, DependsOn]
  - id: admins-merge
    allow: { actors: { group: admins }, actions: [branch_merge, branch_delete], target_branch_scope: protected }
  - id: agents-invoke
    allow: { actors: { group: team }, actions: [invoke_query], queries: [find_package] }
  - id: team-write
    allow: { actors: { group: team }, actions: [change], branch_scope: unprotected }
"#;

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn a_full_bundle_is_read() {
    let bundle = Bundle::parse(FULL).expect("no mistakes");
    assert_eq!(bundle.kind, Some(Kind::Graph));
    assert_eq!(bundle.actor_count(), 3);
    assert_eq!(bundle.groups.protected, set(&["main"]));
    let ids: Vec<&str> = bundle.rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(
        ids,
        ["team-read", "admins-merge", "agents-invoke", "team-write"]
    );
    let [read, merge, invoke, write] = bundle.rules.as_slice() else {
        panic!("four rules");
    };
    assert_eq!(read.types, Some(set(&["Package", "DependsOn"])));
    assert_eq!(read.scope, Scope::Any);
    assert_eq!(merge.scope, Scope::Target(Protection::Protected));
    assert_eq!(
        merge.actions,
        [Action::BranchMerge, Action::BranchDelete].into()
    );
    assert_eq!(invoke.queries, Some(set(&["find_package"])));
    assert_eq!(write.scope, Scope::Branch(Protection::Unprotected));
    let groups = |actor, claims: &[&str]| {
        let claims: Vec<String> = claims.iter().map(|c| (*c).to_owned()).collect();
        let found = bundle.groups.of(actor, &claims);
        found.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(groups("act-andrew", &[]), ["team"]);
    assert_eq!(groups("jwt:eve", &["idp:engineering"]), ["team"]);
    assert_eq!(groups("act-andrew", &["idp:audit"]), ["auditors", "team"]);
    assert!(groups("jwt:eve", &["team"]).is_empty());
}

#[test]
fn the_kind_follows_from_the_actions() {
    let bundle = |actions: &str| {
        let text = format!(
            "version: 1\ngroups: {{ a: [x] }}\nrules:\n  - {{ id: r, allow: {{ actors: {{ group: a }}, actions: [{actions}] }} }}\n"
        );
        Bundle::parse(&text).expect("no mistakes").kind
    };
    assert_eq!(bundle("read, maintain"), Some(Kind::Graph));
    assert_eq!(bundle("graph_list, cluster_apply"), Some(Kind::Server));
    assert_eq!(Bundle::parse("version: 1\n").expect("no rules").kind, None);
}

#[test]
fn mistakes_are_told_all_at_once_with_their_places() {
    let golden = package().join("src/bundle/golden");
    let mut names: Vec<String> = std::fs::read_dir(&golden)
        .expect("the directory")
        .map(|entry| entry.expect("an entry").file_name())
        .filter_map(|name| Some(name.to_str()?.strip_suffix(".yaml")?.to_owned()))
        .collect();
    names.sort();
    assert!(names.len() >= 12, "{names:?}");
    let mut wrong = Vec::new();
    for name in names {
        let text = std::fs::read_to_string(golden.join(format!("{name}.yaml"))).expect("a bundle");
        let findings = Bundle::parse(&text).expect_err(&name);
        let told: String = findings.iter().map(line).collect();
        let path = golden.join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &told).expect("written");
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        if told != expected {
            wrong.push(format!("--- {name}\n{told}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "not as expected (UPDATE_EXPECT=1 accepts):\n{}",
        wrong.join("\n")
    );
}

fn line(finding: &Finding) -> String {
    let Place { line, column, .. } = finding.place;
    let hint = finding.hint.as_ref();
    let hint = hint.map_or_else(String::new, |hint| format!("\n    hint: {hint}"));
    format!(
        "{line}:{column} {} {}{hint}\n",
        finding.code, finding.message
    )
}

#[test]
fn places_count_characters_and_bytes() {
    let text = "version: 1\ngroups: { \"grüße\": [ä, ä] }\n";
    let found = Bundle::parse(text).expect_err("named twice");
    assert_eq!(found.len(), 1);
    let place = found[0].place;
    assert_eq!((place.line, place.column), (2, 24));
    assert_eq!(&text[place.start..place.end], "ä");
}

#[test]
fn groups_alone_can_be_read() {
    let groups =
        Groups::parse("version: 1\ngroups: { a: [x] }\nprotected_branches: [main]\n").expect("ok");
    assert!(groups.contains("a"));
    assert!(Groups::parse("version: 1\nrules: []\n").is_err());
}

/// Where the package is now: whoever compiled this may have had it elsewhere.
fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .expect("cargo says where the package is")
        .into()
}
