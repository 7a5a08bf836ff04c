//! `omnigraphctl` as a person or a script runs it.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::binary;

/// A command that takes longer hangs.
const BOUND: Duration = Duration::from_secs(180);

/// The outcome of one command.
#[derive(Debug)]
pub struct Run {
    pub line: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command in a directory. Nothing of the caller's environment addresses a cluster.
pub async fn omnigraphctl(dir: &Path, args: &[&str]) -> Run {
    omnigraphctl_with(dir, args, &[], "").await
}

/// A command that runs, to be interrupted or killed.
pub struct Started {
    line: String,
    child: tokio::process::Child,
    stdout: Reading,
    stderr: Reading,
}

/// What a command has said so far.
struct Reading {
    said: Arc<Mutex<String>>,
    /// Ends when the command closes the stream.
    task: tokio::task::JoinHandle<()>,
}

/// Starts a command in a directory; its input is empty.
pub fn start(dir: &Path, args: &[&str]) -> Started {
    let mut command = command(dir, args);
    command.stdin(Stdio::null());
    let mut child = command.spawn().expect("omnigraphctl starts");
    Started {
        line: format!("omnigraphctl {}", args.join(" ")),
        stdout: Reading::of(child.stdout.take().expect("stdout is a pipe")),
        stderr: Reading::of(child.stderr.take().expect("stderr is a pipe")),
        child,
    }
}

impl Reading {
    fn of(stream: impl tokio::io::AsyncRead + Send + Unpin + 'static) -> Reading {
        let said = Arc::new(Mutex::new(String::new()));
        let (to, lines) = (Arc::clone(&said), BufReader::new(stream));
        let task = tokio::spawn(async move {
            let mut lines = lines.lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let mut said = to.lock().expect("nobody panicked with it");
                said.push_str(&line);
                said.push('\n');
            }
        });
        Reading { said, task }
    }

    fn so_far(&self) -> String {
        self.said.lock().expect("nobody panicked with it").clone()
    }

    async fn all(self) -> String {
        self.task.await.expect("the stream can be read");
        let said = self.said.lock().expect("nobody panicked with it");
        said.clone()
    }
}

impl Started {
    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().expect("it runs");
        crate::process::signal(pid, name);
    }

    /// Waits until it has said this on stderr.
    pub async fn says(&self, text: &str, bound: Duration) {
        let what = format!("{} says {text:?}", self.line);
        crate::until(&what, bound, async || {
            self.stderr.so_far().contains(text).then_some(())
        })
        .await;
    }

    /// Waits until stdout has so many lines.
    pub async fn prints(&self, lines: usize, bound: Duration) -> String {
        let what = format!("{} prints {lines} lines", self.line);
        crate::until(&what, bound, async || {
            let said = self.stdout.so_far();
            (said.lines().count() >= lines).then_some(said)
        })
        .await
    }

    /// Waits for its end.
    pub async fn end(self) -> Run {
        let mut run = finish(self.line, self.child).await;
        run.stdout = self.stdout.all().await;
        run.stderr = self.stderr.all().await;
        run
    }
}

/// The same with environment and standard input.
pub async fn omnigraphctl_with(
    dir: &Path,
    args: &[&str],
    env: &[(&str, &str)],
    stdin: &str,
) -> Run {
    let mut command = command(dir, args);
    command.envs(env.iter().copied()).stdin(Stdio::piped());
    let line = format!("omnigraphctl {}", args.join(" "));
    let mut child = command.spawn().expect("omnigraphctl starts");
    let mut input = child.stdin.take().expect("stdin is a pipe");
    let text = stdin.to_owned();
    let writer = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        // A command that does not read its input closes the pipe.
        let _ = input.write_all(text.as_bytes()).await;
    });
    let run = finish(line, child).await;
    writer.abort();
    run
}

fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(binary("omnigraphctl"));
    command.args(args).current_dir(dir).kill_on_drop(true);
    for name in [
        "CONTROL",
        "SERVER",
        "CLUSTER",
        "GRAPH",
        "OUTPUT",
        "TIMEOUT",
        "BEARER_TOKEN",
    ] {
        command.env_remove(format!("OMNIGRAPH_{name}"));
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn finish(line: String, child: tokio::process::Child) -> Run {
    let output = tokio::time::timeout(BOUND, child.wait_with_output()).await;
    let output = output.unwrap_or_else(|_| panic!("{line}: took longer than {BOUND:?}"));
    let output = output.expect("the output can be read");
    Run {
        line,
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
    }
}

impl Run {
    /// Panics with everything that was said unless the exit code is as expected.
    #[track_caller]
    pub fn exits(self, code: i32) -> Run {
        assert_eq!(
            self.code, code,
            "{}\n--- stdout\n{}--- stderr\n{}",
            self.line, self.stdout, self.stderr
        );
        self
    }

    /// Exit 0.
    #[track_caller]
    pub fn ok(self) -> Run {
        self.exits(0)
    }

    /// All of stdout as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("{}: stdout is not JSON: {e}\n{}", self.line, self.stdout))
    }

    /// The last line of stderr as JSON: the error of a command with `-o json`.
    #[track_caller]
    pub fn error(&self) -> Value {
        assert_eq!(
            self.stdout, "",
            "{}: an error leaves stdout empty",
            self.line
        );
        let line = self.stderr.lines().last().unwrap_or_default();
        serde_json::from_str(line)
            .unwrap_or_else(|e| panic!("{}: stderr is not JSON: {e}\n{}", self.line, self.stderr))
    }
}
