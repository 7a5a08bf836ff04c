//! Housekeeping of one graph.

use axum::response::Response;
use omnigraph_proto::data::v1::fsck_finding::Severity;
use omnigraph_proto::data::v1::{FsckFinding, FsckFormat, FsckRequest as FsckMessage};

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, OptionalJsonBody};
use crate::shapes::{FsckFindingOutput, FsckFormatOutput, FsckOutput, FsckRequest, present};

pub(crate) async fn fsck(
    graph: GraphCall,
    OptionalJsonBody(body): OptionalJsonBody<FsckRequest>,
) -> Result<Response, ApiError> {
    let message = FsckMessage {
        graph_id: graph.graph_id.clone(),
        history: body.history.unwrap_or_default(),
        rows: body.rows.unwrap_or_default(),
    };
    let request = graph.request(message, Budget::Unbounded);
    let mut maintenance = graph.maintenance();
    let answer = graph
        .wait(Budget::Unbounded, maintenance.fsck(request))
        .await?;
    let (metadata, report, _) = answer.into_parts();
    Answer::new(&metadata).json(&FsckOutput {
        sound: report.sound,
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
        formats: report.formats.into_iter().map(format).collect(),
        findings: report.findings.into_iter().map(finding).collect(),
    })
}

fn finding(finding: FsckFinding) -> FsckFindingOutput {
    let severity = match finding.severity() {
        Severity::Warning => "warning",
        Severity::Error | Severity::Unspecified => "error",
    };
    FsckFindingOutput {
        severity: severity.to_owned(),
        place: finding.place,
        message: finding.message,
        remedy: present(finding.remedy),
    }
}

fn format(format: FsckFormat) -> FsckFormatOutput {
    FsckFormatOutput {
        kind: format.kind,
        format: format.format,
        newest: format.newest,
        objects: format.objects,
    }
}
