//! The command line: global flags, the tree of verbs, and which flag fits which verb.

use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use crate::error::{Error, Result};
use crate::verb;

/// Operator's and user's terminal of Omnigraph, a typed property-graph database on object storage.
#[derive(Debug, Parser)]
#[command(
    name = "omnigraphctl",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every verb. One that a verb cannot use is refused, never dropped.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Control plane: grpc(s)://host:port, or several with commas [env: OMNIGRAPH_CONTROL]
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub(crate) control: Option<String>,
    /// Data: http(s)://… is a gateway, grpc(s)://… a replica [env: OMNIGRAPH_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// In this process, on a directory with cluster.yaml or a storage root [env: OMNIGRAPH_CLUSTER]
    #[arg(long, global = true, value_name = "DIR|URI", conflicts_with_all = ["control", "server"])]
    pub(crate) cluster: Option<String>,
    /// Who calls, where this process works on the storage itself; servers know it from the token
    #[arg(long = "as", global = true, value_name = "ACTOR")]
    pub(crate) actor: Option<String>,
    /// Graph; may be left out when there is exactly one [env: OMNIGRAPH_GRAPH]
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) graph: Option<String>,
    /// Output form [env: OMNIGRAPH_OUTPUT] [default: table]
    #[arg(short, long, global = true, value_enum, conflicts_with = "json")]
    pub(crate) output: Option<Format>,
    /// Same as -o json
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Only warnings and errors on stderr
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log of the embedded planes to stderr (repeat for more) [env: RUST_LOG]
    #[arg(short, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How progress is shown on stderr
    #[arg(long, global = true, value_enum)]
    pub(crate) progress: Option<Progress>,
    /// Consent to what would be lost
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
    /// Bound of the whole command, as 90s, 5m, 2h, 7d [env: OMNIGRAPH_TIMEOUT]
    #[arg(long, global = true, value_name = "DUR", value_parser = parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Id that the server logs and echoes; else one is made
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) request_id: Option<String>,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// One block per row
    Kv,
    /// One pretty document
    Json,
    /// One JSON object per line
    Jsonl,
    /// For spreadsheets
    Csv,
}

