//! One poll: fixes the head as its cut and delivers what lies between the cursor and the cut.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::chain::{Forward, Placed};
use super::{
    CURSOR, Cursor, FEED_COMMITS, FeedEnd, FeedPage, FeedPosition, FeedRequest, PAGE, Page,
};
use crate::error::{Error, ErrorKind, Result};
use crate::graph::branch::Head;
use crate::graph::changes::token::{open, rejected, seal};
use crate::graph::changes::{
    Budget, ChangePage, Position, Selection, Walked, gap, parentless, refuse_boundary, says_nothing,
};
use crate::graph::{ChangeBlock, ChangeCause, Commit, Graph, ParentRef};

/// Pauses between two looks at the head while a poll is held.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// A poll that goes on.
struct Walk {
    page: Page,
    /// The cut's commit, where it is at hand.
    cut: Option<Arc<Commit>>,
    /// The cursor of the request, for errors.
    given: Option<String>,
}

impl Graph {
    /// One page of a branch's change feed.
    ///
    /// # Errors
    /// `CursorRejected` for a token that was made for something else, `ChangeFeedGap` where history
    /// was reclaimed, `ChangeDiffRefused` at a change of the schema.
    pub async fn poll_changes(&self, request: &FeedRequest) -> Result<FeedPage> {
        let size = ChangePage {
            limit: request.limit,
            token: None,
        }
        .size()?;
        let until = Instant::now() + request.wait;
        let head = self.shared.branches.head(&request.branch).await?;
        let mut walk = self.begin_walk(request, &head).await?;
        loop {
            let cut = walk.page.cut.clone();
            let page = self.deliver(request, walk, size).await?;
            let cursor = match &page.end {
                FeedEnd::Cursor {
                    cursor,
                    caught_up: true,
                } if page.blocks.is_empty() => cursor.clone(),
                _ => return Ok(page),
            };
            let Some(head) = self.next_head(request, &cut, until).await? else {
                return Ok(page);
            };
            let cursor: Cursor = open(CURSOR, &cursor)?;
            cursor.check(self, request, head.incarnation)?;
            walk = Walk::fresh(cursor, &head, None);
        }
    }

    async fn begin_walk(&self, request: &FeedRequest, head: &Head) -> Result<Walk> {
        let at = match &request.position {
            FeedPosition::Page(text) => {
                let page: Page = open(PAGE, text)?;
                page.cursor.check(self, request, head.incarnation)?;
                let cut = (page.cut.id == head.at.id).then(|| head.commit.clone());
                return Ok(Walk {
                    page,
                    cut,
                    given: None,
                });
            }
            FeedPosition::Cursor(text) => {
                let cursor: Cursor = open(CURSOR, text)?;
                cursor.check(self, request, head.incarnation)?;
                return Ok(Walk::fresh(cursor, head, Some(text.clone())));
            }
            FeedPosition::Now => head.at.clone(),
            FeedPosition::Beginning => self.beginning(head).await?,
            FeedPosition::After(id) => {
                let from = Placed {
                    at: head.at.clone(),
                    commit: head.commit.clone(),
                };
                self.place_of(&from, id).await?.ok_or_else(|| {
                    Error::invalid(format!(
                        "commit '{id}' is not on the first-parent chain of branch '{}'",
                        request.branch
                    ))
                })?
            }
        };
        let cursor = self.cursor(request, head, at);
        Ok(Walk::fresh(cursor, head, None))
    }

    pub(super) fn cursor(&self, request: &FeedRequest, head: &Head, at: ParentRef) -> Cursor {
        Cursor {
            g: self.root().incarnation,
            b: request.branch.clone(),
            i: head.incarnation,
            f: request.filter.digest(),
            at,
        }
    }

    /// The first commit has nothing to list, so the feed begins behind it; if it came with
    /// entities, they would be missed.
    async fn beginning(&self, head: &Head) -> Result<ParentRef> {
        let Some(first) = self.oldest(&head.at).await? else {
            return Err(gap(None, head.commit.id));
        };
        if first.commit.tables.values().any(|table| table.rows > 0) {
            return Err(parentless(&first.commit));
        }
        Ok(first.at)
    }

