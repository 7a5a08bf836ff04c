//! Every public operation of the engine is in the matrix, or only reads, or is proven elsewhere.
//! The list of operations is read off the sources, so that it cannot go stale in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::operations::OPERATIONS;
use super::reads::READS;

/// How an operation is shown to be right under faults.
enum Door {
    /// It changes what is durable, and these operations of the matrix run it.
    Writes(&'static [&'static str]),
    /// It changes nothing durable: `reads` runs it and counts no write.
    Reads,
    /// Faults at its writes are a matter of these tests.
    Elsewhere(&'static str),
}

use Door::{Elsewhere, Reads, Writes};

const CLOCK: &str = "log/clock.rs";
const LOG: &str = "log/tests/faults.rs";
const SIMULATION: &str = "../../../data-plane/src/tests/simulation/mod.rs";

/// Every public asynchronous function of the crate.
const DOORS: &[(&str, Door)] = &[
    ("Engine::create_graph", Writes(&["create_a_graph"])),
    ("Engine::fsck", Reads),
    ("Engine::graph_incarnations", Reads),
    ("Engine::graph_roots", Reads),
    ("Engine::open_graph", Reads),
    ("Engine::remove_graph", Writes(&["remove_a_graph"])),
    (
        "Engine::restore_graph",
        Writes(&["restore_a_commit", "restore_the_history"]),
    ),
    ("Engine::restored_from", Reads),
    ("Engine::restored_roots", Reads),
    ("Engine::tombstone_graph", Writes(&["end_a_graph"])),
    (
        "Graph::backup",
        Writes(&[
            "backup_a_commit",
            "backup_the_history",
            "backup_what_is_new",
        ]),
    ),
    ("Graph::baseline", Reads),
    ("Graph::branch", Reads),
    ("Graph::branches", Reads),
    (
        "Graph::collect",
        Writes(&["collect_first_phase", "collect_second_phase"]),
    ),
    ("Graph::commit", Reads),
    ("Graph::commit_changes", Reads),
    (
        "Graph::commit_schema",
        Writes(&[
            "change_the_schema",
            "change_the_schema_with_a_fill",
            "change_types_and_indexes",
        ]),
    ),
    ("Graph::commits", Reads),
    ("Graph::compile", Reads),
    (
        "Graph::create_branch",
        Writes(&[
            "create_a_branch",
            "create_a_branch_at_a_commit",
            "create_a_branch_again",
        ]),
    ),
    ("Graph::create_tag", Writes(&["create_a_tag"])),
    ("Graph::delete_branch", Writes(&["delete_a_branch"])),
    ("Graph::delete_tag", Writes(&["delete_a_tag"])),
    ("Graph::diff", Reads),
    ("Graph::explain", Reads),
    ("Graph::export", Reads),
    ("Graph::fence", Writes(&["fence"])),
    ("Graph::fsck", Reads),
    (
        "Graph::load",
        Writes(&[
            "load_by_append",
            "load_by_merge",
            "load_by_overwrite",
            "load_into_a_new_branch",
            "load_blobs",
            "load_external_blobs",
            "load_arrow",
            "load_parquet",
        ]),
    ),
    (
        "Graph::merge",
        Writes(&[
            "merge_by_fast_forward",
            "merge_three_way",
            "merge_with_a_strategy",
            "merge_and_delete_the_source",
            "merge_a_branch_behind_the_schema",
            "merge_a_newer_schema",
        ]),
    ),
    (
        "Graph::mutate",
        Writes(&[
            "insert_a_node",
            "write_several_tables",
            "delete_a_node_with_its_edges",
            "put_a_blob",
            "copy_an_external_blob",
            "copy_an_external_blob_in_parts",
        ]),
    ),
    ("Graph::oldest_retained", Reads),
    ("Graph::open_blob", Reads),
    (
        "Graph::optimize",
        Writes(&[
            "optimize",
            "index_the_history",
            "join_the_index_of_the_history",
        ]),
    ),
    ("Graph::plan_schema", Reads),
    ("Graph::poll_changes", Reads),
    ("Graph::profile", Reads),
    ("Graph::query", Reads),
    (
        "Graph::revert",
        Writes(&["undo_a_commit", "revert_to_a_commit"]),
    ),
    ("Graph::snapshot", Reads),
    ("Graph::stage_schema", Writes(&["change_the_schema"])),
    ("Graph::stat_blob", Reads),
    ("Graph::tag", Reads),
    ("Graph::tags", Reads),
    ("Graph::write_outline", Elsewhere(SIMULATION)),
    ("LoadSession::finish", Writes(&["load_by_merge"])),
    ("LoadSession::push", Writes(&["load_by_merge"])),
    ("Log::append", Elsewhere(LOG)),
    ("Log::get", Elsewhere(LOG)),
    ("Log::head", Elsewhere(LOG)),
    ("Log::range", Elsewhere(LOG)),
    ("Log::settle", Elsewhere(LOG)),
    ("Log::truncate", Elsewhere("log/tests/truncation.rs")),
    ("Store::open", Reads),
    (
        "Store::probe_create_once",
        Writes(&["backup_a_commit", "restore_a_commit"]),
    ),
    ("Upkeep::pass", Writes(&["upkeep"])),
    // What every clock can do: it only waits.
    ("dyn::timeout", Elsewhere(CLOCK)),
    ("dyn::timeout_at", Elsewhere(CLOCK)),
    ("list_backups", Reads),
    ("verify_backup", Reads),
];

