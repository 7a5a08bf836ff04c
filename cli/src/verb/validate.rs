//! `validate`: checks a directory of declarations.

use std::path::PathBuf;

use super::Context;
use crate::client::embedded;
use crate::error::{Error, Result, diagnostic_line};
use crate::output::Rendered;
use crate::render;
use crate::render::source::Sources;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory with cluster.yaml
    #[arg(default_value = ".")]
    dir: PathBuf,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let (bundle, response) = embedded::validate(&args.dir)?;
    let json = render::json::validate(&response);
    if !response.ok {
        let number = response.diagnostics.len();
        let mut error = Error::failed(format!(
            "{} is not valid: {}",
            args.dir.display(),
            render::words::count(number as u64, "finding")
        ));
        let found = response.diagnostics.iter();
        error.details = found.map(|d| diagnostic_line(&d.into())).collect();
        if let serde_json::Value::Object(object) = json {
            error.detail = object;
        }
        return Err(Sources::bundle(&bundle).show_in(error));
    }
    for found in &response.diagnostics {
        context.output.warn(&diagnostic_line(&found.into()));
    }
    let text = render::plan::validated(&response);
    context
        .output
        .show(&Rendered::document(text, json.to_string()))
}
