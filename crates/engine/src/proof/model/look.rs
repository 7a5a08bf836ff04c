//! Comparing a graph with its model.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::Value;

use super::Checked;
use super::data::{Data, Row, Schema};
use super::pair::{Known, Pair};
use super::steps::Point;
use crate::error::{Error, ErrorKind, Result};
use crate::graph::{BranchName, CommitId, ReadOptions, TagName, Target};

/// What was read: the data, and the name of the property that comes and goes where rows have one.
struct Read {
    commit: CommitId,
    data: Data,
    extra: Option<String>,
}

impl Pair {
    /// Branches and tags as they are now.
    pub(super) async fn check(&self) -> Checked {
        let listed = self.world.graph.branches().await.unwrap();
        let listed: BTreeSet<BranchName> = listed.into_iter().map(|b| b.name).collect();
        let living: BTreeSet<BranchName> = self.heads.keys().cloned().collect();
        prop_assert_eq!(listed, living);
        for (branch, head) in &self.heads {
            self.says(&Target::Branch(branch.clone()), *head, true)
                .await?;
        }
        let tags = self.world.graph.tags().await.unwrap();
        let tags: BTreeMap<&str, CommitId> = tags
            .iter()
            .map(|tag| (tag.name.as_str(), tag.commit))
            .collect();
        prop_assert_eq!(&tags, &self.tags);
        Ok(())
    }

    /// Everything that there ever was, by all of its names.
    pub(super) async fn check_history(&self) -> Checked {
        let found_by_id = self.found_by_id();
        for id in self.commits.keys() {
            let must = self.is_kept(*id) && found_by_id.contains(id);
            self.says(&Target::Commit(*id), *id, must).await?;
        }
        for (tag, id) in &self.tags {
            let tag = TagName::parse(tag).unwrap();
            self.says(&Target::Tag(tag), *id, true).await?;
        }
        for branch in self.heads.keys() {
            for number in (0..self.order.len()).step_by(3) {
                let branch = super::pair::index_of(branch);
                let commit = number;
                self.look(Point::Time { branch, commit }).await?;
            }
            let page = self.world.graph.commits(branch, None, None).await;
            for commit in page.unwrap().commits {
                let known = self.commits.contains_key(&commit.id);
                prop_assert!(known, "{} of {branch} is nobody's", commit.id);
            }
        }
        let report = self.world.fsck().await;
        prop_assert!(report.is_sound(), "{report:#?}");
        Ok(())
    }

    /// In the end, what is left over can be removed, and nothing else goes.
    pub(super) async fn finish(&mut self) -> Checked {
        self.check_history().await?;
        self.world.collect().await;
        self.world.collect().await;
        self.collected(1_000_000);
        self.check().await?;
        self.check_history().await?;
        let report = self.world.fsck().await;
        prop_assert_eq!(report.unreferenced_objects, 0, "{:#?}", report);
        Ok(())
    }

    pub(super) async fn look(&self, point: Point) -> Checked {
        let (target, found) = self.resolve(point);
        match found {
            Some((id, must)) => self.says(&target, id, must).await,
            None => match self.read(&target).await {
                Ok(read) => Err(TestCaseError::fail(format!(
                    "{target:?} should not be there, and is {}",
                    read.commit
                ))),
                Err(error) => is_missing(&target, &error),
            },
        }
    }

    /// A target is a commit, and says what that says. If it need not be kept any more, it may say
    /// that it is gone.
    async fn says(&self, target: &Target, id: CommitId, must: bool) -> Checked {
        let known = &self.commits[&id];
        match self.read(target).await {
            Ok(read) => {
                prop_assert_eq!(read.commit, id, "{:?}", target);
                same(&read, known).map_err(|error| {
                    TestCaseError::fail(format!("{target:?}, commit {id}: {error}"))
                })
            }
            Err(error) if must => Err(TestCaseError::fail(format!(
                "{target:?}, commit {id}, must be readable: {error} {:?}",
                error.kind()
            ))),
            Err(error) => is_missing(target, &error),
        }
    }

    async fn read(&self, target: &Target) -> Result<Read> {
        let graph = &self.world.graph;
        let snapshot = graph.snapshot(target, &ReadOptions::default()).await?;
        let chunks = graph.export(&snapshot, &[]).await?;
        let chunks: Vec<bytes::Bytes> = chunks.try_collect().await?;
        let text = String::from_utf8(chunks.concat()).unwrap();
        let mut read = Read {
            commit: snapshot.commit_id(),
            data: Data::default(),
            extra: None,
        };
        for line in text.lines() {
            read.take(&serde_json::from_str(line).unwrap());
        }
        Ok(read)
    }

    /// What a branch says now.
    pub(super) async fn data_of(&self, branch: &BranchName) -> Data {
        let target = Target::Branch(branch.clone());
        self.read(&target).await.unwrap().data
    }
}

impl Read {
    fn take(&mut self, line: &Value) {
        let of = |name: &str| line["data"][name].as_i64();
        if line["type"].is_string() {
            let name = line["data"]["name"].as_str().unwrap().to_owned();
            let extra = ["level", "rank"]
                .into_iter()
                .find(|name| line["data"].get(*name).is_some());
            let row = Row {
                size: of("size"),
                extra: extra.and_then(of),
            };
            self.extra = extra.map(str::to_owned);
            self.data.packages.insert(name, row);
        } else {
            let end = |name: &str| line[name].as_str().unwrap().to_owned();
            let ends = (end("from"), end("to"));
            self.data.edges.insert(ends, of("floor"));
        }
    }
}

fn same(read: &Read, known: &Known) -> Checked {
    prop_assert_eq!(&read.data, &known.data);
    let Schema { extra, .. } = &known.schema;
    if !known.data.packages.is_empty() {
        let name = extra.as_ref().map(|extra| extra.name);
        prop_assert_eq!(read.extra.as_deref(), name);
    }
    Ok(())
}

/// Never a file that is missing: what is gone says so.
fn is_missing(target: &Target, error: &Error) -> Checked {
    let clear = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ChangeFeedGap);
    prop_assert!(clear, "{:?}: {} {:?}", target, error, error.kind());
    Ok(())
}
