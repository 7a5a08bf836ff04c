//! `export`: a graph as NDJSON, in the form that `load` takes.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};

use super::target::Target;
use super::{Context, Session};
use crate::client::data::{Answer, Call, broken};
use crate::error::{Error, Result};
use crate::output::write_all;
use crate::progress::Transfer;
use crate::render::words::{bytes, count};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    /// Only this type (repeat for more)
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// File to write, replaced only when the export is complete
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// How much was written.
#[derive(Default)]
struct Written {
    bytes: u64,
    records: u64,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let line = context
        .with_session(async |session| export(&args, session, context).await)
        .await?;
    match line {
        Some(line) => context.output.data(&format!("{line}\n")),
        None => Ok(()),
    }
}

async fn export(args: &Args, session: &Session, context: &Context) -> Result<Option<String>> {
    let mut body = Map::new();
    args.target.fill(&mut body);
    if !args.types.is_empty() {
        body.insert("type_names".into(), json!(args.types));
    }
    let call = Call::ask(session.path("/export"), Value::Object(body));
    let answer = session.client.open(&call).await?;
    let commit = answer.headers().get("omnigraph-graph-commit");
    let commit = commit
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let Some(path) = &args.out else {
        let transfer = Transfer::new("export", None, crate::args::Progress::None, true);
        copy(answer, &transfer, write_all).await?;
        return Ok(None);
    };
    let wanted = context.global.progress.unwrap_or_default();
    let transfer = Transfer::new("export", None, wanted, context.output.quiet);
    let written = to_file(answer, &transfer, path).await;
    transfer.finish();
    let written = written?;
    let place = args.target.place(&session.graph);
    let records = count(written.records, "record");
    let size = bytes(written.bytes);
    let shown = path.display();
    Ok(Some(format!(
        "{records} of {place} {commit} → {shown} ({size})"
    )))
}

/// Writes beside the file, then renames: a failure leaves what was there.
async fn to_file(answer: Answer, transfer: &Transfer, path: &Path) -> Result<Written> {
    let wrong = |e: std::io::Error| Error::failed(format!("{}: {e}", path.display()));
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".export-")
        .tempfile_in(dir)
        .map_err(wrong)?;
    let written = copy(answer, transfer, |chunk| {
        file.write_all(chunk).map_err(wrong)
    })
    .await?;
    file.as_file().sync_all().map_err(wrong)?;
    file.persist(path).map_err(|e| wrong(e.error))?;
    Ok(written)
}

async fn copy(
    answer: Answer,
    transfer: &Transfer,
    mut write: impl FnMut(&[u8]) -> Result<()>,
) -> Result<Written> {
    let mut body = answer.into_body();
    let mut written = Written::default();
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        written.bytes += chunk.len() as u64;
        written.records += chunk.iter().filter(|b| **b == b'\n').count() as u64;
        transfer.advance(chunk.len() as u64);
        write(&chunk)?;
    }
    Ok(written)
}
