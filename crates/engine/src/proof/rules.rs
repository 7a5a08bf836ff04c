//! The rules of the storage protocol, each with the tests that play the interleaving which breaks
//! the simpler rule.
//!
//! The table is checked: every test that it names is there. What it cannot name is that files are
//! flushed before the append that relies on them (section 1): a power cut cannot be played here.

use std::collections::BTreeSet;
use std::path::Path;

use futures::TryStreamExt;
use object_store::{ObjectStore as _, ObjectStoreExt as _};

use super::world::{SCHEMA, World};
use crate::engine::{Engine, EngineOptions};
use crate::error::ErrorKind;
use crate::graph::{BranchName, WriteOptions};
use crate::log::fault::{Fault, Op, hook};
use crate::store::Store;

/// A rule and its tests.
struct Rule {
    section: u8,
    rule: &'static str,
    tests: &'static [&'static str],
}

const fn rule(section: u8, rule: &'static str, tests: &'static [&'static str]) -> Rule {
    Rule {
        section,
        rule,
        tests,
    }
}

const RULES: &[Rule] = &[
    rule(
        1,
        "an append creates the object of its place: of those who race one wins",
        &[
            "racing_appends_have_one_winner",
            "many_writers_lose_nothing",
            "a_taken_position_is_a_conflict",
        ],
    ),
    rule(
        1,
        "a store that lets two create the same object is refused",
        &["a_store_that_lets_two_create_the_same_object_is_refused"],
    ),
    rule(
        1,
        "that the object exists may mean that our own first try landed: its id decides",
        &["a_request_that_collides_with_its_own_first_try_is_a_success"],
    ),
    rule(
        1,
        "every unclear answer is followed up",
        &[
            "error_before_the_effect_is_put_again",
            "error_after_the_effect_is_a_success",
            "already_exists_that_is_not_there_is_put_again",
        ],
    ),
    rule(
        1,
        "not found is no answer: the first put may still land, so the same bytes are put again",
        &[
            "a_late_first_put_decides_for_us",
            "a_late_put_after_a_success_changes_nothing",
            "somebody_elses_entry_between_two_tries_is_a_conflict",
        ],
    ),
    rule(
        1,
        "who gives up puts a void in the place",
        &[
            "a_void_keeps_a_late_put_out",
            "settling_against_a_put_that_lands_first_tells_so",
            "a_void_that_is_reported_as_failed_still_decides",
            "an_append_that_is_given_up_is_shut_out",
        ],
    ),
    rule(
        1,
        "without a decision the outcome is unknown, never without effect",
        &[
            "no_decision_before_the_deadline_is_an_unknown_outcome",
            "an_append_without_an_answer_is_never_called_without_effect",
        ],
    ),
    rule(
        1,
        "existence is monotone above the floor: a head is found from any known place",
        &[
            "a_known_head_follows_any_distance",
            "a_new_process_finds_the_head_of_any_length",
        ],
    ),
    rule(
        1,
        "the hint is never trusted",
        &[
            "a_hint_that_is_lost_or_wrong_only_costs_a_listing",
            "a_hint_into_the_hole_is_not_trusted",
        ],
    ),
    rule(
        1,
        "an entry goes only when its successor is old; the first and the last never do",
        &[
            "young_entries_stay_whatever_is_asked",
            "truncation_keeps_first_last_and_young",
        ],
    ),
    rule(
        1,
        "the floor is there before the hole, and an interrupted truncation is carried on",
        &[
            "truncation_is_repeatable_and_carried_on",
            "a_new_floor_replaces_the_old_one",
        ],
    ),
    rule(
        1,
        "nobody takes an entry below the hole for the head",
        &[
            "an_old_position_below_the_floor_is_not_taken_for_the_head",
            "truncation_in_the_middle_of_a_search_is_noticed",
        ],
    ),
    rule(
        1,
        "a remembered head is forgotten in time, by a clock that runs while the machine sleeps",
        &[
            "a_remembered_head_is_forgotten_after_half_the_grace",
            "a_machine_that_slept_forgets_its_head_too",
        ],
    ),
    rule(
        1,
        "nobody appends into the hole and is told that it landed",
        &[
            "an_append_that_slept_over_truncation_is_not_reported_as_a_success",
            "an_append_after_a_position_of_unknown_age_looks_at_the_floor",
            "an_append_to_a_log_believed_empty_always_collides",
            "settling_below_the_floor_stays_unknown",
            "a_writer_that_slept_over_truncation_is_not_told_that_it_has_landed",
        ],
    ),
    rule(
        1,
        "every format ever released is read",
        &[
            "golden_format_1",
            "entries_of_a_newer_format_are_refused_and_still_decide",
        ],
    ),
    rule(
        4,
        "a write is checked against the schema of the commit that it lands on",
        &[
            "a_schema_change_in_between_starts_the_write_anew",
            "a_writer_starts_from_scratch_against_the_new_schema",
            "a_load_is_held_against_the_rules_that_came_meanwhile",
        ],
    ),
    rule(
        4,
        "an entry with our commit or our key is the answer",
        &[
            "a_repeat_after_an_unclear_answer_lands_once",
            "two_processes_that_repeat_the_same_request_at_once_land_it_once",
        ],
    ),
    rule(
        4,
        "a schema change, a sweep, an end or a beginning in between: from scratch; a void: nothing",
        &[
            "a_sweep_in_between_starts_the_write_anew",
            "a_branch_that_was_deleted_in_between_is_not_found",
            "a_branch_that_was_created_again_in_between_gets_the_write_in_its_new_life",
            "a_void_in_between_means_nothing",
        ],
    ),
    rule(
        4,
        "re-parented is the head's map with our tables laid over it",
        &["reparenting_lays_our_tables_over_the_map_of_the_head"],
    ),
    rule(
        4,
        "what a write only read counts as well",
        &[
            "an_edge_is_checked_again_when_an_end_of_it_was_deleted",
            "a_deletion_takes_along_the_edge_that_came_in_between",
            "a_value_that_somebody_else_took_meanwhile_is_not_unique",
            "what_was_only_read_is_named_as_a_constraint",
        ],
    ),
    rule(
        4,
        "otherwise it runs again on the new head",
        &[
            "a_write_is_run_again_when_its_table_moved",
            "no_update_is_lost",
            "a_load_checks_its_staged_rows_again_on_the_new_head",
        ],
    ),
    rule(
        4,
        "tries are bounded",
        &[
            "a_write_that_is_always_overtaken_says_by_what",
            "a_write_whose_time_ends_in_the_queue_has_no_effect",
            "a_write_whose_time_ends_while_it_is_prepared_has_no_effect",
        ],
    ),
    rule(
        4,
        "a conditional write goes behind nothing but upkeep",
        &[
            "a_conditional_write_does_not_go_behind_another_commit",
            "a_condition_holds_over_maintenance_fences_and_sweeps",
        ],
    ),
    rule(
        4,
        "writers of one process queue by branch, and branches do not wait for each other",
        &[
            "writers_of_one_process_queue_and_do_not_conflict",
            "different_branches_never_wait_for_each_other",
        ],
    ),
    rule(
        4,
        "a write that dies leaves files that nothing names, and nothing else",
        &["files_of_writers_that_died_are_removed_in_the_end"],
    ),
    rule(
        4,
        "with a key a request lands once, whoever repeats it",
        &[
            "a_key_belongs_to_one_request_of_one_actor",
            "a_claim_of_a_dead_process_is_carried_on",
            "a_claim_whose_answer_was_lost_is_recognised",
            "of_two_requests_with_one_key_that_race_one_lands",
            "a_request_that_slept_until_its_claim_was_collected_lands_once",
            "a_mutation_with_a_key_is_done_once_however_often_it_is_repeated",
        ],
    ),
    rule(
        4,
        "the source of a merge ends exactly behind the head that was merged",
        &[
            "the_source_is_deleted_behind_the_merged_head",
            "a_source_that_moved_after_it_was_merged_stays",
        ],
    ),
    rule(
        4,
        "a load that forks is one append",
        &[
            "a_load_can_fork_its_branch_in_the_same_append",
            "two_loads_that_fork_the_same_branch_both_land",
        ],
    ),
    rule(
        4,
        "a stream without its end commits nothing",
        &[
            "a_load_that_is_dropped_or_fails_leaves_no_trace",
            "a_compressed_stream_that_breaks_off_loads_nothing",
            "an_interrupted_load_leaves_nothing",
        ],
    ),
    rule(
        4,
        "files of a write that took more than a day may be gone",
        &[
            "a_load_of_more_than_a_day_is_refused",
            "a_load_into_a_new_branch_that_slept_for_days_is_withdrawn",
        ],
    ),
    rule(
        7,
        "two that maintain the same table do no harm",
        &[
            "the_same_work_done_twice_lands_once",
            "replicas_that_maintain_one_graph_at_once_lose_nothing",
        ],
    ),
    rule(
        7,
        "finished maintenance is put upon a new head where its fragments are unchanged",
        &[
            "a_rewrite_lands_on_a_branch_that_got_new_rows_meanwhile",
            "a_rewrite_of_rows_that_were_deleted_meanwhile_is_dropped",
            "only_the_tables_that_changed_are_done_anew",
            "a_write_that_was_prepared_before_a_rewrite_runs_again_after_it",
        ],
    ),
    rule(
        7,
        "maintenance from before a collection is dropped",
        &["work_from_before_a_collection_is_dropped"],
    ),
    rule(
        7,
        "roots are what is retained, bases, what was merged, and tags",
        &[
            "what_was_a_head_within_the_age_is_kept",
            "what_a_branch_stands_on_is_kept",
            "the_bases_of_later_merges_are_kept_and_can_be_found",
            "the_commits_of_a_deleted_branch_go_unless_they_were_merged",
            "what_a_tag_names_is_kept_until_the_tag_is_deleted",
        ],
    ),
    rule(
        7,
        "only what is older than a day is condemned, and removed a day later",
        &[
            "nothing_young_is_condemned",
            "condemned_objects_go_after_a_day_and_not_before",
        ],
    ),
    rule(
        7,
        "a writer that finds a sweep starts from scratch",
        &["a_writer_that_staged_before_the_mark_starts_from_scratch"],
    ),
    rule(
        7,
        "branches are listed and marked again before anything is removed",
        &[
            "a_branch_that_appears_while_the_branches_are_told_is_marked",
            "what_is_referred_to_again_between_the_phases_stays",
            "tables_that_move_from_one_branch_to_another_while_heads_are_read_are_marked",
        ],
    ),
    rule(
        7,
        "only what is condemned and still unmarked is removed, whoever else collects",
        &[
            "two_collectors_at_once_do_no_harm",
            "a_collector_that_comes_late_removes_nothing_new",
            "an_object_that_is_missing_stops_the_collection_before_it_removes_anything",
        ],
    ),
    rule(
        7,
        "who makes an old commit reachable looks at it again afterwards",
        &[
            "a_branch_made_at_a_commit_that_is_being_reclaimed_is_withdrawn",
            "a_branch_at_a_head_that_was_read_days_ago_is_withdrawn",
            "a_tag_made_at_a_commit_that_is_being_reclaimed_is_withdrawn",
        ],
    ),
    rule(
        7,
        "nobody adopts tables that are removed meanwhile",
        &[
            "a_merge_does_not_adopt_tables_that_were_removed_meanwhile",
            "a_revert_does_not_bring_back_tables_that_were_removed_meanwhile",
        ],
    ),
    rule(
        7,
        "a collection that dies is carried on",
        &[
            "a_crash_at_any_write_of_the_first_phase",
            "a_crash_at_any_write_of_the_second_phase",
            "a_crash_at_any_removal",
        ],
    ),
];

/// Names of functions in the sources below a directory.
fn functions(directory: &Path, into: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            functions(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            into.extend(text.lines().filter_map(function));
        }
    }
}

