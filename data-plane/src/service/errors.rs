//! The engine's errors on the wire. The only place that knows both.

use omnigraph_engine::{
    Error, ErrorDetail, ErrorKind, IdempotencyCause, IdempotencyConflict, Overlap, RefusalCause,
    WriteConflict,
};
use omnigraph_lang::{Diagnostic, Severity};
use omnigraph_proto::common::v1 as pb;
use omnigraph_proto::common::v1::error_detail::Detail;
use omnigraph_proto::common::v1::{EntityKind, EntityRef, ErrorReason};
use omnigraph_proto::error::{Origin, WireError, reason_of_diagnostic};

/// What the error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A source that came with the request, or a name in it.
    Source,
    /// A stored query.
    Stored,
    /// Loaded data.
    Load,
}

/// An error of the engine as the caller sees it. What is the server's own trouble goes to the log.
pub(super) fn wire(error: Error, about: About) -> WireError {
    let reason = reason(&error, about);
    if is_ours(reason) {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        tracing::error!(kind = ?error.kind(), cause, "{error}");
    }
    let detail = error.detail();
    let mut wire = match (reason, &detail.precondition, &detail.limit) {
        (ErrorReason::PreconditionFailed, Some((expected, actual)), _) => {
            precondition(&error, expected, actual.as_deref())
        }
        (ErrorReason::ResourceLimit, _, Some((resource, limit, actual))) => {
            WireError::resource_limit(resource, *limit, *actual)
        }
        _ if !detail.diagnostics.is_empty() => with_diagnostics(reason, &error),
        _ => WireError::new(reason, error.message()),
    };
    if let Some(found) = &detail.merge_conflicts {
        wire = wire.with_detail(Detail::MergeConflicts(super::merge::conflicts(found)));
    }
    if let Some(entity) = detail.entity.as_ref().filter(|_| wire.detail.is_none()) {
        wire = wire.with_detail(Detail::KeyConflict(EntityRef {
            kind: entity_kind(entity.edge).into(),
            type_name: entity.type_name.clone(),
            entity_id: entity.id.clone().unwrap_or_default(),
        }));
    }
    if let Some((uri, reason)) = &detail.external {
        wire = wire.with_detail(Detail::ExternalBlobSource(pb::ExternalBlobSource {
            uri: uri.clone(),
            reason: reason.clone(),
        }));
    }
    if let Some(found) = history_detail(detail).filter(|_| wire.detail.is_none()) {
        wire = wire.with_detail(found);
    }
    if let Some(conflict) = &detail.write_conflict {
        wire = wire.with_detail(Detail::WriteConflict(write_conflict(conflict)));
    }
    if let Some(conflict) = &detail.idempotency {
        wire = wire.with_detail(Detail::IdempotencyConflict(idempotency(conflict)));
    }
    match hint(detail) {
        Some(hint) => wire.with_hint(hint),
        None => wire,
    }
}

/// What is said about changes that cannot be listed.
fn history_detail(detail: &ErrorDetail) -> Option<Detail> {
    use pb::change_diff_refusal::Cause;
    if let Some(refusal) = &detail.refusal {
        let cause = match refusal.cause {
            RefusalCause::ParentlessCommit => Cause::ParentlessCommit,
            RefusalCause::SchemaBoundary => Cause::SchemaBoundary,
        };
        return Some(Detail::ChangeDiffRefusal(pb::ChangeDiffRefusal {
            cause: cause.into(),
            graph_commit_id: refusal.commit.clone(),
            type_name: refusal.type_name.clone().unwrap_or_default(),
        }));
    }
    let (cursor, unreadable) = detail.gap.as_ref()?;
    Some(Detail::ChangeFeedGap(pb::ChangeFeedGap {
        cursor: cursor.clone().unwrap_or_default(),
        first_unreadable_commit_id: unreadable.clone(),
    }))
}

