//! What a command fails with: an exit code, a text that names the thing and the remedy, and the
//! same facts for programs.

use std::ops::{Deref, DerefMut};

use omnigraph_proto::common::v1::error_detail::Detail;
use omnigraph_proto::error::{DiagnosticOutput, ErrorOutput, Retry, WireError};
use serde_json::{Map, Value, json};

/// Meaning of the process's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Refused by a rule, a remote or storage error, not converged.
    Failed = 1,
    /// Arguments, address, configuration.
    Usage = 2,
    /// `--detailed-exitcode`: there are changes, or apply did not converge.
    Changes = 3,
    /// A condition that the caller named does not hold.
    Precondition = 4,
    /// Ctrl-C.
    Interrupted = 130,
}

/// The outcome of a command that did not end well. Boxed, so that results stay small.
#[derive(Clone, Debug)]
pub(crate) struct Error(Box<Facts>);

/// What is known about it.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    /// Further lines, indented under the message.
    pub(crate) details: Vec<String>,
    pub(crate) hint: Option<String>,
    /// The word that programs branch on.
    pub(crate) reason: String,
    pub(crate) request_id: Option<String>,
    pub(crate) retryable: bool,
    /// The structured part, as the server sent it.
    pub(crate) detail: Map<String, Value>,
    /// Nothing is printed: what there is to say has been said.
    pub(crate) silent: bool,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    fn new(exit: Exit, reason: &str, message: impl Into<String>) -> Error {
        Error(Box::new(Facts {
            exit,
            message: message.into(),
            details: Vec::new(),
            hint: None,
            reason: reason.to_owned(),
            request_id: None,
            retryable: false,
            detail: Map::new(),
            silent: false,
        }))
    }

    /// A rule or a peer refused.
    pub(crate) fn failed(message: impl Into<String>) -> Error {
        Error::new(Exit::Failed, "failed", message)
    }

    /// The command line, the address or a local file is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Error {
        Error::new(Exit::Usage, "usage", message)
    }

    /// Something that could not be reached; a repeat may help.
    pub(crate) fn unavailable(message: impl Into<String>) -> Error {
        let mut error = Error::new(Exit::Failed, "unavailable", message);
        error.retryable = true;
        error
    }

    /// A state that has been printed already.
    pub(crate) fn silent(exit: Exit) -> Error {
        let mut error = Error::new(exit, "", "");
        error.silent = true;
        error
    }

    pub(crate) fn interrupted() -> Error {
        Error::new(Exit::Interrupted, "interrupted", "interrupted")
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn with_details(mut self, details: Vec<String>) -> Error {
        self.details = details;
        self
    }

    /// From the error body of HTTP. The status decides where the body has no code.
    pub(crate) fn from_http(status: u16, body: &str) -> Error {
        let Ok(output) = serde_json::from_str::<ErrorOutput>(body) else {
            let message = format!("the server answered {status} without an error body");
            return Error::failed(message).with_hint("is this address an omnigraph gateway?");
        };
        let exit = if status == 412 {
            Exit::Precondition
        } else {
            Exit::Failed
        };
        let reason = output.code.clone().unwrap_or_else(|| reason_of(status));
        let mut error = Error::new(exit, &reason, output.error.clone());
        error.details = output.diagnostics.iter().map(diagnostic_line).collect();
        error.details.extend(output.merge_conflicts.iter().map(|c| {
            let id = c.entity_id.as_deref().unwrap_or("*");
            format!("{} {id}  {}: {}", c.type_name, c.kind, c.message)
        }));
        error.hint = output
            .hint
            .clone()
            .or_else(|| first_hint(&output.diagnostics));
        error.request_id = Some(output.request_id.clone()).filter(|id| !id.is_empty());
        error.retryable = matches!(status, 429 | 503 | 504);
        if let Ok(Value::Object(mut detail)) = serde_json::from_str::<Value>(body) {
            for key in ["error", "code", "hint", "request_id"] {
                detail.remove(key);
            }
            error.detail = detail;
        }
        error
    }

    /// From a gRPC status of the control plane.
    pub(crate) fn from_status(status: &tonic::Status) -> Error {
        let wire = WireError::from(status);
        let reason = wire.reason_str().to_ascii_lowercase();
        let exit = match reason.as_str() {
            "plan_stale" | "precondition_failed" => Exit::Precondition,
            _ => Exit::Failed,
        };
        let output = ErrorOutput::from(&wire);
        let mut error = Error::new(exit, &reason, wire.message.clone());
        error.hint = wire
            .hint
            .clone()
            .or_else(|| first_hint(&output.diagnostics));
        error.request_id = wire.request_id.as_deref().map(str::to_owned);
        error.retryable = matches!(wire.retry(), Retry::Later | Retry::Idempotent);
        error.details = output.diagnostics.iter().map(diagnostic_line).collect();
        error.detail = control_detail(wire.detail.as_deref(), &output);
        error
    }

    /// The text for people, as it goes to stderr.
    pub(crate) fn for_people(&self) -> String {
        let mut text = format!("error: {}\n", self.message);
        for line in &self.details {
            for part in line.lines() {
                text.push_str(format!("  {part}").trim_end());
                text.push('\n');
            }
        }
        if let Some(hint) = &self.hint {
            if !self.details.is_empty() {
                text.push('\n');
            }
            text.push_str(&format!("hint: {hint}\n"));
        }
        if let Some(id) = &self.request_id {
            text.push_str(&format!("request: {id}\n"));
        }
        text
    }

    /// One JSON line for programs.
    pub(crate) fn for_programs(&self) -> String {
        let mut object = Map::new();
        object.insert("error".into(), json!(self.message));
        object.insert("reason".into(), json!(self.reason));
        if let Some(hint) = &self.hint {
            object.insert("hint".into(), json!(hint));
        }
        if let Some(id) = &self.request_id {
            object.insert("request_id".into(), json!(id));
        }
        object.insert("retryable".into(), json!(self.retryable));
        object.extend(self.detail.clone());
        format!("{}\n", Value::Object(object))
    }
}

