//! The words of HTTP, MCP and the CLI for enum values: lower case, without the prefix.

use crate::common::v1 as common;
use crate::control::v1 as control;
use crate::data::v1 as data;

macro_rules! labels {
    ($($type:path { $($value:ident => $label:literal),+ $(,)? })+) => {
        $(impl $type {
            /// The word for this value in JSON and on terminals; empty for the unspecified value.
            pub fn label(self) -> &'static str {
                match self {
                    $(Self::$value => $label,)+
                    Self::Unspecified => "",
                }
            }

            /// The value that a word stands for.
            pub fn from_label(label: &str) -> Option<Self> {
                match label {
                    $($label => Some(Self::$value),)+
                    _ => None,
                }
            }
        })+
    };
}

labels! {
    common::EntityKind { Node => "node", Edge => "edge" }
    common::ChangeOp { Insert => "insert", Update => "update", Delete => "delete" }
    common::CommitKind {
        Load => "load", Mutate => "mutate", Merge => "merge", Schema => "schema",
        Maintenance => "maintenance", Fence => "fence", Revert => "revert",
    }
    common::GraphState {
        Loading => "loading", Ready => "ready", Stale => "stale", Quarantined => "quarantined",
    }
    common::diagnostic::Severity { Error => "error", Warning => "warning" }
    common::MergeConflictKind {
        DivergentInsert => "divergent_insert",
        DivergentUpdate => "divergent_update",
        DeleteVsUpdate => "delete_vs_update",
        OrphanEdge => "orphan_edge",
        UniqueViolation => "unique_violation",
        CardinalityViolation => "cardinality_violation",
        ValueConstraintViolation => "value_constraint_violation",
        SchemaDiverged => "schema_diverged",
    }
    common::MergeResolution { Ours => "ours", Theirs => "theirs" }
    common::conflict_entity::Cause {
        SameEntity => "same_entity", SameConstraint => "same_constraint",
    }
    common::change_diff_refusal::Cause {
        ParentlessCommit => "parentless_commit", SchemaBoundary => "schema_boundary",
    }
    common::idempotency_conflict::Cause {
        PayloadMismatch => "payload_mismatch", InProgress => "in_progress",
    }
    data::LoadFormat { Ndjson => "ndjson", Arrow => "arrow", Parquet => "parquet" }
    data::LoadMode { Merge => "merge", Append => "append", Overwrite => "overwrite" }
    data::MergeStrategy { Fail => "fail", Ours => "ours", Theirs => "theirs" }
    data::MergeOutcome {
        AlreadyUpToDate => "already_up_to_date", FastForward => "fast_forward",
        Merged => "merged", Conflicted => "conflicted",
    }
    data::ExplainMode { Explain => "explain", Profile => "profile" }
    control::ChangeOperation {
        Create => "create", Update => "update", Delete => "delete", Recreate => "recreate",
    }
    control::Disposition {
        Applied => "applied", Derived => "derived", Blocked => "blocked",
        ApprovalRequired => "approval_required",
    }
    control::step_event::Phase {
        Queued => "queued", Started => "started", Done => "done", Failed => "failed",
        Skipped => "skipped",
    }
    control::OperationState {
        Running => "running", Succeeded => "succeeded", Failed => "failed",
        Interrupted => "interrupted",
    }
    control::Role { Leader => "leader", Standby => "standby", Embedded => "embedded" }
}
