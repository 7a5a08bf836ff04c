//! One call: who makes it, how long it may take, and what its answer says beside the message.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use omnigraph_engine::{ActorId, Authorship};
use omnigraph_policy as policy;
use omnigraph_policy::{Action, Actor};
use omnigraph_proto::common::v1 as pb;
use omnigraph_proto::common::v1::ErrorReason;
use omnigraph_proto::error::WireError;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Response, Status};

use super::Service;
use super::asks::Ask;
use super::convert::graph_state;
use crate::authorize::{Gate, Guard};
use crate::generation::Generation;
use crate::options::Access;
use crate::replica::Inner;
use crate::state::{Phase, ReasonCode, View};

/// Which default a call without a deadline gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Budget {
    Read,
    Write,
    /// Decided by [`Call::set_kind`].
    OfKind,
    /// Loads and exports.
    Unbounded,
}

/// One call.
pub(super) struct Call {
    inner: Arc<Inner>,
    actor: Actor,
    request_id: Option<String>,
    graph_id: Option<String>,
    begun: Instant,
    asked: Option<Duration>,
    /// What decides about calls of the graph; known once the graph is.
    gate: Option<Gate>,
    /// The idempotency keys in the metadata.
    keys: Vec<String>,
    budget: Budget,
    stale: bool,
}

impl Service {
    /// Authenticates, and takes the call apart.
    pub(super) fn call<T>(&self, request: Request<T>, budget: Budget) -> Result<(Call, T), Status> {
        let inner = self.replica.inner();
        let (metadata, _, message) = request.into_parts();
        let request_id = text(&metadata, "x-request-id").map(str::to_owned);
        let mut call = Call {
            inner: inner.clone(),
            actor: Actor::nobody(),
            request_id,
            graph_id: None,
            begun: Instant::now(),
            asked: grpc_timeout(&metadata),
            gate: None,
            keys: idempotency_keys(&metadata),
            budget,
            stale: false,
        };
        call.actor = authenticate(&inner.options.access, &metadata).map_err(|e| call.fail(e))?;
        Ok((call, message))
    }

    /// Whether the caller may see the names of graphs.
    pub(super) fn may_list<T>(&self, request: &Request<T>) -> bool {
        let inner = self.replica.inner();
        let actor = authenticate(&inner.options.access, request.metadata());
        let list = policy::Call::new(Action::GraphList);
        actor.is_ok_and(|actor| server_guard(inner, &actor).check(&list).is_ok())
    }
}

fn server_guard(inner: &Inner, actor: &Actor) -> Guard {
    let gate = inner.status.borrow().server.clone();
    Guard::new(gate, actor.clone(), "")
}

impl Call {
    /// Refuses a call to the server itself that the caller may not make.
    pub(super) fn server(&self, action: Action) -> Result<(), Status> {
        let guard = server_guard(&self.inner, &self.actor);
        let decided = guard.check(&policy::Call::new(action));
        decided.map_err(|error| self.fail(error))
    }

