//! From a bundle to Cedar: one `permit` per rule and action, validated strictly.
//!
//! Policies are built as Cedar's JSON form, so that no name of a bundle is ever pasted into a text.

use std::sync::LazyLock;

use cedar_policy::{Policy as CedarPolicy, PolicyId, PolicySet, Schema, ValidationMode, Validator};
use serde_json::{Value, json};

use crate::action::{Action, Kind};
use crate::bundle::{Bundle, Protection, Rule, Scope};
use crate::policy::Resource;

/// The namespace of every entity and action.
pub(crate) const NAMESPACE: &str = "Omnigraph";

/// Cedar does not take what a bundle compiles to: a defect of this program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy does not compile: {0}")]
pub struct CompileError(pub(crate) String);

/// The schema of calls, once per process.
pub(crate) fn schema() -> Result<&'static Schema, CompileError> {
    static SCHEMA: LazyLock<Result<Schema, String>> = LazyLock::new(|| {
        let read = Schema::from_cedarschema_str(&schema_text());
        read.map(|(schema, _)| schema).map_err(|e| e.to_string())
    });
    SCHEMA.as_ref().map_err(|e| CompileError(e.clone()))
}

/// The same as text, for people who write Cedar.
pub fn schema_text() -> String {
    let names = |kind: Kind| {
        let actions = Action::ALL.into_iter().filter(|a| a.kind() == kind);
        let quoted: Vec<String> = actions.map(|a| format!("\"{a}\"")).collect();
        quoted.join(", ")
    };
    let (graph, server) = (names(Kind::Graph), names(Kind::Server));
    format!(
        "namespace {NAMESPACE} {{
  type Call = {{
    has_branch: Bool,
    branch: String,
    branch_is_protected: Bool,
    has_target_branch: Bool,
    target_branch: String,
    target_branch_is_protected: Bool,
    has_type: Bool,
    entity_type: String,
    has_query: Bool,
    query_name: String,
  }};
  entity Group;
  entity Actor in [Group];
  entity Graph;
  entity Server;
  action {graph} appliesTo {{ principal: Actor, resource: Graph, context: Call }};
  action {server} appliesTo {{ principal: Actor, resource: Server, context: Call }};
}}
"
    )
}

/// The policies of a bundle for one graph, or for the server.
pub(crate) fn policies(bundle: &Bundle, resource: &Resource) -> Result<PolicySet, CompileError> {
    let failed = |error: &dyn std::fmt::Display| CompileError(error.to_string());
    let mut set = PolicySet::new();
    for rule in &bundle.rules {
        for action in &rule.actions {
            let id = PolicyId::new(policy_id(&rule.id, *action));
            let policy = CedarPolicy::from_json(Some(id), permit(rule, *action, resource));
            let policy = policy.map_err(|error| failed(&error))?;
            set.add(policy).map_err(|error| failed(&error))?;
        }
    }
    let validated = Validator::new(schema()?.clone()).validate(&set, ValidationMode::Strict);
    match validated.validation_errors().next() {
        None => Ok(set),
        Some(error) => Err(failed(error)),
    }
}

/// `<rule>:<action>`.
pub(crate) fn policy_id(rule: &str, action: Action) -> String {
    format!("{rule}:{action}")
}

fn permit(rule: &Rule, action: Action, resource: &Resource) -> Value {
    let conditions: Vec<Value> = conditions(rule)
        .into_iter()
        .map(|body| json!({"kind": "when", "body": body}))
        .collect();
    json!({
        "effect": "permit",
        "principal": {"op": "in", "entity": entity("Group", &rule.group)},
        "action": {"op": "==", "entity": entity("Action", action.name())},
        "resource": {"op": "==", "entity": entity(resource.entity_type(), resource.id())},
        "conditions": conditions,
        "annotations": {"id": policy_id(&rule.id, action)},
    })
}

fn entity(entity_type: &str, id: &str) -> Value {
    json!({"type": format!("{NAMESPACE}::{entity_type}"), "id": id})
}

fn conditions(rule: &Rule) -> Vec<Value> {
    let mut all = Vec::new();
    let (has, is_protected, protection) = match rule.scope {
        Scope::Any => ("", "", None),
        Scope::Branch(protection) => ("has_branch", "branch_is_protected", Some(protection)),
        Scope::Target(protection) => (
            "has_target_branch",
            "target_branch_is_protected",
            Some(protection),
        ),
    };
    match protection {
        None => {}
        Some(Protection::Protected) => all.push(and(context(has), context(is_protected))),
        Some(Protection::Unprotected) => all.push(and(context(has), not(context(is_protected)))),
    }
    if let Some(types) = &rule.types {
        let listed = contains(types, context("entity_type"));
        all.push(or(not(context("has_type")), listed));
    }
    if let Some(queries) = &rule.queries {
        all.push(contains(queries, context("query_name")));
    }
    all
}

fn context(attribute: &str) -> Value {
    json!({".": {"left": {"Var": "context"}, "attr": attribute}})
}

fn and(left: Value, right: Value) -> Value {
    json!({"&&": {"left": left, "right": right}})
}

fn or(left: Value, right: Value) -> Value {
    json!({"||": {"left": left, "right": right}})
}

fn not(arg: Value) -> Value {
    json!({"!": {"arg": arg}})
}

fn contains<'a>(list: impl IntoIterator<Item = &'a String>, one: Value) -> Value {
    let values: Vec<Value> = list
        .into_iter()
        .map(|text| json!({"Value": text}))
        .collect();
    json!({"contains": {"left": {"Set": values}, "right": one}})
}
