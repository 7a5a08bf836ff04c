//! `mutate`: a stored mutation, or one from a file or the command line; one commit.

use serde_json::{Map, Value, json};

use super::query::{Params, Source};
use super::{Context, Session};
use crate::client::data::{Call, escape};
use crate::client::shapes::ChangeOutput;
use crate::error::Result;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    params: Params,
    /// Branch to change (default: main)
    #[arg(long)]
    branch: Option<String>,
    /// Only if the branch's head is this commit; else exit with 4
    #[arg(long, value_name = "COMMIT")]
    if_commit: Option<String>,
    /// Makes a repeat of this command safe (default: a fresh one, for its own retries)
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Note for the history
    #[arg(long)]
    message: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let source = args.source.text()?;
    let params = args.params.object()?;
    let rendered = context
        .with_session(async |session| {
            let branch = args.branch.as_deref().unwrap_or("main");
            context
                .output
                .note(&session.client.target("mutate", &session.graph, branch));
            let call = call(&args, source.as_deref(), params, session);
            let (output, json): (ChangeOutput, _) = session.client.json(&call).await?;
            Ok(render::query::change(&session.graph, &output, &json))
        })
        .await;
    let rendered = rendered.map_err(|error| args.source.show_in(source.as_deref(), error))?;
    context.output.show(&rendered)
}

fn call(args: &Args, source: Option<&str>, params: Map<String, Value>, session: &Session) -> Call {
    let mut body = Map::new();
    body.insert("params".into(), Value::Object(params));
    for (member, value) in [("branch", &args.branch), ("message", &args.message)] {
        if let Some(value) = value {
            body.insert(member.into(), json!(value));
        }
    }
    let name = args.source.name.as_deref().unwrap_or_default();
    let mut path = match source {
        Some(source) => {
            body.insert("query".into(), json!(source));
            if !name.is_empty() {
                body.insert("name".into(), json!(name));
            }
            session.path("/mutate")
        }
        None => {
            body.insert("expect_mutation".into(), json!(true));
            session.path(&format!("/queries/{}", escape(name)))
        }
    };
    if args.if_commit.is_some() {
        path.push_str("/if-graph-commit");
    }
    Call::post(path, Value::Object(body))
        .header("omnigraph-if-graph-commit", args.if_commit.as_deref())
        .keyed(args.idempotency_key.as_deref())
}
