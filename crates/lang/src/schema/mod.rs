//! Schemas: the catalog, and what turns source text into one.

#[cfg(test)]
mod accept;
mod annotations;
mod assign;
pub(crate) mod ast;
mod catalog;
mod check;
mod constraints;
mod declared;
mod digest;
pub mod migrate;
pub(crate) mod parse;
#[cfg(test)]
mod tests;

use crate::diagnostic::{Code, Diagnostic};
use declared::Declared;

pub use catalog::{
    Annotation, AnnotationValue, Cardinality, Catalog, Check, DataType, DefaultValue, EdgeType,
    Embed, EntityKind, EntityType, IndexKind, InterfaceType, Member, NodeType, Property,
    PropertyId, Range, Scalar, TypeBody, TypeId,
};
pub(crate) use check::{did_you_mean, suggest};
pub use migrate::{Evolution, MigrationPlan};

/// A schema on its own: the catalog of a graph's first version, and warnings.
///
/// # Errors
/// Everything that is wrong with the text, and the warnings.
pub fn parse_schema(source: &str) -> Result<(Catalog, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (declared, warnings) = declare(source)?;
    let (catalog, _) = assign::assign(&declared, None);
    Ok((catalog, warnings))
}

/// A schema as the successor of the accepted one: ids are carried over, and the plan says what
/// changes. A change that is not possible is a matter of the plan, not an error.
///
/// # Errors
/// Everything that is wrong with the text, and the warnings.
pub fn evolve(accepted: &Catalog, desired: &str) -> Result<Evolution, Vec<Diagnostic>> {
    let (declared, warnings) = declare(desired)?;
    let (catalog, hints) = assign::assign(&declared, Some(accepted));
    let mut plan = migrate::plan(accepted, &catalog);
    for hint in hints {
        plan.add_hint(hint);
    }
    Ok(Evolution {
        catalog,
        plan,
        warnings,
    })
}

fn declare(source: &str) -> Result<(Declared, Vec<Diagnostic>), Vec<Diagnostic>> {
    let tree = parse::parse(source);
    let mut diagnostics = tree.diagnostics;
    let declared = check::check(&tree.schema, &mut diagnostics);
    // What could not be read is not missing: these would only be consequences.
    let (types, members) = (tree.lost_declarations, tree.lost_members);
    diagnostics.retain(|d| match d.code {
        Code::S104 | Code::S105 => !types,
        Code::S110 | Code::S120 => !members,
        _ => true,
    });
    crate::diagnostic::sort(&mut diagnostics);
    if diagnostics.iter().any(Diagnostic::is_error) {
        Err(diagnostics)
    } else {
        Ok((declared, diagnostics))
    }
}
