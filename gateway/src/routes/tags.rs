//! Tags.

use axum::response::Response;
use omnigraph_proto::data::v1::{
    CreateTagRequest, DeleteTagRequest, GetTagRequest, ListTagsRequest, Tag,
};
use tonic::metadata::MetadataMap;

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, JsonBody, QueryParams, Selector};
use crate::shapes::{TagCreateRequest, TagListOutput, TagOutput, present};

const PAGE_MAX: u32 = 1000;

pub(crate) async fn list(graph: GraphCall, params: QueryParams) -> Result<Response, ApiError> {
    params.only(&["limit", "page_token"])?;
    let limit = params.limit(PAGE_MAX)?;
    let mut token = params.text("page_token")?.unwrap_or_default();
    let mut tags: Vec<TagOutput> = Vec::new();
    // Without a limit the whole list is asked for.
    let metadata = loop {
        let message = ListTagsRequest {
            graph_id: graph.graph_id.clone(),
            page_size: limit.unwrap_or(PAGE_MAX),
            page_token: token,
        };
        let request = graph.request(message, Budget::Read);
        let mut graphs = graph.graphs();
        let answer = graph.wait(Budget::Read, graphs.list_tags(request)).await?;
        let (metadata, page, _) = answer.into_parts();
        tags.extend(page.tags.into_iter().map(TagOutput::from));
        token = page.next_page_token;
        if limit.is_some() || token.is_empty() {
            break metadata;
        }
    };
    Answer::new(&metadata).json(&TagListOutput {
        tags,
        next_page_token: present(token),
    })
}

pub(crate) async fn create(
    graph: GraphCall,
    JsonBody(body): JsonBody<TagCreateRequest>,
) -> Result<Response, ApiError> {
    let selector = Selector {
        branch: body.branch,
        snapshot: body.snapshot,
        tag: body.tag,
        as_of: body.as_of,
    };
    let message = CreateTagRequest {
        graph_id: graph.graph_id.clone(),
        name: body.name,
        target: Some(selector.target()?),
        message: body.message.unwrap_or_default(),
    };
    let request = graph.request(message, Budget::Write);
    let mut graphs = graph.graphs();
    let answer = graph
        .wait(Budget::Write, graphs.create_tag(request))
        .await?;
    let (metadata, created, _) = answer.into_parts();
    tag(&metadata, created.tag)
}

pub(crate) async fn get(graph: GraphCall) -> Result<Response, ApiError> {
    let message = GetTagRequest {
        graph_id: graph.graph_id.clone(),
        name: graph.segment("tag").to_owned(),
    };
    let request = graph.request(message, Budget::Read);
    let mut graphs = graph.graphs();
    let answer = graph.wait(Budget::Read, graphs.get_tag(request)).await?;
    let (metadata, found, _) = answer.into_parts();
    let tag = TagOutput {
        commit: found.commit.map(Into::into),
        ..found.tag.unwrap_or_default().into()
    };
    let answer = Answer::new(&metadata).commit(&tag.graph_commit_id);
    answer.json(&tag)
}

pub(crate) async fn delete(graph: GraphCall) -> Result<Response, ApiError> {
    let message = DeleteTagRequest {
        graph_id: graph.graph_id.clone(),
        name: graph.segment("tag").to_owned(),
    };
    let request = graph.request(message, Budget::Write);
    let mut graphs = graph.graphs();
    let answer = graph
        .wait(Budget::Write, graphs.delete_tag(request))
        .await?;
    let (metadata, deleted, _) = answer.into_parts();
    tag(&metadata, deleted.tag)
}

fn tag(metadata: &MetadataMap, tag: Option<Tag>) -> Result<Response, ApiError> {
    let tag = TagOutput::from(tag.unwrap_or_default());
    let answer = Answer::new(metadata).commit(&tag.graph_commit_id);
    answer.json(&tag)
}
