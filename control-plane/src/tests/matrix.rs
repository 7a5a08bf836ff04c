//! Every operation × every step × (fails, crashes, its write fails before or after it took effect)
//! × (the same process goes on, another one does, a new leader takes over). Whatever happens, the
//! same operation again converges, nothing unfinished is left, and the graphs are right.

use std::sync::atomic::{AtomicUsize, Ordering};

use omnigraph_proto::control::v1::{ImportRequest, RefreshRequest, RollbackRequest};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::faults::{Fault, Op};
use super::*;
use crate::catalog::BlobKind;
use crate::error::ErrorKind;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Create,
    Schema,
    Approve,
    Delete,
    Recreate,
    Import,
    Refresh,
    Rollback,
    Recovery,
}

/// How a step goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    Fails,
    Crashes,
}

/// Who goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Same,
    Another,
    Leader,
}

impl Operation {
    /// The steps, in their order.
    fn points(self) -> &'static [Point] {
        match self {
            Operation::Create => &[
                Point::Catalogued,
                Point::Prepared,
                Point::Publishing,
                Point::Published,
            ],
            Operation::Schema | Operation::Rollback => &[
                Point::Catalogued,
                Point::Prepared,
                Point::Staged,
                Point::Armed,
                Point::Checked,
                Point::Acted,
                Point::Recorded,
                Point::Disarmed,
            ],
            Operation::Approve => &[Point::Approving, Point::Approved],
            Operation::Delete | Operation::Recreate => &[
                Point::Catalogued,
                Point::Prepared,
                Point::Publishing,
                Point::Published,
                Point::Ended,
                Point::Consumed,
            ],
            Operation::Import => &[Point::Catalogued, Point::Publishing, Point::Published],
            Operation::Refresh => &[Point::Publishing, Point::Published],
            Operation::Recovery => &[Point::Fenced, Point::RolledForward],
        }
    }

    /// The world before it.
    async fn prepare(self) -> World {
        let world = World::new().await;
        let plane = world.plane("first");
        let second = !matches!(self, Operation::Create | Operation::Schema);
        let begin = if second {
            two(SCHEMA)
        } else {
            shop(SCHEMA, QUERIES)
        };
        apply(&plane, begin).await.unwrap();
        world.mutate("shop", STOCK).await;
        match self {
            Operation::Delete => {
                approve(&plane, "graph.side", shop(SCHEMA, QUERIES))
                    .await
                    .unwrap();
            }
            Operation::Recreate => {
                let root = world.root("side").await.unwrap();
                world.erase(&root.path()).await;
                approve(&plane, "graph.side", two(SCHEMA)).await.unwrap();
            }
            Operation::Import => world.erase("cluster").await,
            Operation::Refresh => {
                let blobs = world.newest().await.content.blobs();
                let query = blobs.iter().find(|(_, _, kind)| *kind == BlobKind::Query);
                let digest = query.unwrap().1.to_string();
                world
                    .erase_one(&format!("cluster/catalog/{digest}.gq"))
                    .await;
            }
            Operation::Rollback => {
                apply(&plane, self.moved()).await.unwrap();
            }
            Operation::Recovery => {
                recovery::crash_with(&world, Point::Acted, self.moved()).await;
            }
            Operation::Create | Operation::Schema | Operation::Approve => {}
        }
        world
    }

    /// Both graphs, with the shop's schema moved.
    fn moved(self) -> ConfigBundle {
        let mut moved = two(SCHEMA);
        moved.files[1].content = WIDER.as_bytes().to_vec().into();
        moved.files[3].content = COLOURS.as_bytes().to_vec().into();
        moved
    }

    /// What is declared once it is done.
    fn declares(self) -> ConfigBundle {
        match self {
            Operation::Schema => shop(WIDER, COLOURS),
            Operation::Delete => shop(SCHEMA, QUERIES),
            Operation::Recovery => self.moved(),
            Operation::Create
            | Operation::Approve
            | Operation::Recreate
            | Operation::Import
            | Operation::Refresh
            | Operation::Rollback => two(SCHEMA),
        }
    }

    /// Runs it; whether it says that all went well.
    async fn run(self, plane: &ControlPlane) -> Result<bool, Error> {
        match self {
            Operation::Approve => {
                let approved = approve(plane, "graph.side", shop(SCHEMA, QUERIES)).await;
                approved.map(|_| true)
            }
            Operation::Import => {
                let request = ImportRequest {
                    bundle: Some(self.declares()),
                    lock_timeout_ms: 10_000,
                    ..ImportRequest::default()
                };
                match plane.import(&request, Some("tester")).await {
                    Ok(_) => Ok(true),
                    // It has been done, whatever its caller was told.
                    Err(error) if error.kind() == ErrorKind::Invalid => Ok(true),
                    Err(error) => Err(error),
                }
            }
            Operation::Refresh => {
                let request = RefreshRequest {
                    lock_timeout_ms: 10_000,
                    ..RefreshRequest::default()
                };
                plane.refresh(&request, Some("tester")).await.map(|_| true)
            }
            Operation::Rollback => {
                let request = RollbackRequest {
                    to_revision: 1,
                    lock_timeout_ms: 10_000,
                    ..RollbackRequest::default()
                };
                let result = roll_back(plane, request).await?.result;
                Ok(result.ok && result.converged)
            }
            _ => {
                let result = apply(plane, self.declares()).await?.result;
                Ok(result.ok && result.converged)
            }
        }
    }

    /// What must hold once it has been repeated.
    async fn check(self, world: &World, cell: &str) {
        let plane = world.plane("observer");
        if self == Operation::Refresh {
            let seen = &world.newest().await.content.observations;
            assert_eq!(seen.len(), 1, "{cell}: {seen:?}");
        }
        if self == Operation::Approve {
            let usable = plane.shared().approvals.usable().await.unwrap();
            assert!(!usable.is_empty(), "{cell}");
        }
        let told = apply(&plane, self.declares()).await.unwrap();
        assert!(
            told.result.ok && told.result.converged,
            "{cell}: {:?}",
            told.result
        );
        let heals = self == Operation::Refresh;
        assert_eq!(told.result.state_written, heals, "{cell}: {:?}", told.plan);
        let again = apply(&plane, self.declares()).await.unwrap();
        assert!(!again.result.state_written, "{cell}");
        let wider = matches!(self, Operation::Schema | Operation::Recovery);
        assert_settled(world, if wider { WIDER } else { SCHEMA }).await;
        assert_eq!(world.items("shop").await, 3, "{cell}");
        let side = !matches!(self, Operation::Schema | Operation::Delete);
        assert_eq!(world.root("side").await.is_some(), side, "{cell}");
        let status = plane.status().await.unwrap();
        assert!(
            status.converged && status.recoveries.is_empty(),
            "{cell}: {status:?}"
        );
        assert!(
            status.resources.iter().all(|r| r.status == "applied"),
            "{cell}: {status:?}"
        );
        if matches!(self, Operation::Delete | Operation::Recreate) {
            let listed = plane.shared().approvals.list().await.unwrap().approvals;
            assert!(listed.iter().all(|a| a.consumed.is_some()), "{cell}");
        }
        self.check_history(world, cell).await;
    }

    /// One revision, whatever happened: nothing is applied twice, and nothing is missing between.
    async fn check_history(self, world: &World, cell: &str) {
        let page = world
            .plane("observer")
            .revisions(100, "", false)
            .await
            .unwrap();
        let numbers: Vec<_> = page.revisions.iter().map(|r| r.revision).collect();
        let newest = numbers[0];
        assert_eq!(numbers, (1..=newest).rev().collect::<Vec<_>>(), "{cell}");
        let mut digests: Vec<_> = page
            .revisions
            .iter()
            .map(|r| r.serving_digest.clone())
            .collect();
        digests.dedup();
        let before = match self {
            Operation::Import => 0,
            Operation::Rollback => 2,
            _ => 1,
        };
        let moves = usize::from(!matches!(self, Operation::Approve | Operation::Refresh));
        assert_eq!(digests.len(), before + moves, "{cell}: served revisions");
    }
}

