//! Decisions: a truth table, and bundles by chance against an evaluator that reads the rules.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::action::ScopeTaken;
use crate::bundle::{Protection, Scope};

const ACTOR: Caller<'static> = Caller {
    actor: Some("act-a"),
    claims: &[],
};

fn policy(text: &str) -> Policy {
    let bundle = Bundle::parse(text).unwrap_or_else(|found| panic!("{found:?}\n{text}"));
    let resource = match bundle.kind {
        Some(Kind::Server) => Resource::Server,
        _ => Resource::Graph("shop".to_owned()),
    };
    Policy::compile(&bundle, resource).expect("compiles")
}

fn allowed(policy: &Policy, call: &Call<'_>) -> bool {
    policy.decide(&ACTOR, call).expect("evaluates").is_allowed()
}

/// Every action × every scope that it takes × what the call is about.
#[test]
fn truth_table() {
    let branches = [None, Some("main"), Some("dev")];
    let mut rows = 0;
    for action in Action::ALL {
        let scopes: &[&str] = match action.scope() {
            ScopeTaken::None => &[""],
            _ => &["", "any", "protected", "unprotected"],
        };
        for scope in scopes {
            let line = match (action.scope(), *scope) {
                (_, "") => String::new(),
                (taken, scope) => format!(", {}: {scope}", taken.key()),
            };
            let policy = policy(&format!(
                "version: 1\ngroups: {{ a: [act-a] }}\nprotected_branches: [main]\nrules:\n  \
                 - {{ id: r, allow: {{ actors: {{ group: a }}, actions: [{action}]{line} }} }}\n"
            ));
            for branch in branches {
                for target in branches {
                    let call = Call {
                        branch,
                        target,
                        ..Call::new(action)
                    };
                    let about = match action.scope() {
                        ScopeTaken::Target => target,
                        _ => branch,
                    };
                    let expected = match *scope {
                        "protected" => about == Some("main"),
                        "unprotected" => about == Some("dev"),
                        _ => true,
                    };
                    assert_eq!(
                        allowed(&policy, &call),
                        expected,
                        "{action} {scope:?} {call:?}"
                    );
                    rows += 1;
                }
            }
            for other in Action::ALL.into_iter().filter(|other| *other != action) {
                // An action of the other kind is a call that cannot be made there at all.
                if other.kind() == action.kind() {
                    assert!(!allowed(&policy, &Call::new(other).on("main").to("main")));
                }
            }
        }
    }
    assert_eq!(rows, 9 * (7 * 4 + 9));
}

