//! The table of all codes. A code that has once been released keeps its meaning.

use super::Code;

/// Code and meaning, by family and number.
pub(super) const TABLE: &[(&str, &str)] = &[
    ("P001", "unexpected token; says what was expected"),
    ("P002", "string not closed"),
    ("P003", "unknown escape"),
    ("P004", "comment not closed"),
    ("P005", "number literal out of range"),
    ("P006", "character that starts no token"),
    ("P007", "wrong case of a name's first letter"),
    ("P008", "unknown type name"),
    ("P009", "vector width out of range"),
    ("P010", "type not allowed in a list"),
    ("P011", "annotation argument missing or of the wrong form"),
    ("P012", "annotation repeated"),
    ("P013", "unknown query annotation"),
    ("P014", "constraint arguments missing or malformed"),
    ("P015", "comparison of a comparison (`a < b < c`)"),
    ("P016", "`asc`/`desc` after `nearest(…)`"),
    (
        "P017",
        "empty `match`, `return`, `set`, or assignment block",
    ),
    ("P018", "read and mutation parts in one query"),
    ("P019", "malformed duration"),
    ("P020", "source too large or nested too deeply (64)"),
    ("S101", "name declared twice in one namespace"),
    ("S102", "property declared twice"),
    ("S103", "edge names equal but for case"),
    ("S104", "unknown endpoint type"),
    ("S105", "unknown interface"),
    ("S106", "property type differs from the interface's"),
    ("S107", "interfaces disagree on annotations"),
    ("S108", "reserved property name"),
    ("S109", "enum value twice"),
    ("S110", "constraint names an unknown property"),
    ("S111", "more than one key"),
    ("S112", "nullable key member"),
    ("S113", "constraint not possible on this property type"),
    ("S114", "not allowed on edges"),
    ("S115", "`@range` needs a number"),
    ("S116", "`@check` needs a String"),
    ("S117", "invalid regular expression"),
    ("S118", "lower bound above upper bound"),
    ("S119", "`@embed` needs a vector property"),
    ("S120", "`@embed` source missing, unknown or not String"),
    ("S121", "unknown `@embed` argument"),
    ("S122", "annotation value blank, missing, or not taken"),
    ("S123", "annotation not allowed in this place"),
    ("S124", "malformed `@rename_from`"),
    ("S125", "default does not fit"),
    ("S126", "default not allowed here"),
    ("M301", "property type change"),
    (
        "M302",
        "enum narrowed, renamed, or turned into or from String",
    ),
    ("M303", "required property without default, rows exist"),
    ("M304", "property made required, nulls exist"),
    ("M305", "key change"),
    ("M306", "edge endpoints change"),
    ("M307", "existing data violates the new constraint"),
    ("M308", "embedding source or model change"),
    ("M309", "interface removed or renamed"),
    ("M310", "implemented interfaces change"),
    ("M311", "rename hint names nothing"),
    ("M312", "rename hint crosses kinds or owners"),
    ("M313", "two declarations claim one"),
    ("M314", "hard drop not permitted here"),
    ("M315", "the accepted schema moved since the plan"),
    ("Q201", "unknown node type or interface"),
    ("Q202", "unknown property"),
    ("Q203", "value does not fit the property"),
    ("Q204", "unknown edge"),
    ("Q205", "variable's type is no end of the edge"),
    ("Q206", "variable or name not bound"),
    ("Q207", "operand types do not go together"),
    ("Q208", "aggregate does not take this type"),
    ("Q209", "`not` block without outer variable"),
    ("Q210", "unknown mutation target"),
    ("Q211", "Blob in `where`"),
    ("Q212", "required property or endpoint not assigned"),
    ("Q213", "property assigned twice"),
    ("Q214", "not a declared parameter"),
    ("Q215", "hop bounds missing, 0, or reversed"),
    ("Q216", "key member or endpoint assigned"),
    ("Q217", "rank key without `limit`"),
    ("Q218", "rank key with `distinct` or `union`"),
    ("Q219", "text search operands"),
    ("Q220", "vector search operands or width"),
    ("Q221", "`rrf` arguments"),
    ("Q222", "undirected hop over unequal ends"),
    ("Q223", "bound edge used where it cannot be"),
    ("Q224", "Blob used as a value"),
    ("Q225", "variable bound to two types or kinds"),
    ("Q226", "wrong mixture of aggregate and plain parts"),
    ("Q227", "unknown function or wrong argument count"),
    ("Q228", "list elements without common type, or nested"),
    ("Q229", "unknown alias in `order`"),
    (
        "Q231",
        "optional block introduces nothing, or its variable binds outside",
    ),
    ("Q232", "union arms differ"),
    ("Q233", "path used where it cannot be"),
    ("Q234", "property not common to all possible types"),
    ("Q235", "`upsert` on an unkeyed type"),
    ("Q236", "`limit` or `skip` parameter of wrong type"),
    ("Q237", "order key is no output column, or distinct vector"),
    ("Q238", "parameter default does not fit"),
    ("Q239", "operator after a bare variable reads as a hop"),
    ("Q240", "invalid pattern"),
    ("W501", "mutation without parameters"),
    (
        "W502",
        "nullable property that no update in the file sets, on a type that some update changes",
    ),
    ("W503", "undeclared parameter supplied"),
    ("W504", "query name repeated"),
    ("W505", "direction on a rank key ignored"),
    ("W506", "condition that can never hold (null, enum text)"),
    ("W507", "repeated column name"),
    ("W508", "rename hint ignored"),
    ("W509", "parameter and variable share a name"),
    ("W510", "node type shadows an interface"),
    ("R401", "line is not JSON"),
    ("R402", "malformed envelope"),
    ("R403", "repeated JSON member"),
    ("R404", "unknown type in data"),
    ("R405", "unknown member in `data`"),
    ("R406", "value of the wrong kind"),
    ("R407", "number out of range"),
    ("R408", "invalid date or time"),
    ("R409", "vector of wrong length or content"),
    ("R410", "required value missing"),
    ("R411", "not an enum member"),
    ("R412", "`@range` violated"),
    ("R413", "`@check` violated"),
    ("R414", "`@unique` violated"),
    ("R415", "id exists, or twice in the input"),
    ("R416", "given id malformed or not the derived one"),
    ("R417", "endpoint not found"),
    ("R418", "`@card` violated"),
    ("R419", "non-finite key"),
    ("R420", "malformed blob value"),
    ("R421", "external blob refused"),
    ("R422", "resource limit"),
    ("R423", "input that cannot be read"),
    ("R430", "parameter missing"),
    ("R431", "null for a parameter that is not nullable"),
    ("R432", "parameter of the wrong kind, range or text"),
    ("R433", "parameters are not a JSON object"),
    ("R434", "no such query"),
    ("R435", "read run as mutation, or the reverse"),
    ("R440", "arithmetic overflow"),
    ("R441", "division by zero"),
    ("R442", "cast failed"),
    ("R443", "invalid argument (negative limit, bad pattern, …)"),
    ("R444", "embedding provider unavailable"),
    ("R445", "embedding model mismatch"),
    ("R446", "embedding not finite, zero, or of wrong width"),
    ("R450", "timed out"),
    ("R451", "cancelled"),
    ("R452", "memory or row budget exceeded"),
    ("R460", "concurrent change of what was read"),
    ("R461", "expected commit is not the head"),
];

