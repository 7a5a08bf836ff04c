//! What a request asks for, in few bytes.

use sha2::{Digest, Sha256};

/// What a request says, as a hash: fields in order, each with its length.
#[derive(Clone, Debug)]
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    pub(crate) fn new(operation: &str) -> Self {
        Self(Sha256::new()).field(operation)
    }

    #[must_use]
    pub(crate) fn field(mut self, text: &str) -> Self {
        self.0.update((text.len() as u64).to_be_bytes());
        self.0.update(text.as_bytes());
        self
    }

    #[must_use]
    pub(crate) fn maybe(self, text: Option<&str>) -> Self {
        match text {
            None => self.field("-"),
            Some(text) => self.field("+").field(text),
        }
    }

    pub(crate) fn finish(self) -> String {
        hex::encode(self.0.finalize())
    }
}
