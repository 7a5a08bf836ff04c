//! Reading bundles: strict, with every finding at once.

use std::collections::{BTreeMap, BTreeSet};

use super::{Bundle, Groups, Protection, Rule, Scope};
use crate::action::{Action, Kind, ScopeTaken};
use crate::finding::{Finding, Findings, Place};
use crate::yaml::{self, Node, Value};

const GROUP_KEYS: [&str; 4] = ["version", "groups", "external_groups", "protected_branches"];
const BUNDLE_KEYS: [&str; 6] = [
    "version",
    "kind",
    "groups",
    "external_groups",
    "protected_branches",
    "rules",
];
const RULE_KEYS: [&str; 2] = ["id", "allow"];
const ALLOW_KEYS: [&str; 6] = [
    "actors",
    "actions",
    "branch_scope",
    "target_branch_scope",
    "types",
    "queries",
];

pub(super) fn bundle(text: &str) -> Result<Bundle, Vec<Finding>> {
    let mut reader = Reader::default();
    let bundle = yaml::read(text, &mut reader.findings).map(|top| reader.bundle(&top));
    reader.finish(bundle)
}

pub(super) fn groups(text: &str) -> Result<Groups, Vec<Finding>> {
    let mut reader = Reader::default();
    let groups = yaml::read(text, &mut reader.findings).map(|top| {
        let keys = reader.map(&top, "the file", &GROUP_KEYS);
        reader.version(&keys, top.place);
        reader.groups(&keys)
    });
    reader.finish(groups)
}

/// The entries of a mapping by key.
type Keys<'n> = BTreeMap<&'n str, (&'n Node, &'n Node)>;

#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) findings: Findings,
}

impl Reader {
    fn finish<T: Default>(self, read: Option<T>) -> Result<T, Vec<Finding>> {
        match (self.findings.list.is_empty(), read) {
            (true, Some(read)) => Ok(read),
            _ => Err(self.findings.sorted()),
        }
    }

    fn bundle(&mut self, top: &Node) -> Bundle {
        let keys = self.map(top, "the bundle", &BUNDLE_KEYS);
        self.version(&keys, top.place);
        let declared = keys.get("kind").and_then(|(_, node)| self.kind(node));
        let groups = self.groups(&keys);
        let mut rules = Vec::new();
        if let Some((_, list)) = keys.get("rules") {
            for node in self.list(list, "rules") {
                rules.extend(self.rule(node, &groups));
                self.findings.rule = None;
            }
        }
        self.unique_ids(&rules);
        let kind = self.agreed_kind(declared, &rules);
        Bundle {
            kind,
            groups,
            rules,
        }
    }

    pub(crate) fn version(&mut self, keys: &Keys<'_>, top: Place) {
        match keys.get("version") {
            None => {
                let message = "key 'version' is missing: add `version: 1`";
                self.findings.error("C204", top, message);
            }
            Some((_, node)) => match &node.value {
                Value::Scalar { text, plain: true } if text == "1" => {}
                _ => self.findings.error("C204", node.place, "version must be 1"),
            },
        }
    }

    fn kind(&mut self, node: &Node) -> Option<Kind> {
        match node.text() {
            Some("graph") => Some(Kind::Graph),
            Some("server") => Some(Kind::Server),
            _ => {
                self.findings
                    .error("C204", node.place, "kind must be graph or server");
                None
            }
        }
    }

    fn groups(&mut self, keys: &Keys<'_>) -> Groups {
        let mut groups = Groups::default();
        if let Some((_, node)) = keys.get("groups") {
            groups.members = self.named_lists(node, "group");
        }
        if let Some((_, node)) = keys.get("external_groups") {
            groups.external = self.named_lists(node, "external group");
        }
        if let Some((_, node)) = keys.get("protected_branches")
            && !node.is_null()
        {
            groups.protected = self.texts(node, "protected_branches", true);
        }
        groups
    }

    /// `name: [member, …]`, each with at least one.
    fn named_lists(&mut self, node: &Node, what: &str) -> BTreeMap<String, BTreeSet<String>> {
        let mut lists = BTreeMap::new();
        for (name, (key, list)) in self.map(node, &format!("{what}s"), &[]) {
            if name.trim().is_empty() {
                let message = format!("the name of a {what} is blank");
                self.findings.error("C208", key.place, message);
                continue;
            }
            let members = self.texts(list, &format!("{what} '{name}'"), false);
            lists.insert(name.to_owned(), members);
        }
        lists
    }

