//! What a verb reads: a branch, a commit, a tag, or a branch as it was.

use serde_json::{Map, Value, json};

use crate::client::data::Call;

/// Flags that choose what is read.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Target {
    /// Branch (default: main)
    #[arg(long, conflicts_with_all = ["snapshot", "tag"])]
    pub(crate) branch: Option<String>,
    /// Commit
    #[arg(long, value_name = "COMMIT", conflicts_with_all = ["tag", "as_of"])]
    pub(crate) snapshot: Option<String>,
    /// Commit that this tag names
    #[arg(long, value_name = "TAG", conflicts_with = "as_of")]
    pub(crate) tag: Option<String>,
    /// The branch as it was: 2026-11-22T20:05:00Z, or microseconds since the Unix epoch
    #[arg(long, value_name = "TIME")]
    pub(crate) as_of: Option<String>,
}

impl Target {
    fn members(&self) -> [(&'static str, Option<&str>); 4] {
        [
            ("branch", self.branch.as_deref()),
            ("snapshot", self.snapshot.as_deref()),
            ("tag", self.tag.as_deref()),
            ("as_of", self.as_of.as_deref()),
        ]
    }

    /// Adds the members of a request body.
    pub(crate) fn fill(&self, body: &mut Map<String, Value>) {
        for (member, value) in self.members() {
            if let Some(value) = value {
                body.insert(member.into(), json!(value));
            }
        }
    }

    /// Adds query parameters.
    pub(crate) fn query(&self, call: Call) -> Call {
        let members = self.members().into_iter();
        members.fold(call, |call, (name, value)| call.query(name, value))
    }

    /// `debian`, `debian@review`: what is read of a graph, for people.
    pub(crate) fn place(&self, graph: &str) -> String {
        let branch = self.branch.as_deref().unwrap_or("main");
        match (&self.snapshot, &self.tag) {
            (Some(_), _) => graph.to_owned(),
            (None, Some(tag)) => format!("{graph}@{tag}"),
            (None, None) => format!("{graph}@{branch}"),
        }
    }
}