    /// The generation of the named graph that serves this call to its end, if the caller may make
    /// it. Whoever may not is told that and not how the graph is.
    pub(super) fn graph(
        self,
        graph_id: &str,
        asks: &[Ask<'_>],
    ) -> Result<(Call, Arc<Generation>), Status> {
        let (call, view) = self.known(graph_id)?;
        call.decide(asks).map_err(|error| call.fail(error))?;
        call.served(view)
    }

    /// The same for calls of a stored query: who may not make them hears what `unknown` says.
    pub(super) fn graph_or(
        self,
        graph_id: &str,
        ask: Ask<'_>,
        unknown: impl FnOnce() -> WireError,
    ) -> Result<(Call, Arc<Generation>), Status> {
        let (call, view) = self.known(graph_id)?;
        if let Err(error) = call.decide(&[ask]) {
            let told = match error.reason {
                ErrorReason::PermissionDenied => unknown(),
                _ => error,
            };
            return Err(call.fail(told));
        }
        call.served(view)
    }

    /// The named graph in whatever state, if the caller may make the call.
    pub(super) fn view(
        self,
        graph_id: &str,
        asks: &[Ask<'_>],
    ) -> Result<(Call, View<Generation>), Status> {
        let (call, view) = self.known(graph_id)?;
        match call.decide(asks) {
            Ok(()) if call.gate.is_some() => Ok((call, view)),
            Ok(()) => Err(call.fail(unavailable(graph_id, &view))),
            Err(error) => Err(call.fail(error)),
        }
    }

    /// What decides about the graph's calls of this caller.
    pub(super) fn guard(&self) -> Guard {
        let graph = self.graph_id.as_deref().unwrap_or_default();
        let gate = self.gate.clone().unwrap_or(Gate::Closed);
        Guard::new(gate, self.actor.clone(), graph)
    }

    fn known(mut self, graph_id: &str) -> Result<(Call, View<Generation>), Status> {
        self.graph_id = Some(graph_id.to_owned());
        let view = self.inner.status.borrow().graphs.get(graph_id).cloned();
        let Some(view) = view else {
            let known = self.inner.status.borrow().target > 0;
            let error = match known {
                true => WireError::graph_not_found(graph_id),
                false => WireError::new(
                    ErrorReason::Unavailable,
                    "the replica has not taken up a revision yet",
                ),
            };
            return Err(self.fail(error));
        };
        self.gate.clone_from(&view.gate);
        Ok((self, view))
    }

    /// Where no policy could ever be loaded nothing is served either, and nothing is told.
    fn decide(&self, asks: &[Ask<'_>]) -> Result<(), WireError> {
        if self.gate.is_none() {
            return Ok(());
        }
        let guard = self.guard();
        asks.iter().try_for_each(|ask| match ask {
            Ask::Exactly(call) => guard.check(call),
            Ask::AtAll(action) => guard.check_at_all(*action),
        })
    }

    fn served(mut self, view: View<Generation>) -> Result<(Call, Arc<Generation>), Status> {
        self.stale = view.phase == Phase::Stale;
        match &view.served {
            Some((_, generation)) => Ok((self, generation.clone())),
            None => {
                let graph_id = self.graph_id.as_deref().unwrap_or_default();
                Err(self.fail(unavailable(graph_id, &view)))
            }
        }
    }

    /// Chooses the default budget of a call that could be either.
    pub(super) fn set_kind(&mut self, mutation: bool) {
        self.budget = match mutation {
            true => Budget::Write,
            false => Budget::Read,
        };
    }

    /// When the call has to be answered.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let options = &self.inner.options;
        let default = match self.budget {
            Budget::Read => Some(options.read_timeout),
            Budget::Write | Budget::OfKind => Some(options.write_timeout),
            Budget::Unbounded => None,
        };
        let asked = self.asked.map(|asked| asked.min(options.timeout_max));
        let budget = asked.or(default)?;
        self.begun.checked_add(budget)
    }

    /// The time that is left; a write without a bound gets the default of writes.
    pub(super) fn left(&self) -> Duration {
        match self.deadline() {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => self.inner.options.write_timeout,
        }
    }

    /// Puts the idempotency key of the metadata into the options of a write.
    ///
    /// # Errors
    /// There are two keys, and they differ.
    pub(super) fn keyed(&self, options: &mut Option<pb::WriteOptions>) -> Result<(), Status> {
        let own = options.as_ref().map(|own| own.idempotency_key.as_str());
        let key = one_key(own.unwrap_or_default(), &self.keys).map_err(|e| self.fail(e))?;
        if let Some(key) = key {
            options.get_or_insert_default().idempotency_key = key;
        }
        Ok(())
    }

    /// The author of what this call writes.
    pub(super) fn author(&self) -> Authorship {
        let actor = self.actor.name().and_then(|name| ActorId::parse(name).ok());
        Authorship {
            actor,
            control_epoch: None,
            message: None,
        }
    }

    /// Who calls; `None`: nobody, in open mode.
    pub(super) fn actor(&self) -> Option<&str> {
        self.actor.name()
    }

    /// Whether the caller is anybody.
    pub(super) fn is_open(&self) -> bool {
        matches!(&self.inner.options.access, Access::Credentials(c) if c.is_open())
    }

    /// Runs a read: within the budget, and no longer than the client waits.
    pub(super) async fn answer<T>(
        self,
        work: impl Future<Output = Result<T, WireError>>,
    ) -> Result<Response<T>, Status> {
        let outcome = match self.deadline() {
            None => work.await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), work).await {
                Ok(outcome) => outcome,
                Err(_) => Err(out_of_time()),
            },
        };
        self.respond(outcome)
    }

