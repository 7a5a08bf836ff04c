//! Random expressions as text, of a wanted type, so that they check.

use omnigraph_lang::schema::{DataType, Scalar};
use omnigraph_lang::value::{Int64Style, Value, format_date, format_datetime, to_json};
use serde_json::Value as Json;

use super::random::Random;
use super::schemas::{TEXTS, value};

/// What is wanted of an expression. All numbers go with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    Bool,
    Number,
    Integer,
    Text,
    Date,
    DateTime,
    Texts,
    Integers,
}

/// What expressions are made of.
pub(super) struct Maker<'r> {
    pub(super) random: &'r mut Random,
    /// Properties in reach, as they are written.
    pub(super) atoms: Vec<(String, DataType)>,
    /// Declarations and values of the parameters made so far.
    pub(super) params: Vec<(String, Json)>,
    /// Text searches in reach: variable and property.
    pub(super) searches: Vec<String>,
    /// Node and edge variables that may be null, and paths.
    pub(super) nullable: Vec<String>,
    pub(super) paths: Vec<String>,
}

pub(super) fn wanted(ty: &DataType) -> Option<Want> {
    Some(match ty {
        DataType::Scalar(Scalar::Bool) => Want::Bool,
        DataType::Scalar(scalar) if scalar.is_integer() => Want::Integer,
        DataType::Scalar(scalar) if scalar.is_float() => Want::Number,
        DataType::Scalar(Scalar::String) | DataType::Enum(_) => Want::Text,
        DataType::Scalar(Scalar::Date) => Want::Date,
        DataType::Scalar(_) => Want::DateTime,
        DataType::List(Scalar::String) => Want::Texts,
        DataType::List(_) => Want::Integers,
        DataType::Vector(_) | DataType::Blob => return None,
    })
}

