//! The error body of HTTP.

use serde::{Deserialize, Serialize};

use super::{INTERNAL_TEXT, WireError};
use crate::common::v1::error_detail::Detail;
use crate::common::v1::{
    ChangeDiffRefusal, ConflictEntity, Diagnostic, EntityImage, EntityRef, ErrorReason,
    IdempotencyConflict, MergeConflict, WriteConflict,
};

/// Body of every HTTP error. Keys that do not apply are left out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorOutput {
    /// What went wrong, for people.
    pub error: String,
    /// A closed set of words; absent on 410, 424 and 412 of a head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub merge_conflicts: Vec<MergeConflictOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_conflict: Option<KeyConflictOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_limit: Option<ResourceLimitOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob_range: Option<BlobRangeOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_blob_source: Option<ExternalBlobSourceOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precondition_failure: Option<PreconditionFailureOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change_feed_gap: Option<ChangeFeedGapOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change_diff_refusal: Option<ChangeDiffRefusalOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_conflict: Option<WriteConflictOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_conflict: Option<IdempotencyConflictOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph_unavailable: Option<GraphUnavailableOutput>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub diagnostics: Vec<DiagnosticOutput>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Finds the request in the server's log.
    pub request_id: String,
}

/// One unresolved, or resolved, conflict of a merge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MergeConflictOutput {
    pub entity_kind: String,
    pub type_name: String,
    /// Null when the whole type is meant.
    pub entity_id: Option<String>,
    pub message: String,
    pub kind: String,
    /// Only in the answer of a merge that resolved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<String>,
    /// The entity at the merge base; left out where it was not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<ImageOutput>,
    /// The entity on the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ours: Option<ImageOutput>,
    /// The entity on the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub theirs: Option<ImageOutput>,
}

/// The values of an entity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageOutput {
    pub properties: serde_json::Value,
    /// Of edges only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<EndpointsOutput>,
}

