//! `changes poll`, `watch`, `baseline`: following a branch.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use http_body_util::BodyExt as _;
use serde_json::{Map, Value, json};

use super::diff::Filter;
use super::{Context, Session};
use crate::args::Format;
use crate::client::data::{Answer, Call, broken, understand};
use crate::client::shapes::{BaselineLine, ChangeFeedOutput};
use crate::error::{Error, Result};
use crate::output::Rendered;
use crate::render;

/// A poll is held for so long.
const WAIT_MS: &str = "25000";

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Show what happened since a cursor, and the next cursor
    Poll(PollArgs),
    /// Show commits as they land, until interrupted
    Watch(WatchArgs),
    /// Write all entities and get a cursor that goes on from there
    Baseline(BaselineArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct PollArgs {
    #[command(flatten)]
    feed: Feed,
    /// A page of a poll that goes on
    #[arg(long, value_name = "TOKEN", conflicts_with_all = ["cursor", "start"])]
    page_token: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    feed: Feed,
    /// File that holds the cursor: read at first, replaced after each complete poll
    #[arg(long, value_name = "FILE")]
    cursor_file: Option<PathBuf>,
    /// End as soon as everything was shown
    #[arg(long)]
    until_caught_up: bool,
}

#[derive(Debug, clap::Args)]
struct Feed {
    /// Branch (default: main)
    #[arg(long)]
    branch: Option<String>,
    /// Where the last poll ended
    #[arg(long, conflicts_with = "start")]
    cursor: Option<String>,
    /// now, beginning or after:COMMIT
    #[arg(long, value_name = "START")]
    start: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Changes per page
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct BaselineArgs {
    /// File to write, replaced only when the baseline is complete
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Branch (default: main)
    #[arg(long)]
    branch: Option<String>,
    #[command(flatten)]
    filter: Filter,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    match command {
        Command::Poll(args) => {
            let rendered = context
                .with_session(async |session| poll(&args, session).await)
                .await?;
            context.output.show(&rendered)
        }
        Command::Watch(args) => {
            context
                .with_session(async |session| watch(&args, session, context).await)
                .await
        }
        Command::Baseline(args) => {
            let rendered = context
                .with_session(async |session| baseline(&args, session).await)
                .await?;
            context.output.show(&rendered)
        }
    }
}

/// Where a poll begins.
enum Position<'a> {
    Start(Option<&'a str>),
    Cursor(&'a str),
    Page(&'a str),
}

impl Feed {
    fn call(&self, session: &Session, position: &Position<'_>, wait: Option<&str>) -> Call {
        let limit = self.limit.map(|n| n.to_string());
        let call = Call::get(session.path("/changes"))
            .query("branch", self.branch.as_deref())
            .query("limit", limit.as_deref())
            .query("wait_ms", wait);
        let call = match position {
            Position::Start(start) => call.query("start", *start),
            Position::Cursor(cursor) => call.query("cursor", Some(cursor)),
            Position::Page(token) => call.query("page_token", Some(token)),
        };
        self.filter.query(call)
    }

    fn position(&self) -> Position<'_> {
        match &self.cursor {
            Some(cursor) => Position::Cursor(cursor),
            None => Position::Start(self.start.as_deref()),
        }
    }
}

/// The pages of one poll, joined; one page where one is asked for.
async fn poll(args: &PollArgs, session: &Session) -> Result<Rendered> {
    let position = match &args.page_token {
        Some(token) => Position::Page(token),
        None => args.feed.position(),
    };
    let call = args.feed.call(session, &position, None);
    let (mut page, json): (ChangeFeedOutput, _) = session.client.json(&call).await?;
    if args.page_token.is_some() || page.next_page_token.is_none() {
        return render::changes::feed(&page, &json);
    }
    while let Some(token) = page.next_page_token.take() {
        let call = args.feed.call(session, &Position::Page(&token), None);
        let (next, _): (ChangeFeedOutput, _) = session.client.json(&call).await?;
        page.blocks.extend(next.blocks);
        page.next_page_token = next.next_page_token;
        page.cursor = next.cursor;
        page.caught_up = next.caught_up;
    }
    let json = json!({
        "blocks": page.blocks, "cursor": page.cursor, "caught_up": page.caught_up,
    });
    render::changes::feed(&page, &json.to_string())
}

async fn watch(args: &WatchArgs, session: &Session, context: &Context) -> Result<()> {
    let mut cursor = match &args.cursor_file {
        Some(path) if path.exists() => {
            let text = std::fs::read_to_string(path).map_err(|e| wrong(path, &e))?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        }
        _ => None,
    };
    let mut page_token: Option<String> = None;
    loop {
        let position = match (&page_token, &cursor) {
            (Some(token), _) => Position::Page(token),
            (None, Some(cursor)) => Position::Cursor(cursor),
            (None, None) => args.feed.position(),
        };
        let wait = (!args.until_caught_up).then_some(WAIT_MS);
        let call = args.feed.call(session, &position, wait);
        let (page, _): (ChangeFeedOutput, _) = session.client.json(&call).await?;
        for block in &page.blocks {
            let line = match context.output.format {
                Format::Jsonl | Format::Json => format!("{}\n", block.get()),
                _ => render::changes::block(block.get())?,
            };
            context.output.data(&line)?;
        }
        page_token = page.next_page_token;
        if let Some(next) = page.cursor {
            if let Some(path) = &args.cursor_file {
                replace(path, next.as_bytes())?;
            }
            cursor = Some(next);
        }
        if args.until_caught_up && page.caught_up == Some(true) {
            return Ok(());
        }
    }
}

async fn baseline(args: &BaselineArgs, session: &Session) -> Result<Rendered> {
    let mut body = Map::new();
    if let Some(branch) = &args.branch {
        body.insert("branch".into(), json!(branch));
    }
    let filter = &args.filter;
    let lists = [
        ("kind", &filter.kind),
        ("type", &filter.types),
        ("op", &filter.op),
    ];
    for (member, values) in lists {
        if !values.is_empty() {
            body.insert(member.into(), json!(values));
        }
    }
    let call = Call::ask(session.path("/changes/baseline"), Value::Object(body));
    let answer = session.client.open(&call).await?;
    let part = beside(&args.out);
    let written = copy(answer, &part).await;
    let line = match written {
        Ok(line) => line,
        Err(error) => {
            // The partial file is of no use to anybody.
            let _ = std::fs::remove_file(&part);
            return Err(error);
        }
    };
    std::fs::rename(&part, &args.out).map_err(|e| wrong(&args.out, &e))?;
    let end = understand::<BaselineLine>(&line)?.baseline;
    let path = args.out.display().to_string();
    let text = format!(
        "{path} at {}, cursor {}",
        end.snapshot_commit_id, end.resume_cursor
    );
    let json = json!({
        "snapshot_commit_id": end.snapshot_commit_id,
        "resume_cursor": end.resume_cursor,
        "path": path,
    });
    let fields = [
        ("commit", end.snapshot_commit_id),
        ("cursor", end.resume_cursor),
        ("path", path),
    ];
    Ok(Rendered::record(text, &fields, &json.to_string()))
}

/// Writes all lines but the last, which is the answer: it holds the cursor and is no record.
async fn copy(answer: Answer, path: &Path) -> Result<String> {
    let mut file = std::fs::File::create(path).map_err(|e| wrong(path, &e))?;
    let mut body = answer.into_body();
    let mut held: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(broken)?;
        held.extend_from_slice(&frame.into_data().unwrap_or_default());
        let whole = held.len() - usize::from(held.ends_with(b"\n"));
        let last = held[..whole].iter().rposition(|byte| *byte == b'\n');
        if let Some(last) = last {
            file.write_all(&held[..=last])
                .map_err(|e| wrong(path, &e))?;
            held.drain(..=last);
        }
    }
    file.sync_all().map_err(|e| wrong(path, &e))?;
    String::from_utf8(held).map_err(|_| Error::failed("the server's answer is not UTF-8"))
}

fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let part = beside(path);
    let write = || {
        let mut file = std::fs::File::create(&part)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().map_err(|e| wrong(path, &e))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    path.with_file_name(name)
}

fn wrong(path: &Path, error: &std::io::Error) -> Error {
    Error::failed(format!("{}: {error}", path.display()))
}
