//! What a process accepts as proof of identity.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::Actor;
use crate::tokens::TokenTable;

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
    /// Everybody, as one declared actor: for programs whose user holds the storage.
    Declared(Actor),
    /// Holders of a token, each as the actor that it belongs to.
    Tokens(Arc<TokenTable>),
}

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
    /// Tokens are configured that cannot be used.
    #[error("{variable}: {problem}")]
    Tokens {
        /// The variable that configures them.
        variable: String,
        /// What is wrong, without any token.
        problem: String,
    },
}

impl Credentials {
    /// What the environment configures: a table of tokens, and the plane's own single token, else
    /// `OMNIGRAPH_BEARER_TOKEN` where there is no table. Tokens win over `unauthenticated`; with
    /// none of them the process must not start.
    pub fn from_env(plane: Plane, unauthenticated: bool) -> Result<Credentials, StartError> {
        Self::from_lookup(plane, unauthenticated, |name| std::env::var(name).ok())
    }

    /// [`Credentials::from_env`] over any source of variables.
    pub fn from_lookup(
        plane: Plane,
        unauthenticated: bool,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Credentials, StartError> {
        let set = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        let mut table = declared_table(plane, &set)?;
        let own = set(plane.variable());
        let single = match (own, table.is_empty()) {
            (Some(token), _) => Some((plane.variable(), token)),
            (None, true) => set(SHARED_VAR).map(|token| (SHARED_VAR, token)),
            (None, false) => None,
        };
        if let Some((variable, token)) = single {
            let token = Zeroizing::new(token);
            let added = table.add(DEFAULT_ACTOR, &token);
            added.map_err(|problem| unusable(variable, problem))?;
        }
        match table.is_empty() {
            false => Ok(Credentials::Tokens(Arc::new(table))),
            true if unauthenticated || lookup(OPEN_VAR).is_some_and(|v| truthy(&v)) => {
                Ok(Credentials::Open)
            }
            true => Err(StartError::OpenByAccident(plane)),
        }
    }

    /// Accepts one token, trimmed. A blank one is never matched.
    pub fn token(token: &str) -> Credentials {
        let mut table = TokenTable::default();
        // Only a blank token can be refused here, and then nobody gets in.
        let _ = table.add(DEFAULT_ACTOR, token);
        Credentials::Tokens(Arc::new(table))
    }

    /// Accepts the tokens of a JSON object `{"actor": "token"}`; the error says what is wrong.
    pub fn tokens(json: &str) -> Result<Credentials, String> {
        let table = TokenTable::parse(json)?;
        Ok(Credentials::Tokens(Arc::new(table)))
    }

    /// Whether everybody is let in as nobody in particular.
    pub fn is_open(&self) -> bool {
        matches!(self, Credentials::Open)
    }

    /// Whether callers have to prove who they are.
    pub fn are_demanded(&self) -> bool {
        matches!(self, Credentials::Tokens(_))
    }

    /// Finds the actor from the value of `Authorization`, of which there must be exactly one.
    /// An open server looks at nothing.
    pub fn authenticate(&self, authorization: Option<&str>) -> Result<Actor, Unauthenticated> {
        let table = match self {
            Credentials::Open => return Ok(Actor::nobody()),
            Credentials::Declared(actor) => return Ok(actor.clone()),
            Credentials::Tokens(table) => table,
        };
        let header = authorization.ok_or(Unauthenticated::Missing)?;
        let token = bearer(header).ok_or(Unauthenticated::Invalid)?;
        table.find(token).cloned().ok_or(Unauthenticated::Invalid)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Credentials::Open => "Open",
            Credentials::Declared(_) => "Declared(…)",
            Credentials::Tokens(_) => "Tokens(…)",
        })
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

