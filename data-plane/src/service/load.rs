//! Loads: a header, then data in pieces, then an end that commits.

use std::time::Duration;

use omnigraph_engine::{
    BranchName, LoadEncoding, LoadFormat, LoadMode, LoadOptions, LoadOutcome, LoadPhase,
    LoadSession, LoadType,
};
use omnigraph_policy as policy;
use omnigraph_policy::Action;
use omnigraph_proto::data::v1::{
    self as pb, LoadAccepted, LoadHeader, LoadProgress, LoadRequest, LoadResponse, LoadResult,
    LoadedType, load_request, load_response::Frame,
};
use omnigraph_proto::error::WireError;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::BoxStream;
use tonic::{Response, Status, Streaming};

use super::Service;
use super::asks;
use super::call::Call;
use super::convert;
use super::errors::{About, wire};

/// A sender that says nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(600);
/// The header has to come soon.
const HEADER_MAX: Duration = Duration::from_secs(30);
/// Pause between two reports.
const PROGRESS: Duration = Duration::from_secs(1);
/// Answers that wait to be sent.
const ANSWERS_MAX: usize = 4;

type Answers = mpsc::Sender<Result<LoadResponse, Status>>;

pub(super) async fn load(
    service: &Service,
    call: Call,
    mut frames: Streaming<LoadRequest>,
) -> Result<Response<BoxStream<LoadResponse>>, Status> {
    let header = match timeout(HEADER_MAX, frames.message()).await {
        Ok(first) => header(first?),
        Err(_) => Err(WireError::invalid_request("the load's header did not come")),
    };
    let mut header = header.map_err(|error| call.fail(error))?;
    let change = asks::on(Action::Change, &header.branch);
    let (call, generation) = call.graph(&header.graph_id, &[change])?;
    call.keyed(&mut header.options)?;
    let begun = begin(&call, &generation.graph, header).await;
    let (session, accepted, mode) = begun.map_err(|error| call.fail(error))?;
    let (answers, receiver) = mpsc::channel(ANSWERS_MAX);
    // There is room: the channel is new.
    let _ = answers.try_send(Ok(frame(Frame::Accepted(accepted))));
    let response = call.respond(Ok(
        Box::pin(ReceiverStream::new(receiver)) as BoxStream<LoadResponse>
    ))?;
    let uri = generation.graph.uri();
    let running = async move {
        let outcome = run(session, frames, &answers).await;
        let answer = match outcome {
            Ok(Some(outcome)) => {
                let mut result = result(outcome, mode);
                result.actor_id = call.actor().map(str::to_owned);
                result.uri = uri;
                Ok(frame(Frame::Result(result)))
            }
            // The client is gone; dropping the session has discarded the load.
            Ok(None) => return,
            Err(error) => Err(call.fail(error)),
        };
        // Nobody may be left to hear it.
        let _ = answers.send(answer).await;
    };
    service.replica.inner().tasks.spawn(running);
    Ok(response)
}

fn header(first: Option<LoadRequest>) -> Result<LoadHeader, WireError> {
    match first.and_then(|message| message.frame) {
        Some(load_request::Frame::Header(header)) => Ok(header),
        _ => Err(WireError::invalid_request(
            "the first frame of a load must be its header",
        )),
    }
}

async fn begin(
    call: &Call,
    graph: &omnigraph_engine::Graph,
    header: LoadHeader,
) -> Result<(LoadSession, LoadAccepted, pb::LoadMode), WireError> {
    let encoding = LoadEncoding::parse(&header.content_encoding).ok_or_else(|| {
        WireError::invalid_request(format!(
            "content encoding '{}' is not supported: use gzip or zstd",
            header.content_encoding
        ))
    })?;
    let format = format(&header)?;
    let branch = convert::branch(&header.branch)?;
    let from = match header.from_branch.is_empty() {
        true => None,
        false => Some(convert::named_branch(&header.from_branch)?),
    };
    let mode = header.mode();
    let mut write = convert::write_options(header.options, call.author(), call.left())?;
    let guard = call.guard();
    write.types = guard.type_gate(branch.as_str());
    let missing = from.is_some() && is_missing(graph, &branch).await;
    if let Some(from) = from.as_ref().filter(|_| missing) {
        let create = policy::Call::new(Action::BranchCreate);
        guard.check(&create.on(from.as_str()).to(branch.as_str()))?;
    }
    let options = LoadOptions {
        mode: match mode {
            pb::LoadMode::Append => LoadMode::Append,
            pb::LoadMode::Overwrite => LoadMode::Overwrite,
            pb::LoadMode::Merge | pb::LoadMode::Unspecified => LoadMode::Merge,
        },
        from,
        write,
        permissive: header.permissive,
        encoding,
        format,
        memory: None,
    };
    let session = graph.load(&branch, options).await;
    let session = session.map_err(|error| wire(error, About::Load))?;
    let accepted = LoadAccepted {
        branch: branch.to_string(),
        branch_will_be_created: missing,
    };
    let mode = match mode {
        pb::LoadMode::Unspecified => pb::LoadMode::Merge,
        mode => mode,
    };
    Ok((session, accepted, mode))
}

