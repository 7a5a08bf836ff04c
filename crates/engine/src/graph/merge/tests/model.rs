//! Random changes on two branches, merged, against a naive model of entities.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// An entity by type and id: its value, and its ends if it is an edge.
type State = BTreeMap<(char, String), String>;

#[derive(Clone, Debug)]
enum Change {
    Put(u8, u8),
    Site(u8, u8),
    Drop(u8),
    Need(u8, u8, u8),
    Forget(u8, u8),
    Keep(u8, u8),
    Leave(u8, u8),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let id = 0..4u8;
    let change = prop_oneof![
        3 => (id.clone(), 0..3u8).prop_map(|(p, v)| Change::Put(p, v)),
        2 => (id.clone(), 0..2u8).prop_map(|(p, v)| Change::Site(p, v)),
        2 => id.clone().prop_map(Change::Drop),
        3 => (id.clone(), id.clone(), 0..3u8).prop_map(|(a, b, v)| Change::Need(a, b, v)),
        1 => (id.clone(), id.clone()).prop_map(|(a, b)| Change::Forget(a, b)),
        2 => (0..2u8, id.clone()).prop_map(|(a, b)| Change::Keep(a, b)),
        1 => (0..2u8, id).prop_map(|(a, b)| Change::Leave(a, b)),
    ];
    proptest::collection::vec(change, 1..5)
}

