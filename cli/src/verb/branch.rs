//! `branch list`, `show`, `create`, `delete`, `merge`; `revert` has its own file.

use serde_json::{Map, Value, json};

use super::{Context, Session, raw};
use crate::client::data::{Call, escape};
use crate::client::shapes::{
    BranchCreateOutput, BranchDeleteOutput, BranchListOutput, BranchMergeOutput, BranchOutput,
};
use crate::error::Result;
use crate::output::Rendered;
use crate::render;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// List the branches with their heads
    List(ListArgs),
    /// Show one branch
    Show { name: String },
    /// Create a branch
    Create(CreateArgs),
    /// Delete a branch
    Delete(DeleteArgs),
    /// Merge a branch into another
    Merge(MergeArgs),
    /// Restore an earlier state, or undo one commit, with a new commit
    Revert(super::revert::RevertArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<u32>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArgs {
    name: String,
    /// Branch to start from (default: main)
    #[arg(long, conflicts_with_all = ["from_commit", "from_tag"])]
    from: Option<String>,
    /// Commit to start from
    #[arg(long, value_name = "COMMIT", conflicts_with_all = ["from_tag", "from_as_of"])]
    from_commit: Option<String>,
    /// Tag to start from
    #[arg(long, value_name = "TAG", conflicts_with = "from_as_of")]
    from_tag: Option<String>,
    /// Start from the branch as it was
    #[arg(long, value_name = "TIME")]
    from_as_of: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    name: String,
    /// Only if the branch's head is this commit; else exit with 4
    #[arg(long, value_name = "COMMIT")]
    if_commit: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct MergeArgs {
    source: String,
    /// Branch that takes the changes
    #[arg(long, default_value = "main")]
    into: String,
    /// Whose version of an entity counts when both changed it (ours = the branch merged into)
    #[arg(long, value_enum)]
    strategy: Option<Strategy>,
    /// The same for one node or edge type; repeatable, goes before --strategy
    #[arg(long, value_name = "TYPE=STRATEGY", value_parser = strategy_for)]
    strategy_for: Vec<(String, Strategy)>,
    /// Report what would happen, without a commit
    #[arg(long)]
    dry_run: bool,
    /// Only if the target's head is this commit; else exit with 4
    #[arg(long, value_name = "COMMIT")]
    if_target: Option<String>,
    /// Only if the source's head is this commit; else exit with 4
    #[arg(long, value_name = "COMMIT")]
    if_source: Option<String>,
    /// Delete the source afterwards
    #[arg(long)]
    delete_branch: bool,
    /// Note for the history
    #[arg(long)]
    message: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Strategy {
    Fail,
    Ours,
    Theirs,
}

impl Strategy {
    fn word(self) -> &'static str {
        match self {
            Strategy::Fail => "fail",
            Strategy::Ours => "ours",
            Strategy::Theirs => "theirs",
        }
    }
}

/// `Package=theirs`.
fn strategy_for(text: &str) -> std::result::Result<(String, Strategy), String> {
    let known = |word: &str| clap::ValueEnum::from_str(word, false).ok();
    text.split_once('=')
        .and_then(|(name, word)| Some((name.to_owned(), known(word)?)))
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| "expected TYPE=fail, TYPE=ours or TYPE=theirs".to_owned())
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    let rendered = context
        .with_session(async |session| match command {
            Command::List(args) => list(args, session).await,
            Command::Show { name } => show(&name, session).await,
            Command::Create(args) => create(args, session, context).await,
            Command::Delete(args) => delete(args, session, context).await,
            Command::Merge(args) => merge(args, session, context).await,
            Command::Revert(args) => super::revert::run(args, session, context).await,
        })
        .await?;
    context.output.show(&rendered)
}

fn path(session: &Session, branch: &str) -> String {
    session.path(&format!("/branches/{}", escape(branch)))
}

async fn list(args: ListArgs, session: &Session) -> Result<Rendered> {
    let limit = args.limit.map(|n| n.to_string());
    let call = Call::get(session.path("/branches"))
        .query("details", Some("true"))
        .query("limit", limit.as_deref());
    let (list, json): (BranchListOutput, _) = session.client.json(&call).await?;
    if list.branch_details.is_empty() {
        // A server that does not know `details`.
        let names: Vec<_> = list
            .branches
            .iter()
            .map(|name| json!(name).to_string())
            .collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        return render::commit::list(&["branch"], &names, &json, |text| {
            Ok(vec![text.trim_matches('"').to_owned()])
        });
    }
    render::commit::branches(&raw(&list.branch_details), &json, render::words::now_us())
}

async fn show(name: &str, session: &Session) -> Result<Rendered> {
    let (branch, json): (BranchOutput, _) =
        session.client.json(&Call::get(path(session, name))).await?;
    Ok(render::commit::branch(&branch, &json))
}

async fn create(args: CreateArgs, session: &Session, context: &Context) -> Result<Rendered> {
    context.output.note(
        &session
            .client
            .target("create branch", &session.graph, &args.name),
    );
    let mut body = Map::new();
    body.insert("name".into(), json!(args.name));
    for (member, value) in [
        ("from", &args.from),
        ("from_commit", &args.from_commit),
        ("from_tag", &args.from_tag),
        ("from_as_of", &args.from_as_of),
    ] {
        if let Some(value) = value {
            body.insert(member.into(), json!(value));
        }
    }
    let call = Call::post(session.path("/branches"), Value::Object(body));
    let (created, json): (BranchCreateOutput, _) = session.client.json(&call).await?;
    let from = args.from_commit.unwrap_or(created.from);
    let text = format!("created {} from {from}", created.name);
    let fields = [("branch", created.name), ("from", from)];
    Ok(Rendered::record(text, &fields, &json))
}

async fn delete(args: DeleteArgs, session: &Session, context: &Context) -> Result<Rendered> {
    let what = format!("branch {} of {}", args.name, session.graph);
    context.consent(&what, &args.name, session.client.local)?;
    context.output.note(
        &session
            .client
            .target("delete branch", &session.graph, &args.name),
    );
    let call = Call::delete(path(session, &args.name))
        .header("omnigraph-if-graph-commit", args.if_commit.as_deref());
    let (deleted, json): (BranchDeleteOutput, _) = session.client.json(&call).await?;
    let head = deleted.head_commit_id.unwrap_or_default();
    let was = match head.as_str() {
        "" => String::new(),
        head => format!(" (head was {head})"),
    };
    let text = format!("deleted {}{was}", deleted.name);
    Ok(Rendered::record(
        text,
        &[("branch", deleted.name), ("head", head)],
        &json,
    ))
}

async fn merge(args: MergeArgs, session: &Session, context: &Context) -> Result<Rendered> {
    if args.delete_branch && !args.dry_run {
        let what = format!("branch {} of {}", args.source, session.graph);
        context.consent(&what, &args.source, session.client.local)?;
    }
    context
        .output
        .note(&session.client.target("merge", &session.graph, &args.into));
    let mut body = Map::new();
    body.insert("source".into(), json!(args.source));
    body.insert("target".into(), json!(args.into));
    for (member, value) in [
        ("delete_branch", args.delete_branch),
        ("dry_run", args.dry_run),
    ] {
        if value {
            body.insert(member.into(), json!(true));
        }
    }
    for (member, value) in [
        ("if_source_commit", &args.if_source),
        ("message", &args.message),
    ] {
        if let Some(value) = value {
            body.insert(member.into(), json!(value));
        }
    }
    if let Some(strategy) = args.strategy {
        body.insert("strategy".into(), json!(strategy.word()));
    }
    if !args.strategy_for.is_empty() {
        let by_type = args.strategy_for.iter();
        let by_type: Map<String, Value> = by_type
            .map(|(name, strategy)| (name.clone(), json!(strategy.word())))
            .collect();
        body.insert("strategies".into(), Value::Object(by_type));
    }
    let call = Call::post(session.path("/branches/merge"), Value::Object(body))
        .header("omnigraph-if-graph-commit", args.if_target.as_deref());
    let (merged, json): (BranchMergeOutput, _) = session.client.json(&call).await?;
    if let Some(error) = &merged.branch_delete_error {
        context
            .output
            .warn(&format!("{} was not deleted: {error}", merged.source));
    }
    if merged.outcome == "conflicted" {
        context.output.note(&render::merge::hint(&merged));
    }
    Ok(render::merge::merged(&merged, &json))
}
