//! What a query asks for, before anybody has thought about how to get it.

use omnigraph_lang::query::{
    Arm, Block, Body, CheckedQuery, CheckedRead, Count, Expr, SortBy, UnionKind,
};
use omnigraph_lang::schema::Catalog;
use serde_json::Value as Json;

use super::node::PlanNode;
use super::words::Words;
use super::write;

pub(super) fn plan(catalog: &Catalog, query: &CheckedQuery) -> PlanNode {
    match &query.body {
        Body::Read(read) => self::read(catalog, query, read),
        Body::Mutation(statements) => {
            let mut top = PlanNode::new("validate", "the state that is left behind");
            for statement in statements {
                top = top.over(Some(write::statement(catalog, query, statement)));
            }
            top
        }
    }
}

/// Names of an arm of a query.
pub(super) fn words<'a>(catalog: &'a Catalog, query: &'a CheckedQuery, arm: &'a Arm) -> Words<'a> {
    Words {
        catalog,
        params: &query.params,
        variables: &arm.variables,
        target: None,
    }
}

fn read(catalog: &Catalog, query: &CheckedQuery, read: &CheckedRead) -> PlanNode {
    let mut node = self::arm(catalog, query, &read.arm);
    for (kind, arm) in &read.unions {
        node = PlanNode::new("union", union_word(*kind))
            .arg("kind", union_word(*kind))
            .over(Some(node))
            .over(Some(self::arm(catalog, query, arm)));
    }
    tail(words(catalog, query, &read.arm), read, node)
}

pub(super) fn union_word(kind: UnionKind) -> &'static str {
    match kind {
        UnionKind::Distinct => "distinct",
        UnionKind::All => "all",
    }
}

/// Order, skip and limit over what they apply to.
fn tail(words: Words<'_>, read: &CheckedRead, mut node: PlanNode) -> PlanNode {
    let keys = order_keys(words, read);
    if !keys.is_empty() {
        node = PlanNode::new("sort", keys.join(", "))
            .arg("keys", keys)
            .over(Some(node));
    }
    for (op, count) in [("skip", read.skip), ("limit", read.limit)] {
        if let Some(count) = count {
            let (text, json) = self::count(words, count);
            node = PlanNode::new(op, text).arg(op, json).over(Some(node));
        }
    }
    node
}

pub(super) fn count(words: Words<'_>, count: Count) -> (String, Json) {
    match count {
        Count::Literal(n) => (n.to_string(), Json::from(n)),
        Count::Param(id) => {
            let name = words
                .params
                .get(id.0 as usize)
                .map_or("?", |p| p.name.as_str());
            (format!("${name}"), Json::from(format!("${name}")))
        }
    }
}

/// The order keys as written, the rank key first.
pub(super) fn order_keys(words: Words<'_>, read: &CheckedRead) -> Vec<String> {
    let mut keys = Vec::new();
    if let Some(rank) = &read.rank {
        let worst_first = if rank.reverse { " desc" } else { "" };
        keys.push(format!("{}{worst_first}", words.rank(&rank.call)));
    }
    for key in &read.order {
        let text = match &key.by {
            SortBy::Column(at) => {
                let column = read.arm.projections.get(*at);
                column.map_or("?".to_owned(), |column| column.name.clone())
            }
            SortBy::Expr(expr) => words.expr(expr),
        };
        let direction = if key.descending { " desc" } else { "" };
        keys.push(format!("{text}{direction}"));
    }
    keys
}

fn arm(catalog: &Catalog, query: &CheckedQuery, arm: &Arm) -> PlanNode {
    let words = words(catalog, query, arm);
    let mut node = block("match", words, &arm.matches);
    let columns: Vec<&str> = arm.projections.iter().map(|p| p.name.as_str()).collect();
    if let Some(grouping) = &arm.grouping {
        let keys = words.all(&grouping.keys.iter().collect::<Vec<_>>());
        let aggregates = aggregate_words(words, arm);
        let about = match keys.is_empty() {
            true => aggregates.join(", "),
            false => format!("{} by {}", aggregates.join(", "), keys.join(", ")),
        };
        node = PlanNode::new("aggregate", about)
            .arg("keys", keys)
            .arg("aggregates", aggregates)
            .over(Some(node));
    }
    node = PlanNode::new("project", columns.join(", "))
        .arg("columns", columns.clone())
        .over(Some(node));
    match arm.distinct {
        true => PlanNode::new("distinct", "").over(Some(node)),
        false => node,
    }
}

pub(super) fn aggregate_words(words: Words<'_>, arm: &Arm) -> Vec<String> {
    let all = arm
        .grouping
        .iter()
        .flat_map(|grouping| &grouping.aggregates);
    all.map(|aggregate| {
        let name = format!("{:?}", aggregate.function).to_lowercase();
        let distinct = if aggregate.distinct { "distinct " } else { "" };
        match &aggregate.argument {
            None => format!("{name}(*)"),
            Some(argument) => format!("{name}({distinct}{})", words.expr(argument)),
        }
    })
    .collect()
}

/// A pattern with the blocks inside of it.
fn block(op: &'static str, words: Words<'_>, block: &Block) -> PlanNode {
    let bindings = block.variables.iter().filter_map(|var| words.binding(*var));
    let hops = block.hops.iter().map(|hop| words.hop(hop));
    let patterns: Vec<String> = bindings.chain(hops).collect();
    let filters: Vec<&Expr> = block.filters.iter().chain(&block.late_filters).collect();
    let conditions = words.all(&filters);
    let about = patterns
        .iter()
        .chain(&conditions)
        .cloned()
        .collect::<Vec<_>>();
    let mut node = PlanNode::new(op, about.join(", "))
        .arg("patterns", patterns)
        .arg("conditions", conditions);
    for negation in block.negations.iter().chain(&block.late_negations) {
        node = node.over(Some(self::block("not", words, negation)));
    }
    for optional in &block.optionals {
        node = node.over(Some(self::block("optional", words, optional)));
    }
    node
}
