//! Both languages on texts that nobody would write: a committed corpus, and mutations of it.
//!
//! By default a fixed number of mutations is made from a fixed seed. To run longer, with another
//! seed each time:
//!
//! ```text
//! OMNIGRAPH_FUZZ_SECONDS=600 cargo test -p omnigraph-lang --release --test fuzz -- --nocapture
//! ```
//!
//! A text that fails is made smaller as long as it fails and written to the directory that is
//! printed; put it into `testdata/corpus` when the defect is fixed. `OMNIGRAPH_FUZZ_SEED=n` repeats
//! a run.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use omnigraph_lang::diagnostic::{render_all, to_lsp};
use omnigraph_lang::format::{format_queries, format_schema};
use omnigraph_lang::query::{self, compile};
use omnigraph_lang::schema::{Catalog, evolve, parse_schema};
use omnigraph_lang::{Diagnostic, Span};

/// Mutations per language when no time is given.
const MUTATIONS: usize = 3000;

fn testdata() -> PathBuf {
    package().join("testdata")
}

fn catalog() -> Catalog {
    let source = std::fs::read_to_string(testdata().join("query/schema.pg")).unwrap();
    parse_schema(&source).unwrap().0
}

/// What every finding about a text must be.
fn sound(diagnostics: &[Diagnostic], source: &str) {
    for diagnostic in diagnostics {
        assert!(!diagnostic.message.is_empty());
        assert!(diagnostic.message.chars().count() <= 1001);
        if let Some(Span {
            start,
            end,
            line,
            column,
        }) = diagnostic.span
        {
            assert!(start < end && line >= 1 && column >= 1, "{diagnostic:?}");
            assert!(source.is_char_boundary((start as usize).min(source.len())));
        }
    }
    assert_eq!(
        render_all(diagnostics, "f", source).is_empty(),
        diagnostics.is_empty()
    );
    assert_eq!(to_lsp(diagnostics, source).len(), diagnostics.len());
}

fn schema_target(source: &str) {
    match parse_schema(source) {
        Ok((catalog, warnings)) => {
            sound(&warnings, source);
            let json = serde_json::to_string(&catalog).unwrap();
            assert_eq!(serde_json::from_str::<Catalog>(&json).unwrap(), catalog);
            let evolution = evolve(&catalog, source).unwrap();
            assert!(evolution.plan.is_empty() && evolution.plan.supported);
            assert_eq!(evolution.catalog, catalog);
            // Meaning survives formatting.
            let formatted = format_schema(source).unwrap();
            let (again, _) = parse_schema(&formatted).unwrap();
            assert_eq!(again.digest(), catalog.digest());
            assert_eq!(format_schema(&formatted).unwrap(), formatted);
        }
        Err(found) => {
            sound(&found, source);
            assert!(found.iter().any(Diagnostic::is_error));
        }
    }
}

fn query_target(source: &str, catalog: &Catalog) {
    let checkup = query::check(source, catalog);
    sound(&checkup.all_diagnostics(), source);
    match compile(source, catalog) {
        Ok(queries) => {
            let formatted = format_queries(source).unwrap();
            let again = compile(&formatted, catalog).unwrap();
            assert_eq!(format_queries(&formatted).unwrap(), formatted);
            for (before, after) in queries.iter().zip(&again) {
                assert_eq!(before.body, after.body);
                assert_eq!(before.operation, after.operation);
            }
        }
        Err(found) => assert!(found.iter().any(Diagnostic::is_error)),
    }
}

/// Committed texts of a language: those of the golden tests, and the corpus.
fn corpus(directories: &[&str], extension: &str) -> Vec<String> {
    let mut files: Vec<PathBuf> = Vec::new();
    for directory in directories {
        for entry in std::fs::read_dir(testdata().join(directory)).unwrap() {
            files.push(entry.unwrap().path());
        }
    }
    files.retain(|path| path.extension().is_some_and(|e| e == extension));
    files.sort();
    assert!(files.len() > 3, "the corpus is missing");
    files
        .iter()
        .map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned())
        .collect()
}

fn run(name: &str, corpus: &[String], target: impl Fn(&str)) {
    for text in corpus {
        target(text);
    }
    let seconds: Option<u64> = std::env::var("OMNIGRAPH_FUZZ_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok());
    let seed = std::env::var("OMNIGRAPH_FUZZ_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(match seconds {
            Some(_) => u64::from(std::process::id()) << 20 | 0x5eed,
            None => 0x5eed,
        });
    let begin = Instant::now();
    let mut random = Random(seed | 1);
    let mut made = 0;
    loop {
        match seconds {
            Some(seconds) if begin.elapsed() >= Duration::from_secs(seconds) => break,
            None if made >= MUTATIONS => break,
            _ => {}
        }
        let text = mutate(corpus, &mut random);
        made += 1;
        if catch_unwind(AssertUnwindSafe(|| target(&text))).is_err() {
            let smaller = reduce(&text, &target);
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{seed}-{made}"));
            std::fs::write(&path, &smaller).unwrap();
            panic!("seed {seed}: {} fails: {smaller:?}", path.display());
        }
    }
    println!(
        "{name}: {made} mutations in {:?}, seed {seed}",
        begin.elapsed()
    );
}

