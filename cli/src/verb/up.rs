//! `up`: control plane, one replica and the gateway in one process, on one storage root.

mod planes;
mod say;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use omnigraph_control_plane::bundle;
use omnigraph_proto::control::v1 as pb;
use omnigraph_telemetry::Shutdown;

use self::planes::Planes;
use self::say::Say;
use super::load::{Job, Mode, Source, send};
use super::{Context, Session, bearer_token};
use crate::address::{Root, Up};
use crate::client::control::ControlClient;
use crate::client::data::{Call, Credentials, DataClient, understand};
use crate::client::embedded;
use crate::client::shapes::{Dataset, SnapshotOutput};
use crate::error::{Error, Result, diagnostic_line};

/// Tasks get this long to finish after Ctrl-C.
const DRAIN_BOUND: Duration = Duration::from_secs(30);
/// The first revision is served within this time, or `up` gives up.
const READY_BOUND: Duration = Duration::from_secs(300);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory with cluster.yaml
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Apply edits of declared files as they are saved
    #[arg(long)]
    watch: bool,
    /// NDJSON file to load into an empty graph once everything is ready (repeat for more)
    #[arg(long, value_name = "FILE")]
    data: Vec<PathBuf>,
    /// What a load does with entities that exist
    #[arg(long, value_enum, default_value = "merge")]
    mode: Mode,
    /// Graph that takes the data, when there is more than one
    #[arg(long = "data-graph", value_name = "ID")]
    data_graph: Option<String>,
    /// Storage root (default: the one of cluster.yaml, else the directory)
    #[arg(long, value_name = "URI")]
    storage: Option<String>,
    /// HTTP address; port 0 takes any
    #[arg(long, env = "OMNIGRAPH_BIND", default_value = "127.0.0.1:8080")]
    bind: SocketAddr,
    /// gRPC address of the replica
    #[arg(long, env = "OMNIGRAPH_GRPC_BIND", default_value = "127.0.0.1:8081")]
    grpc_bind: SocketAddr,
    /// gRPC address of the control plane (default: 127.0.0.1:8090, or any port when that is taken)
    #[arg(long, env = "OMNIGRAPH_CONTROL_BIND")]
    control_bind: Option<SocketAddr>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let storage = storage(&args, context)?;
    if let Some(up) = Up::of(&args.dir) {
        let message = format!(
            "{} is up already: pid {}, http://{}",
            args.dir.display(),
            up.pid,
            up.http
        );
        return Err(Error::failed(message).with_hint(format!("stop it with kill {}", up.pid)));
    }
    let declared = embedded::bundle(&args.dir)?;
    let shutdown = Shutdown::on_signals(DRAIN_BOUND);
    let shutdown = shutdown.map_err(|e| Error::failed(format!("signals: {e}")))?;
    let planes = Planes::start(&args, &storage, context.actor()?, &shutdown).await?;
    let say = Say::new(context.output);
    say.listening(&planes)?;
    let serve = serve(&args, context, &planes, declared, &say, shutdown.token());
    let stopped = shutdown.token();
    let outcome = tokio::select! {
        outcome = serve => outcome,
        () = stopped.cancelled() => Ok(()),
    };
    // Only a file of this process is removed: another `up` may have replaced it.
    planes.forget(&args.dir);
    say.stopping();
    shutdown.drain().await;
    outcome
}

/// Applies, loads, announces, and stays.
async fn serve(
    args: &Args,
    context: &Context,
    planes: &Planes,
    declared: pb::ConfigBundle,
    say: &Say,
    stop: tokio_util::sync::CancellationToken,
) -> Result<()> {
    let started = Instant::now();
    let mut control = planes.control();
    let result = apply(&mut control, declared).await?;
    say.applied(&result, started.elapsed())?;
    let started = Instant::now();
    if !planes.replica.takes_up(result.revision, READY_BOUND).await
        || !planes.replica.ready(Duration::ZERO).await
    {
        let client = planes.data(context);
        return Err(not_ready(&client).await);
    }
    say.ready(started.elapsed())?;
    load(args, context, planes, say).await?;
    planes.announce(&args.dir)?;
    say.serving(planes)?;
    if args.watch {
        watch::follow(&args.dir, &mut control, planes, say, stop).await
    } else {
        stop.cancelled().await;
        Ok(())
    }
}

