//! What another writer's commit means for one's own (storage protocol, section 4).

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use omnigraph_lang::schema::{EntityKind, TypeId};

use super::branch::{BranchState, Head, living};
use super::delta::Side;
use super::idempotency::Ticket;
use super::model::{BranchEntry, BranchEvent};
use super::writer::{Base, CommitRequest, Staged};
use super::{BranchName, Commit, CommitId, CommitKind, Graph};
use crate::error::{EntityName, Error, ErrorKind, Overlap, Result, WriteConflict};
use crate::log::Seq;

/// Overlaps that an error lists.
const OVERLAPS_MAX: usize = 100;
/// Of a write of more rows only the types are named.
const COMPARED_MAX: u64 = 10_000;

/// What to do after somebody else's entry took the place.
pub(super) enum After {
    /// One of the entries is this very request's.
    Answered(Arc<Commit>),
    /// Nothing that the write touched or read has moved: it goes behind this head as it is.
    Reparent(Head),
    /// It has to be run on the new head.
    RunAgain(Overtaken),
}

/// A write that has to be run again, and what was faster.
pub(super) struct Overtaken {
    base: Side,
    /// What the write would have made of the base.
    ours: Arc<Commit>,
    head: Arc<Commit>,
    /// The types of the write that have moved, and whether it wrote them.
    moved: Vec<(TypeId, bool)>,
}

impl Graph {
    /// Reads every entry since `seen`, behind which `ours` could not go, and decides.
    pub(super) async fn after_conflict(
        &self,
        request: &CommitRequest<'_>,
        ticket: &mut Ticket,
        base: &Base,
        staged: &Staged,
        (ours, seen): (Commit, Option<Seq>),
    ) -> Result<After> {
        let name = request.branch;
        let state = self.shared.branches.state(name).await?;
        let between = self.entries_between(name, seen, &state).await?;
        if let Some(commit) = ticket.answer_among(&between)? {
            return Ok(After::Answered(commit));
        }
        let head = living(name, state)?;
        // A branch that a load would make was made by somebody else.
        let Some(before) = base.head() else {
            return Ok(After::RunAgain(overtaken(base, ours, &head, Vec::new())));
        };
        self.expect_head(name, request.options.if_head.as_ref(), &head)
            .await?;
        let moved: Vec<(TypeId, bool)> = touched(staged)
            .filter(|(id, _)| head.commit.tables.get(id) != before.commit.tables.get(id))
            .collect();
        let from_scratch = between.iter().any(|(_, entry)| starts_anew(&entry.event))
            || head.incarnation != before.incarnation
            || head.commit.schema_commit != before.commit.schema_commit
            || head.commit.schema != before.commit.schema;
        Ok(match moved.is_empty() && !from_scratch {
            true => After::Reparent(head),
            false => After::RunAgain(overtaken(base, ours, &head, moved)),
        })
    }

    /// The head must be the commit that the caller named; what maintenance and fences put behind
    /// it does not count.
    pub(super) async fn expect_head(
        &self,
        name: &BranchName,
        wanted: Option<&CommitId>,
        head: &Head,
    ) -> Result<()> {
        let Some(wanted) = wanted else {
            return Ok(());
        };
        let mut commit = Arc::clone(&head.commit);
        while commit.id != *wanted {
            let says_nothing = matches!(commit.kind, CommitKind::Maintenance | CommitKind::Fence);
            let before = match commit.parents.first() {
                Some(parent) if says_nothing => self.parent(parent).await?,
                Some(_) | None => None,
            };
            commit = before.ok_or_else(|| has_moved(name, wanted, &head.commit.id))?;
        }
        Ok(())
    }

    /// What was appended after `seen`, up to the entry that made `state`.
    async fn entries_between(
        &self,
        name: &BranchName,
        seen: Option<Seq>,
        state: &BranchState,
    ) -> Result<Vec<(Seq, BranchEntry)>> {
        let from = seen.map_or(Seq::FIRST, Seq::next);
        match state.seq() {
            Some(last) if from <= last => {
                let log = self.shared.branches.log(name);
                Ok(log.range(from, last).await?)
            }
            Some(_) | None => Ok(Vec::new()),
        }
    }
}

/// Whether what was prepared before this entry cannot be used after it.
fn starts_anew(event: &BranchEvent) -> bool {
    match event {
        BranchEvent::Created { .. } | BranchEvent::Deleted { .. } | BranchEvent::Swept { .. } => {
            true
        }
        BranchEvent::Commit { commit, .. } => commit.kind == CommitKind::Schema,
        BranchEvent::Void => false,
    }
}

