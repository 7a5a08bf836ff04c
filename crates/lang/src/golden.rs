//! Inputs and expected outputs under `testdata/`: `ok/` has what is accepted and what becomes of
//! it, `err/` what is refused and what the user reads. `UPDATE_EXPECT=1` rewrites the outputs.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::diagnostic::render_all;
use crate::query::{CheckedQuery, compile};
use crate::schema::{Catalog, parse_schema};

fn testdata() -> PathBuf {
    package().join("testdata")
}

/// The inputs of a directory with this extension, by name.
pub(crate) fn inputs(dir: &str, extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(testdata().join(dir))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "nothing in {dir}");
    files
}

/// Runs every input of the directory through `run` and compares what comes out.
fn check(
    dir: &str,
    extension: &str,
    accepted: bool,
    run: impl Fn(&str, &str) -> Result<String, String>,
) {
    let mut wrong = Vec::new();
    for path in inputs(dir, extension) {
        let source = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let result = run(&name, &source);
        assert_eq!(result.is_ok(), accepted, "{name}: {result:?}");
        let found = result.unwrap_or_else(|refused| refused);
        let expected = path.with_extension("out");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&expected, &found).unwrap();
        } else if fs::read_to_string(&expected).ok().as_deref() != Some(&found) {
            wrong.push(format!("{}:\n{found}", expected.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "not as expected (UPDATE_EXPECT=1 accepts):\n{}",
        wrong.join("\n")
    );
}

fn schema(name: &str, source: &str) -> Result<String, String> {
    let (catalog, warnings) = parse_schema(source).map_err(|e| render_all(&e, name, source))?;
    let json = serde_json::to_string_pretty(&catalog).unwrap();
    let digest = catalog.digest();
    Ok(format!(
        "{}digest {digest}\n{json}\n",
        render_all(&warnings, name, source)
    ))
}

fn query_schema() -> Catalog {
    let source = fs::read_to_string(testdata().join("query/schema.pg")).unwrap();
    parse_schema(&source).unwrap().0
}

fn queries(name: &str, source: &str) -> Result<String, String> {
    let queries = compile(source, &query_schema()).map_err(|e| render_all(&e, name, source))?;
    Ok(queries.iter().map(|q| describe(q, name, source)).collect())
}

fn describe(query: &CheckedQuery, file: &str, source: &str) -> String {
    let kind = if query.is_mutation() {
        "mutation"
    } else {
        "read"
    };
    let mut out = format!("{kind} {}\n", query.name);
    for param in &query.params {
        let mark = if param.nullable { "?" } else { "" };
        let _ = writeln!(
            out,
            "  ${}: {}{mark} {:?}",
            param.name, param.data_type, param.default
        );
    }
    for column in &query.operation.result {
        let _ = writeln!(out, "  {}", serde_json::to_string(column).unwrap());
    }
    for (word, types) in [
        ("reads", &query.operation.reads),
        ("writes", &query.operation.writes),
    ] {
        let types: Vec<String> = types
            .iter()
            .map(|t| format!("{}:{}", t.kind, t.type_name))
            .collect();
        let _ = writeln!(out, "  {word} {}", types.join(" "));
    }
    out + &render_all(&query.warnings, file, source) + "\n"
}

#[test]
fn accepted_schemas() {
    check("schema/ok", "pg", true, schema);
}

#[test]
fn refused_schemas() {
    check("schema/err", "pg", false, schema);
}

#[test]
fn accepted_queries() {
    check("query/ok", "gq", true, queries);
}

#[test]
fn refused_queries() {
    check("query/err", "gq", false, queries);
}

/// The shipped example is accepted without a warning that its readers would wonder about.
#[test]
fn the_example_is_accepted() {
    let example = package().join("../../examples/debian");
    let source = fs::read_to_string(example.join("debian.pg")).unwrap();
    let (catalog, warnings) = parse_schema(&source)
        .unwrap_or_else(|e| panic!("{}", render_all(&e, "debian.pg", &source)));
    assert!(warnings.is_empty(), "{warnings:?}");
    for entry in fs::read_dir(example.join("queries")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "gq") {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let name = path.display().to_string();
        let queries = compile(&source, &catalog)
            .unwrap_or_else(|e| panic!("{}", render_all(&e, &name, &source)));
        assert!(!queries.is_empty(), "{name} has no query");
    }
}

/// Neither language may panic on any text: inputs with random edits, from a fixed seed.
#[test]
fn edited_inputs_do_not_panic() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let catalog = query_schema();
    let fragments = [
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        "$",
        "$p",
        "@",
        "@key(",
        "\"",
        "/*",
        "//",
        "..",
        "->",
        "-",
        "not",
        "not {",
        "optional {",
        "match {",
        "query q(",
        "node N {",
        "enum(",
        "99999999999999999999",
        "1.5",
        "contains",
        "is null",
        "in",
        "as I32",
        "rrf(",
        "ü",
        "\u{0}",
        "@default(",
        "@card(1..",
    ];
    let corpora = [
        ("schema/ok", "pg"),
        ("schema/err", "pg"),
        ("query/ok", "gq"),
        ("query/err", "gq"),
    ];
    for (dir, extension) in corpora {
        for path in inputs(dir, extension) {
            let source = fs::read_to_string(&path).unwrap();
            for _ in 0..300 {
                let edited = edit(&source, &fragments, &mut random);
                if extension == "pg" {
                    let _ = schema("edited.pg", &edited);
                } else if let Err(diagnostics) = compile(&edited, &catalog) {
                    assert!(!render_all(&diagnostics, "edited.gq", &edited).is_empty());
                }
            }
        }
    }
}

fn edit(source: &str, fragments: &[&str], random: &mut Random) -> String {
    let mut chars: Vec<char> = source.chars().collect();
    for _ in 0..=random.below(4) {
        let at = random.below(chars.len() + 1);
        match random.below(4) {
            0 => chars.truncate(at),
            1 => {
                let end = (at + random.below(20)).min(chars.len());
                chars.drain(at..end);
            }
            2 => {
                let end = (at + random.below(40)).min(chars.len());
                let copied: Vec<char> = chars[at..end].to_vec();
                let to = random.below(chars.len() + 1);
                chars.splice(to..to, copied);
            }
            _ => {
                let fragment = fragments[random.below(fragments.len())];
                chars.splice(at..at, fragment.chars());
            }
        }
    }
    chars.into_iter().collect()
}

/// xorshift64: enough to stir texts, and the same on every run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap_or(0)
    }
}

/// Where the package is now: whoever compiled this may have had it elsewhere.
fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .expect("cargo says where the package is")
        .into()
}
