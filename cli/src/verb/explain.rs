//! `explain`: the plan of a query, and with `--analyze` what it costs.

use serde_json::{Map, Value, json};

use super::query::{Params, Source};
use super::target::Target;
use super::{Context, Session};
use crate::client::data::Call;
use crate::client::shapes::ExplainOutput;
use crate::error::Result;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    params: Params,
    #[command(flatten)]
    target: Target,
    /// Run it and measure each operator; a mutation commits
    #[arg(long)]
    analyze: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let source = args.source.text()?;
    let params = args.params.object()?;
    let rendered = context
        .with_session(async |session| {
            let call = call(&args, source.as_deref(), params, session);
            let (output, json): (ExplainOutput, _) = session.client.json(&call).await?;
            Ok(render::explain::explained(&session.graph, &output, &json))
        })
        .await;
    let rendered = rendered.map_err(|error| args.source.show_in(source.as_deref(), error))?;
    context.output.show(&rendered)
}

fn call(args: &Args, source: Option<&str>, params: Map<String, Value>, session: &Session) -> Call {
    let mut body = Map::new();
    body.insert("params".into(), Value::Object(params));
    args.target.fill(&mut body);
    if let Some(source) = source {
        body.insert("query".into(), json!(source));
    }
    if let Some(name) = &args.source.name {
        body.insert("name".into(), json!(name));
    }
    let path = session.path("/explain");
    match args.analyze {
        false => Call::ask(path, Value::Object(body)),
        true => {
            body.insert("mode".into(), json!("profile"));
            // It may be a mutation, so it is not repeated.
            Call::post(path, Value::Object(body))
        }
    }
}
