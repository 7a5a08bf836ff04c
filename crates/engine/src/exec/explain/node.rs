//! Plans as trees for people and programs.

use std::fmt::Write;

use serde::Serialize;
use serde_json::{Map, Value as Json};

/// One operator with what it gets its rows from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanNode {
    /// What it does: one of the words of the query language's section 13.
    pub op: &'static str,
    /// What it works on.
    pub args: Map<String, Json>,
    /// Rows that it is expected to give; not in logical plans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub est_rows: Option<f64>,
    /// Rows that it gave, if it was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Milliseconds that it took by itself, if it was run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
    /// What its rows come from; of an operator with an inner block that comes second.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<PlanNode>,
    /// What a line says beside the operator.
    #[serde(skip)]
    pub(super) about: String,
}

impl PlanNode {
    pub(super) fn new(op: &'static str, about: impl Into<String>) -> Self {
        Self {
            op,
            args: Map::new(),
            est_rows: None,
            rows: None,
            ms: None,
            children: Vec::new(),
            about: about.into(),
        }
    }

    pub(super) fn arg(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.args.insert(name.to_owned(), value.into());
        self
    }

    pub(super) fn over(mut self, child: Option<PlanNode>) -> Self {
        self.children.extend(child);
        self
    }

    pub(super) fn expecting(mut self, rows: f64) -> Self {
        // Tenths are enough, and look less certain than they would with fifteen digits.
        self.est_rows = Some((rows * 10.0).round() / 10.0);
        self
    }

    /// The tree, one line per operator, what gives rows below what takes them.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, "", "");
        text
    }

    fn write(&self, text: &mut String, first: &str, rest: &str) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{first}{}", self.op);
        if !self.about.is_empty() {
            let _ = write!(text, " {}", self.about);
        }
        if let Some(rows) = self.est_rows {
            let _ = write!(text, "  est {}", short(rows));
        }
        if let Some(rows) = self.rows {
            let _ = write!(text, "  rows {rows}");
        }
        if let Some(ms) = self.ms {
            let _ = write!(text, "  {ms:.3} ms");
        }
        text.push('\n');
        let last = self.children.len().saturating_sub(1);
        for (at, child) in self.children.iter().enumerate() {
            let (turn, line) = match at == last {
                true => ("└─ ", "   "),
                false => ("├─ ", "│  "),
            };
            child.write(text, &format!("{rest}{turn}"), &format!("{rest}{line}"));
        }
    }
}

fn short(rows: f64) -> String {
    match rows >= 10.0 || rows.fract() == 0.0 {
        true => format!("{rows:.0}"),
        false => format!("{rows:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_a_line_per_operator() {
        let join = PlanNode::new("anti_join", "not { … }")
            .expecting(1.0)
            .over(Some(PlanNode::new("scan", "$p: Package").expecting(25.0)))
            .over(Some(PlanNode::new("expand", "$p Warns $a").expecting(0.5)));
        let mut top = PlanNode::new("project", "p.name")
            .expecting(1.0)
            .over(Some(join));
        top.rows = Some(3);
        top.ms = Some(0.25);
        assert_eq!(
            top.text(),
            "project p.name  est 1  rows 3  0.250 ms\n\
             └─ anti_join not { … }  est 1\n\
             \u{20}  ├─ scan $p: Package  est 25\n\
             \u{20}  └─ expand $p Warns $a  est 0.5\n"
        );
    }
}
