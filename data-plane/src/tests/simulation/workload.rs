//! What is declared, as a team would: one state grows out of the last.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use omnigraph_proto::control::v1::{ConfigBundle, ConfigFile};

use super::rng::Rng;

pub(super) const GRAPHS: [&str; 3] = ["g0", "g1", "g2"];

/// A configuration.
#[derive(Clone, Debug, Default)]
pub(super) struct Declared {
    pub(super) graphs: BTreeMap<&'static str, Texts>,
}

/// One graph of it.
#[derive(Clone, Debug)]
pub(super) struct Texts {
    pub(super) schema: String,
    /// Texts by name.
    pub(super) queries: BTreeMap<String, String>,
    /// Who may read, of the same version as the schema.
    pub(super) policy: Option<String>,
}

/// What people work on.
#[derive(Clone, Debug, Default)]
pub(super) struct Design {
    graphs: BTreeMap<&'static str, Graph>,
    /// Versions given out so far.
    versions: u64,
}

#[derive(Clone, Debug)]
struct Graph {
    colour: bool,
    size: bool,
    shelf: bool,
    /// A required property without a default: rows forbid it.
    weight: bool,
    /// Another type of a property: never supported.
    textual: bool,
    /// What the query shows; it may not be there.
    shows: &'static str,
    limit: u64,
    /// A second query.
    more: bool,
    /// Goes up with every other schema.
    version: u64,
    /// Whether a policy decides who reads it.
    guarded: bool,
}

impl Design {
    /// The next state: one or two things are changed.
    pub(super) fn change(&mut self, rng: &Rng) -> Declared {
        for _ in 0..=rng.below(2) {
            self.change_one(rng);
        }
        if self.graphs.is_empty() {
            self.graphs.insert(GRAPHS[0], Graph::new());
        }
        self.declared()
    }

    fn change_one(&mut self, rng: &Rng) {
        let id = *rng.pick(&GRAPHS);
        let Some(graph) = self.graphs.get_mut(id) else {
            self.graphs.insert(id, Graph::new());
            return;
        };
        self.versions += 1;
        graph.version = self.versions;
        match rng.below(100) {
            0..9 => {
                self.graphs.remove(id);
            }
            9..30 => graph.limit += 1,
            30..42 => graph.shows = *rng.pick(&["price", "colour", "size"]),
            42..46 => graph.more = !graph.more,
            46..48 => graph.guarded = !graph.guarded,
            48..63 => graph.colour = !graph.colour,
            63..76 => graph.size = !graph.size,
            76..86 => graph.shelf = !graph.shelf,
            86..94 => graph.weight = !graph.weight,
            // Somebody notices soon that this does not work.
            _ => graph.textual = !graph.textual,
        }
        if rng.below(3) == 0 {
            for graph in self.graphs.values_mut() {
                graph.textual = false;
                graph.weight = false;
            }
        }
    }

    fn declared(&self) -> Declared {
        let graphs = self.graphs.iter();
        Declared {
            graphs: graphs.map(|(id, graph)| (*id, graph.texts())).collect(),
        }
    }
}

impl Graph {
    fn new() -> Self {
        Graph {
            colour: false,
            size: false,
            shelf: false,
            weight: false,
            textual: false,
            shows: "price",
            limit: 1,
            more: false,
            version: 0,
            guarded: true,
        }
    }

    fn texts(&self) -> Texts {
        let version = self.version;
        let mut schema = format!("// v{version}\nnode Item {{\n    name: String @key\n");
        let mut property = |is: bool, text: &str| {
            if is {
                let _ = writeln!(schema, "    {text}");
            }
        };
        property(!self.textual, "price: I64");
        property(self.textual, "price: String");
        property(self.colour, "colour: String?");
        property(self.size, "size: I64?");
        property(self.weight, "weight: I64");
        schema.push_str("}\n");
        if self.shelf {
            schema.push_str("\nnode Shelf {\n    place: String @key\n}\n");
        }
        let mut queries = BTreeMap::from([query("cheap", self.shows, self.limit)]);
        queries.extend(self.more.then(|| query("more", "price", 7)));
        Texts {
            schema,
            queries,
            policy: self.guarded.then(|| policy(version)),
        }
    }
}

fn policy(version: u64) -> String {
    format!(
        "version: 1\ngroups: {{ team: [act-ann] }}\nrules:\n  - {{ id: v{version}, allow: {{ actors: {{ group: team }}, actions: [read] }} }}\n"
    )
}

/// The version that a text says it has.
pub(super) fn version_of(text: &str) -> Option<u64> {
    text.match_indices('v').find_map(|(at, _)| {
        let digits = text[at + 1..].split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    })
}

fn query(name: &str, shows: &str, limit: u64) -> (String, String) {
    let text = format!(
        "query {name}($least: I64) {{\n    match {{ $i: Item }}\n    return {{ $i.{shows} }}\n    limit {limit}\n}}\n"
    );
    (name.to_owned(), text)
}

impl Declared {
    /// Whatever is applied, with one query that suits every schema; with `wider` schemas, too.
    pub(super) fn last(applied: &[(&'static str, String)], wider: bool) -> Declared {
        let texts = |schema: &String| Texts {
            schema: match wider && !schema.contains("last:") {
                true => schema.replacen('{', "{\n    last: String?", 1),
                false => schema.clone(),
            },
            queries: BTreeMap::from([query("last", "name", 1)]),
            policy: version_of(schema).map(policy),
        };
        let graphs = applied.iter();
        Declared {
            graphs: graphs.map(|(id, schema)| (*id, texts(schema))).collect(),
        }
    }

    /// One graph.
    pub(super) fn first() -> Declared {
        let texts = Graph::new().texts();
        Declared {
            graphs: BTreeMap::from([(GRAPHS[0], texts)]),
        }
    }

    pub(super) fn bundle(&self) -> ConfigBundle {
        let mut cluster = "version: 1\nmetadata: { name: shop }\ngraphs:\n".to_owned();
        let mut files = Vec::new();
        for (id, texts) in &self.graphs {
            let _ = writeln!(cluster, "  {id}:\n    schema: {id}.pg\n    queries: {id}/");
            files.push((format!("{id}.pg"), texts.schema.clone()));
            for (name, text) in &texts.queries {
                files.push((format!("{id}/{name}.gq"), text.clone()));
            }
        }
        for (id, texts) in &self.graphs {
            let Some(policy) = &texts.policy else {
                continue;
            };
            if !cluster.contains("policies:") {
                cluster.push_str("policies:\n");
            }
            let _ = writeln!(
                cluster,
                "  of_{id}: {{ file: {id}.yaml, applies_to: [{id}] }}"
            );
            files.push((format!("{id}.yaml"), policy.clone()));
        }
        files.push(("cluster.yaml".to_owned(), cluster));
        let file = |(path, text): (String, String)| ConfigFile {
            path,
            content: text.into_bytes().into(),
        };
        ConfigBundle {
            files: files.into_iter().map(file).collect(),
        }
    }
}
