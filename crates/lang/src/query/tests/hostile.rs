//! Texts that are broken, large or meant to harm.

use super::{catalog, codes};
use crate::query::compile;
use crate::schema::parse_schema;

#[test]
fn hostile_texts_are_refused_without_panic() {
    let nested = |n: usize| {
        format!(
            "query q() {{ match {{ $p: Package {}true{} }} return {{ 1 as x }} }}",
            "(".repeat(n),
            ")".repeat(n)
        )
    };
    assert_eq!(codes(&nested(50)), [""; 0]);
    assert_eq!(codes(&nested(100)), ["P020"]);
    assert_eq!(codes(&nested(100_000)), ["P020"]);
    for (open, close) in [
        ("not { $p dependsOn $_ ", "}"),
        ("not ", ""),
        ("- ", ""),
        ("[", "]"),
        ("lower(", ")"),
    ] {
        let deep = format!(
            "query q() {{ match {{ $p: Package {}1{} }} return {{ 1 as x }} }}",
            open.repeat(5000),
            close.repeat(5000)
        );
        assert!(codes(&deep).contains(&"P020"), "{open}");
    }
    let sum = format!(
        "query q() {{ match {{ $p: Package }} return {{ 1{} as x }} }}",
        " + 1".repeat(50_000)
    );
    assert_eq!(codes(&sum), ["P020"]);
    let ors = format!(
        "query q() {{ match {{ $p: Package $p.essential{} }} return {{ 1 as x }} }}",
        " or $p.essential".repeat(5000)
    );
    assert_eq!(codes(&ors), [""; 0]);
}

/// Patterns are counted over the whole text by what they compile to; the least of them counts, too.
#[test]
fn the_patterns_of_a_text_are_counted() {
    let query = |name: usize, tests: usize| {
        let tests = "  matches($p.name, \"a\")".repeat(tests);
        format!("query q{name}() {{ match {{ $p: Package{tests} }} return {{ 1 as x }} }}\n")
    };
    let queries = |count: usize| (0..count).map(|name| query(name, 1500)).collect::<String>();
    assert_eq!(codes(&queries(6)), [""; 0]);
    let found = codes(&queries(10));
    assert!(!found.is_empty() && found.iter().all(|code| *code == "P020"));
    // Whatever is left when it is too much, nothing is dropped in silence.
    for left in 0..16 {
        let mut budget = 16 * 3 + 3 + left;
        let tree = crate::query::parse::parse(&query(0, 4));
        let source = query(0, 4);
        let checked =
            crate::query::check::check(&tree.queries[0], &catalog(), &source, &mut budget);
        assert!(checked.is_err_and(|found| !found.is_empty()), "{left}");
    }
    let node = |name: usize| {
        format!(
            "node P{name} {{ k: String{} }}\n",
            "  @check(k, \"a\")".repeat(1500)
        )
    };
    let nodes = |count: usize| parse_schema(&(0..count).map(node).collect::<String>());
    assert!(nodes(10).is_ok());
    let found = nodes(12).unwrap_err();
    let found: Vec<&str> = found.iter().map(|d| d.code.as_str()).collect();
    assert_eq!(found, ["P020"]);
}

