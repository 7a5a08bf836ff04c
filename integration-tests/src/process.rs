//! Daemons as real processes. A guard kills each one when the test ends, however it ends.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::binary;

/// A daemon says where it listens within this time.
const START_BOUND: Duration = Duration::from_secs(60);

/// A running daemon.
pub struct Daemon {
    name: String,
    child: Child,
    lines: Receiver<String>,
    /// All of stdout so far.
    said: Vec<String>,
    log: PathBuf,
}

impl Daemon {
    /// Starts a binary of the workspace. Its log goes to `<logs>/<name>.log`.
    pub fn start(
        binary_name: &str,
        name: &str,
        args: &[&str],
        env: &[(&str, &str)],
        logs: &Path,
    ) -> Daemon {
        let log = logs.join(format!("{name}.log"));
        let mut command = Command::new(binary(binary_name));
        command
            .args(args)
            .env("RUST_LOG", "info")
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a log file"));
        let mut child = command.spawn().expect("the daemon starts");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let (sender, lines) = channel();
        // Ends when the daemon closes its stdout.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Daemon {
            name: name.to_owned(),
            child,
            lines,
            said: Vec::new(),
            log,
        }
    }

    /// The value of a `KEY=value` line on stdout, waited for.
    pub fn fact(&mut self, key: &str) -> String {
        let started = Instant::now();
        loop {
            let prefix = format!("{key}=");
            if let Some(value) = self.said.iter().find_map(|line| line.strip_prefix(&prefix)) {
                return value.to_owned();
            }
            let left = START_BOUND.saturating_sub(started.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("{} never said {key}", self.name),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{} ended before it said {key}\n{}", self.name, self.log())
                }
            }
        }
    }

    /// The address of a `KEY=ip:port` line.
    pub fn address(&mut self, key: &str) -> SocketAddr {
        let value = self.fact(key);
        value
            .parse()
            .unwrap_or_else(|e| panic!("{key}={value}: {e}"))
    }

    /// Stops every thread, as SIGSTOP does.
    pub fn pause(&self) {
        signal(self.pid(), "STOP");
    }

    /// Goes on after [`Daemon::pause`].
    pub fn resume(&self) {
        signal(self.pid(), "CONT");
    }

    /// Process id; the same as long as nobody restarted it.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process lives.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGKILL: nothing is finished, nothing is cleaned up.
    pub fn kill(mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// SIGTERM, then the exit status, waited for.
    pub fn terminate(&mut self, bound: Duration) -> ExitStatus {
        signal(self.pid(), "TERM");
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(
                started.elapsed() < bound,
                "{} did not stop in {bound:?}\n{}",
                self.name,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the daemon logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("--- end of the log of {} ---", self.name);
            for line in tail.iter().rev() {
                eprintln!("{line}");
            }
        }
    }
}

/// Sends a signal by its name.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("kill -{name} {pid}"))
        .status();
    assert!(status.is_ok_and(|s| s.success()), "signal {name} to {pid}");
}
