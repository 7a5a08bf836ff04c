//! `diff`: what differs between two states; and what all lists of changes have in common.

use serde_json::value::RawValue;

use super::{Context, Session, raw};
use crate::client::data::Call;
use crate::client::shapes::DiffOutput;
use crate::error::Result;
use crate::output::Rendered;
use crate::render;

/// Which changes are wanted.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Filter {
    /// Only nodes or only edges (repeat for both)
    #[arg(long, value_name = "KIND", value_parser = ["node", "edge"])]
    pub(crate) kind: Vec<String>,
    /// Only this type (repeat for more)
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only this (repeat for more)
    #[arg(long, value_name = "OP", value_parser = ["insert", "update", "delete"])]
    pub(crate) op: Vec<String>,
}

impl Filter {
    pub(crate) fn query(&self, call: Call) -> Call {
        let named = [
            ("kind", &self.kind),
            ("type", &self.types),
            ("op", &self.op),
        ];
        let pairs = named
            .into_iter()
            .flat_map(|(name, values)| values.iter().map(move |value| (name, value)));
        pairs.fold(call, |call, (name, value)| call.query(name, Some(value)))
    }
}

/// Which part of the changes is wanted. Without it all pages are joined.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Page {
    /// One page with at most so many changes
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u32>,
    /// The page behind another
    #[arg(long, value_name = "TOKEN")]
    pub(crate) page_token: Option<String>,
}

impl Page {
    /// Whether one page as it comes is asked for.
    pub(crate) fn is_one(&self) -> bool {
        self.limit.is_some() || self.page_token.is_some()
    }

    pub(crate) fn query(&self, call: Call, token: Option<&str>) -> Call {
        let limit = self.limit.map(|n| n.to_string());
        call.query("limit", limit.as_deref())
            .query("page_token", token.or(self.page_token.as_deref()))
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Branch, commit or tag; branch:, commit: and tag: in front say which
    from: String,
    /// The same
    to: String,
    /// Compare the second with the newest commit that both have
    #[arg(long)]
    merge_base: bool,
    /// Only counts
    #[arg(long)]
    summary: bool,
    /// The first branch as it was at this time
    #[arg(long, value_name = "TIME")]
    from_as_of: Option<String>,
    /// The second branch as it was at this time
    #[arg(long, value_name = "TIME")]
    to_as_of: Option<String>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    page: Page,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let rendered = context
        .with_session(async |session| diff(&args, session).await)
        .await?;
    context.output.show(&rendered)
}

async fn diff(args: &Args, session: &Session) -> Result<Rendered> {
    let call = |token: Option<&str>| {
        let call = Call::get(session.path("/diff"))
            .query("from", Some(&args.from))
            .query("to", Some(&args.to))
            .query("from_as_of", args.from_as_of.as_deref())
            .query("to_as_of", args.to_as_of.as_deref())
            .query("base", args.merge_base.then_some("merge_base"))
            .query("summary_only", args.summary.then_some("true"));
        args.page.query(args.filter.query(call), token)
    };
    let (first, json): (DiffOutput, _) = session.client.json(&call(None)).await?;
    let mut changes: Vec<Box<RawValue>> = first.changes.clone();
    if args.page.is_one() || first.next_page_token.is_none() {
        return render::changes::diff(&args.from, &args.to, &first, &raw(&changes), &json);
    }
    let mut token = first.next_page_token.clone();
    while let Some(next) = token {
        let (page, _): (DiffOutput, _) = session.client.json(&call(Some(&next))).await?;
        changes.extend(page.changes);
        token = page.next_page_token;
    }
    let json = render::changes::joined(&json, &raw(&changes))?;
    render::changes::diff(&args.from, &args.to, &first, &raw(&changes), &json)
}
