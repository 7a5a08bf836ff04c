//! Who may do what: what decides about the calls of a graph, and the decision at their door.

use std::sync::Arc;
use std::time::Duration;

use omnigraph_control_plane::serving::{ServingGraph, ServingPolicy};
use omnigraph_engine::{Clock, Error, TypeGate, TypeUse};
use omnigraph_policy::{
    Action, Actor, Call, Caller, EvaluationError, Format, Policy, Resource, Source, describe,
};
use omnigraph_proto::common::v1::ErrorReason;
use omnigraph_proto::error::WireError;

use crate::options::Access;
use crate::revision_source::{RevisionSource, SourceError};
use crate::state::{ReasonCode, Trouble};

/// A policy is loaded within this time, or not at all.
const LOAD_MAX: Duration = Duration::from_secs(15);

/// What decides about calls.
#[derive(Clone, Debug)]
pub(crate) enum Gate {
    /// Nothing: everything is allowed.
    Open,
    /// No policy where callers prove who they are: metadata and data may be read.
    ReadOnly,
    /// No policy about the server, or one that cannot be used: nothing is allowed.
    Closed,
    /// A bundle.
    Policy(Arc<Policy>),
}

impl Gate {
    /// What decides about a graph without a policy.
    pub(crate) fn of_graphs(access: &Access) -> Gate {
        match demands(access) {
            true => Gate::ReadOnly,
            false => Gate::Open,
        }
    }

    /// What decides about the server without a policy.
    pub(crate) fn of_server(access: &Access) -> Gate {
        match demands(access) {
            true => Gate::Closed,
            false => Gate::Open,
        }
    }
}

/// Whether callers prove who they are.
fn demands(access: &Access) -> bool {
    matches!(access, Access::Credentials(credentials) if credentials.are_demanded())
}

/// Whether nobody can be told from anybody, so that no policy can be enforced.
pub(crate) fn knows_nobody(access: &Access) -> bool {
    matches!(access, Access::Credentials(credentials) if credentials.is_open())
}

/// Loads what decides about a graph.
pub(crate) async fn load_graph(
    source: &dyn RevisionSource,
    access: &Access,
    clock: &dyn Clock,
    spec: &ServingGraph,
) -> Result<Gate, Trouble> {
    match &spec.policy {
        None => Ok(Gate::of_graphs(access)),
        Some(policy) => {
            let resource = Resource::Graph(spec.root.id.to_string());
            load(source, access, clock, policy, resource).await
        }
    }
}

/// Loads what decides about the server.
pub(crate) async fn load_server(
    source: &dyn RevisionSource,
    access: &Access,
    clock: &dyn Clock,
    policy: Option<&ServingPolicy>,
) -> Result<Gate, Trouble> {
    match policy {
        None => Ok(Gate::of_server(access)),
        Some(policy) => load(source, access, clock, policy, Resource::Server).await,
    }
}

async fn load(
    source: &dyn RevisionSource,
    access: &Access,
    clock: &dyn Clock,
    policy: &ServingPolicy,
    resource: Resource,
) -> Result<Gate, Trouble> {
    let invalid = |message: String| Trouble {
        code: ReasonCode::PolicyInvalid,
        message,
    };
    let name = &policy.name;
    if policy.digest.is_empty() {
        return Err(invalid(format!(
            "the revision does not record what policy '{name}' applies to"
        )));
    }
    if knows_nobody(access) {
        return Err(invalid(format!(
            "policy '{name}' cannot be enforced: this server has no credentials, so that it cannot \
             tell who calls"
        )));
    }
    let format = Format::parse(&policy.format).ok_or_else(|| {
        let format = &policy.format;
        invalid(format!("policy '{name}' has the unknown format '{format}'"))
    })?;
    let text = match clock.timeout(LOAD_MAX, source.policy_text(policy)).await {
        Ok(text) => text,
        Err(_) => Err(SourceError::Unreachable("no answer in time".to_owned())),
    };
    let text =
        text.map_err(|error| invalid(format!("policy '{name}' cannot be loaded: {error}")))?;
    let parsed = Source::parse(format, &text.text, text.groups.as_deref());
    let (bundle, _) =
        parsed.map_err(|problems| invalid(format!("policy '{name}' is wrong: {problems}")))?;
    let compiled = bundle.compile(resource);
    let compiled = compiled.map_err(|error| invalid(format!("policy '{name}': {error}")))?;
    Ok(Gate::Policy(Arc::new(compiled)))
}

