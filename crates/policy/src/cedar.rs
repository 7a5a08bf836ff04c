//! Bundles in Cedar's own language, over the same schema.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use cedar_policy::{PolicyId, PolicySet, ValidationMode, Validator};
use miette::Diagnostic;

use crate::bundle::Groups;
use crate::compile::{CompileError, schema};
use crate::finding::{Finding, Place};
use crate::policy::{Form, Policy, Resource};

/// A bundle in Cedar's own language, without errors.
#[derive(Clone, Debug)]
pub struct CedarBundle {
    set: PolicySet,
    groups: Groups,
}

impl CedarBundle {
    /// Reads and validates a text. Rules are called by their `@id`, else `policy<n>`. The second
    /// part is warnings, about policies that can never apply.
    pub fn parse(text: &str, groups: Groups) -> Result<(CedarBundle, Vec<Finding>), Vec<Finding>> {
        let parsed = PolicySet::from_str(text).map_err(|errors| {
            let each = errors.iter().map(|error| refused(text, error, false, None));
            each.collect::<Vec<_>>()
        })?;
        if let Some(template) = parsed.templates().next() {
            let message = format!(
                "template '{}' is not supported: write policies",
                template.id()
            );
            return Err(vec![at_start(message)]);
        }
        let set = named(&parsed)?;
        let schema = schema().map_err(|error| vec![at_start(error.to_string())])?;
        let validated = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
        let errors: Vec<Finding> = validated
            .validation_errors()
            .map(|error| refused(text, error, false, Some(error.policy_id())))
            .collect();
        if !errors.is_empty() {
            return Err(errors);
        }
        let warnings = validated
            .validation_warnings()
            .map(|warning| refused(text, warning, true, None))
            .collect();
        Ok((CedarBundle { set, groups }, warnings))
    }

    /// How many rules it has.
    pub fn rule_count(&self) -> usize {
        self.set.policies().count()
    }

    /// Groups and protected branches beside it.
    pub fn groups(&self) -> &Groups {
        &self.groups
    }

    /// The bundle for a graph, or for the server.
    pub fn compile(&self, resource: &Resource) -> Result<Policy, CompileError> {
        let (set, groups) = (self.set.clone(), self.groups.clone());
        Policy::of_set(set, groups, resource, Form::Cedar)
    }
}

/// The same policies under the ids that their annotations give them.
fn named(parsed: &PolicySet) -> Result<PolicySet, Vec<Finding>> {
    // `policy<n>` counts from 0 in the order of the text.
    let number = |id: &str| {
        id.strip_prefix("policy")
            .and_then(|n| n.parse::<u32>().ok())
    };
    let mut policies: BTreeMap<_, _> = BTreeMap::new();
    for policy in parsed.policies() {
        let id: &str = policy.id().as_ref();
        policies.insert((number(id), id.to_owned()), policy);
    }
    let mut set = PolicySet::new();
    let mut findings = Vec::new();
    for ((_, id), policy) in policies {
        let named = policy.annotation("id").map(str::trim).unwrap_or(&id);
        if named.is_empty() {
            findings.push(at_start(format!("the @id of {id} is blank")));
        } else if set.add(policy.new_id(PolicyId::new(named))).is_err() {
            findings.push(at_start(format!("@id '{named}' is used twice")));
        }
    }
    match findings.is_empty() {
        true => Ok(set),
        false => Err(findings),
    }
}

fn at_start(message: String) -> Finding {
    Finding {
        code: "C211",
        warning: false,
        message,
        place: Place {
            line: 1,
            column: 1,
            ..Place::default()
        },
        rule: None,
        hint: None,
    }
}

fn refused(text: &str, error: &dyn Diagnostic, warning: bool, rule: Option<&PolicyId>) -> Finding {
    let label = error.labels().and_then(|mut labels| labels.next());
    let place = label.map_or_else(
        || at_start(String::new()).place,
        |label| place_of(text, label.offset(), label.len()),
    );
    Finding {
        code: if warning { "C212" } else { "C211" },
        warning,
        message: error.to_string(),
        place,
        rule: rule.map(ToString::to_string),
        hint: error.help().map(|help| help.to_string()),
    }
}

