//! Memory stays within a fixed multiple of the source, whatever the source is. Peak memory is that
//! of this process, so there is only one test here.
#![cfg(target_os = "linux")]

use std::fmt::Write as _;

use omnigraph_lang::format::{format_queries, format_schema};
use omnigraph_lang::query::check;
use omnigraph_lang::schema::{Catalog, parse_schema};

/// Most bytes of memory per byte of source, at the largest size of a source.
const BYTES_PER_BYTE: usize = 700;

fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

fn fill(size: usize, head: &str, part: &dyn Fn(usize) -> String, tail: &str) -> String {
    let mut text = head.to_owned();
    for number in 0.. {
        let part = part(number);
        if text.len() + part.len() + tail.len() > size {
            break;
        }
        text.push_str(&part);
    }
    text + tail
}

fn query_texts(size: usize) -> Vec<String> {
    let read = "query q($n: String) { match { $p: Package ";
    let rest = " } return { 1 as x } }";
    let doubled = {
        let mut text = "query q() { match { $p: Package } return { $p.kb as a0".to_owned();
        for i in 1..1000 {
            let _ = write!(text, " a{0} + a{0} as a{i}", i - 1);
        }
        text + " } }"
    };
    vec![
        fill(
            size,
            "query q() { match { $p: Package  $p.kb in [",
            &|_| "1,".into(),
            "1] } return { 1 } }",
        ),
        fill(size, read, &|_| "or ".into(), rest),
        fill(
            size,
            read,
            &|_| "$p.essential or ".into(),
            "$p.essential } return { 1 } }",
        ),
        fill(size, read, &|i| format!("$a{i}: Titled "), rest),
        fill(size, read, &|_| "$x: Titled  $x.title = \"\" ".into(), rest),
        fill(size, read, &|_| "$p.section = \"zz\" ".into(), rest),
        fill(
            size,
            "query q() { match { $p: Package } return { ",
            &|_| "$p.* ".into(),
            "} }",
        ),
        fill(
            size,
            "query q() { match { $p: Package } return { $p.kb as k ",
            &|i| format!("k + {i} as k{i} "),
            "} }",
        ),
        fill(
            size,
            "",
            &|i| format!("query q{i}() {{ match {{ $x: Titled }} return {{ $x.* }} }} "),
            "",
        ),
        fill(
            size,
            "query q() { match { $p: Package  \"",
            &|_| "\\\"".into(),
            "\" = $p.name } return { 1 } }",
        ),
        fill(size, "// ", &|_| "\n//".into(), ""),
        fill(size, "", &|_| "# ".into(), ""),
        fill(size, "query q() { match {", &|_| "{ ( [".into(), ""),
        fill(size, "", &|_| "query ".into(), ""),
        fill(
            size,
            "query q() { match { $p",
            &|_| "a".into(),
            ": Nope } return { 1 } }",
        ),
        doubled,
    ]
}

fn schema_texts(size: usize) -> Vec<String> {
    vec![
        fill(size, "node N { s: enum(", &|i| format!("a{i},"), "z) }"),
        fill(
            size,
            "node N { ",
            &|i| format!("a{i}: String @index @unique "),
            "}",
        ),
        fill(
            size,
            "interface I { a: String } ",
            &|i| format!("node N{i} implements I {{}} "),
            "",
        ),
        inherited(size),
        fill(size, "node N { a: String ", &|_| "@x(1) ".into(), "}"),
        fill(size, "node N { ", &|_| "a: Nope ".into(), "}"),
        fill(
            size,
            "node N { a: String @check(a, \"",
            &|_| "(a|b)*".into(),
            "\") }",
        ),
    ]
}

/// Half of the text in an interface, which all nodes of the other half have.
fn inherited(size: usize) -> String {
    let interface = fill(
        size / 2,
        "interface I { a: enum(",
        &|i| format!("a{i},"),
        "z) } ",
    );
    fill(
        size,
        &interface,
        &|i| format!("node N{i} implements I {{}} "),
        "",
    )
}

fn catalog() -> Catalog {
    let mut source = "interface Titled { title: String }
        node Package { name: String @key  kb: I64?  essential: Bool  section: enum(a, b) }\n"
        .to_owned();
    for i in 0..500 {
        let _ = writeln!(source, "node T{i} implements Titled {{ }}");
    }
    parse_schema(&source).unwrap().0
}

#[test]
fn memory_is_linear_in_the_source() {
    let catalog = catalog();
    let before = peak();
    let mut peaks = Vec::new();
    for size in [1 << 19, 1 << 20] {
        for text in query_texts(size) {
            assert!(text.len() <= 1 << 20);
            let checkup = check(&text, &catalog);
            drop(checkup);
            let _ = format_queries(&text);
        }
        for text in schema_texts(size) {
            let _ = parse_schema(&text);
            let _ = format_schema(&text);
        }
        peaks.push(peak() - before);
    }
    let allowed = BYTES_PER_BYTE << 20;
    assert!(peaks[1] <= allowed, "{peaks:?} of {allowed}");
    // Twice the text takes about twice the memory; a square would take four times.
    println!("peaks {peaks:?}");
    assert!(peaks[1] <= peaks[0] * 3, "{peaks:?}");
}