fn write_conflict(conflict: &WriteConflict) -> pb::WriteConflict {
    let entity = |overlap: &Overlap| pb::ConflictEntity {
        entity: Some(EntityRef {
            kind: entity_kind(overlap.entity.edge).into(),
            type_name: overlap.entity.type_name.clone(),
            entity_id: overlap.entity.id.clone().unwrap_or_default(),
        }),
        cause: match overlap.constraint {
            None => pb::conflict_entity::Cause::SameEntity,
            Some(_) => pb::conflict_entity::Cause::SameConstraint,
        }
        .into(),
        constraint: overlap.constraint.clone().unwrap_or_default(),
    };
    pb::WriteConflict {
        base_commit_id: conflict.base.clone(),
        head_commit_id: conflict.head.clone(),
        entities: conflict.entities.iter().map(entity).collect(),
        truncated: conflict.truncated,
    }
}

fn idempotency(conflict: &IdempotencyConflict) -> pb::IdempotencyConflict {
    pb::IdempotencyConflict {
        key: conflict.key.clone(),
        cause: match conflict.cause {
            IdempotencyCause::PayloadMismatch => pb::idempotency_conflict::Cause::PayloadMismatch,
            IdempotencyCause::InProgress => pb::idempotency_conflict::Cause::InProgress,
        }
        .into(),
        graph_commit_id: conflict.commit.clone().unwrap_or_default(),
    }
}

/// Kind by kind. Diagnostics say more than the kind where there are any.
fn reason(error: &Error, about: About) -> ErrorReason {
    let origin = match about {
        About::Source => Origin::Source,
        About::Stored => Origin::Stored,
        About::Load => Origin::Load,
    };
    let found = error.detail().diagnostics.first();
    match (error.kind(), found) {
        (ErrorKind::Invalid | ErrorKind::LoadInvalid | ErrorKind::ResourceLimit, Some(first)) => {
            reason_of_diagnostic(first.code.as_str(), origin)
        }
        // A name that the source does not have is the request's fault.
        (ErrorKind::NotFound, Some(_)) if about == About::Source => ErrorReason::InvalidQuery,
        (kind, _) => of_kind(kind),
    }
}

fn of_kind(kind: ErrorKind) -> ErrorReason {
    match kind {
        ErrorKind::NotFound => ErrorReason::NotFound,
        ErrorKind::AlreadyExists => ErrorReason::AlreadyExists,
        ErrorKind::Invalid => ErrorReason::InvalidRequest,
        ErrorKind::LoadInvalid => ErrorReason::LoadInvalid,
        ErrorKind::KeyConflict => ErrorReason::KeyConflict,
        ErrorKind::WriteConflict | ErrorKind::Fenced => ErrorReason::WriteConflict,
        ErrorKind::IdempotencyConflict => ErrorReason::IdempotencyConflict,
        ErrorKind::MergeConflict => ErrorReason::MergeConflict,
        ErrorKind::ChangeDiffRefused => ErrorReason::ChangeDiffRefused,
        ErrorKind::ChangeFeedGap => ErrorReason::ChangeFeedGap,
        ErrorKind::CursorRejected => ErrorReason::CursorRejected,
        ErrorKind::Precondition => ErrorReason::PreconditionFailed,
        ErrorKind::ResourceLimit => ErrorReason::ResourceLimit,
        ErrorKind::Unavailable => ErrorReason::Unavailable,
        ErrorKind::Deadline => ErrorReason::DeadlineExceeded,
        ErrorKind::Corrupt => ErrorReason::Integrity,
        ErrorKind::ExternalBlobSource => ErrorReason::ExternalBlobSource,
        ErrorKind::Migration => ErrorReason::UnsupportedMigration,
        ErrorKind::Denied => ErrorReason::PermissionDenied,
        ErrorKind::Internal => ErrorReason::Internal,
    }
}

fn is_ours(reason: ErrorReason) -> bool {
    matches!(
        reason,
        ErrorReason::Internal | ErrorReason::Integrity | ErrorReason::Unavailable
    )
}

