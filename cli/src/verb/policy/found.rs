//! Bundles as they were found.

use std::path::Path;

use omnigraph_policy::{Finding, Format, Kind, Resource, Source};
use omnigraph_proto::common::v1::{Diagnostic, SourceSpan, diagnostic::Severity};
use omnigraph_proto::control::v1 as pb;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::render::words::count;

/// What a bundle about the server is bound to.
pub(super) const CLUSTER: &str = "cluster";

/// A bundle with its text.
pub(super) struct Found {
    pub(super) wire: pb::PolicyBundle,
    pub(super) source: Source,
}

impl Found {
    /// `✓ readers: 2 groups, 5 actors, 4 rules`.
    pub(super) fn summary(&self) -> String {
        let groups = self.source.groups();
        let names = groups.members.keys().chain(groups.external.keys());
        let number = names.collect::<std::collections::BTreeSet<_>>().len();
        format!(
            "✓ {}: {}, {}, {}",
            self.wire.name,
            count(number as u64, "group"),
            count(groups.actors().len() as u64, "actor"),
            count(self.source.rule_count() as u64, "rule"),
        )
    }

    pub(super) fn described(&self) -> Value {
        let kind = self.kind().map(Kind::name);
        json!({
            "name": self.wire.name,
            "kind": kind,
            "actors": self.source.groups().actors().len(),
            "rules": self.source.rule_count(),
        })
    }

    /// What it is bound to where that is known.
    pub(super) fn is_bound_to(&self, scope: &str) -> bool {
        self.wire.applies_to.iter().any(|bound| bound == scope)
    }

    /// The Cedar text; of a bundle for several graphs, of each.
    pub(super) fn to_cedar(&self) -> Result<String> {
        if let Source::Cedar(_) = &self.source {
            return Ok(self.wire.source.clone());
        }
        let mut texts = Vec::new();
        for scope in &self.wire.applies_to {
            texts.push(compile(self, scope)?.to_cedar());
        }
        Ok(texts.join("\n"))
    }

    fn kind(&self) -> Option<Kind> {
        let bound = self.wire.applies_to.first();
        let bound = bound.map(|scope| resource(scope).kind());
        self.source.kind().or(bound)
    }
}

/// The bundle, compiled for what it is bound to.
pub(super) fn compile(bundle: &Found, scope: &str) -> Result<omnigraph_policy::Policy> {
    let compiled = bundle.source.compile(resource(scope));
    compiled.map_err(|error| Error::failed(format!("policy '{}': {error}", bundle.wire.name)))
}

fn resource(scope: &str) -> Resource {
    match scope {
        CLUSTER => Resource::Server,
        graph => Resource::Graph(graph.to_owned()),
    }
}

/// What a directory declares.
pub(super) fn of_directory(dir: &Path) -> Result<(Vec<Found>, Vec<Diagnostic>)> {
    super::declared(dir)
}

/// One file, bound to nothing.
pub(super) fn of_file(path: &Path, groups: Option<&Path>) -> Result<(Vec<Found>, Vec<Diagnostic>)> {
    let file = path.display().to_string();
    let text = read(path)?;
    let beside = groups.map(read).transpose()?;
    let format = Format::of_path(&file);
    let name = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    match Source::parse(format, &text, beside.as_deref()) {
        Ok((source, warnings)) => {
            let wire = pb::PolicyBundle {
                name: name.unwrap_or_default(),
                format: format.name().to_owned(),
                source: text,
                groups_source: beside.unwrap_or_default(),
                applies_to: Vec::new(),
            };
            let warnings = warnings.iter().map(|f| diagnostic(f, &file));
            let warnings = warnings.collect();
            Ok((vec![Found { wire, source }], warnings))
        }
        Err(problems) => {
            let own = problems.source.iter().map(|f| diagnostic(f, &file));
            let groups = groups
                .map(|path| path.display().to_string())
                .unwrap_or_default();
            let beside = problems.groups.iter().map(|f| diagnostic(f, &groups));
            Ok((Vec::new(), own.chain(beside).collect()))
        }
    }
}

pub(super) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::usage(format!("{} cannot be read: {error}", path.display())))
}

pub(super) fn is_error(finding: &Diagnostic) -> bool {
    finding.severity() == Severity::Error
}

/// A finding about a file, as all findings are shown.
pub(super) fn diagnostic(found: &Finding, file: &str) -> Diagnostic {
    let severity = match found.warning {
        true => Severity::Warning,
        false => Severity::Error,
    };
    Diagnostic {
        code: found.code.to_owned(),
        severity: severity.into(),
        message: found.message.clone(),
        span: Some(SourceSpan {
            file: file.to_owned(),
            start: found.place.start as u64,
            end: found.place.end as u64,
            line: found.place.line,
            column: found.place.column,
        }),
        hints: found.hint.iter().cloned().collect(),
        ..Diagnostic::default()
    }
}
