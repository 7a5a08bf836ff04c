//! `load`: NDJSON, Arrow or Parquet becomes one commit, streamed from a file or stdin.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use futures::StreamExt as _;
use http::Request;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::AsyncRead;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::ReaderStream;

use super::{Context, Session};
use crate::client::data::{Body, TRIES, escape, fresh_key, may_pass, refused, understand};
use crate::client::shapes::LoadOutput;
use crate::error::{Error, Result};
use crate::progress::Transfer;
use crate::render;

/// Read from the file at once.
const CHUNK: usize = 256 * 1024;
/// Before a load is sent again; longer each time.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Chunks between the reader and the connection.
const CHUNKS_AHEAD: usize = 4;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// NDJSON, Arrow or Parquet file, maybe .gz or .zst, or - for stdin
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// What the file holds (default: by its name, else ndjson)
    #[arg(long, value_enum)]
    format: Option<Kind>,
    /// The node type of all rows of an Arrow or Parquet file
    #[arg(long = "type", value_name = "TYPE", conflicts_with = "edge")]
    node: Option<String>,
    /// The edge type of all rows of an Arrow or Parquet file
    #[arg(long, value_name = "TYPE")]
    edge: Option<String>,
    /// What happens to entities that exist
    #[arg(long, value_enum)]
    mode: Mode,
    /// Branch to load into (default: main)
    #[arg(long)]
    branch: Option<String>,
    /// Create the branch from this one if it is missing
    #[arg(long, value_name = "BASE")]
    from: Option<String>,
    /// Makes a repeat of this command safe (default: a fresh one, for its own retries)
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Note for the history
    #[arg(long)]
    message: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Mode {
    /// Insert or replace, by key
    Merge,
    /// Insert only; an existing key refuses the load
    Append,
    /// Replace everything of each type that occurs
    Overwrite,
}

impl Mode {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Mode::Merge => "merge",
            Mode::Append => "append",
            Mode::Overwrite => "overwrite",
        }
    }
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// One JSON object per line
    Ndjson,
    /// Arrow IPC, stream or file (Feather version 2)
    Arrow,
    /// Parquet
    Parquet,
}

