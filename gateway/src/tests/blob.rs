//! Blobs: conditions, ranges and redirects, case by case.

use http::StatusCode;
use omnigraph_proto::common::v1 as common;
use omnigraph_proto::common::v1::ErrorReason;
use omnigraph_proto::common::v1::error_detail::Detail;
use omnigraph_proto::data::v1::*;
use omnigraph_proto::error::WireError;

use super::fake::{COMMIT, Fake};
use super::{Got, request, send};

const CONTENT: &[u8] = b"0123456789";
const TAG: &str = "\"tag\"";
const URI: &str = "s3://media/public/a.png";
const PATH: &str = "/graphs/debian/blob?entity=node&type=Doc&property=body&id=";

/// What the fake replica holds, by the entity's id.
pub(super) fn stat(message: StatBlobRequest) -> Result<StatBlobResponse, WireError> {
    let selector = message.selector.unwrap_or_default();
    Ok(StatBlobResponse {
        descriptor: Some(descriptor(&selector.id)?),
    })
}

pub(super) fn frames(message: GetBlobRequest) -> Result<Vec<GetBlobResponse>, WireError> {
    use get_blob_response::Frame;
    let selector = message.selector.unwrap_or_default();
    let descriptor = descriptor(&selector.id)?;
    let content = content(&selector.id);
    let length = content.len() as u64;
    let honoured = message.if_range_etag.is_empty() || message.if_range_etag == "tag";
    let managed = matches!(
        descriptor.content,
        Some(blob_descriptor::Content::Managed(_))
    );
    let range = message.range.filter(|_| managed);
    let range = range.and_then(|range| range.range);
    let (start, end) = match range.filter(|_| honoured) {
        None => (0, length),
        Some(byte_range::Range::Suffix(last)) => (length.saturating_sub(last), length),
        Some(byte_range::Range::Span(span)) => (span.start, span.end.unwrap_or(length).min(length)),
    };
    let partial = range.is_some() && honoured;
    if partial && start >= end {
        let range = common::BlobRange { start, end, length };
        let error = WireError::new(ErrorReason::BlobRange, "out of range");
        return Err(error.with_detail(Detail::BlobRange(range)));
    }
    let header = BlobHeader {
        descriptor: Some(descriptor),
        start,
        end,
        partial,
    };
    let chunk = content[start as usize..end as usize].to_vec();
    Ok([Frame::Header(header), Frame::Chunk(chunk.into())]
        .map(|frame| GetBlobResponse { frame: Some(frame) })
        .into())
}

fn content(id: &str) -> &'static [u8] {
    match id {
        "managed" => CONTENT,
        _ => b"",
    }
}

fn descriptor(id: &str) -> Result<BlobDescriptor, WireError> {
    use blob_descriptor::Content;
    let content = match id {
        "managed" | "empty" => Content::Managed(ManagedBlob {
            size: content(id).len() as u64,
            etag: "tag".to_owned(),
        }),
        "external" => Content::ExternalUri(URI.to_owned()),
        _ => return Err(WireError::not_found("Doc has no entity with this id")),
    };
    Ok(BlobDescriptor {
        content: Some(content),
        resolved_commit_id: COMMIT.to_owned(),
    })
}

async fn ask(method: &str, id: &str, headers: &[(&str, &str)]) -> Got {
    let path = format!("{PATH}{id}");
    send(&Fake::default(), request(method, &path, headers, "")).await
}

async fn read(headers: &[(&str, &str)]) -> Got {
    ask("GET", "managed", headers).await
}

fn is_whole(got: &Got) {
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(&got.body[..], CONTENT);
    assert_eq!(got.header("content-length"), "10");
    assert_eq!(got.header("content-type"), "application/octet-stream");
    assert_eq!(got.header("accept-ranges"), "bytes");
    assert_eq!(got.header("etag"), TAG);
    assert_eq!(got.header("omnigraph-snapshot-id"), COMMIT);
    assert_eq!(got.header("content-range"), "");
}

#[tokio::test]
async fn the_whole() {
    is_whole(&read(&[]).await);
    let got = ask("GET", "empty", &[]).await;
    assert_eq!(
        (got.status, got.header("content-length")),
        (StatusCode::OK, "0")
    );
}

#[tokio::test]
async fn if_match_comes_first() {
    for holds in [TAG, "*", "\"x\", \"tag\""] {
        is_whole(&read(&[("if-match", holds)]).await);
    }
    for fails in ["\"x\"", "W/\"tag\"", "tag", "\"tag"] {
        let others = [
            ("if-match", fails),
            ("if-none-match", TAG),
            ("range", "bytes=99-"),
        ];
        let got = read(&others).await;
        assert_eq!(got.status, StatusCode::PRECONDITION_FAILED, "{fails}");
        assert_eq!(got.json()["code"], "conflict");
        assert_eq!(got.header("etag"), TAG);
        assert_eq!(got.header("omnigraph-snapshot-id"), COMMIT);
    }
}

#[tokio::test]
async fn if_none_match_comes_second() {
    for known in [TAG, "W/\"tag\"", "*", "\"x\", W/\"tag\""] {
        let got = read(&[("if-none-match", known), ("range", "bytes=99-")]).await;
        assert_eq!(got.status, StatusCode::NOT_MODIFIED, "{known}");
        assert_eq!(got.header("etag"), TAG);
        assert_eq!(got.header("content-length"), "10");
        assert!(got.body.is_empty());
    }
    is_whole(&read(&[("if-none-match", "\"x\""), ("if-match", TAG)]).await);
}

