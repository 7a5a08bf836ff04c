//! Log lines on stderr.

use std::fmt;
use std::str::FromStr;

use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// Environment variable that chooses the [`Format`].
pub const FORMAT_VAR: &str = "OMNIGRAPH_LOG_FORMAT";
/// Environment variable that replaces the default filter.
pub const FILTER_VAR: &str = "RUST_LOG";

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How a line looks.
    pub format: Format,
    /// Directives as in `RUST_LOG`: `info,omnigraph_engine=debug`.
    pub filter: String,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The format is not known.
    #[error("{FORMAT_VAR} must be `text` or `json`, not `{0}`")]
    Format(String),
    /// The filter cannot be read.
    #[error("{FILTER_VAR} is not a log filter: `{filter}` ({source})")]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Another subscriber is in place.
    #[error("logging is set up already")]
    Twice(#[from] TryInitError),
}

impl Options {
    /// Text, with the given filter.
    pub fn new(filter: &str) -> Options {
        Options {
            format: Format::Text,
            filter: filter.to_owned(),
        }
    }

    /// What the environment asks for; `default_filter` stands in for a missing or blank `RUST_LOG`.
    pub fn from_env(default_filter: &str) -> Result<Options, Error> {
        Self::from_lookup(default_filter, |name| std::env::var(name).ok())
    }

    fn from_lookup(
        default_filter: &str,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Options, Error> {
        let set = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        Ok(Options {
            format: set(FORMAT_VAR).map_or(Ok(Format::Text), |name| name.parse())?,
            filter: set(FILTER_VAR).unwrap_or_else(|| default_filter.to_owned()),
        })
    }

    /// Sends all log lines of this process to stderr from now on; once per process.
    pub fn install(&self) -> Result<(), Error> {
        let filter = self.parse_filter()?;
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        match self.format {
            Format::Text => {
                let colour = std::io::IsTerminal::is_terminal(&std::io::stderr())
                    && std::env::var_os("NO_COLOR").is_none();
                lines.with_ansi(colour).finish().try_init()?;
            }
            Format::Json => lines.json().flatten_event(true).finish().try_init()?,
        }
        Ok(())
    }

    fn parse_filter(&self) -> Result<EnvFilter, Error> {
        EnvFilter::try_new(&self.filter).map_err(|source| Error::Filter {
            filter: self.filter.clone(),
            source,
        })
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Format, Error> {
        match name.trim() {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            other => Err(Error::Format(other.to_owned())),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Text => "text",
            Format::Json => "json",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: Option<&str>, filter: Option<&str>) -> Result<Options, Error> {
        Options::from_lookup("info", |name| {
            let value = if name == FORMAT_VAR { format } else { filter };
            value.map(str::to_owned)
        })
    }

    #[test]
    fn the_environment_decides_and_blank_is_unset() {
        assert_eq!(read(None, None).expect("defaults"), Options::new("info"));
        assert_eq!(
            read(Some(" "), Some("")).expect("blank"),
            Options::new("info")
        );
        let json = read(Some("json"), Some("debug")).expect("valid");
        assert_eq!((json.format, json.filter.as_str()), (Format::Json, "debug"));
    }

    #[test]
    fn mistakes_are_named() {
        let format = read(Some("xml"), None).expect_err("no such format");
        assert_eq!(
            format.to_string(),
            "OMNIGRAPH_LOG_FORMAT must be `text` or `json`, not `xml`"
        );
        let filter = Options::new("omnigraph=loud")
            .parse_filter()
            .expect_err("no such level");
        assert!(
            filter
                .to_string()
                .starts_with("RUST_LOG is not a log filter: `omnigraph=loud`")
        );
    }
}
