//! Loads: NDJSON, Arrow or Parquet of any size, or a JSON envelope.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use omnigraph_proto::data::v1::{
    LoadEnd, LoadFormat, LoadHeader, LoadMode, LoadRequest, LoadResponse, LoadResult, LoadedType,
    load_request, load_response,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::metadata::MetadataMap;

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, JsonBody, QueryParams, branch_name};
use crate::shapes::{IngestOutput, IngestRequest, LoadedTypeOutput, present};

/// Pieces of the body on their way to the replica. Flow control does the rest.
const IN_FLIGHT: usize = 4;

/// Larger pieces are cut, so that no message comes near the limit.
const PIECE_BYTES: usize = 1024 * 1024;

pub(crate) async fn load(
    graph: GraphCall,
    JsonBody(body): JsonBody<IngestRequest, 32>,
) -> Result<Response, ApiError> {
    let header = LoadHeader {
        graph_id: graph.graph_id.clone(),
        branch: branch_name(body.branch.as_deref(), "main")?,
        from_branch: from_branch(body.from.as_deref())?,
        mode: mode(body.mode.as_deref())?.into(),
        options: Some(graph.plain_write(None)?),
        content_encoding: String::new(),
        permissive: true,
        ..LoadHeader::default()
    };
    let session = Session::open(&graph, header).await?;
    let data = futures::stream::iter([Ok(Bytes::from(body.data))]);
    session.run(data, true).await
}

pub(crate) async fn load_ndjson(
    graph: GraphCall,
    params: QueryParams,
    request: Request,
) -> Result<Response, ApiError> {
    stream(graph, &params, request, LoadFormat::Ndjson).await
}

/// Rows of one type, as an Arrow IPC stream or file.
pub(crate) async fn load_arrow(
    graph: GraphCall,
    params: QueryParams,
    request: Request,
) -> Result<Response, ApiError> {
    stream(graph, &params, request, LoadFormat::Arrow).await
}

/// Rows of one type, as a Parquet file.
pub(crate) async fn load_parquet(
    graph: GraphCall,
    params: QueryParams,
    request: Request,
) -> Result<Response, ApiError> {
    stream(graph, &params, request, LoadFormat::Parquet).await
}

async fn stream(
    graph: GraphCall,
    params: &QueryParams,
    request: Request,
    format: LoadFormat,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let encoding = content_encoding(&parts.headers);
    let header = LoadHeader {
        graph_id: graph.graph_id.clone(),
        branch: params.branch("branch")?,
        from_branch: from_branch(params.one("from")?)?,
        mode: mode(params.one("mode")?)?.into(),
        options: Some(graph.plain_write(params.text("message")?)?),
        content_encoding: encoding.as_ref().map_or("", |known| known).to_string(),
        permissive: false,
        format: format.into(),
        node_type: params.text("type")?.unwrap_or_default(),
        edge_type: params.text("edge")?.unwrap_or_default(),
    };
    // Accepted means authenticated, authorized and admitted; only then the body is looked at.
    let session = Session::open(&graph, header).await?;
    check_type(&parts.headers, format)?;
    encoding?;
    session.run(pieces(body), false).await
}

fn from_branch(from: Option<&str>) -> Result<String, ApiError> {
    match from {
        None => Ok(String::new()),
        from => branch_name(from, ""),
    }
}

fn mode(word: Option<&str>) -> Result<LoadMode, ApiError> {
    let Some(word) = word else {
        return Ok(LoadMode::Merge);
    };
    LoadMode::from_label(word).ok_or_else(|| {
        ApiError::bad_request(format!(
            "unknown load mode '{word}': use merge, append or overwrite"
        ))
    })
}

fn check_type(headers: &HeaderMap, format: LoadFormat) -> Result<(), ApiError> {
    let wanted: &[&str] = match format {
        LoadFormat::Ndjson | LoadFormat::Unspecified => &["application/x-ndjson"],
        LoadFormat::Arrow => &[
            "application/vnd.apache.arrow.stream",
            "application/vnd.apache.arrow.file",
        ],
        LoadFormat::Parquet => &["application/vnd.apache.parquet"],
    };
    let content_type = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let essence = content_type.and_then(|text| text.split(';').next());
    let essence = essence.map(str::trim).unwrap_or_default();
    if wanted.iter().any(|name| essence.eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    let wanted = wanted.join("' or '");
    Err(ApiError::unsupported_media(format!(
        "the body must have 'Content-Type: {wanted}'"
    )))
}

/// The compression of the body, which the replica undoes.
fn content_encoding(headers: &HeaderMap) -> Result<&'static str, ApiError> {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    let first = encodings.next().map(|value| value.to_str().unwrap_or("?"));
    let known = match first.map(str::to_ascii_lowercase).as_deref() {
        None | Some("identity") => Some(""),
        Some("gzip" | "x-gzip") => Some("gzip"),
        Some("zstd") => Some("zstd"),
        Some(_) => None,
    };
    match (known, encodings.next()) {
        (Some(known), None) => Ok(known),
        _ => Err(ApiError::unsupported_media(
            "this server takes 'Content-Encoding: gzip' and 'zstd'",
        )),
    }
}

