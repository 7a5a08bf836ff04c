//! Why a call is decided as it is.

use crate::bundle::{Protection, Rule, Scope};
use crate::call::{Call, Caller};
use crate::policy::{Decision, Denial, EvaluationError, Form, Policy};

/// A decision, and what was considered for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// The decision in one sentence.
    pub sentence: String,
    /// Rules that did not match, in the order of the bundle.
    pub considered: Vec<Considered>,
}

/// A rule that did not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    /// Its id.
    pub rule: String,
    /// The first thing that did not fit.
    pub why_not: String,
}

impl Policy {
    /// Decides about a call, and says why every other rule did not match.
    pub fn explain(
        &self,
        caller: &Caller<'_>,
        call: &Call<'_>,
    ) -> Result<Explanation, EvaluationError> {
        let decision = self.decide(caller, call)?;
        let considered = match self.form() {
            Form::Rules(rules) => rules
                .iter()
                .filter_map(|rule| {
                    let why_not = self.why_not(rule, caller, call)?;
                    let rule = rule.id.clone();
                    Some(Considered { rule, why_not })
                })
                .collect(),
            Form::Cedar => self
                .rule_ids()
                .into_iter()
                .filter(|id| decision.rule() != Some(id))
                .map(|rule| Considered {
                    rule,
                    why_not: "did not decide".to_owned(),
                })
                .collect(),
        };
        let mut sentence = sentence(decision.is_allowed(), caller, call);
        match &decision {
            Decision::Deny(Denial::NoActor) => {
                sentence.push_str(": nobody in particular is allowed nothing");
            }
            Decision::Deny(Denial::UnknownActor) => {
                sentence.push_str(": the actor is in no group of the bundle");
            }
            Decision::Deny(Denial::Forbidden { rule }) => {
                sentence.push_str(&format!(": '{rule}' forbids it"));
            }
            Decision::Deny(Denial::NoRule) | Decision::Allow { .. } => {}
        }
        Ok(Explanation {
            decision,
            sentence,
            considered,
        })
    }

    /// The first part of a rule that does not fit; `None` if it matches.
    fn why_not(&self, rule: &Rule, caller: &Caller<'_>, call: &Call<'_>) -> Option<String> {
        let actor = caller.actor.unwrap_or("nobody");
        let groups = self.groups().of(actor, caller.claims);
        if caller.actor.is_none() || !groups.contains(rule.group.as_str()) {
            return Some(format!("{actor} is not in group {}", rule.group));
        }
        if !rule.actions.contains(&call.action) {
            let allowed: Vec<&str> = rule.actions.iter().map(|action| action.name()).collect();
            return Some(format!("it allows {}", allowed.join(", ")));
        }
        if let Some(reason) = self.out_of_scope(rule.scope, call) {
            return Some(reason);
        }
        if let (Some(types), Some(name)) = (&rule.types, call.entity_type)
            && !types.contains(name)
        {
            return Some(format!("types {}, not {name}", list(types)));
        }
        if let Some(queries) = &rule.queries {
            match call.query {
                None => return Some(format!("queries {}, and no query is named", list(queries))),
                Some(name) if !queries.contains(name) => {
                    return Some(format!("queries {}, not {name}", list(queries)));
                }
                Some(_) => {}
            }
        }
        None
    }

    fn out_of_scope(&self, scope: Scope, call: &Call<'_>) -> Option<String> {
        let (wanted, branch) = match scope {
            Scope::Any => return None,
            Scope::Branch(protection) => (protection, call.branch),
            Scope::Target(protection) => (protection, call.target),
        };
        let (key, word) = scope.declared()?;
        let Some(branch) = branch else {
            return Some(format!("{key} {word}, and the call is about no branch"));
        };
        let found = match self.groups().protected.contains(branch) {
            true => Protection::Protected,
            false => Protection::Unprotected,
        };
        (found != wanted).then(|| format!("{key} {word}, {branch} is {}", found.name()))
    }
}

fn list(names: &std::collections::BTreeSet<String>) -> String {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.join(", ")
}

/// `deny: act-bruno may not change main`.
fn sentence(allowed: bool, caller: &Caller<'_>, call: &Call<'_>) -> String {
    let (verdict, may) = match allowed {
        true => ("allow", "may"),
        false => ("deny", "may not"),
    };
    let actor = caller.actor.unwrap_or("nobody");
    format!("{verdict}: {actor} {may} {}", describe(call))
}

/// `change branch 'main'`: what a call wants, for people.
pub fn describe(call: &Call<'_>) -> String {
    let mut text = call.action.name().to_owned();
    if let Some(query) = call.query {
        text.push_str(&format!(" '{query}'"));
    }
    if let Some(name) = call.entity_type {
        text.push_str(&format!(" type {name}"));
    }
    match (call.branch, call.target) {
        (None, None) => {}
        (Some(branch), None) => text.push_str(&format!(" on branch '{branch}'")),
        (None, Some(target)) => text.push_str(&format!(" on branch '{target}'")),
        (Some(branch), Some(target)) => {
            text.push_str(&format!(" from branch '{branch}' to branch '{target}'"));
        }
    }
    text
}
