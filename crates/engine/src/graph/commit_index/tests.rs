//! Finding commits costs the same in short and long histories, and segments only ever help.

use super::segment::commit_of;
use super::*;
use crate::engine::{Authorship, Engine, EngineOptions};
use crate::error::ErrorKind;
use crate::graph::branch::entry;
use crate::graph::model::{BranchEvent, Commit, CommitKind, ParentRef};
use crate::graph::writer::{append_deadline, commit_event};
use crate::graph::{CommitId, Graph, GraphId, MergeOptions, Target};
use crate::store::{RequestCounts, StoreOptions};

const SCHEMA: &str = "node Person { name: String @key }";

struct Fixture {
    store: Store,
    root: GraphRoot,
    graph: Graph,
}

async fn fixture() -> Fixture {
    let store = Store::open("memory://index", StoreOptions::default())
        .await
        .unwrap();
    let engine = engine(&store);
    let id = GraphId::parse("people").unwrap();
    let root = engine
        .create_graph(&id, SCHEMA, &Authorship::default())
        .await
        .unwrap();
    let graph = engine.open_graph(&root).await.unwrap();
    Fixture { store, root, graph }
}

fn engine(store: &Store) -> Engine {
    Engine::new(
        store.clone(),
        EngineOptions {
            cache_bytes: 64 << 20,
            ..EngineOptions::default()
        },
    )
}

fn name(text: &str) -> BranchName {
    BranchName::parse(text).unwrap()
}

/// Appends commits that change nothing, and answers with their ids.
async fn history(graph: &Graph, branch: &str, commits: usize) -> Vec<CommitId> {
    let branch = name(branch);
    let mut ids = Vec::new();
    for n in 0..commits {
        let head = graph.shared.branches.head(&branch).await.unwrap();
        let mut commit = Commit::clone(&head.commit);
        commit.id = CommitId::new();
        commit.branch = branch.clone();
        commit.parents = vec![head.at.clone()];
        commit.version += 1;
        commit.kind = CommitKind::Mutate;
        commit.created_at += n as i64;
        ids.push(commit.id);
        let event = commit_event(&head, commit);
        graph
            .append_event(&branch, Some(head.seq), event, append_deadline())
            .await
            .unwrap();
    }
    ids
}

impl Fixture {
    /// What another process, that knows nothing, pays to find a commit.
    async fn cold_cost(&self, id: &CommitId) -> RequestCounts {
        let graph = engine(&self.store).open_graph(&self.root).await.unwrap();
        let before = self.store.requests();
        assert_eq!(graph.commit(id).await.unwrap().id, *id);
        self.store.requests() - before
    }