fn precondition(error: &Error, expected: &str, actual: Option<&str>) -> WireError {
    WireError::new(ErrorReason::PreconditionFailed, error.message()).with_detail(
        Detail::PreconditionFailure(pb::PreconditionFailure {
            expected: expected.to_owned(),
            actual: actual.unwrap_or_default().to_owned(),
        }),
    )
}

fn with_diagnostics(reason: ErrorReason, error: &Error) -> WireError {
    let detail = error.detail();
    let listed = detail.diagnostics.iter().map(diagnostic).collect();
    let mut wire = WireError::diagnostics(reason, error.message(), listed);
    let total = detail.diagnostics_total.max(detail.diagnostics.len());
    if let Some(Detail::Diagnostics(diagnostics)) = wire.detail.as_deref_mut() {
        diagnostics.total = total as u64;
    }
    wire
}

fn hint(detail: &ErrorDetail) -> Option<String> {
    let of_finding = || detail.diagnostics.first()?.hints.first().cloned();
    detail.hint.clone().or_else(of_finding)
}

/// A finding of the languages on the wire.
pub(super) fn diagnostic(found: &Diagnostic) -> pb::Diagnostic {
    let severity = match found.severity {
        Severity::Error => pb::diagnostic::Severity::Error,
        Severity::Warning => pb::diagnostic::Severity::Warning,
    };
    pb::Diagnostic {
        code: found.code.as_str().to_owned(),
        severity: severity.into(),
        message: found.message.clone(),
        span: found.span.map(|span| pb::SourceSpan {
            file: String::new(),
            start: span.start.into(),
            end: span.end.into(),
            line: span.line,
            column: span.column,
        }),
        path: found.path.clone().unwrap_or_default(),
        line: found.line.unwrap_or_default(),
        param: found.param.clone().unwrap_or_default(),
        hints: found.hints.clone(),
    }
}

pub(super) fn entity_kind(edge: bool) -> EntityKind {
    match edge {
        true => EntityKind::Edge,
        false => EntityKind::Node,
    }
}

#[cfg(test)]
mod tests {
    use omnigraph_lang::Code;

    use super::*;

    #[test]
    fn every_kind_has_its_reason() {
        let cases = [
            (ErrorKind::NotFound, ErrorReason::NotFound, 404),
            (ErrorKind::AlreadyExists, ErrorReason::AlreadyExists, 409),
            (ErrorKind::Invalid, ErrorReason::InvalidRequest, 400),
            (ErrorKind::LoadInvalid, ErrorReason::LoadInvalid, 400),
            (ErrorKind::KeyConflict, ErrorReason::KeyConflict, 409),
            (ErrorKind::WriteConflict, ErrorReason::WriteConflict, 409),
            (ErrorKind::MergeConflict, ErrorReason::MergeConflict, 409),
            (
                ErrorKind::IdempotencyConflict,
                ErrorReason::IdempotencyConflict,
                409,
            ),
            (
                ErrorKind::Precondition,
                ErrorReason::PreconditionFailed,
                412,
            ),
            (ErrorKind::ResourceLimit, ErrorReason::ResourceLimit, 413),
            (ErrorKind::Unavailable, ErrorReason::Unavailable, 503),
            (ErrorKind::Deadline, ErrorReason::DeadlineExceeded, 504),
            (ErrorKind::Corrupt, ErrorReason::Integrity, 500),
            (ErrorKind::Migration, ErrorReason::UnsupportedMigration, 400),
            (
                ErrorKind::ExternalBlobSource,
                ErrorReason::ExternalBlobSource,
                424,
            ),
            (ErrorKind::Fenced, ErrorReason::WriteConflict, 409),
            (ErrorKind::Denied, ErrorReason::PermissionDenied, 403),
            (ErrorKind::Internal, ErrorReason::Internal, 500),
            (
                ErrorKind::ChangeDiffRefused,
                ErrorReason::ChangeDiffRefused,
                409,
            ),
            (ErrorKind::ChangeFeedGap, ErrorReason::ChangeFeedGap, 410),
            (ErrorKind::CursorRejected, ErrorReason::CursorRejected, 400),
        ];
        for (kind, reason, http) in cases {
            let wire = wire(Error::new(kind, "text"), About::Source);
            assert_eq!(wire.reason, reason, "{kind:?}");
            assert_eq!(wire.http_status(), http, "{kind:?}");
        }
    }

