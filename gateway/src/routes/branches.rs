//! Branches and merges.

use axum::response::Response;
use omnigraph_proto::data::v1::{
    Branch, CreateBranchRequest, DeleteBranchRequest, GetBranchRequest, ListBranchesRequest,
    MergeBranchesRequest, MergeBranchesResponse, MergeStrategy,
};
use tonic::metadata::MetadataMap;

use crate::answer::Answer;
use crate::errors::ApiError;
use crate::extract::{Budget, GraphCall, JsonBody, QueryParams, Selector, branch_name};
use crate::shapes::{
    BranchCreateOutput, BranchCreateRequest, BranchDeleteOutput, BranchListOutput,
    BranchMergeOutput, BranchMergeRequest, BranchOutput, present,
};

const PAGE_MAX: u32 = 1000;

pub(crate) async fn list(graph: GraphCall, params: QueryParams) -> Result<Response, ApiError> {
    let limit = params.limit(PAGE_MAX)?;
    let details = params.switch("details")?;
    let mut token = params.text("page_token")?.unwrap_or_default();
    let mut found: Vec<Branch> = Vec::new();
    // Without a limit the whole list is asked for.
    let metadata = loop {
        let message = ListBranchesRequest {
            graph_id: graph.graph_id.clone(),
            page_size: limit.unwrap_or(PAGE_MAX),
            page_token: token,
            details,
        };
        let request = graph.request(message, Budget::Read);
        let mut graphs = graph.graphs();
        let answer = graph
            .wait(Budget::Read, graphs.list_branches(request))
            .await?;
        let (metadata, page, _) = answer.into_parts();
        found.extend(page.branches);
        token = page.next_page_token;
        if limit.is_some() || token.is_empty() {
            break metadata;
        }
    };
    let branches = found.iter().map(|branch| branch.name.clone()).collect();
    Answer::new(&metadata).json(&BranchListOutput {
        branches,
        branch_details: details.then(|| found.into_iter().map(branch_output).collect()),
        next_page_token: present(token),
    })
}

pub(crate) async fn create(
    graph: GraphCall,
    JsonBody(body): JsonBody<BranchCreateRequest>,
) -> Result<Response, ApiError> {
    if body.from.is_some() && body.from_commit.is_some() {
        return Err(ApiError::bad_request(
            "'from' and 'from_commit' exclude each other",
        ));
    }
    let timeless = body.from_tag.is_none() && body.from_as_of.is_none();
    let from_branch = match body.from_commit {
        None if timeless => branch_name(body.from.as_deref(), "main")?,
        _ => String::new(),
    };
    let selector = Selector {
        branch: body.from,
        snapshot: body.from_commit.clone(),
        tag: body.from_tag,
        as_of: body.from_as_of,
    };
    let from_target = match timeless {
        true => None,
        false => Some(selector.target()?),
    };
    let from_commit_id = body.from_commit.filter(|_| timeless);
    let message = CreateBranchRequest {
        graph_id: graph.graph_id.clone(),
        name: branch_name(Some(&body.name), "")?,
        from_branch,
        from_commit_id: from_commit_id.unwrap_or_default(),
        from_target,
    };
    let request = graph.request(message, Budget::Write);
    let mut graphs = graph.graphs();
    let answer = graph
        .wait(Budget::Write, graphs.create_branch(request))
        .await?;
    let (metadata, created, _) = answer.into_parts();
    let branch = created.branch.unwrap_or_default();
    let head = branch.head.as_ref();
    let head = head.map_or("", |head| head.graph_commit_id.as_str());
    let answer = Answer::new(&metadata).commit(head);
    answer.json(&BranchCreateOutput {
        uri: created.uri,
        from: created.from,
        name: branch.name,
        actor_id: created.actor_id,
    })
}

pub(crate) async fn get(graph: GraphCall, params: QueryParams) -> Result<Response, ApiError> {
    let name = branch_name(Some(graph.segment("branch")), "")?;
    get_named(graph, params, name).await
}

pub(crate) async fn get_merge(graph: GraphCall, params: QueryParams) -> Result<Response, ApiError> {
    get_named(graph, params, "merge".to_owned()).await
}

