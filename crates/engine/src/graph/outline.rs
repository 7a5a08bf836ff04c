//! Writing to a graph of outlines, for simulations of what surrounds its tables.

use super::model::CommitKind;
use super::writer::{Appended, append_deadline, commit_event};
use super::{BranchName, Commit, CommitId, Graph, Touched};
use crate::engine::Authorship;
use crate::error::{Error, Result};

impl Graph {
    /// Commits to `main` what inserting rows of one type would: another version of its table.
    ///
    /// # Errors
    /// `Invalid` if the graph has real tables, or no such type.
    pub async fn write_outline(
        &self,
        type_name: &str,
        rows: u64,
        by: &Authorship,
    ) -> Result<Commit> {
        if !self.tables().is_outline() {
            return Err(Error::invalid("this graph has real tables"));
        }
        let main = BranchName::main();
        let queue = self.queue(&main);
        let _turn = queue.lock().await;
        loop {
            let head = self.shared.branches.head(&main).await?;
            let snapshot = self.open(head.commit.clone(), Some(main.clone())).await?;
            let entities = snapshot.schema.catalog.entities();
            let id = entities
                .map(|entity| entity.body())
                .find(|body| body.name == type_name)
                .map(|body| body.id)
                .ok_or_else(|| Error::invalid(format!("there is no type '{type_name}'")))?;
            let old = snapshot.table(id)?;
            let path = old.path.clone();
            let table = self.tables().outline_of(path, old.rows + rows).await?;
            let mut commit = Commit::clone(&head.commit);
            commit.id = CommitId(self.store().clock().fresh_id());
            commit.branch = main.clone();
            commit.parents = vec![head.at.clone()];
            commit.version += 1;
            commit.actor.clone_from(&by.actor);
            commit.message.clone_from(&by.message);
            commit.created_at = self.store().clock().now_micros();
            commit.kind = CommitKind::Mutate;
            commit.fences = None;
            commit.control_epoch = head.control_epoch;
            commit.idempotency = None;
            commit.touched = vec![Touched {
                edge: false,
                type_name: type_name.to_owned(),
                inserted: rows,
                updated: 0,
                deleted: 0,
            }];
            commit.tables.insert(id, table);
            let event = commit_event(&head, commit.clone());
            let appended = self
                .append_event(&main, Some(head.seq), event, append_deadline())
                .await?;
            if let Appended::Landed(_) = appended {
                return Ok(commit);
            }
        }
    }
}
