//! What a decision is about.

use crate::action::Action;

/// Who calls, as the credential says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caller<'a> {
    /// The actor; `None`: nobody in particular.
    pub actor: Option<&'a str>,
    /// Values of the groups claim that came with the credential.
    pub claims: &'a [String],
}

/// What a call wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// Its action.
    pub action: Action,
    /// The branch that it is about.
    pub branch: Option<&'a str>,
    /// The branch that it would change.
    pub target: Option<&'a str>,
    /// The type whose entities it touches.
    pub entity_type: Option<&'a str>,
    /// The stored query that it runs.
    pub query: Option<&'a str>,
}

impl<'a> Call<'a> {
    /// A call about no branch.
    pub fn new(action: Action) -> Self {
        Call {
            action,
            branch: None,
            target: None,
            entity_type: None,
            query: None,
        }
    }

    /// The same call about a branch.
    #[must_use]
    pub fn on(self, branch: &'a str) -> Self {
        let branch = Some(branch);
        Call { branch, ..self }
    }

    /// The same call, changing a branch.
    #[must_use]
    pub fn to(self, target: &'a str) -> Self {
        let target = Some(target);
        Call { target, ..self }
    }

    /// The same call about entities of a type.
    #[must_use]
    pub fn of_type(self, name: &'a str) -> Self {
        let entity_type = Some(name);
        Call {
            entity_type,
            ..self
        }
    }

    /// The same call of a stored query.
    #[must_use]
    pub fn of_query(self, name: &'a str) -> Self {
        let query = Some(name);
        Call { query, ..self }
    }
}
