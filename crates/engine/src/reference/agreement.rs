//! The engine and the second implementation give the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use omnigraph_lang::Code;
use omnigraph_lang::query::{Body, CheckedQuery, bind_params};
use omnigraph_lang::value::Value;
use serde_json::{Value as Json, json};

use super::data::World;
use super::expr::Scope;
use super::queries::{Query, mutation, read};
use super::random::Random;
use super::reading::{self, Outcome};
use super::schemas::{schema, world};
use super::writing::{self, Written};
use crate::engine::{Authorship, Engine, EngineOptions};
use crate::error::Error;
use crate::exec::{QueryLimits, rows_to_json};
use crate::graph::{BranchName, Graph, GraphId, ReadOptions, Snapshot, Target, WriteOptions};
use crate::store::{Store, StoreOptions};
use crate::write::{LoadMode, LoadOptions};

const GRAPHS: u64 = 12;
const READS: usize = 25;
const MUTATIONS: usize = 6;

/// What values give while a condition or a value is computed.
const RUN_TIME: [Code; 4] = [Code::R440, Code::R441, Code::R442, Code::R443];

/// A graph of the engine with the entities of a world.
async fn loaded(source: &str, world: &World) -> Graph {
    let store = Store::open("memory://agreement", StoreOptions::default())
        .await
        .unwrap();
    let engine = Engine::new(store, EngineOptions::default());
    let id = GraphId::parse("agreement").unwrap();
    let root = engine
        .create_graph(&id, source, &Authorship::default())
        .await
        .unwrap();
    let graph = engine.open_graph(&root).await.unwrap();
    let lines: Vec<String> = world
        .entities
        .iter()
        .map(|entity| world.line(entity).to_string())
        .collect();
    if !lines.is_empty() {
        let options = LoadOptions {
            mode: LoadMode::Append,
            ..LoadOptions::default()
        };
        let mut session = graph.load(&BranchName::main(), options).await.unwrap();
        session.push(Bytes::from(lines.join("\n"))).await.unwrap();
        session.finish().await.unwrap();
    }
    graph
}

async fn head(graph: &Graph) -> Snapshot {
    graph
        .snapshot(&Target::default(), &ReadOptions::default())
        .await
        .unwrap()
}

/// None if the query is not allowed: the grammar knows less than the checker.
async fn checked(
    graph: &Graph,
    snapshot: &Snapshot,
    query: &Query,
) -> Result<Option<Arc<CheckedQuery>>, String> {
    match graph.compile(snapshot, &query.source, None).await {
        Ok(checked) => Ok(Some(checked)),
        Err(error) if !codes(&error).is_empty() => Ok(None),
        Err(error) => Err(format!("is not checked: {error:?}")),
    }
}

/// What became of a query.
enum Ran {
    /// It is not allowed.
    Refused,
    Same,
    /// The graph is this afterwards.
    Moved(World),
}

/// How many queries there were, and how many of them are not allowed.
#[derive(Default)]
struct Tally {
    asked: usize,
    refused: usize,
}

impl Tally {
    fn count(&mut self, ran: &Ran) {
        self.asked += 1;
        self.refused += usize::from(matches!(ran, Ran::Refused));
    }

    /// A test of queries that are not allowed tests nothing.
    fn check(&self) {
        let Tally { asked, refused } = self;
        assert!(refused * 10 <= *asked, "{refused} of {asked} are refused");
    }
}

fn bound(checked: &CheckedQuery, query: &Query) -> Vec<Value> {
    bind_params(&checked.params, Some(&query.params))
        .unwrap()
        .values
}

fn scope<'a>(world: &'a World, params: &'a [Value]) -> Scope<'a> {
    Scope {
        world,
        params,
        now: 0,
        row: &[],
        own: None,
        group: None,
    }
}

fn codes(error: &Error) -> BTreeSet<String> {
    let found = error.detail().diagnostics.iter().filter(|d| d.is_error());
    found.map(|d| d.code.to_string()).collect()
}

