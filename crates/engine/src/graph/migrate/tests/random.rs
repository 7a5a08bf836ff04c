//! Random chains of schema changes with data in between, against a model in memory.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// A property of the model: what it is called, its rules, its default.
#[derive(Clone, Debug, PartialEq)]
struct Property {
    /// Never given out twice.
    id: usize,
    name: &'static str,
    required: bool,
    default: Option<i64>,
    index: bool,
    unique: bool,
}

/// What the graph should say.
#[derive(Clone, Debug, Default)]
struct Model {
    properties: Vec<Property>,
    /// Rows by key: values by property id.
    rows: BTreeMap<String, BTreeMap<usize, i64>>,
    next: usize,
}

#[derive(Clone, Debug)]
enum Action {
    Add {
        name: usize,
        required: bool,
        default: Option<i64>,
        index: bool,
    },
    Drop(usize),
    Rename {
        from: usize,
        to: usize,
    },
    Require {
        at: usize,
        default: Option<i64>,
    },
    Loosen(usize),
    Index(usize),
    Unique(usize),
    Write {
        key: u8,
        values: [Option<i64>; 4],
    },
    Delete(u8),
}

fn action() -> impl Strategy<Value = Action> {
    let name = 0..NAMES.len();
    let default = || prop::option::of(0..4i64);
    prop_oneof![
        (name.clone(), any::<bool>(), default(), any::<bool>()).prop_map(
            |(name, required, default, index)| Action::Add {
                name,
                required,
                default,
                index
            }
        ),
        name.clone().prop_map(Action::Drop),
        (name.clone(), name.clone()).prop_map(|(from, to)| Action::Rename { from, to }),
        (name.clone(), default()).prop_map(|(at, default)| Action::Require { at, default }),
        name.clone().prop_map(Action::Loosen),
        name.clone().prop_map(Action::Index),
        name.prop_map(Action::Unique),
        (0..6u8, prop::array::uniform4(default()))
            .prop_map(|(key, values)| Action::Write { key, values }),
        (0..6u8, prop::array::uniform4(default()))
            .prop_map(|(key, values)| Action::Write { key, values }),
        (0..6u8).prop_map(Action::Delete),
    ]
}

impl Model {
    fn source(&self, renamed: Option<(&str, &str)>) -> String {
        let mut text = "node P { k: String @key\n".to_owned();
        for p in &self.properties {
            text += &format!("{}: I64{}", p.name, if p.required { "" } else { "?" });
            if let Some(default) = p.default {
                text += &format!(" @default({default})");
            }
            for (flag, word) in [(p.index, " @index"), (p.unique, " @unique")] {
                text += if flag { word } else { "" };
            }
            if let Some((from, to)) = renamed
                && to == p.name
            {
                text += &format!(" @rename_from(\"{from}\")");
            }
            text += "\n";
        }
        text + "}"
    }

    fn at(&self, name: usize) -> Option<usize> {
        self.properties.iter().position(|p| p.name == NAMES[name])
    }

    /// The schema after an action, if it is one on the schema; with the rename it takes.
    fn changed(&self, action: &Action) -> Option<(Model, Option<(&'static str, &'static str)>)> {
        let mut model = self.clone();
        let mut renamed = None;
        match *action {
            Action::Add {
                name,
                required,
                default,
                index,
            } => {
                if self.at(name).is_some() {
                    return None;
                }
                model.properties.push(Property {
                    id: model.next,
                    name: NAMES[name],
                    required,
                    default,
                    index,
                    unique: false,
                });
                if let Some(default) = default {
                    model.rows.values_mut().for_each(|row| {
                        row.insert(model.next, default);
                    });
                }
                model.next += 1;
            }
            Action::Drop(name) => {
                model.properties.remove(self.at(name)?);
            }
            Action::Rename { from, to } => {
                if self.at(to).is_some() {
                    return None;
                }
                model.properties[self.at(from)?].name = NAMES[to];
                renamed = Some((NAMES[from], NAMES[to]));
            }
            Action::Require { at, default } => {
                let at = self.at(at)?;
                let property = &mut model.properties[at];
                if property.required {
                    return None;
                }
                property.required = true;
                property.default = default;
                if let Some(default) = default {
                    for row in model.rows.values_mut() {
                        row.entry(property.id).or_insert(default);
                    }
                }
            }
            Action::Loosen(at) => model.properties[self.at(at)?].required = false,
            Action::Index(at) => model.properties[self.at(at)?].index ^= true,
            Action::Unique(at) => model.properties[self.at(at)?].unique ^= true,
            Action::Write { .. } | Action::Delete(_) => return None,
        }
        Some((model, renamed))
    }

