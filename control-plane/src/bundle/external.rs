//! `external_blobs` of a graph: below which places blob properties may name external objects.

use omnigraph_engine::{ExternalBlobBase, ExternalBlobScope};
use serde::{Deserialize, Serialize};

/// One place, as it is declared and stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ExternalBlobs {
    pub(crate) base: String,
    /// Empty: references may be kept.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) scope: String,
}

impl ExternalBlobs {
    /// Checks a declaration; the text of an error names the remedy.
    pub(crate) fn declared(base: &str, scope: Option<&str>) -> Result<Self, String> {
        let scope = ExternalBlobScope::parse(scope.unwrap_or_default())
            .ok_or("scope must be 'reference' or 'copy'")?;
        ExternalBlobBase::parse(base, scope).map_err(|error| match &error.detail().hint {
            Some(hint) => format!("{}: {hint}", error.message()),
            None => error.message().to_owned(),
        })?;
        Ok(Self {
            base: base.to_owned(),
            scope: match scope {
                ExternalBlobScope::Reference => String::new(),
                ExternalBlobScope::Copy => scope.as_str().to_owned(),
            },
        })
    }

    /// What it means to the engine.
    pub(crate) fn base(&self) -> crate::error::Result<ExternalBlobBase> {
        let scope = ExternalBlobScope::parse(&self.scope).ok_or_else(|| {
            let message = format!("external blobs have a scope '{}'", self.scope);
            crate::error::Error::corrupt(message).with_hint("upgrade this program")
        })?;
        Ok(ExternalBlobBase::parse(&self.base, scope)?)
    }
}
