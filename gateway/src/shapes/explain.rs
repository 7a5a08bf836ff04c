//! Plans.

use std::collections::BTreeMap;

use omnigraph_proto::data::v1 as data;
use omnigraph_proto::error::DiagnosticOutput;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::extract::AsOf;

/// What is asked of a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExplainMode {
    /// Check and plan, run nothing.
    #[default]
    Explain,
    /// Run, and say what it cost; a mutation commits.
    Profile,
}

/// `POST …/explain`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct ExplainRequest {
    /// Missing: the stored query of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// An object, passed on as it was written. What only plans needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Box<RawValue>>,
    #[serde(default)]
    pub mode: ExplainMode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Reads the branch as it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<AsOf>,
    /// Of the commit that a profiled mutation makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// Answer of `POST …/explain`.
#[derive(Debug, Serialize, Deserialize)]
pub struct ExplainOutput {
    pub mode: ExplainMode,
    pub query_name: String,
    pub graph_commit_id: String,
    /// Types of the parameters.
    pub params: BTreeMap<String, String>,
    pub operation: OperationOutput,
    pub warnings: Vec<DiagnosticOutput>,
    pub plan: PlanNodeOutput,
    pub logical_plan: PlanNodeOutput,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totals: Option<TotalsOutput>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Box<RawValue>>,
    /// Both plans as indented trees.
    pub text: String,
}

/// One operator.
#[derive(Debug, Serialize, Deserialize)]
pub struct PlanNodeOutput {
    pub op: String,
    pub args: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub est_rows: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<PlanNodeOutput>,
}

/// What a profiled query took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TotalsOutput {
    pub elapsed_us: u64,
    pub rows_scanned: u64,
    pub bytes_read: u64,
    pub object_store_requests: u64,
    pub peak_memory_bytes: u64,
}

/// What a query gives and touches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OperationOutput {
    pub result: Vec<ColumnOutput>,
    pub reads: Vec<TypeOutput>,
    pub writes: Vec<TypeOutput>,
}

/// One column of a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnOutput {
    pub name: String,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vector_dim: Option<u32>,
    pub nullable: bool,
}

/// One node or edge type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypeOutput {
    pub kind: String,
    pub type_name: String,
}

impl PlanNodeOutput {
    /// `None` if the arguments are no JSON.
    pub(crate) fn of(node: data::PlanNode, estimated: bool) -> Option<Self> {
        let children = node.children.into_iter();
        Some(Self {
            op: node.op,
            args: RawValue::from_string(node.args_json).ok()?,
            est_rows: estimated.then_some(node.est_rows),
            rows: node.rows,
            ms: node.ms,
            children: children
                .map(|child| Self::of(child, estimated))
                .collect::<Option<_>>()?,
        })
    }
}

impl From<data::Operation> for OperationOutput {
    fn from(operation: data::Operation) -> Self {
        let types = |refs: Vec<omnigraph_proto::common::v1::EntityRef>| {
            let one = |of: omnigraph_proto::common::v1::EntityRef| TypeOutput {
                kind: of.kind().label().to_owned(),
                type_name: of.type_name,
            };
            refs.into_iter().map(one).collect()
        };
        let columns = operation.result.into_iter().map(|column| ColumnOutput {
            name: column.name,
            kind: column.kind,
            item_kind: super::present(column.item_kind),
            vector_dim: Some(column.vector_dim).filter(|dim| *dim > 0),
            nullable: column.nullable,
        });
        Self {
            result: columns.collect(),
            reads: types(operation.reads),
            writes: types(operation.writes),
        }
    }
}
