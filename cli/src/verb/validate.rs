//! `validate`: checks a directory of declarations.

use std::path::PathBuf;

use super::Context;
use crate::client::embedded;
use crate::error::{Error, Result, diagnostic_line};
use crate::output::Rendered;
use crate::render;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory with cluster.yaml
    #[arg(default_value = ".")]
    dir: PathBuf,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<()> {
    let response = embedded::validate(&embedded::bundle(&args.dir)?);
    let lines: Vec<_> = response
        .diagnostics
        .iter()
        .map(|d| diagnostic_line(&d.into()))
        .collect();
    let json = render::json::validate(&response);
    if !response.ok {
        let number = lines.len();
        let mut error = Error::failed(format!(
            "{} is not valid: {}",
            args.dir.display(),
            render::words::count(number as u64, "finding")
        ));
        if let serde_json::Value::Object(object) = json {
            error.detail = object;
        }
        return Err(error.with_details(lines));
    }
    for line in &lines {
        context.output.warn(line);
    }
    let text = render::plan::validated(&response);
    context
        .output
        .show(&Rendered::document(text, json.to_string()))
}