    /// A file with a table of tokens.
    pub fn file_variable(self) -> &'static str {
        match self {
            Plane::Data => "OMNIGRAPH_SERVER_BEARER_TOKENS_FILE",
            Plane::Control => "OMNIGRAPH_CONTROL_BEARER_TOKENS_FILE",
        }
    }

    /// A table of tokens.
    pub fn table_variable(self) -> &'static str {
        match self {
            Plane::Data => "OMNIGRAPH_SERVER_BEARER_TOKENS_JSON",
            Plane::Control => "OMNIGRAPH_CONTROL_BEARER_TOKENS_JSON",
        }
    }

    /// A secret of AWS with a table of tokens, which this build cannot read.
    fn secret_variable(self) -> &'static str {
        match self {
            Plane::Data => "OMNIGRAPH_SERVER_BEARER_TOKENS_AWS_SECRET",
            Plane::Control => "OMNIGRAPH_CONTROL_BEARER_TOKENS_AWS_SECRET",
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

/// The table of the file, else of the variable; an empty one if neither is set.
fn declared_table(
    plane: Plane,
    set: &impl Fn(&str) -> Option<String>,
) -> Result<TokenTable, StartError> {
    let secret = plane.secret_variable();
    if set(secret).is_some() {
        let problem = format!(
            "this build cannot read secrets of AWS: use {}",
            plane.file_variable()
        );
        return Err(unusable(secret, problem));
    }
    let (variable, text) = match (set(plane.file_variable()), set(plane.table_variable())) {
        (Some(path), _) => (plane.file_variable(), read(plane, path.trim())?),
        (None, Some(text)) => (plane.table_variable(), Zeroizing::new(text)),
        (None, None) => return Ok(TokenTable::default()),
    };
    let table = TokenTable::parse(&text).map_err(|problem| unusable(variable, problem))?;
    match table.is_empty() {
        // Nobody could call: that is a mistake, not an open server.
        true => Err(unusable(variable, "it names no actor".to_owned())),
        false => Ok(table),
    }
}

fn read(plane: Plane, path: &str) -> Result<Zeroizing<String>, StartError> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| {
        unusable(
            plane.file_variable(),
            format!("{path} cannot be read: {error}"),
        )
    })?;
    warn_if_shared(Path::new(path));
    Ok(Zeroizing::new(text))
}

/// Tokens that others of the machine can read are hardly secret.
#[cfg(unix)]
fn warn_if_shared(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::metadata(path).map(|meta| meta.permissions().mode());
    if mode.is_ok_and(|mode| mode & 0o044 != 0) {
        let path = path.display();
        tracing::warn!("{path} is readable by others: take their right away with chmod 600");
    }
}

#[cfg(not(unix))]
fn warn_if_shared(_: &Path) {}

fn unusable(variable: &str, problem: String) -> StartError {
    StartError::Tokens {
        variable: variable.to_owned(),
        problem,
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
    fn a_table_gives_each_actor_a_token() {
        let table = r#"{"act-ann": "a", "act-bob": "b"}"#;
        let vars = [
            ("OMNIGRAPH_SERVER_BEARER_TOKENS_JSON", table),
            ("OMNIGRAPH_SERVER_BEARER_TOKEN", "d"),
            (SHARED_VAR, "shared"),
        ];
        let credentials = start(Plane::Data, false, &vars).expect("configured");
        let name = |header: &str| {
            let actor = credentials.authenticate(Some(header)).ok()?;
            actor.name().map(str::to_owned)
        };
        assert_eq!(name("Bearer a").as_deref(), Some("act-ann"));
        assert_eq!(name("Bearer b").as_deref(), Some("act-bob"));
        assert_eq!(name("Bearer d").as_deref(), Some("default"));
        // What commands send is not what this server accepts, where that is declared.
        assert_eq!(name("Bearer shared"), None);
    }

    #[test]
    fn a_file_wins_over_a_table_and_neither_may_be_unusable() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("tokens.json");
        let file = path.to_str().expect("a path");
        std::fs::write(&path, r#"{"act-ann": "f"}"#).expect("a file");
        let both = |text| {
            [
                ("OMNIGRAPH_CONTROL_BEARER_TOKENS_FILE", file),
                ("OMNIGRAPH_CONTROL_BEARER_TOKENS_JSON", text),
            ]
        };
        let credentials = start(Plane::Control, false, &both("no json")).expect("configured");
        assert!(credentials.authenticate(Some("Bearer f")).is_ok());
        let refused = |text: Option<&str>| {
            match text {
                Some(text) => std::fs::write(&path, text).expect("a file"),
                None => std::fs::remove_file(&path).expect("a file"),
            }
            let error = start(Plane::Control, true, &both("{}")).expect_err("unusable");
            error.to_string()
        };
        let variable = "OMNIGRAPH_CONTROL_BEARER_TOKENS_FILE";
        assert_eq!(
            refused(Some("{}")),
            format!("{variable}: it names no actor")
        );
        let blank = refused(Some(r#"{"a": ""}"#));
        assert_eq!(
            blank,
            format!("{variable}: the token of actor 'a' is blank")
        );
        assert!(refused(None).starts_with(&format!("{variable}: {file} cannot be read: ")));
        let secret = [("OMNIGRAPH_SERVER_BEARER_TOKENS_AWS_SECRET", "arn:x")];
        let error = start(Plane::Data, true, &secret).expect_err("not built in");
        assert_eq!(
            error.to_string(),
            "OMNIGRAPH_SERVER_BEARER_TOKENS_AWS_SECRET: this build cannot read secrets of AWS: \
             use OMNIGRAPH_SERVER_BEARER_TOKENS_FILE"
        );
    }

    #[test]
    fn an_open_server_knows_nobody() {
        let actor = Credentials::Open.authenticate(Some("Bearer whatever"));
        assert_eq!(actor.map(|a| a.name().map(str::to_owned)), Ok(None));
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", Credentials::token("s3cret")), "Tokens(…)");
    }
}