/// The decision about one caller's calls.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    gate: Gate,
    actor: Actor,
    /// For the log; empty: the server itself.
    graph: Arc<str>,
}

impl Guard {
    pub(crate) fn new(gate: Gate, actor: Actor, graph: &str) -> Self {
        Guard {
            gate,
            actor,
            graph: graph.into(),
        }
    }

    /// Refuses what the caller may not do.
    pub(crate) fn check(&self, call: &Call<'_>) -> Result<(), WireError> {
        match &self.gate {
            Gate::Open => Ok(()),
            Gate::ReadOnly => {
                let allowed = call.action == Action::Read;
                self.log(call, allowed, "");
                match allowed {
                    true => Ok(()),
                    false => Err(self.denied(call).with_hint(
                        "no policy applies to this graph, so that it can only be read: declare one \
                         in cluster.yaml and run omnigraphctl apply",
                    )),
                }
            }
            Gate::Closed => {
                self.log(call, false, "");
                Err(self.denied(call))
            }
            Gate::Policy(policy) => {
                let decision = policy.decide(&self.caller(), call);
                let decision = decision.map_err(|error| self.undecided(call, &error))?;
                let allowed = decision.is_allowed();
                self.log(call, allowed, decision.rule().unwrap_or_default());
                match allowed {
                    true => Ok(()),
                    false => Err(self.denied(call)),
                }
            }
        }
    }

    /// Refuses a caller who may not do this on any branch, before it is looked up which branch the
    /// call is about.
    pub(crate) fn check_at_all(&self, action: Action) -> Result<(), WireError> {
        let call = Call::new(action);
        let Gate::Policy(policy) = &self.gate else {
            return self.check(&call);
        };
        match policy.may_ever(&self.caller(), action) {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.log(&call, false, "");
                Err(self.denied(&call))
            }
            Err(error) => Err(self.undecided(&call, &error)),
        }
    }

    /// Whether the type that a call touches can matter.
    pub(crate) fn limits_types(&self) -> bool {
        matches!(&self.gate, Gate::Policy(policy) if policy.limits_types())
    }

    /// Refuses a call unless it is allowed for each of these types.
    pub(crate) fn check_types<'t>(
        &self,
        call: Call<'_>,
        types: impl IntoIterator<Item = &'t str>,
    ) -> Result<(), WireError> {
        if !self.limits_types() {
            return Ok(());
        }
        let mut types = types.into_iter();
        types.try_for_each(|name| {
            let call = Call {
                entity_type: Some(name),
                ..call
            };
            self.check(&call)
        })
    }

    /// The same for a write that the engine runs: it knows the types only then.
    pub(crate) fn type_gate(&self, branch: &str) -> Option<TypeGate> {
        if !self.limits_types() {
            return None;
        }
        let (guard, branch) = (self.clone(), branch.to_owned());
        Some(TypeGate::new(move |how, name| {
            let action = match how {
                TypeUse::Read => Action::Read,
                TypeUse::Write => Action::Change,
            };
            let call = Call::new(action).on(&branch).of_type(name);
            guard.check(&call).map_err(|refused| match refused.reason {
                ErrorReason::PermissionDenied => Error::denied(refused.message),
                _ => Error::internal("a decision could not be made"),
            })
        }))
    }

    fn caller(&self) -> Caller<'_> {
        Caller {
            actor: self.actor.name(),
            claims: &[],
        }
    }

    /// Names the action, the branch, the target or the type, and the actor; no other actor, no
    /// group and no rule.
    fn denied(&self, call: &Call<'_>) -> WireError {
        let message = format!("{} may not {}", self.actor, describe(call));
        let error = WireError::new(ErrorReason::PermissionDenied, message)
            .with_metadata("action", call.action.name());
        match self.actor.name() {
            Some(_) => error,
            None => error.with_hint("say who calls: omnigraphctl --as <actor>"),
        }
    }

    fn undecided(&self, call: &Call<'_>, error: &EvaluationError) -> WireError {
        let (actor, graph, action) = (&self.actor, &self.graph, call.action);
        tracing::error!(%actor, %graph, %action, %error, "a decision could not be made");
        WireError::internal()
    }

    fn log(&self, call: &Call<'_>, allowed: bool, rule: &str) {
        tracing::info!(
            actor = %self.actor,
            action = %call.action,
            graph = %self.graph,
            branch = call.branch,
            target_branch = call.target,
            entity_type = call.entity_type,
            query = call.query,
            allowed,
            rule,
            "decided"
        );
    }
}
