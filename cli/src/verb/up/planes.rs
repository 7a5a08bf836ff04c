//! What runs behind `up`: listeners, control plane, replica, gateway.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use omnigraph_control_plane::{AdminActors, ControlPlane, server};
use omnigraph_data_plane::{Access, Control, Replica, ServeOptions};
use omnigraph_policy::{Actor, Credentials, Plane, StartError};
use omnigraph_telemetry::Shutdown;
use tokio::net::TcpListener;

use super::{Args, DRAIN_BOUND};
use crate::address::{Root, Up};
use crate::client::control::ControlClient;
use crate::client::embedded;
use crate::error::{Error, Result};
use crate::verb::bearer_token;

const CONTROL_BIND: &str = "127.0.0.1:8090";
const REPLICA_ID: &str = "up";

/// Everything that runs, and where it is reached.
pub(crate) struct Planes {
    pub(crate) up: Up,
    pub(crate) replica: Replica,
    plane: ControlPlane,
    /// Who the user says they are.
    actor: Actor,
}

struct Listeners {
    http: TcpListener,
    grpc: TcpListener,
    control: TcpListener,
}

impl Planes {
    /// Binds, opens the storage, and serves. Nothing is applied yet.
    pub(crate) async fn start(
        args: &Args,
        storage: &Root,
        actor: Actor,
        shutdown: &Shutdown,
    ) -> Result<Planes> {
        let credentials = credentials(args, &actor)?;
        let listeners = Listeners {
            http: bind(args.bind, "--bind").await?,
            grpc: bind(args.grpc_bind, "--grpc-bind").await?,
            control: bind_control(args.control_bind).await?,
        };
        let engine = embedded::engine(storage).await?;
        let dir = args.dir.canonicalize();
        let up = Up {
            pid: std::process::id(),
            dir: dir.map_err(|e| Error::usage(format!("{}: {e}", args.dir.display())))?,
            storage: engine.store().root_uri().to_owned(),
            http: local(&listeners.http)?,
            grpc: local(&listeners.grpc)?,
            control: local(&listeners.control)?,
        };

        let mut options = omnigraph_control_plane::Options::new(format!("up-{}", up.pid));
        options.address = Some(up.control.to_string());
        // Whoever starts it may change it.
        options.admin_actors = AdminActors::from_env().or("default");
        let plane = ControlPlane::new(engine.clone(), options);
        let stop = shutdown.token();
        let leading = plane.spawn_leading(stop.clone());
        shutdown.spawn(leading);
        shutdown.spawn(server::serve(
            plane.clone(),
            listeners.control,
            credentials.clone(),
            stop,
        ));

        let mut options = omnigraph_data_plane::Options::served(Access::Credentials(credentials));
        options.replica_id = REPLICA_ID.to_owned();
        options.engine = Some(engine);
        options.control = Some(Control {
            address: up.control.to_string(),
            token: bearer_token(),
        });
        options.grpc_address = up.grpc.to_string();
        options.http_address = up.http.to_string();
        let replica = Replica::start(options).await;
        let replica = replica.map_err(|e| Error::failed(e.to_string()))?;
        serve(replica.clone(), listeners.http, listeners.grpc, shutdown);
        Ok(Planes {
            up,
            replica,
            plane,
            actor,
        })
    }

    /// A client on the control plane of this process.
    pub(crate) fn control(&self) -> ControlClient {
        let label = format!("grpc://{}", self.up.control);
        ControlClient::in_process(&self.plane, &self.actor, label)
    }

    /// Lets other commands find this process.
    pub(crate) fn announce(&self, dir: &Path) -> Result<()> {
        let path = Up::path(dir);
        let wrong = |e: std::io::Error| Error::failed(format!("{}: {e}", path.display()));
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(wrong)?;
        }
        let text = serde_json::to_string_pretty(&self.up);
        let text = text.map_err(|e| wrong(std::io::Error::other(e)))?;
        // A reader sees the old file or the new one, never half of it.
        let beside = path.with_extension("json.new");
        std::fs::write(&beside, text).map_err(wrong)?;
        std::fs::rename(&beside, &path).map_err(wrong)
    }

    /// Removes what [`Planes::announce`] wrote.
    pub(crate) fn forget(&self, dir: &Path) {
        let path = Up::path(dir);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let ours = serde_json::from_str::<Up>(&text).is_ok_and(|up| up == self.up);
        if ours {
            // It is found dead otherwise.
            let _ = std::fs::remove_file(&path);
        }
    }
}

/// Serves the replica until the stop, then finishes what was begun.
fn serve(replica: Replica, http: TcpListener, grpc: TcpListener, shutdown: &Shutdown) {
    let stop = shutdown.token();
    let options = ServeOptions {
        http: Some(http),
        grpc: Some(grpc),
        gateway: omnigraph_gateway::Options::default(),
        drain_delay: Duration::ZERO,
        shutdown_timeout: DRAIN_BOUND,
    };
    shutdown.spawn(async move {
        let served = omnigraph_data_plane::serve(&replica, options, stop.cancelled()).await;
        if let Err(error) = served {
            tracing::error!(%error, "a listener failed");
            stop.cancel();
        }
    });
}

/// On loopback every caller is who the user says they are; anywhere else callers must prove it.
fn credentials(args: &Args, actor: &Actor) -> Result<Credentials> {
    let control = args
        .control_bind
        .is_none_or(|address| address.ip().is_loopback());
    let open = args.bind.ip().is_loopback() && args.grpc_bind.ip().is_loopback() && control;
    if open && bearer_token().is_none() {
        return Ok(Credentials::Declared(actor.clone()));
    }
    Credentials::from_env(Plane::Data, false).map_err(|error| match error {
        StartError::OpenByAccident(_) => {
            Error::usage("an address that others can reach needs credentials")
                .with_hint("set OMNIGRAPH_BEARER_TOKEN, or bind 127.0.0.1")
        }
        tokens => Error::usage(tokens.to_string()),
    })
}

async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| {
        Error::failed(format!("cannot listen on {address}: {e}"))
            .with_hint(format!("choose another with {flag}; port 0 takes any"))
    })
}

/// The default port is a convenience: other commands find the address in `up.json`.
async fn bind_control(wanted: Option<SocketAddr>) -> Result<TcpListener> {
    if let Some(address) = wanted {
        return bind(address, "--control-bind").await;
    }
    match TcpListener::bind(CONTROL_BIND).await {
        Ok(listener) => Ok(listener),
        Err(_) => bind(SocketAddr::from(([127, 0, 0, 1], 0)), "--control-bind").await,
    }
}

fn local(listener: &TcpListener) -> Result<SocketAddr> {
    listener
        .local_addr()
        .map_err(|e| Error::failed(format!("listener: {e}")))
}
