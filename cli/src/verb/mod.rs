//! One file per verb: its arguments and what it does.

pub(crate) mod apply;
pub(crate) mod approve;
pub(crate) mod backup;
pub(crate) mod blob;
pub(crate) mod branch;
pub(crate) mod changes;
pub(crate) mod cleanup;
pub(crate) mod commit;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod explain_code;
pub(crate) mod export;
pub(crate) mod fmt;
pub(crate) mod fsck;
pub(crate) mod graph;
pub(crate) mod history;
pub(crate) mod import;
pub(crate) mod lint;
pub(crate) mod load;
pub(crate) mod mutate;
pub(crate) mod operation;
pub(crate) mod optimize;
pub(crate) mod plan;
pub(crate) mod policy;
pub(crate) mod queries;
pub(crate) mod query;
pub(crate) mod refresh;
pub(crate) mod revert;
pub(crate) mod rollback;
pub(crate) mod rollout;
pub(crate) mod saved_plan;
pub(crate) mod schema;
pub(crate) mod snapshot;
pub(crate) mod status;
pub(crate) mod tag;
pub(crate) mod target;
pub(crate) mod unlock;
pub(crate) mod up;
pub(crate) mod validate;
pub(crate) mod version;
mod watching;

use std::path::{Path, PathBuf};

use omnigraph_policy::Actor;

use crate::address::{Address, Given, Up};
use crate::args::{Command, Global};
use crate::client::control::ControlClient;
use crate::client::data::{Call, Credentials, DataClient, escape};
use crate::client::embedded::{self, Embedded};
use crate::client::shapes::GraphListResponse;
use crate::consent::{self, Loss, Situation};
use crate::error::{Error, Result};
use crate::output::Output;
use crate::under_way::UnderWay;

/// What every verb gets.
pub(crate) struct Context {
    pub(crate) global: Global,
    pub(crate) output: Output,
    pub(crate) given: Given,
    pub(crate) under_way: UnderWay,
}

/// Runs the verb that was asked for.
pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    match command {
        Command::Up(args) => up::run(args, context).await,
        Command::Validate(args) => validate::run(args, context).await,
        Command::Plan(args) => plan::run(args, context).await,
        Command::Apply(args) => apply::run(args, context).await,
        Command::Policy(command) => policy::run(command, context).await,
        Command::Import(args) => import::run(args, context).await,
        Command::Refresh(args) => refresh::run(args, context).await,
        Command::Rollback(args) => rollback::run(args, context).await,
        Command::Approve(args) => approve::run(args, context).await,
        Command::Status(args) => status::run(args, context).await,
        Command::Rollout(command) => rollout::run(command, context).await,
        Command::History(args) => history::run(args, context).await,
        Command::Operation(args) => operation::run(args, context).await,
        Command::Unlock(args) => unlock::run(args, context).await,
        Command::Graph(command) => graph::run(command, context).await,
        Command::Snapshot(args) => snapshot::run(args, context).await,
        Command::Schema(command) => schema::run(command, context).await,
        Command::Lint(args) => lint::run(args, context).await,
        Command::Fmt(args) => fmt::run(&args, context),
        Command::ExplainCode(args) => explain_code::run(&args, context),
        Command::Queries(command) => queries::run(command, context).await,
        Command::Query(args) => query::run(args, context).await,
        Command::Mutate(args) => mutate::run(args, context).await,
        Command::Explain(args) => explain::run(args, context).await,
        Command::Load(args) => load::run(args, context).await,
        Command::Export(args) => export::run(args, context).await,
        Command::Blob(command) => blob::run(command, context).await,
        Command::Branch(command) => branch::run(command, context).await,
        Command::Commit(command) => commit::run(command, context).await,
        Command::Changes(command) => changes::run(command, context).await,
        Command::Diff(args) => diff::run(args, context).await,
        Command::Tag(command) => tag::run(command, context).await,
        Command::Optimize(args) => optimize::run(args, context).await,
        Command::Fsck(args) => fsck::run(args, context).await,
        Command::Cleanup(args) => cleanup::run(args, context).await,
        Command::Backup(command) => backup::run(command, context).await,
        Command::Version => version::run(context),
    }
}

/// A client and the graph that the command is about.
pub(crate) struct Session {
    pub(crate) client: DataClient,
    pub(crate) graph: String,
}

impl Session {
    /// `/graphs/debian/branches`.
    pub(crate) fn path(&self, below: &str) -> String {
        format!("/graphs/{}{below}", escape(&self.graph))
    }
}

