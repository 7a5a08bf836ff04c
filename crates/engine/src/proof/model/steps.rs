//! What the model does, chosen by chance.

use proptest::prelude::*;

use super::data::Change;

/// Names of packages.
pub(super) const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Names of branches beside `main`.
pub(super) const BRANCHES: [&str; 3] = ["x", "y", "z/deep"];
/// Names of tags.
pub(super) const TAGS: [&str; 2] = ["v1", "v2"];

/// A state that somebody names.
#[derive(Clone, Copy, Debug)]
pub(super) enum Point {
    Branch(usize),
    /// One of all commits that there ever were.
    Commit(usize),
    Tag(usize),
    /// A branch at the time of one of all commits.
    Time {
        branch: usize,
        commit: usize,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Put {
        branch: usize,
        name: usize,
        size: i64,
    },
    /// Sets the property that comes and goes.
    Set {
        branch: usize,
        name: usize,
        value: i64,
    },
    Link {
        branch: usize,
        from: usize,
        to: usize,
        floor: i64,
    },
    Unlink {
        branch: usize,
        from: usize,
    },
    Remove {
        branch: usize,
        name: usize,
    },
    Load {
        branch: usize,
        names: Vec<usize>,
        size: i64,
    },
    Create {
        branch: usize,
        from: Point,
    },
    Delete {
        branch: usize,
    },
    Merge {
        from: usize,
        into: usize,
        strategy: usize,
    },
    Revert {
        branch: usize,
        commit: usize,
        undo: bool,
    },
    Tag {
        tag: usize,
        at: Point,
    },
    Untag {
        tag: usize,
    },
    Look(Point),
    Schema(Change),
    Optimize {
        branch: usize,
    },
    /// Hours go by.
    Pass(u64),
    /// A collection that keeps so many commits.
    Collect(u64),
    Reopen,
}

fn point() -> impl Strategy<Value = Point> {
    let branch = || 0..=BRANCHES.len();
    prop_oneof![
        4 => branch().prop_map(Point::Branch),
        2 => any::<prop::sample::Index>().prop_map(|at| Point::Commit(at.index(1 << 20))),
        1 => (0..TAGS.len()).prop_map(Point::Tag),
        2 => (branch(), any::<prop::sample::Index>())
            .prop_map(|(branch, at)| Point::Time { branch, commit: at.index(1 << 20) }),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => (0..3_i64).prop_map(Change::Add),
        2 => Just(Change::Rename),
        1 => Just(Change::Drop),
        2 => (1..3_i64).prop_map(Change::Bound),
        1 => Just(Change::Unbound),
    ]
}

fn data() -> impl Strategy<Value = Step> {
    let branch = || 0..=BRANCHES.len();
    let name = || 0..NAMES.len();
    let size = || 0..3_i64;
    prop_oneof![
        4 => (branch(), name(), size()).prop_map(|(branch, name, size)| Step::Put { branch, name, size }),
        2 => (branch(), name(), size()).prop_map(|(branch, name, value)| Step::Set { branch, name, value }),
        3 => (branch(), name(), name(), size()).prop_map(|(branch, from, to, floor)| Step::Link { branch, from, to, floor }),
        1 => (branch(), name()).prop_map(|(branch, from)| Step::Unlink { branch, from }),
        2 => (branch(), name()).prop_map(|(branch, name)| Step::Remove { branch, name }),
        1 => (branch(), prop::collection::vec(name(), 1..4), size()).prop_map(|(branch, names, size)| Step::Load { branch, names, size }),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let branch = || 0..=BRANCHES.len();
    let commit = || any::<prop::sample::Index>().prop_map(|at| at.index(1 << 20));
    prop_oneof![
        13 => data(),
        3 => (branch(), point()).prop_map(|(branch, from)| Step::Create { branch, from }),
        1 => branch().prop_map(|branch| Step::Delete { branch }),
        5 => (branch(), branch(), 0..3_usize).prop_map(|(from, into, strategy)| Step::Merge { from, into, strategy }),
        2 => (branch(), commit(), any::<bool>()).prop_map(|(branch, commit, undo)| Step::Revert { branch, commit, undo }),
        1 => (0..TAGS.len(), point()).prop_map(|(tag, at)| Step::Tag { tag, at }),
        1 => (0..TAGS.len()).prop_map(|tag| Step::Untag { tag }),
        2 => point().prop_map(Step::Look),
        3 => change().prop_map(Step::Schema),
        1 => branch().prop_map(|branch| Step::Optimize { branch }),
        2 => (1..40_u64).prop_map(Step::Pass),
        1 => (1..4_u64).prop_map(Step::Collect),
        1 => Just(Step::Reopen),
    ]
}
