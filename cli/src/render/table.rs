//! Tables and blocks for people.

use crate::output::Items;

/// A titled table with a rule under the names, or plain aligned columns.
pub(crate) fn table(items: &Items, cell_max: usize) -> String {
    if items.titled {
        titled(items, cell_max)
    } else {
        columns(&items.rows)
    }
}

/// Cells aligned by two spaces, without title. Trailing spaces are removed.
pub(crate) fn columns(rows: &[Vec<String>]) -> String {
    let widths = widths(rows.iter().map(Vec::as_slice));
    let mut out = String::new();
    for row in rows {
        let cells: Vec<_> = row
            .iter()
            .enumerate()
            .map(|(i, cell)| pad(cell, widths[i], false))
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// One block of `name | value` lines per row.
pub(crate) fn blocks(items: &Items) -> String {
    let width = items.columns.iter().map(|c| length(c)).max().unwrap_or(0);
    let blocks = items.rows.iter().map(|row| {
        let lines = items.columns.iter().zip(row).map(|(name, value)| {
            let line = format!("{} | {}", pad(name, width, false), one_line(value));
            format!("{}\n", line.trim_end())
        });
        lines.collect::<String>()
    });
    blocks.collect::<Vec<_>>().join("\n")
}

fn titled(items: &Items, cell_max: usize) -> String {
    let rows: Vec<Vec<String>> = items
        .rows
        .iter()
        .map(|row| {
            row.iter()
                .map(|cell| clip(&one_line(cell), cell_max))
                .collect()
        })
        .collect();
    let all = std::iter::once(items.columns.as_slice()).chain(rows.iter().map(Vec::as_slice));
    let widths = widths(all);
    let line = |cells: &[String], align: bool| {
        let cells: Vec<_> = cells
            .iter()
            .enumerate()
            .map(|(i, cell)| {
                pad(
                    cell,
                    widths[i],
                    align && items.numeric.get(i) == Some(&true),
                )
            })
            .collect();
        format!("{}\n", cells.join(" | ").trim_end())
    };
    let mut out = line(&items.columns, false);
    let rules: Vec<_> = widths.iter().map(|w| "-".repeat(*w)).collect();
    out.push_str(&format!("{}\n", rules.join("-+-")));
    for row in &rows {
        out.push_str(&line(row, true));
    }
    out
}

fn widths<'a>(rows: impl Iterator<Item = &'a [String]>) -> Vec<usize> {
    let mut widths = Vec::new();
    for row in rows {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(length(cell));
        }
    }
    widths
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn pad(text: &str, width: usize, right: bool) -> String {
    let space = " ".repeat(width.saturating_sub(length(text)));
    if right {
        format!("{space}{text}")
    } else {
        format!("{text}{space}")
    }
}

fn clip(text: &str, max: usize) -> String {
    if length(text) <= max {
        return text.to_owned();
    }
    let kept: String = text.chars().take(max.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// Control characters would break the table or the terminal.
fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items() -> Items {
        Items {
            columns: vec!["p.name".into(), "kb".into(), "summary".into()],
            rows: vec![
                vec![
                    "bash".into(),
                    "7164".into(),
                    "GNU Bourne\nAgain SHell".into(),
                ],
                vec!["zsh-é".into(), "9".into(), "x".repeat(80)],
                vec!["esc".into(), String::new(), "\u{1b}[31mred".into()],
            ],
            numeric: vec![false, true, false],
            json: Vec::new(),
            titled: true,
        }
    }

    #[test]
    fn whole_outputs() {
        crate::render::golden::check("table.txt", &table(&items(), 60));
        crate::render::golden::check("kv.txt", &blocks(&items()));
        let mut plain = items();
        plain.titled = false;
        plain.rows.truncate(1);
        plain.rows[0].truncate(2);
        assert_eq!(table(&plain, 60), "bash  7164\n");
    }
}