/// The spelling of the table, which lives as long as the program.
pub(super) fn find(text: &str) -> Option<&'static str> {
    TABLE
        .iter()
        .find(|(code, _)| *code == text)
        .map(|(code, _)| *code)
}

pub(super) fn meaning(code: &str) -> &'static str {
    TABLE
        .iter()
        .find(|(c, _)| *c == code)
        .map_or("", |(_, meaning)| *meaning)
}

/// One constant per code, so that a code that does not exist cannot be written.
macro_rules! constants {
    ($($code:ident)*) => {
        impl Code {
            $(
                #[allow(missing_docs, reason = "the table above says what they mean")]
                pub const $code: Code = Code(stringify!($code));
            )*
        }
    };
}

constants! {
    P001 P002 P003 P004 P005 P006 P007 P008 P009 P010 P011 P012
    P013 P014 P015 P016 P017 P018 P019 P020 S101 S102 S103 S104
    S105 S106 S107 S108 S109 S110 S111 S112 S113 S114 S115 S116
    S117 S118 S119 S120 S121 S122 S123 S124 S125 S126 M301 M302
    M303 M304 M305 M306 M307 M308 M309 M310 M311 M312 M313 M314
    M315 Q201 Q202 Q203 Q204 Q205 Q206 Q207 Q208 Q209 Q210 Q211
    Q212 Q213 Q214 Q215 Q216 Q217 Q218 Q219 Q220 Q221 Q222 Q223
    Q224 Q225 Q226 Q227 Q228 Q229 Q231 Q232 Q233 Q234 Q235 Q236
    Q237 Q238 Q239 Q240 W501 W502 W503 W504 W505 W506 W507 W508
    W509 W510 R401 R402 R403 R404 R405 R406 R407 R408 R409 R410
    R411 R412 R413 R414 R415 R416 R417 R418 R419 R420 R421 R422 R423
    R430 R431 R432 R433 R434 R435 R440 R441 R442 R443 R444 R445
    R446 R450 R451 R452 R460 R461
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_all_have_a_meaning() {
        let mut seen = std::collections::BTreeSet::new();
        for (code, meaning) in TABLE {
            assert!(seen.insert(code), "{code} twice");
            assert!(!meaning.is_empty(), "{code} has no meaning");
            assert_eq!(find(code), Some(*code));
        }
        assert_eq!(Code::parse("S110"), Some(Code::S110));
        assert_eq!(Code::parse("S999"), None);
    }
}
