//! Each operation on the graph and on the model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::Checked;
use super::data::{Change, Data, Merged, Row, Schema, merge, whole};
use super::pair::{Known, Pair, branch_name, tag_name};
use super::steps::{NAMES, Point, Step, TAGS};
use crate::engine::Authorship;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{
    BranchName, Commit, CommitId, MergeOptions, MergeOutcome, MergeStrategy, OptimizeOptions,
    RevertMode, RevertOptions, Strategies, WriteOptions,
};
use crate::proof::world::load;
use crate::write::LoadMode;

impl Pair {
    pub(super) async fn step(&mut self, step: &Step) -> Checked {
        // A step takes time, so that a time names one commit of a branch.
        self.world.tick();
        match step {
            Step::Put { branch, name, size } => self.put(*branch, &[*name], *size).await,
            Step::Load {
                branch,
                names,
                size,
            } => self.put(*branch, names, *size).await,
            Step::Set {
                branch,
                name,
                value,
            } => self.set(*branch, *name, *value).await,
            Step::Link {
                branch,
                from,
                to,
                floor,
            } => self.link(*branch, [*from, *to], *floor).await,
            Step::Unlink { branch, from } => self.unlink(*branch, *from).await,
            Step::Remove { branch, name } => self.remove(*branch, *name).await,
            Step::Create { branch, from } => self.create(*branch, *from).await,
            Step::Delete { branch } => self.delete(*branch).await,
            Step::Merge {
                from,
                into,
                strategy,
            } => self.merge(*from, *into, *strategy).await,
            Step::Revert {
                branch,
                commit,
                undo,
            } => self.revert(*branch, *commit, *undo).await,
            Step::Tag { tag, at } => self.create_tag(*tag, *at).await,
            Step::Untag { tag } => self.delete_tag(*tag).await,
            Step::Look(point) => self.look(*point).await,
            Step::Schema(change) => self.change(*change).await,
            Step::Optimize { branch } => self.optimize(*branch).await,
            Step::Pass(hours) => {
                let hour = std::time::Duration::from_secs(3600);
                self.world.pass(hour * u32::try_from(*hours).unwrap());
                Ok(())
            }
            Step::Collect(keep) => {
                let collected = self.world.try_collect(*keep).await;
                prop_assert!(collected.is_ok(), "{:?}", collected);
                self.collected(*keep);
                self.check_history().await
            }
            Step::Reopen => {
                let engine = self.world.engine.without_caches();
                self.world.graph = engine.open_graph(&self.world.root).await.unwrap();
                Ok(())
            }
        }
    }

    /// A write that the model foresees: `Some` is the state it leaves behind, `None` that it is
    /// refused.
    fn expect(
        &mut self,
        branch: &BranchName,
        answer: Result<Option<Commit>>,
        next: Option<(Data, Schema)>,
    ) -> Checked {
        match (answer, next) {
            (Ok(commit), Some((data, schema))) => {
                if let Some(commit) = commit {
                    self.commit(branch, &commit, data.clone(), schema);
                }
                let said = self.head(branch).map(|known| known.data.clone());
                prop_assert_eq!(said, Some(data), "no commit, but a change");
                Ok(())
            }
            (Err(_), None) => Ok(()),
            (Ok(_), None) => Err(TestCaseError::fail("it should have been refused")),
            (Err(error), Some(_)) => Err(TestCaseError::fail(format!(
                "refused: {error} {:?}",
                error.kind()
            ))),
        }
    }

    /// The data of a branch after a change under its schema.
    fn after(
        &self,
        branch: &BranchName,
        change: impl FnOnce(&mut Data, &Schema) -> bool,
    ) -> Option<(Data, Schema)> {
        let known = self.head(branch)?;
        let (mut data, schema) = (known.data.clone(), known.schema.clone());
        change(&mut data, &schema).then_some((data, schema))
    }

