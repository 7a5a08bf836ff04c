//! One replica with its embedded gateway.

use std::error::Error;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use omnigraph_data_plane::{Access, Boot, Control, Options, Replica, ServeOptions, serve};
use omnigraph_engine::{Engine, EngineOptions, Store, StoreOptions};
use omnigraph_gateway::OptionArgs;
use omnigraph_policy::{Credentials, Plane};
use omnigraph_telemetry::{Shutdown, log};
use tokio::net::TcpListener;

/// A replica of omnigraph: serves the graphs of the applied revision over gRPC and HTTP
#[derive(Debug, Parser)]
#[command(name = "omnigraph-data-plane", version)]
struct Args {
    /// Storage root, or a directory with cluster.yaml
    #[arg(long, env = "OMNIGRAPH_CLUSTER", required_unless_present = "control")]
    cluster: Option<String>,
    /// gRPC address of the control plane
    #[arg(long, env = "OMNIGRAPH_CONTROL")]
    control: Option<String>,
    /// Bearer token for the control plane
    #[arg(long, env = "OMNIGRAPH_CONTROL_TOKEN", hide_env_values = true)]
    control_token: Option<String>,
    /// HTTP address to listen on; port 0 takes any
    #[arg(long, env = "OMNIGRAPH_BIND", default_value = "127.0.0.1:8080")]
    bind: SocketAddr,
    /// gRPC address to listen on; port 0 takes any
    #[arg(long, env = "OMNIGRAPH_GRPC_BIND", default_value = "127.0.0.1:8081")]
    grpc_bind: SocketAddr,
    /// Let everybody in, when no credential is configured
    #[arg(long)]
    unauthenticated: bool,
    /// Name of this replica; a new one on each start if it is absent
    #[arg(long, env = "OMNIGRAPH_REPLICA_ID")]
    replica_id: Option<String>,
    /// What to do when there is nothing to serve: wait, the default with a control plane, or fail
    #[arg(long, env = "OMNIGRAPH_BOOT", value_enum)]
    boot: Option<BootArg>,
    /// Be unready while any graph is quarantined
    #[arg(long, env = "OMNIGRAPH_REQUIRE_ALL_GRAPHS", value_parser = clap::builder::FalseyValueParser::new())]
    require_all_graphs: bool,
    /// How often to look at the ledger, in milliseconds
    #[arg(long, env = "OMNIGRAPH_POLL_INTERVAL_MS", default_value_t = 30_000)]
    poll_interval_ms: u64,
    /// Bytes that one query may hold
    #[arg(long, env = "OMNIGRAPH_QUERY_MEMORY", default_value_t = 1 << 30)]
    query_memory: u64,
    /// How long to be unready before the listeners close, such as 500ms or 5s
    #[arg(long, env = "OMNIGRAPH_DRAIN_DELAY", default_value = "1s", value_parser = duration)]
    drain_delay: Duration,
    /// How long requests may take to finish after that
    #[arg(long, env = "OMNIGRAPH_SHUTDOWN_TIMEOUT", default_value = "30s", value_parser = duration)]
    shutdown_timeout: Duration,
    #[command(flatten)]
    gateway: OptionArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum BootArg {
    Wait,
    Fail,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    // Lance tells each file that it writes.
    log::Options::from_env("info,lance=warn")?.install()?;
    let credentials = Credentials::from_env(Plane::Data, args.unauthenticated)?;
    let shutdown = Shutdown::on_signals(args.shutdown_timeout)?;
    let http = TcpListener::bind(args.bind).await?;
    let grpc = TcpListener::bind(args.grpc_bind).await?;
    let (http_address, grpc_address) = (http.local_addr()?, grpc.local_addr()?);
    let gateway: omnigraph_gateway::Options = args.gateway.into();
    let mut options = Options::served(Access::Credentials(credentials));
    options.engine = match &args.cluster {
        None => None,
        Some(cluster) => Some(open(cluster).await?),
    };
    options.boot = match (args.boot, &args.control) {
        (Some(BootArg::Wait), _) | (None, Some(_)) => Boot::Wait,
        (Some(BootArg::Fail), _) | (None, None) => Boot::Fail,
    };
    options.control = args.control.map(|address| Control {
        address,
        token: args.control_token,
    });
    if let Some(id) = args.replica_id {
        options.replica_id = id;
    }
    options.require_all_graphs = args.require_all_graphs;
    options.poll_interval = Duration::from_millis(args.poll_interval_ms.max(10));
    options.read_timeout = gateway.read_timeout;
    options.write_timeout = gateway.write_timeout;
    options.timeout_max = gateway.timeout_max;
    options.query_memory = args.query_memory;
    options.http_address = http_address.to_string();
    options.grpc_address = grpc_address.to_string();
    let mut out = io::stdout();
    writeln!(out, "OMNIGRAPH_LISTEN_ADDR={http_address}")?;
    writeln!(out, "OMNIGRAPH_GRPC_ADDR={grpc_address}")?;
    out.flush()?;
    let replica = Replica::start(options).await?;
    let serving = ServeOptions {
        http: Some(http),
        grpc: Some(grpc),
        gateway,
        drain_delay: args.drain_delay,
        shutdown_timeout: args.shutdown_timeout,
    };
    serve(&replica, serving, shutdown.requested()).await?;
    Ok(())
}

async fn open(cluster: &str) -> Result<Engine, Box<dyn Error>> {
    let root = omnigraph_control_plane::bundle::resolve_cluster(cluster)?;
    let store = Store::open(&root, StoreOptions::default()).await?;
    Ok(Engine::new(store, EngineOptions::default()))
}

/// `250ms`, `5s` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let amount: u64 = digits
        .parse()
        .map_err(|_| format!("'{text}' is no duration: write 250ms, 5s or 2m"))?;
    match &text[digits.len()..] {
        "ms" => Ok(Duration::from_millis(amount)),
        "s" | "" => Ok(Duration::from_secs(amount)),
        "m" => Ok(Duration::from_secs(amount.saturating_mul(60))),
        unit => Err(format!("unknown unit '{unit}': write 250ms, 5s or 2m")),
    }
}
