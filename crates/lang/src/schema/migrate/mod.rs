//! What a change of schema does to a graph.

mod constraint;
mod diff;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::assign::Hint;
use super::declared;
use super::{Catalog, EntityKind};
use crate::diagnostic::{Code, Diagnostic};

pub use diff::plan;

/// The steps from an accepted schema to a desired one. An equal schema gives none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MigrationPlan {
    /// No step is an `unsupported_change`.
    pub supported: bool,
    /// Interfaces, nodes, edges; by name; within a type renames first. A step names things as they
    /// are called after the renames.
    pub steps: Vec<Step>,
    pub diagnostics: Vec<Diagnostic>,
}

/// One step. `checked` steps are validated against the data of the branch that they apply to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Step {
    AddType(TypeStep),
    RenameType {
        #[serde(flatten)]
        on: TypeStep,
        from: String,
        to: String,
    },
    DropType {
        #[serde(flatten)]
        on: TypeStep,
        mode: DropMode,
    },
    /// Checked if the property is required and has no default: the type must have no rows (M303).
    AddProperty {
        #[serde(flatten)]
        on: PropertyStep,
        checked: bool,
    },
    RenameProperty {
        #[serde(flatten)]
        on: PropertyStep,
        from: String,
        to: String,
    },
    DropProperty {
        #[serde(flatten)]
        on: PropertyStep,
        mode: DropMode,
    },
    ExtendEnum {
        #[serde(flatten)]
        on: PropertyStep,
        added_values: Vec<String>,
    },
    SetNullable(PropertyStep),
    /// Checked: rows with null take the default, or are M304 if there is none.
    SetRequired {
        #[serde(flatten)]
        on: PropertyStep,
        checked: bool,
    },
    /// Checked (M307) unless the constraint is an index.
    AddConstraint {
        #[serde(flatten)]
        on: TypeStep,
        /// As in a schema: `@unique(a, b)`.
        constraint: String,
        checked: bool,
    },
    DropConstraint {
        #[serde(flatten)]
        on: TypeStep,
        constraint: String,
    },
    /// Checked (M307) if the bounds are tighter.
    SetCardinality {
        #[serde(flatten)]
        on: TypeStep,
        from: String,
        to: String,
        checked: bool,
    },
    UpdateTypeMetadata(TypeStep),
    UpdatePropertyMetadata(PropertyStep),
    UnsupportedChange {
        /// As in `node:Package.kb`.
        entity: String,
        reason: String,
        code: Code,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeStep {
    pub type_kind: TypeKind,
    pub type_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PropertyStep {
    pub type_kind: TypeKind,
    pub type_name: String,
    pub property_name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TypeKind {
    Interface,
    Node,
    Edge,
}

/// What happens to the data of what is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DropMode {
    /// The name disappears, earlier commits still show the data, cleanup reclaims it later.
    Soft,
}

/// A desired schema with the ids of the accepted one carried over.
#[derive(Clone, Debug, PartialEq)]
pub struct Evolution {
    pub catalog: Catalog,
    pub plan: MigrationPlan,
    /// Of the source text; those of the plan are in the plan.
    pub warnings: Vec<Diagnostic>,
}

impl MigrationPlan {
    /// Nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// A wrong rename hint makes the change unsupported, in its place among the steps.
    pub(super) fn add_hint(&mut self, hint: Hint) {
        if hint.diagnostic.is_error() {
            self.supported = false;
            let kind = TypeKind::from(hint.kind);
            let property = hint.property.map_or(String::new(), |p| format!(".{p}"));
            let step = Step::UnsupportedChange {
                entity: format!("{}:{}{property}", kind.word(), hint.type_name),
                reason: hint.diagnostic.message.clone(),
                code: hint.diagnostic.code,
            };
            let place = (kind, hint.type_name);
            let at = self.steps.iter().position(|s| s.place() > place);
            self.steps.insert(at.unwrap_or(self.steps.len()), step);
        }
        self.diagnostics.push(hint.diagnostic);
    }

    /// Some step depends on the data.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.steps.iter().any(Step::is_checked)
    }
}

impl Step {
    #[must_use]
    pub fn is_checked(&self) -> bool {
        match self {
            Step::AddProperty { checked, .. }
            | Step::SetRequired { checked, .. }
            | Step::AddConstraint { checked, .. }
            | Step::SetCardinality { checked, .. } => *checked,
            _ => false,
        }
    }
}

impl Step {
    /// Kind and name of the type that the step is about: steps are in this order.
    fn place(&self) -> (TypeKind, String) {
        let on = match self {
            Step::AddType(on) | Step::UpdateTypeMetadata(on) => on,
            Step::RenameType { on, .. }
            | Step::DropType { on, .. }
            | Step::AddConstraint { on, .. }
            | Step::DropConstraint { on, .. }
            | Step::SetCardinality { on, .. } => on,
            Step::SetNullable(on) | Step::UpdatePropertyMetadata(on) => {
                return (on.type_kind, on.type_name.clone());
            }
            Step::AddProperty { on, .. }
            | Step::RenameProperty { on, .. }
            | Step::DropProperty { on, .. }
            | Step::ExtendEnum { on, .. }
            | Step::SetRequired { on, .. } => return (on.type_kind, on.type_name.clone()),
            Step::UnsupportedChange { entity, .. } => {
                let (kind, name) = entity.split_once(':').unwrap_or(("", entity));
                let name = name.split('.').next().unwrap_or_default();
                let kind = match kind {
                    "interface" => TypeKind::Interface,
                    "node" => TypeKind::Node,
                    _ => TypeKind::Edge,
                };
                return (kind, name.to_owned());
            }
        };
        (on.type_kind, on.type_name.clone())
    }
}

impl From<declared::TypeKind> for TypeKind {
    fn from(kind: declared::TypeKind) -> Self {
        match kind {
            declared::TypeKind::Interface => TypeKind::Interface,
            declared::TypeKind::Node => TypeKind::Node,
            declared::TypeKind::Edge => TypeKind::Edge,
        }
    }
}

impl TypeKind {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            TypeKind::Interface => "interface",
            TypeKind::Node => "node",
            TypeKind::Edge => "edge",
        }
    }
}

impl From<EntityKind> for TypeKind {
    fn from(kind: EntityKind) -> Self {
        match kind {
            EntityKind::Node => TypeKind::Node,
            EntityKind::Edge => TypeKind::Edge,
        }
    }
}