    async fn mutate(&self, branch: &BranchName, source: &str) -> Result<Option<Commit>> {
        let params = serde_json::Map::new();
        let options = WriteOptions::default();
        let graph = &self.world.graph;
        let done = graph
            .mutate(branch, source, None, &params, &options)
            .await?;
        Ok(done.commit)
    }

    /// Whole entities, which replace what is there.
    async fn put(&mut self, branch: usize, names: &[usize], size: i64) -> Checked {
        let branch = branch_name(branch);
        let names: BTreeSet<&str> = names.iter().map(|name| NAMES[*name]).collect();
        let next = self.after(&branch, |data, schema| {
            let row = Row {
                size: Some(size),
                extra: schema.extra.as_ref().map(|extra| extra.default),
            };
            let rows = names.iter().map(|name| ((*name).to_owned(), row.clone()));
            data.packages.extend(rows);
            schema.admits_size(Some(size))
        });
        let lines: Vec<String> = names
            .iter()
            .map(|name| format!(r#"{{"type":"Package","data":{{"name":"{name}","size":{size}}}}}"#))
            .collect();
        let answer = self.load(&branch, &lines.join("\n")).await;
        self.expect(&branch, answer, next)
    }

    async fn load(&self, branch: &BranchName, lines: &str) -> Result<Option<Commit>> {
        let graph = &self.world.graph;
        let before = graph.branch(branch).await?.head;
        load(graph, branch.as_str(), LoadMode::Merge, None, lines).await?;
        let head = graph.branch(branch).await?.head;
        Ok((head.id != before.id).then_some(head))
    }

    async fn set(&mut self, branch: usize, name: usize, value: i64) -> Checked {
        let (branch, name) = (branch_name(branch), NAMES[name]);
        let property = self
            .head(&branch)
            .and_then(|known| Some(known.schema.extra.as_ref()?.name));
        let next = self.after(&branch, |data, _| {
            if let Some(row) = data.packages.get_mut(name) {
                row.extra = Some(value);
            }
            property.is_some()
        });
        let property = property.unwrap_or("level");
        let source = format!(
            r#"query q() {{ update Package set {{ {property}: {value} }} where name = "{name}" }}"#
        );
        let answer = self.mutate(&branch, &source).await;
        self.expect(&branch, answer, next)
    }

    /// An insert under a key that exists replaces what is there.
    async fn link(&mut self, branch: usize, ends: [usize; 2], floor: i64) -> Checked {
        let branch = branch_name(branch);
        let [from, to] = ends.map(|end| NAMES[end]);
        let next = self.after(&branch, |data, _| {
            data.edges
                .insert((from.to_owned(), to.to_owned()), Some(floor));
            whole(data)
        });
        let source = format!(
            r#"query q() {{ insert DependsOn {{ from: "{from}", to: "{to}", floor: {floor} }} }}"#
        );
        let answer = self.mutate(&branch, &source).await;
        self.expect(&branch, answer, next)
    }

    async fn unlink(&mut self, branch: usize, from: usize) -> Checked {
        let (branch, from) = (branch_name(branch), NAMES[from]);
        let next = self.after(&branch, |data, _| {
            data.edges.retain(|(source, _), _| source != from);
            true
        });
        let source = format!(r#"query q() {{ delete DependsOn where from = "{from}" }}"#);
        let answer = self.mutate(&branch, &source).await;
        self.expect(&branch, answer, next)
    }

    async fn remove(&mut self, branch: usize, name: usize) -> Checked {
        let (branch, name) = (branch_name(branch), NAMES[name]);
        let next = self.after(&branch, |data, _| {
            data.packages.remove(name);
            data.edges
                .retain(|(from, to), _| from != name && to != name);
            true
        });
        let source = format!(r#"query q() {{ delete Package where name = "{name}" }}"#);
        let answer = self.mutate(&branch, &source).await;
        self.expect(&branch, answer, next)
    }

    async fn create(&mut self, branch: usize, from: Point) -> Checked {
        let branch = branch_name(branch);
        let (target, found) = self.resolve(from);
        let by = Authorship::default();
        let graph = self.world.graph.clone();
        let made = graph.create_branch(&branch, &target, &by).await;
        let free = !self.heads.contains_key(&branch);
        match (made, found) {
            (Ok(made), Some((id, _))) if free => {
                prop_assert_eq!(made.head.id, id);
                self.begin(&branch, id);
                Ok(())
            }
            (Ok(_), _) => Err(TestCaseError::fail("it should have been refused")),
            (Err(error), Some((_, true))) if free => {
                Err(TestCaseError::fail(format!("refused: {error}")))
            }
            (Err(error), _) => {
                let clear = matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::AlreadyExists | ErrorKind::ChangeFeedGap
                );
                prop_assert!(clear, "{error} {:?}", error.kind());
                Ok(())
            }
        }
    }

    async fn delete(&mut self, branch: usize) -> Checked {
        let branch = branch_name(branch);
        let legal = !branch.is_main() && self.heads.contains_key(&branch);
        let by = Authorship::default();
        let gone = self.world.graph.delete_branch(&branch, None, &by).await;
        prop_assert_eq!(gone.is_ok(), legal, "{:?}", gone);
        if legal {
            self.end(&branch);
        }
        Ok(())
    }

    async fn create_tag(&mut self, tag: usize, at: Point) -> Checked {
        let (target, found) = self.resolve(at);
        let by = Authorship::default();
        let graph = self.world.graph.clone();
        let made = graph.create_tag(&tag_name(tag), &target, &by).await;
        let free = !self.tags.contains_key(TAGS[tag]);
        match (made, found) {
            (Ok(made), Some((id, _))) if free => {
                prop_assert_eq!(made.commit, id);
                self.tags.insert(TAGS[tag], id);
                Ok(())
            }
            (Ok(_), _) => Err(TestCaseError::fail("it should have been refused")),
            (Err(error), Some((_, true))) if free => {
                Err(TestCaseError::fail(format!("refused: {error}")))
            }
            (Err(error), _) => {
                let clear = matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::AlreadyExists | ErrorKind::ChangeFeedGap
                );
                prop_assert!(clear, "{error} {:?}", error.kind());
                Ok(())
            }
        }
    }

    async fn delete_tag(&mut self, tag: usize) -> Checked {
        let by = Authorship::default();
        let gone = self.world.graph.delete_tag(&tag_name(tag), &by).await;
        let was = self.tags.remove(TAGS[tag]);
        prop_assert_eq!(gone.ok().map(|tag| tag.commit), was);
        Ok(())
    }

    async fn optimize(&mut self, branch: usize) -> Checked {
        let branch = branch_name(branch);
        let next = self.after(&branch, |_, _| true);
        let options = OptimizeOptions::default();
        let done = self.world.graph.optimize(&branch, &options, &|_| {}).await;
        let answer = done.and_then(|done| {
            let error = done.tables.into_iter().find_map(|table| table.error);
            error.map_or(Ok(done.commit), |error| Err(Error::internal(error)))
        });
        self.expect(&branch, answer, next)
    }

    /// Schemas move on `main`; the rows there have to keep the rules.
    async fn change(&mut self, change: Change) -> Checked {
        let main = BranchName::main();
        let Some(known) = self.head(&main).cloned() else {
            return Ok(());
        };
        let Some((schema, renamed)) = change.of(&known.schema, self.extras) else {
            return Ok(());
        };
        self.extras += 1;
        let data = schema.carry(&known.schema, &known.data);
        let next = schema.admits(&data).then_some((data, schema.clone()));
        let answer = self.move_schema(&schema.source(renamed)).await;
        if let Err(error) = &answer {
            prop_assert_eq!(error.kind(), ErrorKind::Migration, "{}", error);
        }
        self.expect(&main, answer, next)
    }

    async fn move_schema(&self, source: &str) -> Result<Option<Commit>> {
        let by = Authorship::default();
        let graph = &self.world.graph;
        let staged = graph.stage_schema(source, CommitId::new(), &by).await?;
        match graph.commit_schema(staged).await {
            Ok(commit) => Ok(Some(commit)),
            Err(error) => Err(Error::internal(error.to_string())),
        }
    }

    async fn revert(&mut self, branch: usize, commit: usize, undo: bool) -> Checked {
        let branch = branch_name(branch);
        let id = self.order[commit % self.order.len()];
        let options = RevertOptions {
            mode: match undo {
                true => RevertMode::Undo(id),
                false => RevertMode::To(id),
            },
            dry_run: false,
            write: WriteOptions::default(),
        };
        let answer = self.world.graph.revert(&branch, &options).await;
        let answer = answer.map(|done| done.commit);
        let Some(head) = self.heads.get(&branch).copied() else {
            return self.expect(&branch, answer, None);
        };
        let (at, now) = (self.commits[&id].clone(), self.commits[&head].clone());
        let within = self.ancestors(head).contains(&id);
        let parent = at
            .parents
            .first()
            .map(|parent| self.commits[parent].clone());
        let next = match (undo, &parent) {
            _ if !within || at.digest != now.digest => None,
            (false, _) => Some(at.data.clone()),
            (true, None) => None,
            (true, Some(parent)) if parent.digest != at.digest => None,
            (true, Some(parent)) => {
                match merge(
                    std::slice::from_ref(&at.data),
                    &now.data,
                    &parent.data,
                    MergeStrategy::Fail,
                ) {
                    Merged::Exactly(data) => Some(data),
                    Merged::Refused => None,
                    Merged::Doubtful { .. } => unreachable!("there is one base"),
                }
            }
        };
        let parent_kept = at
            .parents
            .first()
            .is_none_or(|parent| self.is_kept(*parent));
        let kept = self.is_kept(id) && (parent_kept || !undo);
        if let Err(error) = &answer
            && !kept
            && error.kind() == ErrorKind::NotFound
        {
            return Ok(());
        }
        self.expect(&branch, answer, next.map(|data| (data, now.schema)))
    }

    async fn merge(&mut self, from: usize, into: usize, strategy: usize) -> Checked {
        let (from, into) = (branch_name(from), branch_name(into));
        let strategy = [
            MergeStrategy::Fail,
            MergeStrategy::Ours,
            MergeStrategy::Theirs,
        ][strategy];
        let options = MergeOptions {
            strategies: Strategies::all(strategy),
            ..MergeOptions::default()
        };
        let dry = MergeOptions {
            dry_run: true,
            ..options.clone()
        };
        let told = self.world.graph.merge(&from, &into, &dry).await;
        let answer = self.world.graph.merge(&from, &into, &options).await;
        let ends = (
            self.heads.get(&from).copied(),
            self.heads.get(&into).copied(),
        );
        let (Some(theirs), Some(ours)) = ends else {
            return self.expect(&into, answer.map(|done| done.commit), None);
        };
        if from == into {
            prop_assert!(answer.is_err());
            return Ok(());
        }
        let told = match told {
            Ok(told) => told,
            Err(error) => return Err(TestCaseError::fail(format!("dry run: {error}"))),
        };
        let bases = self.bases(ours, theirs);
        prop_assert!(
            bases.contains(&told.merge_base),
            "base {} of {:?}",
            told.merge_base,
            bases
        );
        match &answer {
            Ok(done) => prop_assert_eq!(done.outcome, told.outcome),
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::MergeConflict, "{}", error);
                prop_assert_eq!(told.outcome, MergeOutcome::Conflicted);
            }
        }
        let answer = answer.map(|done| done.commit);
        if bases.contains(&theirs) {
            let next = self.after(&into, |_, _| true);
            prop_assert_eq!(told.outcome, MergeOutcome::AlreadyUpToDate);
            return self.expect(&into, answer, next);
        }
        let (ours, theirs) = (self.commits[&ours].clone(), self.commits[&theirs].clone());
        let is_ahead = self
            .heads
            .get(&into)
            .is_some_and(|head| bases.contains(head));
        if is_ahead && (ours.digest == theirs.digest || !into.is_main()) {
            prop_assert_eq!(told.outcome, MergeOutcome::FastForward);
            return self.expect(&into, answer, Some((theirs.data, theirs.schema)));
        }
        self.merge_three_way(&into, answer, &bases, strategy, (ours, theirs))
            .await
    }

