//! `backup create`, `list`, `verify`, `restore`.

use std::path::Path;
use std::time::Duration;

use omnigraph_engine::{BackupInfo, GraphId, list_backups, verify_backup};
use omnigraph_proto::control::v1 as pb;
use omnigraph_proto::control::v1::restore_graph_response::Event;
use serde_json::{Map, Value, json};

use super::{Context, Session};
use crate::args::parse_duration;
use crate::client::data::Call;
use crate::client::shapes::BackupOutput;
use crate::error::{Error, Exit, Result};
use crate::output::Rendered;
use crate::render;

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
    Restore(RestoreArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// As backup list shows it; the control plane opens it
    uri: String,
    /// Restore only if the ledger is at this revision
    #[arg(long, value_name = "N")]
    expect_revision: Option<u64>,
    /// Wait for a running operation to end
    #[arg(long, value_name = "DUR", default_value = "10s", value_parser = parse_duration)]
    lock_timeout: Duration,
    /// Note for the graph's history
    #[arg(long)]
    message: Option<String>,
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
        Command::Restore(args) => restore(args, context).await?,
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

/// Under the lead, by the control plane or in this process.
async fn restore(args: RestoreArgs, context: &Context) -> Result<Rendered> {
    let Some(id) = context.graph_name() else {
        return Err(Error::usage("under which id is the graph restored?")
            .with_hint("name one that the cluster does not know, with --graph"));
    };
    let id = GraphId::parse(&id).map_err(|e| Error::usage(e.message()))?;
    let mut client = context.control(Path::new(".")).await?;
    let how = if client.is_embedded() {
        "embedded"
    } else {
        "served"
    };
    let note = format!("→ restore {id} at {} ({how})", client.label);
    context.output.note(&note);
    let request = pb::RestoreGraphRequest {
        uri: absolute(&args.uri)?,
        graph_id: id.to_string(),
        lock_timeout_ms: u32::try_from(args.lock_timeout.as_millis()).unwrap_or(u32::MAX),
        expect_revision: args.expect_revision.unwrap_or(0),
        message: args.message.unwrap_or_default(),
    };
    let embedded = client.is_embedded();
    let mut made = None;
    let restored = client
        .restore(request, &mut |event| {
            match event {
                Event::Operation(operation) => context.under_way.begin(&operation, embedded),
                Event::Result(result) => made = Some(result),
            }
            Ok(())
        })
        .await;
    context.under_way.end();
    client.close().await;
    restored?;
    let made = made.ok_or_else(|| {
        Error::unavailable("the control plane ended the restoration without a result")
            .with_hint("omnigraphctl operation list shows how it ended")
    })?;
    let text = format!(
        "restored {id} at {}; the next apply that declares it with its schema adopts it",
        made.graph_commit_id
    );
    let fields = [
        ("graph", id.to_string()),
        ("commit", made.graph_commit_id.clone()),
    ];
    let json = render::json::restored(&made).to_string();
    Ok(Rendered::record(text, &fields, &json))
}

fn failed(error: &omnigraph_engine::Error) -> Error {
    let shown = Error::failed(error.message().to_owned());
    match &error.detail().hint {
        Some(hint) => shown.with_hint(hint.clone()),
        None => shown,
    }
}