impl Format {
    /// Whether errors are written for programs.
    pub(crate) fn is_json(self) -> bool {
        matches!(self, Format::Json | Format::Jsonl)
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// A bar on a terminal, else a line every 10 s
    #[default]
    Auto,
    /// A bar
    Bar,
    /// Lines
    Plain,
    /// Nothing
    None,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run control plane, one replica and gateway in this process, on a local store
    Up(verb::up::Args),
    /// Check a directory of declarations
    Validate(verb::validate::Args),
    /// Show what apply would change
    Plan(verb::plan::Args),
    /// Make the cluster match a directory
    Apply(verb::apply::Args),
    /// Take graphs that exist over into a new ledger
    Import(verb::import::Args),
    /// Look at graphs and catalog and record what drifted
    Refresh(verb::refresh::Args),
    /// Apply an earlier revision's content again, as a new one
    Rollback(verb::rollback::Args),
    /// Consent to a change of the plan that would lose data
    Approve(verb::approve::Args),
    /// Show the cluster as the ledger has it
    Status(verb::status::Args),
    /// Show what was applied, when and by whom
    History(verb::history::Args),
    /// Follow an operation from its start, or see how it ended
    Operation(verb::operation::Args),
    /// Take the lead from a process that is dead and stays in the way
    Unlock(verb::unlock::Args),
    /// Show how replicas take up revisions
    #[command(subcommand)]
    Rollout(verb::rollout::Command),
    /// Graphs of the cluster
    #[command(subcommand, visible_alias = "graphs")]
    Graph(verb::graph::Command),
    /// Show the tables behind a branch
    Snapshot(verb::snapshot::Args),
    /// Schema of a graph
    #[command(subcommand)]
    Schema(verb::schema::Command),
    /// Check schemas, and queries against a schema
    #[command(visible_alias = "check")]
    Lint(verb::lint::Args),
    /// Write schemas and queries in their standard form
    Fmt(verb::fmt::Args),
    /// Say what a diagnostic code means, why it is given, and what to do
    ExplainCode(verb::explain_code::Args),
    /// Stored queries of a graph
    #[command(subcommand)]
    Queries(verb::queries::Command),
    /// Run a stored query, or one from a file or the command line
    Query(verb::query::Args),
    /// Change a graph by a stored mutation, or one from a file or the command line
    Mutate(verb::mutate::Args),
    /// Show how a query is carried out, or run it and show what it costs
    Explain(verb::explain::Args),
    /// Load NDJSON, Arrow or Parquet as one commit
    Load(verb::load::Args),
    /// Who may do what: check bundles, show them, explain and test decisions
    #[command(subcommand)]
    Policy(verb::policy::Command),
    /// Write a graph as NDJSON
    Export(verb::export::Args),
    /// Blobs of a graph
    #[command(subcommand)]
    Blob(verb::blob::Command),
    /// Branches of a graph
    #[command(subcommand)]
    Branch(verb::branch::Command),
    /// Commits of a graph
    #[command(subcommand)]
    Commit(verb::commit::Command),
    /// Follow what happens to a branch
    #[command(subcommand)]
    Changes(verb::changes::Command),
    /// Show what differs between two branches, commits or tags
    Diff(verb::diff::Args),
    /// Names for commits
    #[command(subcommand)]
    Tag(verb::tag::Command),
    /// Merge small files and extend indexes
    Optimize(verb::optimize::Args),
    /// Check that a graph holds what its logs promise
    Fsck(verb::fsck::Args),
    /// Reclaim what no kept commit needs; without --confirm, say what that is
    Cleanup(verb::cleanup::Args),
    /// Copy graphs to another storage root, and make graphs of such copies
    #[command(subcommand)]
    Backup(verb::backup::Command),
    /// Show the versions of this program and its storage format
    Version,
}

/// Which global flags a verb can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uses {
    pub(crate) plane: Plane,
    pub(crate) graph: bool,
    pub(crate) progress: bool,
    pub(crate) consent: bool,
    pub(crate) formats: &'static [Format],
}

/// Where a verb works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plane {
    /// Local files only.
    Local,
    /// The control plane, or embedded.
    Control,
    /// A running control plane.
    Daemon,
    /// A gateway or replica, or embedded.
    Data,
}

const DOCUMENT: &[Format] = &[Format::Table, Format::Json];
const RECORD: &[Format] = &[Format::Table, Format::Kv, Format::Json];
const EVENTS: &[Format] = &[Format::Table, Format::Json, Format::Jsonl];
const LIST: &[Format] = &[
    Format::Table,
    Format::Kv,
    Format::Json,
    Format::Jsonl,
    Format::Csv,
];
const TEXT: &[Format] = &[Format::Table];

impl Uses {
    const fn of(plane: Plane, formats: &'static [Format]) -> Uses {
        Uses {
            plane,
            graph: matches!(plane, Plane::Data),
            progress: false,
            consent: false,
            formats,
        }
    }

    const fn progress(mut self) -> Uses {
        self.progress = true;
        self
    }

    const fn consent(mut self) -> Uses {
        self.consent = true;
        self
    }

    const fn with_graph(mut self) -> Uses {
        self.graph = true;
        self
    }

    const fn without_graph(mut self) -> Uses {
        self.graph = false;
        self
    }
}