impl Deref for Error {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.0
    }
}

impl DerefMut for Error {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.0
    }
}

/// `line 17  R406  Package.kb: expected an integer`, `R201  find.gq:3:12  unknown property`.
pub(crate) fn diagnostic_line(diagnostic: &DiagnosticOutput) -> String {
    let mut parts = Vec::new();
    if let Some(line) = diagnostic.line {
        parts.push(format!("line {line}"));
    }
    if !diagnostic.code.is_empty() {
        parts.push(diagnostic.code.clone());
    }
    if let Some(span) = &diagnostic.span {
        let place = format!("{}:{}", span.line, span.column);
        match &span.file {
            // What is found in data belongs to a file, but to no line of it.
            Some(file) if span.line == 0 => parts.push(file.clone()),
            Some(file) => parts.push(format!("{file}:{place}")),
            None if span.line == 0 => {}
            None => parts.push(place),
        }
    }
    parts.push(match (&diagnostic.path, diagnostic.message.as_str()) {
        (Some(path), text) if !text.contains(path.as_str()) => format!("{path}: {text}"),
        (_, text) => text.to_owned(),
    });
    parts.join("  ")
}

fn first_hint(diagnostics: &[DiagnosticOutput]) -> Option<String> {
    diagnostics.iter().flat_map(|d| &d.hints).next().cloned()
}

/// For the statuses on which HTTP sends no code.
fn reason_of(status: u16) -> String {
    match status {
        410 => "change_feed_gap",
        412 => "precondition_failed",
        424 => "external_blob_source",
        _ => "failed",
    }
    .to_owned()
}

fn control_detail(detail: Option<&Detail>, output: &ErrorOutput) -> Map<String, Value> {
    let mut map = Map::new();
    match detail {
        Some(Detail::LeaseHeld(lease)) => {
            map.insert("lease_held".into(), crate::render::json::lease(lease));
        }
        Some(Detail::PlanStale(stale)) => {
            map.insert(
                "plan_stale".into(),
                json!({
                    "expected_plan_digest": stale.expected_plan_digest,
                    "actual_plan_digest": stale.actual_plan_digest,
                    "ledger_revision": stale.ledger_revision,
                }),
            );
        }
        _ => {}
    }
    if !output.diagnostics.is_empty() {
        map.insert("diagnostics".into(), json!(output.diagnostics));
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_errors_carry_lines_hint_and_request() {
        let body = r#"{"error":"2 of 120 lines are invalid; nothing was loaded","code":"bad_request",
            "diagnostics":[{"code":"R406","severity":"error","message":"expected an integer, got \"12k\"","path":"Package.installed_kb","line":17,"hints":["write a number"]}],
            "request_id":"01J"}"#;
        let error = Error::from_http(400, body);
        assert_eq!(error.exit, Exit::Failed);
        assert_eq!(
            error.for_people(),
            "error: 2 of 120 lines are invalid; nothing was loaded\n  line 17  R406  Package.installed_kb: expected an integer, got \"12k\"\n\nhint: write a number\nrequest: 01J\n"
        );
        let line: Value = serde_json::from_str(&error.for_programs()).unwrap();
        assert_eq!(line["reason"], "bad_request");
        assert_eq!(line["diagnostics"][0]["line"], 17);
        assert_eq!(line["retryable"], false);
    }

    #[test]
    fn a_moved_head_is_a_precondition() {
        let body = r#"{"error":"branch 'main' has moved","precondition_failure":{"expected":"a","actual":"b"},"request_id":"r"}"#;
        let error = Error::from_http(412, body);
        assert_eq!(error.exit, Exit::Precondition);
        assert_eq!(error.reason, "precondition_failed");
        assert_eq!(error.detail["precondition_failure"]["actual"], "b");
    }

    #[test]
    fn a_foreign_server_is_named_as_such() {
        let error = Error::from_http(502, "<html>");
        assert!(error.message.contains("502"));
    }
}
