//! What `up` says: addresses and events on stdout, the story for people on stderr.

use std::time::Duration;

use omnigraph_proto::control::v1 as pb;
use serde_json::{Value, json};

use super::planes::Planes;
use crate::args::Format;
use crate::client::shapes::LoadOutput;
use crate::error::{Result, diagnostic_line};
use crate::output::Output;
use crate::render;
use crate::render::words::{count, seconds};

pub(crate) struct Say {
    output: Output,
}

impl Say {
    pub(crate) fn new(output: Output) -> Say {
        Say { output }
    }

    pub(crate) fn listening(&self, planes: &Planes) -> Result<()> {
        let up = &planes.up;
        if self.output.format != Format::Table {
            return self.event(
                "listening",
                json!({"http": up.http, "grpc": up.grpc, "control": up.control}),
            );
        }
        self.output.data(&format!(
            "OMNIGRAPH_LISTEN_ADDR={}\nOMNIGRAPH_GRPC_ADDR={}\nOMNIGRAPH_CONTROL_ADDR={}\n",
            up.http, up.grpc, up.control
        ))
    }

    pub(crate) fn applied(&self, result: &pb::ApplyResult, elapsed: Duration) -> Result<()> {
        let what = match result.state_written {
            true => format!(
                "revision {} applied: {}",
                result.revision,
                count(u64::from(result.applied_count), "change")
            ),
            false => format!("revision {} is applied already", result.revision),
        };
        self.done(&what, elapsed);
        for diagnostic in &result.diagnostics {
            self.output.warn(&diagnostic_line(&diagnostic.into()));
        }
        if !result.converged {
            self.output
                .warn("not everything could be applied: omnigraphctl plan says why");
        }
        self.event("applied", render::json::result(result))
    }

    pub(crate) fn ready(&self, elapsed: Duration) -> Result<()> {
        self.done("ready", elapsed);
        self.event("ready", json!({}))
    }

    pub(crate) fn loaded(&self, graph: &str, loaded: &LoadOutput, elapsed: Duration) -> Result<()> {
        let entities = count(loaded.total_entities, "entity");
        self.done(
            &format!("loaded {entities} into {graph}@{}", loaded.branch),
            elapsed,
        );
        let commit = loaded.commit.as_ref().map(|c| &c.graph_commit_id);
        let event = json!({
            "graph_id": graph, "branch": loaded.branch,
            "total_entities": loaded.total_entities, "graph_commit_id": commit,
        });
        self.event("loaded", event)
    }

    /// There is data already.
    pub(crate) fn kept(&self, graph: &str) {
        self.output.note(&format!(
            "✓ {graph}@main has data already: --data is not loaded again (omnigraphctl load does)"
        ));
    }

    pub(crate) fn serving(&self, planes: &Planes) -> Result<()> {
        let up = &planes.up;
        self.output.note(&format!(
            "  HTTP http://{}   gRPC {}   control {}\n  try: omnigraphctl queries list",
            up.http, up.grpc, up.control
        ));
        self.event(
            "serving",
            json!({"http": up.http, "grpc": up.grpc, "control": up.control}),
        )
    }

    pub(crate) fn watching(&self, files: usize) {
        let files = count(files as u64, "file");
        self.output.note(&format!("watching {files}, Ctrl-C stops"));
    }

    /// An edit was applied and is served.
    pub(crate) fn took_up(&self, revision: u64, served: bool, elapsed: Duration) -> Result<()> {
        let after = seconds(elapsed);
        let line = match served {
            true => format!("→ revision {revision} serving after {after}"),
            false => format!("→ revision {revision} applied after {after}, not served yet"),
        };
        self.output.note(&format!("{} {line}", clock()));
        self.event("revision", json!({"revision": revision, "served": served}))
    }

    /// An edit was refused; the last good revision is served.
    pub(crate) fn refused(&self, why: &[String]) -> Result<()> {
        let text = why.join("; ");
        self.output.warn(&format!(
            "{} → refused: {text} (still serving the revision before)",
            clock()
        ));
        self.event("refused", json!({"reasons": why}))
    }

    pub(crate) fn stopping(&self) {
        self.output.note("stopping");
    }

    fn done(&self, what: &str, elapsed: Duration) {
        self.output
            .note(&format!("✓ {what:<50}  {}", seconds(elapsed)));
    }

    fn event(&self, name: &str, mut body: Value) -> Result<()> {
        if self.output.format == Format::Table {
            return Ok(());
        }
        body["event"] = json!(name);
        self.output.data(&format!("{body}\n"))
    }
}

/// `14:02:11`, UTC.
fn clock() -> String {
    let now = render::words::utc(render::words::now_us());
    now.get(11..19).unwrap_or_default().to_owned()
}