impl Context {
    /// Opens the data plane.
    pub(crate) async fn data(&self) -> Result<DataClient> {
        let address = self.given.data(Path::new("."), &Up::find)?;
        let credentials = Credentials {
            token: bearer_token(),
            timeout: self.global.timeout,
            request_id: self.global.request_id.clone(),
        };
        match address {
            Address::Remote { url, .. } if self.global.actor.is_some() => {
                Err(self.not_declared(&url))
            }
            Address::Remote { url, local } if url.starts_with("http") => {
                DataClient::gateway(&url, credentials, local)
            }
            Address::Remote { url, local } => {
                let door = embedded::gateway_to(&url).await?;
                Ok(DataClient::new(door, url, local, credentials, None))
            }
            Address::Embedded(root) => {
                let embedded = Embedded::open(&root, self.actor()?).await?;
                let door = embedded.data().await?;
                let label = embedded.label.clone();
                let local = root.is_local();
                Ok(DataClient::new(
                    door,
                    label,
                    local,
                    credentials,
                    Some(embedded),
                ))
            }
        }
    }

    /// Opens the control plane of a directory's cluster.
    pub(crate) async fn control(&self, dir: &Path) -> Result<ControlClient> {
        match self.given.control(dir, &Up::find)? {
            Address::Remote { url, .. } if self.global.actor.is_some() => {
                Err(self.not_declared(&url))
            }
            Address::Remote { url, local } => {
                let (token, timeout) = (bearer_token(), self.global.timeout);
                ControlClient::connect(&url, local, token, timeout, self.output).await
            }
            Address::Embedded(root) => {
                let embedded = Embedded::open(&root, self.actor()?).await?;
                Ok(ControlClient::embedded(embedded, root.is_local()))
            }
        }
    }

    /// Who calls, where whoever holds the storage may say it.
    pub(crate) fn actor(&self) -> Result<Actor> {
        match self.global.actor.as_deref() {
            None => Ok(Actor::nobody()),
            Some(name) => Actor::declared(name).ok_or_else(|| {
                Error::usage(format!("'{name}' cannot be an actor"))
                    .with_hint("names are not blank and do not begin with 'omnigraph:'")
            }),
        }
    }

    fn not_declared(&self, url: &str) -> Error {
        Error::usage(format!(
            "--as says nothing to {url}: it knows who calls from the token"
        ))
        .with_hint("name the storage with --cluster to work on it directly")
    }

    /// The directory of declarations: the argument, what `--cluster` names, or here.
    pub(crate) fn dir(&self, argument: Option<&PathBuf>) -> PathBuf {
        let named = argument.cloned().or_else(|| self.given.declared_dir());
        named.unwrap_or_else(|| PathBuf::from("."))
    }

    /// The graph that a flag or the environment names.
    pub(crate) fn graph_name(&self) -> Option<String> {
        let from_env = || {
            std::env::var("OMNIGRAPH_GRAPH")
                .ok()
                .filter(|g| !g.is_empty())
        };
        self.global.graph.clone().or_else(from_env)
    }

    /// Opens the data plane and finds out which graph is meant.
    pub(crate) async fn session(&self) -> Result<Session> {
        let client = self.data().await?;
        let graph = match self.graph_name() {
            Some(graph) => graph,
            None => only_graph(&client).await?,
        };
        Ok(Session { client, graph })
    }

    /// Runs a request against a session and closes it, whatever comes.
    pub(crate) async fn with_session<T>(
        &self,
        work: impl AsyncFnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
        let session = self.session().await?;
        let result = work(&session).await;
        session.client.close().await;
        result
    }

    /// Asks for consent where it is needed.
    pub(crate) fn consent(&self, what: &str, name: &str, local: bool) -> Result<()> {
        let situation = Situation::now(self.global.yes, self.output.format.is_json());
        consent::obtain(&Loss { what, name, local }, &situation)
    }
}

/// The token that is sent to the server of a literal address.
pub(crate) fn bearer_token() -> Option<String> {
    std::env::var("OMNIGRAPH_BEARER_TOKEN")
        .ok()
        .filter(|token| !token.is_empty())
}

pub(crate) async fn only_graph(client: &DataClient) -> Result<String> {
    let call = Call::get("/graphs").query("include", Some("all"));
    let listed = client.json(&call).await;
    let (list, _): (GraphListResponse, _) =
        listed.map_err(|error| match error.reason.as_str() {
            "forbidden" => error.with_hint("name the graph with --graph"),
            _ => error,
        })?;
    let mut ids: Vec<String> = list.graphs.into_iter().map(|g| g.graph_id).collect();
    match (ids.pop(), ids.is_empty()) {
        (Some(only), true) => Ok(only),
        (None, _) => Err(Error::failed(format!("{} serves no graph", client.label))
            .with_hint("declare one in cluster.yaml and run omnigraphctl apply")),
        (Some(last), false) => {
            ids.push(last);
            ids.sort();
            Err(
                Error::usage(format!("which graph? there are {}", ids.join(", ")))
                    .with_hint("name one with --graph"),
            )
        }
    }
}

/// Raw items of a JSON array in an answer.
pub(crate) fn raw(items: &[Box<serde_json::value::RawValue>]) -> Vec<&str> {
    items.iter().map(|item| item.get()).collect()
}