    /// Runs a write: to its end, even if the client is gone.
    pub(super) async fn write<T: Send + 'static>(
        self,
        work: impl Future<Output = Result<T, WireError>> + Send + 'static,
    ) -> Result<Response<T>, Status> {
        let task = self.inner.tasks.spawn(work);
        let outcome = match self.deadline() {
            None => task.await,
            Some(deadline) => match tokio::time::timeout_at(deadline.into(), task).await {
                Ok(ended) => ended,
                Err(_) => return Err(self.fail(outcome_unknown())),
            },
        };
        let outcome = outcome.unwrap_or_else(|error| {
            tracing::error!(%error, "a write was lost");
            Err(WireError::internal())
        });
        self.respond(outcome)
    }

    /// The answer, with what the client is told beside it.
    pub(super) fn respond<T>(&self, outcome: Result<T, WireError>) -> Result<Response<T>, Status> {
        let mut response = Response::new(outcome.map_err(|error| self.fail(error))?);
        self.describe(response.metadata_mut());
        Ok(response)
    }

    /// A refusal, with the same.
    pub(super) fn fail(&self, mut error: WireError) -> Status {
        if let Some(id) = &self.request_id {
            error = error.with_request_id(id);
        }
        if let Some(graph_id) = &self.graph_id {
            error = error.with_graph(graph_id);
        }
        let mut status = Status::from(error);
        self.describe(status.metadata_mut());
        status
    }

    fn describe(&self, metadata: &mut MetadataMap) {
        if let Some(actor) = self.actor.name().and_then(|name| name.parse().ok()) {
            metadata.insert("omnigraph-actor", actor);
        }
        if self.stale {
            metadata.insert(
                "omnigraph-graph-status",
                MetadataValue::from_static("stale"),
            );
        }
    }
}

/// A graph that is not served. Why is told only where a policy has decided that the caller may know.
fn unavailable(graph_id: &str, view: &View<Generation>) -> WireError {
    let state = graph_state(view.phase);
    let trouble = view.trouble.as_ref();
    match trouble {
        None => WireError::graph_unavailable(graph_id, state, "loading", ""),
        Some(trouble) if view.gate.is_none() || trouble.code == ReasonCode::PolicyInvalid => {
            let mut error = WireError::graph_unavailable(
                graph_id,
                state,
                ReasonCode::PolicyInvalid.as_str(),
                "",
            );
            error.message = format!("graph '{graph_id}' is quarantined");
            error
        }
        Some(trouble) => {
            let code = trouble.code.as_str();
            let error = WireError::graph_unavailable(graph_id, state, code, &trouble.message);
            error.with_hint(trouble.code.remedy())
        }
    }
}

fn out_of_time() -> WireError {
    WireError::new(
        ErrorReason::DeadlineExceeded,
        "the request's time budget is used up",
    )
    .with_hint("give it more time, or ask for less")
}

fn outcome_unknown() -> WireError {
    WireError::new(
        ErrorReason::DeadlineExceeded,
        "the time budget ended while the write was running: outcome unknown",
    )
    .with_hint(
        "with an idempotency key, repeat it; without one, look at the branch's commits first",
    )
}