/// What is different, if something is.
async fn compare_read(
    graph: &Graph,
    snapshot: &Snapshot,
    world: &World,
    query: &Query,
) -> Result<Ran, String> {
    let Some(checked) = checked(graph, snapshot, query).await? else {
        return Ok(Ran::Refused);
    };
    let Body::Read(body) = &checked.body else {
        panic!("a read is expected");
    };
    let params = bound(&checked, query);
    let expected = reading::read(scope(world, &params), body);
    let given = query.params.as_object().unwrap();
    let limits = QueryLimits::default();
    let names: Vec<String>;
    let found = match graph.query(snapshot, &checked, given, &limits).await {
        Ok(result) => {
            names = result.columns.iter().map(|c| c.name.clone()).collect();
            rows_to_json(&result, false)
                .map(|row| {
                    let row: Json = serde_json::from_str(&row).unwrap();
                    Json::Array(names.iter().map(|name| row[name].clone()).collect())
                })
                .collect::<Vec<Json>>()
        }
        Err(error) => {
            let found = codes(&error);
            let may: BTreeSet<String> = expected.may_fail.iter().map(ToString::to_string).collect();
            return match !found.is_empty() && found.is_subset(&may) {
                true => Ok(Ran::Same),
                false => Err(format!("fails with {error:?}; what may happen is {may:?}")),
            };
        }
    };
    agree(&expected, found)?;
    Ok(Ran::Same)
}

fn agree(expected: &Outcome, found: Vec<Json>) -> Result<(), String> {
    let wanted = match &expected.rows {
        Ok(rows) => rows,
        Err(code) => return Err(format!("must fail with {code} and gives {found:?}")),
    };
    if expected.ordered {
        return match same(wanted, &found) {
            true => Ok(()),
            false => Err(format!(
                "expected {}\nfound    {}",
                json!(wanted),
                json!(found)
            )),
        };
    }
    let mut left = sorted(&expected.all);
    if found.len() != wanted.len() {
        return Err(format!(
            "expected {} rows: {}\nfound {}: {}",
            wanted.len(),
            json!(left),
            found.len(),
            json!(found)
        ));
    }
    for row in &found {
        let at = left.iter().position(|other| equal(other, row));
        let Some(at) = at else {
            return Err(format!(
                "{row} is not among {}",
                json!(sorted(&expected.all))
            ));
        };
        left.remove(at);
    }
    Ok(())
}

fn sorted(rows: &[Json]) -> Vec<Json> {
    let mut rows = rows.to_vec();
    rows.sort_by_key(Json::to_string);
    rows
}

fn same(a: &[Json], b: &[Json]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
}

/// Floats that are made of several may differ in their last digits.
fn equal(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Array(a), Json::Array(b)) => same(a, b),
        (Json::Number(a), Json::Number(b)) if a.is_f64() && b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            a == b || (a - b).abs() <= a.abs().max(b.abs()) * 1e-12
        }
        (a, b) => a == b,
    }
}

/// All entities as lines without the ids that nobody chose.
fn lines(world: &World, known: &World) -> Vec<Json> {
    let rows = world.entities.iter().map(|entity| {
        let mut line = world.line(entity);
        if known.find(entity.ty, &entity.id).is_none()
            && let Some(data) = line["data"].as_object_mut()
        {
            data.remove("id");
        }
        line
    });
    sorted(&rows.collect::<Vec<_>>())
}

/// The engine's graph as a world.
async fn stored(graph: &Graph, snapshot: &Snapshot, before: &World) -> World {
    let stream = graph.export(snapshot, &[]).await.unwrap();
    let chunks: Vec<Bytes> = stream.try_collect().await.unwrap();
    let text = chunks.concat();
    let mut world = World::new(before.catalog.clone());
    for line in text.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let line: Json = serde_json::from_slice(line).unwrap();
        world.add(&line);
    }
    world
}

