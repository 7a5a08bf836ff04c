//! What can be allowed: one action per kind of call.

use std::fmt;

/// What a rule allows and a call presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Queries, branches, commits, changes, schema, catalog, status.
    Read,
    /// Full copies of data: exports and baselines.
    Export,
    /// Mutations, loads, reverts, tags.
    Change,
    /// The schema route, which refuses everybody else before it says who manages schemas.
    SchemaApply,
    /// New branches.
    BranchCreate,
    /// Removed branches.
    BranchDelete,
    /// Merges.
    BranchMerge,
    /// Stored queries, before what they do.
    InvokeQuery,
    /// Optimize, cleanup, backup, consistency checks.
    Maintain,
    /// Reserved: nothing asks for it.
    Admin,
    /// The list of graphs.
    GraphList,
    /// Looking at the control plane.
    ClusterRead,
    /// Changing what is declared.
    ClusterApply,
    /// Approving what would be lost.
    ClusterApprove,
    /// Taking the lead from its holder.
    ClusterUnlock,
    /// Following revisions, for replicas.
    ReplicaSync,
}

/// What a bundle is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One graph, or several alike.
    Graph,
    /// The server itself: `applies_to: [cluster]`.
    Server,
}

/// Which branch a rule on the action can be limited by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScopeTaken {
    /// `branch_scope`.
    Branch,
    /// `target_branch_scope`.
    Target,
    /// Neither.
    None,
}

impl Action {
    /// Every action, in the order of the documentation.
    pub const ALL: [Action; 16] = [
        Action::Read,
        Action::Export,
        Action::Change,
        Action::SchemaApply,
        Action::BranchCreate,
        Action::BranchDelete,
        Action::BranchMerge,
        Action::InvokeQuery,
        Action::Maintain,
        Action::Admin,
        Action::GraphList,
        Action::ClusterRead,
        Action::ClusterApply,
        Action::ClusterApprove,
        Action::ClusterUnlock,
        Action::ReplicaSync,
    ];

    /// The action of a name.
    pub fn parse(name: &str) -> Option<Action> {
        Action::ALL.into_iter().find(|action| action.name() == name)
    }

    /// Its name in bundles and in Cedar.
    pub fn name(self) -> &'static str {
        match self {
            Action::Read => "read",
            Action::Export => "export",
            Action::Change => "change",
            Action::SchemaApply => "schema_apply",
            Action::BranchCreate => "branch_create",
            Action::BranchDelete => "branch_delete",
            Action::BranchMerge => "branch_merge",
            Action::InvokeQuery => "invoke_query",
            Action::Maintain => "maintain",
            Action::Admin => "admin",
            Action::GraphList => "graph_list",
            Action::ClusterRead => "cluster_read",
            Action::ClusterApply => "cluster_apply",
            Action::ClusterApprove => "cluster_approve",
            Action::ClusterUnlock => "cluster_unlock",
            Action::ReplicaSync => "replica_sync",
        }
    }

    /// What it is done to.
    pub fn kind(self) -> Kind {
        match self {
            Action::Read
            | Action::Export
            | Action::Change
            | Action::SchemaApply
            | Action::BranchCreate
            | Action::BranchDelete
            | Action::BranchMerge
            | Action::InvokeQuery
            | Action::Maintain
            | Action::Admin => Kind::Graph,
            Action::GraphList
            | Action::ClusterRead
            | Action::ClusterApply
            | Action::ClusterApprove
            | Action::ClusterUnlock
            | Action::ReplicaSync => Kind::Server,
        }
    }

    /// Which scope a rule on it may have.
    pub fn scope(self) -> ScopeTaken {
        match self {
            Action::Read | Action::Export | Action::Change => ScopeTaken::Branch,
            Action::SchemaApply
            | Action::BranchCreate
            | Action::BranchDelete
            | Action::BranchMerge => ScopeTaken::Target,
            _ => ScopeTaken::None,
        }
    }

    /// Whether a rule on it may name types: it is about data.
    pub fn takes_types(self) -> bool {
        matches!(self, Action::Read | Action::Export | Action::Change)
    }

    /// Whether a rule on it may name stored queries.
    pub fn takes_queries(self) -> bool {
        self == Action::InvokeQuery
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Kind {
    /// The word in bundles.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Graph => "graph",
            Kind::Server => "server",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