    fn rule(&mut self, node: &Node, groups: &Groups) -> Option<Rule> {
        // The id is looked up first, so that every finding about the rule can name it.
        if let Value::Map(entries) = &node.value {
            let id = entries.iter().find(|(key, _)| key.text() == Some("id"));
            self.findings.rule = id.and_then(|(_, id)| id.text()).map(str::to_owned);
        }
        let keys = self.map(node, "a rule", &RULE_KEYS);
        let id = match keys.get("id") {
            Some((_, id)) => {
                if id.text().is_none() {
                    let message = "the id of a rule must be a text that is not blank";
                    self.findings.error("C208", id.place, message);
                }
                id.text().map(str::to_owned)
            }
            None => {
                self.missing(node, "", "id");
                None
            }
        };
        let Some((_, allow)) = keys.get("allow") else {
            self.missing(node, "", "allow");
            return None;
        };
        let place = keys.get("id").map_or(node.place, |(_, id)| id.place);
        let rule = self.allow(allow, groups)?;
        Some(Rule {
            id: id?,
            place,
            ..rule
        })
    }

    fn allow(&mut self, node: &Node, groups: &Groups) -> Option<Rule> {
        let keys = self.map(node, "'allow'", &ALLOW_KEYS);
        let group = match keys.get("actors") {
            Some((_, actors)) => self.group(actors, groups),
            None => {
                self.missing(node, "allow", "actors");
                None
            }
        };
        let actions = match keys.get("actions") {
            Some((_, actions)) => self.actions(actions),
            None => {
                self.missing(node, "allow", "actions");
                Vec::new()
            }
        };
        let scope = self.scope(&keys, &actions);
        let types = self.narrowed(&keys, "types", &actions, Action::takes_types);
        let queries = self.narrowed(&keys, "queries", &actions, Action::takes_queries);
        Some(Rule {
            id: String::new(),
            group: group?,
            actions: actions.iter().map(|(action, _)| *action).collect(),
            scope,
            types,
            queries,
            place: node.place,
        })
    }

    /// `{ group: team }`.
    fn group(&mut self, node: &Node, groups: &Groups) -> Option<String> {
        let keys = self.map(node, "'actors'", &["group"]);
        let Some((_, name)) = keys.get("group") else {
            self.missing(node, "actors", "group");
            return None;
        };
        let Some(text) = name.text() else {
            self.findings
                .error("C204", name.place, "'group' must be a text");
            return None;
        };
        if !groups.contains(text) {
            let mut known: Vec<&str> = groups.members.keys().map(String::as_str).collect();
            known.extend(groups.external.keys().map(String::as_str));
            known.sort_unstable();
            known.dedup();
            let hint = match known.is_empty() {
                true => "the bundle declares no groups".to_owned(),
                false => format!("known here: {}", known.join(", ")),
            };
            let message = format!("group '{text}' is not declared");
            self.findings.hinted("C207", name.place, message, hint);
        }
        Some(text.to_owned())
    }

    fn actions(&mut self, node: &Node) -> Vec<(Action, Place)> {
        let mut actions: Vec<(Action, Place)> = Vec::new();
        let list = self.list(node, "actions");
        if list.is_empty() && matches!(node.value, Value::List(_)) {
            let message = "'actions' is empty: name what is allowed";
            self.findings.error("C204", node.place, message);
        }
        for item in list {
            let Some(name) = item.text() else {
                let message = "an action must be a text";
                self.findings.error("C204", item.place, message);
                continue;
            };
            let Some(action) = Action::parse(name) else {
                let known = Action::ALL.map(Action::name).join(", ");
                let message = format!("action '{name}' is not known");
                let hint = format!("known: {known}");
                self.findings.hinted("C205", item.place, message, hint);
                continue;
            };
            if actions.iter().any(|(known, _)| *known == action) {
                let message = format!("action '{name}' is named twice");
                self.findings.error("C204", item.place, message);
                continue;
            }
            actions.push((action, item.place));
        }
        let first = actions.first().map(|(action, _)| *action);
        let other = actions
            .iter()
            .find(|(action, _)| first.is_some_and(|first| first.kind() != action.kind()));
        if let (Some(first), Some((action, place))) = (first, other) {
            let message = format!(
                "'{first}' is about a {}, '{action}' about the {}: a bundle has one kind",
                first.kind(),
                action.kind()
            );
            self.findings.error("C209", *place, message);
        }
        actions
    }

    fn scope(&mut self, keys: &Keys<'_>, actions: &[(Action, Place)]) -> Scope {
        let both = [ScopeTaken::Branch, ScopeTaken::Target];
        let given = both.map(|taken| keys.get(taken.key()).map(|entry| (taken, *entry)));
        if let [Some(_), Some((_, (key, _)))] = given {
            let message = "a rule has branch_scope or target_branch_scope, not both";
            self.findings.error("C206", key.place, message);
        }
        let mut scope = Scope::Any;
        for (taken, (key, value)) in given.into_iter().flatten() {
            let misfit = actions.iter().find(|(action, _)| action.scope() != taken);
            if let Some((action, _)) = misfit {
                let message = format!("action '{action}' takes no {}", taken.key());
                let hint = match action.scope() {
                    ScopeTaken::None => format!("'{action}' is not about a branch"),
                    other => format!("'{action}' takes {}", other.key()),
                };
                self.findings.hinted("C206", key.place, message, hint);
            }
            let protection = match value.text() {
                Some("any") => None,
                Some("protected") => Some(Protection::Protected),
                Some("unprotected") => Some(Protection::Unprotected),
                _ => {
                    let message = format!("{} must be any, protected or unprotected", taken.key());
                    self.findings.error("C206", value.place, message);
                    None
                }
            };
            scope = match (taken, protection) {
                (ScopeTaken::Branch, Some(protection)) => Scope::Branch(protection),
                (ScopeTaken::Target, Some(protection)) => Scope::Target(protection),
                _ => scope,
            };
        }
        scope
    }