    /// Whether the rows keep the rules.
    fn holds(&self) -> bool {
        self.properties.iter().all(|p| {
            let values: Vec<i64> = self
                .rows
                .values()
                .filter_map(|row| row.get(&p.id).copied())
                .collect();
            let distinct: std::collections::BTreeSet<i64> = values.iter().copied().collect();
            (!p.required || values.len() == self.rows.len())
                && (!p.unique || distinct.len() == values.len())
        })
    }

    /// The rows after a write of one line, and the line.
    fn written(&self, key: u8, values: [Option<i64>; 4]) -> (Model, Json) {
        let mut model = self.clone();
        let mut data = json!({"k": format!("k{key}")});
        let mut row = BTreeMap::new();
        for (p, value) in self.properties.iter().zip(values) {
            if let Some(value) = value {
                data[p.name] = value.into();
            }
            if let Some(value) = value.or(p.default) {
                row.insert(p.id, value);
            }
        }
        model.rows.insert(format!("k{key}"), row);
        (model, json!({"type": "P", "data": data}))
    }

    fn expected(&self) -> BTreeMap<String, Json> {
        let row = |(key, row): (&String, &BTreeMap<usize, i64>)| {
            let mut data = json!({"k": key});
            for p in &self.properties {
                data[p.name] = row.get(&p.id).copied().map_or(Json::Null, Json::from);
            }
            (key.clone(), data)
        };
        self.rows.iter().map(row).collect()
    }

    async fn compare(&self, graph: &Graph, target: &Target) {
        let expected = self.expected();
        assert_eq!(exported(graph, target, "P").await, expected);
        let mut columns = vec!["$p.k as k".to_owned()];
        let properties = self.properties.iter();
        columns.extend(properties.map(|p| format!("$p.{0} as {0}", p.name)));
        let query = format!(
            "query q() {{ match {{ $p: P }} return {{ {} }} }}",
            columns.join(", ")
        );
        let asked: BTreeMap<String, Json> = ask(graph, target, &query)
            .await
            .iter()
            .map(|row| {
                let row: Json = serde_json::from_str(row).unwrap();
                (row["k"].as_str().unwrap().to_owned(), row)
            })
            .collect();
        assert_eq!(asked, expected);
    }
}

async fn run(actions: Vec<Action>) {
    let mut model = Model::default();
    let f = fixture(&model.source(None)).await;
    let mut history = Vec::new();
    for action in actions {
        match action {
            Action::Write { key, values } => {
                let (after, line) = model.written(key, values);
                let result = load(&f.graph, "main", &line.to_string()).await;
                assert_eq!(result.is_ok(), after.holds(), "{line} {result:?} {model:?}");
                if after.holds() {
                    model = after;
                }
            }
            Action::Delete(key) => {
                let source = format!("query d() {{ delete P where k = \"k{key}\" }}");
                mutate(&f.graph, "main", &source).await.unwrap();
                model.rows.remove(&format!("k{key}"));
            }
            other => {
                let Some((after, renamed)) = model.changed(&other) else {
                    continue;
                };
                let result = apply(&f.graph, &after.source(renamed)).await;
                assert_eq!(
                    result.is_ok(),
                    after.holds(),
                    "{other:?} {result:?} {model:?}"
                );
                if after.holds() {
                    model = after;
                }
            }
        }
        model.compare(&f.graph, &on("main")).await;
        let head = snapshot(&f.graph, &on("main")).await.commit_id();
        history.push((head, model.clone()));
    }
    // Every commit still says what it said, in a process that knows nothing yet.
    let graph = f.elsewhere().await;
    for (commit, model) in history.into_iter().step_by(3) {
        model.compare(&graph, &Target::Commit(commit)).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn random_chains_of_changes_agree_with_the_model(
        actions in prop::collection::vec(action(), 1..24),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(Box::pin(run(actions)));
    }
}
