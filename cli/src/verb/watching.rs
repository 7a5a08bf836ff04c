//! `--watch`: shows something again whenever it has changed. Ctrl-C ends it.

use std::time::Duration;

use crate::args::Format;
use crate::error::Result;
use crate::output::{Output, Rendered};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// What one look found.
pub(crate) struct Look {
    pub(crate) rendered: Rendered,
    /// What has to differ to be shown again; times are not part of it.
    pub(crate) shape: String,
    /// There is nothing more to wait for.
    pub(crate) done: bool,
}

/// Looks once a second and shows what changed, until a look says that it is the last.
pub(crate) async fn watch(
    output: Output,
    mut look: impl AsyncFnMut() -> Result<Look>,
) -> Result<()> {
    let mut last: Option<String> = None;
    loop {
        let found = look().await?;
        if last.as_ref() != Some(&found.shape) {
            if last.is_some() && output.format == Format::Table {
                output.data("\n")?;
            }
            show(output, &found.rendered)?;
            last = Some(found.shape);
        }
        if found.done {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// As `jsonl` a document is one line.
pub(crate) fn show(output: Output, rendered: &Rendered) -> Result<()> {
    match output.format {
        Format::Jsonl => output.data(&format!("{}\n", rendered.json)),
        _ => output.show(rendered),
    }
}