fn authenticate(access: &Access, metadata: &MetadataMap) -> Result<Actor, WireError> {
    let credentials = match access {
        Access::Embedded(actor) => return Ok(actor.clone()),
        Access::Credentials(credentials) => credentials,
    };
    let mut given = metadata.get_all("authorization").iter();
    let first = given.next();
    // Two credentials are none: nobody can say which one counts.
    let one = first.filter(|_| given.next().is_none());
    let text = match (first, one) {
        (None, _) => None,
        (Some(_), one) => Some(one.and_then(|value| value.to_str().ok()).unwrap_or("")),
    };
    credentials.authenticate(text).map_err(|refused| {
        tracing::info!(cause = refused.cause(), "refused a caller");
        WireError::new(ErrorReason::Unauthenticated, refused.to_string())
            .with_hint("send 'Authorization: Bearer <token>'")
    })
}

fn idempotency_keys(metadata: &MetadataMap) -> Vec<String> {
    let values = metadata.get_all("idempotency-key").iter();
    let text = values.map(|value| value.to_str().unwrap_or_default().to_owned());
    text.collect()
}

/// The key of a request that may have one in its message and some in its metadata.
fn one_key(message: &str, metadata: &[String]) -> Result<Option<String>, WireError> {
    let Some(first) = metadata.first() else {
        return Ok(None);
    };
    let of_message = (!message.is_empty()).then_some(message);
    if metadata.iter().any(|key| key != first) || of_message.is_some_and(|key| key != first) {
        return Err(WireError::invalid_request(
            "the request has two idempotency keys that differ: send one",
        ));
    }
    if first.is_empty() {
        return Err(WireError::invalid_request(
            "the idempotency key must be 1 to 255 visible ascii characters",
        ));
    }
    Ok(Some(first.clone()))
}

fn text<'a>(metadata: &'a MetadataMap, name: &str) -> Option<&'a str> {
    metadata.get(name).and_then(|value| value.to_str().ok())
}

/// `grpc-timeout`: up to eight digits and a unit.
fn grpc_timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = text(metadata, "grpc-timeout")?;
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    let amount: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        'H' => Some(Duration::from_secs(amount * 3600)),
        'M' => Some(Duration::from_secs(amount * 60)),
        'S' => Some(Duration::from_secs(amount)),
        'm' => Some(Duration::from_millis(amount)),
        'u' => Some(Duration::from_micros(amount)),
        'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_of_grpc() {
        let cases = [
            ("1S", Some(Duration::from_secs(1))),
            ("1500m", Some(Duration::from_millis(1500))),
            ("30000000u", Some(Duration::from_secs(30))),
            ("2H", Some(Duration::from_secs(7200))),
            ("123456789S", None),
            ("S", None),
            ("1", None),
            ("", None),
        ];
        for (text, expected) in cases {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", text.parse().expect("ascii"));
            assert_eq!(grpc_timeout(&metadata), expected, "{text}");
        }
    }

    #[test]
    fn a_request_has_one_idempotency_key() {
        let keys = |given: &[&str]| {
            given
                .iter()
                .map(|key| (*key).to_owned())
                .collect::<Vec<_>>()
        };
        let one = |message: &str, given: &[&str]| one_key(message, &keys(given)).ok();
        assert_eq!(one("", &[]), Some(None));
        assert_eq!(one("k", &[]), Some(None));
        assert_eq!(one("", &["k"]), Some(Some("k".to_owned())));
        assert_eq!(one("k", &["k", "k"]), Some(Some("k".to_owned())));
        assert_eq!(one("k", &["l"]), None);
        assert_eq!(one("", &["k", "l"]), None);
        assert_eq!(one("", &[""]), None);
    }

    #[test]
    fn two_credentials_are_none() {
        let access = Access::Credentials(omnigraph_policy::Credentials::token("t"));
        let mut metadata = MetadataMap::new();
        assert!(authenticate(&access, &metadata).is_err());
        metadata.append("authorization", MetadataValue::from_static("Bearer t"));
        let actor = authenticate(&access, &metadata).expect("accepted");
        assert_eq!(actor.name(), Some("default"));
        metadata.append("authorization", MetadataValue::from_static("Bearer t"));
        assert!(authenticate(&access, &metadata).is_err());
    }
}