#[tokio::test]
async fn ranges() {
    for (range, content_range, expected) in [
        ("bytes=0-0", "bytes 0-0/10", "0"),
        ("bytes=3-5", "bytes 3-5/10", "345"),
        ("bytes=8-", "bytes 8-9/10", "89"),
        ("bytes=8-99", "bytes 8-9/10", "89"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=-99", "bytes 0-9/10", "0123456789"),
    ] {
        for more in [vec![], vec![("if-range", TAG)], vec![("if-match", TAG)]] {
            let headers: Vec<_> = [("range", range)].into_iter().chain(more).collect();
            let got = read(&headers).await;
            assert_eq!(got.status, StatusCode::PARTIAL_CONTENT, "{headers:?}");
            assert_eq!(got.header("content-range"), content_range);
            assert_eq!(got.header("content-length"), expected.len().to_string());
            assert_eq!(got.header("etag"), TAG);
            assert_eq!(got.text(), expected);
        }
    }
    for ignored in ["bytes=0-1,3-4", "lines=0-1", "bytes=5-4", "bytes=x", "0-1"] {
        is_whole(&read(&[("range", ignored)]).await);
    }
    for changed in ["\"x\"", "W/\"tag\"", "Sun, 22 Nov 2026 14:00:00 GMT"] {
        is_whole(&read(&[("range", "bytes=0-1"), ("if-range", changed)]).await);
        // Without the range nothing is out of it.
        is_whole(&read(&[("range", "bytes=99-"), ("if-range", changed)]).await);
    }
}

#[tokio::test]
async fn ranges_that_hold_nothing() {
    for (id, range, length, start, end) in [
        ("managed", "bytes=10-", 10, 10, 10),
        ("managed", "bytes=99-200", 10, 99, 10),
        ("managed", "bytes=-0", 10, 10, 10),
        ("empty", "bytes=0-", 0, 0, 0),
        ("empty", "bytes=-5", 0, 0, 0),
    ] {
        let got = ask("GET", id, &[("range", range)]).await;
        assert_eq!(got.status, StatusCode::RANGE_NOT_SATISFIABLE, "{range}");
        assert_eq!(got.header("content-range"), format!("bytes */{length}"));
        let body = got.json();
        assert_eq!(body["code"], "bad_request");
        let expected = serde_json::json!({"start": start, "end": end, "length": length});
        assert_eq!(body["blob_range"], expected);
    }
}

#[tokio::test]
async fn head_reads_no_payload_and_knows_no_range() {
    let fake = Fake::default();
    let path = format!("{PATH}managed");
    let headers = [("range", "bytes=0-1"), ("if-range", TAG)];
    let got = send(&fake, request("HEAD", &path, &headers, "")).await;
    assert_eq!(got.status, StatusCode::OK);
    assert_eq!(got.header("content-length"), "10");
    assert_eq!(got.header("etag"), TAG);
    assert_eq!(got.header("accept-ranges"), "bytes");
    assert!(got.body.is_empty());
    assert!(
        fake.asked().starts_with("StatBlobRequest"),
        "{}",
        fake.asked()
    );
    let got = ask("HEAD", "managed", &[("if-none-match", TAG)]).await;
    assert_eq!(got.status, StatusCode::NOT_MODIFIED);
    for (id, headers, status) in [
        ("managed", [("if-match", "\"x\"")], 412),
        ("missing", [("x", "y")], 404),
    ] {
        let got = ask("HEAD", id, &headers).await;
        assert_eq!(got.status.as_u16(), status);
        assert!(got.body.is_empty());
    }
}

#[tokio::test]
async fn external_objects_are_pointed_at() {
    for method in ["GET", "HEAD"] {
        for headers in [
            vec![],
            vec![("range", "bytes=0-1")],
            vec![("if-match", "\"x\"")],
            vec![("if-none-match", "*")],
        ] {
            let got = ask(method, "external", &headers).await;
            assert_eq!(got.status, StatusCode::FOUND);
            assert_eq!(got.header("location"), URI);
            assert_eq!(got.header("cache-control"), "no-store");
            assert_eq!(got.header("omnigraph-snapshot-id"), COMMIT);
            assert_eq!(got.header("etag"), "");
            assert!(got.body.is_empty());
        }
    }
}

#[tokio::test]
async fn selectors_are_complete() {
    let fake = Fake::default();
    for query in [
        "",
        "?entity=node&type=Doc&id=a",
        "?entity=node&type=Doc&property=body",
        "?entity=node&id=a&property=body",
        "?type=Doc&id=a&property=body",
        "?entity=thing&type=Doc&id=a&property=body",
        "?entity=node&type=Doc&id=&property=body",
        "?entity=node&type=Doc&id=a&id=b&property=body",
        "?entity=node&type=Doc&id=a&property=body&branch=x&snapshot=y",
    ] {
        let path = format!("/graphs/debian/blob{query}");
        let got = send(&fake, request("GET", &path, &[], "")).await;
        assert_eq!(got.status, StatusCode::BAD_REQUEST, "{query}");
    }
    let got = ask("GET", "missing", &[]).await;
    assert_eq!(got.status, StatusCode::NOT_FOUND);
    assert_eq!(got.json()["code"], "not_found");
    let path = format!("{PATH}a%2Fb&snapshot={COMMIT}");
    send(&fake, request("GET", &path, &[], "")).await;
    assert!(fake.asked().contains("id: \"a/b\""), "{}", fake.asked());
    assert!(fake.asked().contains(COMMIT), "{}", fake.asked());
}

#[tokio::test]
async fn a_payload_that_breaks_off_is_no_payload() {
    let path = format!("{PATH}managed");
    let got = send(&Fake::truncated(), request("GET", &path, &[], "")).await;
    assert_eq!(got.status, StatusCode::OK);
    assert!(!got.whole);
}
