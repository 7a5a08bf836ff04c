//! The examples of `docs/reference` are what they say. Blocks marked `rows` are results, which the
//! engine's tests compare.

use std::path::PathBuf;

use omnigraph_lang::Diagnostic;
use omnigraph_lang::diagnostic::{catalogue, render_all};
use omnigraph_lang::format::{format_queries, format_schema};
use omnigraph_lang::query::compile;
use omnigraph_lang::schema::{Catalog, EntityType, evolve, parse_schema};
use omnigraph_lang::value::{from_json, parse_json_strict};

struct Block {
    page: &'static str,
    line: usize,
    /// What stands behind the fence.
    info: String,
    text: String,
}

impl Block {
    fn error(&self) -> Option<&str> {
        self.info.split_once("error=").map(|(_, code)| code.trim())
    }

    fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }
}

fn reference() -> PathBuf {
    package().join("../../docs/reference")
}

fn blocks(page: &'static str) -> Vec<Block> {
    let text = std::fs::read_to_string(reference().join(page)).unwrap();
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                open = Some(Block {
                    page,
                    line: number + 1,
                    info: info.to_owned(),
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{page}: a block is not closed");
    blocks
}

fn expect<T>(block: &Block, result: Result<T, Vec<Diagnostic>>) -> Option<T> {
    match (result, block.error()) {
        (Ok(found), None) => Some(found),
        (Ok(_), Some(code)) => panic!("{}: accepted instead of {code}", block.place()),
        (Err(found), None) => {
            panic!(
                "{}\n{}",
                block.place(),
                render_all(&found, block.page, &block.text)
            )
        }
        (Err(found), Some(code)) => {
            let codes: Vec<&str> = found.iter().map(|d| d.code.as_str()).collect();
            assert_eq!(codes, [code], "{}", block.place());
            None
        }
    }
}

fn check_schema(block: &Block) -> Option<Catalog> {
    let (catalog, warnings) = expect(block, parse_schema(&block.text))?;
    assert!(warnings.is_empty(), "{}: {warnings:?}", block.place());
    format_schema(&block.text).unwrap();
    Some(catalog)
}

fn check_queries(block: &Block, catalog: &Catalog) {
    if let Some(queries) = expect(block, compile(&block.text, catalog)) {
        for query in queries {
            assert!(
                query.warnings.is_empty(),
                "{}: {:?}",
                block.place(),
                query.warnings
            );
        }
        format_queries(&block.text).unwrap();
    }
}

fn schema_of(page: &'static str) -> Catalog {
    let blocks = blocks(page);
    let block = blocks.iter().find(|b| b.info == "pg schema").unwrap();
    check_schema(block).unwrap()
}

#[test]
fn schemas() {
    let mut checked = 0;
    for block in blocks("schema.md") {
        checked += 1;
        if block.info == "pg migrate" {
            migration(&block);
        } else {
            assert!(block.info.starts_with("pg"), "{}", block.place());
            check_schema(&block);
        }
    }
    assert!(checked >= 8);
}

fn migration(block: &Block) {
    let parts: Vec<&str> = block.text.split("--- ").collect();
    let (before, after, steps) = (
        parts[0],
        parts[1].strip_prefix("to\n").unwrap(),
        parts[2].strip_prefix("steps\n").unwrap(),
    );
    let accepted = parse_schema(before).unwrap().0;
    let plan = evolve(&accepted, after).unwrap().plan;
    assert!(plan.supported);
    let found = serde_json::to_value(&plan.steps).unwrap();
    let kinds: Vec<&str> = found
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds.join(", "), steps.trim(), "{}", block.place());
}

#[test]
fn queries_and_mutations() {
    let catalog = schema_of("queries.md");
    let mut checked = 0;
    for page in ["queries.md", "mutations.md"] {
        for block in blocks(page) {
            match block.info.split(' ').next() {
                Some("gq") => check_queries(&block, &catalog),
                Some("rows") => {
                    serde_json::from_str::<serde_json::Value>(&block.text).unwrap();
                }
                Some("pg") => {
                    check_schema(&block);
                }
                _ => panic!("{}: what is {}?", block.place(), block.info),
            }
            checked += 1;
        }
    }
    assert!(checked >= 40, "{checked}");
}

#[test]
fn lines_of_loads() {
    let catalog = schema_of("loading.md");
    for block in blocks("loading.md") {
        if !block.info.starts_with("ndjson") {
            continue;
        }
        let mut codes = Vec::new();
        for line in block.text.lines() {
            codes.extend(line_codes(&catalog, line));
        }
        let expected: Vec<&str> = block.error().into_iter().collect();
        assert_eq!(codes, expected, "{}", block.place());
    }
}

/// What is wrong with the members of a line, one by one.
fn line_codes(catalog: &Catalog, line: &str) -> Vec<&'static str> {
    let json = match parse_json_strict(line) {
        Ok(json) => json,
        Err(e) => return vec![e.code.as_str()],
    };
    let entity = match (json["type"].as_str(), json["edge"].as_str()) {
        (Some(name), None) => catalog.node(name).map(EntityType::Node),
        (None, Some(name)) => catalog.edge(name).map(EntityType::Edge),
        _ => panic!("{line}"),
    };
    let entity = entity.unwrap_or_else(|| panic!("{line}"));
    let members = json["data"].as_object().into_iter().flatten();
    members
        .filter_map(|(name, value)| {
            let property = entity
                .body()
                .property(name)
                .unwrap_or_else(|| panic!("{line}"));
            from_json(value, &property.data_type)
                .err()
                .map(|e| e.code.as_str())
        })
        .collect()
}

#[test]
fn the_page_of_codes_is_the_catalogue() {
    let path = reference().join("diagnostics.md");
    let page = catalogue::markdown();
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "UPDATE_EXPECT=1 writes docs/reference/diagnostics.md anew"
    );
}

/// Pages name codes that exist.
#[test]
fn codes_on_the_pages_exist() {
    for page in [
        "schema.md",
        "queries.md",
        "mutations.md",
        "loading.md",
        "silences.md",
    ] {
        let text = std::fs::read_to_string(reference().join(page)).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric());
        for word in words.filter(|w| w.len() == 4 && w[1..].bytes().all(|b| b.is_ascii_digit())) {
            if word.starts_with(['P', 'S', 'M', 'Q', 'W', 'R']) {
                assert!(catalogue::find(word).is_some(), "{page}: {word}");
            }
        }
    }
}

/// Where the package is now: whoever compiled this may have had it elsewhere.
fn package() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR")
        .expect("cargo says where the package is")
        .into()
}
