//! `schema show` and `schema plan`: the accepted schema of a graph, and the way to another one.

use std::path::{Path, PathBuf};

use omnigraph_lang::schema::migrate::{MigrationPlan, Step};
use omnigraph_lang::{Code, Diagnostic, diagnostic, schema};

use super::Context;
use super::target::Target;
use crate::address::Address;
use crate::client::data::Call;
use crate::client::embedded::{self, Embedded};
use crate::client::shapes::SchemaOutput;
use crate::error::{Error, Exit, Result};
use crate::output::Rendered;
use crate::render::words::count;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Print the schema source
    Show(ShowArgs),
    /// Show the steps from a graph's schema to another one, checked against its rows
    Plan(PlanArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
pub(crate) struct PlanArgs {
    /// The desired schema
    #[arg(long, value_name = "FILE")]
    schema: PathBuf,
    /// Compare with this schema file instead of a graph; no rows are looked at
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Ask for hard drops, which do not exist: what no commit needs is reclaimed by cleanup
    #[arg(long)]
    allow_data_loss: bool,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    match command {
        Command::Show(args) => show(args, context).await,
        Command::Plan(args) => plan(args, context).await,
    }
}

async fn show(args: ShowArgs, context: &Context) -> Result<()> {
    let (schema, json): (SchemaOutput, _) = context
        .with_session(async |session| {
            let call = args.target.query(Call::get(session.path("/schema")));
            session.client.json(&call).await
        })
        .await?;
    context
        .output
        .show(&Rendered::document(schema.schema_source, json))
}

async fn plan(args: PlanArgs, context: &Context) -> Result<()> {
    let source = read(&args.schema)?;
    let place = args.schema.display().to_string();
    let mut plan = match &args.from {
        Some(from) => between(from, &place, &source)?,
        None => of_graph(&place, &source, context).await?,
    };
    if args.allow_data_loss {
        let message = "there are no hard drops: earlier commits keep the data until cleanup";
        plan.supported = false;
        plan.diagnostics
            .push(Diagnostic::error(Code::M314, message));
    }
    let json = serde_json::to_string(&plan)
        .map_err(|e| Error::failed(format!("the plan cannot be written: {e}")))?;
    let text = rendered(&plan, &place, &source);
    context.output.show(&Rendered::document(text, json))?;
    match plan.supported {
        true => Ok(()),
        false => Err(Error::silent(Exit::Failed)),
    }
}

/// From one file to the other.
fn between(from: &Path, place: &str, desired: &str) -> Result<MigrationPlan> {
    let accepted = read(from)?;
    let (catalog, _) = schema::parse_schema(&accepted)
        .map_err(|found| invalid(&found, &from.display().to_string(), &accepted))?;
    let evolution =
        schema::evolve(&catalog, desired).map_err(|found| invalid(&found, place, desired))?;
    Ok(evolution.plan)
}

/// From the schema of a graph, straight on storage.
async fn of_graph(place: &str, desired: &str, context: &Context) -> Result<MigrationPlan> {
    // What is no schema at all is shown in its own text.
    schema::parse_schema(desired).map_err(|found| invalid(&found, place, desired))?;
    let address = context.given.control(Path::new("."), &|_| None)?;
    let Address::Embedded(root) = address else {
        return Err(Error::usage("schema plan reads the storage itself")
            .with_hint("use --cluster, or omnigraphctl plan with a control plane"));
    };
    let embedded = Embedded::open(&root, context.actor()?).await?;
    let graph = context.graph_name();
    let planned = embedded.plan_schema(graph.as_deref(), desired).await;
    embedded.close().await;
    planned
}

fn rendered(plan: &MigrationPlan, place: &str, source: &str) -> String {
    let head = match (plan.supported, plan.steps.len() as u64) {
        (true, 0) => "no changes".to_owned(),
        (true, steps) => format!("supported: {}", count(steps, "step")),
        (false, _) => "not supported".to_owned(),
    };
    let mut text = format!("{head}\n");
    for step in &plan.steps {
        let mark = match step {
            Step::AddType(_) | Step::AddProperty { .. } | Step::AddConstraint { .. } => '+',
            Step::DropType { .. } | Step::DropProperty { .. } | Step::DropConstraint { .. } => '-',
            Step::UnsupportedChange { .. } => '!',
            _ => '~',
        };
        let checked = if step.is_checked() { "  checked" } else { "" };
        let summary = embedded::step_summary(step);
        text.push_str(&format!("  {mark} {summary}{checked}\n"));
    }
    for found in &plan.diagnostics {
        text.push_str(&line(found, place, source));
    }
    text
}

/// With its place in the text if it has one, else with what it is about.
fn line(found: &Diagnostic, place: &str, source: &str) -> String {
    if found.span.is_some() {
        return format!("{}\n", found.render(place, source).trim_end());
    }
    let path = found.path.as_deref().map(|path| format!("{path}: "));
    let path = path.unwrap_or_default();
    let mut text = format!("{}  {path}{}\n", found.code, found.message);
    for hint in &found.hints {
        text.push_str(&format!("      hint: {hint}\n"));
    }
    text
}

fn invalid(found: &[Diagnostic], place: &str, source: &str) -> Error {
    let text = diagnostic::render_all(found, place, source);
    Error::failed(format!("{place} is not a valid schema"))
        .with_details(text.lines().map(str::to_owned).collect())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Error::usage(format!("{}: {e}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_between_two_files() {
        let directory = tempfile::tempdir().unwrap();
        let from = directory.path().join("from.pg");
        std::fs::write(&from, "node P { k: String @key  a: I64?  b: I64? }").unwrap();
        let desired = "node P { k: String @key  c: I64? @rename_from(\"a\") @unique  d: Bool @default(true) }";
        let plan = between(&from, "to.pg", desired).unwrap();
        assert_eq!(
            rendered(&plan, "to.pg", desired),
            "supported: 4 steps\n  \
               ~ rename property P.a -> c\n  \
               - drop property P.b: history keeps it until cleanup\n  \
               + add property P.d\n  \
               + add @unique(c) to node P  checked\n"
        );
        let refused = between(
            &from,
            "to.pg",
            "node P { k: String @key  a: String?  b: I64? }",
        );
        let text = rendered(&refused.unwrap(), "to.pg", "");
        assert!(text.starts_with("not supported\n  ! node:P.a: "), "{text}");
        assert!(text.contains("\nM301  P.a: "), "{text}");
        let same = between(
            &from,
            "to.pg",
            "node P { b: I64?  a: I64?  k: String @key }",
        );
        assert_eq!(rendered(&same.unwrap(), "to.pg", ""), "no changes\n");
    }
}
