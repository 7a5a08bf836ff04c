//! Rules of the protocol, each of which a test can have broken to show that it is needed. In release
//! builds all of them are kept, and nothing of this remains.

/// What processes rely on when they work on one storage root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// A leader is taken for dead only when it has shown no life for a while.
    Watch,
    /// A revision is appended by the leader that the ledger names.
    LeaderAppends,
    /// The catalog has what a revision says before the ledger names it.
    CatalogFirst,
    /// An operation looks at the ledger once more when its sidecar is armed.
    SecondLook,
    /// A sidecar is not removed before it is proven that its commit can land no more.
    Proof,
    /// The ledger knows of a move before its sidecar is removed.
    LedgerFirst,
    /// The policy of a graph comes with its new schema.
    PolicyWithSchema,
    /// Every sidecar is resolved before anything changes.
    Sweep,
    /// A recovery takes a commit's chance to land before it looks whether it has landed.
    Fence,
    /// Branches of a deleted graph end when the ledger has deleted it.
    EndLater,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 10] = [
        Rule::Watch,
        Rule::LeaderAppends,
        Rule::CatalogFirst,
        Rule::SecondLook,
        Rule::Proof,
        Rule::LedgerFirst,
        Rule::PolicyWithSchema,
        Rule::Sweep,
        Rule::Fence,
        Rule::EndLater,
    ];
}

/// The rules that hold.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    #[cfg(debug_assertions)]
    broken: Option<Rule>,
}

impl Rules {
    /// All but one; ignored in release builds.
    #[cfg(debug_assertions)]
    pub fn without(rule: Rule) -> Self {
        Rules { broken: Some(rule) }
    }

    /// Whether a rule holds.
    #[cfg(debug_assertions)]
    pub fn keep(&self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    /// They do, in a release build.
    #[cfg(not(debug_assertions))]
    pub fn keep(&self, _: Rule) -> bool {
        true
    }
}
