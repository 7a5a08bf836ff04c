//! `fsck`: whether a graph holds what its logs promise.

use std::path::Path;

use omnigraph_control_plane::serving::ServingReader;
use omnigraph_engine::{FsckOptions, FsckReport, FsckSeverity};
use omnigraph_gateway::shapes::{FsckFindingOutput, FsckFormatOutput, FsckOutput};

use super::Context;
use crate::address::{Address, Root, Up};
use crate::client::data::Call;
use crate::client::embedded;
use crate::error::{Error, Exit, Result};
use crate::output::Rendered;
use crate::render::words::{bytes, count};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Open the tables of every retained commit, not of the heads alone
    #[arg(long)]
    history: bool,
    /// Check every row of the heads against the schema
    #[arg(long)]
    rows: bool,
}

/// A damaged graph may not be served, so without a server the storage is read directly.
pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let report = match context.given.data(Path::new("."), &Up::find)? {
        Address::Embedded(root) => direct(&args, &root, context).await?,
        Address::Remote { .. } => {
            context
                .with_session(async |session| {
                    let body = serde_json::json!({ "history": args.history, "rows": args.rows });
                    let call = Call::ask(session.path("/maintenance/fsck"), body);
                    let (report, _): (FsckOutput, _) = session.client.json(&call).await?;
                    Ok(report)
                })
                .await?
        }
    };
    let json = serde_json::to_string(&report)
        .map_err(|error| Error::failed(format!("the report cannot be written: {error}")))?;
    context
        .output
        .show(&Rendered::document(text(&report), json))?;
    if report.sound {
        Ok(())
    } else {
        Err(Error::silent(Exit::Failed))
    }
}

async fn direct(args: &Args, root: &Root, context: &Context) -> Result<FsckOutput> {
    let engine = embedded::engine(root).await?;
    let serving = ServingReader::new(engine.store())
        .newest()
        .await
        .map_err(|error| embedded::control_error(&error))?
        .ok_or_else(|| {
            Error::failed(format!("{} has no revision", engine.store().root_uri()))
                .with_hint("run omnigraphctl apply first")
        })?;
    let ids: Vec<&str> = serving.graphs.iter().map(|g| g.root.id.as_str()).collect();
    let graph = match (context.graph_name(), serving.graphs.as_slice()) {
        (Some(wanted), graphs) => graphs.iter().find(|g| g.root.id.as_str() == wanted),
        (None, [only]) => Some(only),
        (None, _) => {
            return Err(
                Error::usage(format!("which graph? there are {}", ids.join(", ")))
                    .with_hint("name one with --graph"),
            );
        }
    };
    let graph = graph.ok_or_else(|| {
        Error::failed("the cluster has no graph of that name")
            .with_hint(format!("there are {}", ids.join(", ")))
    })?;
    let options = FsckOptions {
        history: args.history,
        rows: args.rows,
    };
    let report = engine
        .fsck(&graph.root, &options)
        .await
        .map_err(|error| Error::failed(format!("graph {}: {}", graph.root.id, error.message())))?;
    Ok(output(report))
}

fn output(report: FsckReport) -> FsckOutput {
    FsckOutput {
        sound: report.is_sound(),
        errors: report.errors,
        warnings: report.warnings,
        branches: report.branches,
        entries: report.entries,
        commits: report.commits,
        table_versions: report.table_versions,
        rows: report.rows,
        objects: report.objects,
        bytes: report.bytes,
        unreferenced_objects: report.unreferenced_objects,
        unreferenced_bytes: report.unreferenced_bytes,
        formats: report
            .formats
            .into_iter()
            .map(|format| FsckFormatOutput {
                kind: format.kind.to_owned(),
                format: format.format,
                newest: format.newest,
                objects: format.objects,
            })
            .collect(),
        findings: report
            .findings
            .into_iter()
            .map(|finding| FsckFindingOutput {
                severity: match finding.severity {
                    FsckSeverity::Error => "error".to_owned(),
                    FsckSeverity::Warning => "warning".to_owned(),
                },
                place: finding.place,
                message: finding.message,
                remedy: finding.remedy,
            })
            .collect(),
    }
}

fn text(report: &FsckOutput) -> String {
    let mut lines = Vec::new();
    for finding in &report.findings {
        lines.push(format!(
            "{}  {}: {}",
            finding.severity, finding.place, finding.message
        ));
        if let Some(remedy) = &finding.remedy {
            lines.push(format!("  remedy: {remedy}"));
        }
    }
    let unlisted = (report.errors + report.warnings).saturating_sub(report.findings.len() as u64);
    if unlisted > 0 {
        lines.push(format!("and {unlisted} more"));
    }
    lines.push(format!(
        "checked {}, {}, {}, {}, {} ({})",
        count(report.branches, "branch log"),
        count(report.commits, "commit"),
        count(report.table_versions, "table version"),
        count(report.rows, "row"),
        count(report.objects, "object"),
        bytes(report.bytes),
    ));
    if report.unreferenced_objects > 0 {
        lines.push(format!(
            "{} ({}) are named by no version that was opened; cleanup removes what nothing needs",
            count(report.unreferenced_objects, "object"),
            bytes(report.unreferenced_bytes),
        ));
    }
    for old in report.formats.iter().filter(|f| f.format < f.newest) {
        lines.push(format!(
            "{}: {} of format {}; this release reads it and writes {}",
            old.kind, old.objects, old.format, old.newest,
        ));
    }
    lines.push(match (report.sound, report.warnings) {
        (true, 0) => "sound".to_owned(),
        (true, _) => format!("sound, {}", count(report.warnings, "warning")),
        (false, _) => format!("damaged: {}", count(report.errors, "error")),
    });
    lines.join("\n")
}