impl Maker<'_> {
    /// Never more than a few levels deep.
    pub(super) fn expr(&mut self, want: Want, depth: usize) -> String {
        if depth == 0 || self.random.one_in(3) {
            return self.leaf(want);
        }
        let depth = depth - 1;
        match want {
            Want::Bool => self.condition(depth),
            Want::Number => self.number(depth),
            Want::Integer => self.integer(depth),
            Want::Text => self.text(depth),
            Want::Date => match self.random.below(3) {
                0 => format!(
                    "({} + {})",
                    self.expr(Want::Date, depth),
                    self.random.below(40)
                ),
                1 => format!("date({})", self.expr(Want::DateTime, depth)),
                _ => self.either(Want::Date, depth),
            },
            Want::DateTime => match self.random.below(3) {
                0 => format!(
                    "({} - {})",
                    self.expr(Want::DateTime, depth),
                    self.random.below(9999)
                ),
                1 => format!("datetime({})", self.expr(Want::Date, depth)),
                _ => self.either(Want::DateTime, depth),
            },
            Want::Texts | Want::Integers => {
                let item = if want == Want::Texts {
                    Want::Text
                } else {
                    Want::Integer
                };
                let count = 1 + self.random.below(3);
                let items: Vec<String> = (0..count).map(|_| self.expr(item, depth)).collect();
                // A list of nulls has no type.
                format!("[{}, {}]", items.join(", "), self.constant(item))
            }
        }
    }

    fn either(&mut self, want: Want, depth: usize) -> String {
        format!(
            "coalesce({}, {})",
            self.expr(want, depth),
            self.expr(want, depth)
        )
    }

    /// A property, a parameter or a constant.
    fn leaf(&mut self, want: Want) -> String {
        let fits = |ty: &DataType| {
            let found = wanted(ty);
            found == Some(want) || (want == Want::Number && found == Some(Want::Integer))
        };
        let atoms: Vec<&(String, DataType)> =
            self.atoms.iter().filter(|(_, ty)| fits(ty)).collect();
        if !atoms.is_empty() && !self.random.one_in(4) {
            let at = self.random.below(atoms.len());
            return atoms[at].0.clone();
        }
        match self.random.one_in(4) {
            true => self.param(want),
            false => self.constant(want),
        }
    }

    pub(super) fn constant(&mut self, want: Want) -> String {
        let small = self.random.below(4);
        match want {
            Want::Bool => ["true", "false"][small % 2].to_owned(),
            Want::Number if small == 0 => "0.5".to_owned(),
            Want::Number if small == 1 => "0.1".to_owned(),
            Want::Number | Want::Integer => small.to_string(),
            Want::Text => format!("{:?}", self.random.pick(&TEXTS)),
            Want::Date => format!("date(\"{}\")", format_date(19_700 + small as i32)),
            Want::DateTime => {
                let time = 1_700_000_000_000 + small as i64 * 43_200_000;
                format!("datetime(\"{}\")", format_datetime(time))
            }
            Want::Texts => format!("[{:?}]", self.random.pick(&TEXTS)),
            Want::Integers => format!("[{small}, 1]"),
        }
    }

    /// A new parameter with a value.
    pub(super) fn param(&mut self, want: Want) -> String {
        let ty = match want {
            Want::Bool => "Bool",
            Want::Number => *self.random.pick(&["F64", "I64", "F32"]),
            Want::Integer => *self.random.pick(&["I64", "I32", "U64", "U32"]),
            Want::Text => "String",
            Want::Date => "Date",
            Want::DateTime => "DateTime",
            Want::Texts => "[String]",
            Want::Integers => "[I64]",
        };
        let data_type = match ty {
            "Bool" => DataType::Scalar(Scalar::Bool),
            "F64" => DataType::Scalar(Scalar::F64),
            "F32" => DataType::Scalar(Scalar::F32),
            "I64" => DataType::Scalar(Scalar::I64),
            "I32" => DataType::Scalar(Scalar::I32),
            "U64" => DataType::Scalar(Scalar::U64),
            "U32" => DataType::Scalar(Scalar::U32),
            "Date" => DataType::Scalar(Scalar::Date),
            "DateTime" => DataType::Scalar(Scalar::DateTime),
            "[String]" => DataType::List(Scalar::String),
            "[I64]" => DataType::List(Scalar::I64),
            _ => DataType::Scalar(Scalar::String),
        };
        let null = self.random.one_in(5);
        let given = match null {
            true => Value::Null,
            false => value(self.random, &data_type),
        };
        let name = format!("q{}", self.params.len());
        let mark = if null { "?" } else { "" };
        let json = to_json(&given, Int64Style::String);
        self.params.push((format!("${name}: {ty}{mark}"), json));
        format!("${name}")
    }

    fn condition(&mut self, depth: usize) -> String {
        match self.random.below(13) {
            0..=3 => {
                let want = *self.random.pick(&[
                    Want::Number,
                    Want::Integer,
                    Want::Text,
                    Want::Date,
                    Want::DateTime,
                    Want::Bool,
                ]);
                let op = *self.random.pick(&["=", "!=", "<", "<=", ">", ">="]);
                format!(
                    "({} {op} {})",
                    self.expr(want, depth),
                    self.expr(want, depth)
                )
            }
            4 => {
                let op = *self.random.pick(&["contains", "starts_with", "ends_with"]);
                // On the left a bare variable would read as a hop.
                format!(
                    "(({}) {op} {})",
                    self.expr(Want::Text, depth),
                    self.expr(Want::Text, depth)
                )
            }
            5 => {
                let not = if self.random.one_in(3) {
                    "not in"
                } else {
                    "in"
                };
                format!(
                    "({} {not} {})",
                    self.expr(Want::Text, depth),
                    self.expr(Want::Texts, depth)
                )
            }
            6 => format!(
                "({} in {})",
                self.expr(Want::Integer, depth),
                self.expr(Want::Integers, depth)
            ),
            7 => {
                let want = *self
                    .random
                    .pick(&[Want::Number, Want::Text, Want::Date, Want::Texts]);
                let not = if self.random.one_in(2) { "not " } else { "" };
                format!("(({}) is {not}null)", self.expr(want, depth))
            }
            8 => format!(
                "({} and {})",
                self.expr(Want::Bool, depth),
                self.expr(Want::Bool, depth)
            ),
            9 => format!(
                "({} or {})",
                self.expr(Want::Bool, depth),
                self.expr(Want::Bool, depth)
            ),
            10 => format!("(not {})", self.expr(Want::Bool, depth)),
            11 => format!("matches({}, \"^[a-z]* ?o\")", self.expr(Want::Text, depth)),
            _ => self.special(depth),
        }
    }

    /// Searches, tests of variables; else a plain condition.
    fn special(&mut self, depth: usize) -> String {
        if !self.searches.is_empty() && self.random.one_in(2) {
            let of = self.random.pick(&self.searches).clone();
            let query = *self.random.pick(&["oak", "fig zinc", "ok", "OAK fig", ""]);
            return match self.random.below(4) {
                0 => format!("search({of}, \"{query}\")"),
                1 => format!("phrase({of}, \"{query}\")"),
                2 => format!("fuzzy({of}, \"{query}\", {})", self.random.below(3)),
                _ => format!("match_text({of}, {})", self.param(Want::Text)),
            };
        }
        if !self.nullable.is_empty() {
            let variable = self.random.pick(&self.nullable).clone();
            let not = if self.random.one_in(2) { "not " } else { "" };
            return format!("(({variable}) is {not}null)");
        }
        format!(
            "({} = {})",
            self.leaf(Want::Number),
            self.expr(Want::Number, depth)
        )
    }

    fn number(&mut self, depth: usize) -> String {
        let inner = self.expr(Want::Number, depth);
        match self.random.below(8) {
            0..=1 => {
                let op = *self.random.pick(&["+", "-", "*", "/"]);
                format!("({inner} {op} {})", self.expr(Want::Number, depth))
            }
            2 => format!("abs({inner})"),
            3 => format!("round({inner}, {})", self.random.below(4)),
            4 => format!("floor({inner})"),
            5 => format!("cast({inner} as F64)"),
            6 => self.either(Want::Number, depth),
            _ => self.integer(depth),
        }
    }

    fn integer(&mut self, depth: usize) -> String {
        let inner = self.expr(Want::Integer, depth);
        match self.random.below(11) {
            0 => format!("({inner} + {})", self.expr(Want::Integer, depth)),
            1 => format!("({inner} * {})", self.random.below(5)),
            2 => format!("({inner} / {})", self.leaf(Want::Integer)),
            3 => format!("({inner} % 3)"),
            4 => format!("length({})", self.expr(Want::Text, depth)),
            5 => {
                let part = *self.random.pick(&["year", "month", "day", "weekday"]);
                format!("{part}({})", self.expr(Want::Date, depth))
            }
            6 => {
                let part = *self
                    .random
                    .pick(&["hour", "minute", "second", "millisecond", "year"]);
                format!("{part}({})", self.expr(Want::DateTime, depth))
            }
            7 => format!("size({})", self.expr(Want::Texts, depth)),
            8 => format!("try_cast({} as I32)", self.expr(Want::Number, depth)),
            9 if !self.paths.is_empty() => {
                let path = self.random.pick(&self.paths).clone();
                format!("length({path})")
            }
            9 => format!(
                "({} - {})",
                self.expr(Want::Date, depth),
                self.expr(Want::Date, depth)
            ),
            _ => format!("round({inner}, -1)"),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        let inner = self.expr(Want::Text, depth);
        match self.random.below(7) {
            0 => format!("({inner} + {})", self.expr(Want::Text, depth)),
            1 => format!("upper({inner})"),
            2 => format!("lower({inner})"),
            3 => format!("trim({inner})"),
            4 => format!(
                "substring({inner}, {}, {})",
                self.random.below(3),
                self.random.below(5)
            ),
            5 => {
                let want =
                    *self
                        .random
                        .pick(&[Want::Number, Want::Date, Want::DateTime, Want::Bool]);
                format!("cast({} as String)", self.expr(want, depth))
            }
            _ => self.either(Want::Text, depth),
        }
    }
}
