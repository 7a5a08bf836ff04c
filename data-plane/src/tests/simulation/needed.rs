//! What the protocol's rules are for: without any one of them, some seed violates something. A rule
//! that could be left out unnoticed would be a gap of the simulation, or no rule. The rules inside a
//! log and a graph have tests of their own in the engine.

use omnigraph_control_plane::rule::{Rule, Rules};

use super::faults::Profile;
use super::run::run_with;

/// So many seeds are run before a rule counts as not needed.
const MOST: u64 = 400;

/// Runs seeds without a rule until one violates something.
fn needed(rule: Rule) {
    let profile = match rule {
        // Whoever takes the lead from a living leader disturbs what it does, and breaks nothing.
        Rule::Watch => Profile::outage(),
        _ => Profile::duel(),
    };
    let most = super::setting("OMNIGRAPH_SIM_RUNS").unwrap_or(MOST);
    let rules = Rules::without(rule);
    let found = (0..most).find_map(|seed| {
        let outcome = run_with(profile.clone(), seed, &rules, false);
        Some((seed, outcome.violated?))
    });
    let Some((seed, what)) = found else {
        panic!("{most} seeds violate nothing without {rule:?}");
    };
    println!("without {rule:?}, seed {seed}: {what}");
}

macro_rules! needed {
    ($($name:ident: $rule:ident,)*) => {
        $(
            #[test]
            fn $name() {
                needed(Rule::$rule);
            }
        )*
    };
}

needed! {
    a_leader_is_watched_before_it_is_replaced: Watch,
    only_the_leader_appends_revisions: LeaderAppends,
    the_catalog_comes_before_the_ledger: CatalogFirst,
    an_armed_operation_looks_at_the_ledger_again: SecondLook,
    a_sidecar_stays_until_its_commit_is_impossible: Proof,
    a_sidecar_stays_until_the_ledger_knows: LedgerFirst,
    a_policy_comes_with_the_schema: PolicyWithSchema,
    sidecars_are_resolved: Sweep,
    a_recovery_fences: Fence,
    a_graph_ends_after_the_ledger_says_so: EndLater,
}

#[test]
fn every_rule_is_tried() {
    let own = include_str!("needed.rs");
    for rule in Rule::ALL {
        let tried = format!(": {rule:?},");
        assert!(own.contains(&tried), "{rule:?} is not in the list above");
    }
}
