//! `blob`: the content of a blob property, or what it is.

use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};

use super::{Context, Session};
use crate::client::data::{Answer, Call, broken, refused};
use crate::error::{Error, Result};
use crate::output::{Rendered, write_all};
use crate::progress::Transfer;
use crate::render::words::grouped;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Write the bytes of a blob to stdout or a file
    Get(GetArgs),
    /// Say what a blob is: size and etag, or where it lies
    Stat(Selector),
}

#[derive(Debug, clap::Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    selector: Selector,
    /// First byte to write
    #[arg(long, value_name = "BYTES")]
    offset: Option<u64>,
    /// How many bytes to write; less where the blob ends
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    length: Option<u64>,
    /// File to write, replaced only when the blob is complete
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Names one blob.
#[derive(Debug, clap::Args)]
pub(crate) struct Selector {
    /// Whether the entity is a node or an edge
    #[arg(value_enum)]
    entity: Entity,
    /// Its type
    #[arg(value_name = "TYPE")]
    type_name: String,
    /// Its id
    id: String,
    /// The blob property
    property: String,
    /// Branch to read (default: main)
    #[arg(long, conflicts_with = "snapshot")]
    branch: Option<String>,
    /// Commit to read
    #[arg(long, value_name = "COMMIT")]
    snapshot: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Entity {
    Node,
    Edge,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    match command {
        Command::Get(args) => {
            if args.out.is_none() && std::io::stdout().is_terminal() {
                return Err(Error::usage("blob get does not write bytes to a terminal")
                    .with_hint("name a file with --out, or redirect stdout"));
            }
            context
                .with_session(async |session| get(&args, session, context).await)
                .await
        }
        Command::Stat(selector) => {
            let rendered = context
                .with_session(async |session| stat(&selector, session).await)
                .await?;
            context.output.show(&rendered)
        }
    }
}

async fn get(args: &GetArgs, session: &Session, context: &Context) -> Result<()> {
    let range = range(args.offset, args.length);
    let call = args
        .selector
        .call(session, Call::get)
        .header("range", range.as_deref());
    let answer = session.client.ask(&call).await?;
    if answer.status() == StatusCode::FOUND {
        let uri = header(answer.headers(), "location");
        return Err(Error::failed(format!(
            "the blob is the external object {uri}, which is not read"
        ))
        .with_hint("blob stat says where it lies; read it there"));
    }
    if !answer.status().is_success() {
        return Err(refused(answer).await);
    }
    let total = header(answer.headers(), "content-length").parse().ok();
    let commit = header(answer.headers(), "omnigraph-snapshot-id").to_owned();
    let wanted = match args.out {
        Some(_) => context.global.progress.unwrap_or_default(),
        None => crate::args::Progress::None,
    };
    let transfer = Transfer::new("blob get", total, wanted, context.output.quiet);
    let written = match &args.out {
        None => copy(answer, &transfer, write_all).await,
        Some(path) => to_file(answer, &transfer, path).await,
    };
    transfer.finish();
    let written = written?;
    if let Some(path) = &args.out {
        let place = args.selector.place(session);
        let (bytes, shown) = (grouped(written), path.display());
        let line = format!("{bytes} bytes of {place} {commit} → {shown}");
        context.output.note(&line);
    }
    Ok(())
}

async fn stat(selector: &Selector, session: &Session) -> Result<Rendered> {
    let answer = session
        .client
        .ask(&selector.call(session, Call::head))
        .await?;
    let status = answer.status();
    if !status.is_success() && status != StatusCode::FOUND {
        // An answer to HEAD has no body that says why.
        let call = selector
            .call(session, Call::get)
            .header("range", Some("bytes=0-0"));
        return Err(refused(session.client.ask(&call).await?).await);
    }
    let headers = answer.headers();
    let commit = header(headers, "omnigraph-snapshot-id").to_owned();
    let place = selector.place(session);
    let mut body = Map::new();
    body.insert("selector".into(), selector.json());
    let mut fields = vec![("property", selector.property.clone())];
    let text = if status == StatusCode::FOUND {
        let uri = header(headers, "location").to_owned();
        body.insert("kind".into(), json!("external"));
        body.insert("uri".into(), json!(uri));
        fields.extend([("kind", "external".to_owned()), ("uri", uri.clone())]);
        format!("external  {uri}  {place} {commit}")
    } else {
        let size: u64 = header(headers, "content-length").parse().unwrap_or(0);
        let etag = header(headers, "etag").trim_matches('"').to_owned();
        body.insert("kind".into(), json!("managed"));
        body.insert("size".into(), json!(size));
        body.insert("etag".into(), json!(etag));
        fields.extend([
            ("kind", "managed".to_owned()),
            ("size", size.to_string()),
            ("etag", etag.clone()),
        ]);
        format!(
            "managed  {} bytes  etag \"{etag}\"  {place} {commit}",
            grouped(size)
        )
    };
    body.insert("target".into(), selector.target(&commit));
    fields.push(("snapshot", commit));
    let json = Value::Object(body).to_string();
    Ok(Rendered::record(text, &fields, &json))
}

impl Selector {
    fn call(&self, session: &Session, method: impl Fn(String) -> Call) -> Call {
        method(session.path("/blob"))
            .query("entity", Some(self.kind()))
            .query("type", Some(&self.type_name))
            .query("id", Some(&self.id))
            .query("property", Some(&self.property))
            .query("branch", self.branch.as_deref())
            .query("snapshot", self.snapshot.as_deref())
    }

