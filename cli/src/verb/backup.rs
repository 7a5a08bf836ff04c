//! `backup create`, `list`, `verify`, `restore`.

use std::path::Path;
use std::time::Duration;

use omnigraph_engine::{BackupInfo, GraphId, list_backups, verify_backup};
use serde_json::{Map, Value, json};

use super::{Context, Session};
use crate::address::{Address, Up};
use crate::client::data::Call;
use crate::client::embedded::Embedded;
use crate::client::shapes::BackupOutput;
use crate::error::{Error, Exit, Result};
use crate::output::Rendered;
use crate::render;

/// How long a restoration waits for another operation of the cluster.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Copy what a graph needs to another storage root; what is there is not copied again
    Create(CreateArgs),
    /// List the complete backups at a storage root
    List {
        /// Storage root of backups
        #[arg(long, value_name = "URI")]
        from: String,
    },
    /// Read a whole backup and compare it with its digests
    Verify {
        /// As backup list shows it
        uri: String,
    },
    /// Make a graph of a backup, under an id that the cluster does not know
    Restore {
        /// As backup list shows it
        uri: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    /// Storage root of backups
    #[arg(long, value_name = "URI")]
    to: String,
    /// Only the head of this branch (default: main)
    #[arg(long, conflicts_with = "snapshot")]
    branch: Option<String>,
    /// Only this commit
    #[arg(long, value_name = "COMMIT")]
    snapshot: Option<String>,
    /// Every branch with its kept history, and the tags
    #[arg(long, conflicts_with_all = ["branch", "snapshot"])]
    history: bool,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let rendered = match command {
        Command::Create(args) => {
            context
                .with_session(async |session| create(&args, session, context).await)
                .await?
        }
        Command::List { from } => list(&from).await?,
        Command::Verify { uri } => return verify(&uri, context).await,
        Command::Restore { uri } => restore(&uri, context).await?,
    };
    context.output.show(&rendered)
}

async fn create(args: &CreateArgs, session: &Session, context: &Context) -> Result<Rendered> {
    let branch = args.branch.as_deref().unwrap_or("main");
    let note = session.client.target("back up", &session.graph, branch);
    context.output.note(&note);
    let mut body = Map::new();
    body.insert("destination_uri".into(), json!(absolute(&args.to)?));
    for (member, value) in [("branch", &args.branch), ("snapshot", &args.snapshot)] {
        if let Some(value) = value {
            body.insert(member.into(), json!(value));
        }
    }
    if args.history {
        body.insert("include_history".into(), json!(true));
    }
    let call = Call::post(session.path("/maintenance/backup"), Value::Object(body));
    let (made, json): (BackupOutput, _) = session.client.json(&call).await?;
    Ok(render::backup::created(&session.graph, &made, &json))
}

/// A path means the same whoever opens it.
fn absolute(to: &str) -> Result<String> {
    if to.contains("://") {
        return Ok(to.to_owned());
    }
    let path = std::path::absolute(to).map_err(|e| Error::usage(format!("{to}: {e}")))?;
    Ok(path.to_string_lossy().into_owned())
}

async fn list(from: &str) -> Result<Rendered> {
    let found = list_backups(from).await.map_err(|e| failed(&e))?;
    let items: Vec<String> = found.iter().map(|made| object(made).to_string()).collect();
    render::backup::list(&items, render::words::now_us())
}

fn object(made: &BackupInfo) -> Value {
    json!({
        "backup_id": made.id.to_string(),
        "graph_id": made.graph.as_str(),
        "uri": made.uri,
        "manifest_uri": made.manifest_uri,
        "graph_commit_id": made.commit.to_string(),
        "history": made.history,
        "created_at": made.created_at,
        "bytes": made.content.bytes,
        "objects": made.content.objects,
    })
}

async fn verify(uri: &str, context: &Context) -> Result<()> {
    let check = verify_backup(uri).await.map_err(|e| failed(&e))?;
    let json = json!({
        "ok": check.is_ok(),
        "objects": check.matching.objects,
        "bytes": check.matching.bytes,
        "missing": check.missing,
        "mismatched": check.mismatched,
    });
    let text = render::backup::verified(&check);
    context
        .output
        .show(&Rendered::document(text, json.to_string()))?;
    match check.is_ok() {
        true => Ok(()),
        false => Err(Error::silent(Exit::Failed)),
    }
}

/// Straight on storage and under the lead, because the ledger has to stay as it is meanwhile.
async fn restore(uri: &str, context: &Context) -> Result<Rendered> {
    let Some(id) = context.graph_name() else {
        return Err(Error::usage("under which id is the graph restored?")
            .with_hint("name one that the cluster does not know, with --graph"));
    };
    let id = GraphId::parse(&id).map_err(|e| Error::usage(e.message()))?;
    let root = match context.given.data(Path::new("."), &Up::find)? {
        Address::Embedded(root) => root,
        Address::Remote { url, .. } => {
            return Err(Error::usage(format!(
                "a backup is restored on the storage itself, not through {url}"
            ))
            .with_hint("name the cluster's directory or storage root with --cluster"));
        }
    };
    let embedded = Embedded::open(&root, context.actor()?).await?;
    let label = embedded.label.clone();
    context
        .output
        .note(&format!("→ restore {id} at {label} (embedded)"));
    let restored = embedded.restore(uri, &id, PATIENCE).await?;
    let json = json!({
        "graph_id": id.as_str(),
        "graph_commit_id": restored.commit.to_string(),
        "incarnation": restored.root.incarnation.to_string(),
        "objects": restored.content.objects,
        "bytes": restored.content.bytes,
    });
    let text = format!(
        "restored {id} at {}; the next apply that declares it with its schema adopts it",
        restored.commit
    );
    let fields = [
        ("graph", id.to_string()),
        ("commit", restored.commit.to_string()),
    ];
    Ok(Rendered::record(text, &fields, &json.to_string()))
}

fn failed(error: &omnigraph_engine::Error) -> Error {
    let shown = Error::failed(error.message().to_owned());
    match &error.detail().hint {
        Some(hint) => shown.with_hint(hint.clone()),
        None => shown,
    }
}
