//! What requests present to the policy: action, branches, and the types that they touch.

use omnigraph_engine::{BranchName, ChangeFilter, Snapshot, Target};
use omnigraph_policy::{Action, Call};
use omnigraph_proto::common::v1::{ReadTarget, read_target};
use omnigraph_proto::error::WireError;

use crate::authorize::Guard;

const MAIN: &str = "main";
/// How a caller who may see some types gets an answer.
const NAME_TYPES: &str = "name the types that you may see: 'type' in the request";

/// What is decided before anything is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask<'a> {
    /// This.
    Exactly(Call<'a>),
    /// Whether the action is allowed at all: which branch it is about is known later.
    AtAll(Action),
}

/// The branch that a text names; an empty one is `main`.
pub(super) fn branch(text: &str) -> &str {
    match text.trim() {
        "" => MAIN,
        name => name,
    }
}

/// A call on the branch that a text names.
pub(super) fn on(action: Action, text: &str) -> Ask<'_> {
    Ask::Exactly(Call::new(action).on(branch(text)))
}

/// A call that is about no branch.
pub(super) fn whole(action: Action) -> Ask<'static> {
    Ask::Exactly(Call::new(action))
}

/// A call on what is to be read. Of commits and tags it has to be looked up where they were
/// authored: see [`pinned`].
pub(super) fn at(action: Action, target: Option<&ReadTarget>) -> Ask<'_> {
    match target.and_then(|target| target.target.as_ref()) {
        None => on(action, MAIN),
        Some(read_target::Target::Branch(name)) => on(action, name),
        Some(read_target::Target::AsOf(as_of)) => on(action, &as_of.branch),
        Some(
            read_target::Target::CommitId(_)
            | read_target::Target::Tag(_)
            | read_target::Target::Name(_),
        ) => Ask::AtAll(action),
    }
}

/// The branch that a snapshot is about: the one that was asked for, else where its commit was
/// authored.
pub(super) fn branch_of<'s>(target: &'s Target, snapshot: &'s Snapshot) -> &'s BranchName {
    match target {
        Target::Branch(name) | Target::AsOf { branch: name, .. } => name,
        _ => snapshot.branch().unwrap_or(&snapshot.commit().branch),
    }
}

/// Decides about a target when its snapshot is there; what named a branch is decided already.
pub(super) fn pinned(
    guard: &Guard,
    action: Action,
    target: &Target,
    snapshot: &Snapshot,
) -> Result<(), WireError> {
    match target {
        Target::Branch(_) | Target::AsOf { .. } => Ok(()),
        _ => {
            let branch = branch_of(target, snapshot).as_str();
            guard.check(&Call::new(action).on(branch))
        }
    }
}

/// Decides about the types that a request names, else about all of the schema.
pub(super) fn types(
    guard: &Guard,
    call: Call<'_>,
    named: &[String],
    snapshot: &Snapshot,
) -> Result<(), WireError> {
    if !guard.limits_types() {
        return Ok(());
    }
    let decided = match named {
        [] => guard.check_types(call, type_names(snapshot)),
        named => guard.check_types(call, named.iter().map(String::as_str)),
    };
    match named {
        [] => decided.map_err(|refused| refused.with_hint(NAME_TYPES)),
        _ => decided,
    }
}

/// The same for a filter of changes.
pub(super) fn filtered(
    guard: &Guard,
    call: Call<'_>,
    filter: &ChangeFilter,
    snapshot: &Snapshot,
) -> Result<(), WireError> {
    let named: Vec<String> = filter.types.iter().cloned().collect();
    types(guard, call, &named, snapshot)
}

fn type_names(snapshot: &Snapshot) -> impl Iterator<Item = &str> {
    let catalog = &snapshot.schema().catalog;
    let nodes = catalog.nodes.iter().map(|node| node.name.as_str());
    nodes.chain(catalog.edges.iter().map(|edge| edge.name.as_str()))
}
