//! What bundles decide: one call explained, or many tested.

use std::path::PathBuf;

use omnigraph_policy::{Action, Call, Caller, Case, Kind, describe};
use serde_json::{Map, Value, json};

use super::found::{self, CLUSTER, Found, compile};
use super::{Context, bundles};
use crate::error::{Error, Exit, Result, diagnostic_line};
use crate::output::Rendered;

#[derive(Debug, clap::Args)]
pub(crate) struct ExplainArgs {
    /// Who calls
    #[arg(long)]
    actor: String,
    /// What the call wants, such as read or branch_merge
    #[arg(long, value_parser = action)]
    action: Action,
    /// The branch that it is about
    #[arg(long)]
    branch: Option<String>,
    /// The branch that it would change
    #[arg(long)]
    target_branch: Option<String>,
    /// The type whose entities it touches
    #[arg(long = "type", value_name = "TYPE")]
    entity_type: Option<String>,
    /// The stored query that it runs
    #[arg(long, value_name = "NAME")]
    query: Option<String>,
    /// A value of the groups claim that comes with the credential
    #[arg(long, value_name = "GROUP")]
    claim_group: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// File with the cases
    #[arg(long, value_name = "FILE")]
    tests: PathBuf,
    /// Directory with cluster.yaml; without it, and with --control or --cluster, what is applied
    dir: Option<PathBuf>,
}

fn action(name: &str) -> std::result::Result<Action, String> {
    Action::parse(name).ok_or_else(|| {
        let known = Action::ALL.map(Action::name).join(", ");
        format!("known actions: {known}")
    })
}

pub(super) async fn explain(args: &ExplainArgs, context: &Context) -> Result<()> {
    let bundles = bundles(context, None).await?;
    let graph = context.graph_name();
    let caller = Caller {
        actor: Some(&args.actor),
        claims: &args.claim_group,
    };
    let call = Call {
        action: args.action,
        branch: args.branch.as_deref(),
        target: args.target_branch.as_deref(),
        entity_type: args.entity_type.as_deref(),
        query: args.query.as_deref(),
    };
    let scope = scope(&bundles, args.action, graph.as_deref())?;
    let bundle = bundles.iter().find(|bundle| bundle.is_bound_to(&scope));
    let (allowed, mut text, rule, considered) = match bundle {
        None => {
            let (allowed, text) = without_policy(&scope, &caller, &call);
            (allowed, text, None, Vec::new())
        }
        Some(bundle) => {
            let told = compile(bundle, &scope)?.explain(&caller, &call);
            let told = told.map_err(|error| Error::failed(error.to_string()))?;
            let rule = told.decision.rule().map(str::to_owned);
            let allowed = told.decision.is_allowed();
            (allowed, told.sentence, rule, told.considered)
        }
    };
    if let Some(rule) = &rule {
        text.push_str(&format!("\n{rule}: matches"));
    }
    for other in &considered {
        text.push_str(&format!("\n{}: {}", other.rule, other.why_not));
    }
    let mut json = Map::new();
    json.insert("allowed".to_owned(), json!(allowed));
    json.insert("actor".to_owned(), json!(args.actor));
    json.insert("action".to_owned(), json!(args.action.name()));
    let optional = [
        ("branch", &args.branch),
        ("target_branch", &args.target_branch),
        ("type", &args.entity_type),
        ("query", &args.query),
        ("matched_rule", &rule),
    ];
    for (key, value) in optional {
        json.extend(value.as_ref().map(|value| (key.to_owned(), json!(value))));
    }
    let others = considered.iter();
    let others = others.map(|other| json!({"rule": other.rule, "why_not": other.why_not}));
    json.insert("considered".to_owned(), others.collect());
    let rendered = Rendered::document(text, Value::Object(json).to_string());
    context.output.show(&rendered)
}

