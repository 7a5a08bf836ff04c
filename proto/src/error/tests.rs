use std::collections::BTreeSet;
use std::time::Duration;

use prost::Message as _;
use tonic::{Code, Status};

use super::*;
use crate::common::v1::{
    ConflictEntity, EntityKind, EntityRef, Lease, MergeConflict, MergeConflictKind, MergeConflicts,
    SourceSpan, WriteConflict, conflict_entity, diagnostic,
};
use crate::data::v1::graph_service_client::GraphServiceClient;
use crate::data::v1::graph_service_server::{GraphService, GraphServiceServer};
use crate::data::v1::{MutateRequest, MutateResponse};

/// reason, gRPC code, HTTP status, `code`, retry: as the public contract states them.
const EXPECTED: &str = "
    INTERNAL              Internal            500 internal           Unknown
    INTEGRITY             DataLoss            500 internal           Unknown
    UNAUTHENTICATED       Unauthenticated     401 unauthorized       AfterChange
    PERMISSION_DENIED     PermissionDenied    403 forbidden          No
    INVALID_REQUEST       InvalidArgument     400 bad_request        No
    CONFIG_INVALID        InvalidArgument     400 bad_request        No
    INVALID_QUERY         InvalidArgument     400 bad_request        No
    UNSUPPORTED_MIGRATION InvalidArgument     400 bad_request        No
    LOAD_INVALID          InvalidArgument     400 bad_request        AfterChange
    CURSOR_REJECTED       InvalidArgument     400 bad_request        AfterChange
    EXTERNAL_BLOB_POLICY  InvalidArgument     400 bad_request        No
    UNSUPPORTED_MEDIA     InvalidArgument     415 bad_request        No
    NOT_ACCEPTABLE        InvalidArgument     406 bad_request        No
    NOT_FOUND             NotFound            404 not_found          No
    GRAPH_NOT_FOUND       NotFound            404 not_found          No
    ALREADY_EXISTS        AlreadyExists       409 conflict           No
    KEY_CONFLICT          AlreadyExists       409 conflict           AfterChange
    WRITE_CONFLICT        Aborted             409 conflict           Later
    MERGE_CONFLICT        FailedPrecondition  409 conflict           AfterChange
    IDEMPOTENCY_CONFLICT  Aborted             409 conflict           No
    CHANGE_DIFF_REFUSED   FailedPrecondition  409 conflict           No
    SCHEMA_MANAGED        FailedPrecondition  409 conflict           No
    CHANGE_FEED_GAP       FailedPrecondition  410 -                  No
    PRECONDITION_FAILED   FailedPrecondition  412 -                  AfterChange
    RESOURCE_LIMIT        OutOfRange          413 bad_request        No
    BLOB_RANGE            OutOfRange          416 bad_request        No
    EXTERNAL_BLOB_SOURCE  FailedPrecondition  424 -                  Later
    RATE_LIMITED          ResourceExhausted   429 too_many_requests  Later
    GRAPH_LOADING         Unavailable         503 graph_loading      Later
    GRAPH_QUARANTINED     Unavailable         503 graph_quarantined  AfterChange
    UNAVAILABLE           Unavailable         503 unavailable        Idempotent
    DEADLINE_EXCEEDED     DeadlineExceeded    504 deadline_exceeded  Idempotent
    CANCELLED             Cancelled           -   -                  No
    LEASE_HELD            FailedPrecondition  -   -                  Later
    NOT_LEADER            Unavailable         -   -                  AfterChange
    PLAN_STALE            Aborted             -   -                  AfterChange
    APPROVAL_REQUIRED     FailedPrecondition  -   -                  AfterChange
    RECOVERY_PENDING      FailedPrecondition  -   -                  AfterChange
";