/// What the data is, and for columns of which type.
fn format(header: &LoadHeader) -> Result<LoadFormat, WireError> {
    let wrong = |message: &str| Err(WireError::invalid_request(message));
    let of = match (header.node_type.as_str(), header.edge_type.as_str()) {
        ("", "") => None,
        (node, "") => Some(LoadType::Node(node.to_owned())),
        ("", edge) => Some(LoadType::Edge(edge.to_owned())),
        _ => return wrong("a load is of one node type or of one edge type, not of both"),
    };
    match (pb::LoadFormat::try_from(header.format), of) {
        (Ok(pb::LoadFormat::Unspecified | pb::LoadFormat::Ndjson), None) => Ok(LoadFormat::Ndjson),
        (Ok(pb::LoadFormat::Unspecified | pb::LoadFormat::Ndjson), Some(_)) => {
            wrong("NDJSON names the type in each line: leave the type of the load out")
        }
        (Ok(pb::LoadFormat::Arrow), Some(of)) if !header.permissive => Ok(LoadFormat::Arrow(of)),
        (Ok(pb::LoadFormat::Parquet), Some(of)) if !header.permissive => {
            Ok(LoadFormat::Parquet(of))
        }
        (Ok(pb::LoadFormat::Arrow | pb::LoadFormat::Parquet), None) => {
            wrong("the rows of a columnar load are of one type: name it with 'type' or 'edge'")
        }
        (Ok(_), _) => wrong("only NDJSON can be loaded permissively"),
        (Err(_), _) => wrong("unknown load format: use ndjson, arrow or parquet"),
    }
}

async fn is_missing(graph: &omnigraph_engine::Graph, branch: &BranchName) -> bool {
    let found = graph.branch(branch).await;
    found.is_err_and(|error| error.kind() == omnigraph_engine::ErrorKind::NotFound)
}

/// Takes the data. `None`: the client went away before the end, so nothing is committed, and nobody
/// is there to be told.
async fn run(
    mut session: LoadSession,
    mut frames: Streaming<LoadRequest>,
    answers: &Answers,
) -> Result<Option<LoadOutcome>, WireError> {
    // A repeat: what the client sends is not needed, and it need not send it to the end.
    if session.is_answered() {
        let answered = session.finish().await;
        return answered.map(Some).map_err(|error| wire(error, About::Load));
    }
    let mut report = tokio::time::interval_at(Instant::now() + PROGRESS, PROGRESS);
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut received = 0;
    loop {
        let message = tokio::select! {
            message = timeout(SILENCE_MAX, frames.message()) => message,
            _ = report.tick() => {
                tell(answers, progress(session.progress()));
                continue;
            }
            () = answers.closed() => return Ok(None),
        };
        let message = match message {
            Ok(Ok(Some(message))) => message,
            // Ended in good order, but by somebody who does not know where the load ends.
            Ok(Ok(None)) => {
                return Err(WireError::invalid_request(
                    "the stream ended without an `end` frame: nothing was loaded",
                ));
            }
            Ok(Err(_)) => return Ok(None),
            Err(_) => {
                return Err(WireError::invalid_request(format!(
                    "nothing has come for {SILENCE_MAX:?}: nothing was loaded"
                )));
            }
        };
        match message.frame {
            Some(load_request::Frame::Ndjson(bytes)) => {
                received += bytes.len() as u64;
                let pushed = session.push(bytes).await;
                pushed.map_err(|error| wire(error, About::Load))?;
            }
            Some(load_request::Frame::End(end)) if end.bytes != 0 && end.bytes != received => {
                return Err(WireError::invalid_request(format!(
                    "{} bytes were sent, {received} have come: nothing was loaded",
                    end.bytes
                )));
            }
            Some(load_request::Frame::End(_)) => break,
            Some(load_request::Frame::Header(_)) => {
                return Err(WireError::invalid_request("a load has one header"));
            }
            None => {}
        }
        if report_is_due(&mut report) {
            tell(answers, progress(session.progress()));
        }
    }
    // From here on the load is finished even if nobody waits for it.
    let watch = session.watch();
    let finished = session.finish();
    tokio::pin!(finished);
    loop {
        tell(answers, progress(watch.progress()));
        tokio::select! {
            finished = &mut finished => {
                return finished.map(Some).map_err(|error| wire(error, About::Load));
            }
            _ = report.tick() => {}
        }
    }
}

/// A client that sends without pause would starve the reports otherwise.
fn report_is_due(report: &mut tokio::time::Interval) -> bool {
    use futures::FutureExt as _;
    report.tick().now_or_never().is_some()
}

/// Progress is worth nothing late, so it is dropped when the client does not keep up.
fn tell(answers: &Answers, progress: LoadProgress) {
    let _ = answers.try_send(Ok(frame(Frame::Progress(progress))));
}

fn progress(progress: omnigraph_engine::LoadProgress) -> LoadProgress {
    let phase = match progress.phase {
        LoadPhase::Reading => "reading",
        LoadPhase::Writing => "checking",
        LoadPhase::Committing => "committing",
    };
    LoadProgress {
        lines: progress.lines,
        bytes: progress.bytes,
        phase: phase.to_owned(),
    }
}

fn result(outcome: LoadOutcome, mode: pb::LoadMode) -> LoadResult {
    LoadResult {
        branch: outcome.branch.to_string(),
        base_branch: outcome
            .base_branch
            .map_or(String::new(), |branch| branch.to_string()),
        branch_created: outcome.branch_created,
        mode: mode.into(),
        nodes: outcome.nodes.into_iter().map(loaded).collect(),
        edges: outcome.edges.into_iter().map(loaded).collect(),
        total_entities: outcome.total,
        actor_id: None,
        commit: outcome.commit.as_ref().map(convert::commit),
        replayed: outcome.replayed,
        uri: String::new(),
    }
}

fn loaded((name, entities_loaded): (String, u64)) -> LoadedType {
    LoadedType {
        name,
        entities_loaded,
    }
}

fn frame(frame: Frame) -> LoadResponse {
    LoadResponse { frame: Some(frame) }
}
