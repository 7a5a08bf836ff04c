//! A compiled bundle and its decisions.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::str::FromStr as _;

use cedar_policy::{
    Authorizer, Context, Decision as CedarDecision, Entities, Entity, EntityId, EntityTypeName,
    EntityUid, PolicyId, PolicySet, Request, RestrictedExpression, Schema,
};

use crate::action::{Action, Kind};
use crate::bundle::{Bundle, Groups, Rule};
use crate::call::{Call, Caller};
use crate::compile::{self, CompileError, NAMESPACE};

/// The only server.
const SERVER: &str = "root";

/// What a bundle is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// A graph.
    Graph(String),
    /// The server.
    Server,
}

/// One bundle, compiled for one graph or for the server.
#[derive(Debug)]
pub struct Policy {
    resource: EntityUid,
    groups: Groups,
    /// What is known of the actors that the bundle names.
    actors: HashMap<String, Entities>,
    set: PolicySet,
    authorizer: Authorizer,
    schema: &'static Schema,
    form: Form,
}

/// What a policy was made of.
#[derive(Debug)]
pub(crate) enum Form {
    /// Rules, of which it can be said why they do not match.
    Rules(Vec<Rule>),
    /// Cedar's own text.
    Cedar,
}

/// Whether a call may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It may.
    Allow {
        /// The rule that says so; the smallest if there are several.
        rule: String,
    },
    /// It may not.
    Deny(Denial),
}

/// Why a call may not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Nobody in particular calls.
    NoActor,
    /// The actor is in no group of the bundle.
    UnknownActor,
    /// No rule allows it.
    NoRule,
    /// A rule forbids it; only Cedar's own texts have such rules.
    Forbidden {
        /// Which.
        rule: String,
    },
}

/// A decision could not be made. It is neither an allow nor a deny.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy cannot be evaluated: {0}")]
pub struct EvaluationError(String);

impl Policy {
    /// Compiles a bundle. Its kind has to be that of the resource.
    pub fn compile(bundle: &Bundle, resource: Resource) -> Result<Policy, CompileError> {
        if bundle.kind.is_some_and(|kind| kind != resource.kind()) {
            let message = format!(
                "a bundle about the {} cannot be bound here",
                resource.kind()
            );
            return Err(CompileError(message));
        }
        let set = compile::policies(bundle, &resource)?;
        let form = Form::Rules(bundle.rules.clone());
        Policy::of_set(set, bundle.groups.clone(), &resource, form)
    }

    pub(crate) fn of_set(
        set: PolicySet,
        groups: Groups,
        resource: &Resource,
        form: Form,
    ) -> Result<Policy, CompileError> {
        let mut policy = Policy {
            resource: uid(resource.entity_type(), resource.id())?,
            actors: HashMap::new(),
            set,
            authorizer: Authorizer::new(),
            schema: compile::schema()?,
            form,
            groups,
        };
        let named = policy.groups.actors().into_iter();
        let named: Vec<String> = named.map(str::to_owned).collect();
        for actor in named {
            let known = policy.entities(&actor, &policy.groups.of(&actor, &[]))?;
            policy.actors.insert(actor, known);
        }
        Ok(policy)
    }

    /// Decides about a call.
    ///
    /// # Errors
    /// The policy cannot be evaluated for this call; that is a fault of the server, not a denial.
    pub fn decide(
        &self,
        caller: &Caller<'_>,
        call: &Call<'_>,
    ) -> Result<Decision, EvaluationError> {
        let Some(actor) = caller.actor else {
            return Ok(Decision::Deny(Denial::NoActor));
        };
        let external = caller.claims.iter().any(|claim| self.is_claimed(claim));
        let known = self.actors.get(actor).filter(|_| !external);
        let made;
        let entities = match known {
            Some(entities) => entities,
            None => {
                let groups = self.groups.of(actor, caller.claims);
                if groups.is_empty() && matches!(self.form, Form::Rules(_)) {
                    return Ok(Decision::Deny(Denial::UnknownActor));
                }
                made = self.entities(actor, &groups).map_err(evaluation)?;
                &made
            }
        };
        let request = self.request(actor, call).map_err(evaluation)?;
        self.answer(&request, entities)
    }

