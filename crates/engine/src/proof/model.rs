//! Random operations on branches against a model that is a few maps: after every step each branch
//! says what the model says, every earlier commit still says what it said, and the graph is sound.

use std::collections::{BTreeMap, BTreeSet};

use futures::TryStreamExt;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError};
use serde_json::Value;

use super::world::{World, load};
use crate::engine::Authorship;
use crate::error::{ErrorKind, Result};
use crate::graph::{
    BranchName, Commit, CommitId, MergeOptions, OptimizeOptions, ReadOptions, Target, WriteOptions,
};
use crate::write::LoadMode;

const SCHEMA: &str = "
node Package { name: String @key  size: I32? }
edge DependsOn: Package -> Package { floor: I32?  @key(src, dst) }
";
/// Names of packages.
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Names of branches beside `main`.
const BRANCHES: [&str; 3] = ["x", "y", "z/deep"];

/// What one commit says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Data {
    packages: BTreeMap<String, Option<i64>>,
    edges: BTreeMap<(String, String), Option<i64>>,
}

#[derive(Clone, Debug)]
enum Step {
    Put {
        branch: usize,
        name: usize,
        size: i64,
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
    Drop {
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
        from: usize,
    },
    Delete {
        branch: usize,
    },
    Merge {
        from: usize,
        into: usize,
    },
    Optimize {
        branch: usize,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let branch = || 0..=BRANCHES.len();
    let name = || 0..NAMES.len();
    let size = || 0..3_i64;
    prop_oneof![
        4 => (branch(), name(), size()).prop_map(|(branch, name, size)| Step::Put { branch, name, size }),
        3 => (branch(), name(), name(), size()).prop_map(|(branch, from, to, floor)| Step::Link { branch, from, to, floor }),
        1 => (branch(), name()).prop_map(|(branch, from)| Step::Unlink { branch, from }),
        2 => (branch(), name()).prop_map(|(branch, name)| Step::Drop { branch, name }),
        1 => (branch(), prop::collection::vec(name(), 1..4), size()).prop_map(|(branch, names, size)| Step::Load { branch, names, size }),
        3 => (branch(), branch()).prop_map(|(branch, from)| Step::Create { branch, from }),
        1 => branch().prop_map(|branch| Step::Delete { branch }),
        4 => (branch(), branch()).prop_map(|(from, into)| Step::Merge { from, into }),
        1 => branch().prop_map(|branch| Step::Optimize { branch }),
        1 => Just(Step::Reopen),
    ]
}

fn branch_name(index: usize) -> BranchName {
    match index.checked_sub(1) {
        None => BranchName::main(),
        Some(index) => BranchName::parse(BRANCHES[index]).unwrap(),
    }
}

/// The graph, and what it should say.
struct Pair {
    world: World,
    /// Heads of living branches.
    heads: BTreeMap<BranchName, CommitId>,
    /// What every commit that was ever a head says.
    commits: BTreeMap<CommitId, Data>,
}

impl Pair {
    async fn new() -> Self {
        let world = World::new(SCHEMA).await;
        let main = BranchName::main();
        let head = world.graph.branch(&main).await.unwrap().head.id;
        Self {
            world,
            heads: BTreeMap::from([(main, head)]),
            commits: BTreeMap::from([(head, Data::default())]),
        }
    }

    fn data(&self, branch: &BranchName) -> Option<Data> {
        self.heads
            .get(branch)
            .map(|head| self.commits[head].clone())
    }

    /// A write that the model foresees: `Some`, and the state it leaves behind; `None`: refused.
    fn expect(
        &mut self,
        branch: &BranchName,
        answer: Result<Option<Commit>>,
        data: Option<Data>,
    ) -> std::result::Result<(), TestCaseError> {
        match (answer, data) {
            (Ok(commit), Some(data)) => {
                if let Some(commit) = commit {
                    self.commits.insert(commit.id, data.clone());
                    self.heads.insert(branch.clone(), commit.id);
                }
                prop_assert_eq!(self.data(branch), Some(data), "no commit, but a change");
                Ok(())
            }
            (Err(_), None) => Ok(()),
            (Ok(_), None) => Err(TestCaseError::fail("it should have been refused")),
            (Err(error), Some(_)) => Err(TestCaseError::fail(format!("refused: {error}"))),
        }
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

    async fn step(&mut self, step: &Step) -> std::result::Result<(), TestCaseError> {
        match step {
            Step::Put { branch, name, size } => {
                let (branch, name) = (branch_name(*branch), NAMES[*name]);
                let next = self.data(&branch).map(|mut data| {
                    data.packages.insert(name.to_owned(), Some(*size));
                    data
                });
                let line =
                    format!(r#"{{"type":"Package","data":{{"name":"{name}","size":{size}}}}}"#);
                let answer = self.load(&branch, &line).await;
                self.expect(&branch, answer, next)
            }
            Step::Load {
                branch,
                names,
                size,
            } => {
                let branch = branch_name(*branch);
                let names: BTreeSet<&str> = names.iter().map(|name| NAMES[*name]).collect();
                let next = self.data(&branch).map(|mut data| {
                    let named = names.iter().map(|name| ((*name).to_owned(), Some(*size)));
                    data.packages.extend(named);
                    data
                });
                let lines: Vec<String> = names
                    .iter()
                    .map(|name| {
                        format!(r#"{{"type":"Package","data":{{"name":"{name}","size":{size}}}}}"#)
                    })
                    .collect();
                let answer = self.load(&branch, &lines.join("\n")).await;
                self.expect(&branch, answer, next)
            }
            Step::Link {
                branch,
                from,
                to,
                floor,
            } => {
                let branch = branch_name(*branch);
                let ends = (NAMES[*from].to_owned(), NAMES[*to].to_owned());
                // An insert under a key that exists replaces what is there.
                let next = self.data(&branch).filter(|data| {
                    let packages = &data.packages;
                    packages.contains_key(&ends.0) && packages.contains_key(&ends.1)
                });
                let next = next.map(|mut data| {
                    data.edges.insert(ends.clone(), Some(*floor));
                    data
                });
                let source = format!(
                    r#"query q() {{ insert DependsOn {{ from: "{}", to: "{}", floor: {floor} }} }}"#,
                    ends.0, ends.1
                );
                let answer = self.mutate(&branch, &source).await;
                self.expect(&branch, answer, next)
            }
            Step::Unlink { branch, from } => {
                let (branch, from) = (branch_name(*branch), NAMES[*from]);
                let next = self.data(&branch).map(|mut data| {
                    data.edges.retain(|(source, _), _| source != from);
                    data
                });
                let source = format!(r#"query q() {{ delete DependsOn where from = "{from}" }}"#);
                let answer = self.mutate(&branch, &source).await;
                self.expect(&branch, answer, next)
            }
            Step::Drop { branch, name } => {
                let (branch, name) = (branch_name(*branch), NAMES[*name]);
                let next = self.data(&branch).map(|mut data| {
                    data.packages.remove(name);
                    data.edges
                        .retain(|(from, to), _| from != name && to != name);
                    data
                });
                let source = format!(r#"query q() {{ delete Package where name = "{name}" }}"#);
                let answer = self.mutate(&branch, &source).await;
                self.expect(&branch, answer, next)
            }
            Step::Create { branch, from } => self.create(*branch, *from).await,
            Step::Delete { branch } => self.delete(*branch).await,
            Step::Merge { from, into } => self.merge(*from, *into).await,
            Step::Optimize { branch } => {
                let branch = branch_name(*branch);
                let Some(data) = self.data(&branch) else {
                    return Ok(());
                };
                let options = OptimizeOptions::default();
                let done = self.world.graph.optimize(&branch, &options, &|_| {}).await;
                let commit = done.map(|done| done.commit);
                self.expect(&branch, commit, Some(data))
            }
            Step::Reopen => {
                let engine = self.world.engine.without_caches();
                self.world.graph = engine.open_graph(&self.world.root).await.unwrap();
                Ok(())
            }
        }
    }

    async fn load(&self, branch: &BranchName, lines: &str) -> Result<Option<Commit>> {
        let graph = &self.world.graph;
        let before = graph.branch(branch).await?.head;
        load(graph, branch.as_str(), LoadMode::Merge, None, lines).await?;
        let head = graph.branch(branch).await?.head;
        Ok((head.id != before.id).then_some(head))
    }

    async fn create(
        &mut self,
        branch: usize,
        from: usize,
    ) -> std::result::Result<(), TestCaseError> {
        let (branch, from) = (branch_name(branch), branch_name(from));
        let legal = self.heads.contains_key(&from) && !self.heads.contains_key(&branch);
        let target = Target::Branch(from.clone());
        let made = self
            .world
            .graph
            .create_branch(&branch, &target, &Authorship::default())
            .await;
        prop_assert_eq!(made.is_ok(), legal, "{:?}", made);
        if legal {
            self.heads.insert(branch, self.heads[&from]);
        }
        Ok(())
    }

    async fn delete(&mut self, branch: usize) -> std::result::Result<(), TestCaseError> {
        let branch = branch_name(branch);
        let legal = !branch.is_main() && self.heads.contains_key(&branch);
        let by = Authorship::default();
        let gone = self.world.graph.delete_branch(&branch, None, &by).await;
        prop_assert_eq!(gone.is_ok(), legal, "{:?}", gone);
        if legal {
            self.heads.remove(&branch);
        }
        Ok(())
    }

    async fn merge(&mut self, from: usize, into: usize) -> std::result::Result<(), TestCaseError> {
        let (from, into) = (branch_name(from), branch_name(into));
        let (theirs, ours) = (self.data(&from), self.data(&into));
        let options = MergeOptions::default();
        let answer = self.world.graph.merge(&from, &into, &options).await;
        let (Some(theirs), Some(ours)) = (theirs, ours) else {
            prop_assert!(answer.is_err());
            return Ok(());
        };
        if from == into {
            prop_assert!(answer.is_err());
            return Ok(());
        }
        let base = match &answer {
            Ok(merged) => merged.merge_base,
            Err(error) => {
                prop_assert_eq!(error.kind(), ErrorKind::MergeConflict, "{}", error);
                let dry = MergeOptions {
                    dry_run: true,
                    ..MergeOptions::default()
                };
                let dry = self.world.graph.merge(&from, &into, &dry).await;
                match dry {
                    Ok(dry) => dry.merge_base,
                    Err(error) => return Err(TestCaseError::fail(format!("dry run: {error}"))),
                }
            }
        };
        let Some(base) = self.commits.get(&base).cloned() else {
            return Err(TestCaseError::fail("the merge base was never a head"));
        };
        match (answer, merged(&base, &ours, &theirs)) {
            (Ok(answer), Some(data)) => self.expect(&into, Ok(answer.commit), Some(data)),
            (Err(_), None) => Ok(()),
            (Ok(_), None) => Err(TestCaseError::fail("the merge should conflict")),
            (Err(error), Some(data)) => Err(TestCaseError::fail(format!(
                "should give {data:?}: {error}"
            ))),
        }
    }

    /// Branches, earlier commits, and the graph as a whole.
    async fn check(&self) -> std::result::Result<(), TestCaseError> {
        let listed = self.world.graph.branches().await.unwrap();
        let listed: BTreeSet<BranchName> = listed.into_iter().map(|b| b.name).collect();
        let living: BTreeSet<BranchName> = self.heads.keys().cloned().collect();
        prop_assert_eq!(listed, living);
        for (branch, head) in &self.heads {
            let said = self.read(&Target::Branch(branch.clone())).await;
            prop_assert_eq!(&said, &self.commits[head], "branch {}", branch);
        }
        Ok(())
    }

    async fn check_history(&self) -> std::result::Result<(), TestCaseError> {
        for branch in self.heads.keys() {
            let page = self.world.graph.commits(branch, None, None).await.unwrap();
            for commit in page.commits {
                let Some(data) = self.commits.get(&commit.id) else {
                    return Err(TestCaseError::fail(format!("{} is nobody's", commit.id)));
                };
                let said = self.read(&Target::Commit(commit.id)).await;
                prop_assert_eq!(&said, data, "commit {}", commit.id);
            }
        }
        let report = self.world.fsck().await;
        prop_assert!(report.is_sound(), "{:#?}", report);
        Ok(())
    }

    async fn read(&self, target: &Target) -> Data {
        let graph = &self.world.graph;
        let snapshot = graph
            .snapshot(target, &ReadOptions::default())
            .await
            .unwrap();
        let chunks = graph.export(&snapshot, &[]).await.unwrap();
        let chunks: Vec<bytes::Bytes> = chunks.try_collect().await.unwrap();
        let text = String::from_utf8(chunks.concat()).unwrap();
        let mut data = Data::default();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let of = |name: &str| line["data"][name].as_i64();
            if line["type"].is_string() {
                let name = line["data"]["name"].as_str().unwrap().to_owned();
                data.packages.insert(name, of("size"));
            } else {
                let end = |name: &str| line[name].as_str().unwrap().to_owned();
                data.edges.insert((end("from"), end("to")), of("floor"));
            }
        }
        data
    }
}

/// The merge of the model; `None` is a conflict.
fn merged(base: &Data, ours: &Data, theirs: &Data) -> Option<Data> {
    let data = Data {
        packages: merge_maps(&base.packages, &ours.packages, &theirs.packages)?,
        edges: merge_maps(&base.edges, &ours.edges, &theirs.edges)?,
    };
    let whole = data
        .edges
        .keys()
        .all(|(from, to)| data.packages.contains_key(from) && data.packages.contains_key(to));
    whole.then_some(data)
}

fn merge_maps<K: Ord + Clone, V: Eq + Clone>(
    base: &BTreeMap<K, V>,
    ours: &BTreeMap<K, V>,
    theirs: &BTreeMap<K, V>,
) -> Option<BTreeMap<K, V>> {
    let keys: BTreeSet<&K> = base
        .keys()
        .chain(ours.keys())
        .chain(theirs.keys())
        .collect();
    let mut merged = BTreeMap::new();
    for key in keys {
        let (b, o, t) = (base.get(key), ours.get(key), theirs.get(key));
        let value = if o == t || t == b {
            o
        } else if o == b {
            t
        } else {
            return None;
        };
        if let Some(value) = value {
            merged.insert(key.clone(), value.clone());
        }
    }
    Some(merged)
}

async fn run(steps: Vec<Step>) -> std::result::Result<(), TestCaseError> {
    let mut pair = Pair::new().await;
    let first = [
        Step::Put {
            branch: 0,
            name: 0,
            size: 0,
        },
        Step::Put {
            branch: 0,
            name: 1,
            size: 0,
        },
        Step::Create { branch: 1, from: 0 },
        Step::Create { branch: 2, from: 0 },
    ];
    for step in first.iter().chain(&steps) {
        pair.step(step)
            .await
            .map_err(|error| TestCaseError::fail(format!("{step:?}: {error}")))?;
        pair.check()
            .await
            .map_err(|error| TestCaseError::fail(format!("after {step:?}: {error}")))?;
    }
    pair.check_history().await
}

proptest! {
    #![proptest_config(Config { cases: 24, max_shrink_iters: 200, ..Config::default() })]

    #[test]
    fn branches_say_what_the_model_says(steps in prop::collection::vec(step(), 5..30)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_stack_size(8 << 20)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run(steps))?;
    }
}
