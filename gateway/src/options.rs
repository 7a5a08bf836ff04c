//! Limits and time budgets.

use std::time::Duration;

/// Settings of a gateway. [`Options::default`] is what the documentation promises.
#[derive(Clone, Debug)]
pub struct Options {
    /// Budget of a read that asks for none.
    pub read_timeout: Duration,
    /// Budget of a write that asks for none.
    pub write_timeout: Duration,
    /// Larger budgets are cut down to this.
    pub timeout_max: Duration,
    /// Largest buffered JSON answer, in bytes.
    pub json_result_max: u64,
    /// Origins that browsers may call from; empty: none, `*`: all.
    pub cors_allowed_origins: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            read_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(300),
            timeout_max: Duration::from_secs(3600),
            json_result_max: 64 * 1024 * 1024,
            cors_allowed_origins: Vec::new(),
        }
    }
}

/// The same as command line flags and environment variables, for programs that embed a gateway.
#[derive(Clone, Debug, clap::Args)]
pub struct OptionArgs {
    /// Time budget of reads in milliseconds, unless the request asks for another
    #[arg(long, env = "OMNIGRAPH_READ_TIMEOUT_MS", default_value_t = 30_000)]
    read_timeout_ms: u64,
    /// Time budget of writes in milliseconds, unless the request asks for another
    #[arg(long, env = "OMNIGRAPH_WRITE_TIMEOUT_MS", default_value_t = 300_000)]
    write_timeout_ms: u64,
    /// Largest time budget in milliseconds that a request can ask for
    #[arg(long, env = "OMNIGRAPH_TIMEOUT_MAX_MS", default_value_t = 3_600_000)]
    timeout_max_ms: u64,
    /// Largest buffered JSON result in bytes
    #[arg(long, env = "OMNIGRAPH_JSON_RESULT_MAX", default_value_t = 64 * 1024 * 1024)]
    json_result_max: u64,
    /// Origins that browsers may call from, separated by commas, or *
    #[arg(long, env = "OMNIGRAPH_CORS_ALLOWED_ORIGINS", value_delimiter = ',')]
    cors_allowed_origins: Vec<String>,
}

impl From<OptionArgs> for Options {
    fn from(args: OptionArgs) -> Self {
        Options {
            read_timeout: Duration::from_millis(args.read_timeout_ms),
            write_timeout: Duration::from_millis(args.write_timeout_ms),
            timeout_max: Duration::from_millis(args.timeout_max_ms),
            json_result_max: args.json_result_max,
            cors_allowed_origins: args.cors_allowed_origins,
        }
    }
}
