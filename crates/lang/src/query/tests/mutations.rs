//! Mutations and heads of queries, and their codes.

use super::{catalog, codes, expand};
use crate::query::compile;

const MUTATIONS: &[(&str, &[&str])] = &[
    (
        "insert Package { name: \"zlib\", section: \"libs\", essential: false }",
        &[],
    ),
    ("insert Package { name: \"x\" }", &["Q212"]),
    ("insert Maintains { from: \"ann@x\" }", &["Q212"]),
    (
        "insert Maintains { from: $a to: $b since: date(\"2024-06-01\") }",
        &[],
    ),
    ("insert maintains { from: $a, to: $b, }", &[]),
    ("insert package { name: \"x\" }", &["Q210"]),
    ("insert Maintains { from: 5, to: $b }", &["Q203"]),
    (
        "insert Holds { from: { tenant: $a, slot: 7 }, to: date(\"2024-01-01\") }",
        &[],
    ),
    (
        "insert Holds { from: { slot: 7 }, to: \"19723\" }",
        &["Q212"],
    ),
    (
        "insert Holds { from: { tenant: $a, weight: 7 }, to: \"19723\" }",
        &["Q202"],
    ),
    ("insert Day { day: date(\"2024-01-01\") }", &[]),
    ("insert Day { day: \"2024-01-01\" }", &["Q203"]),
    ("insert Slot { tenant: $a, slot: -1 }", &["Q203"]),
    ("insert Slot { tenant: $a, slot: $i, weight: 1.5 }", &[]),
    (
        "insert Package { name: $a, section: \"games\", essential: true }",
        &["Q203"],
    ),
    (
        "insert Package { name: null, section: $a, essential: true }",
        &["Q203"],
    ),
    (
        "insert Package { name: $a, section: $a, essential: true, vec: [1.0, 2], tags: [], kb: null }",
        &[],
    ),
    (
        "insert Package { name: $a, section: $a, essential: true, vec: [1.0] }",
        &["Q203"],
    ),
    (
        "insert Package { name: $a, section: $a, essential: kb }",
        &["Q206"],
    ),
    ("insert Note { text: $a, pic: $c }", &[]),
    ("insert Note { text: $a, pic: \"base64:Zm9\" }", &["Q203"]),
    ("insert Note { text: $zz, id: \"x\" }", &["Q214", "Q202"]),
    (
        "update Package set { kb: 600 } where name = \"curl\"",
        &["W502", "W502", "W502", "W502"],
    ),
    ("update Package set { name: \"x\" } where kb > 1", &["Q216"]),
    (
        "update Package set { kb: 1, kb: 2 } where kb > 1",
        &["Q213"],
    ),
    ("update Package set { kb: 1.5 } where kb > 1", &["Q203"]),
    (
        "update Package set { kb: cast(1.5 as I64) } where kb > zz",
        &["Q202"],
    ),
    ("update Package set { } where kb > 1", &["P017"]),
    ("update Maintains set { to: $a } where from = $a", &["Q216"]),
    (
        "update Maintains set { since: date(\"2022-02-02\") } where from = $a and since is null",
        &[],
    ),
    ("update Issue set { votes: votes + 1 } where id = $a", &[]),
    (
        "update Issue set { opened: now() } where not (votes > 3)",
        &["W502"],
    ),
    (
        "update Package set { released: now() } where kb = 1",
        &["Q203"],
    ),
    ("delete Package where name = \"curl\"", &[]),
    ("delete Package where kb = $p.kb", &["Q214"]),
    ("delete Package where $zz", &["Q214"]),
    ("delete Package where search(summary, \"x\")", &["Q219"]),
    ("delete Note where pic = $c", &["Q211"]),
    ("delete Nope where a = 1", &["Q210"]),
    ("delete DependsOn where from = $a and to = $b", &[]),
    ("delete Package where kb + 1", &["Q207"]),
    (
        "delete Maintainer where email = $a insert Maintainer { email: $a, name: $b }",
        &[],
    ),
    ("upsert Package { name: \"curl\", kb: 501 }", &[]),
    ("upsert Note { text: \"a\" }", &["Q235"]),
    ("upsert Package { kb: 501 }", &["Q212"]),
    (
        "upsert Conflicts { from: \"bash\", to: \"git\", reason: \"x\" }",
        &[],
    ),
    (
        "delete Package where name = $a match { $p: Package } return { $p.name }",
        &["P018"],
    ),
];

#[test]
fn mutations_have_the_codes_that_the_language_says() {
    for (row, expected) in MUTATIONS {
        let source = expand(row);
        assert_eq!(&codes(&source), expected, "{row}");
    }
}

#[test]
fn heads_of_queries() {
    let body = "{ match { $p: Package } return { $p.name } }";
    for (head, expected) in [
        ("query q()", &[][..]),
        (
            "query q() @description(\"a\") @instruction(\"b\") @timeout(\"500ms\")",
            &[],
        ),
        ("query q() @owner(\"x\")", &["P013"]),
        ("query q() @timeout(\"2h\")", &["P019"]),
        ("query q() @timeout(\"99999999999999999999s\")", &["P019"]),
        (
            "query q() @description(\"a\") @description(\"b\")",
            &["P012"],
        ),
        ("query Q()", &["P007"]),
        (
            "query q($n: I64 = 2, $d: Date = date(\"2024-01-01\"), $l: [I64] = [1, -2], $e: enum(a, b) = \"a\")",
            &[],
        ),
        ("query q($n: I64 = \"x\")", &["Q238"]),
        ("query q($n: I64 = null)", &["Q238"]),
        ("query q($n: I64? = null)", &[]),
        ("query q($e: enum(a, b) = \"c\")", &["Q238"]),
        ("query q($n: I64 = 1 + 1)", &["Q238"]),
        ("query q($n: I64, $n: I64)", &["P001"]),
        ("query q($n: Int)", &["P008"]),
    ] {
        assert_eq!(codes(&format!("{head} {body}")), expected, "{head}");
    }
    assert_eq!(codes("query q() { insert Note { text: \"x\" } }"), ["W501"]);
    assert_eq!(
        codes(&format!("query q() {body} query q() {body}")),
        ["W504"]
    );
    let both = format!(
        "query a() {{ match {{ $p: Nope }} return {{ $p.x }} }} query b() {{ match {{ $ }} }} query c() {body} query d() {{ match {{ $p: Nah }} return {{ $p.x }} }}"
    );
    assert_eq!(codes(&both), ["Q201", "P017", "P006", "P001", "Q201"]);
    assert!(compile("", &catalog()).unwrap().is_empty());
}
