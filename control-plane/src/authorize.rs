//! Who may ask what of the control plane: the bundle that is bound to `cluster` in the newest
//! revision decides.

use std::collections::BTreeSet;
use std::sync::Arc;

use omnigraph_policy::{
    Action, Actor, Call, Caller, Decision, Format, Policy, Resource, Source, describe,
};
use omnigraph_proto::common::v1::Diagnostic;
use parking_lot::Mutex;

use crate::bundle::CLUSTER_SCOPE;
use crate::catalog::BlobKind;
use crate::declared::Declared;
use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::finding;
use crate::ledger::{Content, PolicyContent};
use crate::plane::ControlPlane;

/// Names actors that may do everything in every state.
pub const ADMIN_VARIABLE: &str = "OMNIGRAPH_CONTROL_ADMIN_ACTORS";

/// Actors that may do everything in every state: how the first policy is applied, and how a bad one
/// is repaired.
#[derive(Clone, Debug, Default)]
pub struct AdminActors(BTreeSet<String>);

/// How callers are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// By a credential: without a policy nothing is allowed.
    Proven,
    /// They hold the storage, or everybody is let in: without a policy everything is allowed.
    Trusted,
}

/// The newest server policy, compiled.
#[derive(Default)]
pub(crate) struct ServerPolicy {
    known: Mutex<Option<(Digest, Arc<Policy>)>>,
}

impl AdminActors {
    /// Reads names, separated by commas or spaces.
    pub fn parse(text: &str) -> Self {
        let names = text.split([',', ' ']).map(str::trim);
        let names = names.filter(|name| !name.is_empty());
        AdminActors(names.map(str::to_owned).collect())
    }

    /// What the environment names.
    pub fn from_env() -> Self {
        Self::parse(&std::env::var(ADMIN_VARIABLE).unwrap_or_default())
    }

