//! What a process accepts as proof of identity.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::Actor;

/// Longest `Authorization` value that is looked at.
const HEADER_MAX: usize = 8 * 1024;
/// The actor of the single token.
const DEFAULT_ACTOR: &str = "default";
const SHARED_VAR: &str = "OMNIGRAPH_BEARER_TOKEN";
const OPEN_VAR: &str = "OMNIGRAPH_UNAUTHENTICATED";

/// What this process accepts. Tokens are kept as digests only.
#[derive(Clone)]
pub enum Credentials {
    /// Everybody, as nobody: chosen with `--unauthenticated`.
    Open,
    /// Holders of one token, as the actor `default`.
    Token(TokenDigest),
}

/// SHA-256 of a token; neither shown nor compared in variable time.
#[derive(Clone)]
pub struct TokenDigest([u8; 32]);

/// Which of the two APIs the credentials guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Graph data: `OMNIGRAPH_SERVER_BEARER_TOKEN`.
    Data,
    /// Configuration: `OMNIGRAPH_CONTROL_BEARER_TOKEN`.
    Control,
}

/// A call without valid credentials. The text is the same for every cause, so that it teaches an
/// attacker nothing; the cause goes to metrics and the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a valid bearer token is required")]
pub enum Unauthenticated {
    /// No credential came.
    Missing,
    /// What came is not accepted.
    Invalid,
}

/// Why a server does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// It would be open by accident.
    #[error(
        "no credentials are configured: set {} (or {SHARED_VAR}), or start with --unauthenticated to let everybody in",
        .0.variable()
    )]
    OpenByAccident(Plane),
}

impl Credentials {
    /// What the environment configures: the plane's own variable, else `OMNIGRAPH_BEARER_TOKEN`.
    /// A token wins over `unauthenticated`; with neither the process must not start.
    pub fn from_env(plane: Plane, unauthenticated: bool) -> Result<Credentials, StartError> {
        Self::from_lookup(plane, unauthenticated, |name| std::env::var(name).ok())
    }

    /// [`Credentials::from_env`] over any source of variables.
    pub fn from_lookup(
        plane: Plane,
        unauthenticated: bool,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Credentials, StartError> {
        let token = [plane.variable(), SHARED_VAR]
            .into_iter()
            .filter_map(&lookup)
            .find(|token| !token.trim().is_empty());
        match token {
            Some(token) => Ok(Credentials::token(&token)),
            None if unauthenticated || lookup(OPEN_VAR).is_some_and(|v| truthy(&v)) => {
                Ok(Credentials::Open)
            }
            None => Err(StartError::OpenByAccident(plane)),
        }
    }

    /// Accepts one token, trimmed.
    pub fn token(token: &str) -> Credentials {
        Credentials::Token(TokenDigest::of(token.trim()))
    }

    /// Whether everybody is let in.
    pub fn is_open(&self) -> bool {
        matches!(self, Credentials::Open)
    }

    /// Finds the actor from the value of `Authorization`, of which there must be exactly one.
    /// An open server looks at nothing.
    pub fn authenticate(&self, authorization: Option<&str>) -> Result<Actor, Unauthenticated> {
        let Credentials::Token(expected) = self else {
            return Ok(Actor::nobody());
        };
        let header = authorization.ok_or(Unauthenticated::Missing)?;
        let token = bearer(header).ok_or(Unauthenticated::Invalid)?;
        if expected.matches(token) {
            Ok(Actor::named(DEFAULT_ACTOR))
        } else {
            Err(Unauthenticated::Invalid)
        }
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Credentials::Open => "Open",
            Credentials::Token(_) => "Token(…)",
        })
    }
}

impl TokenDigest {
    fn of(token: &str) -> TokenDigest {
        TokenDigest(Sha256::digest(token.as_bytes()).into())
    }

    /// Hashing first makes the time independent of the token's length and content.
    fn matches(&self, token: &str) -> bool {
        self.0.ct_eq(&TokenDigest::of(token).0).into()
    }
}