    /// Waits until the branch has another head than `cut`; `None` when the time is over.
    async fn next_head(
        &self,
        request: &FeedRequest,
        cut: &ParentRef,
        until: Instant,
    ) -> Result<Option<Head>> {
        let mut pause = PAUSE_MIN;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(PAUSE_MAX);
            let head = self.shared.branches.head(&request.branch).await?;
            if head.at != *cut {
                return Ok(Some(head));
            }
        }
    }

    /// Names mean the types that the cut has under them, whatever they were called before.
    async fn named_types(
        &self,
        request: &FeedRequest,
        cut: &ParentRef,
        commit: Option<Arc<Commit>>,
    ) -> Result<Option<Selection>> {
        if request.filter.types.is_empty() {
            return Ok(None);
        }
        let commit = match commit {
            Some(commit) => commit,
            None => self.parent(cut).await?.ok_or_else(|| gap(None, cut.id))?,
        };
        let side = self.side(&commit).await?;
        let selection = request.filter.select(&[&side.schema.catalog])?;
        Ok(Some(selection))
    }

    async fn deliver(&self, request: &FeedRequest, walk: Walk, size: usize) -> Result<FeedPage> {
        let Walk { page, cut, given } = walk;
        let after = page.cursor.at.clone();
        let unreadable = || gap(given.as_deref(), after.id);
        let next = self
            .forward(&after, &page.cut, cut.as_ref(), page.left)
            .await?;
        let next = match next {
            Forward::Commits(commits) => commits,
            Forward::Reclaimed => return Err(unreadable()),
            Forward::Elsewhere => return Err(rejected("its commit is not in this branch")),
        };
        let mut delivery = Delivery {
            named: self.named_types(request, &page.cut, cut).await?,
            page,
            before: None,
            budget: Budget::new(size),
            blocks: Vec::new(),
        };
        if !next.is_empty() {
            let before = self.parent(&delivery.page.cursor.at).await?;
            let before = before.ok_or_else(unreadable)?;
            let kept = self.refuse_old_if_reclaimed(&before).await;
            kept.map_err(|error| match error.kind() {
                ErrorKind::NotFound => unreadable(),
                _ => error,
            })?;
            delivery.before = Some(before);
        }
        for placed in next {
            match delivery.commit(self, request, placed).await {
                Ok(true) => {}
                Ok(false) => {
                    return Ok(FeedPage {
                        end: FeedEnd::Page(seal(PAGE, &delivery.page)?),
                        blocks: delivery.blocks,
                    });
                }
                // What was delivered so far counts; the next poll meets the boundary at once.
                Err(error)
                    if error.kind() == ErrorKind::ChangeDiffRefused
                        && !delivery.blocks.is_empty() =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(FeedPage {
            end: FeedEnd::Cursor {
                caught_up: delivery.page.cursor.at.id == delivery.page.cut.id,
                cursor: delivery.page.cursor.seal()?,
            },
            blocks: delivery.blocks,
        })
    }
}

impl Walk {
    fn fresh(cursor: Cursor, head: &Head, given: Option<String>) -> Self {
        Self {
            page: Page {
                cursor,
                cut: head.at.clone(),
                left: FEED_COMMITS,
                p: None,
            },
            cut: Some(head.commit.clone()),
            given,
        }
    }
}

/// A page that is being filled.
struct Delivery {
    /// Types that the filter names, as the cut knows them; none: all types.
    named: Option<Selection>,
    /// Where the page ends so far.
    page: Page,
    /// The commit at the cursor.
    before: Option<Arc<Commit>>,
    budget: Budget,
    blocks: Vec<ChangeBlock>,
}

impl Delivery {
    /// Adds one commit; `false` when the page is full before its end.
    async fn commit(
        &mut self,
        graph: &Graph,
        request: &FeedRequest,
        placed: Placed,
    ) -> Result<bool> {
        let commit = placed.commit;
        let behind = self.page.p.take();
        if !says_nothing(&commit) {
            let before = self.before.clone().ok_or_else(|| {
                Error::internal("a feed walks over a commit without the one before it")
            })?;
            if commit.parents.first().map(|parent| parent.id) != Some(before.id) {
                return Err(Error::corrupt(format!(
                    "commit {} does not follow commit {} on its branch",
                    commit.id, before.id
                )));
            }
            let mut block = ChangeBlock {
                cause: ChangeCause::of(&commit),
                changes: Vec::new(),
            };
            let walked = self
                .fill(graph, request, &before, &commit, behind, &mut block)
                .await?;
            if !block.changes.is_empty() {
                self.blocks.push(block);
            }
            if let Walked::Full(p) = walked {
                self.page.p = p;
                return Ok(false);
            }
        }
        self.page.cursor.at = placed.at;
        self.page.left = self.page.left.saturating_sub(1);
        self.before = Some(commit);
        Ok(true)
    }

    async fn fill(
        &mut self,
        graph: &Graph,
        request: &FeedRequest,
        before: &Arc<Commit>,
        commit: &Arc<Commit>,
        behind: Option<Position>,
        block: &mut ChangeBlock,
    ) -> Result<Walked> {
        let (from, to) = (graph.side(before).await?, graph.side(commit).await?);
        let selection = match &self.named {
            Some(selection) => selection.clone(),
            None => request.filter.between(&from, &to)?,
        };
        refuse_boundary(&from, &to, &selection)?;
        graph
            .walk(
                &from,
                &to,
                &selection,
                behind.as_ref(),
                &mut self.budget,
                &mut block.changes,
            )
            .await
    }
}