/// A large text is checked in time that a server can spend on it.
#[test]
fn large_texts_take_bounded_time() {
    let fill = |head: &str, part: &dyn Fn(usize) -> String, tail: &str| {
        let mut text = head.to_owned();
        let mut number = 0;
        while text.len() < (1 << 18) {
            text.push_str(&part(number));
            number += 1;
        }
        text + tail
    };
    let read = "query q() { match { $p: Package ";
    let rest = " } return { 1 as x } }";
    let texts = [
        fill(
            "query q() { match { $p: Package } return { ",
            &|_| "1 ".into(),
            "} }",
        ),
        fill(
            "query q() { match { $p: Package } return { ",
            &|i| format!("count($p.kb+{i}) "),
            "} }",
        ),
        fill(
            "query q() { match { $p: Package } return { count($p) ",
            &|i| format!("$p.kb+{i} "),
            "} }",
        ),
        fill(
            "query q() { match { $p: Package } return { $p.kb ",
            &|i| format!("count(*)+{i} "),
            "} order { $p.kb } }",
        ),
        fill(
            "query q() { match { $p: Package } return { $p.kb as k } order { k",
            &|i| format!(",$p.kb+{i}"),
            "} }",
        ),
        fill(
            "query q() { match { $p: Package } return { $p.kb as k",
            &|i| format!(" k as k{i}"),
            "} }",
        ),
        fill(
            "query q(",
            &|i| format!("$a{i}: I64,"),
            "$z: I64) { match { $p: Package } return { 1 as x } }",
        ),
        fill(read, &|i| format!("$a{i}:Package "), rest),
        fill(read, &|_| "$p dependsOn $_ ".into(), rest),
        fill(read, &|_| "not{$p.essential} ".into(), rest),
        fill(read, &|_| "optional{$p dependsOn $_} ".into(), rest),
        fill(read, &|i| format!("$p.kb={i} "), rest),
        fill(read, &|_| "$p.x=1 ".into(), rest),
        fill(read, &|i| format!("$a{i} x $b "), rest),
        fill(read, &|_| "# ".into(), rest),
        fill(
            "",
            &|i| format!("query q{i}(){{match{{$p:Package}}return{{1}}}}"),
            "",
        ),
        fill(
            "",
            &|i| format!("query q{i}(){{match{{$p}}return{{#}}}}"),
            "",
        ),
        fill(
            "query q($n:I64) { ",
            &|_| "delete Package where kb=1 ".into(),
            "}",
        ),
        fill(
            "query q($n:I64) { insert Package { ",
            &|i| format!("a{i}:1 "),
            "} }",
        ),
    ];
    let begin = std::time::Instant::now();
    for text in &texts {
        assert!(compile(text, &catalog()).is_err());
    }
    for part in ["a: I64 ", "a: I64 @index ", "a: Text "] {
        let part = |i: usize| part.replacen('a', &format!("a{i}"), 1);
        assert!(parse_schema(&fill("node N { ", &part, "}")).is_err());
    }
    let types = fill("", &|i| format!("node N{i}{{}} "), "");
    assert!(parse_schema(&types).is_err());
    // Generous, because the machine may be busy; a quadratic step takes minutes.
    assert!(begin.elapsed() < std::time::Duration::from_secs(60));
}

/// What cannot be read does not keep the rest from being checked, and has no consequences.
#[test]
fn a_query_with_a_syntax_error_is_checked_all_the_same() {
    for (source, expected) in [
        (
            "query q($n: Strin) { match { $p: Pakage { name: $n }  $p.kb > }  return { $p.name } limit many }",
            &["P008", "Q201", "P001", "P001"][..],
        ),
        (
            "query q($n: String) { match { $p: Package { name: } $p maintains $m  $m.kb = 1  $q: Nope  $q.zz = 1 } return { $p.zz } }",
            &["P001", "Q201"],
        ),
        (
            "query q() { match { $p: Package  $p.kb = 1 = 2  $p.zz = 1  not { $r. }  $r.k = 2 } return { $p.yy, 1 +, $p.xx as x y } order { x } }",
            &[
                "P015", "Q202", "P001", "Q206", "Q202", "P001", "Q202", "Q206",
            ],
        ),
        (
            "query q($a: I64, $b $c: String) { match { $p: Package { name: $b, summary: $c, zz: $d } } return { $p.name } }",
            &["P001", "Q202", "Q214"],
        ),
        (
            "query q($a: I64) { insert Package { name: , kb: \"x\" } update Package set { zz: 1 } where kb > delete Nope where a = 1 }",
            &["P001", "Q203", "Q202", "Q202", "P001"],
        ),
        (
            "query q() { match { $p: Package  $p.kb = 'x' } return { $p.zz } }",
            &["P006", "P006", "Q202"],
        ),
        (
            "query q() { match { $p: Nope } retrun { $p.name } } query r() { match { $p: Nah } return { $p.x } }",
            &["Q201", "P001", "Q201"],
        ),
        (
            "query q() { match { $p: Package ) } return { $p.zz } }",
            &["P001", "Q202"],
        ),
        (
            "query q() { match { $p: Package return { $p.zz } }",
            &["P001", "Q202"],
        ),
        (
            "query q( { match { $p: Nope } return { $p.zz } }",
            &["P001", "Q201"],
        ),
    ] {
        assert_eq!(codes(source), expected, "{source}");
    }
}