/// Leaves out parts as long as the rest still fails.
fn reduce(text: &str, target: &impl Fn(&str)) -> String {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut chars: Vec<char> = text.chars().collect();
    let mut size = chars.len() / 2;
    while size > 0 {
        let mut at = 0;
        while at < chars.len() {
            let mut shorter = chars.clone();
            shorter.drain(at..(at + size).min(chars.len()));
            let candidate: String = shorter.iter().collect();
            if catch_unwind(AssertUnwindSafe(|| target(&candidate))).is_err() {
                chars = shorter;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    std::panic::set_hook(hook);
    chars.into_iter().collect()
}

/// Parts of both languages that mutations put anywhere.
const FRAGMENTS: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    "<",
    ">",
    "|",
    "$",
    "$p",
    "$_",
    "@",
    "\"",
    "\\",
    "/*",
    "*/",
    "//",
    "..",
    "->",
    "-",
    "=",
    "!=",
    ".",
    ",",
    ":",
    "?",
    "*",
    "%",
    "\n",
    " ",
    "\t",
    "\r\n",
    "not",
    "not {",
    "optional {",
    "match {",
    "return {",
    "return distinct {",
    "order {",
    "limit 1",
    "skip $n",
    "union",
    "union all match",
    "path $r = shortest",
    "query q(",
    "insert",
    "upsert",
    "update",
    "delete",
    "set {",
    "where",
    "node N {",
    "edge E: N -> N",
    "interface I {",
    "implements I",
    "enum(",
    "Vector(2)",
    "[String]",
    "I64?",
    "@key",
    "@key(",
    "@unique(",
    "@index",
    "@range(n, 0..)",
    "@check(",
    "@card(0..1)",
    "@embed(",
    "@default(",
    "@rename_from(\"",
    "@timeout(\"",
    "0",
    "1",
    "1.5",
    "-1",
    "9223372036854775807",
    "9223372036854775808",
    "99999999999999999999",
    "true",
    "null",
    "and",
    "or",
    "in",
    "is null",
    "contains",
    "starts_with",
    "as",
    "as I32",
    "desc",
    "count(*)",
    "count(distinct ",
    "collect(",
    "nodes(",
    "length($r)",
    "rrf(",
    "nearest(",
    "bm25(",
    "search(",
    "now()",
    "date(\"",
    "{1,3}",
    "ü",
    "\u{1d11e}",
    "\u{0}",
    "\u{feff}",
    "dependsOn|conflicts",
    "<dependsOn>",
    "$w:dependsOn",
];

fn mutate(corpus: &[String], random: &mut Random) -> String {
    if random.below(10) == 0 {
        return arbitrary(random);
    }
    let mut chars: Vec<char> = corpus[random.below(corpus.len())].chars().collect();
    for _ in 0..=random.below(6) {
        let at = random.below(chars.len() + 1);
        match random.below(9) {
            0 => chars.truncate(at),
            1 => {
                let end = (at + random.below(30)).min(chars.len());
                chars.drain(at..end);
            }
            2 => {
                let end = (at + random.below(60)).min(chars.len());
                let copied: Vec<char> = chars[at..end].to_vec();
                let to = random.below(chars.len() + 1);
                chars.splice(to..to, copied);
            }
            3 => {
                let other: Vec<char> = corpus[random.below(corpus.len())].chars().collect();
                let from = random.below(other.len() + 1);
                let end = (from + random.below(120)).min(other.len());
                chars.splice(at..at, other[from..end].to_vec());
            }
            4 => {
                let fragment = FRAGMENTS[random.below(FRAGMENTS.len())];
                let times = 1 + random.below(200);
                chars.splice(at..at, fragment.repeat(times).chars());
            }
            5 if !chars.is_empty() => {
                let at = at.min(chars.len() - 1);
                chars[at] = char::from_u32(random.below(0x300) as u32).unwrap_or('x');
            }
            6 => {
                // Exchanges two words, which often leaves a text that can be read.
                let text: String = chars.iter().collect();
                let mut words: Vec<&str> = text.split(' ').collect();
                let (a, b) = (random.below(words.len()), random.below(words.len()));
                words.swap(a, b);
                chars = words.join(" ").chars().collect();
            }
            _ => {
                let fragment = FRAGMENTS[random.below(FRAGMENTS.len())];
                chars.splice(at..at, fragment.chars());
            }
        }
    }
    chars.truncate(1 << 16);
    chars.into_iter().collect()
}

/// Fragments and characters in no order.
fn arbitrary(random: &mut Random) -> String {
    let mut text = String::new();
    for _ in 0..random.below(120) {
        match random.below(4) {
            0 => text.extend(char::from_u32(random.below(0x11_0000) as u32)),
            1 => text.push(' '),
            _ => text.push_str(FRAGMENTS[random.below(FRAGMENTS.len())]),
        }
    }
    text
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap_or(0)
    }
}

#[test]
fn schemas() {
    let corpus = corpus(&["schema/ok", "schema/err", "corpus/schema"], "pg");
    run("schema", &corpus, schema_target);
}

#[test]
fn queries() {
    let corpus = corpus(&["query/ok", "query/err", "corpus/query"], "gq");
    let catalog = catalog();
    run("query", &corpus, |source| query_target(source, &catalog));
}

/// Where the package is now: whoever compiled this may have had it elsewhere.
fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .expect("cargo says where the package is")
        .into()
}
