//! The wire: messages, clients and servers of every omnigraph service, and the one table of errors.
//!
//! | module | content |
//! |---|---|
//! | [`common::v1`], [`data::v1`], [`control::v1`] | generated from `omnigraph/*/v1/*.proto` |
//! | [`error`] | reasons, gRPC codes, HTTP statuses, and the error on both wires |
//! | `labels` | the words that stand for enum values in JSON and on terminals |
//!
//! Generated types stay in the daemons and the CLI; the engine and the language never see them.

pub mod error;
mod labels;

/// All files of the packages below, encoded for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("omnigraph");

/// Shapes that both planes share.
pub mod common {
    /// Package `omnigraph.common.v1`.
    #[allow(clippy::all, clippy::too_many_lines, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("omnigraph.common.v1");
    }
}

/// The data plane: graphs, readiness, maintenance.
pub mod data {
    /// Package `omnigraph.data.v1`.
    #[allow(clippy::all, clippy::too_many_lines, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("omnigraph.data.v1");
    }
}

/// The control plane: configuration, revisions, replicas.
pub mod control {
    /// Package `omnigraph.control.v1`.
    #[allow(clippy::all, clippy::too_many_lines, unreachable_pub)]
    pub mod v1 {
        tonic::include_proto!("omnigraph.control.v1");
    }
}
