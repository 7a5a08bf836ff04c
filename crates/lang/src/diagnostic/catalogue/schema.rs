//! Family S: a schema that can be read and makes no sense.

use super::{Entry, entry};

pub(super) const ENTRIES: &[Entry] = &[
    entry(
        "S101",
        "name declared twice in one namespace",
        "Two interfaces, two node types or two edge types have one name. An edge may share its name with a node type.",
        "Rename one of them, or merge the declarations.",
    ),
    entry(
        "S102",
        "property declared twice",
        "One type declares two properties of one name.",
        "Remove or rename one of them.",
    ),
    entry(
        "S103",
        "edge names equal but for case",
        "Edge names are compared without regard to case everywhere, so `Knows` and `KNOWS` are one name.",
        "Rename one of them.",
    ),
    entry(
        "S104",
        "unknown endpoint type",
        "The end of an edge names a node type that is not declared. Interfaces cannot be ends.",
        "Declare the node type, or correct the name. An edge of a dropped node type has to be dropped with it.",
    ),
    entry(
        "S105",
        "unknown interface",
        "`implements` names an interface that is not declared.",
        "Declare the interface, or correct the name.",
    ),
    entry(
        "S106",
        "property type differs from the interface's",
        "The node declares a property of its interface with another type; `?` and the words of an enum count.",
        "Use the type of the interface, or leave the property out: the node then has it from the interface.",
    ),
    entry(
        "S107",
        "interfaces disagree on annotations",
        "Two interfaces of a node have the same property, with different annotations, and the node does not declare it.",
        "Declare the property in the node itself: then only its own annotations count.",
    ),
    entry(
        "S108",
        "reserved property name",
        "`id` is reserved everywhere, `src`, `dst`, `from` and `to` on edges, and the five names of virtual columns that begin with `_row`.",
        "Give the property another name.",
    ),
    entry(
        "S109",
        "enum value twice",
        "The values of an enum are a set, and one is listed twice.",
        "Remove one of them.",
    ),
    entry(
        "S110",
        "constraint names an unknown property",
        "A constraint names a property that the type does not have. In constraints of edges the ends are called `src` and `dst`.",
        "Correct the name, or declare the property.",
    ),
    entry(
        "S111",
        "more than one key",
        "A type has at most one key; one that comes from an interface counts.",
        "For a key of several members write `@key(a, b)` once.",
    ),
    entry(
        "S112",
        "nullable key member",
        "A member of a key is part of the identity and cannot be null.",
        "Remove the `?` of its type, or choose other members.",
    ),
    entry(
        "S113",
        "constraint not possible on this property type",
        "Lists, vectors and blobs cannot be members of a key or unique tuple; lists and blobs cannot have an index.",
        "Choose another property, or derive a scalar one.",
    ),
    entry(
        "S114",
        "not allowed on edges",
        "On edges a property cannot be annotated with `@key`, and no property can be an embedding.",
        "Declare the key of an edge in its body, as `@key(src, dst)`; put the embedding on a node type.",
    ),
    entry(
        "S115",
        "range needs a number",
        "`@range` bounds numbers; the property is of another type.",
        "Use `@check` for texts, an enum for a set of words, or remove the constraint.",
    ),
    entry(
        "S116",
        "check needs a String",
        "`@check` matches texts; the property is of another type.",
        "Use `@range` for numbers, or remove the constraint.",
    ),
    entry(
        "S117",
        "invalid regular expression",
        "The pattern is no regular expression of the dialect, which has no look-around and no back-references.",
        "Correct the pattern. Remember that a backslash in a text is written twice.",
    ),
    entry(
        "S118",
        "lower bound above upper bound",
        "The bounds of `@range` or `@card` leave no value.",
        "Exchange them.",
    ),
    entry(
        "S119",
        "embed needs a vector property",
        "`@embed` says what text a vector stands for; the property is no vector.",
        "Put the annotation on the vector, and name the text in it: `@embed(summary)`.",
    ),
    entry(
        "S120",
        "embed source missing, unknown or not String",
        "`@embed` names no property, or one that the type does not have, or one that is no String.",
        "Name the String property that the vector stands for.",
    ),
    entry(
        "S121",
        "unknown embed argument",
        "`@embed` takes the property and `model=\"…\"`, once.",
        "Remove the other argument.",
    ),
    entry(
        "S122",
        "annotation value blank, missing, or not taken",
        "The annotation needs one text that is not blank.",
        "Write it as `@description(\"…\")`.",
    ),
    entry(
        "S123",
        "annotation not allowed in this place",
        "The annotation belongs to a property, or to a type, and stands on the other; or `@card` stands on a node.",
        "Move it. A key of several members is a constraint in the body, `@key(a, b)`.",
    ),
    entry(
        "S124",
        "malformed rename hint",
        "`@rename_from` takes exactly one former name, once.",
        "Write it as `@rename_from(\"Old\")`.",
    ),
    entry(
        "S125",
        "default does not fit",
        "The value of `@default` is not of the property's type. For a DateTime the word `now` is allowed, too.",
        "Write a literal of the property's type; dates and times are texts in quotes.",
    ),
    entry(
        "S126",
        "default not allowed here",
        "Members of a key, lists, vectors and blobs cannot have a default.",
        "Remove the default, or make the property nullable.",
    ),
];