/// Where no bundle applies, and callers prove who they are.
fn without_policy(scope: &str, caller: &Caller<'_>, call: &Call<'_>) -> (bool, String) {
    let allowed = call.action == Action::Read;
    let (verdict, may) = match allowed {
        true => ("allow", "may"),
        false => ("deny", "may not"),
    };
    let actor = caller.actor.unwrap_or("nobody");
    let what = match scope {
        CLUSTER => "cluster".to_owned(),
        graph => format!("graph '{graph}'"),
    };
    let sentence = format!(
        "{verdict}: {actor} {may} {}: no policy applies to {what}",
        describe(call)
    );
    (allowed, sentence)
}

/// What decides about an action: the cluster, or a graph.
fn scope(bundles: &[Found], action: Action, graph: Option<&str>) -> Result<String> {
    if action.kind() == Kind::Server {
        return Ok(CLUSTER.to_owned());
    }
    if let Some(graph) = graph {
        return Ok(graph.to_owned());
    }
    let bound = bundles.iter().flat_map(|bundle| &bundle.wire.applies_to);
    let mut graphs: Vec<&String> = bound.filter(|scope| *scope != CLUSTER).collect();
    graphs.sort();
    match graphs.as_slice() {
        [only] => Ok((*only).clone()),
        [] => Err(Error::usage("which graph? no policy is bound to one")
            .with_hint("name one with --graph")),
        several => {
            let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
            let message = format!("which graph? policies are bound to {}", names.join(", "));
            Err(Error::usage(message).with_hint("name one with --graph"))
        }
    }
}

pub(super) async fn test(args: &TestArgs, context: &Context) -> Result<()> {
    let cases = Case::parse(&found::read(&args.tests)?).map_err(|found| {
        let file = args.tests.display().to_string();
        let mut error = Error::failed(format!("{file} is not valid"));
        let found = found.iter().map(|f| found::diagnostic(f, &file));
        error.details = found.map(|d| diagnostic_line(&(&d).into())).collect();
        error
    })?;
    let bundles = bundles(context, args.dir.as_ref()).await?;
    let given = context.graph_name();
    let mut failed = Vec::new();
    let mut lines = Vec::new();
    for case in &cases {
        let graph = case.graph.as_deref().or(given.as_deref());
        let scope = scope(&bundles, case.action, graph)?;
        let bundle = bundles.iter().find(|bundle| bundle.is_bound_to(&scope));
        let (allowed, rule, passed) = match bundle {
            None => {
                let allowed = case.action == Action::Read;
                (allowed, None, allowed == case.allow)
            }
            Some(bundle) => {
                let outcome = case.run(&compile(bundle, &scope)?);
                let outcome = outcome.map_err(|error| Error::failed(error.to_string()))?;
                (outcome.allowed, outcome.rule, outcome.passed)
            }
        };
        if passed {
            continue;
        }
        let word = |allowed: bool| if allowed { "allow" } else { "deny" };
        let (expected, actual) = (word(case.allow), word(allowed));
        let wanted = match (&case.rule, expected == actual) {
            (Some(rule), true) => format!("{expected} by {rule}"),
            _ => expected.to_owned(),
        };
        let came = match &rule {
            Some(rule) => format!("{actual} by {rule}"),
            None => actual.to_owned(),
        };
        lines.push(format!("{}: expected {wanted}, got {came}", case.id));
        let mut one = json!({"id": case.id, "expected": wanted, "actual": actual});
        if let Some(rule) = rule {
            one["rule"] = json!(rule);
        }
        failed.push(one);
    }
    let passed = cases.len() - failed.len();
    let mut text = format!("{passed} passed, {} failed", failed.len());
    for line in &lines {
        text.push_str(&format!("\n{line}"));
    }
    let json = json!({"passed": passed, "failed": failed});
    let rendered = Rendered::document(text, json.to_string());
    context.output.show(&rendered)?;
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Error::silent(Exit::Failed)),
    }
}