impl Command {
    /// Name of the verb and what it can use.
    pub(crate) fn uses(&self) -> (&'static str, Uses) {
        use verb::{blob, changes, commit, graph, queries, schema, tag};
        match self {
            Command::Up(_) => ("up", Uses::of(Plane::Local, EVENTS).progress().consent()),
            Command::Validate(_) => ("validate", Uses::of(Plane::Local, DOCUMENT)),
            Command::Plan(_) => ("plan", Uses::of(Plane::Control, DOCUMENT)),
            Command::Apply(_) => ("apply", Uses::of(Plane::Control, EVENTS).consent()),
            Command::Policy(command) => policy_uses(command),
            Command::Import(_) => ("import", Uses::of(Plane::Control, DOCUMENT)),
            Command::Refresh(_) => ("refresh", Uses::of(Plane::Control, DOCUMENT)),
            Command::Rollback(_) => ("rollback", Uses::of(Plane::Control, EVENTS).consent()),
            Command::Approve(_) => ("approve", Uses::of(Plane::Control, RECORD)),
            Command::Status(_) => ("status", Uses::of(Plane::Control, EVENTS).with_graph()),
            Command::History(args) if args.is_show() => {
                ("history show", Uses::of(Plane::Control, DOCUMENT))
            }
            Command::History(_) => ("history", Uses::of(Plane::Control, LIST)),
            Command::Operation(args) if args.is_list() => {
                ("operation list", Uses::of(Plane::Control, LIST))
            }
            Command::Operation(_) => ("operation", Uses::of(Plane::Control, EVENTS)),
            Command::Unlock(_) => ("unlock", Uses::of(Plane::Control, RECORD).consent()),
            Command::Rollout(_) => (
                "rollout status",
                Uses::of(Plane::Daemon, EVENTS).with_graph(),
            ),
            Command::Graph(graph::Command::List(_)) => {
                ("graph list", Uses::of(Plane::Data, LIST).without_graph())
            }
            Command::Graph(graph::Command::Show(_)) => {
                ("graph show", Uses::of(Plane::Data, RECORD))
            }
            Command::Snapshot(_) => ("snapshot", Uses::of(Plane::Data, LIST)),
            Command::Fsck(_) => ("fsck", Uses::of(Plane::Data, DOCUMENT)),
            Command::Schema(schema::Command::Show(_)) => {
                ("schema show", Uses::of(Plane::Data, DOCUMENT))
            }
            Command::Schema(schema::Command::Plan(args)) if args.from.is_some() => {
                ("schema plan", Uses::of(Plane::Local, DOCUMENT))
            }
            Command::Schema(schema::Command::Plan(_)) => (
                "schema plan",
                Uses::of(Plane::Control, DOCUMENT).with_graph(),
            ),
            Command::Lint(args) if args.is_local() => ("lint", Uses::of(Plane::Local, DOCUMENT)),
            Command::Lint(_) => ("lint", Uses::of(Plane::Data, DOCUMENT)),
            Command::Fmt(_) => ("fmt", Uses::of(Plane::Local, DOCUMENT)),
            Command::ExplainCode(_) => ("explain-code", Uses::of(Plane::Local, DOCUMENT)),
            Command::Queries(queries::Command::Validate(_)) => {
                ("queries validate", Uses::of(Plane::Local, DOCUMENT))
            }
            Command::Queries(queries::Command::List) => {
                ("queries list", Uses::of(Plane::Data, LIST))
            }
            Command::Query(_) => ("query", Uses::of(Plane::Data, LIST)),
            Command::Mutate(_) => ("mutate", Uses::of(Plane::Data, RECORD)),
            Command::Explain(_) => ("explain", Uses::of(Plane::Data, DOCUMENT)),
            Command::Load(_) => ("load", Uses::of(Plane::Data, RECORD).progress().consent()),
            Command::Export(_) => ("export", Uses::of(Plane::Data, TEXT).progress()),
            Command::Blob(blob::Command::Get(_)) => {
                ("blob get", Uses::of(Plane::Data, TEXT).progress())
            }
            Command::Blob(blob::Command::Stat(_)) => ("blob stat", Uses::of(Plane::Data, RECORD)),
            Command::Branch(command) => branch_uses(command),
            Command::Commit(commit::Command::List(_)) => {
                ("commit list", Uses::of(Plane::Data, LIST))
            }
            Command::Commit(commit::Command::Show { .. }) => {
                ("commit show", Uses::of(Plane::Data, RECORD))
            }
            Command::Commit(commit::Command::Changes(_)) => {
                ("commit changes", Uses::of(Plane::Data, EVENTS))
            }
            Command::Changes(changes::Command::Poll(_)) => {
                ("changes poll", Uses::of(Plane::Data, EVENTS))
            }
            Command::Changes(changes::Command::Watch(_)) => {
                ("changes watch", Uses::of(Plane::Data, EVENTS))
            }
            Command::Changes(changes::Command::Baseline(_)) => {
                ("changes baseline", Uses::of(Plane::Data, RECORD))
            }
            Command::Diff(_) => ("diff", Uses::of(Plane::Data, EVENTS)),
            Command::Tag(command) => match command {
                tag::Command::List(_) => ("tag list", Uses::of(Plane::Data, LIST)),
                tag::Command::Show { .. } => ("tag show", Uses::of(Plane::Data, RECORD)),
                tag::Command::Create(_) => ("tag create", Uses::of(Plane::Data, RECORD)),
                tag::Command::Delete { .. } => {
                    ("tag delete", Uses::of(Plane::Data, RECORD).consent())
                }
            },
            Command::Optimize(_) => ("optimize", Uses::of(Plane::Data, LIST)),
            Command::Backup(command) => backup_uses(command),
            Command::Cleanup(_) => ("cleanup", Uses::of(Plane::Data, RECORD).consent()),
            Command::Version => ("version", Uses::of(Plane::Local, DOCUMENT)),
        }
    }
}