    fn kind(&self) -> &'static str {
        match self.entity {
            Entity::Node => "node",
            Entity::Edge => "edge",
        }
    }

    fn json(&self) -> Value {
        json!({
            "entity": self.kind(), "type": self.type_name, "id": self.id,
            "property": self.property,
        })
    }

    fn target(&self, commit: &str) -> Value {
        let mut target = Map::new();
        match &self.snapshot {
            Some(snapshot) => target.insert("snapshot".into(), json!(snapshot)),
            None => {
                let branch = self.branch.as_deref().unwrap_or("main");
                target.insert("branch".into(), json!(branch))
            }
        };
        target.insert("resolved_snapshot".into(), json!(commit));
        Value::Object(target)
    }

    /// `debian@main`, or `debian` for a commit, which follows.
    fn place(&self, session: &Session) -> String {
        match (&self.snapshot, &self.branch) {
            (Some(_), _) => session.graph.clone(),
            (None, branch) => {
                format!("{}@{}", session.graph, branch.as_deref().unwrap_or("main"))
            }
        }
    }
}

/// The value of `Range`.
fn range(offset: Option<u64>, length: Option<u64>) -> Option<String> {
    let start = offset.unwrap_or(0);
    match (offset, length) {
        (None, None) => None,
        (_, None) => Some(format!("bytes={start}-")),
        (_, Some(length)) => {
            let last = start.saturating_add(length - 1);
            Some(format!("bytes={start}-{last}"))
        }
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// Writes beside the file, then renames: a failure leaves what was there.
async fn to_file(answer: Answer, transfer: &Transfer, path: &Path) -> Result<u64> {
    let wrong = |e: std::io::Error| Error::failed(format!("{}: {e}", path.display()));
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".blob-")
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
) -> Result<u64> {
    let mut body = answer.into_body();
    let mut written = 0;
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        written += chunk.len() as u64;
        transfer.advance(chunk.len() as u64);
        write(&chunk)?;
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_inclusive_on_the_wire() {
        assert_eq!(range(None, None), None);
        assert_eq!(range(Some(5), None).as_deref(), Some("bytes=5-"));
        assert_eq!(range(None, Some(1)).as_deref(), Some("bytes=0-0"));
        assert_eq!(range(Some(5), Some(10)).as_deref(), Some("bytes=5-14"));
        let most = range(Some(u64::MAX), Some(2));
        assert_eq!(most, Some(format!("bytes={0}-{0}", u64::MAX)));
    }
}