/// The types of a write, and whether it wrote them.
fn touched(staged: &Staged) -> impl Iterator<Item = (TypeId, bool)> {
    let wrote = staged.tables.keys().map(|id| (*id, true));
    let read = staged
        .read
        .iter()
        .filter(|id| !staged.tables.contains_key(id));
    wrote.chain(read.map(|id| (*id, false)))
}

fn overtaken(base: &Base, ours: Commit, head: &Head, moved: Vec<(TypeId, bool)>) -> Overtaken {
    Overtaken {
        base: Side {
            commit: Arc::clone(&base.snapshot.commit),
            schema: Arc::clone(&base.snapshot.schema),
        },
        ours: Arc::new(ours),
        head: Arc::clone(&head.commit),
        moved,
    }
}

impl Graph {
    /// The error of a write that was overtaken until its tries were used up.
    pub(super) async fn lost(&self, branch: &BranchName, tries: usize, to: Overtaken) -> Error {
        let mut conflict = WriteConflict {
            base: to.base.commit.id.to_string(),
            head: to.head.id.to_string(),
            ..WriteConflict::default()
        };
        for (id, wrote) in &to.moved {
            // An error that cannot be told in full is told in part.
            let found = self.overlaps(&to, *id, *wrote).await;
            conflict.entities.extend(found.unwrap_or_default());
        }
        conflict.truncated = conflict.entities.len() > OVERLAPS_MAX;
        conflict.entities.truncate(OVERLAPS_MAX);
        let message = format!(
            "branch '{branch}' moved {tries} times while this write was prepared; nothing was written"
        );
        Error::new(ErrorKind::WriteConflict, message)
            .with_hint("repeat it")
            .with_detail(|detail| detail.write_conflict = Some(conflict))
    }

    /// The entities of one type that both wrote; the type where there are none.
    async fn overlaps(&self, to: &Overtaken, id: TypeId, wrote: bool) -> Result<Vec<Overlap>> {
        if !wrote {
            let read = overlap(&to.base, id, None, true);
            return Ok(read.into_iter().collect());
        }
        let mut both: Vec<Option<String>> = self.entities_of_both(to, id).await?;
        if both.is_empty() {
            both.push(None);
        }
        let both = both.into_iter();
        Ok(both
            .filter_map(|entity| overlap(&to.base, id, entity, false))
            .collect())
    }

    fn entities_of_both(
        &self,
        to: &Overtaken,
        id: TypeId,
    ) -> BoxFuture<'static, Result<Vec<Option<String>>>> {
        let graph = self.clone();
        let rows: u64 = (to.ours.touched.iter())
            .map(|t| t.inserted + t.updated + t.deleted)
            .sum();
        let ours = Side {
            commit: Arc::clone(&to.ours),
            schema: Arc::clone(&to.base.schema),
        };
        let (base, head) = (to.base.clone(), Arc::clone(&to.head));
        async move {
            if rows > COMPARED_MAX {
                return Ok(Vec::new());
            }
            let head = graph.side(&head).await?;
            let ours = graph.type_delta(&base, &ours, id).await?;
            let theirs = graph.type_delta(&base, &head, id).await?;
            let (Some(ours), Some(theirs)) = (ours, theirs) else {
                return Ok(Vec::new());
            };
            let both = ours.changes.into_keys();
            Ok(both
                .filter(|id| theirs.changes.contains_key(id))
                .take(OVERLAPS_MAX + 1)
                .map(Some)
                .collect())
        }
        .boxed()
    }
}

fn overlap(base: &Side, id: TypeId, entity: Option<String>, only_read: bool) -> Option<Overlap> {
    let of = base.entity(id)?;
    let edge = of.kind() == EntityKind::Edge;
    let constraint = match (only_read, edge) {
        (false, _) => None,
        (true, true) => Some("cascade".to_owned()),
        (true, false) => Some("endpoints".to_owned()),
    };
    Some(Overlap {
        entity: EntityName {
            edge,
            type_name: of.body().name.clone(),
            id: entity,
        },
        constraint,
    })
}

pub(super) fn has_moved(name: &BranchName, wanted: &CommitId, head: &CommitId) -> Error {
    Error::new(
        ErrorKind::Precondition,
        format!(
            "branch '{name}' has moved: expected {wanted}, head is {head}; nothing was written"
        ),
    )
    .with_hint("read again and decide")
    .with_detail(|detail| {
        detail.precondition = Some((wanted.to_string(), Some(head.to_string())));
    })
}