fn branch_uses(command: &verb::branch::Command) -> (&'static str, Uses) {
    use verb::branch::Command;
    match command {
        Command::List(_) => ("branch list", Uses::of(Plane::Data, LIST)),
        Command::Show { .. } => ("branch show", Uses::of(Plane::Data, RECORD)),
        Command::Create(_) => ("branch create", Uses::of(Plane::Data, RECORD)),
        Command::Delete(_) => ("branch delete", Uses::of(Plane::Data, RECORD).consent()),
        Command::Merge(_) => ("branch merge", Uses::of(Plane::Data, RECORD).consent()),
        Command::Revert(_) => ("branch revert", Uses::of(Plane::Data, RECORD).consent()),
    }
}

fn backup_uses(command: &verb::backup::Command) -> (&'static str, Uses) {
    use verb::backup::Command;
    match command {
        Command::Create(_) => ("backup create", Uses::of(Plane::Data, RECORD)),
        Command::List { .. } => ("backup list", Uses::of(Plane::Local, LIST)),
        Command::Verify { .. } => ("backup verify", Uses::of(Plane::Local, DOCUMENT)),
        Command::Restore(_) => (
            "backup restore",
            Uses::of(Plane::Control, RECORD).with_graph().consent(),
        ),
    }
}

fn policy_uses(command: &verb::policy::Command) -> (&'static str, Uses) {
    use verb::policy::Command;
    match command {
        Command::Validate(_) => ("policy validate", Uses::of(Plane::Local, DOCUMENT)),
        Command::Show(_) => ("policy show", Uses::of(Plane::Control, DOCUMENT)),
        Command::Explain(_) => (
            "policy explain",
            Uses::of(Plane::Control, DOCUMENT).with_graph(),
        ),
        Command::Test(_) => (
            "policy test",
            Uses::of(Plane::Control, DOCUMENT).with_graph(),
        ),
    }
}

/// Refuses each flag that the verb cannot use.
pub(crate) fn refuse_unusable(global: &Global, name: &str, uses: &Uses) -> Result<()> {
    let refuse =
        |flag: &str, why: &str| Err(Error::usage(format!("{name} cannot use {flag}: {why}")));
    match uses.plane {
        Plane::Local if global.control.is_some() => refuse("--control", "it runs in this process")?,
        Plane::Local if global.server.is_some() => refuse("--server", "it runs in this process")?,
        Plane::Local if global.cluster.is_some() => {
            refuse("--cluster", "it takes a directory or files as arguments")?;
        }
        Plane::Control if global.server.is_some() && global.control.is_none() => {
            refuse(
                "--server",
                "it speaks to the control plane; use --control or --cluster",
            )?;
        }
        Plane::Daemon if global.cluster.is_some() => {
            refuse(
                "--cluster",
                "replicas report to a running control plane; use --control",
            )?;
        }
        Plane::Daemon if global.server.is_some() && global.control.is_none() => {
            refuse("--server", "it speaks to the control plane; use --control")?;
        }
        Plane::Data if global.control.is_some() && global.server.is_none() => {
            refuse(
                "--control",
                "it speaks to the data plane; use --server or --cluster",
            )?;
        }
        _ => {}
    }
    if global.actor.is_some() {
        if matches!(uses.plane, Plane::Local) && name != "up" {
            refuse("--as", "it asks nobody")?;
        }
        if global.control.is_some() || global.server.is_some() {
            refuse("--as", "a server knows who calls from the token alone")?;
        }
    }
    if global.graph.is_some() && !uses.graph {
        refuse("--graph", "it is not about one graph")?;
    }
    if global.progress.is_some() && !uses.progress {
        refuse("--progress", "it has none")?;
    }
    if global.yes && !uses.consent {
        refuse("--yes", "it never asks")?;
    }
    Ok(())
}

