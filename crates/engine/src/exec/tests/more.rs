//! What the contract's examples leave out.

use serde_json::{Value as Json, json};

use super::example::example;

/// Body of a query with its return, and its rows in any order.
const CASES: &[(&str, &str)] = &[
    // Joins of variables that no hop connects.
    (
        r#"match { $a: Package  $b: Package  $a.section = $b.section } return { count(*) as n }"#,
        "[[7]]",
    ),
    (
        r#"match { $a: Package { name: "libc" }  $b: Package  $b.released = $a.released } return { $b.name }"#,
        r#"[["libc"],["zlib"]]"#,
    ),
    (
        r#"match { $p: Package  not { $q: Package  $q.section = $p.section  $q.name != $p.name } } return { $p.name }"#,
        r#"[["bash"],["curl"],["git"]]"#,
    ),
    (
        r#"match { $a: Package  $m: Maintainer } return { count(*) as n }"#,
        "[[15]]",
    ),
    (
        r#"match { $a: Package  $b: Package  $a.kb < $b.kb } return { count(*) as n }"#,
        "[[6]]",
    ),
    // Keys that no entity has, and two of them.
    (
        r#"match { $a: Package { name: "nope" }  $a dependsOn $b } return { $b.name }"#,
        "[]",
    ),
    (
        r#"match { $a: Package { name: "git" }  $b: Package { name: "zlib" }  $a $w:dependsOn $b } return { $w.optional }"#,
        "[[false],[true]]",
    ),
    (
        r#"match { $a dependsOn $b  $a $w:dependsOn $b  id($w) = "d5" } return { $a.name, $w.floor, from_id($w) }"#,
        r#"[["git","1.2","git"]]"#,
    ),
    // Optional variables in what follows.
    (
        r#"match { $p: Package  optional { $m maintains $p }  not { $m maintains $q  $q.name != $p.name } }
           return { $p.name, $m.name }"#,
        r#"[["bash",null],["libc",null],["zlib","Bob"]]"#,
    ),
    (
        r#"match { $p: Package { name: "curl" }  optional { $m maintains $p  optional { $m maintains $q  $q.name = "git" } } }
           return { $m.name, $q.name }"#,
        r#"[["Ann","git"]]"#,
    ),
    // Fused scores are about the whole match, whatever is shown of it.
    (
        r#"match { $p: Package } return { $p.name, round(rrf(nearest($p.vec, [2.1, 0.0]), bm25($p.summary, "library")) * 1000, 3) as score }"#,
        r#"[["bash",null],["curl",16.393],["git",null],["libc",32.002],["zlib",32.522]]"#,
    ),
    (
        r#"match { $p: Package } return { $p.name, rrf(nearest($p.vec, [2.1, 0.0]), bm25($p.summary, "library")) as score } order { score desc } limit 1"#,
        // `nearest` gives its first only, and ties go to the first arm.
        r#"[["curl",0.01639344262295082]]"#,
    ),
    (
        r#"match { $p: Package  rrf(nearest($p.vec, [2.1, 0.0]), bm25($p.summary, "library")) > 0.1 } return { $p.name }"#,
        r#""Q221""#,
    ),
    // Several steps, one variable in a loop of hops.
    (
        r#"match { $m maintains $p  $p dependsOn $d  $n maintains $d } return { $m.name, $n.name }"#,
        r#"[["Ann","Ann"],["Ann","Bob"],["Ann","Bob"]]"#,
    ),
    (
        r#"match { $p: Package } return { $p.section, collect(distinct $p.essential) as e }"#,
        r#"[["admin",[true]],["devel",[false]],["libs",[false,true]],["net",[false]]]"#,
    ),
    (
        r#"match { $p: Package } return { min($p.released) as a, max($p.name) as b, sum(distinct $p.kb) as c }"#,
        r#"[["2022-09-01","zlib",53670.0]]"#,
    ),
];

#[tokio::test]
async fn joins_optionals_and_groups() {
    let graph = example().await;
    let mut wrong = Vec::new();
    for (body, expected) in CASES {
        let source = format!("query q() {{ {body} }}");
        let found = match graph.rows(&source, json!({})).await {
            Ok(mut rows) => {
                rows.sort_by_key(Json::to_string);
                json!(rows)
            }
            Err(code) => json!(code),
        };
        let expected: Json = serde_json::from_str(expected).unwrap();
        if found != expected {
            wrong.push(format!(
                "{source}\n  expected {expected}\n  found    {found}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
