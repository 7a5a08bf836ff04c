//! `version`.

use super::Context;
use crate::client::embedded::STORAGE_FORMAT;
use crate::error::Result;
use crate::output::Rendered;

pub(crate) fn run(context: &Context) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let text = format!("omnigraphctl {version}, storage format {STORAGE_FORMAT}");
    let json = serde_json::json!({"version": version, "internal_schema_version": STORAGE_FORMAT});
    context
        .output
        .show(&Rendered::document(text, json.to_string()))
}