const TYPED: &str = "version: 1
groups: { a: [act-a] }
rules:
  - { id: items, allow: { actors: { group: a }, actions: [read, change], types: [Item] } }
  - { id: needs, allow: { actors: { group: a }, actions: [read], types: [Needs, \"O'\\\"x\\\\\"] } }
  - { id: find, allow: { actors: { group: a }, actions: [invoke_query], queries: [find] } }
";

#[test]
fn types_add_up_and_do_not_limit_metadata() {
    let policy = policy(TYPED);
    let read = Call::new(Action::Read).on("main");
    assert!(allowed(&policy, &read), "metadata");
    assert!(allowed(&policy, &read.of_type("Item")));
    assert!(allowed(&policy, &read.of_type("Needs")));
    assert!(allowed(&policy, &read.of_type("O'\"x\\")), "names are data");
    assert!(!allowed(&policy, &read.of_type("Other")));
    let change = Call::new(Action::Change).on("main");
    assert!(allowed(&policy, &change.of_type("Item")));
    assert!(!allowed(&policy, &change.of_type("Needs")));
}

#[test]
fn queries_limit_invocation() {
    let policy = policy(TYPED);
    let invoke = Call::new(Action::InvokeQuery);
    assert!(allowed(&policy, &invoke.of_query("find")));
    assert!(!allowed(&policy, &invoke.of_query("drop")));
    assert!(!allowed(&policy, &invoke), "no query, no list");
}

#[test]
fn who_is_unknown_is_told_so() {
    let policy = policy(TYPED);
    let call = Call::new(Action::Read);
    let decide = |actor| {
        let caller = Caller { actor, claims: &[] };
        policy.decide(&caller, &call).expect("evaluates")
    };
    assert_eq!(decide(None), Decision::Deny(Denial::NoActor));
    assert_eq!(decide(Some("act-b")), Decision::Deny(Denial::UnknownActor));
    assert_eq!(decide(Some("a")), Decision::Deny(Denial::UnknownActor));
    let denied = policy.decide(&ACTOR, &Call::new(Action::Export));
    assert_eq!(denied, Ok(Decision::Deny(Denial::NoRule)));
}

#[test]
fn claims_put_actors_into_groups() {
    let policy = policy(
        "version: 1\ngroups: { a: [act-a] }\nexternal_groups: { ops: [\"idp:ops\"] }\nrules:\n  \
         - { id: up, allow: { actors: { group: ops }, actions: [maintain] } }\n",
    );
    let decide = |actor, claims: &[&str]| {
        let claims: Vec<String> = claims.iter().map(|c| (*c).to_owned()).collect();
        let caller = Caller {
            actor: Some(actor),
            claims: &claims,
        };
        policy.decide(&caller, &Call::new(Action::Maintain))
    };
    let up = Decision::Allow {
        rule: "up".to_owned(),
    };
    assert_eq!(decide("jwt:eve", &["idp:ops"]), Ok(up.clone()));
    assert_eq!(decide("act-a", &["x", "idp:ops"]), Ok(up));
    assert_eq!(decide("act-a", &[]), Ok(Decision::Deny(Denial::NoRule)));
    let unknown = Decision::Deny(Denial::UnknownActor);
    assert_eq!(decide("jwt:eve", &["ops"]), Ok(unknown));
}

#[test]
fn a_call_of_the_other_kind_is_an_error_and_no_denial() {
    let policy = policy(TYPED);
    let error = policy.decide(&ACTOR, &Call::new(Action::GraphList));
    assert!(error.is_err(), "{error:?}");
    let bundle = Bundle::parse(TYPED).expect("ok");
    assert!(Policy::compile(&bundle, Resource::Server).is_err());
}

#[test]
fn explanations_name_the_first_misfit() {
    let policy = policy(
        "version: 1\ngroups: { team: [act-a], admins: [act-z] }\nprotected_branches: [main]\nrules:\n  \
         - { id: team-write, allow: { actors: { group: team }, actions: [change], branch_scope: unprotected } }\n  \
         - { id: team-read, allow: { actors: { group: team }, actions: [read], types: [Item] } }\n  \
         - { id: admins-write, allow: { actors: { group: admins }, actions: [change] } }\n",
    );
    let explain = |call: &Call<'_>| {
        let told = policy.explain(&ACTOR, call).expect("evaluates");
        let considered = told.considered.iter();
        let lines = considered.map(|c| format!("{}: {}", c.rule, c.why_not));
        (told.sentence, lines.collect::<Vec<_>>())
    };
    let (sentence, lines) = explain(&Call::new(Action::Change).on("main"));
    assert_eq!(sentence, "deny: act-a may not change on branch 'main'");
    assert_eq!(
        lines,
        [
            "team-write: branch_scope unprotected, main is protected",
            "team-read: it allows read",
            "admins-write: act-a is not in group admins",
        ]
    );
    let (sentence, lines) = explain(&Call::new(Action::Read).on("main").of_type("Part"));
    assert_eq!(
        sentence,
        "deny: act-a may not read type Part on branch 'main'"
    );
    assert_eq!(lines[1], "team-read: types Item, not Part");
    let (sentence, lines) = explain(&Call::new(Action::Change).on("dev"));
    assert_eq!(sentence, "allow: act-a may change on branch 'dev'");
    assert_eq!(lines.len(), 2, "{lines:?}");
    let (_, lines) = explain(&Call::new(Action::Change));
    let expected = "team-write: branch_scope unprotected, and the call is about no branch";
    assert_eq!(lines[0], expected);
}

#[test]
fn what_is_shown_as_cedar_decides_the_same() {
    let policy = policy(TYPED);
    let text = policy.to_cedar();
    assert!(text.contains("@id(\"items:read\")"), "{text}");
    let (again, warnings) =
        crate::CedarBundle::parse(&text, policy.groups.clone()).expect("its own text");
    assert_eq!(warnings, []);
    let again = again
        .compile(&Resource::Graph("shop".to_owned()))
        .expect("compiles");
    for name in ["Item", "Needs", "O'\"x\\", "Other"] {
        let call = Call::new(Action::Read).of_type(name);
        assert_eq!(allowed(&policy, &call), allowed(&again, &call), "{name}");
    }
    let decision = again.decide(&ACTOR, &Call::new(Action::Change).of_type("Item"));
    let rule = "items:change".to_owned();
    assert_eq!(decision, Ok(Decision::Allow { rule }));
}

/// What the rules say, read off them without Cedar: every rule that matches.
fn matching<'b>(bundle: &'b Bundle, caller: &Caller<'_>, call: &Call<'_>) -> BTreeSet<&'b str> {
    let protected = |branch: &str| bundle.groups.protected.iter().any(|b| b == branch);
    let fits = |wanted: Protection, branch: Option<&str>| match (wanted, branch) {
        (_, None) => false,
        (Protection::Protected, Some(branch)) => protected(branch),
        (Protection::Unprotected, Some(branch)) => !protected(branch),
    };
    let member = |group: &str| {
        let named = bundle.groups.members.get(group);
        let claimed = bundle.groups.external.get(group);
        named.is_some_and(|m| m.iter().any(|m| Some(m.as_str()) == caller.actor))
            || claimed.is_some_and(|c| c.iter().any(|c| caller.claims.contains(c)))
    };
    let rules = bundle.rules.iter().filter(|rule| {
        rule.actions.contains(&call.action)
            && member(&rule.group)
            && match rule.scope {
                Scope::Any => true,
                Scope::Branch(wanted) => fits(wanted, call.branch),
                Scope::Target(wanted) => fits(wanted, call.target),
            }
            && match (&rule.types, call.entity_type) {
                (Some(types), Some(name)) => types.contains(name),
                _ => true,
            }
            && match (&rule.queries, call.query) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(queries), Some(name)) => queries.contains(name),
            }
    });
    rules.map(|rule| rule.id.as_str()).collect()
}

