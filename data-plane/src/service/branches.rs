//! Branches.

use omnigraph_engine::{Authorship, BranchInfo, BranchName, Error, ReadOptions, Target};
use omnigraph_policy::{Action, Call};
use omnigraph_proto::data::v1::{
    Branch, CreateBranchRequest, CreateBranchResponse, DeleteBranchRequest, DeleteBranchResponse,
    GetBranchRequest, GetBranchResponse, ListBranchesRequest, ListBranchesResponse,
};
use omnigraph_proto::error::WireError;

use super::asks;
use super::convert;
use super::errors::{About, wire};
use super::history::page_size;
use crate::authorize::Guard;
use crate::generation::Generation;

/// Branches after the one that the token names.
pub(super) async fn list(
    generation: &Generation,
    message: ListBranchesRequest,
) -> Result<ListBranchesResponse, WireError> {
    let limit = page_size(message.page_size)?;
    let after = convert::present(message.page_token);
    let branches = generation.graph.branches().await.map_err(refused)?;
    let mut rest = branches.iter().filter(|branch| {
        after
            .as_deref()
            .is_none_or(|after| branch.name.as_str() > after)
    });
    let page: Vec<&BranchInfo> = rest.by_ref().take(limit).collect();
    let more = rest.next().is_some();
    let last = page.last().filter(|_| more);
    Ok(ListBranchesResponse {
        next_page_token: last.map_or(String::new(), |branch| branch.name.to_string()),
        branches: page.into_iter().map(branch_info).collect(),
    })
}

pub(super) async fn get(
    generation: &Generation,
    message: GetBranchRequest,
) -> Result<GetBranchResponse, WireError> {
    let name = convert::named_branch(&message.name)?;
    let branch = generation.graph.branch(&name).await.map_err(refused)?;
    Ok(GetBranchResponse {
        branch: Some(branch_info(&branch)),
    })
}

pub(super) async fn create(
    generation: &Generation,
    message: CreateBranchRequest,
    by: Authorship,
    guard: &Guard,
) -> Result<CreateBranchResponse, WireError> {
    let name = convert::named_branch(&message.name)?;
    if name.is_main() {
        return Err(WireError::invalid_request(
            "branch 'main' is there from the beginning and cannot be created",
        ));
    }
    let from = match convert::maybe_commit(&message.from_commit_id)? {
        Some(_) if !message.from_branch.is_empty() => {
            return Err(WireError::invalid_request(
                "a branch starts from a branch or from a commit, not from both",
            ));
        }
        Some(id) => Target::Commit(id),
        None if message.from_target.is_some() => convert::target(message.from_target)?,
        None => Target::Branch(convert::branch(&message.from_branch)?),
    };
    may_create(generation, &name, &from, guard).await?;
    let branch = generation.graph.create_branch(&name, &from, &by).await;
    let branch = branch.map_err(refused)?;
    Ok(CreateBranchResponse {
        branch: Some(branch_info(&branch)),
        from: match from {
            Target::Branch(name) => name.to_string(),
            Target::Commit(id) => id.to_string(),
            Target::Tag(name) => name.to_string(),
            Target::AsOf { branch, .. } => branch.to_string(),
            Target::Named(text) => text,
        },
        actor_id: by.actor.map(|actor| actor.to_string()),
        uri: generation.graph.uri(),
    })
}

/// Decides about a new branch. Whoever may not create it under this name, wherever it starts, need
/// not hear what is there.
async fn may_create(
    generation: &Generation,
    name: &BranchName,
    from: &Target,
    guard: &Guard,
) -> Result<(), WireError> {
    let create = Call::new(Action::BranchCreate).to(name.as_str());
    if let Target::Branch(from) | Target::AsOf { branch: from, .. } = from {
        return guard.check(&create.on(from.as_str()));
    }
    let read = ReadOptions::default();
    let snapshot = generation.graph.snapshot(from, &read).await;
    let snapshot = snapshot.map_err(refused)?;
    let from = asks::branch_of(from, &snapshot).as_str();
    guard.check(&create.on(from))
}

pub(super) async fn delete(
    generation: &Generation,
    message: DeleteBranchRequest,
    by: Authorship,
) -> Result<DeleteBranchResponse, WireError> {
    let name = convert::named_branch(&message.name)?;
    let if_head = convert::maybe_commit(&message.if_head_commit)?;
    let deleted = generation.graph.delete_branch(&name, if_head, &by).await;
    let head = deleted.map_err(refused)?;
    Ok(DeleteBranchResponse {
        name: name.to_string(),
        actor_id: by.actor.map(|actor| actor.to_string()),
        uri: generation.graph.uri(),
        head_commit_id: head.id.to_string(),
    })
}

fn branch_info(branch: &BranchInfo) -> Branch {
    Branch {
        name: branch.name.to_string(),
        head: Some(convert::commit(&branch.head)),
        base_commit_id: branch
            .base_commit
            .map_or(String::new(), |id| id.to_string()),
        created_at_us: branch.created_at,
    }
}

fn refused(error: Error) -> WireError {
    wire(error, About::Source)
}