#[test]
fn every_row_is_as_the_contract_says() {
    let mut seen = BTreeSet::new();
    for line in EXPECTED.lines().filter(|line| !line.trim().is_empty()) {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let reason = ErrorReason::from_str_name(&format!("ERROR_REASON_{}", columns[0]))
            .unwrap_or_else(|| panic!("unknown reason {}", columns[0]));
        let row = row(reason);
        let http = row.http.map_or("-".to_owned(), |status| status.to_string());
        let actual = [
            WireError::new(reason, "x").reason_str().to_owned(),
            format!("{:?}", row.grpc),
            http,
            row.code.unwrap_or("-").to_owned(),
            format!("{:?}", row.retry),
        ];
        assert_eq!(actual.as_slice(), columns.as_slice());
        assert!(seen.insert(reason as i32), "{} twice", columns[0]);
    }
    let known: BTreeSet<i32> = (1..200)
        .filter(|n| ErrorReason::try_from(*n).is_ok())
        .collect();
    assert_eq!(seen, known, "every reason of the wire has a row");
    assert_eq!(ROWS.len(), known.len());
}

#[test]
fn every_row_survives_the_way_through_a_status() {
    for row in ROWS {
        let sent = WireError::new(row.reason, "package bash: no such thing")
            .with_hint("ask for another")
            .with_graph("debian")
            .with_metadata("branch", "main")
            .with_request_id("01JR");
        let status = Status::from(sent.clone());
        assert_eq!(status.code(), row.grpc);
        assert_eq!(status.message(), "package bash: no such thing");
        assert_eq!(WireError::from(status), sent);
    }
}

#[test]
fn a_bare_code_maps_to_a_reason_of_the_same_code() {
    for code in (1..=16).map(Code::from_i32) {
        let error = WireError::from(Status::new(code, "from elsewhere"));
        let expected = match code {
            Code::Unknown | Code::Unimplemented => Code::Internal,
            code => code,
        };
        assert_eq!(row(error.reason).grpc, expected);
        assert_eq!(error.message, "from elsewhere");
    }
}

#[test]
fn details_of_another_domain_do_not_decide() {
    let info = tonic_types::pb::ErrorInfo {
        reason: "WRITE_CONFLICT".into(),
        domain: "elsewhere".into(),
        ..Default::default()
    };
    let rich = tonic_types::pb::Status {
        details: vec![prost_types::Any {
            type_url: "type.googleapis.com/google.rpc.ErrorInfo".into(),
            value: info.encode_to_vec(),
        }],
        ..Default::default()
    };
    let status = Status::with_details(Code::Unavailable, "down", rich.encode_to_vec().into());
    let error = WireError::from(status);
    assert_eq!(error.reason, ErrorReason::Unavailable);
    assert_eq!(error.retry_after, Some(Duration::from_secs(1)));
}

#[test]
fn a_transient_limit_is_exhaustion_and_may_be_repeated() {
    let limit = WireError::resource_limit("result_rows", 10, 11);
    assert_eq!(limit.grpc_code(), Code::OutOfRange);
    assert_eq!(limit.retry(), Retry::No);
    let transient = limit.with_retry_after(Duration::from_secs(1));
    assert_eq!(transient.http_status(), 413);
    let status = Status::from(transient.clone());
    assert_eq!(status.code(), Code::ResourceExhausted);
    let read = WireError::from(status);
    assert_eq!(read, transient);
    assert_eq!(read.retry(), Retry::Later);
}

#[test]
fn a_key_in_use_may_be_asked_for_again() {
    let conflict = |cause: idempotency_conflict::Cause| {
        WireError::new(ErrorReason::IdempotencyConflict, "key k is in use").with_detail(
            Detail::IdempotencyConflict(IdempotencyConflict {
                key: "k".into(),
                cause: cause.into(),
                graph_commit_id: String::new(),
            }),
        )
    };
    let running = conflict(idempotency_conflict::Cause::InProgress);
    let other = conflict(idempotency_conflict::Cause::PayloadMismatch);
    assert_eq!((running.retry(), other.retry()), (Retry::Later, Retry::No));
}