    /// Both have moved. The side with the older schema is taken to the newer one.
    async fn merge_three_way(
        &mut self,
        into: &BranchName,
        answer: Result<Option<Commit>>,
        bases: &[CommitId],
        strategy: MergeStrategy,
        (ours, theirs): (Known, Known),
    ) -> Checked {
        let same = ours.digest == theirs.digest;
        // Schemas move on main alone, so the newer one is that which was there later.
        let ours_newer = same || self.is_newer(&ours, &theirs);
        let (older, newer) = match ours_newer {
            true => (&theirs, &ours),
            false => (&ours, &theirs),
        };
        let bases: Vec<_> = bases
            .iter()
            .map(|id| &self.commits[id])
            .filter(|base| base.digest == older.digest)
            .collect();
        if bases.is_empty() {
            return self.expect(into, answer, None);
        }
        let schema = newer.schema.clone();
        if !same && bases.len() > 1 {
            // Across schemas one of them is looked at.
            return match answer {
                Ok(_) => self.accept(into, answer, schema).await,
                Err(_) => Ok(()),
            };
        }
        let carried = |known: &Known| schema.carry(&known.schema, &known.data);
        let (o, t) = (carried(&ours), carried(&theirs));
        let base_data: Vec<Data> = bases.iter().map(|base| carried(base)).collect();
        // Rows of the older side that break the newer rules are a conflict, whatever the newer side
        // did to them.
        let is_doubtful = !same && !schema.admits(&older.data);
        match merge(&base_data, &o, &t, strategy) {
            _ if is_doubtful && answer.is_err() => Ok(()),
            Merged::Exactly(data) if schema.admits(&data) => {
                self.expect(into, answer, Some((data, schema)))
            }
            Merged::Exactly(_) | Merged::Refused => self.expect(into, answer, None),
            Merged::Doubtful { .. } if answer.is_err() => Ok(()),
            Merged::Doubtful {
                data,
                packages,
                edges,
            } => {
                let said = self.data_of(into).await;
                one_of(&said.packages, &data.packages, &packages)?;
                one_of(&said.edges, &data.edges, &edges)?;
                prop_assert!(whole(&said), "{:?}", said);
                self.accept(into, answer, schema).await
            }
        }
    }

