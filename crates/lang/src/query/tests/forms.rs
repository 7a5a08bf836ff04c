//! What becomes of accepted queries.

use super::{catalog, query, read};
use crate::query::*;
use crate::schema::{Scalar, TypeId};
use crate::value::Value;

#[test]
fn columns_are_named_by_the_rules() {
    let names = |body: &str| -> Vec<String> {
        let read = read(body);
        read.arm.projections.into_iter().map(|p| p.name).collect()
    };
    assert_eq!(
        names(
            "match { $p: Package $p dependsOn $q } return { $p, count($q), min($q.kb), max($q.kb), count(*), now(), $n, 1, upper($n), $k + 1 }"
        ),
        [
            "p", "q", "q.kb", "q.kb_2", "count", "now", "n", "literal", "upper", "expr"
        ]
    );
    assert_eq!(
        names("match { $m: Maintainer } return { $m.* }"),
        ["m.email", "m.name"]
    );
    assert_eq!(
        names("match { $m: Maintainer } return { $m.name as a, $m.email as a_2, $m.name as a }"),
        ["a", "a_2", "a_3"]
    );
}

#[test]
fn directions_follow_the_types_of_the_ends() {
    let direction = |body: &str| {
        let read = read(&format!("match {{ {body} }} return {{ 1 as x }}"));
        read.arm.matches.hops[0].edges[0].direction
    };
    assert_eq!(direction("$p: Package $p maintains $m"), Direction::In);
    assert_eq!(direction("$p: Package $m maintains $p"), Direction::Out);
    assert_eq!(direction("$m maintains $p"), Direction::Out);
    assert_eq!(direction("$p maintains $m  $m: Maintainer"), Direction::In);
    assert_eq!(direction("$p: Package $p dependsOn $q"), Direction::Out);
    assert_eq!(direction("$q: Package $p dependsOn $q"), Direction::Out);
    assert_eq!(
        direction("$q: Package $p <dependsOn>{1,3} $q"),
        Direction::Both
    );
}

