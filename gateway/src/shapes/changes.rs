//! Changes, differences and tags in answers.

use omnigraph_proto::common::v1 as common;
use omnigraph_proto::data::v1 as data;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::commits::{CommitOutput, TypeCount, present};
use crate::errors::ApiError;
use crate::extract::AsOf;

/// `GET …/commits/{id}/changes`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommitChangesOutput {
    pub cause: ChangeCause,
    pub changes: Vec<EntityChange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// `GET …/changes`: a page token in the middle of a poll, a cursor at its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangeFeedOutput {
    pub blocks: Vec<ChangeBlock>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caught_up: Option<bool>,
}

/// One commit of a change feed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangeBlock {
    pub cause: ChangeCause,
    pub changes: Vec<EntityChange>,
}

/// The commit to which changes belong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeCause {
    pub graph_commit_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_commit_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_parent_commit_id: Option<String>,
    pub authored_branch: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_id: Option<String>,
    /// Unix epoch microseconds.
    pub authored_at: i64,
}

/// One changed entity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EntityChange {
    /// `node` or `edge`.
    pub kind: String,
    #[serde(rename = "type")]
    pub entity_type: TypeIdentity,
    pub id: String,
    /// `insert`, `update` or `delete`.
    pub op: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Image>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Image>,
}

/// A type: its id is opaque and survives renames.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypeIdentity {
    pub id: String,
    pub name: String,
}

/// An entity's values. The properties are passed on as the replica wrote them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Image {
    pub properties: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
}

/// The nodes at both ends of an edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoints {
    pub from: String,
    pub to: String,
}

/// `GET …/diff`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DiffOutput {
    pub from: DiffSide,
    pub to: DiffSide,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_base: Option<String>,
    /// Only with the first page.
    pub summary: Vec<TypeCount>,
    pub changes: Vec<EntityChange>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiffSide {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    pub graph_commit_id: String,
}

/// `POST …/changes/baseline`. Unknown members are refused.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeBaselineRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kind: Vec<String>,
    #[serde(default, rename = "type", skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Binds the cursor only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub op: Vec<String>,
}

/// The last line of a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineOutput {
    pub snapshot_commit_id: String,
    pub resume_cursor: String,
}

/// One tag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TagOutput {
    pub name: String,
    pub graph_commit_id: String,
    pub actor_id: Option<String>,
    /// Unix epoch microseconds.
    pub created_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Only where one tag is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<CommitOutput>,
}

/// `GET …/tags`, sorted by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TagListOutput {
    pub tags: Vec<TagOutput>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_page_token: Option<String>,
}

/// `POST …/tags`. Names the head of `main` if nothing else is named. Unknown members are refused.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TagCreateRequest {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<AsOf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl From<data::ChangeCause> for ChangeCause {
    fn from(cause: data::ChangeCause) -> Self {
        ChangeCause {
            graph_commit_id: cause.graph_commit_id,
            parent_commit_id: cause.parent_commit_id,
            merged_parent_commit_id: cause.merged_parent_commit_id,
            authored_branch: cause.authored_branch,
            actor_id: cause.actor_id,
            authored_at: cause.authored_at_us,
        }
    }
}

/// A block as it is shown.
pub(crate) fn change_block(block: data::ChangeBlock) -> Result<ChangeBlock, ApiError> {
    Ok(ChangeBlock {
        cause: block.cause.unwrap_or_default().into(),
        changes: changes(block.changes)?,
    })
}

/// Changes as they are shown.
pub(crate) fn changes(changes: Vec<common::EntityChange>) -> Result<Vec<EntityChange>, ApiError> {
    changes.into_iter().map(entity_change).collect()
}

fn entity_change(change: common::EntityChange) -> Result<EntityChange, ApiError> {
    let edge = change.kind() == common::EntityKind::Edge;
    let kind = change.kind().label().to_owned();
    let op = match change.op() {
        common::ChangeOp::Insert => "insert",
        common::ChangeOp::Update => "update",
        common::ChangeOp::Delete => "delete",
        common::ChangeOp::Unspecified => return Err(ApiError::broken_off()),
    };
    let entity_type = change.r#type.unwrap_or_default();
    Ok(EntityChange {
        kind,
        entity_type: TypeIdentity {
            id: entity_type.id,
            name: entity_type.name,
        },
        id: change.id,
        op: op.to_owned(),
        before: image(change.before, edge)?,
        after: image(change.after, edge)?,
    })
}

fn image(image: Option<common::EntityImage>, edge: bool) -> Result<Option<Image>, ApiError> {
    let Some(image) = image else { return Ok(None) };
    Ok(Some(Image {
        properties: RawValue::from_string(image.properties_json)
            .map_err(|_| ApiError::broken_off())?,
        endpoints: edge.then_some(Endpoints {
            from: image.from_id,
            to: image.to_id,
        }),
    }))
}

impl From<data::Tag> for TagOutput {
    fn from(tag: data::Tag) -> Self {
        TagOutput {
            name: tag.name,
            graph_commit_id: tag.graph_commit_id,
            actor_id: tag.actor_id,
            created_at: tag.created_at_us,
            message: present(tag.message),
            commit: None,
        }
    }
}
