//! Hops and shortest paths by looking at all walks.

use std::collections::{BTreeMap, BTreeSet};

use omnigraph_lang::query::{Direction, Hop};

use super::data::World;

/// (type name, id), which is also how entities are ordered.
pub(super) type Name = (String, String);

/// Nodes and edges from the left end to the right one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Path {
    pub(super) nodes: Vec<Name>,
    pub(super) edges: Vec<Name>,
}

/// The steps of a hop: from, to, edge, all as positions.
pub(super) type Steps = Vec<(usize, usize, usize)>;

/// Every step that some alternative of the hop allows, each stored edge once for each direction in
/// which it may be followed. An edge to its own start is one step, however it is followed.
pub(super) fn steps(world: &World, hop: &Hop) -> Steps {
    let mut steps = BTreeSet::new();
    for alternative in &hop.edges {
        let ty = world
            .catalog
            .edge_by_id(alternative.edge)
            .expect("an edge type");
        for at in world.of_type(ty.id) {
            let [from, to] = world.entities[at].ends.as_ref().expect("an edge");
            let from = world.find(ty.from, from).expect("a source");
            let to = world.find(ty.to, to).expect("a target");
            if alternative.direction != Direction::In {
                steps.insert((from, to, at));
            }
            if alternative.direction != Direction::Out {
                steps.insert((to, from, at));
            }
        }
    }
    steps.into_iter().collect()
}

/// With how many steps the hop leads from one node to another, if it does.
pub(super) fn taken(steps: &Steps, hop: &Hop, from: usize, to: usize) -> Option<u32> {
    let distance = distances(steps, from).get(&to).copied()?;
    let has_loop = steps.iter().any(|(a, b, _)| *a == to && *b == to);
    if from != to && (hop.min..=hop.max).contains(&distance) {
        Some(distance)
    } else if has_loop && (hop.min..=hop.max).contains(&(distance + 1)) {
        Some(distance + 1)
    } else {
        None
    }
}

fn distances(steps: &Steps, from: usize) -> BTreeMap<usize, u32> {
    let mut known = BTreeMap::from([(from, 0)]);
    let mut distance = 0;
    loop {
        let next: Vec<usize> = steps
            .iter()
            .filter(|(a, b, _)| known.get(a) == Some(&distance) && !known.contains_key(b))
            .map(|(_, b, _)| *b)
            .collect();
        if next.is_empty() {
            return known;
        }
        distance += 1;
        for node in next {
            known.entry(node).or_insert(distance);
        }
    }
}

/// The least walk of exactly this length. One that is a step longer than the distance ends in an
/// edge to itself.
pub(super) fn least(world: &World, steps: &Steps, from: usize, to: usize, length: u32) -> Path {
    let known = distances(steps, from);
    let mut walks = vec![(vec![from], Vec::new())];
    for step in 1..=length {
        let mut longer = Vec::new();
        for (nodes, edges) in &walks {
            let last = *nodes.last().expect("a start");
            for (_, b, edge) in steps.iter().filter(|(a, ..)| *a == last) {
                let on_the_way = known.get(b) == Some(&step);
                let final_loop = step == length && *b == to && last == to;
                if on_the_way || final_loop {
                    let (mut nodes, mut edges): (Vec<usize>, Vec<usize>) =
                        (nodes.clone(), edges.clone());
                    nodes.push(*b);
                    edges.push(*edge);
                    longer.push((nodes, edges));
                }
            }
        }
        walks = longer;
    }
    let names = |all: &[usize]| all.iter().map(|at| world.name(*at)).collect();
    let paths = walks.iter().filter(|(nodes, _)| nodes.last() == Some(&to));
    let paths = paths.map(|(nodes, edges)| Path {
        nodes: names(nodes),
        edges: names(edges),
    });
    paths.min().expect("a path")
}
