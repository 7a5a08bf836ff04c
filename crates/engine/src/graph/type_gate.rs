//! A say of the caller in which types a write may touch, asked before anything is written.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

/// How a write touches a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TypeUse {
    /// It looks at its entities.
    Read,
    /// It may change them, removing edges of removed nodes included.
    Write,
}

type Decide = dyn Fn(TypeUse, &str) -> Result<()> + Send + Sync;

/// Decides about types by name. The engine knows neither actors nor policies; whoever calls it on
/// somebody's behalf does.
#[derive(Clone)]
pub struct TypeGate(Arc<Decide>);

impl TypeGate {
    /// A gate that asks `decide`. What it refuses ends the write before anything of it is kept.
    pub fn new(decide: impl Fn(TypeUse, &str) -> Result<()> + Send + Sync + 'static) -> Self {
        TypeGate(Arc::new(decide))
    }

    pub(crate) fn check(&self, how: TypeUse, type_name: &str) -> Result<()> {
        (self.0)(how, type_name)
    }
}

impl fmt::Debug for TypeGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TypeGate(…)")
    }
}

impl Error {
    /// The refusal of a gate.
    pub fn denied(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Denied, message)
    }
}
