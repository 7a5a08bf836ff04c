//! A bundle in either form, as it is declared and stored.

use crate::action::Kind;
use crate::bundle::{Bundle, Groups};
use crate::cedar::CedarBundle;
use crate::compile::CompileError;
use crate::finding::Finding;
use crate::policy::{Policy, Resource};

/// In which language a bundle is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Rules in YAML.
    Yaml,
    /// Cedar's own language.
    Cedar,
}

/// A bundle without errors.
#[derive(Clone, Debug)]
pub enum Source {
    /// Rules in YAML.
    Yaml(Bundle),
    /// Cedar's own language.
    Cedar(Box<CedarBundle>),
}

/// What is wrong with a bundle of one or two files.
#[derive(Debug, Default)]
pub struct Problems {
    /// About the bundle's own file.
    pub source: Vec<Finding>,
    /// About the file of groups beside it.
    pub groups: Vec<Finding>,
}

impl Format {
    /// The format of a file, by its name.
    pub fn of_path(path: &str) -> Format {
        match path.ends_with(".cedar") {
            true => Format::Cedar,
            false => Format::Yaml,
        }
    }

    /// The format of a word.
    pub fn parse(word: &str) -> Option<Format> {
        match word {
            "yaml" => Some(Format::Yaml),
            "cedar" => Some(Format::Cedar),
            _ => None,
        }
    }

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Format::Yaml => "yaml",
            Format::Cedar => "cedar",
        }
    }
}

impl Source {
    /// Reads a bundle; `groups` is the text of the file beside a Cedar text. The second part is
    /// warnings.
    pub fn parse(
        format: Format,
        text: &str,
        groups: Option<&str>,
    ) -> Result<(Source, Vec<Finding>), Problems> {
        match format {
            Format::Yaml => match Bundle::parse(text) {
                Ok(bundle) => Ok((Source::Yaml(bundle), Vec::new())),
                Err(source) => Err(Problems {
                    source,
                    ..Problems::default()
                }),
            },
            Format::Cedar => {
                let beside = groups.map_or_else(|| Ok(Groups::default()), Groups::parse);
                let beside = beside.map_err(|groups| Problems {
                    groups,
                    ..Problems::default()
                })?;
                let read = CedarBundle::parse(text, beside).map_err(|source| Problems {
                    source,
                    ..Problems::default()
                });
                read.map(|(bundle, warnings)| (Source::Cedar(Box::new(bundle)), warnings))
            }
        }
    }

    /// Compiles it for a graph, or for the server.
    pub fn compile(&self, resource: Resource) -> Result<Policy, CompileError> {
        match self {
            Source::Yaml(bundle) => Policy::compile(bundle, resource),
            Source::Cedar(bundle) => bundle.compile(&resource),
        }
    }

    /// What it is about, if its rules say so.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Source::Yaml(bundle) => bundle.kind,
            Source::Cedar(_) => None,
        }
    }

    /// Groups, and protected branches.
    pub fn groups(&self) -> &Groups {
        match self {
            Source::Yaml(bundle) => &bundle.groups,
            Source::Cedar(bundle) => bundle.groups(),
        }
    }

    /// How many rules it has.
    pub fn rule_count(&self) -> usize {
        match self {
            Source::Yaml(bundle) => bundle.rules.len(),
            Source::Cedar(bundle) => bundle.rule_count(),
        }
    }
}

impl std::fmt::Display for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let all = self.source.iter().chain(&self.groups);
        let lines: Vec<String> = all
            .map(|found| {
                let (line, column) = (found.place.line, found.place.column);
                format!("{line}:{column} {}", found.message)
            })
            .collect();
        f.write_str(&lines.join("; "))
    }
}
