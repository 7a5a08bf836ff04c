//! A gateway of its own, in front of a replica.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use omnigraph_gateway::{OptionArgs, Upstream, router, serve};
use omnigraph_telemetry::{Shutdown, log};
use tokio::net::TcpListener;

/// The HTTP gateway of omnigraph
#[derive(Debug, Parser)]
#[command(name = "omnigraph-gateway", version)]
struct Args {
    /// Address to listen on; port 0 takes any
    #[arg(long, env = "OMNIGRAPH_BIND", default_value = "127.0.0.1:8080")]
    bind: SocketAddr,
    /// gRPC address of the replica
    #[arg(long, env = "OMNIGRAPH_GATEWAY_UPSTREAMS")]
    gateway_upstreams: String,
    /// How long requests may take to finish after SIGTERM, in seconds
    #[arg(long, env = "OMNIGRAPH_SHUTDOWN_TIMEOUT", default_value_t = 30)]
    shutdown_timeout: u64,
    #[command(flatten)]
    options: OptionArgs,
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

async fn run(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    log::Options::from_env("info")?.install()?;
    let upstream = Upstream::connect(&args.gateway_upstreams)?;
    let shutdown = Shutdown::on_signals(Duration::from_secs(args.shutdown_timeout))?;
    let listener = TcpListener::bind(args.bind).await?;
    let address = listener.local_addr()?;
    let mut out = io::stdout();
    writeln!(out, "OMNIGRAPH_LISTEN_ADDR={address}")?;
    out.flush()?;
    let stop = shutdown.token();
    let router = router(upstream, args.options.into());
    let served = shutdown.spawn(serve(listener, router, stop.cancelled_owned()));
    tokio::select! {
        () = shutdown.requested() => {}
        ended = served => ended??,
    }
    shutdown.drain().await;
    Ok(())
}
