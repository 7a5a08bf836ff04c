//! What must hold, judged by what lies in the store: read as plain JSON, without the code that wrote
//! it.
//!
//! | file | subject |
//! |---|---|
//! | `ledger` | one log without holes, epochs, revisions, whose content is complete |
//! | `graphs` | the log of each graph's `main`, sidecars, who may move a schema |
//! | `replicas` | what is served |
//! | `answers` | what clients were told |

mod answers;
mod graphs;
mod ledger;
mod replicas;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;

pub(super) use answers::Answer;
use graphs::{Main, Sidecar};
use ledger::State;
pub(super) use ledger::{HISTORY, Revision};
use replicas::Served;

/// Holds, or the invariant that does not.
pub(super) type Judged<T = ()> = Result<T, String>;

#[derive(Default)]
pub(super) struct Oracle {
    /// What the ledger says after each entry.
    ledger: Vec<State>,
    revisions: Vec<Revision>,
    leases: BTreeSet<String>,
    /// Entries that the history does not keep.
    reclaimed: BTreeSet<usize>,
    /// Content of the catalog by file name.
    catalog: BTreeMap<String, Bytes>,
    /// Logs of `main`, by the graph's root: `<id>.omni/<incarnation>`.
    mains: BTreeMap<String, Main>,
    /// Descriptions of graphs that are there, by root.
    described: BTreeSet<String>,
    /// Digests of schemas' meanings, by the schema object's digest.
    meanings: BTreeMap<String, String>,
    /// Those that are there, by file name.
    sidecars: BTreeMap<String, Sidecar>,
    /// Everything that was ever armed: operation and graph.
    armed: BTreeSet<(String, String)>,
    /// Consent to losses: the resource, and whether it was used.
    approvals: BTreeMap<String, (String, bool)>,
    /// Commits that were given up: they must never land.
    retired: BTreeSet<String>,
    /// Roots of graphs that were deleted.
    lost: BTreeSet<String>,
    served: BTreeMap<String, Served>,
    /// Clients that were told that nothing more comes of their apply, and what they were told.
    told: BTreeMap<String, &'static str>,
}

impl Oracle {
    /// An object was put.
    pub(super) fn stored(
        &mut self,
        process: &str,
        path: &str,
        bytes: &Bytes,
        existed: bool,
    ) -> Judged {
        let Some((place, name)) = place_of(path) else {
            return Ok(());
        };
        match place {
            Place::Ledger => {
                self.ledger_entry(process, number(name)?, &json(path, bytes)?, existed)
            }
            Place::Catalog => self.catalog_object(name, bytes),
            Place::Recoveries => self.armed_sidecar(name, &json(path, bytes)?),
            Place::Approvals => {
                let resource = text(&json(path, bytes)?, "/resource").to_owned();
                let name = name.to_owned();
                self.approvals.entry(name).or_insert((resource, false));
                Ok(())
            }
            Place::Main(root) => self.main_entry(root, number(name)?, &json(path, bytes)?, existed),
            Place::Schema => self.schema_object(name, &json(path, bytes)?),
            Place::Described(root) => {
                self.described.insert(root.to_owned());
                Ok(())
            }
        }
    }

    /// An object was deleted.
    pub(super) fn removed(&mut self, path: &str) -> Judged {
        match place_of(path) {
            None => Ok(()),
            Some((Place::Recoveries, name)) => self.removed_sidecar(name),
            Some((Place::Ledger, name)) => self.removed_entry(number(name)?),
            Some(_) => Err(format!("{path} was deleted")),
        }
    }

    fn catalog_object(&mut self, name: &str, bytes: &Bytes) -> Judged {
        let digest = name.split('.').next().unwrap_or_default();
        omnigraph_control_plane::serving::verify_blob(digest, bytes)
            .map_err(|error| format!("catalog object {name}: {error}"))?;
        self.catalog.insert(name.to_owned(), bytes.clone());
        Ok(())
    }
}

enum Place<'a> {
    Ledger,
    Catalog,
    Recoveries,
    Approvals,
    /// The log of a graph's `main`.
    Main(&'a str),
    Schema,
    Described(&'a str),
}

/// What an object is, and its name; none if it decides nothing.
fn place_of(path: &str) -> Option<(Place<'_>, &str)> {
    let (_, cluster) = path.split_once("cluster/").unwrap_or_default();
    let (_, graphs) = path.split_once("graphs/").unwrap_or_default();
    let of = |directory| cluster.strip_prefix(directory);
    if let Some(name) = of("ledger/") {
        let decides = name.len() == 25 && name.ends_with(".json");
        return decides.then_some((Place::Ledger, name));
    }
    if let Some(name) = of("catalog/") {
        return Some((Place::Catalog, name));
    }
    if let Some(name) = of("recoveries/") {
        return Some((Place::Recoveries, name));
    }
    if let Some(name) = of("approvals/") {
        return Some((Place::Approvals, name));
    }
    let mut parts = graphs.match_indices('/');
    let end = parts.nth(1)?.0;
    let (root, rest) = (&graphs[..end], &graphs[end + 1..]);
    if let Some(name) = rest.strip_prefix("branches/main/") {
        let decides = name.len() == 25 && name.ends_with(".json");
        return decides.then_some((Place::Main(root), name));
    }
    if let Some(name) = rest.strip_prefix("schema/") {
        return Some((Place::Schema, name));
    }
    (rest == "graph.json").then_some((Place::Described(root), rest))
}

fn number(name: &str) -> Judged<usize> {
    let digits = name.trim_end_matches(".json");
    digits.parse().map_err(|_| format!("{name} is no entry"))
}

fn json(path: &str, bytes: &[u8]) -> Judged<Value> {
    serde_json::from_slice(bytes).map_err(|error| format!("{path} is no JSON: {error}"))
}

/// A text in an object; empty if there is none.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn count(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// Judges a condition.
fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Judged {
    match holds {
        true => Ok(()),
        false => Err(otherwise()),
    }
}