async fn get_named(
    graph: GraphCall,
    params: QueryParams,
    name: String,
) -> Result<Response, ApiError> {
    params.only(&[])?;
    let message = GetBranchRequest {
        graph_id: graph.graph_id.clone(),
        name,
    };
    let request = graph.request(message, Budget::Read);
    let mut graphs = graph.graphs();
    let answer = graph.wait(Budget::Read, graphs.get_branch(request)).await?;
    let (metadata, message, _) = answer.into_parts();
    let branch = branch_output(message.branch.unwrap_or_default());
    let head = branch.head.as_ref();
    let head = head.map_or("", |head| head.graph_commit_id.as_str());
    Answer::new(&metadata).commit(head).json(&branch)
}

pub(crate) async fn delete(graph: GraphCall) -> Result<Response, ApiError> {
    let name = branch_name(Some(graph.segment("branch")), "")?;
    delete_named(graph, name).await
}

pub(crate) async fn delete_merge(graph: GraphCall) -> Result<Response, ApiError> {
    delete_named(graph, "merge".to_owned()).await
}

async fn delete_named(graph: GraphCall, name: String) -> Result<Response, ApiError> {
    let message = DeleteBranchRequest {
        graph_id: graph.graph_id.clone(),
        name,
        if_head_commit: graph.condition()?.unwrap_or_default(),
    };
    let request = graph.request(message, Budget::Write);
    let mut graphs = graph.graphs();
    let answer = graph
        .wait(Budget::Write, graphs.delete_branch(request))
        .await?;
    let (metadata, deleted, _) = answer.into_parts();
    Answer::new(&metadata).json(&BranchDeleteOutput {
        uri: deleted.uri,
        name: deleted.name,
        actor_id: deleted.actor_id,
        head_commit_id: present(deleted.head_commit_id),
    })
}

pub(crate) async fn merge(
    graph: GraphCall,
    JsonBody(body): JsonBody<BranchMergeRequest>,
) -> Result<Response, ApiError> {
    let strategy = match body.strategy.as_deref() {
        None => MergeStrategy::Fail,
        Some(word) => merge_strategy(word)?,
    };
    let by_type = body.strategies.into_iter();
    let strategies = by_type
        .map(|(name, word)| Ok((name, merge_strategy(&word)?.into())))
        .collect::<Result<_, ApiError>>()?;
    let message = MergeBranchesRequest {
        graph_id: graph.graph_id.clone(),
        source: branch_name(Some(&body.source), "")?,
        target: branch_name(body.target.as_deref(), "main")?,
        delete_source: body.delete_branch,
        strategy: strategy.into(),
        dry_run: body.dry_run,
        if_source_commit: body.if_source_commit.unwrap_or_default(),
        options: Some(graph.maybe_conditional(body.message)?),
        strategies,
    };
    let request = graph.request(message, Budget::Write);
    let mut graphs = graph.graphs();
    let answer = graph
        .wait(Budget::Write, graphs.merge_branches(request))
        .await?;
    let (metadata, merged, _) = answer.into_parts();
    merge_answer(&metadata, merged)
}

fn merge_strategy(word: &str) -> Result<MergeStrategy, ApiError> {
    MergeStrategy::from_label(word).ok_or_else(|| {
        ApiError::bad_request(format!(
            "unknown merge strategy '{word}': use fail, ours or theirs"
        ))
    })
}

fn merge_answer(
    metadata: &MetadataMap,
    merged: MergeBranchesResponse,
) -> Result<Response, ApiError> {
    let commit = merged.commit.as_ref();
    let commit = commit.map_or("", |commit| commit.graph_commit_id.as_str());
    let answer = Answer::new(metadata)
        .commit(commit)
        .replayed(merged.replayed);
    let outcome = merged.outcome().label().to_owned();
    let found = merged.conflicts.unwrap_or_default();
    let conflicts_total = found.truncated.then_some(found.total);
    let conflicts = found.conflicts;
    answer.json(&BranchMergeOutput {
        source: merged.source,
        target: merged.target,
        outcome,
        actor_id: merged.actor_id,
        branch_deleted: merged.branch_deleted,
        branch_delete_error: present(merged.branch_delete_error),
        commit: merged.commit.map(Into::into),
        merge_base: present(merged.merge_base_commit_id),
        dry_run: merged.dry_run.then_some(true),
        conflicts: conflicts.iter().map(Into::into).collect(),
        conflicts_total,
        changes: merged.changes.into_iter().map(Into::into).collect(),
    })
}

fn branch_output(branch: Branch) -> BranchOutput {
    BranchOutput {
        name: branch.name,
        head: branch.head.map(Into::into),
        base_commit_id: present(branch.base_commit_id),
        created_at: branch.created_at_us,
    }
}
