//! Comma-separated values as RFC 4180 and spreadsheets have them.

use crate::output::Items;

/// A header line, then a line per row.
pub(crate) fn csv(items: &Items) -> String {
    let mut out = line(&items.columns);
    for row in &items.rows {
        out.push_str(&line(row));
    }
    out
}

fn line(cells: &[String]) -> String {
    let cells: Vec<_> = cells.iter().map(|cell| quote(cell)).collect();
    format!("{}\r\n", cells.join(","))
}

fn quote(cell: &str) -> String {
    let edge_space = cell.starts_with(' ') || cell.ends_with(' ');
    if edge_space || cell.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_only_what_needs_it() {
        let items = Items {
            columns: vec!["a".into(), "b c".into()],
            rows: vec![
                vec!["x,y".into(), "say \"hi\"".into()],
                vec!["1".into(), " z".into()],
            ],
            ..Items::default()
        };
        assert_eq!(
            csv(&items),
            "a,b c\r\n\"x,y\",\"say \"\"hi\"\"\"\r\n1,\" z\"\r\n"
        );
    }
}