impl Change {
    fn statement(&self) -> String {
        match self {
            Self::Put(p, v) => format!(r#"upsert Package {{ name: "p{p}", kb: {v} }}"#),
            Self::Site(p, v) => {
                format!(r#"update Package set {{ site: "s{v}" }} where name = "p{p}""#)
            }
            Self::Drop(p) => format!(r#"delete Package where name = "p{p}""#),
            Self::Need(a, b, v) => {
                format!(r#"upsert Needs {{ from: "p{a}", to: "p{b}", floor: "{v}" }}"#)
            }
            Self::Forget(a, b) => {
                format!(r#"delete Needs where from = "p{a}" and to = "p{b}""#)
            }
            Self::Keep(a, b) => format!(r#"upsert Keeps {{ from: "m{a}", to: "p{b}" }}"#),
            Self::Leave(a, b) => {
                format!(r#"delete Keeps where from = "m{a}" and to = "p{b}""#)
            }
        }
    }
}

/// The state of a branch in the model's terms.
async fn observed(fixture: &Fixture, on: &str) -> State {
    let state = fixture.state(on).await;
    state
        .into_iter()
        .map(|(key, value)| {
            let (name, id) = key.split_once(' ').unwrap();
            let kind = name.chars().next().unwrap();
            ((kind, id.to_owned()), value.to_string())
        })
        .collect()
}

/// What the model says of a merge: the result, or the conflicts.
fn merged(
    base: &State,
    ours: &State,
    theirs: &State,
    way: MergeStrategy,
) -> (State, BTreeSet<String>) {
    let mut result = ours.clone();
    let mut conflicts = BTreeSet::new();
    let mut open = BTreeSet::new();
    let keys: BTreeSet<_> = base
        .keys()
        .chain(ours.keys())
        .chain(theirs.keys())
        .collect();
    for key in keys {
        let (b, o, t) = (base.get(key), ours.get(key), theirs.get(key));
        let take_theirs = if o == t || t == b {
            false
        } else if o == b || way == MergeStrategy::Theirs {
            true
        } else {
            if way == MergeStrategy::Fail {
                let kind = match (b, o, t) {
                    (None, Some(_), Some(_)) => "divergent_insert",
                    (_, Some(_), Some(_)) => "divergent_update",
                    _ => "delete_vs_update",
                };
                conflicts.insert(format!("{kind} {} {}", key.0, key.1));
                open.insert(key.clone());
            }
            false
        };
        if take_theirs {
            match t {
                Some(value) => result.insert(key.clone(), value.clone()),
                None => result.remove(key),
            };
        }
    }
    broken(&result, &open, &mut conflicts);
    (result, conflicts)
}

/// The rules of the whole schema on a whole state.
fn broken(state: &State, open: &BTreeSet<(char, String)>, conflicts: &mut BTreeSet<String>) {
    let parsed = |value: &String| serde_json::from_str::<Json>(value).unwrap();
    let mut sites: BTreeMap<String, u32> = BTreeMap::new();
    let mut kept: BTreeMap<String, u32> = BTreeMap::new();
    for (key, value) in state {
        let value = parsed(value);
        match key.0 {
            'P' => {
                if let Some(site) = value[2].get("site").and_then(Json::as_str) {
                    *sites.entry(site.to_owned()).or_default() += 1;
                }
            }
            edge => {
                let (from, to) = (value[0].as_str().unwrap(), value[1].as_str().unwrap());
                let is_there = |id: &str| state.contains_key(&('P', id.to_owned()));
                let fits = is_there(to) && (is_there(from));
                if !fits && !open.contains(key) {
                    conflicts.insert(format!("orphan_edge {edge} {}", key.1));
                }
                if edge == 'K' && is_there(from) {
                    *kept.entry(from.to_owned()).or_default() += 1;
                }
            }
        }
    }
    if sites.values().any(|count| *count > 1) {
        conflicts.insert("unique_violation".to_owned());
    }
    if kept.values().any(|count| *count > 2) {
        conflicts.insert("cardinality_violation".to_owned());
    }
}

/// Kind and entity; of unique and cardinality violations the kind alone, because the model does not
/// choose among the entities of a violation.
fn reported(conflicts: &Conflicts) -> BTreeSet<String> {
    let one = |c: &MergeConflict| match c.kind {
        ConflictKind::UniqueViolation | ConflictKind::CardinalityViolation => {
            c.kind.label().to_owned()
        }
        _ => format!(
            "{} {} {}",
            c.kind.label(),
            c.type_name.chars().next().unwrap(),
            c.entity_id.as_ref().unwrap()
        ),
    };
    let open = conflicts.listed.iter().filter(|c| c.resolution.is_none());
    open.map(one).collect()
}

async fn check(base: Vec<Change>, ours: Vec<Change>, theirs: Vec<Change>) {
    let fixture = Fixture::new(SCHEMA).await;
    fixture
        .run(
            "main",
            r#"insert Person { email: "m0" }  insert Person { email: "m1" }
               insert Package { name: "p0", kb: 0 }  insert Package { name: "p1", kb: 0 }
               insert Package { name: "p2", kb: 0 }  insert Needs { from: "p0", to: "p1" }
               insert Keeps { from: "m0", to: "p0" }  insert Keeps { from: "m0", to: "p1" }"#,
        )
        .await;
    for change in &base {
        // What breaks a rule is refused, and the branch is as before.
        let _ = run(&fixture.graph, "main", &change.statement()).await;
    }
    fixture.fork("side", "main").await;
    let before = observed(&fixture, "main").await;
    for (on, changes) in [("main", &ours), ("side", &theirs)] {
        for change in changes {
            let _ = run(&fixture.graph, on, &change.statement()).await;
        }
    }
    let (ours, theirs) = (
        observed(&fixture, "main").await,
        observed(&fixture, "side").await,
    );
    for way in [
        MergeStrategy::Fail,
        MergeStrategy::Ours,
        MergeStrategy::Theirs,
    ] {
        let (expected, conflicts) = merged(&before, &ours, &theirs, way);
        fixture.fork("copy", "main").await;
        let copy = fixture.merge("side", "copy", strategy(way)).await;
        match copy {
            Ok(_) => {
                assert_eq!(conflicts, BTreeSet::new(), "{way:?}");
                assert_eq!(observed(&fixture, "copy").await, expected, "{way:?}");
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::MergeConflict, "{error:?}");
                let found = error.detail().merge_conflicts.as_ref().unwrap();
                assert_eq!(reported(found), conflicts, "{way:?}");
                assert_eq!(observed(&fixture, "copy").await, ours, "{way:?}");
            }
        }
        fixture
            .graph
            .delete_branch(&branch("copy"), None, &Authorship::default())
            .await
            .unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_merge_is_what_the_model_says(base in changes(), ours in changes(), theirs in changes()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(base, ours, theirs));
    }
}