fn too_much() -> WireError {
    let finding = |n: usize| Diagnostic {
        code: "R406".into(),
        severity: diagnostic::Severity::Error.into(),
        message: format!(
            "Package.summary: expected a string, got {}",
            "ü".repeat(100)
        ),
        line: n as u64 + 1,
        ..Diagnostic::default()
    };
    let findings = (0..250).map(finding).collect();
    WireError::diagnostics(ErrorReason::LoadInvalid, "é".repeat(5000), findings)
        .with_hint("è".repeat(5000))
        .with_graph(&"g".repeat(64))
        .with_request_id("01JR")
}

#[test]
fn long_lists_are_cut_so_that_the_header_stays_small() {
    let read = WireError::from(Status::from(too_much()));
    assert!(read.message.len() < 800 && read.message.ends_with('…'));
    let Some(Detail::Diagnostics(d)) = read.detail.as_deref() else {
        panic!("diagnostics are missing");
    };
    assert_eq!((d.total, d.diagnostics.len()), (250, 12));
    assert_eq!(d.diagnostics[11].line, 12);
}

struct Refusing;

#[tonic::async_trait]
impl GraphService for Refusing {
    async fn mutate(
        &self,
        _: tonic::Request<MutateRequest>,
    ) -> Result<tonic::Response<MutateResponse>, Status> {
        Err(too_much().into())
    }
}

/// The client has the usual limit of 16 KiB for all headers.
#[tokio::test]
async fn the_largest_error_reaches_an_ordinary_client() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = listener.local_addr().expect("bound");
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    let server = tonic::transport::Server::builder()
        .add_service(GraphServiceServer::new(Refusing))
        .serve_with_incoming(incoming);
    let server = tokio::spawn(server);

    let mut client = GraphServiceClient::connect(format!("http://{address}"))
        .await
        .expect("up");
    let status = client
        .mutate(MutateRequest::default())
        .await
        .expect_err("refuses");
    let read = WireError::from(status);
    assert_eq!(read, WireError::from(Status::from(too_much())));
    assert_eq!(read.request_id.as_deref(), Some("01JR"));
    server.abort();
}

#[test]
fn what_cannot_be_cut_is_left_out() {
    let lease = Lease {
        holder: "h".repeat(9000),
        ..Lease::default()
    };
    let error =
        WireError::new(ErrorReason::LeaseHeld, "held").with_detail(Detail::LeaseHeld(lease));
    let read = WireError::from(Status::from(error));
    assert_eq!((read.reason, read.detail), (ErrorReason::LeaseHeld, None));
}

fn json(error: &WireError) -> serde_json::Value {
    serde_json::to_value(ErrorOutput::from(error)).expect("plain data")
}

#[test]
fn the_body_has_only_what_applies() {
    let error = WireError::graph_not_found("nope").with_request_id("01JR");
    let expected = serde_json::json!({
        "error": "graph 'nope' not found", "code": "not_found", "request_id": "01JR",
    });
    assert_eq!(json(&error), expected);

    let moved = WireError::precondition_failed("main", "01A", "01B").with_request_id("01JR");
    let expected = serde_json::json!({
        "error": "branch 'main' has moved: expected 01A, head is 01B",
        "precondition_failure": {"expected": "01A", "actual": "01B"},
        "hint": "read again and decide; nothing was written",
        "request_id": "01JR",
    });
    assert_eq!(json(&moved), expected);
}