#[test]
fn blocks_are_normalised() {
    let read = read(
        "match { $p: Package { name: $n }  $p.kb > 1 and $p.essential
           not { $_ maintains $p  $p.kb = 2 }
           optional { $i affects $p  $i.state = \"open\" }  $i is null  not { $i warns $x } } return { $p.name }"
            .replace("not { $i warns $x }", "not { $i affects $p }")
            .as_str(),
    );
    let block = &read.arm.matches;
    assert_eq!(block.variables, [VarId(0)]);
    assert_eq!(block.filters.len(), 3);
    assert!(
        block
            .filters
            .iter()
            .any(|f| f.as_property_equality().is_some())
    );
    assert_eq!(block.negations.len(), 1);
    assert_eq!(block.negations[0].variables.len(), 1);
    assert_eq!(block.optionals.len(), 1);
    assert_eq!(block.late_filters.len(), 1);
    assert_eq!(block.late_negations.len(), 1);
    let optional: Vec<&str> = read
        .arm
        .variables
        .iter()
        .filter(|v| v.optional)
        .filter_map(|v| v.name.as_deref())
        .collect();
    assert_eq!(optional, ["i"]);
}

#[test]
fn grouping_rewrites_projections() {
    let read = read(
        "match { $p: Package } return { $p.section as s, count($p) as n, count($p) + 1 as m, upper($p.section) as u } order { n desc, s }",
    );
    let grouping = read.arm.grouping.unwrap();
    assert_eq!((grouping.keys.len(), grouping.aggregates.len()), (2, 1));
    assert_eq!(read.arm.projections[0].value.kind, ExprKind::GroupKey(0));
    assert_eq!(
        read.arm.projections[1].value.kind,
        ExprKind::AggregateResult(0)
    );
    assert_eq!(read.arm.projections[3].value.kind, ExprKind::GroupKey(1));
    assert_eq!(read.order[0].by, SortBy::Column(1));
    assert!(read.order[0].descending);
    assert_eq!(read.order[1].by, SortBy::Column(0));
}

#[test]
fn rank_keys_come_apart_from_the_others() {
    let ranked = read(
        "match { $p: Package } return { $p.name } order { bm25($p.summary, $n), $p.kb desc, nearest($p.vec, [1, 2]) } limit $k",
    );
    assert!(matches!(
        ranked.rank,
        Some(Rank {
            call: RankCall::Bm25 { .. },
            reverse: false
        })
    ));
    assert_eq!(ranked.order.len(), 2);
    assert!(ranked.order[1].nulls_last && !ranked.order[1].descending);
    assert_eq!(ranked.limit, Some(Count::Param(ParamId(1))));
    for (order, reverse) in [("s desc", false), ("s asc", true), ("s", true)] {
        let read = read(&format!(
            "match {{ $p: Package }} return {{ bm25($p.summary, $n) as s }} order {{ {order} }}"
        ));
        assert_eq!(read.rank.map(|r| r.reverse), Some(reverse), "{order}");
    }
    let near =
        read("match { $p: Package } return { nearest($p.vec, [1, 2]) as d } order { d } limit 1");
    assert!(!near.rank.unwrap().reverse);
}

#[test]
fn an_f32_property_is_compared_in_f32() {
    let read = read("match { $s: Slot  $s.weight = 0.1  $s.weight > $s.slot } return { $s.slot }");
    let ExprKind::Compare { right, .. } = &read.arm.matches.filters[0].kind else {
        panic!("no comparison");
    };
    assert!(matches!(
        right.kind,
        ExprKind::Cast {
            mode: CastMode::Round,
            ..
        }
    ));
    let ExprKind::Compare { right, .. } = &read.arm.matches.filters[1].kind else {
        panic!("no comparison");
    };
    assert!(matches!(right.kind, ExprKind::Property { .. }));
}

#[test]
fn operations_tell_types_and_columns() {
    let query = query(
        "query q() { match { $p: Package  not { $m maintains $p } } return { $p, $p.kb, $p.tags, $p.vec, $p.released, avg(1) as a, $p.essential } }",
    );
    let types = |list: &[TypeRef]| -> Vec<String> {
        list.iter()
            .map(|t| format!("{}:{}", t.kind, t.type_name))
            .collect()
    };
    assert_eq!(
        types(&query.operation.reads),
        ["node:Maintainer", "node:Package", "edge:Maintains"]
    );
    assert!(query.operation.writes.is_empty());
    assert_eq!(
        serde_json::to_value(&query.operation.result).unwrap(),
        serde_json::json!([
            {"name": "p", "kind": "string", "nullable": false},
            {"name": "p.kb", "kind": "bigint", "nullable": true},
            {"name": "p.tags", "kind": "list", "item_kind": "string", "nullable": true},
            {"name": "p.vec", "kind": "vector", "vector_dim": 2, "nullable": true},
            {"name": "p.released", "kind": "date", "nullable": true},
            {"name": "a", "kind": "float", "nullable": true},
            {"name": "p.essential", "kind": "bool", "nullable": false},
        ])
    );
    let delete = self::query("query q($n: String) { delete Maintainer where email = $n }");
    assert_eq!(
        types(&delete.operation.writes),
        ["node:Maintainer", "edge:Maintains"]
    );
    assert_eq!(
        types(&delete.operation.reads),
        ["node:Maintainer", "edge:Maintains"]
    );
    let insert = self::query("query q($n: String) { insert Maintains { from: $n, to: $n } }");
    assert_eq!(types(&insert.operation.writes), ["edge:Maintains"]);
    assert_eq!(insert.operation.reads.len(), 3);
}

#[test]
fn statements_keep_keys_in_order() {
    let query = query(
        "query q($t: String) { insert Holds { to: date(\"2024-01-01\"), from: { tenant: $t, slot: 7 } } }",
    );
    let Body::Mutation(statements) = query.body else {
        panic!("no mutation");
    };
    let Statement::Insert {
        ends: Some(ends), ..
    } = &statements[0]
    else {
        panic!("no insert");
    };
    let Endpoint::Key(members) = &ends.from else {
        panic!("no key");
    };
    // `slot` comes before `tenant`: ids follow the names.
    assert_eq!(members[0].value.kind, ExprKind::Literal(Value::Int(7)));
    assert!(matches!(&ends.to, Endpoint::Key(members) if members.len() == 1));
}

#[test]
fn ambiguities_resolve_as_the_language_says() {
    for body in [
        // Words of the language as names.
        "match { $p: Package $p $d:dependsOn $q $d.optional } return { $p.name as is, $q.name as desc } order { is, desc desc }",
        // Clauses side by side, with and without commas.
        "match { $p: Package, $p.kb > 1 $p.kb < 5, $p dependsOn $q, } return { $p.name, $q.name, }",
        // Conditions over several lines.
        "match { $p: Package  $p.kb - 1 > 2  not $p.essential  not ($p.kb in [1]) } return { $p.kb - 1 as a, -$p.kb as b }",
        "match { $p: Package  $p.summary is not null  $p.kb not in [1, 2]  \"a\" in $p.tags } return { 1 as x }",
    ] {
        read(body);
    }
    // A property spelled like a word, in `where`; `IDENT :` begins the next assignment.
    query(
        "query q($n: String) { update Issue set { votes: votes state: \"open\" } where slug = $n }",
    );
}

fn type_names(types: &[TypeId]) -> Vec<String> {
    let catalog = catalog();
    let mut names: Vec<String> = types
        .iter()
        .map(|ty| catalog.entity(*ty).unwrap().body().name.clone())
        .collect();
    names.sort();
    names
}

#[test]
fn hops_follow_alternatives_each_in_its_direction() {
    let read = read(
        "match { $p: Package  $p dependsOn|maintains|affects{1,2} $x } return { id($x), type_name($x) as t }",
    );
    let hop = &read.arm.matches.hops[0];
    let directions: Vec<Direction> = hop.edges.iter().map(|e| e.direction).collect();
    assert_eq!(directions, [Direction::Out, Direction::In, Direction::In]);
    let far = &read.arm.variables[hop.to.0 as usize];
    assert_eq!(type_names(&far.types), ["Issue", "Maintainer", "Package"]);
    assert!(far.types.is_sorted());
}

#[test]
fn hops_narrow_the_types_of_interfaces() {
    let types = |body: &str| {
        let read = read(&format!("match {{ {body} }} return {{ 1 as x }}"));
        type_names(&read.arm.variables[0].types)
    };
    assert_eq!(types("$x: Titled"), ["Advisory", "Issue"]);
    assert_eq!(types("$x: Titled  $x affects $p"), ["Issue"]);
    assert_eq!(
        types("$x: Titled  not { $x affects $p }"),
        ["Advisory", "Issue"]
    );
    assert_eq!(types("$x: Loner"), [""; 0]);
}

#[test]
fn a_common_property_is_known_by_type() {
    let property = |body: &str| {
        let read = read(&format!("match {{ {body} }} return {{ 1 as x }}"));
        let block = read.arm.matches;
        let inner = block.negations.first().unwrap_or(&block);
        let ExprKind::Compare { left, .. } = &inner.filters[0].kind else {
            panic!("no comparison");
        };
        let ExprKind::Property { property, .. } = &left.kind else {
            panic!("no property");
        };
        property.clone()
    };
    assert!(property("$x: Issue  $x.title = \"a\"").single().is_some());
    let PropertyRef::ByType(both) = property("$x: Titled  $x.title = \"a\"") else {
        panic!("one type");
    };
    assert_eq!(
        type_names(&both.iter().map(|(ty, _)| *ty).collect::<Vec<_>>()),
        ["Advisory", "Issue"]
    );
    for (ty, id) in &both {
        let reference = PropertyRef::ByType(both.clone());
        assert_eq!(reference.of(*ty), Some(*id));
        assert_eq!(
            catalog()
                .entity(*ty)
                .unwrap()
                .body()
                .property_by_id(*id)
                .unwrap()
                .name,
            "title"
        );
    }
    // The block excludes the other type, the variable still has both.
    let PropertyRef::ByType(narrow) = property("$x: Titled  not { $x affects $p  $x.votes = 1 }")
    else {
        panic!("one type");
    };
    assert_eq!(narrow.len(), 1);
    assert!(
        property("$x: Titled  $x affects $p  $x.votes = 1")
            .single()
            .is_some()
    );
}

#[test]
fn paths_belong_to_hops() {
    let read = read(
        "match { $p: Package  optional { path $r = shortest $p dependsOn{1,6} $q } } return { $r, length($r), nodes($r) }",
    );
    let hop = &read.arm.matches.optionals[0].hops[0];
    let path = hop.path_var.unwrap();
    let variable = &read.arm.variables[path.0 as usize];
    assert_eq!((variable.kind, variable.optional), (VarKind::Path, true));
    assert!(read.arm.matches.optionals[0].variables.contains(&path));
    let values: Vec<_> = (read.arm.projections.iter())
        .map(|p| (p.value.ty, p.value.nullable))
        .collect();
    assert_eq!(
        values,
        [
            (ExprType::Path, true),
            (ExprType::Scalar(Scalar::I64), true),
            (ExprType::List(Scalar::String), true)
        ]
    );
}

#[test]
fn the_arms_of_a_union_get_one_type_by_column() {
    let read = read(
        "match { $p: Package } return { $p as id, $p.kb as n, null as z }
         union match { $m: Maintainer  $m maintains $p } return { $m, count($p), $m.name }
         union all match { $a: Advisory } return { $a.title, $a.score, null } order { n desc }",
    );
    assert_eq!(
        read.unions
            .iter()
            .map(|(kind, _)| *kind)
            .collect::<Vec<_>>(),
        [UnionKind::Distinct, UnionKind::All]
    );
    let text = ExprType::Scalar(Scalar::String);
    for arm in std::iter::once(&read.arm).chain(read.unions.iter().map(|(_, arm)| arm)) {
        let columns: Vec<_> = arm
            .projections
            .iter()
            .map(|p| (p.name.as_str(), p.value.ty, p.value.nullable))
            .collect();
        assert_eq!(
            columns,
            [
                ("id", text, false),
                ("n", ExprType::Scalar(Scalar::F64), true),
                ("z", text, true)
            ]
        );
    }
    assert_eq!(read.order[0].by, SortBy::Column(1));
}

#[test]
fn reads_of_interfaces_and_unions_name_all_types() {
    let query = query(
        "query q($n: String) { match { $x: Titled  $x affects $p } return { $x.title }
         union match { $a warns|affects $p } return { $a.title } }",
    );
    let reads: Vec<String> = query
        .operation
        .reads
        .iter()
        .map(|t| format!("{}:{}", t.kind, t.type_name))
        .collect();
    assert_eq!(
        reads,
        [
            "node:Advisory",
            "node:Issue",
            "node:Package",
            "edge:Affects",
            "edge:Warns"
        ]
    );
    assert_eq!(query.operation.result.len(), 1);
}