    /// Whether the caller may do this on some branch at all; for calls of which only a look tells
    /// which branch they are about. Never a reason to allow anything by itself.
    pub fn may_ever(&self, caller: &Caller<'_>, action: Action) -> Result<bool, EvaluationError> {
        if matches!(self.form, Form::Cedar) {
            // Its conditions may be about any name.
            return Ok(caller.actor.is_some());
        }
        // No branch is called that: names are never blank.
        let unprotected = Some("");
        let protected = self.groups.protected.first().map(String::as_str);
        for branch in [None, unprotected, protected] {
            let call = Call {
                branch,
                target: branch,
                ..Call::new(action)
            };
            if self.decide(caller, &call)?.is_allowed() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether decisions may depend on the type that a call touches.
    pub fn limits_types(&self) -> bool {
        match &self.form {
            Form::Rules(rules) => rules.iter().any(|rule| rule.types.is_some()),
            Form::Cedar => true,
        }
    }

    /// The policies as Cedar text.
    pub fn to_cedar(&self) -> String {
        let mut texts: Vec<String> = self
            .set
            .policies()
            .filter_map(|policy| policy.to_cedar())
            .collect();
        texts.sort();
        let mut all = texts.join("\n\n");
        all.push('\n');
        all
    }

    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(crate) fn form(&self) -> &Form {
        &self.form
    }

    /// The ids of rules that a decision may name.
    pub(crate) fn rule_ids(&self) -> BTreeSet<String> {
        let ids = self.set.policies().map(|policy| self.rule_of(policy.id()));
        ids.collect()
    }

    fn answer(&self, request: &Request, entities: &Entities) -> Result<Decision, EvaluationError> {
        let response = self.authorizer.is_authorized(request, &self.set, entities);
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(EvaluationError(error.to_string()));
        }
        let smallest = response
            .diagnostics()
            .reason()
            .min_by_key(|id| id.to_string());
        let rule = smallest.map(|id| self.rule_of(id));
        Ok(match (response.decision(), rule) {
            (CedarDecision::Allow, Some(rule)) => Decision::Allow { rule },
            (CedarDecision::Allow, None) => {
                return Err(EvaluationError("nothing determined the answer".to_owned()));
            }
            (CedarDecision::Deny, Some(rule)) => Decision::Deny(Denial::Forbidden { rule }),
            (CedarDecision::Deny, None) => Decision::Deny(Denial::NoRule),
        })
    }

    /// The rule behind a policy: `<rule>:<action>` without the action.
    fn rule_of(&self, id: &PolicyId) -> String {
        let id: &str = id.as_ref();
        match (&self.form, id.rsplit_once(':')) {
            (Form::Rules(_), Some((rule, _))) => rule.to_owned(),
            _ => id.to_owned(),
        }
    }

    fn is_claimed(&self, claim: &String) -> bool {
        let mut external = self.groups.external.values();
        external.any(|values| values.contains(claim))
    }

    fn entities(&self, actor: &str, groups: &BTreeSet<&str>) -> Result<Entities, CompileError> {
        let mut parents = HashSet::new();
        let mut all = Vec::new();
        for group in groups {
            let group = uid("Group", group)?;
            parents.insert(group.clone());
            all.push(Entity::new_no_attrs(group, HashSet::new()));
        }
        all.push(Entity::new_no_attrs(uid("Actor", actor)?, parents));
        all.push(Entity::new_no_attrs(self.resource.clone(), HashSet::new()));
        Entities::from_entities(all, Some(self.schema)).map_err(|e| CompileError(e.to_string()))
    }

    fn request(&self, actor: &str, call: &Call<'_>) -> Result<Request, CompileError> {
        let refused = |error: &dyn std::fmt::Display| CompileError(error.to_string());
        let protected = |branch: Option<&str>| {
            RestrictedExpression::new_bool(
                branch.is_some_and(|branch| self.groups.protected.contains(branch)),
            )
        };
        let is = |value: Option<&str>| RestrictedExpression::new_bool(value.is_some());
        let text = |value: Option<&str>| {
            RestrictedExpression::new_string(value.unwrap_or_default().to_owned())
        };
        let context = [
            ("has_branch", is(call.branch)),
            ("branch", text(call.branch)),
            ("branch_is_protected", protected(call.branch)),
            ("has_target_branch", is(call.target)),
            ("target_branch", text(call.target)),
            ("target_branch_is_protected", protected(call.target)),
            ("has_type", is(call.entity_type)),
            ("entity_type", text(call.entity_type)),
            ("has_query", is(call.query)),
            ("query_name", text(call.query)),
        ];
        let context = context.map(|(name, value)| (name.to_owned(), value));
        let context = Context::from_pairs(context).map_err(|error| refused(&error))?;
        let request = Request::new(
            uid("Actor", actor)?,
            uid("Action", call.action.name())?,
            self.resource.clone(),
            context,
            Some(self.schema),
        );
        request.map_err(|error| refused(&error))
    }
}

impl Decision {
    /// Whether the call may go on.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Decision::Allow { .. })
    }

    /// The rule that decided, if one did.
    pub fn rule(&self) -> Option<&str> {
        match self {
            Decision::Allow { rule } | Decision::Deny(Denial::Forbidden { rule }) => Some(rule),
            Decision::Deny(_) => None,
        }
    }
}

impl Resource {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Resource::Graph(_) => Kind::Graph,
            Resource::Server => Kind::Server,
        }
    }

    pub(crate) fn entity_type(&self) -> &'static str {
        match self {
            Resource::Graph(_) => "Graph",
            Resource::Server => "Server",
        }
    }

    pub(crate) fn id(&self) -> &str {
        match self {
            Resource::Graph(id) => id,
            Resource::Server => SERVER,
        }
    }
}

fn evaluation(error: CompileError) -> EvaluationError {
    EvaluationError(error.0)
}

fn uid(entity_type: &str, id: &str) -> Result<EntityUid, CompileError> {
    let name = EntityTypeName::from_str(&format!("{NAMESPACE}::{entity_type}"));
    let name = name.map_err(|error| CompileError(error.to_string()))?;
    Ok(EntityUid::from_type_name_and_id(name, EntityId::new(id)))
}