impl Plane {
    /// The plane's own token variable.
    pub fn variable(self) -> &'static str {
        match self {
            Plane::Data => "OMNIGRAPH_SERVER_BEARER_TOKEN",
            Plane::Control => "OMNIGRAPH_CONTROL_BEARER_TOKEN",
        }
    }
}

impl Unauthenticated {
    /// A label for metrics and logs.
    pub fn cause(self) -> &'static str {
        match self {
            Unauthenticated::Missing => "missing",
            Unauthenticated::Invalid => "invalid",
        }
    }
}

/// The token of `Bearer <token>`; the scheme is case-insensitive.
fn bearer(header: &str) -> Option<&str> {
    if header.len() > HEADER_MAX {
        return None;
    }
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim_start();
    let valid = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && !token.contains(' ');
    valid.then_some(token)
}

fn truthy(value: &str) -> bool {
    !matches!(value.trim(), "" | "0" | "false")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(plane: Plane, open: bool, vars: &[(&str, &str)]) -> Result<Credentials, StartError> {
        Credentials::from_lookup(plane, open, |name| {
            let found = vars.iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_server_is_not_open_by_accident() {
        let refused = start(Plane::Data, false, &[]).expect_err("nothing is configured");
        assert_eq!(
            refused.to_string(),
            "no credentials are configured: set OMNIGRAPH_SERVER_BEARER_TOKEN (or OMNIGRAPH_BEARER_TOKEN), \
             or start with --unauthenticated to let everybody in"
        );
        for blank in ["", " ", "0", "false"] {
            assert!(
                start(Plane::Data, false, &[(OPEN_VAR, blank)]).is_err(),
                "{blank:?}"
            );
            assert!(start(Plane::Data, false, &[(SHARED_VAR, " ")]).is_err());
        }
        assert!(start(Plane::Data, true, &[]).expect("asked for").is_open());
        assert!(
            start(Plane::Data, false, &[(OPEN_VAR, "1")])
                .expect("asked for")
                .is_open()
        );
    }

    #[test]
    fn a_token_wins_and_the_planes_own_wins_over_the_shared_one() {
        let vars = [
            (SHARED_VAR, "shared"),
            ("OMNIGRAPH_CONTROL_BEARER_TOKEN", "control"),
        ];
        let data = start(Plane::Data, true, &vars).expect("configured");
        assert!(data.authenticate(Some("Bearer shared")).is_ok());
        let control = start(Plane::Control, true, &vars).expect("configured");
        assert!(control.authenticate(Some("Bearer control")).is_ok());
        assert!(control.authenticate(Some("Bearer shared")).is_err());
    }

    #[test]
    fn only_one_bearer_token_is_let_in() {
        let credentials = Credentials::token(" s3cret\n");
        for header in ["Bearer s3cret", "bearer s3cret", " BEARER  s3cret "] {
            let actor = credentials.authenticate(Some(header)).expect(header);
            assert_eq!(actor.name(), Some("default"));
        }
        assert_eq!(
            credentials.authenticate(None),
            Err(Unauthenticated::Missing)
        );
        let long = format!("Bearer {}", "x".repeat(HEADER_MAX));
        let bad = [
            "",
            "Bearer",
            "Bearer ",
            "s3cret",
            "Basic s3cret",
            "Bearer s3cret s3cret",
            "Bearer S3CRET",
            "Bearer s3cre",
            &long,
        ];
        for header in bad {
            assert_eq!(
                credentials.authenticate(Some(header)),
                Err(Unauthenticated::Invalid),
                "{header}"
            );
        }
    }

    #[test]
    fn an_open_server_knows_nobody() {
        let actor = Credentials::Open.authenticate(Some("Bearer whatever"));
        assert_eq!(actor.map(|a| a.name().map(str::to_owned)), Ok(None));
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", Credentials::token("s3cret")), "Token(…)");
    }
}
