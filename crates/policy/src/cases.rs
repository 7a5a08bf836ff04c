//! Tests of a bundle that its authors write: calls, and what is to become of them.

use std::collections::BTreeSet;

use crate::action::Action;
use crate::bundle::Reader;
use crate::call::{Call, Caller};
use crate::finding::{Finding, Place};
use crate::policy::{EvaluationError, Policy};
use crate::yaml::{self, Node};

/// One case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Its name; unique in the file.
    pub id: String,
    /// Who calls.
    pub actor: String,
    /// Values of the groups claim.
    pub groups: Vec<String>,
    /// What the call wants.
    pub action: Action,
    /// The branch that it is about.
    pub branch: Option<String>,
    /// The branch that it would change.
    pub target_branch: Option<String>,
    /// The type that it touches.
    pub entity_type: Option<String>,
    /// The stored query that it runs.
    pub query: Option<String>,
    /// The graph whose bundle decides; `None`: the only one that fits.
    pub graph: Option<String>,
    /// Whether it is to be allowed.
    pub allow: bool,
    /// The rule that is to allow it; not compared when no rule matched.
    pub rule: Option<String>,
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether the call was allowed.
    pub allowed: bool,
    /// The rule that decided.
    pub rule: Option<String>,
    /// Whether that is what the case expects.
    pub passed: bool,
}

const FILE_KEYS: [&str; 2] = ["version", "cases"];
const CASE_KEYS: [&str; 11] = [
    "id",
    "actor",
    "groups",
    "action",
    "branch",
    "target_branch",
    "type",
    "query",
    "graph",
    "expect",
    "rule",
];

impl Case {
    /// Reads a file of cases; every finding at once.
    pub fn parse(text: &str) -> Result<Vec<Case>, Vec<Finding>> {
        let mut reader = Reader::default();
        let Some(top) = yaml::read(text, &mut reader.findings) else {
            return Err(reader.findings.sorted());
        };
        let keys = reader.map(&top, "the file", &FILE_KEYS);
        reader.version(&keys, top.place);
        let mut cases: Vec<Case> = Vec::new();
        let mut seen: BTreeSet<String> = BTreeSet::new();
        match keys.get("cases") {
            None => reader.missing(&top, "", "cases"),
            Some((_, list)) => {
                for node in reader.list(list, "cases") {
                    if let Some((case, at)) = case(&mut reader, node) {
                        if !seen.insert(case.id.clone()) {
                            let message = format!("case id '{}' is used twice", case.id);
                            reader.findings.error("C208", at, message);
                        }
                        cases.push(case);
                    }
                }
            }
        }
        match reader.findings.list.is_empty() {
            true => Ok(cases),
            false => Err(reader.findings.sorted()),
        }
    }

    /// Runs the case.
    pub fn run(&self, policy: &Policy) -> Result<Outcome, EvaluationError> {
        let caller = Caller {
            actor: Some(&self.actor),
            claims: &self.groups,
        };
        let decision = policy.decide(&caller, &self.call())?;
        let rule = decision.rule().map(str::to_owned);
        let allowed = decision.is_allowed();
        let rule_fits = match (&self.rule, &rule) {
            (Some(expected), Some(rule)) => expected == rule,
            _ => true,
        };
        Ok(Outcome {
            passed: allowed == self.allow && rule_fits,
            allowed,
            rule,
        })
    }

    fn call(&self) -> Call<'_> {
        Call {
            action: self.action,
            branch: self.branch.as_deref(),
            target: self.target_branch.as_deref(),
            entity_type: self.entity_type.as_deref(),
            query: self.query.as_deref(),
        }
    }
}