    /// Takes what the graph says for right, as long as it keeps the rules.
    async fn accept(
        &mut self,
        branch: &BranchName,
        answer: Result<Option<Commit>>,
        schema: Schema,
    ) -> Checked {
        let said = self.data_of(branch).await;
        prop_assert!(whole(&said) && schema.admits(&said), "{:?}", said);
        self.expect(branch, answer, Some((said, schema)))
    }

    /// Whether a schema came to `main` later.
    fn is_newer(&self, ours: &Known, theirs: &Known) -> bool {
        let place = |known: &Known| self.order.iter().position(|id| *id == known.schema_commit);
        place(ours) > place(theirs)
    }
}

/// Like the model, but for entities that may be as either side has them.
fn one_of<K: Ord + Clone + std::fmt::Debug, V: Eq + Clone + std::fmt::Debug>(
    said: &BTreeMap<K, V>,
    model: &BTreeMap<K, V>,
    doubtful: &BTreeMap<K, [Option<V>; 2]>,
) -> Checked {
    let keys: BTreeSet<&K> = said
        .keys()
        .chain(model.keys())
        .chain(doubtful.keys())
        .collect();
    for key in keys {
        let found = said.get(key).cloned();
        match doubtful.get(key) {
            Some(either) => prop_assert!(either.contains(&found), "{key:?}: {found:?}"),
            None => prop_assert_eq!(found, model.get(key).cloned(), "{:?}", key),
        }
    }
    Ok(())
}