/// Runs every step of an operation into every mishap.
async fn walk(operation: Operation) {
    let mut cells = 0;
    for point in operation.points() {
        for (mishap, next) in [
            (Mishap::Fails, Next::Same),
            (Mishap::Fails, Next::Leader),
            (Mishap::Crashes, Next::Another),
            (Mishap::Crashes, Next::Leader),
        ] {
            let cell = format!("{operation:?} {point:?} {mishap:?} {next:?}");
            let world = operation.prepare().await;
            let plane = meet(operation, &world, *point, mishap, &cell).await;
            go_on(operation, &world, plane, next, &cell).await;
            operation.check(&world, &cell).await;
            cells += 1;
        }
    }
    println!("{operation:?}: {cells} cells of steps");
}

/// The operation meets a mishap at a point, which must be on its way.
async fn meet(
    operation: Operation,
    world: &World,
    point: Point,
    mishap: Mishap,
    cell: &str,
) -> ControlPlane {
    let (hit, mut seen) = mpsc::channel::<()>(1);
    let armed = parking_lot::Mutex::new(true);
    let decide = move |at| {
        let first = at == point && std::mem::replace(&mut *armed.lock(), at != point);
        first.then(|| {
            let _ = hit.try_send(());
            match mishap {
                Mishap::Fails => Action::Fail,
                Mishap::Crashes => Action::Hang,
            }
        })
    };
    let plane = world.plane_with("unlucky", Failpoints::new(decide));
    let bound = Duration::from_secs(30);
    match mishap {
        Mishap::Fails => {
            // What it says does not matter: the caller may never hear it.
            let _ = operation.run(&plane).await;
            assert!(seen.try_recv().is_ok(), "{cell}: the point is on the way");
        }
        Mishap::Crashes => {
            let dying = plane.clone();
            let running = tokio::spawn(async move { operation.run(&dying).await });
            let reached = tokio::time::timeout(bound, seen.recv()).await;
            assert!(reached.is_ok(), "{cell}: the point is on the way");
            running.abort();
            let _ = running.await;
        }
    }
    plane
}

