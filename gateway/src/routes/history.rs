//! Snapshots and commits.

use std::io;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use omnigraph_proto::common::v1::Commit;
use omnigraph_proto::data::v1::{
    GetCommitRequest, GetSnapshotRequest, ListCommitsRequest, ListCommitsResponse, SnapshotDataset,
};

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, QueryParams};
use crate::formats::aborted;
use crate::shapes::{CommitListOutput, CommitOutput, DatasetOutput, SnapshotOutput, present};

const PAGE_MAX: u32 = 1000;

pub(crate) async fn snapshot(graph: GraphCall, params: QueryParams) -> Result<Response, ApiError> {
    let selector = params.selector()?;
    let pinned = selector.is_pinned();
    let message = GetSnapshotRequest {
        graph_id: graph.graph_id.clone(),
        target: Some(selector.target()?),
        options: Some(graph.read_options(pinned)?),
    };
    let request = graph.request(message, Budget::Read);
    let mut graphs = graph.graphs();
    let answer = graph
        .wait(Budget::Read, graphs.get_snapshot(request))
        .await?;
    let (metadata, snapshot, _) = answer.into_parts();
    let answer = Answer::new(&metadata).commit(&snapshot.graph_commit_id);
    answer.json(&SnapshotOutput {
        graph_branch: snapshot.graph_branch,
        graph_manifest_version: snapshot.graph_manifest_version,
        internal_schema_version: snapshot.internal_schema_version,
        graph_commit_id: snapshot.graph_commit_id,
        datasets: snapshot.datasets.into_iter().map(dataset).collect(),
    })
}

fn dataset(dataset: SnapshotDataset) -> DatasetOutput {
    DatasetOutput {
        entity_kind: dataset.kind().label().to_owned(),
        type_name: dataset.type_name,
        dataset_path: dataset.dataset_path,
        published_dataset_version: dataset.published_dataset_version,
        native_dataset_branch: present(dataset.native_dataset_branch),
        entity_count: dataset.entity_count,
    }
}

pub(crate) async fn commit(graph: GraphCall) -> Result<Response, ApiError> {
    let message = GetCommitRequest {
        graph_id: graph.graph_id.clone(),
        commit_id: graph.segment("id").trim().to_owned(),
    };
    let request = graph.request(message, Budget::Read);
    let mut graphs = graph.graphs();
    let answer = graph.wait(Budget::Read, graphs.get_commit(request)).await?;
    let (metadata, message, _) = answer.into_parts();
    let commit = message.commit.unwrap_or_default();
    let answer = Answer::new(&metadata).commit(&commit.graph_commit_id);
    answer.json(&CommitOutput::from(commit))
}

pub(crate) async fn commits(graph: GraphCall, params: QueryParams) -> Result<Response, ApiError> {
    let limit = params.limit(PAGE_MAX)?;
    let mut pages = Pages {
        branch: params.branch("branch")?,
        token: params.text("page_token")?.unwrap_or_default(),
        page_size: limit.unwrap_or(PAGE_MAX),
        graph,
    };
    let first = pages.fetch().await?;
    let (metadata, page, _) = first.into_parts();
    let answer = Answer::new(&metadata);
    if limit.is_some() || page.next_page_token.is_empty() {
        return answer.json(&CommitListOutput {
            commits: page.commits.into_iter().map(Into::into).collect(),
            next_page_token: present(page.next_page_token),
        });
    }
    Ok(answer.body("application/json", whole_list(pages, page)))
}

/// The pages of a list.
struct Pages {
    graph: GraphCall,
    branch: String,
    token: String,
    page_size: u32,
}

impl Pages {
    async fn fetch(&mut self) -> Result<tonic::Response<ListCommitsResponse>, ApiError> {
        let message = ListCommitsRequest {
            graph_id: self.graph.graph_id.clone(),
            branch: self.branch.clone(),
            page_size: self.page_size,
            page_token: self.token.clone(),
        };
        let request = self.graph.request(message, Budget::Read);
        let mut graphs = self.graph.graphs();
        let answer = graphs.list_commits(request);
        self.graph.wait(Budget::Read, answer).await
    }
}

/// One object with all commits, written while the pages arrive.
fn whole_list(pages: Pages, first: ListCommitsResponse) -> Body {
    let start = (pages, Some(first), true);
    let chunks = stream::unfold(Some(start), |state| async move {
        let (mut pages, page, opening) = state?;
        let page = match page {
            Some(page) => page,
            None => match pages.fetch().await {
                Ok(answer) => answer.into_inner(),
                Err(error) => return Some((Err(aborted(&error)), None)),
            },
        };
        let last = page.next_page_token.is_empty();
        pages.token = page.next_page_token;
        let chunk = commits_text(page.commits, opening, last);
        let next = (!last).then_some((pages, None, false));
        Some((chunk, next))
    });
    Body::from_stream(chunks)
}

fn commits_text(commits: Vec<Commit>, opening: bool, last: bool) -> io::Result<Bytes> {
    let mut text = String::from(if opening { "{\"commits\":[" } else { "" });
    for (index, commit) in commits.into_iter().enumerate() {
        if index > 0 || !opening {
            text.push(',');
        }
        text.push_str(&serde_json::to_string(&CommitOutput::from(commit))?);
    }
    if last {
        text.push_str("]}");
    }
    Ok(text.into())
}