fn pieces(body: Body) -> impl Stream<Item = Result<Bytes, axum::Error>> + Unpin {
    body.into_data_stream()
}

/// A load that the replica has accepted.
struct Session {
    requests: mpsc::Sender<LoadRequest>,
    responses: Streaming<LoadResponse>,
    metadata: MetadataMap,
}

impl Session {
    async fn open(graph: &GraphCall, header: LoadHeader) -> Result<Session, ApiError> {
        let (requests, receiver) = mpsc::channel(IN_FLIGHT);
        // There is room: the channel is new.
        let _ = requests
            .send(frame(load_request::Frame::Header(header)))
            .await;
        let request = graph.request(ReceiverStream::new(receiver), Budget::Unbounded);
        let mut graphs = graph.graphs();
        let answer = graph.wait(Budget::Write, graphs.load(request)).await?;
        let (metadata, mut responses, _) = answer.into_parts();
        let accepted = graph.wait(Budget::Write, responses.message()).await?;
        match accepted.and_then(|message| message.frame) {
            Some(load_response::Frame::Accepted(_)) => Ok(Session {
                requests,
                responses,
                metadata,
            }),
            _ => Err(ApiError::broken_off()),
        }
    }

    /// Sends the body and waits for the result, which may come before the body's end when the load
    /// is refused. Dropping this discards the load.
    async fn run(
        self,
        body: impl Stream<Item = Result<Bytes, axum::Error>> + Unpin,
        with_uri: bool,
    ) -> Result<Response, ApiError> {
        let Session {
            requests,
            mut responses,
            metadata,
        } = self;
        let mut body = body;
        let outcome = {
            let answered = result(&mut responses);
            let sent = send(requests, &mut body);
            tokio::pin!(answered);
            tokio::select! {
                outcome = &mut answered => outcome,
                sent = sent => {
                    sent?;
                    answered.await
                }
            }
        };
        linger(&mut body).await;
        loaded(&metadata, outcome?, with_uri)
    }
}

/// Takes in what the client still sends, for a moment: many look for the answer only when they have
/// sent everything, and would lose it with a connection that is closed under them.
async fn linger(body: &mut (impl Stream<Item = Result<Bytes, axum::Error>> + Unpin)) {
    const LINGER: Duration = Duration::from_secs(2);
    let rest = async { while let Some(Ok(_)) = body.next().await {} };
    let _ = tokio::time::timeout(LINGER, rest).await;
}

async fn send(
    requests: mpsc::Sender<LoadRequest>,
    mut body: impl Stream<Item = Result<Bytes, axum::Error>> + Unpin,
) -> Result<(), ApiError> {
    let mut bytes = 0;
    while let Some(piece) = body.next().await {
        let mut piece = piece.map_err(|error| {
            ApiError::bad_request(format!("the body broke off, nothing was loaded: {error}"))
        })?;
        bytes += piece.len() as u64;
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(PIECE_BYTES));
            if requests
                .send(frame(load_request::Frame::Ndjson(part)))
                .await
                .is_err()
            {
                // The replica has ended the call; its answer says why.
                return Ok(());
            }
        }
    }
    let end = load_request::Frame::End(LoadEnd { bytes });
    // As above: who does not listen any more has answered.
    let _ = requests.send(frame(end)).await;
    Ok(())
}

async fn result(responses: &mut Streaming<LoadResponse>) -> Result<LoadResult, ApiError> {
    while let Some(message) = responses.message().await? {
        if let Some(load_response::Frame::Result(result)) = message.frame {
            return Ok(result);
        }
    }
    Err(ApiError::broken_off())
}

fn frame(frame: load_request::Frame) -> LoadRequest {
    LoadRequest { frame: Some(frame) }
}

fn loaded(
    metadata: &MetadataMap,
    result: LoadResult,
    with_uri: bool,
) -> Result<Response, ApiError> {
    let commit = result.commit.as_ref();
    let commit = commit.map_or("", |commit| commit.graph_commit_id.as_str());
    let answer = Answer::new(metadata)
        .commit(commit)
        .replayed(result.replayed);
    let mode = result.mode().label().to_owned();
    answer.json(&IngestOutput {
        uri: with_uri.then_some(result.uri),
        branch: result.branch,
        base_branch: present(result.base_branch),
        branch_created: result.branch_created,
        mode,
        nodes: result.nodes.into_iter().map(loaded_type).collect(),
        edges: result.edges.into_iter().map(loaded_type).collect(),
        total_entities: result.total_entities,
        actor_id: result.actor_id,
        commit: result.commit.map(Into::into),
    })
}

fn loaded_type(loaded: LoadedType) -> LoadedTypeOutput {
    LoadedTypeOutput {
        name: loaded.name,
        entities_loaded: loaded.entities_loaded,
    }
}
