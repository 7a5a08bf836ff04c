//! Family P: the text cannot be read.

use super::{Entry, entry};

pub(super) const ENTRIES: &[Entry] = &[
    entry(
        "P001",
        "unexpected token",
        "The text does not follow the grammar at this place: another word or sign was expected, or one name stands where it can stand once only.",
        "Write what the message says was expected. A sign too many or a bracket that is missing further up is often the reason.",
    ),
    entry(
        "P002",
        "string not closed",
        "A text begins with a double quote, and the source ends before the closing one. Texts may span lines, so everything that follows has been read as part of it.",
        "Add the closing `\"`. A quote inside a text is written `\\\"`.",
    ),
    entry(
        "P003",
        "unknown escape",
        "A backslash in a text is followed by a character that means nothing.",
        "The escapes are `\\\"`, `\\\\`, `\\n`, `\\r` and `\\t`. Write a backslash itself as `\\\\`, also in regular expressions.",
    ),
    entry(
        "P004",
        "comment not closed",
        "A comment begins with `/*`, and the source ends before `*/`.",
        "Add `*/`, or begin each line of the comment with `//`.",
    ),
    entry(
        "P005",
        "number literal out of range",
        "The number is larger than the largest that the place can hold: 18446744073709551615 for whole numbers.",
        "Write a number within the range, or a decimal such as `1.0` where a float is meant.",
    ),
    entry(
        "P006",
        "character that starts no token",
        "The character has no meaning in the language: `#`, `;`, `'`, `&`, a lone `$` and most characters outside of ASCII, for example.",
        "Remove it. Comments begin with `//`, texts stand in double quotes, `and`, `or` and `not` are words.",
    ),
    entry(
        "P007",
        "wrong case of a name's first letter",
        "Names of types begin with an upper-case letter; names of properties, parameters, variables, queries and columns begin with a lower-case letter or `_`.",
        "Change the first letter.",
    ),
    entry(
        "P008",
        "unknown type name",
        "The word is no type of the language.",
        "The types are String, Bool, I32, I64, U32, U64, F32, F64, Date, DateTime, Blob, `Vector(n)`, `enum(a, b)` and lists `[T]` of scalars.",
    ),
    entry(
        "P009",
        "vector width out of range",
        "The width of a vector is a whole number from 1 to 2147483647.",
        "Write the number of dimensions of your embeddings.",
    ),
    entry(
        "P010",
        "type not allowed in a list",
        "Lists hold scalars: no lists, vectors, enums or blobs.",
        "Use a list of a scalar, or a node type of its own with an edge to it.",
    ),
    entry(
        "P011",
        "annotation argument missing or of the wrong form",
        "An annotation takes one value, `@name(value)`, and after it named ones, `key=value`, whose values are texts, numbers, `true` or `false`.",
        "Write the arguments in this form.",
    ),
    entry(
        "P012",
        "annotation repeated",
        "The annotation may be given once, and is given twice.",
        "Remove one of them.",
    ),
    entry(
        "P013",
        "unknown query annotation",
        "Queries have the annotations `@description`, `@instruction` and `@timeout`.",
        "Use one of these, or a comment.",
    ),
    entry(
        "P014",
        "constraint arguments missing or malformed",
        "A constraint is not written in its form.",
        "The forms are `@key(a, b)`, `@unique(a, b)`, `@index(a, b)`, `@range(p, 0..9)` with either bound left out, and `@check(p, \"pattern\")`.",
    ),
    entry(
        "P015",
        "comparison of a comparison",
        "Tests such as `=`, `<` or `contains` do not chain: `a < b < c` has no meaning.",
        "Join two tests, `a < b and b < c`, or set parentheses.",
    ),
    entry(
        "P016",
        "direction after nearest",
        "The nearest come first always, so `nearest(…)` takes neither `asc` nor `desc`.",
        "Remove the word. To have the farthest first, order by the alias of a projected distance, `d desc`.",
    ),
    entry(
        "P017",
        "empty match, return, set or assignment block",
        "A block that has to say something is empty.",
        "Fill it. A `match` needs at least one clause, a `return` one projection, a statement one assignment.",
    ),
    entry(
        "P018",
        "read and mutation parts in one query",
        "A query either reads (`match … return …`) or changes data (`insert`, `upsert`, `update`, `delete`).",
        "Write two queries.",
    ),
    entry(
        "P019",
        "malformed duration",
        "`@timeout` takes a whole number above 0 with `ms`, `s` or `m`.",
        "Write for example `@timeout(\"500ms\")`.",
    ),
    entry(
        "P020",
        "source too large or nested too deeply",
        "A source has at most 1 MiB, brackets and operators nest at most 64 levels deep, one place holds at most 2000 parts of a kind, and the patterns of a source come to about 200 MiB when compiled at most.",
        "Split the source into several files, or the expression into several conditions.",
    ),
];
