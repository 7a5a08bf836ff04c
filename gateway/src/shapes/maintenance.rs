//! Maintenance of a graph.

use omnigraph_proto::data::v1 as data;
use serde::{Deserialize, Serialize};

use super::CommitOutput;
use super::commits::present;

/// `POST …/maintenance/optimize`. Unknown members are refused; the body may be missing.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizeRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// None: all types.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_names: Option<Vec<String>>,
    #[serde(default)]
    pub dry_run: bool,
}

/// What was done, or would be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OptimizeOutput {
    pub datasets: Vec<DatasetMaintenance>,
    /// None: nothing was to be done, or a dry run.
    pub commit: Option<CommitOutput>,
}

/// What was done to one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetMaintenance {
    pub entity_kind: String,
    pub type_name: String,
    pub fragments_removed: u64,
    pub fragments_added: u64,
    pub indexes_extended: Vec<String>,
    pub pending_indexes: Vec<String>,
    /// Why each of `pending_indexes` is not built, in the same order.
    #[serde(default)]
    pub pending_reasons: Vec<String>,
    pub bytes_removed: u64,
    pub objects_removed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl From<data::DatasetMaintenance> for DatasetMaintenance {
    fn from(table: data::DatasetMaintenance) -> Self {
        DatasetMaintenance {
            entity_kind: table.kind().label().to_owned(),
            type_name: table.type_name,
            fragments_removed: table.fragments_removed,
            fragments_added: table.fragments_added,
            indexes_extended: table.indexes_extended,
            pending_indexes: table.pending_indexes,
            pending_reasons: table.pending_reasons,
            bytes_removed: table.bytes_removed,
            objects_removed: table.objects_removed,
            error: present(table.error),
        }
    }
}
