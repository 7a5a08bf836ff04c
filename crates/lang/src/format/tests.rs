use super::*;
use crate::golden::{Random, inputs};

/// The syntax tree without its places.
fn tree(source: &str, schema: bool) -> String {
    let debug = if schema {
        format!("{:?}", crate::schema::parse::parse(source).schema)
    } else {
        format!("{:?}", crate::query::parse::parse(source).queries)
    };
    let spans = regex::Regex::new(r"Span \{[^}]*\}").unwrap();
    spans.replace_all(&debug, "").into_owned()
}

fn format_any(source: &str, schema: bool) -> Result<String, Vec<Diagnostic>> {
    if schema {
        format_schema(source)
    } else {
        format_queries(source)
    }
}

/// Formats and checks what must hold for every text.
fn formatted(source: &str, schema: bool) -> String {
    let shown = |text: &str| format!("\n--- source\n{source}\n--- formatted\n{text}\n---");
    let once = format_any(source, schema)
        .unwrap_or_else(|e| panic!("{}", crate::diagnostic::render_all(&e, "test", source)));
    assert_eq!(
        tree(source, schema),
        tree(&once, schema),
        "{}",
        shown(&once)
    );
    let twice = format_any(&once, schema).unwrap();
    assert_eq!(once, twice, "not stable: {}", shown(&once));
    assert!(once.is_empty() || once.ends_with('\n') && !once.ends_with("\n\n"));
    for line in once.lines() {
        assert_eq!(line.trim_end(), line, "{}", shown(&once));
    }
    once
}

fn schema(source: &str) -> String {
    formatted(source, true)
}

fn queries(source: &str) -> String {
    formatted(source, false)
}

#[test]
fn schemas() {
    assert_eq!(schema(""), "");
    assert_eq!(
        schema("  // only\n\n\n/* this */ "),
        "// only\n\n/* this */\n"
    );
    assert_eq!(schema("node   A{}"), "node A {}\n");
    assert_eq!(
        schema(
            "node A{k:String@key}edge   E:A->A edge F :A->A@card( 0 .. 1 )\nnode B { a:[ String ] ? b : enum( a,phase-1 , 2fa )@default( a ) @range( b ,-1 ..)c:U64@odd(1,x=\"2\") }"
        ),
        "node A { k: String @key }\n\
         edge E: A -> A\n\
         edge F: A -> A @card(0..1)\n\
         \n\
         node B {\n    \
             a: [String]?\n    \
             b: enum(a, phase-1, 2fa) @default(a)\n    \
             @range(b, -1..)\n    \
             c: U64 @odd(1, x=\"2\")\n\
         }\n"
    );
}

#[test]
fn comments_of_schemas_stay_where_they_are() {
    assert_eq!(
        schema(
            "// head\n\n// of A\nnode A { // open\n\n  // of k\n  k: String // behind k\n\n  n /* odd */ : I64?\n  // last\n} // end\n/* x */ node B {}\n// tail"
        ),
        "// head\n\n\
         // of A\n\
         node A { // open\n    \
             // of k\n    \
             k: String // behind k\n\n    \
             n /* odd */ : I64?\n    \
             // last\n\
         } // end\n\n\
         /* x */\n\
         node B {}\n\
         // tail\n"
    );
}

#[test]
fn long_headers_and_properties_are_broken() {
    let long = "x".repeat(80);
    assert_eq!(
        schema(&format!(
            "node A implements I, J @description(\"{long}\") {{ a: String @index @description(\"{long}\") }}"
        )),
        format!(
            "node A implements I, J\n    @description(\"{long}\")\n{{\n    a: String\n        @index\n        @description(\"{long}\")\n}}\n"
        )
    );
}

#[test]
fn reads() {
    assert_eq!(
        queries(
            "query q( $n :String,$k:I64 ?=- 2 )@description( \"d\" ){match{$p:Package{name:$n,},$u  <dependsOn|conflicts>{1 , 2}$p $p $w :dependsOn $q not{$_ maintains $p}}return distinct{$p.name count( * )as n,-$p.kb,$p.*}order{n desc,$p.name}skip 1 limit $k}"
        ),
        "query q($n: String, $k: I64? = -2) @description(\"d\") {\n    \
             match {\n        \
                 $p: Package { name: $n }\n        \
                 $u <dependsOn|conflicts>{1,2} $p\n        \
                 $p $w:dependsOn $q\n        \
                 not { $_ maintains $p }\n    \
             }\n    \
             return distinct { $p.name, count(*) as n, -$p.kb, $p.* }\n    \
             order { n desc, $p.name }\n    \
             skip 1\n    \
             limit $k\n\
         }\n"
    );
    assert_eq!(
        queries(
            "query q() { match { $p: A } return { 1 } union all match { path $r = shortest $a e $b, -1 < $a.x, ($a.y), $b.z } return { $r } }"
        ),
        "query q() {\n    \
             match { $p: A }\n    \
             return { 1 }\n    \
             union all\n    \
             match {\n        \
                 path $r = shortest $a e $b,\n        \
                 -1 < $a.x,\n        \
                 ($a.y)\n        \
                 $b.z\n    \
             }\n    \
             return { $r }\n\
         }\n"
    );
}

