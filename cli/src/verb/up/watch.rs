//! `up --watch`: an edit of a declared file is checked and applied as it is saved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use omnigraph_control_plane::bundle;
use omnigraph_proto::common::v1::diagnostic::Severity;
use omnigraph_proto::control::v1 as pb;
use tokio_util::sync::CancellationToken;

use super::apply;
use super::planes::Planes;
use super::say::Say;
use crate::client::control::ControlClient;
use crate::client::embedded;
use crate::error::{Error, Result, diagnostic_line};

/// Between two looks; also how long the files must stand still before they are read.
const LOOK: Duration = Duration::from_millis(300);
/// An edit is served within this time, or said to be late.
const SERVE_BOUND: Duration = Duration::from_secs(30);

/// What the files looked like: an editor that saves changes time or size.
type Seen = BTreeMap<PathBuf, Option<(SystemTime, u64)>>;

/// Applies edits until it is told to stop.
pub(crate) async fn follow(
    dir: &Path,
    control: &mut ControlClient,
    planes: &Planes,
    say: &Say,
    stop: CancellationToken,
) -> Result<()> {
    let mut applied = look(dir);
    say.watching(applied.values().flatten().count());
    let mut before = applied.clone();
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK) => {}
        }
        let now = look(dir);
        let still = now == before;
        before = now;
        if !still || before == applied {
            continue;
        }
        applied = before.clone();
        let started = Instant::now();
        match edit(dir, control).await {
            Ok(None) => {}
            Ok(Some(revision)) => {
                let served = planes.replica.takes_up(revision, SERVE_BOUND).await;
                say.took_up(revision, served, started.elapsed())?;
            }
            Err(error) => {
                let mut why = error.details.clone();
                if why.is_empty() {
                    why.push(error.message.clone());
                }
                say.refused(&why)?;
            }
        }
    }
}

/// Applies the directory as it is now, if all of it can be applied and nothing would be lost.
/// `None`: it is what is applied.
async fn edit(dir: &Path, control: &mut ControlClient) -> Result<Option<u64>> {
    let declared = embedded::bundle(dir)?;
    let request = pb::PlanRequest {
        bundle: Some(declared.clone()),
        ..pb::PlanRequest::default()
    };
    let plan = control.plan(request).await?;
    let against = objections(&plan);
    if !against.is_empty() {
        return Err(Error::failed("the edit cannot be applied").with_details(against));
    }
    if plan.changes.is_empty() {
        return Ok(None);
    }
    let result = apply(control, declared).await?;
    Ok(Some(result.revision))
}

fn objections(plan: &pb::Plan) -> Vec<String> {
    let found = plan.diagnostics.iter();
    let errors = found.filter(|d| d.severity() == Severity::Error);
    let mut against: Vec<String> = errors.map(|d| diagnostic_line(&d.into())).collect();
    for change in &plan.changes {
        let resource = &change.resource;
        if change.disposition() == pb::Disposition::Blocked && against.is_empty() {
            against.push(format!("{resource}: {}", change.reason));
        }
        if change.disposition() == pb::Disposition::ApprovalRequired {
            against.push(format!("{resource}: needs an approval"));
        }
        let steps = change.migration.iter().flat_map(|m| &m.steps);
        for step in steps.filter(|step| step.destructive) {
            against.push(format!(
                "{resource}: {} would lose data; use omnigraphctl apply",
                step.summary
            ));
        }
    }
    against
}

fn look(dir: &Path) -> Seen {
    let mut seen = Seen::new();
    for path in bundle::watched_files(dir) {
        let metadata = std::fs::metadata(&path).ok();
        let state = metadata.and_then(|m| Some((m.modified().ok()?, m.len())));
        seen.insert(path, state);
    }
    seen
}
