//! `explain-code`: what a diagnostic code means, why it is given, and what to do.

use omnigraph_lang::diagnostic::catalogue::{self, Entry};
use serde_json::json;

use super::Context;
use crate::error::{Error, Result};
use crate::output::Rendered;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A code such as S101; none: all codes in one line each
    code: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result<()> {
    let rendered = match &args.code {
        Some(code) => one(code)?,
        None => all(),
    };
    context.output.show(&rendered)
}

fn one(code: &str) -> Result<Rendered> {
    let Some(entry) = catalogue::find(code.trim()) else {
        let error = Error::usage(format!("there is no code {code}"));
        return Err(match catalogue::nearest(code.trim()) {
            Some(near) => error.with_hint(format!(
                "did you mean {near}? omnigraphctl explain-code lists all"
            )),
            None => error.with_hint("omnigraphctl explain-code lists all codes"),
        });
    };
    Ok(Rendered::document(text(entry), json!(entry).to_string()))
}

fn text(entry: &Entry) -> String {
    let mut text = format!("{}: {}\n", entry.code, entry.meaning);
    for (title, body) in [("cause", entry.cause), ("remedy", entry.remedy)] {
        text.push_str(&format!("\n{title}:\n"));
        for line in wrapped(body, 92) {
            text.push_str(&format!("    {line}\n"));
        }
    }
    text
}

fn all() -> Rendered {
    let lines: Vec<String> = catalogue::entries()
        .map(|entry| format!("{}  {}\n", entry.code, entry.meaning))
        .collect();
    let entries: Vec<&Entry> = catalogue::entries().collect();
    Rendered::document(lines.concat(), json!({ "codes": entries }).to_string())
}

/// The words in lines of at most `width` characters.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_explained() {
        let rendered = one("s101").unwrap();
        assert_eq!(
            rendered.text,
            "S101: name declared twice in one namespace\n\n\
             cause:\n    \
             Two interfaces, two node types or two edge types have one name. An edge may share its name\n    \
             with a node type.\n\n\
             remedy:\n    \
             Rename one of them, or merge the declarations.\n"
        );
        let json: serde_json::Value = serde_json::from_str(&rendered.json).unwrap();
        let members: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(members, ["code", "meaning", "cause", "remedy"]);
    }

    #[test]
    fn an_unknown_code_gets_the_nearest() {
        let error = one("S1011").unwrap_err();
        assert_eq!(error.message, "there is no code S1011");
        assert!(
            error
                .hint
                .as_ref()
                .unwrap()
                .starts_with("did you mean S101?")
        );
        let error = one("hello world").unwrap_err();
        assert_eq!(
            error.hint.as_deref(),
            Some("omnigraphctl explain-code lists all codes")
        );
        assert!(all().text.lines().count() > 100);
    }
}