    #[test]
    fn findings_decide_by_their_code() {
        let found = |code: Code| vec![Diagnostic::error(code, "text").hint("do that")];
        let query = Error::diagnostics(ErrorKind::Invalid, found(Code::R430));
        let wired = wire(query, About::Source);
        assert_eq!(wired.reason, ErrorReason::InvalidQuery);
        assert_eq!(wired.hint.as_deref(), Some("do that"));
        let name = || Error::diagnostics(ErrorKind::NotFound, found(Code::R434));
        assert_eq!(
            wire(name(), About::Source).reason,
            ErrorReason::InvalidQuery
        );
        assert_eq!(wire(name(), About::Stored).reason, ErrorReason::NotFound);
        let load = Error::diagnostics(ErrorKind::LoadInvalid, found(Code::R406));
        assert_eq!(wire(load, About::Load).reason, ErrorReason::LoadInvalid);
    }

    #[test]
    fn facts_become_details() {
        let moved = Error::new(ErrorKind::Precondition, "moved")
            .with_detail(|d| d.precondition = Some(("A".to_owned(), Some("B".to_owned()))));
        let wired = wire(moved, About::Source);
        assert!(matches!(
            wired.detail.as_deref(),
            Some(Detail::PreconditionFailure(p)) if p.expected == "A" && p.actual == "B"
        ));
        let overlap = |id: Option<&str>, constraint: Option<&str>| Overlap {
            entity: omnigraph_engine::EntityName {
                edge: false,
                type_name: "Item".to_owned(),
                id: id.map(str::to_owned),
            },
            constraint: constraint.map(str::to_owned),
        };
        let lost = Error::new(ErrorKind::WriteConflict, "lost").with_detail(|d| {
            d.write_conflict = Some(WriteConflict {
                base: "A".to_owned(),
                head: "B".to_owned(),
                entities: vec![overlap(Some("x"), None), overlap(None, Some("endpoints"))],
                truncated: true,
            });
        });
        let wired = wire(lost, About::Source);
        assert_eq!(wired.retry_after, Some(std::time::Duration::from_secs(1)));
        let output = omnigraph_proto::error::ErrorOutput::from(&wired);
        let conflict = serde_json::to_value(output.write_conflict).expect("json");
        let expected = serde_json::json!({
            "base_commit_id": "A", "head_commit_id": "B", "truncated": true,
            "entities": [
                {"entity_kind": "node", "type_name": "Item", "entity_id": "x", "cause": "same_entity"},
                {"entity_kind": "node", "type_name": "Item", "cause": "same_constraint", "constraint": "endpoints"},
            ],
        });
        assert_eq!(conflict, expected);
        let taken = Error::new(ErrorKind::IdempotencyConflict, "taken").with_detail(|d| {
            d.idempotency = Some(IdempotencyConflict {
                key: "k".to_owned(),
                cause: IdempotencyCause::PayloadMismatch,
                commit: Some("A".to_owned()),
            });
        });
        let output = omnigraph_proto::error::ErrorOutput::from(&wire(taken, About::Source));
        let conflict = serde_json::to_value(output.idempotency_conflict).expect("json");
        let expected =
            serde_json::json!({"key": "k", "cause": "payload_mismatch", "graph_commit_id": "A"});
        assert_eq!(conflict, expected);
        let large = Error::new(ErrorKind::ResourceLimit, "large")
            .with_detail(|d| d.limit = Some(("result_rows".to_owned(), 1, 2)));
        assert!(matches!(
            wire(large, About::Source).detail.as_deref(),
            Some(Detail::ResourceLimit(r)) if r.resource == "result_rows" && r.actual == 2
        ));
    }
}