#[test]
fn bodies_carry_conflicts_and_diagnostics() {
    let entity = EntityRef {
        kind: EntityKind::Node.into(),
        type_name: "Package".into(),
        entity_id: "bash".into(),
    };
    let write = WireError::new(ErrorReason::WriteConflict, "lost 8 times").with_detail(
        Detail::WriteConflict(WriteConflict {
            base_commit_id: "01A".into(),
            head_commit_id: "01B".into(),
            entities: vec![ConflictEntity {
                entity: Some(entity.clone()),
                cause: conflict_entity::Cause::SameEntity.into(),
                constraint: String::new(),
            }],
            truncated: false,
        }),
    );
    assert_eq!(
        json(&write)["write_conflict"]["entities"][0],
        serde_json::json!({
            "entity_kind": "node", "type_name": "Package", "entity_id": "bash", "cause": "same_entity",
        })
    );

    let merge = WireError::new(ErrorReason::MergeConflict, "1 conflict").with_detail(
        Detail::MergeConflicts(MergeConflicts {
            conflicts: vec![MergeConflict {
                entity: Some(EntityRef {
                    entity_id: String::new(),
                    ..entity
                }),
                kind: MergeConflictKind::SchemaDiverged.into(),
                message: "both changed it".into(),
                ..MergeConflict::default()
            }],
            total: 1,
            truncated: false,
        }),
    );
    assert_eq!(
        json(&merge)["merge_conflicts"],
        serde_json::json!([{
            "entity_kind": "node", "type_name": "Package", "entity_id": null,
            "message": "both changed it", "kind": "schema_diverged",
        }])
    );

    let finding = Diagnostic {
        code: "Q201".into(),
        severity: diagnostic::Severity::Error.into(),
        message: "unknown node type Pakage".into(),
        span: Some(SourceSpan {
            file: String::new(),
            start: 11,
            end: 17,
            line: 1,
            column: 12,
        }),
        hints: vec!["did you mean Package?".into()],
        ..Diagnostic::default()
    };
    let query = WireError::diagnostics(
        ErrorReason::InvalidQuery,
        "the query is invalid",
        vec![finding],
    );
    assert_eq!(
        json(&query)["diagnostics"],
        serde_json::json!([{
            "code": "Q201", "severity": "error", "message": "unknown node type Pakage",
            "span": {"start": 11, "end": 17, "line": 1, "column": 12},
            "hints": ["did you mean Package?"],
        }])
    );
    let body: ErrorOutput = serde_json::from_value(json(&query)).expect("reads its own output");
    assert_eq!(body, ErrorOutput::from(&query));
}

#[test]
fn internal_errors_tell_nothing() {
    let leak = WireError::new(ErrorReason::Integrity, "s3://bucket/key is torn")
        .with_hint("look at s3://bucket")
        .with_request_id("01JR");
    let expected =
        serde_json::json!({"error": INTERNAL_TEXT, "code": "internal", "request_id": "01JR"});
    assert_eq!(json(&leak), expected);
}

#[test]
fn language_codes_have_reasons() {
    use ErrorReason as R;
    let cases = [
        ("P001", Origin::Source, R::InvalidQuery),
        ("S110", Origin::Bundle, R::ConfigInvalid),
        ("Q203", Origin::Stored, R::InvalidQuery),
        ("M301", Origin::Bundle, R::UnsupportedMigration),
        ("R406", Origin::Load, R::LoadInvalid),
        ("R417", Origin::Source, R::InvalidQuery),
        ("R421", Origin::Load, R::ExternalBlobPolicy),
        ("R422", Origin::Load, R::ResourceLimit),
        ("R430", Origin::Stored, R::InvalidQuery),
        ("R434", Origin::Source, R::InvalidQuery),
        ("R434", Origin::Stored, R::NotFound),
        ("R440", Origin::Source, R::InvalidQuery),
        ("R444", Origin::Source, R::Unavailable),
        ("R450", Origin::Source, R::DeadlineExceeded),
        ("R451", Origin::Source, R::Cancelled),
        ("R452", Origin::Source, R::ResourceLimit),
        ("R460", Origin::Source, R::WriteConflict),
        ("R461", Origin::Source, R::PreconditionFailed),
        ("R999", Origin::Source, R::Internal),
        ("", Origin::Source, R::Internal),
    ];
    for (code, origin, expected) in cases {
        assert_eq!(
            reason_of_diagnostic(code, origin),
            expected,
            "{code} {origin:?}"
        );
    }
}