/// `90s`, `5m`, `2h`, `7d`, `4w`, `250ms`.
pub(crate) fn parse_duration(text: &str) -> std::result::Result<Duration, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits]
        .parse()
        .map_err(|_| format!("'{text}' is not a duration: write 90s, 5m, 2h, 7d or 4w"))?;
    let factor_ms: u64 = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => return Err(format!("'{text}' needs a unit: ms, s, m, h, d or w")),
    };
    number
        .checked_mul(factor_ms)
        .filter(|ms| *ms > 0)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("'{text}' is out of range"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> std::result::Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("omnigraphctl").chain(line.split_whitespace()))
    }

    fn refusal(line: &str) -> String {
        let cli = parse(line).unwrap();
        let (name, uses) = cli.command.uses();
        refuse_unusable(&cli.global, name, &uses)
            .map(|()| String::new())
            .unwrap_or_else(|e| e.message.clone())
    }

    #[test]
    fn the_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "5", "m", "0s", "5y", "99999999999999999w"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_that_a_verb_cannot_use_are_refused() {
        let cases = [
            ("validate --server http://x", "validate cannot use --server"),
            ("plan --server http://x", "plan cannot use --server"),
            ("plan --graph g", "plan cannot use --graph"),
            ("query q --control grpc://x", "query cannot use --control"),
            ("query q --yes", "query cannot use --yes"),
            ("status --progress bar", "status cannot use --progress"),
            (
                "rollout status --cluster .",
                "rollout status cannot use --cluster",
            ),
            ("graph list --graph g", "graph list cannot use --graph"),
        ];
        for (line, expected) in cases {
            assert!(
                refusal(line).starts_with(expected),
                "{line}: {}",
                refusal(line)
            );
        }
        for line in [
            "plan --control grpc://x --server http://y",
            "query q --server http://y --graph g",
            "load --data - --mode merge --yes --progress none",
        ] {
            assert_eq!(refusal(line), "", "{line}");
        }
    }

    #[test]
    fn operations_and_history() {
        for line in [
            "operation 01J",
            "operation list --limit 5 -o csv",
            "history --limit 3 --changes",
            "history list",
            "history show 3 --json",
            "unlock 01J --reason x --yes",
            "status --graph g --watch -o jsonl",
            "rollout status --graph g --watch",
            "plan --target graph.a --out f",
            "apply --target graph.a --expect-revision 3",
            "backup restore u --graph g --control grpc://x --expect-revision 3",
        ] {
            assert_eq!(refusal(line), "", "{line}");
        }
        for line in [
            "operation",
            "operation 01J list",
            "unlock",
            "history show",
            "history --limit 0",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        let forms = |line: &str| parse(line).unwrap().command.uses().1.formats;
        assert!(!forms("history show 3").contains(&Format::Csv));
        assert!(forms("history").contains(&Format::Csv));
    }

    #[test]
    fn exclusive_addresses_and_forms() {
        assert!(parse("plan --cluster . --control grpc://x").is_err());
        assert!(parse("query q --cluster . --server http://x").is_err());
        assert!(parse("query q --json -o csv").is_err());
        assert!(parse("load --data f").is_err(), "the mode has no default");
    }
}