#[test]
fn mutations() {
    assert_eq!(
        queries(
            "query q($a: String) { delete Maintains where to=$a insert Maintains{from:$a to:{ tenant:$a,slot:7}}\n\n\nupdate A set{x:x+1,}where not(y>3)and z in[1,2] }"
        ),
        "query q($a: String) {\n    \
             delete Maintains where to = $a\n    \
             insert Maintains { from: $a, to: { tenant: $a, slot: 7 } }\n\n    \
             update A set { x: x + 1 } where not (y > 3) and z in [1, 2]\n\
         }\n"
    );
}

#[test]
fn long_lines_are_broken_where_parts_begin() {
    let long = "x".repeat(40);
    assert_eq!(
        queries(&format!(
            "query q($aaaaaaaaaaaaaaaa: String, $bbbbbbbbbbbbbbbbbbbbbbb: String, $ccccccccccccccccccccc: String) {{ match {{ $p.{long} = 1 and $p.{long} = 2 and ($p.a or $p.b) }} return {{ $p.{long}, $p.{long}, 1 }} order {{ $p.{long}, $p.{long}, $p.c }} }}"
        )),
        format!(
            "query q(\n    $aaaaaaaaaaaaaaaa: String,\n    $bbbbbbbbbbbbbbbbbbbbbbb: String,\n    $ccccccccccccccccccccc: String\n) {{\n    \
             match {{\n        $p.{long} = 1\n            and $p.{long} = 2\n            and ($p.a or $p.b)\n    }}\n    \
             return {{\n        $p.{long},\n        $p.{long},\n        1,\n    }}\n    \
             order {{\n        $p.{long},\n        $p.{long},\n        $p.c\n    }}\n}}\n"
        )
    );
}

#[test]
fn what_cannot_be_read_is_not_formatted() {
    let codes =
        |found: Vec<Diagnostic>| -> Vec<&str> { found.iter().map(|d| d.code.as_str()).collect() };
    assert_eq!(
        codes(format_schema("node A { k String }").unwrap_err()),
        ["P001"]
    );
    assert_eq!(codes(format_queries("query q(").unwrap_err()), ["P001"]);
    // What is only wrong in its meaning is.
    assert_eq!(
        schema("node A { k: String @key @key }"),
        "node A { k: String @key @key }\n"
    );
}

/// The inputs of the golden tests, with other white space and with comments anywhere.
#[test]
fn every_text_keeps_its_tree_and_its_comments() {
    let mut random = Random::new(7);
    for (dir, extension) in [("schema/ok", "pg"), ("query/ok", "gq")] {
        let is_schema = extension == "pg";
        for path in inputs(dir, extension) {
            let source = std::fs::read_to_string(&path).unwrap();
            formatted(&source, is_schema);
            for _ in 0..40 {
                let scattered = scatter(&source, &mut random);
                let text = formatted(&scattered, is_schema);
                let comments = |text: &str| -> Vec<String> {
                    let lexed = crate::syntax::lex(text);
                    let spans = lexed.comments.iter().map(|c| c.span);
                    spans
                        .map(|s| text[s.start as usize..s.end as usize].trim_end().to_owned())
                        .collect()
                };
                assert_eq!(comments(&scattered), comments(&text));
            }
        }
    }
}

/// The tokens of a text with other white space and with comments between them.
fn scatter(source: &str, random: &mut Random) -> String {
    let lexed = crate::syntax::lex(source);
    let mut out = String::new();
    let mut end = 0;
    for token in &lexed.tokens {
        let (start, close) = (token.span.start as usize, token.span.end as usize);
        // Words of enums may not come apart.
        if start > end {
            out.push_str(match random.below(12) {
                0 => "\n",
                1 => "\n\n\n",
                2 => " // note\n",
                3 => "\n// own line\n",
                4 => " /* in */ ",
                5 => "\n/* two\n   lines */\n",
                _ => " ",
            });
        }
        if close <= source.len() {
            out.push_str(&source[start..close]);
        }
        end = close;
    }
    out
}

#[test]
fn languages_are_known_by_name_and_by_text() {
    assert_eq!(Language::of_file("a/b.pg"), Some(Language::Schema));
    assert_eq!(Language::of_file("b.gq"), Some(Language::Query));
    assert_eq!(Language::of_file("b.yaml"), None);
    assert_eq!(Language::guess("// query\nnode A {}"), Language::Schema);
    assert_eq!(Language::guess("/* node */ query q()"), Language::Query);
    assert_eq!(Language::guess(""), Language::Schema);
}