fn case(reader: &mut Reader, node: &Node) -> Option<(Case, Place)> {
    let keys = reader.map(node, "a case", &CASE_KEYS);
    let mut text = |key: &str, needed: bool| -> Option<String> {
        match keys.get(key) {
            None => {
                if needed {
                    reader.missing(node, "", key);
                }
                None
            }
            Some((_, value)) => {
                let text = value.text().map(str::to_owned);
                if text.is_none() {
                    let message = format!("'{key}' must be a text that is not blank");
                    let code = if key == "id" { "C208" } else { "C204" };
                    reader.findings.error(code, value.place, message);
                }
                text
            }
        }
    };
    let (id, actor) = (text("id", true), text("actor", true));
    let (action, expect) = (text("action", true), text("expect", true));
    let (branch, target_branch) = (text("branch", false), text("target_branch", false));
    let (entity_type, query) = (text("type", false), text("query", false));
    let (graph, rule) = (text("graph", false), text("rule", false));
    let groups = match keys.get("groups") {
        None => BTreeSet::new(),
        Some((_, list)) => reader.texts(list, "groups", true),
    };
    let place_of = |key: &str| keys.get(key).map_or(node.place, |(_, value)| value.place);
    let action = action.and_then(|name| {
        let known = Action::parse(&name);
        if known.is_none() {
            let message = format!("action '{name}' is not known");
            reader.findings.error("C205", place_of("action"), message);
        }
        known
    });
    let allow = expect.and_then(|word| match word.as_str() {
        "allow" => Some(true),
        "deny" => Some(false),
        _ => {
            let message = "expect must be allow or deny";
            reader.findings.error("C204", place_of("expect"), message);
            None
        }
    });
    let case = Case {
        id: id?,
        actor: actor?,
        groups: groups.into_iter().collect(),
        action: action?,
        branch,
        target_branch,
        entity_type,
        query,
        graph,
        allow: allow?,
        rule,
    };
    Some((case, place_of("id")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::Bundle;
    use crate::policy::Resource;

    #[test]
    fn cases_pass_or_say_what_came_instead() {
        let bundle = "version: 1\ngroups: { team: [act-bruno] }\nexternal_groups: { admins: [\"idp:admins\"] }\nprotected_branches: [main]\nrules:\n  - { id: team-write, allow: { actors: { group: team }, actions: [change], branch_scope: unprotected } }\n  - { id: admins-merge, allow: { actors: { group: admins }, actions: [branch_merge] } }\n";
        let bundle = Bundle::parse(bundle).expect("a bundle");
        let policy = Policy::compile(&bundle, Resource::Graph("g".to_owned())).expect("compiles");
        let cases = Case::parse(
            "version: 1\ncases:\n  - { id: a, actor: act-bruno, action: change, branch: review/x, expect: allow }\n  - { id: b, actor: act-bruno, action: change, branch: main, expect: allow }\n  - { id: c, actor: \"jwt:eve\", groups: [\"idp:admins\"], action: branch_merge, target_branch: main, expect: allow, rule: admins-merge }\n  - { id: d, actor: act-bruno, action: change, branch: x, expect: allow, rule: admins-merge }\n  - { id: e, actor: act-bruno, action: read, expect: deny, rule: team-write }\n",
        );
        let cases = cases.expect("no mistakes");
        let passed = cases.iter().map(|case| {
            let outcome = case.run(&policy).expect("evaluates");
            (case.id.as_str(), outcome.passed, outcome.allowed)
        });
        let expected = [
            ("a", true, true),
            ("b", false, false),
            ("c", true, true),
            ("d", false, true),
            ("e", true, false),
        ];
        assert_eq!(passed.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn mistakes_in_cases_are_told_all_at_once() {
        let found = Case::parse(
            "version: 2\ncases:\n  - { id: a, actor: \" \", action: fly, expect: maybe }\n  - { id: a, actor: x, action: read, expect: deny, who: me }\n  - { id: a, actor: x, action: read, expect: deny }\n  - { id: \"\", actor: x, action: read }\n",
        );
        let lines = found
            .expect_err("mistakes")
            .into_iter()
            .map(|f| format!("{}:{} {}", f.place.line, f.place.column, f.message));
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [
                "1:10 version must be 1",
                "3:21 'actor' must be a text that is not blank",
                "3:34 action 'fly' is not known",
                "3:47 expect must be allow or deny",
                "4:52 key 'who' is not known",
                "5:11 case id 'a' is used twice",
                "6:5 key 'expect' is missing",
                "6:11 'id' must be a text that is not blank",
            ]
        );
    }
}
