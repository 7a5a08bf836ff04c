//! Family M: a change of schema that is not possible, or not with this data.

use super::{Entry, entry};

pub(super) const ENTRIES: &[Entry] = &[
    entry(
        "M301",
        "property type change",
        "A property keeps its type for life: no change of number type, between scalar and list, or of vector width.",
        "Add a property of the new type, fill it, and drop the old one.",
    ),
    entry(
        "M302",
        "enum narrowed, renamed, or turned into or from String",
        "Values may be added to an enum; removing or renaming one, or changing between enum and String, could make stored values invalid.",
        "Keep the old values, or add a property of the new type and fill it.",
    ),
    entry(
        "M303",
        "required property without default, rows exist",
        "Rows that exist would have no value for the new property.",
        "Give it a `@default`, or make it nullable, fill it, and make it required then.",
    ),
    entry(
        "M304",
        "property made required, nulls exist",
        "Some rows have null in the property that is to be required, and there is no default.",
        "Fill these rows first, or give the property a `@default`.",
    ),
    entry(
        "M305",
        "key change",
        "The key is the identity of the entities; it cannot be added, removed or changed, and its members cannot be dropped.",
        "Declare a new type with the other key, and load the data into it. Renaming a member is possible with `@rename_from`.",
    ),
    entry(
        "M306",
        "edge endpoints change",
        "An edge type keeps the node types that it joins.",
        "Declare a new edge type, and drop the old one.",
    ),
    entry(
        "M307",
        "existing data violates the new constraint",
        "The constraint was checked against the data of the branch, and some of it does not satisfy it. Nothing was applied.",
        "Correct the data that the message names, or loosen the constraint.",
    ),
    entry(
        "M308",
        "embedding source or model change",
        "Stored vectors were made from the former source and model, and would silently mean something else.",
        "Add a vector property with the new source or model, fill it, and drop the old one.",
    ),
    entry(
        "M309",
        "interface removed or renamed",
        "Queries may bind the interface.",
        "Keep the interface; declare a new one beside it.",
    ),
    entry(
        "M310",
        "implemented interfaces change",
        "An interface cannot be taken away from a node type.",
        "Keep `implements`. Adding an interface is possible if the node has its properties or may be given them.",
    ),
    entry(
        "M311",
        "rename hint names nothing",
        "`@rename_from` names a type or property that the accepted schema does not have.",
        "Correct the name, or remove the hint: then the declaration is new.",
    ),
    entry(
        "M312",
        "rename hint crosses kinds or owners",
        "A node cannot become an edge, and a property cannot move to another type. A new type cannot take over properties.",
        "Remove the hint, and copy the data.",
    ),
    entry(
        "M313",
        "two declarations claim one",
        "Two declarations want to take over the same type or property, or one wants what another still is.",
        "Remove one of the hints.",
    ),
    entry(
        "M314",
        "hard drop not permitted here",
        "There are no hard drops: dropped data stays in earlier commits until no kept commit needs it.",
        "Leave `allow_data_loss` out; `omnigraphctl cleanup` reclaims what is not needed.",
    ),
    entry(
        "M315",
        "the accepted schema moved since the plan",
        "Somebody else has changed the schema after the plan was made.",
        "Plan again.",
    ),
];
