//! `policy`: checks bundles, shows them, and explains and tests what they decide.

mod decide;
mod found;

use std::path::{Path, PathBuf};

use omnigraph_policy::{Format, Source};
use omnigraph_proto::control::v1 as pb;
use serde_json::json;

use self::found::Found;
use super::Context;
use crate::client::embedded;
use crate::error::{Error, Result, diagnostic_line};
use crate::output::Rendered;
use crate::render::words::count;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Check the bundles of a directory, or one file
    Validate(ValidateArgs),
    /// Print a bundle, or the Cedar that it compiles to
    Show(ShowArgs),
    /// Say how a call is decided, and why no other rule matches
    Explain(decide::ExplainArgs),
    /// Run test cases against a bundle
    Test(decide::TestArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct ValidateArgs {
    /// Directory with cluster.yaml, or a bundle (.yaml or .cedar)
    #[arg(default_value = ".", value_name = "DIR|FILE")]
    path: PathBuf,
    /// Groups beside a bundle in Cedar
    #[arg(long, value_name = "FILE")]
    groups_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ShowArgs {
    /// Bundle; may be left out when there is exactly one
    name: Option<String>,
    /// Print what it compiles to
    #[arg(long)]
    cedar: bool,
}

pub(crate) async fn run(command: Command, context: &Context) -> Result<()> {
    match command {
        Command::Validate(args) => validate(&args, context),
        Command::Show(args) => show(&args, context).await,
        Command::Explain(args) => decide::explain(&args, context).await,
        Command::Test(args) => decide::test(&args, context).await,
    }
}

fn validate(args: &ValidateArgs, context: &Context) -> Result<()> {
    let (bundles, findings) = match args.path.is_dir() {
        true => found::of_directory(&args.path)?,
        false => found::of_file(&args.path, args.groups_file.as_deref())?,
    };
    let errors = findings.iter().filter(|f| found::is_error(f)).count();
    let lines: Vec<String> = bundles.iter().map(Found::summary).collect();
    let json = json!({
        "bundles": bundles.iter().map(Found::described).collect::<Vec<_>>(),
        "diagnostics": crate::render::json::diagnostics(&findings),
    });
    if errors > 0 {
        let what = args.path.display();
        let number = count(errors as u64, "finding");
        let mut error = Error::failed(format!("{what} is not valid: {number}"));
        error.details = findings
            .iter()
            .map(|f| diagnostic_line(&f.into()))
            .collect();
        if let serde_json::Value::Object(object) = json {
            error.detail = object;
        }
        return Err(error);
    }
    for finding in &findings {
        context.output.warn(&diagnostic_line(&finding.into()));
    }
    let text = match lines.as_slice() {
        [] => "no policies are declared".to_owned(),
        lines => lines.join("\n"),
    };
    let rendered = Rendered::document(text, json.to_string());
    context.output.show(&rendered)
}

async fn show(args: &ShowArgs, context: &Context) -> Result<()> {
    let bundles = bundles(context, None).await?;
    let bundle = pick(bundles, args.name.as_deref())?;
    let text = match args.cedar {
        true => bundle.to_cedar()?,
        false => bundle.wire.source.clone(),
    };
    let json = json!({
        "name": bundle.wire.name,
        "format": if args.cedar { Format::Cedar.name() } else { bundle.wire.format.as_str() },
        "source": text,
        "applies_to": bundle.wire.applies_to,
    });
    let rendered = Rendered::document(text, json.to_string());
    context.output.show(&rendered)
}

/// The applied bundles where a cluster is named, else those that a directory declares.
async fn bundles(context: &Context, dir: Option<&PathBuf>) -> Result<Vec<Found>> {
    if dir.is_some() || !context.given.names_control() {
        let dir = dir.cloned().unwrap_or_else(|| PathBuf::from("."));
        let (bundles, findings) = found::of_directory(&dir)?;
        let errors = findings.iter().filter(|f| found::is_error(f));
        let details: Vec<String> = errors.map(|f| diagnostic_line(&f.into())).collect();
        if !details.is_empty() {
            let mut error = Error::failed(format!("{} is not valid", dir.display()));
            error.details = details;
            return Err(error);
        }
        return Ok(bundles);
    }
    let mut client = context.control(Path::new(".")).await?;
    let applied = client.policies().await;
    client.close().await;
    applied?.into_iter().map(read).collect()
}

fn read(wire: pb::PolicyBundle) -> Result<Found> {
    let name = wire.name.clone();
    let unreadable = |why: String| Error::failed(format!("policy '{name}': {why}"));
    let format = Format::parse(&wire.format)
        .ok_or_else(|| unreadable(format!("format '{}' is not known", wire.format)))?;
    let groups = Some(wire.groups_source.as_str()).filter(|text| !text.is_empty());
    let parsed = Source::parse(format, &wire.source, groups);
    let (source, _) = parsed.map_err(|problems| unreadable(problems.to_string()))?;
    Ok(Found { wire, source })
}

fn pick(mut bundles: Vec<Found>, name: Option<&str>) -> Result<Found> {
    let names: Vec<String> = bundles.iter().map(|b| b.wire.name.clone()).collect();
    let at = match name {
        Some(name) => bundles.iter().position(|bundle| bundle.wire.name == name),
        None if bundles.len() == 1 => Some(0),
        None => None,
    };
    match (at, name) {
        (Some(at), _) => Ok(bundles.swap_remove(at)),
        (None, _) if names.is_empty() => Err(Error::failed("there are no policies")),
        (None, Some(name)) => Err(Error::failed(format!(
            "there is no policy '{name}': there are {}",
            names.join(", ")
        ))),
        (None, None) => Err(Error::usage(format!(
            "which policy? there are {}",
            names.join(", ")
        ))),
    }
}

/// Reads bundles of a directory without a cluster.
fn declared(dir: &Path) -> Result<(Vec<Found>, Vec<omnigraph_proto::common::v1::Diagnostic>)> {
    let bundle = embedded::bundle(dir)?;
    let (policies, findings) = embedded::policies(&bundle);
    let policies = policies.into_iter().map(read).collect::<Result<_>>()?;
    Ok((policies, findings))
}