const ACTORS: [&str; 4] = ["a", "b", "c", "Gr\"o\\up"];
const BRANCHES: [&str; 3] = ["main", "dev", "re'view/x"];
const NAMES: [&str; 3] = ["Item", "Ne\"eds", "x y"];

fn some<T: Clone + std::fmt::Debug + 'static>(
    list: &'static [T],
) -> impl Strategy<Value = Option<T>> {
    prop::option::of(prop::sample::select(list))
}

fn names() -> impl Strategy<Value = Option<BTreeSet<String>>> {
    let one = prop::sample::select(&NAMES[..]).prop_map(str::to_owned);
    prop::option::of(prop::collection::btree_set(one, 1..3))
}

fn graph_action() -> impl Strategy<Value = Action> {
    prop::sample::select(&Action::ALL[..10])
}

fn rule() -> impl Strategy<Value = Rule> {
    let group = prop::sample::select(&["g", "h", "e"][..]);
    let protection = prop::sample::select(
        &[
            None,
            Some(Protection::Protected),
            Some(Protection::Unprotected),
        ][..],
    );
    let parts = (
        group,
        prop::collection::btree_set(graph_action(), 1..4),
        protection,
        names(),
        names(),
    );
    parts.prop_map(|(group, actions, protection, types, queries)| {
        let all = |wanted: fn(Action) -> bool| actions.iter().all(|action| wanted(*action));
        let scope = match protection {
            Some(p) if all(|a| a.scope() == ScopeTaken::Branch) => Scope::Branch(p),
            Some(p) if all(|a| a.scope() == ScopeTaken::Target) => Scope::Target(p),
            _ => Scope::Any,
        };
        Rule {
            id: String::new(),
            group: group.to_owned(),
            scope,
            types: types.filter(|_| all(Action::takes_types)),
            queries: queries.filter(|_| all(Action::takes_queries)),
            actions,
            place: Default::default(),
        }
    })
}

fn bundle() -> impl Strategy<Value = Bundle> {
    let members = || {
        let one = prop::sample::select(&ACTORS[..]).prop_map(str::to_owned);
        prop::collection::btree_set(one, 0..4)
    };
    let branch = prop::sample::select(&BRANCHES[..]).prop_map(str::to_owned);
    let parts = (
        members(),
        members(),
        prop::collection::btree_set(branch, 0..3),
        prop::collection::vec(rule(), 0..6),
    );
    parts.prop_map(|(g, h, protected, rules)| {
        let mut groups = Groups {
            protected,
            ..Groups::default()
        };
        groups.members = [("g".to_owned(), g), ("h".to_owned(), h)].into();
        let claims = BTreeSet::from(["idp".to_owned()]);
        groups.external = [("e".to_owned(), claims)].into();
        let numbered = rules.into_iter().enumerate();
        let rules = numbered.map(|(n, rule)| Rule {
            id: format!("r\"{n}\\:x"),
            ..rule
        });
        Bundle {
            kind: Some(Kind::Graph),
            groups,
            rules: rules.collect(),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn cedar_decides_as_the_rules_say(
        bundle in bundle(),
        actor in some(&ACTORS),
        claimed in any::<bool>(),
        action in graph_action(),
        branch in some(&BRANCHES),
        target in some(&BRANCHES),
        entity_type in some(&NAMES),
        query in some(&NAMES),
    ) {
        let claims: &[String] = &[if claimed { "idp" } else { "other" }.to_owned()];
        let caller = Caller { actor, claims };
        let call = Call { action, branch, target, entity_type, query };
        let policy = Policy::compile(&bundle, Resource::Graph("sh\"op".to_owned())).expect("compiles");
        let decision = policy.decide(&caller, &call).expect("evaluates");
        let matching = match actor {
            Some(_) => matching(&bundle, &caller, &call),
            None => BTreeSet::new(),
        };
        prop_assert_eq!(decision.rule(), matching.first().copied());
        prop_assert_eq!(decision.is_allowed(), !matching.is_empty());
        if query.is_none() && decision.is_allowed() {
            prop_assert!(policy.may_ever(&caller, action).expect("evaluates"));
        }
        let told = policy.explain(&caller, &call).expect("evaluates");
        let silent = bundle.rules.len() - told.considered.len();
        prop_assert_eq!(silent, matching.len(), "each rule either matches or says why not");
    }
}
