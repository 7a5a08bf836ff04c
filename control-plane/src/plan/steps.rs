//! Migration steps as they travel.

use omnigraph_lang::schema::MigrationPlan;
use omnigraph_lang::schema::migrate::Step;
use omnigraph_proto::common::v1::Diagnostic;
use omnigraph_proto::control::v1 as pb;

use crate::finding;

/// The engine's own steps, each with a line for people.
pub(super) fn migration(plan: &MigrationPlan) -> pb::Migration {
    pb::Migration {
        supported: plan.supported,
        steps: plan.steps.iter().map(step).collect(),
    }
}

/// What forbids the migration.
pub(super) fn refusals(plan: &MigrationPlan, path: &str) -> Vec<Diagnostic> {
    let errors = plan.diagnostics.iter().filter(|found| found.is_error());
    errors
        .map(|found| finding::of_language(found, path))
        .collect()
}

fn step(step: &Step) -> pb::MigrationStep {
    let detail = serde_json::to_value(step).unwrap_or_default();
    let code = match step {
        Step::UnsupportedChange { code, .. } => code.as_str(),
        _ => "",
    };
    pb::MigrationStep {
        kind: detail["kind"].as_str().unwrap_or_default().to_owned(),
        summary: summary(step),
        detail_json: detail.to_string(),
        code: code.to_owned(),
        destructive: matches!(step, Step::DropType { .. } | Step::DropProperty { .. }),
    }
}

/// A migration step in a few words, for people.
pub fn summary(step: &Step) -> String {
    let whole = |on: &omnigraph_lang::schema::migrate::TypeStep| {
        format!("{} {}", on.type_kind.word(), on.type_name)
    };
    let part = |on: &omnigraph_lang::schema::migrate::PropertyStep| {
        format!("{}.{}", on.type_name, on.property_name)
    };
    match step {
        Step::AddType(on) => format!("add {}", whole(on)),
        Step::RenameType { on, from, to } => {
            format!("rename {} {from} -> {to}", on.type_kind.word())
        }
        Step::DropType { on, .. } => {
            format!("drop {}: history keeps it until cleanup", whole(on))
        }
        Step::AddProperty { on, .. } => format!("add property {}", part(on)),
        Step::RenameProperty { on, from, to } => {
            format!("rename property {}.{from} -> {to}", on.type_name)
        }
        Step::DropProperty { on, .. } => {
            format!("drop property {}: history keeps it until cleanup", part(on))
        }
        Step::ExtendEnum { on, added_values } => {
            format!("extend enum {} (+{})", part(on), added_values.join(", +"))
        }
        Step::SetNullable(on) => format!("make {} optional", part(on)),
        Step::SetRequired { on, .. } => format!("make {} required", part(on)),
        Step::AddConstraint { on, constraint, .. } => format!("add {constraint} to {}", whole(on)),
        Step::DropConstraint { on, constraint } => {
            format!("drop {constraint} from {}", whole(on))
        }
        Step::SetCardinality { on, from, to, .. } => {
            format!("change cardinality of {}: {from} -> {to}", whole(on))
        }
        Step::UpdateTypeMetadata(on) => format!("update metadata of {}", whole(on)),
        Step::UpdatePropertyMetadata(on) => format!("update metadata of {}", part(on)),
        Step::UnsupportedChange { entity, reason, .. } => format!("{entity}: {reason}"),
    }
}