impl Kind {
    /// By the name of a file, without the ending of its compression.
    fn of(name: &str) -> Kind {
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        match ending.to_ascii_lowercase().as_str() {
            "arrow" | "arrows" | "feather" | "ipc" => Kind::Arrow,
            "parquet" | "pq" => Kind::Parquet,
            _ => Kind::Ndjson,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Kind::Ndjson => "ndjson",
            Kind::Arrow => "arrow",
            Kind::Parquet => "parquet",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Kind::Ndjson => "application/x-ndjson",
            Kind::Arrow => "application/vnd.apache.arrow.stream",
            Kind::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// The type of all rows of a columnar file.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Of<'a> {
    Node(&'a str),
    Edge(&'a str),
}

/// One load, wherever it comes from.
pub(crate) struct Job<'a> {
    pub(crate) of: Option<Of<'a>>,
    pub(crate) mode: Mode,
    pub(crate) branch: &'a str,
    pub(crate) from: Option<&'a str>,
    pub(crate) idempotency_key: Option<&'a str>,
    pub(crate) message: Option<&'a str>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let branch = args.branch.as_deref().unwrap_or("main");
    let of = match (&args.node, &args.edge) {
        (Some(node), _) => Some(Of::Node(node)),
        (None, Some(edge)) => Some(Of::Edge(edge)),
        (None, None) => None,
    };
    let key = args.idempotency_key.clone().unwrap_or_else(fresh_key);
    let job = Job {
        of,
        mode: args.mode,
        branch,
        from: args.from.as_deref(),
        idempotency_key: Some(&key),
        message: args.message.as_deref(),
    };
    // Before anything is opened: a wrong path is a usage error.
    let source = Source::open(&args.data, args.format).await?;
    source.check(of)?;
    let (graph, output, json) = context
        .with_session(async |session| {
            if matches!(args.mode, Mode::Overwrite) {
                let what = format!(
                    "what {}@{branch} has of every type in the file; a revert can bring it back",
                    session.graph
                );
                context.consent(&what, &session.graph, session.client.local)?;
            }
            context
                .output
                .note(&session.client.target("load", &session.graph, branch));
            let (output, json) = send_until_answered(&args, &job, source, session, context).await?;
            Ok((session.graph.clone(), output, json))
        })
        .await?;
    context
        .output
        .show(&render::query::load(&graph, &output, &json))
}

/// Sends the file again while the replica is away or not ready: the key makes that safe. What came
/// from stdin is gone.
async fn send_until_answered(
    args: &Args,
    job: &Job<'_>,
    source: Source,
    session: &Session,
    context: &Context,
) -> Result<(LoadOutput, String)> {
    let mut source = source;
    for again in 1..TRIES {
        let error = match send(job, source, session, context).await {
            Err(error) if may_pass(&error) && args.data != Path::new("-") => error,
            answer => return answer,
        };
        tokio::time::sleep(RETRY_PAUSE * again).await;
        context
            .output
            .note(&format!("{}: sending it again", error.message));
        source = Source::open(&args.data, args.format).await?;
    }
    send(job, source, session, context).await
}

/// Sends the file and waits for the commit.
pub(crate) async fn send(
    job: &Job<'_>,
    source: Source,
    session: &Session,
    context: &Context,
) -> Result<(LoadOutput, String)> {
    let wanted = context.global.progress.unwrap_or_default();
    let transfer = Arc::new(Transfer::new(
        "load",
        source.size,
        wanted,
        context.output.quiet,
    ));
    let encoding = source.encoding;
    let request = Request::builder()
        .method("POST")
        .uri(uri(job, source.kind, session))
        .header("content-type", source.kind.media_type());
    let optional = [
        ("content-encoding", encoding),
        ("idempotency-key", job.idempotency_key),
    ];
    let request = optional
        .into_iter()
        .fold(request, |request, (name, value)| match value {
            Some(value) => request.header(name, value),
            None => request,
        });
    let request = request
        .body(body(source.reader, transfer.clone()))
        .map_err(|e| Error::usage(format!("the request cannot be written: {e}")))?;
    let answer = session.client.send(request).await;
    transfer.finish();
    let answer = answer?;
    if !answer.status().is_success() {
        return Err(refused(answer).await);
    }
    let text = answer
        .into_body()
        .collect()
        .await
        .map_err(crate::client::data::broken)?;
    let text = String::from_utf8_lossy(&text.to_bytes()).into_owned();
    Ok((understand(&text)?, text))
}

fn uri(job: &Job<'_>, kind: Kind, session: &Session) -> String {
    let mut uri = session.path(&format!("/load/{}", kind.word()));
    uri.push_str(&format!(
        "?branch={}&mode={}",
        escape(job.branch),
        job.mode.word()
    ));
    let (node, edge) = match job.of {
        Some(Of::Node(name)) => (Some(name), None),
        Some(Of::Edge(name)) => (None, Some(name)),
        None => (None, None),
    };
    let optional = [
        ("from", job.from),
        ("message", job.message),
        ("type", node),
        ("edge", edge),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            uri.push_str(&format!("&{name}={}", escape(value)));
        }
    }
    uri
}

/// What is loaded.
pub(crate) struct Source {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    size: Option<u64>,
    encoding: Option<&'static str>,
    kind: Kind,
}

impl Source {
    /// Opens a file. What it holds is told by its name unless it is given.
    pub(crate) async fn open(path: &Path, kind: Option<Kind>) -> Result<Source> {
        if path == Path::new("-") {
            return Ok(Source {
                reader: Box::new(tokio::io::stdin()),
                size: None,
                encoding: None,
                kind: kind.unwrap_or(Kind::Ndjson),
            });
        }
        let wrong = |e: std::io::Error| Error::usage(format!("{}: {e}", path.display()));
        let file = tokio::fs::File::open(path).await.map_err(wrong)?;
        let metadata = file.metadata().await.map_err(wrong)?;
        if metadata.is_dir() {
            return Err(Error::usage(format!("{} is a directory", path.display())));
        }
        let name = path.file_name().and_then(|name| name.to_str());
        let (name, encoding) = compression(name.unwrap_or_default());
        let size = metadata.is_file().then_some(metadata.len());
        Ok(Source {
            reader: Box::new(file),
            size,
            encoding,
            kind: kind.unwrap_or_else(|| Kind::of(name)),
        })
    }

    /// Rows of columns need a type, lines name theirs.
    pub(crate) fn check(&self, of: Option<Of<'_>>) -> Result<()> {
        match (self.kind, of) {
            (Kind::Ndjson, Some(_)) => Err(Error::usage(
                "--type and --edge are for Arrow and Parquet files: lines of NDJSON name their type",
            )),
            (Kind::Arrow | Kind::Parquet, None) => Err(Error::usage(
                "rows of Arrow and Parquet files are of one type: name it with --type or --edge",
            )),
            _ => Ok(()),
        }
    }
}

/// The name without the ending of its compression, and the compression.
fn compression(name: &str) -> (&str, Option<&'static str>) {
    match name.rsplit_once('.') {
        Some((rest, ending)) if ending.eq_ignore_ascii_case("gz") => (rest, Some("gzip")),
        Some((rest, ending)) if ending.eq_ignore_ascii_case("zst") => (rest, Some("zstd")),
        _ => (name, None),
    }
}

/// Streams the reader. A read error ends the request without its end, so nothing is committed.
fn body(reader: Box<dyn AsyncRead + Send + Unpin>, transfer: Arc<Transfer>) -> Body {
    let (sender, receiver) = tokio::sync::mpsc::channel(CHUNKS_AHEAD);
    // Ends with the file, or when the request is dropped and the channel closes.
    tokio::spawn(async move {
        let mut chunks = ReaderStream::with_capacity(reader, CHUNK);
        while let Some(chunk) = chunks.next().await {
            if let Ok(bytes) = &chunk {
                transfer.advance(bytes.len() as u64);
            }
            let frame = chunk
                .map(http_body::Frame::<Bytes>::data)
                .map_err(Into::into);
            let failed = frame.is_err();
            if sender.send(frame).await.is_err() || failed {
                return;
            }
        }
        transfer.committing();
    });
    BodyExt::boxed(StreamBody::new(ReceiverStream::new(receiver)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_files_hold() {
        for (name, kind, encoding) in [
            ("a.ndjson", Kind::Ndjson, None),
            ("a.NDJSON.GZ", Kind::Ndjson, Some("gzip")),
            ("a.jsonl.zst", Kind::Ndjson, Some("zstd")),
            ("a", Kind::Ndjson, None),
            ("a.gz", Kind::Ndjson, Some("gzip")),
            ("a.parquet", Kind::Parquet, None),
            ("a.b.feather", Kind::Arrow, None),
            ("a.arrows.zst", Kind::Arrow, Some("zstd")),
        ] {
            let (rest, found) = compression(name);
            assert_eq!((Kind::of(rest), found), (kind, encoding), "{name}");
        }
    }
}
