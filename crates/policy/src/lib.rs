//! Who is calling, and what they may do.
//!
//! The process that executes a request finds the actor from the credential alone; no header, field
//! or parameter can name one. One engine then decides: bundles of rules, compiled to Cedar.
//!
//! | item | subject |
//! |---|---|
//! | [`Actor`] | the identity of a call |
//! | [`Credentials`] | what this process accepts, and how it refuses the rest |
//! | [`Bundle`], [`CedarBundle`] | who may do what, as it is declared |
//! | [`Policy`] | a compiled bundle: decisions and explanations |
//! | [`Case`] | tests that authors of bundles write |
//! | [`Source`] | a bundle in either form, as it is stored |

mod action;
mod actor;
mod bundle;
mod call;
mod cases;
mod cedar;
mod compile;
mod credentials;
mod explain;
mod finding;
mod policy;
mod source;
mod tokens;
mod yaml;

pub use action::{Action, Kind, ScopeTaken};
pub use actor::Actor;
pub use bundle::{Bundle, Groups, Protection, Rule, Scope};
pub use call::{Call, Caller};
pub use cases::{Case, Outcome};
pub use cedar::CedarBundle;
pub use compile::{CompileError, schema_text};
pub use credentials::{Credentials, Plane, StartError, Unauthenticated};
pub use explain::{Considered, Explanation, describe};
pub use finding::{Finding, Place};
pub use policy::{Decision, Denial, EvaluationError, Policy, Resource};
pub use source::{Format, Problems, Source};
pub use tokens::TokenTable;