/// Aliases may stand for exponentially much.
#[test]
fn aliases_do_not_multiply_without_end() {
    let doubled = |times: usize| {
        let mut text = "query q() { match { $p: Package } return { $p.kb as a0".to_owned();
        for i in 1..times {
            text.push_str(&format!(" a{0} + a{0} as a{i}", i - 1));
        }
        text + " } }"
    };
    assert_eq!(codes(&doubled(5)), [""; 0]);
    assert!(codes(&doubled(60)).contains(&"P020"));
    let deep: String = (1..200).map(|i| format!(" -a{} as a{i}", i - 1)).collect();
    let deep = format!("query q() {{ match {{ $p: Package }} return {{ $p.kb as a0{deep} }} }}");
    assert!(codes(&deep).contains(&"P020"));
    let stars = "$p.* ".repeat(1000);
    let stars = format!("query q() {{ match {{ $p: Package }} return {{ {stars} }} }}");
    assert!(codes(&stars).contains(&"P020"));
}

#[test]
fn words_that_were_probably_meant() {
    let hint = |source: &str| {
        let found = compile(source, &catalog()).unwrap_err();
        found[0].hints.first().cloned().unwrap_or_default()
    };
    let read =
        |clause: &str| format!("query q() {{ match {{ $p: Package  {clause} }} return {{ 1 }} }}");
    for (source, expected) in [
        (read("$p.released < now"), "did you mean `now()`?"),
        (read("$p.kb == 1"), "equality is written with one `=`"),
        (
            read("$p.kb <> 1"),
            "inequality is written `!=`, at most `<=`, at least `>=`",
        ),
        (read("$p.essential || true"), "write `or`"),
        (read("$p.nmae = \"x\""), "did you mean `name`?"),
        (read("$p dependson2 $q"), "did you mean `DependsOn`?"),
        (
            read("$d: DependsOn"),
            "`DependsOn` is an edge: bind it in a hop, `$a $w:DependsOn $b`",
        ),
        (read("$q: package"), "write `Package`"),
        (read("lenght($p.name) = 1"), "did you mean `length`?"),
        (
            read("$p.released = \"2024-01-01\""),
            "write the date as `date(\"2024-02-29\")`",
        ),
        (
            "query q { match { $p: Package } return { 1 } }".into(),
            "a query without parameters is written `query q() { … }`",
        ),
        (
            "query q() { match { $p: Package } return $p.name }".into(),
            "what is returned stands in braces, `return { $p.name }`",
        ),
        (
            "query q() { match { $p: Package } where $p.kb = 1 return { 1 } }".into(),
            "conditions stand among the clauses of `match { … }`",
        ),
        (
            "query q() { match { $p: Package } return { $p.name } order by $p.name }".into(),
            "the keys stand in braces, `order { $p.name desc }`",
        ),
        (
            "query q($n: String) { delete package where name = $n }".into(),
            "`Package` is a node type: write it in this case",
        ),
        (
            "query q($nmae: String) { match { $p: Package { name: $name } } return { 1 } }".into(),
            "declare it: `query q($name: …)`",
        ),
    ] {
        assert_eq!(hint(&source), expected, "{source}");
    }
}

/// What cannot be checked has an error, also behind more warnings than are told.
#[test]
fn warnings_do_not_crowd_out_errors() {
    let many = " count(*)".repeat(150);
    let grouped = format!(
        "query q($a: String) {{ match {{ path $r = shortest $x dependsOn{{1,2}} $y }} return {{ $r{many} }} }}"
    );
    let mistaken =
        format!("query q() {{ match {{ $p: Package }} return {{ count(*){many} $p.nmae }} }}");
    for (source, code) in [(grouped, "Q233"), (mistaken, "Q202")] {
        let found = codes(&source);
        assert!(found.contains(&code), "{found:?}");
        let query = &crate::query::check(&source, &catalog()).queries[0];
        assert!(query.checked.is_none());
        assert!(query.diagnostics.iter().any(|d| d.is_error()));
    }
}