/// The world after the mutation, if it came to something.
async fn compare_mutation(graph: &Graph, world: &World, query: &Query) -> Result<Ran, String> {
    let snapshot = head(graph).await;
    let Some(checked) = checked(graph, &snapshot, query).await? else {
        return Ok(Ran::Refused);
    };
    let Body::Mutation(statements) = &checked.body else {
        panic!("a mutation is expected");
    };
    let params = bound(&checked, query);
    let expected = writing::mutate(world, statements, &params, 0);
    let given = query.params.as_object().unwrap();
    let main = BranchName::main();
    let options = WriteOptions::default();
    let found = graph
        .mutate(&main, &query.source, None, given, &options)
        .await;
    let after = stored(graph, &head(graph).await, world).await;
    match (expected, found) {
        (
            Ok(Written {
                world: wanted,
                counts,
            }),
            Ok(found),
        ) => {
            let found: Vec<[u64; 2]> = found
                .statements
                .iter()
                .map(|s| [s.nodes, s.edges])
                .collect();
            if found != counts {
                return Err(format!("expected counts {counts:?}, found {found:?}"));
            }
            let (wanted, found) = (lines(&wanted, world), lines(&after, world));
            match wanted == found {
                true => Ok(Ran::Moved(after)),
                false => Err(format!(
                    "expected {}\nfound    {}",
                    json!(wanted),
                    json!(found)
                )),
            }
        }
        (Err(wanted), Err(error)) => {
            let wanted: BTreeSet<String> = wanted.iter().map(ToString::to_string).collect();
            if codes(&error) != wanted {
                return Err(format!("expected {wanted:?}, found {error:?}"));
            }
            match lines(&after, world) == lines(world, world) {
                true => Ok(Ran::Same),
                false => Err("it failed and left something behind".to_owned()),
            }
        }
        (Ok(_), Err(error)) => Err(format!("it should succeed and fails with {error:?}")),
        // Which rows a condition is tried on is not defined where it can fail.
        (Err(codes), Ok(_)) if codes.iter().all(|code| RUN_TIME.contains(code)) => {
            Ok(Ran::Moved(after))
        }
        (Err(codes), Ok(_)) => Err(format!("it should fail with {codes:?} and succeeds")),
    }
}

async fn one_graph(seed: u64, tally: &mut Tally) {
    let mut random = Random(seed);
    let (source, catalog) = schema(&mut random);
    let mut world = world(&mut random, catalog);
    let graph = loaded(&source, &world).await;
    let mut snapshot = head(&graph).await;
    // What is stored is what was loaded: from here on both start from the same.
    let after = stored(&graph, &snapshot, &world).await;
    assert_eq!(
        lines(&after, &world),
        lines(&world, &world),
        "seed {seed}\n{source}"
    );
    for round in 0..=MUTATIONS {
        for number in 0..READS {
            let query = read(&mut random, &world);
            match compare_read(&graph, &snapshot, &world, &query).await {
                Ok(ran) => tally.count(&ran),
                Err(difference) => report(
                    seed,
                    &source,
                    &world,
                    &query,
                    &format!("read {number} of round {round}: {difference}"),
                ),
            }
        }
        let query = mutation(&mut random, &world);
        match compare_mutation(&graph, &world, &query).await {
            Ok(ran) => {
                tally.count(&ran);
                if let Ran::Moved(after) = ran {
                    world = after;
                }
            }
            Err(difference) => report(seed, &source, &world, &query, &difference),
        }
        snapshot = head(&graph).await;
    }
}

fn report(seed: u64, source: &str, world: &World, query: &Query, difference: &str) -> ! {
    let data: Vec<String> = world
        .entities
        .iter()
        .map(|e| world.line(e).to_string())
        .collect();
    panic!(
        "OMNIGRAPH_RANDOM_SEED={seed}\n{source}\n{}\n{}\n{}\n{difference}",
        data.join("\n"),
        query.source,
        query.params
    );
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

#[tokio::test]
async fn random_queries_give_what_the_second_implementation_gives() {
    let mut tally = Tally::default();
    if let Some(seed) = setting("OMNIGRAPH_RANDOM_SEED") {
        return Box::pin(one_graph(seed, &mut tally)).await;
    }
    let graphs = setting("OMNIGRAPH_RANDOM_GRAPHS").unwrap_or(GRAPHS);
    for seed in 1..=graphs {
        Box::pin(one_graph(seed, &mut tally)).await;
    }
    tally.check();
}