/// Ids of the nodes at both ends of an edge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointsOutput {
    pub from: String,
    pub to: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct KeyConflictOutput {
    pub entity_kind: String,
    pub type_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourceLimitOutput {
    pub resource: String,
    pub limit: u64,
    pub actual: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BlobRangeOutput {
    pub start: u64,
    pub end: u64,
    pub length: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExternalBlobSourceOutput {
    pub uri: String,
    pub reason: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PreconditionFailureOutput {
    pub expected: String,
    /// Absent on an empty branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChangeFeedGapOutput {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    pub first_unreadable_commit_id: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChangeDiffRefusalOutput {
    pub reason: String,
    pub graph_commit_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_name: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WriteConflictOutput {
    pub base_commit_id: String,
    pub head_commit_id: String,
    pub entities: Vec<ConflictEntityOutput>,
    pub truncated: bool,
}

/// One overlap of two writers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConflictEntityOutput {
    pub entity_kind: String,
    pub type_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<String>,
    pub cause: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IdempotencyConflictOutput {
    pub key: String,
    pub cause: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph_commit_id: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GraphUnavailableOutput {
    pub graph_id: String,
    pub state: String,
    pub reason_code: String,
    pub message: String,
}

/// One finding about a source, a parameter or a line of data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DiagnosticOutput {
    pub code: String,
    pub severity: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<SpanOutput>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    #[serde(default)]
    pub hints: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpanOutput {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    pub start: u64,
    pub end: u64,
    pub line: u32,
    pub column: u32,
}

impl From<&WireError> for ErrorOutput {
    fn from(error: &WireError) -> ErrorOutput {
        let fixed = matches!(error.reason, ErrorReason::Internal | ErrorReason::Integrity);
        let mut out = ErrorOutput {
            error: if fixed {
                INTERNAL_TEXT.to_owned()
            } else {
                error.message.clone()
            },
            code: error.code_str().map(str::to_owned),
            hint: error.hint.clone().filter(|_| !fixed),
            request_id: error.request_id.as_deref().unwrap_or_default().to_owned(),
            ..ErrorOutput::default()
        };
        if let Some(detail) = error.detail.as_deref().filter(|_| !fixed) {
            out.set_detail(detail);
        }
        out
    }
}

impl ErrorOutput {
    fn set_detail(&mut self, detail: &Detail) {
        match detail {
            Detail::WriteConflict(c) => self.write_conflict = Some(c.into()),
            Detail::MergeConflicts(c) => {
                self.merge_conflicts = c.conflicts.iter().map(Into::into).collect();
            }
            Detail::KeyConflict(entity) => self.key_conflict = Some(entity.into()),
            Detail::ResourceLimit(r) => {
                self.resource_limit = Some(ResourceLimitOutput {
                    resource: r.resource.clone(),
                    limit: r.limit,
                    actual: r.actual,
                });
            }
            Detail::BlobRange(r) => {
                self.blob_range = Some(BlobRangeOutput {
                    start: r.start,
                    end: r.end,
                    length: r.length,
                });
            }
            Detail::ExternalBlobSource(s) => {
                self.external_blob_source = Some(ExternalBlobSourceOutput {
                    uri: s.uri.clone(),
                    reason: s.reason.clone(),
                });
            }
            Detail::PreconditionFailure(p) => {
                self.precondition_failure = Some(PreconditionFailureOutput {
                    expected: p.expected.clone(),
                    actual: some(&p.actual),
                });
            }
            Detail::ChangeFeedGap(g) => {
                self.change_feed_gap = Some(ChangeFeedGapOutput {
                    cursor: some(&g.cursor),
                    first_unreadable_commit_id: g.first_unreadable_commit_id.clone(),
                });
            }
            Detail::ChangeDiffRefusal(r) => self.change_diff_refusal = Some(r.into()),
            Detail::GraphUnavailable(g) => {
                self.graph_unavailable = Some(GraphUnavailableOutput {
                    graph_id: g.graph_id.clone(),
                    state: g.state().label().to_owned(),
                    reason_code: g.reason_code.clone(),
                    message: g.message.clone(),
                });
            }
            Detail::IdempotencyConflict(c) => self.idempotency_conflict = Some(c.into()),
            Detail::Diagnostics(d) => {
                self.diagnostics = d.diagnostics.iter().map(Into::into).collect();
            }
            // Of the control plane, which HTTP does not reach.
            Detail::LeaseHeld(_) | Detail::PlanStale(_) => {}
        }
    }
}

impl From<&MergeConflict> for MergeConflictOutput {
    fn from(conflict: &MergeConflict) -> Self {
        let entity = conflict.entity.clone().unwrap_or_default();
        MergeConflictOutput {
            entity_kind: entity.kind().label().to_owned(),
            entity_id: some(&entity.entity_id),
            type_name: entity.type_name,
            message: conflict.message.clone(),
            kind: conflict.kind().label().to_owned(),
            resolution: some(conflict.resolution().label()),
            base: conflict.base.as_ref().map(Into::into),
            ours: conflict.ours.as_ref().map(Into::into),
            theirs: conflict.theirs.as_ref().map(Into::into),
        }
    }
}

impl From<&EntityImage> for ImageOutput {
    fn from(image: &EntityImage) -> Self {
        let ends = EndpointsOutput {
            from: image.from_id.clone(),
            to: image.to_id.clone(),
        };
        let is_edge = !ends.from.is_empty() || !ends.to.is_empty();
        ImageOutput {
            properties: serde_json::from_str(&image.properties_json).unwrap_or_default(),
            endpoints: is_edge.then_some(ends),
        }
    }
}

impl From<&EntityRef> for KeyConflictOutput {
    fn from(entity: &EntityRef) -> Self {
        KeyConflictOutput {
            entity_kind: entity.kind().label().to_owned(),
            type_name: entity.type_name.clone(),
            entity_id: some(&entity.entity_id),
        }
    }
}

impl From<&ChangeDiffRefusal> for ChangeDiffRefusalOutput {
    fn from(refusal: &ChangeDiffRefusal) -> Self {
        ChangeDiffRefusalOutput {
            reason: refusal.cause().label().to_owned(),
            graph_commit_id: refusal.graph_commit_id.clone(),
            type_name: some(&refusal.type_name),
        }
    }
}

impl From<&WriteConflict> for WriteConflictOutput {
    fn from(conflict: &WriteConflict) -> Self {
        WriteConflictOutput {
            base_commit_id: conflict.base_commit_id.clone(),
            head_commit_id: conflict.head_commit_id.clone(),
            entities: conflict.entities.iter().map(Into::into).collect(),
            truncated: conflict.truncated,
        }
    }
}

impl From<&ConflictEntity> for ConflictEntityOutput {
    fn from(conflict: &ConflictEntity) -> Self {
        let entity = conflict.entity.clone().unwrap_or_default();
        ConflictEntityOutput {
            entity_kind: entity.kind().label().to_owned(),
            entity_id: some(&entity.entity_id),
            type_name: entity.type_name,
            cause: conflict.cause().label().to_owned(),
            constraint: some(&conflict.constraint),
        }
    }
}

impl From<&IdempotencyConflict> for IdempotencyConflictOutput {
    fn from(conflict: &IdempotencyConflict) -> Self {
        IdempotencyConflictOutput {
            key: conflict.key.clone(),
            cause: conflict.cause().label().to_owned(),
            graph_commit_id: some(&conflict.graph_commit_id),
        }
    }
}

impl From<&Diagnostic> for DiagnosticOutput {
    fn from(diagnostic: &Diagnostic) -> Self {
        DiagnosticOutput {
            code: diagnostic.code.clone(),
            severity: diagnostic.severity().label().to_owned(),
            message: diagnostic.message.clone(),
            span: diagnostic.span.as_ref().map(|span| SpanOutput {
                file: some(&span.file),
                start: span.start,
                end: span.end,
                line: span.line,
                column: span.column,
            }),
            path: some(&diagnostic.path),
            line: Some(diagnostic.line).filter(|line| *line > 0),
            param: some(&diagnostic.param),
            hints: diagnostic.hints.clone(),
        }
    }
}

/// The wire's empty string is JSON's absence.
fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
