//! Diagnostics for people: place, source line, caret, hints.

use std::fmt::Write as _;

use super::{Diagnostic, Span};

impl Diagnostic {
    /// The finding with its place and source line:
    ///
    /// ```text
    /// error[S104]: unknown node type `Pakage`
    ///  --> schema.pg:3:19
    ///   |
    /// 3 | edge DependsOn: Pakage -> Package
    ///   |                 ^^^^^^
    ///   = hint: did you mean `Package`?
    /// ```
    #[must_use]
    pub fn render(&self, file: &str, source: &str) -> String {
        let message: String = self.message.chars().map(visible).collect();
        let mut out = format!("{}[{}]: {message}\n", self.severity, self.code);
        let margin = match self.span {
            Some(span) => excerpt(&mut out, span, file, source),
            None => {
                place(&mut out, self, file);
                1
            }
        };
        for hint in &self.hints {
            let hint: String = hint.chars().map(visible).collect();
            let _ = writeln!(out, "{:margin$} = hint: {hint}", "");
        }
        out
    }
}

/// All findings about one file, separated by blank lines.
#[must_use]
pub fn render_all(diagnostics: &[Diagnostic], file: &str, source: &str) -> String {
    let rendered: Vec<String> = diagnostics.iter().map(|d| d.render(file, source)).collect();
    rendered.join("\n")
}

fn place(out: &mut String, diagnostic: &Diagnostic, file: &str) {
    let _ = match (&diagnostic.path, diagnostic.line, &diagnostic.param) {
        (Some(path), ..) => writeln!(out, " --> {file}: {path}"),
        (_, Some(line), _) => writeln!(out, " --> {file}:{line}"),
        (_, _, Some(param)) => writeln!(out, " --> {file}: ${param}"),
        _ => writeln!(out, " --> {file}"),
    };
}

/// A text is shown on terminals, which act on control characters, and whose readers are misled by
/// marks that change the direction of writing. Each stays one character, so carets stay in place.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        '\0'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{feff}' => '\u{fffd}',
        c => c,
    }
}

/// Longest part of a source line that is shown.
const SHOWN: usize = 160;

/// Writes the source line with a caret below and gives the width of the line number.
fn excerpt(out: &mut String, span: Span, file: &str, source: &str) -> usize {
    let number = span.line.to_string();
    let margin = number.len();
    let _ = writeln!(
        out,
        "{:margin$}--> {file}:{}:{}",
        "", span.line, span.column
    );
    let line = source
        .split('\n')
        .nth(span.line as usize - 1)
        .unwrap_or("")
        .trim_end_matches('\r');
    let before = span.column as usize - 1;
    let wide = source
        .get(span.start as usize..span.end as usize)
        .map_or(1, |text| {
            text.split('\n').next().unwrap_or("").chars().count()
        })
        .max(1);
    // A long line is shown from shortly before the place.
    let skipped = if before + wide.min(SHOWN / 2) > SHOWN {
        before - SHOWN / 4
    } else {
        0
    };
    let shown: String = line
        .chars()
        .skip(skipped)
        .take(SHOWN)
        .map(visible)
        .collect();
    let carets = "^".repeat(wide.min(SHOWN - (before - skipped).min(SHOWN - 1)));
    let _ = writeln!(out, "{:margin$} |", "");
    let _ = writeln!(out, "{number} | {shown}");
    let _ = writeln!(
        out,
        "{:margin$} | {:indent$}{carets}",
        "",
        "",
        indent = before - skipped
    );
    margin
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Code;

    #[test]
    fn shows_place_line_caret_and_hint() {
        let source = "node A {\n\ta: Txt\n}\n";
        let span = Span {
            start: 13,
            end: 16,
            line: 2,
            column: 5,
        };
        let text = Diagnostic::error(Code::P008, "unknown type `Txt`")
            .at(span)
            .hint("one of String, Bool")
            .render("s.pg", source);
        assert_eq!(
            text,
            "error[P008]: unknown type `Txt`\n --> s.pg:2:5\n  |\n2 |  a: Txt\n  |     ^^^\n  = hint: one of String, Bool\n"
        );
    }

    #[test]
    fn without_a_span_says_what_it_is_about() {
        let text = Diagnostic::error(Code::R410, "`kb` is required")
            .line(7)
            .render("x.ndjson", "");
        assert_eq!(text, "error[R410]: `kb` is required\n --> x.ndjson:7\n");
    }

    #[test]
    fn a_terminal_gets_nothing_to_act_on() {
        let source = "a \u{1b}[31m\u{202e}\u{9b}\0\u{7f} x\u{301}";
        let span = Span {
            start: 2,
            end: 3,
            line: 1,
            column: 3,
        };
        let text = Diagnostic::error(Code::P006, "bad \u{1b}]0;")
            .at(span)
            .hint("not\u{7}")
            .render("s.pg", source);
        assert!(
            !text.contains(|c: char| c.is_control() && c != '\n'),
            "{text:?}"
        );
        assert!(text.contains("a \u{241b}[31m\u{fffd}\u{fffd}\u{2400}\u{2421} x\u{301}"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let source = format!("{}X{}", "a".repeat(1000), "b".repeat(1000));
        let span = Span {
            start: 1000,
            end: 1001,
            line: 1,
            column: 1001,
        };
        let text = Diagnostic::error(Code::P006, "no")
            .at(span)
            .render("s", &source);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[3].len() < 200);
        assert_eq!(lines[3].find('X'), lines[4].find('^'));
    }
}