fn function(line: &str) -> Option<String> {
    let line = line.trim_start();
    let line = line.strip_prefix("async ").unwrap_or(line);
    let (name, _) = line.strip_prefix("fn ")?.split_once('(')?;
    Some(name.to_owned())
}

#[test]
fn every_rule_has_tests_that_are_there() {
    let engine = super::package();
    let mut known = BTreeSet::new();
    for directory in [
        "src",
        "../../integration-tests/tests",
        "../../data-plane/src",
    ] {
        functions(&engine.join(directory), &mut known);
    }
    for Rule {
        section,
        rule,
        tests,
    } in RULES
    {
        assert!(!tests.is_empty(), "section {section}, {rule}: no test");
        for test in *tests {
            assert!(
                known.contains(*test),
                "section {section}, {rule}: {test} is not there"
            );
        }
    }
    let sections: BTreeSet<u8> = RULES.iter().map(|rule| rule.section).collect();
    assert_eq!(sections, BTreeSet::from([1, 4, 7]));
}

/// Every commit relies on exactly one winner, so that a process looks before it writes.
#[tokio::test]
async fn a_store_that_lets_two_create_the_same_object_is_refused() {
    let world = World::new(SCHEMA).await;
    let before = world.state().await;
    let options = world.engine.store().options().clone();
    let store = Store::open("memory://proof", options).await.unwrap();
    let objects = store.object_store().clone();
    let prefix = store.path("graphs");
    // The second create finds nothing in its way.
    let forget = hook(async move {
        let listed = objects.list(Some(&prefix)).try_collect::<Vec<_>>().await;
        for object in listed.unwrap() {
            if object.location.as_ref().contains("/probe-") {
                objects.delete(&object.location).await.unwrap();
            }
        }
    });
    world
        .faults
        .on_nth(Op::Put, "/probe-", 1, Fault::Before(forget));
    let graph = Engine::new(store, EngineOptions::for_checks())
        .open_graph(&world.root)
        .await
        .unwrap();
    let source = r#"query q() { insert Package { name: "x" } }"#;
    let (main, params) = (BranchName::main(), serde_json::Map::new());
    let options = WriteOptions::default();
    let told = graph.mutate(&main, source, None, &params, &options).await;
    assert!(world.faults.exhausted());
    let error = told.map(|_| ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("the same object"), "{error}");
    assert_eq!(world.state().await, before);
    // The store may have been mended since.
    graph
        .mutate(&main, source, None, &params, &options)
        .await
        .unwrap();
}
