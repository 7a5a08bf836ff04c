//! `omnigraph-control-plane`: the daemon.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use omnigraph_control_plane::failpoint::Failpoints;
use omnigraph_control_plane::{ADMIN_VARIABLE, AdminActors, ControlPlane, Options, bundle, server};
use omnigraph_engine::{Engine, EngineOptions, Store, StoreOptions};
use omnigraph_policy::{Credentials, Plane};
use omnigraph_telemetry::{Drained, Shutdown};
use tokio::net::TcpListener;

/// Applies declared configuration, leads the cluster and follows its replicas.
#[derive(Debug, Parser)]
#[command(name = "omnigraph-control-plane", version)]
struct Args {
    /// Storage root of the cluster, or a directory with cluster.yaml
    #[arg(long, env = "OMNIGRAPH_CLUSTER", value_name = "DIR|URI")]
    cluster: String,
    /// Where to listen for gRPC; port 0 takes any
    #[arg(long, env = "OMNIGRAPH_GRPC_BIND", default_value = "127.0.0.1:8090")]
    grpc_bind: SocketAddr,
    /// Address under which others reach the listener, if it is another one
    #[arg(long, env = "OMNIGRAPH_ADVERTISE", value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Name of this process in status and logs
    #[arg(long, env = "OMNIGRAPH_HOLDER", default_value = "control-plane")]
    holder: String,
    /// Milliseconds between two signs of life of the leader
    #[arg(
        long,
        env = "OMNIGRAPH_HEARTBEAT_MS",
        default_value_t = 5_000,
        value_name = "MS"
    )]
    heartbeat_ms: u64,
    /// Milliseconds without a sign of life after which a standby takes the lead
    #[arg(
        long,
        env = "OMNIGRAPH_TAKEOVER_MS",
        default_value_t = 15_000,
        value_name = "MS"
    )]
    takeover_ms: u64,
    /// Revisions that the history keeps at least
    #[arg(
        long,
        env = "OMNIGRAPH_HISTORY_REVISIONS",
        default_value_t = 1_000,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    history_revisions: u32,
    /// Days for which it keeps all of them
    #[arg(
        long,
        env = "OMNIGRAPH_HISTORY_DAYS",
        default_value_t = 90,
        value_name = "DAYS"
    )]
    history_days: u32,
    /// Let everybody in
    #[arg(long)]
    unauthenticated: bool,
    /// Seconds that work in flight gets to finish when the daemon stops
    #[arg(
        long,
        env = "OMNIGRAPH_SHUTDOWN_TIMEOUT",
        default_value_t = 30,
        value_name = "SECONDS"
    )]
    shutdown_timeout: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    match run(args).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    omnigraph_telemetry::log::Options::from_env("info")?.install()?;
    let (heartbeat, takeover) = (args.heartbeat_ms, args.takeover_ms);
    if heartbeat < 50 || takeover < heartbeat.saturating_mul(3) {
        return Err(
            "--takeover-ms must be at least three times --heartbeat-ms, and that at least 50"
                .into(),
        );
    }
    let credentials = Credentials::from_env(Plane::Control, args.unauthenticated)?;
    let root = bundle::resolve_cluster(&args.cluster)?;
    let store = Store::open(&root, StoreOptions::default()).await?;
    store.probe_create_once().await?;
    let engine = Engine::new(store, EngineOptions::default());

    let listener = TcpListener::bind(args.grpc_bind)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", args.grpc_bind))?;
    let address = listener.local_addr()?;
    let options = Options {
        address: Some(args.advertise.unwrap_or_else(|| address.to_string())),
        admin_actors: AdminActors::from_env(),
        heartbeat: Duration::from_millis(heartbeat),
        takeover: Duration::from_millis(takeover),
        history_revisions: args.history_revisions as usize,
        history_age: Duration::from_secs(u64::from(args.history_days) * 24 * 3600),
        failpoints: Failpoints::from_env(),
        ..Options::new(args.holder)
    };
    let plane = ControlPlane::new(engine, options);
    refuse_useless_start(&plane, &credentials, address).await?;

    let shutdown = Shutdown::on_signals(Duration::from_secs(args.shutdown_timeout))?;
    shutdown.spawn(plane.spawn_leading(shutdown.token()));
    let serving = server::serve(plane, listener, credentials, shutdown.token());
    let mut serving = shutdown.spawn(serving);
    println!("OMNIGRAPH_GRPC_ADDR={address}");
    std::io::stdout().flush()?;
    tracing::info!(%address, %root, "serving");

    let failed = tokio::select! {
        () = shutdown.requested() => None,
        ended = &mut serving => Some(ended),
    };
    let drained = shutdown.drain().await;
    match failed {
        Some(Ok(Err(error))) => Err(error.into()),
        Some(Err(error)) => Err(error.into()),
        _ if matches!(drained, Drained::Hurried { .. }) => Ok(ExitCode::FAILURE),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Refuses to start where everybody could do everything, or nobody anything.
async fn refuse_useless_start(
    plane: &ControlPlane,
    credentials: &Credentials,
    address: SocketAddr,
) -> Result<(), String> {
    // A ledger that cannot be read is repaired through a control plane that runs.
    let policy = plane.has_server_policy().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the policy of the cluster is not known");
        false
    });
    let admins = !plane.options().admin_actors.is_empty();
    match (credentials.are_demanded(), policy) {
        (false, true) => Err(format!(
            "the applied revision has a policy for the cluster and no credentials are configured, so \
             that every call would be refused: set {} and {ADMIN_VARIABLE}",
            Plane::Control.table_variable()
        )),
        (false, false) if !address.ip().is_loopback() => Err(format!(
            "--unauthenticated on {address} would let everybody who reaches it change the cluster: \
             bind a loopback address, or set {} and {ADMIN_VARIABLE}",
            Plane::Control.table_variable()
        )),
        (true, false) if !admins => Err(format!(
            "nobody could do anything: no policy is bound to cluster and {ADMIN_VARIABLE} names \
             nobody; name the actors that may apply the first policy",
        )),
        _ => Ok(()),
    }
}
