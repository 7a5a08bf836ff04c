//! Checks that a graph holds what its logs promise.

use omnigraph_engine::{FsckOptions, FsckReport, FsckSeverity};
use omnigraph_proto::data::v1::fsck_finding::Severity;
use omnigraph_proto::data::v1::{FsckFinding, FsckFormat, FsckRequest, FsckResponse};
use omnigraph_proto::error::WireError;

use super::errors::{About, wire};
use crate::generation::Generation;

pub(super) async fn fsck(
    generation: &Generation,
    message: FsckRequest,
) -> Result<FsckResponse, WireError> {
    let options = FsckOptions {
        history: message.history,
        rows: message.rows,
    };
    let report = generation
        .graph
        .fsck(&options)
        .await
        .map_err(|error| wire(error, About::Source))?;
    Ok(response(report))
}

fn response(report: FsckReport) -> FsckResponse {
    FsckResponse {
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
        findings: report.findings.into_iter().map(finding).collect(),
        formats: report.formats.into_iter().map(format).collect(),
    }
}

fn finding(finding: omnigraph_engine::FsckFinding) -> FsckFinding {
    let severity = match finding.severity {
        FsckSeverity::Error => Severity::Error,
        FsckSeverity::Warning => Severity::Warning,
    };
    FsckFinding {
        severity: severity.into(),
        place: finding.place,
        message: finding.message,
        remedy: finding.remedy.unwrap_or_default(),
    }
}

fn format(format: omnigraph_engine::FsckFormat) -> FsckFormat {
    FsckFormat {
        kind: format.kind.to_owned(),
        format: format.format,
        newest: format.newest,
        objects: format.objects,
    }
}
