//! "Did you mean …".

/// Longer words are not compared: the time for it grows with the square.
const LONGEST: usize = 64;

/// The candidate that is nearest to the word, if one is near enough to have been meant.
pub(crate) fn closest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let allowed = match word.chars().count() {
        0..=2 => 1,
        3..=5 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .filter_map(|candidate| {
            let distance = if candidate.eq_ignore_ascii_case(word) {
                0
            } else {
                distance(word, candidate)
            };
            // A wholly different short word is no suggestion.
            (distance <= allowed && distance < candidate.chars().count())
                .then_some((distance, candidate))
        })
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions and replacements between two words, without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let a = a.to_ascii_lowercase();
    let b: Vec<char> = b.to_ascii_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_near() {
        let names = ["Package", "Maintainer", "Issue"];
        assert_eq!(closest("Pakage", names), Some("Package"));
        assert_eq!(closest("package", names), Some("Package"));
        assert_eq!(closest("Advisory", names), None);
        assert_eq!(closest("x", ["y"]), None);
    }
}