    async fn is_missing(&self, id: &CommitId) -> RequestCounts {
        let graph = engine(&self.store).open_graph(&self.root).await.unwrap();
        let before = self.store.requests();
        let error = graph.commit(id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        self.store.requests() - before
    }

    async fn index(&self, branch: &str) -> usize {
        self.graph.index_commits(&name(branch)).await.unwrap()
    }

    async fn segments(&self) -> usize {
        self.graph.shared.commit_index.list().await.unwrap().len()
    }
}

#[tokio::test]
async fn finding_a_commit_costs_the_same_after_ten_and_after_two_thousand() {
    let f = fixture().await;
    let mut ids = history(&f.graph, "main", 10).await;
    let short = f.cold_cost(&ids[3]).await;
    // Listings of segments, of branches, of the log; the head; then seven entries back, which are
    // read ahead by two and four.
    assert_eq!((short.list, short.get, short.put), (3, 9, 0), "{short}");
    ids.extend(history(&f.graph, "main", 1_995).await);
    // 2,006 entries: forty small segments, which become two large ones.
    assert_eq!(f.index("main").await, 42);
    assert_eq!(f.segments().await, 2);
    for at in [0, 3, 500, 1_500, 1_990] {
        let long = f.cold_cost(&ids[at]).await;
        // The listing, the segment, the entry; then the head: its hint and what is above it.
        assert_eq!((long.list, long.get, long.put), (1, 10, 0), "{at}: {long}");
    }
    // The recent tail is walked.
    let tail = f.cold_cost(&ids[2_003]).await;
    // That there is no such commit is known without reading the history.
    let missing = f.is_missing(&CommitId::new()).await;
    assert_eq!((missing.list, missing.get), (2, 15), "{missing}");
    // One entry more or less is read ahead, as the answers come.
    assert!(tail.list == 2 && (9..=10).contains(&tail.get), "{tail}");
}

#[tokio::test]
async fn segments_are_made_once_and_only_of_full_size() {
    let f = fixture().await;
    history(&f.graph, "main", 48).await;
    assert_eq!(f.index("main").await, 0);
    history(&f.graph, "main", 2).await;
    assert_eq!(f.index("main").await, 1);
    let before = f.store.requests();
    assert_eq!(f.index("main").await, 0);
    // The head.
    assert_eq!((f.store.requests() - before).total(), 1);
    history(&f.graph, "main", 100).await;
    assert_eq!(f.index("main").await, 2);
    assert_eq!(f.segments().await, 3);
}

#[tokio::test]
async fn a_history_across_branches_is_found_by_segments_too() {
    let f = fixture().await;
    let mut ids = history(&f.graph, "main", 60).await;
    let by = Authorship::default();
    let review = name("review/x");
    let from = Target::Branch(name("main"));
    f.graph.create_branch(&review, &from, &by).await.unwrap();
    ids.extend(history(&f.graph, "review/x", 120).await);
    f.graph
        .merge(&review, &name("main"), &MergeOptions::default())
        .await
        .unwrap();
    f.graph.delete_branch(&review, None, &by).await.unwrap();
    ids.extend(history(&f.graph, "main", 60).await);
    assert_eq!(f.index("main").await, 2);
    assert_eq!(f.index("review/x").await, 2);
    for id in ids.iter().step_by(17) {
        f.cold_cost(id).await;
    }
    // Two segments and two recent tails instead of a hundred entries.
    assert_eq!(f.cold_cost(&ids[70]).await.get, 66);
}

/// The simpler rule, that a segment's word is enough, would find commits that no branch has.
#[tokio::test]
async fn a_commit_that_no_living_branch_has_is_not_found() {
    let f = fixture().await;
    history(&f.graph, "main", 5).await;
    let by = Authorship::default();
    let scratch = name("scratch");
    f.graph
        .create_branch(&scratch, &Target::default(), &by)
        .await
        .unwrap();
    let lost = history(&f.graph, "scratch", 60).await;
    assert_eq!(f.index("scratch").await, 1);
    f.cold_cost(&lost[10]).await;
    f.graph.delete_branch(&scratch, None, &by).await.unwrap();
    f.is_missing(&lost[10]).await;
    // The name lives again, with another history.
    f.graph
        .create_branch(&scratch, &Target::default(), &by)
        .await
        .unwrap();
    let found = history(&f.graph, "scratch", 60).await;
    f.index("scratch").await;
    f.is_missing(&lost[10]).await;
    f.cold_cost(&found[10]).await;
}

/// The simpler rule, to trust a segment, would answer with what it says.
#[tokio::test]
async fn a_segment_that_is_wrong_or_gone_does_no_harm() {
    let f = fixture().await;
    let ids = history(&f.graph, "main", 120).await;
    let log = f.graph.shared.branches.log(&name("main"));
    let entries = log.range(Seq(0), Seq(49)).await.unwrap();
    // It claims that a commit lies where another one does.
    let mut lying = entries.clone();
    for (at, (_, entry)) in lying.iter_mut().enumerate().skip(1) {
        if let BranchEvent::Commit { commit, .. } = &mut entry.event {
            commit.id = ids[(at + 60) % ids.len()];
        }
    }
    let lie = Segment::of(&name("main"), &lying).unwrap();
    f.graph.shared.commit_index.put(lie).await.unwrap();
    for at in [61, 100, 119] {
        f.cold_cost(&ids[at]).await;
    }
    // One that cannot be read, and one that is listed and gone.
    let index = &f.graph.shared.commit_index;
    let honest = Segment::of(&name("main"), &entries).unwrap();
    let path = index.path(&honest.name());
    let put = f
        .store
        .object_store()
        .put(&path, PutPayload::from_static(b"{"));
    put.await.unwrap();
    f.cold_cost(&ids[100]).await;
    let named = index.list().await.unwrap();
    f.store.object_store().delete(&path).await.unwrap();
    assert_eq!(named.len(), 2);
    assert!(f.graph.locate_commit(&ids[100]).await.is_ok());
}

#[tokio::test]
async fn truncated_history_is_not_found_and_not_indexed_again() {
    let f = fixture().await;
    let ids = history(&f.graph, "main", 130).await;
    assert_eq!(f.index("main").await, 2);
    for number in 0..75 {
        let file = format!(
            "graphs/people.omni/{}/branches/main/{number:020}.json",
            f.root.incarnation
        );
        f.store
            .object_store()
            .delete(&f.store.path(&file))
            .await
            .unwrap();
    }
    let floor = format!(
        "graphs/people.omni/{}/branches/main/floor-{:020}",
        f.root.incarnation, 75
    );
    let floor = f.store.path(&floor);
    let put = f
        .store
        .object_store()
        .put(&floor, PutPayload::from_static(b""));
    put.await.unwrap();
    f.is_missing(&ids[20]).await;
    f.cold_cost(&ids[80]).await;
    f.cold_cost(&ids[125]).await;
}

#[test]
fn a_name_says_what_the_segment_has() {
    let at = |seq: u64, id: CommitId| {
        let parent = ParentRef {
            branch: name("other"),
            incarnation: crate::graph::Incarnation(ulid::Ulid::from(7u128)),
            seq: Seq(3),
            id: CommitId(ulid::Ulid::from(1u128)),
        };
        let commit = Commit {
            id,
            branch: name("a/b"),
            parents: vec![parent],
            version: 1,
            actor: None,
            created_at: 0,
            message: None,
            kind: CommitKind::Load,
            schema: String::new(),
            schema_commit: id,
            control_epoch: 0,
            fences: None,
            idempotency: None,
            touched: Vec::new(),
            tables: std::collections::BTreeMap::new(),
        };
        let event = BranchEvent::Commit {
            incarnation: crate::graph::Incarnation(ulid::Ulid::from(9u128)),
            commit: Box::new(commit),
            created: crate::graph::model::CreatedRef::fresh(Seq(0), 0, None),
        };
        (Seq(seq), entry(event))
    };
    let ids: Vec<CommitId> = (5..8u128)
        .rev()
        .map(|n| CommitId(ulid::Ulid::from(n)))
        .collect();
    let entries: Vec<_> = ids.iter().zip(10..).map(|(id, seq)| at(seq, *id)).collect();
    assert!(commit_of(&entries[0].1).is_some());
    let segment = Segment::of(&name("a/b"), &entries).unwrap();
    let named = segment.name();
    assert_eq!(
        named.file(),
        "00000000000000000010-00000000000000000012-00000000000000000000000005-00000000000000000000000007.json"
    );
    assert_eq!(Name::parse("a%2Fb", &named.file()), Some(named.clone()));
    let bytes = segment.to_bytes().unwrap();
    assert_eq!(
        String::from_utf8(bytes.clone())
            .unwrap()
            .split("\"links\"")
            .next()
            .unwrap(),
        r#"{"format":1,"branch":"a/b","first":10,"last":12,"commits":[{"id":"00000000000000000000000005","seq":12,"incarnation":"00000000000000000000000009"},{"id":"00000000000000000000000006","seq":11,"incarnation":"00000000000000000000000009"},{"id":"00000000000000000000000007","seq":10,"incarnation":"00000000000000000000000009"}],"#
    );
    assert_eq!(Segment::read(&named, &bytes), Some(segment.clone()));
    assert_eq!(segment.find(&ids[0]).unwrap().seq, Seq(10));
    let other = Name {
        last: Seq(13),
        ..named
    };
    assert_eq!(Segment::read(&other, &bytes), None);
}