/// Public asynchronous functions in the sources, as `Type::function` or `function`.
fn found() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for file in sources(&super::package().join("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut owner: Option<String> = None;
        for line in text.lines() {
            if line.starts_with("impl") {
                owner = implemented(line);
            } else if line.starts_with('}') {
                owner = None;
            } else if let Some(name) = function(line, "    pub async fn ") {
                let owner = owner.as_deref().unwrap_or_else(|| {
                    panic!("{}: whose is `{name}`?", file.display());
                });
                found.insert(format!("{owner}::{name}"));
            } else if let Some(name) = function(line, "pub async fn ") {
                found.insert(name);
            }
        }
    }
    found
}

fn function(line: &str, start: &str) -> Option<String> {
    let rest = line.strip_prefix(start)?;
    let name: String = rest
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect();
    Some(name)
}

/// The type of `impl<T: Entry> Log<T> {`; none for the implementation of a trait.
fn implemented(line: &str) -> Option<String> {
    let line = line.strip_prefix("impl")?;
    if line.contains(" for ") {
        return None;
    }
    let line = match line.starts_with('<') {
        true => line.split_once("> ")?.1,
        false => line,
    };
    let name = line.trim().split(|c: char| !c.is_ascii_alphanumeric());
    name.map(str::to_owned).next()
}

/// The source files, without those of tests.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        match path.is_dir() {
            true if name == "tests" || name == "proof" => {}
            true => files.extend(sources(&path)),
            false if name == "tests.rs" || name == "fault.rs" => {}
            false => files.push(path),
        }
    }
    files
}

#[test]
fn every_public_operation_is_accounted_for() {
    let listed: BTreeSet<String> = DOORS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(listed.len(), DOORS.len(), "one is there twice");
    let found = found();
    assert!(found.contains("Graph::mutate"), "{found:?}");
    let unknown: Vec<_> = found.difference(&listed).collect();
    assert!(
        unknown.is_empty(),
        "not accounted for under faults: {unknown:?}: add operations to the matrix (`proof::operations`) or a read to `proof::reads`, and name them in `DOORS`"
    );
    let gone: Vec<_> = listed.difference(&found).collect();
    assert!(gone.is_empty(), "not there any more: {gone:?}");
}

#[test]
fn every_operation_of_the_matrix_is_somebodys() {
    let known: BTreeSet<&str> = OPERATIONS.iter().copied().collect();
    let mut named: BTreeMap<&str, &str> = BTreeMap::new();
    for (door, how) in DOORS {
        match how {
            Writes(operations) => {
                assert!(!operations.is_empty(), "{door} is run by no operation");
                named.extend(operations.iter().map(|operation| (*operation, *door)));
            }
            Reads => assert!(READS.contains(door), "{door} is not run by `reads`"),
            Elsewhere(tests) => {
                let file = super::package().join("src").join(tests);
                assert!(file.is_file(), "{door}: {tests} is not there");
            }
        }
    }
    let named: BTreeSet<&str> = named.keys().copied().collect();
    assert_eq!(named, known);
}

#[test]
fn what_the_scanner_takes_for_an_operation() {
    assert_eq!(implemented("impl Graph {").as_deref(), Some("Graph"));
    assert_eq!(
        implemented("impl<T: Entry> Log<T> {").as_deref(),
        Some("Log")
    );
    assert_eq!(implemented("impl Write for Merge<'_> {"), None);
    let line = "    pub async fn merge_all<T>(&self) {";
    assert_eq!(
        function(line, "    pub async fn ").as_deref(),
        Some("merge_all")
    );
    assert_eq!(function(line, "pub async fn "), None);
}
