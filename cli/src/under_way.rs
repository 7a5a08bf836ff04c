//! The operation that a command has begun, so that an interrupted command can say what becomes of
//! it.

use std::sync::{Arc, Mutex};

use omnigraph_proto::control::v1 as pb;

use crate::error::Error;

/// What has been begun; shared with whoever handles Ctrl-C.
#[derive(Clone, Debug, Default)]
pub(crate) struct UnderWay(Arc<Mutex<Option<Begun>>>);

/// An operation that was admitted.
#[derive(Clone, Debug)]
pub(crate) struct Begun {
    pub(crate) id: String,
    pub(crate) kind: String,
    /// It ends with this process.
    pub(crate) embedded: bool,
}

impl UnderWay {
    /// The command has begun an operation.
    pub(crate) fn begin(&self, operation: &pb::Operation, embedded: bool) {
        *self.lock() = Some(Begun {
            id: operation.operation_id.clone(),
            kind: operation.kind.clone(),
            embedded,
        });
    }

    /// It has ended.
    pub(crate) fn end(&self) {
        *self.lock() = None;
    }

    pub(crate) fn get(&self) -> Option<Begun> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Begun>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Begun {
    /// What a person is told who stops looking on.
    pub(crate) fn left(&self, mut error: Error) -> Error {
        let (kind, id) = (&self.kind, &self.id);
        if self.embedded {
            error.message = format!("{}; {kind} {id} was cut off", error.message);
            error.hint = Some(format!(
                "the next change completes or undoes it; omnigraphctl operation {id}"
            ));
        } else {
            error.message = format!("{}; {kind} goes on as operation {id}", error.message);
            error.hint = Some(format!("omnigraphctl operation {id} follows it"));
        }
        let operation = serde_json::json!(id);
        error.detail.insert("operation_id".into(), operation);
        error
    }
}
