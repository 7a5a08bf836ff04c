//! Tags.

use omnigraph_engine::{Authorship, Error, TagInfo, TagName, Target};
use omnigraph_policy::{Action, Call};
use omnigraph_proto::data::v1::{
    CreateTagRequest, CreateTagResponse, DeleteTagRequest, DeleteTagResponse, GetTagRequest,
    GetTagResponse, ListTagsRequest, ListTagsResponse, Tag,
};
use omnigraph_proto::error::WireError;

use super::asks;
use super::convert;
use super::errors::{About, wire};
use super::history::page_size;
use crate::authorize::Guard;
use crate::generation::Generation;

/// Tags after the one that the token names.
pub(super) async fn list(
    generation: &Generation,
    message: ListTagsRequest,
) -> Result<ListTagsResponse, WireError> {
    let limit = page_size(message.page_size)?;
    let after = convert::present(message.page_token);
    let tags = generation.graph.tags().await.map_err(refused)?;
    let behind = |tag: &&TagInfo| after.as_deref().is_none_or(|a| tag.name.as_str() > a);
    let mut rest = tags.iter().filter(behind);
    let page: Vec<&TagInfo> = rest.by_ref().take(limit).collect();
    let more = rest.next().is_some();
    let last = page.last().filter(|_| more);
    Ok(ListTagsResponse {
        next_page_token: last.map_or(String::new(), |tag| tag.name.to_string()),
        tags: page.into_iter().map(tag_of).collect(),
    })
}

pub(super) async fn get(
    generation: &Generation,
    message: GetTagRequest,
) -> Result<GetTagResponse, WireError> {
    let name = name(&message.name)?;
    let graph = &generation.graph;
    let tag = graph.tag(&name).await.map_err(refused)?;
    let read = omnigraph_engine::ReadOptions::default();
    let snapshot = graph.snapshot(&Target::Tag(name), &read).await;
    let snapshot = snapshot.map_err(refused)?;
    Ok(GetTagResponse {
        tag: Some(tag_of(&tag)),
        commit: Some(convert::commit(snapshot.commit())),
    })
}

pub(super) async fn create(
    generation: &Generation,
    message: CreateTagRequest,
    by: Authorship,
    guard: &Guard,
) -> Result<CreateTagResponse, WireError> {
    let name = name(&message.name)?;
    let target = convert::target(message.target)?;
    may_tag(generation, &target, guard).await?;
    let by = Authorship {
        message: convert::present(message.message),
        ..by
    };
    let tag = generation.graph.create_tag(&name, &target, &by).await;
    Ok(CreateTagResponse {
        tag: Some(tag_of(&tag.map_err(refused)?)),
    })
}

pub(super) async fn delete(
    generation: &Generation,
    message: DeleteTagRequest,
    by: Authorship,
    guard: &Guard,
) -> Result<DeleteTagResponse, WireError> {
    let name = name(&message.name)?;
    may_tag(generation, &Target::Tag(name.clone()), guard).await?;
    let tag = generation.graph.delete_tag(&name, &by).await;
    Ok(DeleteTagResponse {
        tag: Some(tag_of(&tag.map_err(refused)?)),
    })
}

/// Tags decide what is kept of a branch's history: they are a change of the branch on which the
/// commit was authored.
async fn may_tag(generation: &Generation, target: &Target, guard: &Guard) -> Result<(), WireError> {
    let read = omnigraph_engine::ReadOptions::default();
    let snapshot = generation.graph.snapshot(target, &read).await;
    let snapshot = snapshot.map_err(refused)?;
    let branch = asks::branch_of(target, &snapshot).as_str();
    guard.check(&Call::new(Action::Change).on(branch))
}

fn name(text: &str) -> Result<TagName, WireError> {
    TagName::parse(text).map_err(refused)
}

fn tag_of(tag: &TagInfo) -> Tag {
    Tag {
        name: tag.name.to_string(),
        graph_commit_id: tag.commit.to_string(),
        actor_id: tag.actor.as_ref().map(ToString::to_string),
        created_at_us: tag.created_at,
        message: tag.message.clone().unwrap_or_default(),
    }
}

fn refused(error: Error) -> WireError {
    wire(error, About::Source)
}
