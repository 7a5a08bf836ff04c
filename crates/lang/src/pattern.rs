//! Regular expressions, which both languages write, and what it costs to compile them.

use regex::{Error, RegexBuilder};

/// Sizes in KiB that compiled patterns may have; the last is where patterns end. `\w{900}` has seven
/// characters and takes megabytes, so texts are not measured by their length.
const SIZES: [usize; 11] = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, LARGEST];

/// As in the crate `regex`, which the engine evaluates patterns with.
const LARGEST: usize = 10 * 1024;

/// What the patterns of one schema may cost together.
pub(crate) const MOST: usize = 256 * 1024;

/// A pattern that was compiled, or could not be.
pub(crate) struct Compiled {
    /// In KiB, rounded up generously. What fails has its price, too.
    pub(crate) cost: usize,
    /// What is wrong with it.
    pub(crate) error: Option<String>,
}

/// Compiles a pattern; what counts is only whether that is possible.
pub(crate) fn compile(pattern: &str) -> Compiled {
    let mut cost = 0;
    for size in SIZES {
        cost = size;
        let compiled = RegexBuilder::new(pattern).size_limit(size << 10).build();
        let error = match compiled {
            Ok(_) => None,
            Err(Error::CompiledTooBig(_)) => continue,
            Err(error) => Some(last_line(&error)),
        };
        return Compiled { cost, error };
    }
    Compiled {
        cost,
        error: Some("it repeats so much that it is too large when compiled".to_owned()),
    }
}

/// The messages of the regex crate end with what is wrong, after a drawing of the place.
fn last_line(error: &Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_is_the_size_and_not_the_length() {
        let cost = |pattern| {
            let compiled = compile(pattern);
            (compiled.cost, compiled.error.is_none())
        };
        assert_eq!(cost("^[a-z]+$"), (16, true));
        let word = cost(r"^\w{1,50}$");
        assert!(word.1 && (512..=4096).contains(&word.0), "{word:?}");
        assert!(MOST / word.0 >= 64, "a schema may have many of these");
        assert_eq!(cost(r"\w{900}{9}"), (LARGEST, false));
        assert_eq!(cost("("), (16, false));
        assert_eq!(compile("(").error.as_deref(), Some("unclosed group"));
    }
}
