//! Consent to what cannot be undone. Local targets run; elsewhere a person types a name, a program
//! says `--yes`.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::error::{Error, Result};

/// What a person is asked for.
pub(crate) struct Loss<'a> {
    /// What would be lost: `the entities of every type in the file`.
    pub(crate) what: &'a str,
    /// What must be typed: the name of the graph, branch or revision.
    pub(crate) name: &'a str,
    pub(crate) local: bool,
}

/// How the command was started.
pub(crate) struct Situation {
    pub(crate) yes: bool,
    pub(crate) json: bool,
    pub(crate) terminal: bool,
}

impl Situation {
    pub(crate) fn now(yes: bool, json: bool) -> Situation {
        let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        Situation {
            yes,
            json,
            terminal,
        }
    }
}

/// What follows from a loss in a situation.
#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Run,
    Ask,
    Refuse,
}

fn decide(local: bool, situation: &Situation) -> Decision {
    match () {
        () if local || situation.yes => Decision::Run,
        () if situation.terminal && !situation.json => Decision::Ask,
        () => Decision::Refuse,
    }
}

/// Goes on, asks, or refuses.
pub(crate) fn obtain(loss: &Loss<'_>, situation: &Situation) -> Result<()> {
    match decide(loss.local, situation) {
        Decision::Run => Ok(()),
        Decision::Refuse => Err(Error::usage(format!("this would lose {}", loss.what))
            .with_hint("repeat with --yes if that is meant")),
        Decision::Ask => ask(loss),
    }
}

fn ask(loss: &Loss<'_>) -> Result<()> {
    let mut stderr = std::io::stderr().lock();
    let prompt = format!(
        "this would lose {}\ntype {} to go on: ",
        loss.what, loss.name
    );
    let asked = stderr
        .write_all(prompt.as_bytes())
        .and_then(|()| stderr.flush());
    let mut line = String::new();
    let read = asked.and_then(|()| std::io::stdin().lock().read_line(&mut line));
    match read {
        Ok(_) if line.trim() == loss.name => Ok(()),
        Ok(_) => Err(Error::failed("not confirmed; nothing was done")),
        Err(e) => Err(Error::failed(format!("terminal: {e}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix() {
        let situation = |yes, json, terminal| Situation {
            yes,
            json,
            terminal,
        };
        for (local, now, expected) in [
            (true, situation(false, true, false), Decision::Run),
            (false, situation(true, true, false), Decision::Run),
            (false, situation(false, false, true), Decision::Ask),
            (false, situation(false, true, true), Decision::Refuse),
            (false, situation(false, false, false), Decision::Refuse),
        ] {
            assert_eq!(decide(local, &now), expected);
        }
        let loss = Loss {
            what: "branch import",
            name: "import",
            local: false,
        };
        let error = obtain(&loss, &situation(false, true, false)).unwrap_err();
        assert_eq!(error.exit, crate::error::Exit::Usage);
    }
}
