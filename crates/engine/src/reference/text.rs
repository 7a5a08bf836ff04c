//! Text search over texts whose words are their own stems.

use std::collections::BTreeSet;

use omnigraph_lang::query::SearchKind;

fn tokens(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        // The only one of the texts' words that is too frequent to be looked for.
        .filter(|word| word != "a")
        .collect()
}

pub(super) fn search(kind: &SearchKind, edits: Option<usize>, text: &str, query: &str) -> bool {
    let (text, query) = (tokens(text), tokens(query));
    match kind {
        SearchKind::AnyToken => query.iter().any(|q| text.contains(q)),
        SearchKind::Phrase => {
            !query.is_empty() && text.windows(query.len()).any(|window| window == query)
        }
        SearchKind::Fuzzy { .. } => {
            let edits = edits.expect("a number of edits");
            query
                .iter()
                .any(|q| text.iter().any(|t| distance(q, t) <= edits))
        }
    }
}

/// Insertions, deletions and replacements.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1)
            };
        }
    }
    table[a.len()][b.len()]
}

/// BM25 with k1 1.2 and b 0.75.
pub(super) fn bm25(corpus: &[&str], text: &str, query: &str) -> f64 {
    let corpus: Vec<Vec<String>> = corpus.iter().map(|text| tokens(text)).collect();
    let texts = corpus.len() as f64;
    let average = corpus.iter().map(Vec::len).sum::<usize>() as f64 / texts;
    let text = tokens(text);
    let mut score = 0.0;
    for token in tokens(query).into_iter().collect::<BTreeSet<_>>() {
        let count = text.iter().filter(|t| **t == token).count() as f64;
        if count == 0.0 {
            continue;
        }
        let with = corpus.iter().filter(|text| text.contains(&token)).count() as f64;
        let weight = (1.0 + (texts - with + 0.5) / (with + 0.5)).ln();
        let norm = 1.2 * (0.25 + 0.75 * text.len() as f64 / average);
        score += weight * count * 2.2 / (count + norm);
    }
    score
}