#[test]
fn an_alias_comes_before_any_other_reading_of_a_word() {
    let of = |order: &str| {
        read(&format!(
            "match {{ $p: Package }} return {{ $p.name as true, $p.kb as null, $p.section as not }} \
             order {{ {order} }}"
        ))
        .order
    };
    let columns: Vec<_> = of("null desc, true, not")
        .into_iter()
        .map(|k| k.by)
        .collect();
    assert_eq!(
        columns,
        [SortBy::Column(1), SortBy::Column(0), SortBy::Column(2)]
    );
    assert!(matches!(&of("false")[0].by, SortBy::Expr(_)));
}

#[test]
fn f32_properties_are_compared_in_f32_also_in_lists() {
    let filters = |condition: &str| {
        let read = read(&format!(
            "match {{ $x: Slot  {condition} }} return {{ $x.tenant }}"
        ));
        format!("{:?}", read.arm.matches.filters)
    };
    for condition in [
        "$x.weight = 0.1",
        "$x.weight in [0.1]",
        "$x.weight in [0.1, 2, null]",
        "$x.weight not in [$x.weight, 0.1]",
    ] {
        assert!(filters(condition).contains("Round"), "{condition}");
    }
    assert!(!filters("$x.weight + 0.0 in [0.1]").contains("Round"));
}