fn place_of(text: &str, start: usize, length: usize) -> Place {
    let before = text.get(..start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let of_line = before.rsplit('\n').next().unwrap_or_default();
    Place {
        start,
        end: start + length,
        line: u32::try_from(line).unwrap_or(u32::MAX),
        column: u32::try_from(of_line.chars().count() + 1).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Action;
    use crate::call::{Call, Caller};
    use crate::policy::{Decision, Denial};

    const GROUPS: &str = "version: 1\ngroups: { team: [act-a] }\nprotected_branches: [main]\n";

    fn parse(text: &str) -> Result<(CedarBundle, Vec<Finding>), Vec<Finding>> {
        CedarBundle::parse(text, Groups::parse(GROUPS).expect("groups"))
    }

    fn told(found: &[Finding]) -> Vec<String> {
        let line = |f: &Finding| {
            format!(
                "{}:{} {} {}",
                f.place.line, f.place.column, f.code, f.message
            )
        };
        found.iter().map(line).collect()
    }

    #[test]
    fn cedar_has_forbids_and_any_graph() {
        let text = "@id(\"readers\")\npermit (principal in Omnigraph::Group::\"team\", action == Omnigraph::Action::\"read\", resource);\n\
                    permit (principal, action == Omnigraph::Action::\"export\", resource == Omnigraph::Graph::\"b\");\n\
                    @id(\"not-main\")\nforbid (principal, action, resource is Omnigraph::Graph) when { context.branch_is_protected };\n";
        let (bundle, warnings) = parse(text).expect("valid");
        assert_eq!(warnings, []);
        assert_eq!(bundle.rule_count(), 3);
        let decide = |graph: &str, actor, call: Call<'_>| {
            let policy = bundle
                .compile(&Resource::Graph(graph.to_owned()))
                .expect("compiles");
            let caller = Caller {
                actor: Some(actor),
                claims: &[],
            };
            policy.decide(&caller, &call).expect("evaluates")
        };
        let rule = |rule: &str| Decision::Allow {
            rule: rule.to_owned(),
        };
        let read = Call::new(Action::Read).on("dev");
        assert_eq!(decide("a", "act-a", read), rule("readers"));
        assert_eq!(decide("a", "act-b", read), Decision::Deny(Denial::NoRule));
        let export = Call::new(Action::Export);
        assert_eq!(decide("b", "act-b", export), rule("policy1"));
        assert_eq!(decide("a", "act-b", export), Decision::Deny(Denial::NoRule));
        let forbidden = Decision::Deny(Denial::Forbidden {
            rule: "not-main".to_owned(),
        });
        assert_eq!(decide("a", "act-a", read.on("main")), forbidden);
    }

    #[test]
    fn mistakes_have_places() {
        let syntax = parse("permit (principal, action, resource)\n").expect_err("no semicolon");
        assert!(told(&syntax)[0].starts_with("1:37 C211 "), "{syntax:?}");
        let unknown = "permit (principal, action, resource)\n  when { context.colour == 1 };\n";
        let found = parse(unknown).expect_err("no such attribute");
        assert!(told(&found)[0].starts_with("2:10 C211 "), "{found:?}");
        assert_eq!(found[0].rule.as_deref(), Some("policy0"));
        let twice = "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") permit (principal, action, resource);\n";
        let found = parse(twice).expect_err("one id");
        assert_eq!(told(&found), ["1:1 C211 @id 'a' is used twice"]);
        let template = "permit (principal == ?principal, action, resource);\n";
        assert!(parse(template).is_err());
    }

    #[test]
    fn what_can_never_apply_is_a_warning() {
        let never = "permit (principal, action, resource) when { false };\n";
        let (_, warnings) = parse(never).expect("valid");
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].warning);
    }
}
