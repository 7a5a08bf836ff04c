//! The control plane: declared configuration becomes applied revisions.
//!
//! | module | subject |
//! |---|---|
//! | [`bundle`] | a configuration directory as it travels; `cluster.yaml` |
//! | `declared` | what it declares: graphs, schemas and queries, checked, with digests |
//! | `ledger`, `catalog` | what is applied: one log, and content-addressed objects |
//! | `lead` | leadership, heartbeat, fencing epoch |
//! | `operation` | changes under their ids: followed from the start, remembered after the end |
//! | `plan` | desired against ledger against living graphs |
//! | `apply` | stage → arm → check → act → ledger → disarm |
//! | `approval` | consent to changes that lose data |
//! | `import`, `refresh` | taking over graphs that exist; recording what drifted |
//! | `sidecar`, `sweep` | operations under way, and what a new leader makes of them |
//! | `status`, `history` | the cluster as the ledger has it, and what revisions changed |
//! | `housekeeping` | what the leader does unasked: reclaiming history, removing deleted graphs |
//! | `restore`, `roots` | graphs made of backups; graph roots that the ledger does not name |
//! | `retention` | what the ledger and the catalog keep |
//! | `replicas`, `rollout` | which replica serves what |
//! | [`serving`] | what is applied, from storage alone: for replicas |
//! | `authorize` | who may ask what of the control plane |
//! | [`policies`] | bundles with their sources, for tools |
//! | `api`, [`server`] | the gRPC services, thin |

mod address;
mod api;
mod apply;
mod approval;
mod authorize;
pub mod bundle;
mod catalog;
mod declared;
mod digest;
mod error;
pub mod failpoint;
mod finding;
mod history;
mod housekeeping;
mod import;
mod lead;
mod ledger;
mod operation;
mod plan;
mod plane;
pub mod policies;
mod refresh;
mod replicas;
mod restore;
mod retention;
mod rollout;
mod roots;
pub mod rule;
pub mod server;
pub mod serving;
mod sidecar;
mod status;
mod sweep;
#[cfg(test)]
mod tests;

pub use api::{ClusterApi, ReplicaApi};
pub use authorize::{ADMIN_VARIABLE, AdminActors};
pub use error::{Error, ErrorKind, Result};
pub use plan::summary as step_summary;
pub use plane::{ControlPlane, Options};

/// Epoch microseconds as they travel.
pub(crate) fn timestamp(micros: i64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0),
    }
}