    /// `types` and `queries`: a list that only some actions take.
    fn narrowed(
        &mut self,
        keys: &Keys<'_>,
        key: &str,
        actions: &[(Action, Place)],
        takes: fn(Action) -> bool,
    ) -> Option<BTreeSet<String>> {
        let (name, list) = keys.get(key)?;
        if let Some((action, _)) = actions.iter().find(|(action, _)| !takes(*action)) {
            let able = Action::ALL.into_iter().filter(|action| takes(*action));
            let able: Vec<&str> = able.map(Action::name).collect();
            let message = format!("action '{action}' takes no {key}");
            let hint = format!("{key} only go with {}", able.join(", "));
            self.findings.hinted("C210", name.place, message, hint);
        }
        Some(self.texts(list, key, false))
    }

    fn unique_ids(&mut self, rules: &[Rule]) {
        let mut seen = BTreeSet::new();
        for rule in rules {
            if !seen.insert(rule.id.as_str()) {
                let message = format!("rule id '{}' is used twice", rule.id);
                self.findings.error("C208", rule.place, message);
            }
        }
    }

    /// The kind of all rules, and of the key if it is there.
    fn agreed_kind(&mut self, declared: Option<Kind>, rules: &[Rule]) -> Option<Kind> {
        let kind_of = |rule: &Rule| rule.actions.first().map(|action| action.kind());
        let first = rules.iter().find_map(kind_of);
        let kind = declared.or(first);
        for rule in rules {
            let own = kind_of(rule);
            if own.is_some() && own != kind {
                let (own, kind) = (own.map_or("", Kind::name), kind.map_or("", Kind::name));
                let message = format!(
                    "its actions are about the {own}, the bundle is about the {kind}: make two bundles"
                );
                self.findings.rule = Some(rule.id.clone());
                self.findings.error("C209", rule.place, message);
                self.findings.rule = None;
            }
        }
        kind
    }

    /// The entries of a mapping; an empty list of known keys knows every key.
    pub(crate) fn map<'n>(&mut self, node: &'n Node, what: &str, known: &[&str]) -> Keys<'n> {
        let mut keys = Keys::new();
        let Value::Map(entries) = &node.value else {
            if !node.is_null() {
                let message = format!("{what} must be a mapping");
                self.findings.error("C204", node.place, message);
            }
            return keys;
        };
        for (key, value) in entries {
            let Value::Scalar { text, .. } = &key.value else {
                self.findings
                    .error("C204", key.place, "a key must be a text");
                continue;
            };
            if !known.is_empty() && !known.contains(&text.as_str()) {
                let message = format!("key '{text}' is not known");
                let hint = format!("known here: {}", known.join(", "));
                self.findings.hinted("C203", key.place, message, hint);
                continue;
            }
            if keys.insert(text.as_str(), (key, value)).is_some() {
                let message = format!("key '{text}' is given twice");
                self.findings.error("C202", key.place, message);
            }
        }
        keys
    }

    pub(crate) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.value {
            Value::List(items) => items,
            _ if node.is_null() => &[],
            _ => {
                let message = format!("'{what}' must be a list");
                self.findings.error("C204", node.place, message);
                &[]
            }
        }
    }

    /// A list of texts, none blank, none twice.
    pub(crate) fn texts(
        &mut self,
        node: &Node,
        what: &str,
        may_be_empty: bool,
    ) -> BTreeSet<String> {
        let mut texts = BTreeSet::new();
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            _ => {
                let message = format!("{what} must be a list of texts");
                self.findings.error("C204", node.place, message);
                return texts;
            }
        };
        if items.is_empty() && !may_be_empty {
            let message = format!("{what} is empty: name at least one");
            self.findings.error("C204", node.place, message);
        }
        for item in items {
            match item.text() {
                None => {
                    let message = format!("{what} has an entry that is blank or no text");
                    self.findings.error("C204", item.place, message);
                }
                Some(text) => {
                    if !texts.insert(text.to_owned()) {
                        let message = format!("{what} names '{text}' twice");
                        self.findings.error("C204", item.place, message);
                    }
                }
            }
        }
        texts
    }

    pub(crate) fn missing(&mut self, node: &Node, what: &str, key: &str) {
        let message = match what {
            "" => format!("key '{key}' is missing"),
            what => format!("key '{key}' of '{what}' is missing"),
        };
        self.findings.error("C204", node.place, message);
    }
}