/// The operation again, by whoever goes on.
async fn go_on(operation: Operation, world: &World, same: ControlPlane, next: Next, cell: &str) {
    let stop = CancellationToken::new();
    let (plane, leading) = match next {
        Next::Same => (same, None),
        Next::Another => (world.plane("another"), None),
        Next::Leader => {
            let leader = world.plane("leader");
            let leading = leader.spawn_leading(stop.clone());
            eventually("taking the lead", || async { leader.is_leading() }).await;
            (leader, Some(leading))
        }
    };
    let outcome = operation.run(&plane).await;
    assert!(matches!(outcome, Ok(true)), "{cell}: {outcome:?}");
    if let Some(leading) = leading {
        stop.cancel();
        leading.await.unwrap();
    }
}

/// Whether a request is a durable step of the control plane itself. Heartbeats come by the clock.
fn is_step(op: Op, path: &str) -> bool {
    let ours = path.contains("cluster/") && !path.contains("cluster/heartbeat");
    ours && matches!(op, Op::Put | Op::Delete)
}

/// Lets every single write of an operation fail, before and after it took effect.
async fn fail_writes(operation: Operation) {
    let world = operation.prepare().await;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    world.faults.set(move |op, path| {
        if is_step(op, path) {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        None
    });
    assert!(matches!(
        operation.run(&world.plane("clean")).await,
        Ok(true)
    ));
    let writes = count.load(Ordering::Relaxed);
    assert!(writes > 0);
    for nth in 0..writes {
        for fault in [Fault::Before, Fault::After] {
            let cell = format!("{operation:?} write {nth} fails {fault:?}");
            let world = operation.prepare().await;
            let seen = AtomicUsize::new(0);
            world.faults.set(move |op, path| {
                let now = is_step(op, path) && seen.fetch_add(1, Ordering::Relaxed) == nth;
                now.then_some(fault)
            });
            let plane = world.plane("unlucky");
            let _ = operation.run(&plane).await;
            world.faults.clear();
            go_on(operation, &world, plane, Next::Another, &cell).await;
            operation.check(&world, &cell).await;
        }
    }
    println!("{operation:?}: {} cells of writes", 2 * writes);
}

macro_rules! matrix {
    ($($name:ident: $operation:ident),+ $(,)?) => {
        $(mod $name {
            #[tokio::test]
            async fn every_step_fails_and_crashes() {
                super::walk(super::Operation::$operation).await;
            }

            #[tokio::test]
            async fn every_write_fails() {
                super::fail_writes(super::Operation::$operation).await;
            }
        })+
    };
}

matrix! {
    creating: Create,
    moving_a_schema: Schema,
    approving: Approve,
    deleting: Delete,
    recreating: Recreate,
    importing: Import,
    refreshing: Refresh,
    rolling_back: Rollback,
    recovering: Recovery,
}
