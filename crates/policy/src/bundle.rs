//! A policy bundle: who may do what, as it is declared in YAML.

mod read;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use crate::action::{Action, Kind, ScopeTaken};
use crate::finding::{Finding, Place};
pub(crate) use read::Reader;

/// The content of one bundle, without errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// What it is about; `None`: it has no rules and does not say.
    pub kind: Option<Kind>,
    /// Who belongs together.
    pub groups: Groups,
    /// What is allowed. What no rule allows is denied.
    pub rules: Vec<Rule>,
}

/// Groups of actors, and the branches that are protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Members by group.
    pub members: BTreeMap<String, BTreeSet<String>>,
    /// Values of the groups claim by group.
    pub external: BTreeMap<String, BTreeSet<String>>,
    /// Protected branches.
    pub protected: BTreeSet<String>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its name; unique in the bundle.
    pub id: String,
    /// Who.
    pub group: String,
    /// What; at least one, all of one kind.
    pub actions: BTreeSet<Action>,
    /// On which branches.
    pub scope: Scope,
    /// Of which types; `None`: of all.
    pub types: Option<BTreeSet<String>>,
    /// Which stored queries; `None`: all.
    pub queries: Option<BTreeSet<String>>,
    /// Where it stands.
    pub place: Place,
}

/// On which branches a rule allows its actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// On all, and for calls about no branch.
    Any,
    /// On the branch that the call is about, if it is protected, or if it is not.
    Branch(Protection),
    /// On the branch that the call would change.
    Target(Protection),
}

/// Whether a branch is one of `protected_branches`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protection {
    /// It is.
    Protected,
    /// It is not.
    Unprotected,
}

impl Bundle {
    /// Reads a bundle; every finding at once, in the order of the text.
    pub fn parse(text: &str) -> Result<Bundle, Vec<Finding>> {
        read::bundle(text)
    }

    /// How many actors its groups name, each counted once.
    pub fn actor_count(&self) -> usize {
        self.groups.actors().len()
    }
}

impl Groups {
    /// Reads a file with groups and protected branches alone, as raw Cedar bundles have beside them.
    pub fn parse(text: &str) -> Result<Groups, Vec<Finding>> {
        read::groups(text)
    }

    /// Every actor that a group names.
    pub fn actors(&self) -> BTreeSet<&str> {
        let all = self.members.values().flatten();
        all.map(String::as_str).collect()
    }

    /// The groups of a caller, by name or by the claims that came with the credential.
    pub fn of<'a>(&'a self, actor: &str, claims: &[String]) -> BTreeSet<&'a str> {
        let named = self.members.iter();
        let named = named.filter(|(_, members)| members.contains(actor));
        let external = self.external.iter();
        let external =
            external.filter(|(_, values)| claims.iter().any(|claim| values.contains(claim)));
        named
            .chain(external)
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// Whether there is such a group.
    pub fn contains(&self, name: &str) -> bool {
        self.members.contains_key(name) || self.external.contains_key(name)
    }
}

impl Scope {
    /// The key and the value that declare it.
    pub fn declared(self) -> Option<(&'static str, &'static str)> {
        match self {
            Scope::Any => None,
            Scope::Branch(protection) => Some((ScopeTaken::Branch.key(), protection.name())),
            Scope::Target(protection) => Some((ScopeTaken::Target.key(), protection.name())),
        }
    }
}

impl ScopeTaken {
    pub(crate) fn key(self) -> &'static str {
        match self {
            ScopeTaken::Branch => "branch_scope",
            ScopeTaken::Target => "target_branch_scope",
            ScopeTaken::None => "",
        }
    }
}

impl Protection {
    /// The word in bundles.
    pub fn name(self) -> &'static str {
        match self {
            Protection::Protected => "protected",
            Protection::Unprotected => "unprotected",
        }
    }
}