/// Applies declarations without waiting for replicas. What is wrong with single resources is in
/// the result; what is wrong with the whole is an error.
async fn apply(control: &mut ControlClient, declared: pb::ConfigBundle) -> Result<pb::ApplyResult> {
    let request = pb::ApplyRequest {
        bundle: Some(declared),
        lock_timeout_ms: 60_000,
        ..Default::default()
    };
    let mut result = None;
    control
        .apply(request, &mut |event| {
            if let pb::apply_response::Event::Result(done) = event {
                result = Some(done);
            }
            Ok(())
        })
        .await?;
    let result: pb::ApplyResult =
        result.ok_or_else(|| Error::unavailable("apply ended without a result"))?;
    if !result.ok || result.revision == 0 {
        let lines = result
            .diagnostics
            .iter()
            .map(|d| diagnostic_line(&d.into()))
            .collect();
        return Err(Error::failed("apply failed").with_details(lines));
    }
    Ok(result)
}

async fn load(args: &Args, context: &Context, planes: &Planes, say: &Say) -> Result<()> {
    let mut first = true;
    for path in &args.data {
        let started = Instant::now();
        let client = planes.data(context);
        let graph = match &args.data_graph {
            Some(graph) => graph.clone(),
            None => super::only_graph(&client).await?,
        };
        let session = Session { client, graph };
        if first && !is_empty(&session).await? {
            say.kept(&session.graph);
            return Ok(());
        }
        first = false;
        let job = Job {
            of: None,
            mode: args.mode,
            branch: "main",
            from: None,
            idempotency_key: None,
            message: None,
        };
        let source = Source::open(path, None).await?;
        source.check(None)?;
        let (loaded, _) = send(&job, source, &session, context).await?;
        say.loaded(&session.graph, &loaded, started.elapsed())?;
    }
    Ok(())
}

/// Whether `main` has no entity: a second start must not load the same edges again.
async fn is_empty(session: &Session) -> Result<bool> {
    let call = Call::get(session.path("/snapshot"));
    let (snapshot, _): (SnapshotOutput, _) = session.client.json(&call).await?;
    for dataset in &snapshot.datasets {
        let dataset: Dataset = understand(dataset.get())?;
        if dataset.entity_count > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The storage root; one that is not local needs consent.
fn storage(args: &Args, context: &Context) -> Result<Root> {
    let root = match &args.storage {
        Some(uri) => uri.clone(),
        None => bundle::storage_root(&args.dir).map_err(|e| embedded::control_error(&e))?,
    };
    let root = Root::Storage(root);
    if let Root::Storage(uri) = &root
        && !root.is_local()
        && !context.global.yes
    {
        return Err(Error::usage(format!("{uri} is not local"))
            .with_hint("repeat with --yes, or use --storage DIR"));
    }
    Ok(root)
}

async fn not_ready(client: &DataClient) -> Error {
    let call = Call::get("/graphs").query("include", Some("all"));
    let listed = client.text(&call).await.unwrap_or_default();
    Error::failed(format!("not every graph became ready: {listed}"))
        .with_hint("the log above has the reason of each graph")
}

impl Planes {
    /// A client on the replica of this process, with the token that it asks for.
    pub(crate) fn data(&self, context: &Context) -> DataClient {
        let credentials = Credentials {
            token: bearer_token(),
            timeout: context.global.timeout,
            request_id: None,
        };
        let door = embedded::door(self.replica.upstream());
        DataClient::new(
            door,
            format!("http://{}", self.up.http),
            true,
            credentials,
            None,
        )
    }
}