    /// These, or one where there is none.
    #[must_use]
    pub fn or(self, name: &str) -> Self {
        match self.is_empty() {
            true => Self::parse(name),
            false => self,
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn names(&self, actor: Option<&str>) -> bool {
        actor.is_some_and(|name| self.0.contains(name))
    }
}

impl ControlPlane {
    /// Whether the newest revision has a policy for the server itself.
    pub async fn has_server_policy(&self) -> Result<bool> {
        let newest = self.shared().ledger.newest().await?;
        Ok(newest.is_some_and(|revision| revision.content.server_policy().is_some()))
    }

    /// Refuses what a caller may not do who holds the storage and says who they are.
    pub async fn authorize_declared(&self, actor: &Actor, action: Action) -> Result<()> {
        self.authorize(actor, Standing::Trusted, action).await
    }

    /// Refuses what the actor may not do.
    pub(crate) async fn authorize(
        &self,
        actor: &Actor,
        standing: Standing,
        action: Action,
    ) -> Result<()> {
        if self.options().admin_actors.names(actor.name()) {
            log(actor, action, true, "admin");
            return Ok(());
        }
        let newest = match self.shared().ledger.newest().await {
            Ok(newest) => newest,
            // Whoever holds the storage repairs it, and needs no leave for what they can do anyway.
            Err(error) if standing == Standing::Trusted && error.kind() == ErrorKind::Corrupt => {
                tracing::warn!(%actor, %action, error = error.chain(), "allowed: no policy is known");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let content = newest.as_ref().map(|revision| &revision.content);
        match self.server_policy(content).await? {
            Some(policy) => decide(&policy, actor, action),
            None if standing == Standing::Trusted => Ok(()),
            None => {
                log(actor, action, false, "");
                let hint = format!("name the first administrators in {ADMIN_VARIABLE}");
                Err(denied(actor, action).with_hint(hint))
            }
        }
    }

    /// A warning if a configuration would take the actor's right to apply.
    pub(crate) fn lockout(&self, declared: &Declared, actor: Option<&str>) -> Option<Diagnostic> {
        let admins = &self.options().admin_actors;
        if admins.names(actor) {
            return None;
        }
        let who = actor.unwrap_or("nobody");
        let mut policies = declared.policies.values();
        let message = match policies.find(|policy| policy.applies_to.contains(CLUSTER_SCOPE)) {
            Some(policy) => {
                // One that cannot be used is an error of the configuration already.
                let compiled = policy.source.compile(Resource::Server).ok()?;
                let caller = Caller { actor, claims: &[] };
                let decision = compiled.decide(&caller, &Call::new(Action::ClusterApply));
                if decision.ok()?.is_allowed() {
                    return None;
                }
                format!(
                    "with policy '{}' {who} may not apply any more: then only an actor of \
                     {ADMIN_VARIABLE}, or one that the policy allows cluster_apply, can change it",
                    policy.name
                )
            }
            // Where there are no administrators nobody has to prove who they are.
            None if admins.is_empty() || self.shared().server_policy.known.lock().is_none() => {
                return None;
            }
            None => format!(
                "without a policy of the cluster {who} may not apply any more: then only actors of \
                 {ADMIN_VARIABLE} can"
            ),
        };
        Some(finding::warning("C117", message))
    }

    async fn server_policy(&self, content: Option<&Content>) -> Result<Option<Arc<Policy>>> {
        let Some((name, policy)) = content.and_then(Content::server_policy) else {
            return Ok(None);
        };
        let digest = policy.digest();
        if let Some((known, compiled)) = &*self.shared().server_policy.known.lock()
            && *known == digest
        {
            return Ok(Some(Arc::clone(compiled)));
        }
        let compiled = self.compile_server(name, policy).await.map_err(|error| {
            let message = format!("the server's policy '{name}' cannot be used: {error}");
            let hint = format!("apply a sound one as an actor of {ADMIN_VARIABLE}");
            Error::new(error.kind(), message).with_hint(hint)
        })?;
        let compiled = Arc::new(compiled);
        let known = Some((digest, Arc::clone(&compiled)));
        *self.shared().server_policy.known.lock() = known;
        Ok(Some(compiled))
    }

    async fn compile_server(&self, name: &str, policy: &PolicyContent) -> Result<Policy> {
        let unusable = |why: String| Error::corrupt(format!("policy '{name}': {why}"));
        let format = Format::parse(&policy.format)
            .ok_or_else(|| unusable(format!("format '{}' is not known", policy.format)))?;
        let text = self.text(&policy.text, policy.kind()).await?;
        let groups = match &policy.groups {
            None => None,
            Some(digest) => Some(self.text(digest, BlobKind::Policy).await?),
        };
        let parsed = Source::parse(format, &text, groups.as_deref());
        let (source, _) = parsed.map_err(|problems| unusable(problems.to_string()))?;
        let compiled = source.compile(Resource::Server);
        compiled.map_err(|error| unusable(error.to_string()))
    }
}

fn decide(policy: &Policy, actor: &Actor, action: Action) -> Result<()> {
    let decision = policy.decide(&caller(actor), &Call::new(action));
    let decision = decision.map_err(|error| {
        tracing::error!(%actor, %action, %error, "a decision could not be made");
        Error::internal("a decision could not be made").with_source(error)
    })?;
    let rule = decision.rule().unwrap_or_default();
    log(actor, action, decision.is_allowed(), rule);
    match decision {
        Decision::Allow { .. } => Ok(()),
        Decision::Deny(_) => Err(denied(actor, action)),
    }
}

fn caller(actor: &Actor) -> Caller<'_> {
    Caller {
        actor: actor.name(),
        claims: &[],
    }
}

fn denied(actor: &Actor, action: Action) -> Error {
    let wanted = describe(&Call::new(action));
    let message = format!("{actor} may not {wanted}");
    Error::new(ErrorKind::PermissionDenied, message)
}

fn log(actor: &Actor, action: Action, allowed: bool, rule: &str) {
    tracing::info!(%actor, %action, allowed, rule, "decided");
}
