//! YAML as a tree in which every value knows its place, so that each error can name it.

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

use crate::finding::{Findings, Place};

/// Values in values; nothing that people write is deeper.
const DEPTH_MAX: usize = 32;

/// One value.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    /// A scalar; `plain` if it was written without quotes.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    /// Keys in order, those that are given twice included.
    Map(Vec<(Node, Node)>),
}

impl Node {
    /// Whether nothing was written.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null"))
    }

    /// A text, trimmed; `None` if it is none, or blank.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => {
                Some(text.trim()).filter(|text| !text.is_empty())
            }
            _ => None,
        }
    }
}

/// Reads the only document of a text. `None` and a finding if that is not possible.
pub(crate) fn read(text: &str, findings: &mut Findings) -> Option<Node> {
    let places = Places::of(text);
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        places: &places,
    };
    match reader.document() {
        Ok(node) => Some(node),
        Err((place, message)) => {
            findings.error("C201", place, message);
            None
        }
    }
}

type Failure = (Place, String);

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    places: &'a Places,
}

impl<'a> Reader<'a> {
    fn document(&mut self) -> Result<Node, Failure> {
        let mut found = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd => {}
                Event::Nothing => {}
                Event::StreamEnd => break,
                _ if found.is_some() => {
                    let message = "the file has more than one document".to_owned();
                    return Err((self.places.of_span(span), message));
                }
                event => found = Some(self.node(event, span, 0)?),
            }
        }
        found.ok_or_else(|| (self.places.at(0), "the file is empty".to_owned()))
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Failure> {
        let place = self.places.of_span(span);
        if depth > DEPTH_MAX {
            return Err((place, "the values are nested too deeply".to_owned()));
        }
        let value = match event {
            Event::Scalar(text, style, _, _) => Value::Scalar {
                text: text.into_owned(),
                plain: style == ScalarStyle::Plain,
            },
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break Value::List(items),
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut entries = Vec::new();
                loop {
                    match self.next()? {
                        (Event::MappingEnd, _) => break Value::Map(entries),
                        (event, span) => {
                            let key = self.node(event, span, depth + 1)?;
                            let (event, span) = self.next()?;
                            entries.push((key, self.node(event, span, depth + 1)?));
                        }
                    }
                }
            }
            Event::Alias(_) => {
                return Err((place, "aliases (*name) are not supported".to_owned()));
            }
            _ => return Err((place, "the file ends too early".to_owned())),
        };
        Ok(Node { place, value })
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Failure> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(self.refused(&error)),
            None => Err((self.places.at(0), "the file ends too early".to_owned())),
        }
    }

    fn refused(&self, error: &ScanError) -> Failure {
        (
            self.places.at(error.marker().index()),
            error.info().to_owned(),
        )
    }
}

/// From positions in characters, which the parser counts, to bytes, lines and columns.
struct Places {
    /// Byte offset, line and column of each character, and of the end.
    chars: Vec<(usize, u32, u32)>,
}

impl Places {
    fn of(text: &str) -> Places {
        let (mut line, mut column) = (1, 1);
        let mut chars = Vec::with_capacity(text.len() + 1);
        for (offset, char) in text.char_indices() {
            chars.push((offset, line, column));
            match char {
                '\n' => (line, column) = (line + 1, 1),
                _ => column += 1,
            }
        }
        chars.push((text.len(), line, column));
        Places { chars }
    }

    fn at(&self, index: usize) -> Place {
        let (start, line, column) = self.chars[index.min(self.chars.len() - 1)];
        Place {
            start,
            end: start,
            line,
            column,
        }
    }

    fn of_span(&self, span: Span) -> Place {
        Place {
            end: self.at(span.end.index()).start,
            ..self.at(span.start.index())
        }
    }
}