#[test]
fn vectors_of_one_width_have_a_common_type() {
    let read = read("match { $p: Package } return { coalesce($p.vec, $p.vec) as v } limit 1");
    assert_eq!(read.arm.projections[0].value.ty, ExprType::Vector(2));
}

#[test]
fn an_id_is_not_assigned_and_the_hint_says_why() {
    for (statement, hint) in [
        (r#"insert Note { id: "x", text: "t" }"#, "only a load"),
        (
            r#"insert Day { id: "x", day: date("2024-01-01") }"#,
            "from the key",
        ),
        (
            r#"update Note set { id: "x" } where text = "t""#,
            "only a load",
        ),
    ] {
        let found = compile(
            &format!("query q($n: String) {{ {statement} }}"),
            &catalog(),
        );
        let found = found.unwrap_err();
        assert_eq!(found[0].code.as_str(), "Q202", "{statement}");
        assert!(found[0].hints.concat().contains(hint), "{found:?}");
    }
}

/// What is not closed is no query, even if all that was read of it is right; what is skipped may
/// hide one.
#[test]
fn a_file_says_what_could_not_be_read_of_it() {
    let look = |source: &str| {
        let checkup = check(source, &catalog());
        let fine: Vec<_> = checkup
            .queries
            .iter()
            .map(|q| (q.name.clone(), q.checked.is_some(), q.diagnostics.len()))
            .collect();
        (fine, checkup.incomplete)
    };
    let good =
        |name: &str| format!("query {name}() {{ match {{ $p: Package }} return {{ 1 }} }}\n");
    let open = "query o() { match { $p: Package } return { 1 }\n";
    let row = |name: &str, checked, found| (name.to_owned(), checked, found);
    assert_eq!(look(&good("a")), (vec![row("a", true, 0)], false));
    assert_eq!(
        look(&format!("{open}{}", good("a"))),
        (vec![row("o", false, 1), row("a", true, 0)], true)
    );
    assert_eq!(look(open), (vec![row("o", false, 1)], true));
    assert_eq!(look("query o( {"), (vec![], true));
    assert_eq!(look(&format!("{}\"", good("a"))), (vec![], true));
    let source = &check(open, &catalog()).queries[0].source;
    assert_eq!(source, open, "to where it breaks off");
}
