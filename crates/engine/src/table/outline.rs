//! Tables without rows, for simulations of what surrounds them: a version is a number and an object
//! that says so, made with one request. Lance brings threads of its own, so that a run over real
//! tables could not be repeated. Release builds have none of this.

use object_store::{ObjectStoreExt, PutPayload};

use super::Tables;
use crate::error::Result;
use crate::graph::TableRef;

impl Tables {
    /// These tables as outlines.
    pub(crate) fn outlined(mut self, outline: bool) -> Self {
        self.outline = outline;
        self
    }

    /// Whether there are no rows to be looked at, whatever their count says.
    pub(crate) fn is_outline(&self) -> bool {
        cfg!(debug_assertions) && self.outline
    }

    pub(super) async fn create_outline(&self) -> Result<TableRef> {
        let id = self.shared.store.clock().fresh_id();
        self.outline_of(format!("tables/{id}.lance"), 0).await
    }

    /// The next version of an outline.
    pub(crate) async fn outline_of(&self, path: String, rows: u64) -> Result<TableRef> {
        let random = self.shared.store.clock().fresh_id().random();
        let version = (1 << 63) | u64::try_from(random & u128::from(u64::MAX)).unwrap_or(0);
        let name = format!("{}/{version}.outline", self.relative_path(&path));
        let object = self.shared.store.path(&name);
        let store = self.shared.store.object_store();
        store.put(&object, PutPayload::from_static(b"{}")).await?;
        Ok(TableRef {
            path,
            version,
            rows,
        })
    }
}
