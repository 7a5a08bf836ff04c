//! Whether another process of this machine still lives: spares the wait for its heartbeat.

use serde::{Deserialize, Serialize};

/// Names a process for as long as the machine is up. Processes with the same boot and the same
/// process namespace see each other in `/proc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessMark {
    boot: String,
    namespace: String,
    pid: u32,
    /// Clock ticks after boot: tells a process from a later one with the same number.
    started: u64,
}

impl ProcessMark {
    /// This process; `None` where `/proc` does not tell.
    pub(crate) fn own() -> Option<Self> {
        let pid = std::process::id();
        Some(Self {
            boot: boot()?,
            namespace: namespace()?,
            pid,
            started: started(pid)?,
        })
    }

    /// Whether the process has certainly ended. `false` when it cannot be known.
    pub(crate) fn has_ended(&self) -> bool {
        let visible = boot().is_some_and(|boot| boot == self.boot)
            && namespace().is_some_and(|namespace| namespace == self.namespace);
        visible && started(self.pid) != Some(self.started)
    }
}

fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

fn namespace() -> Option<String> {
    let link = std::fs::read_link("/proc/self/ns/pid").ok()?;
    link.to_str().map(str::to_owned)
}

/// Field 22 of `/proc/<pid>/stat`; the name before it may contain anything. A zombie has ended.
fn started(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_living_process_has_not_ended_and_a_dead_one_has() {
        let own = ProcessMark::own().expect("linux");
        assert!(!own.has_ended());
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep runs");
        let mark = ProcessMark {
            pid: child.id(),
            started: started(child.id()).expect("it lives"),
            ..own.clone()
        };
        assert!(!mark.has_ended());
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        assert!(mark.has_ended());
        let elsewhere = ProcessMark {
            boot: "another".into(),
            ..mark
        };
        assert!(!elsewhere.has_ended(), "cannot be known");
    }
}
