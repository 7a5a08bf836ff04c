//! Vectors that a mutation computes because it is not given them.
//!
//! They are asked for before the branch's turn: whoever holds it keeps all other writers waiting,
//! and a provider may take long. A run in the turn that misses a vector gives the turn up, and asks
//! itself only when it has done so as often as a writer may.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use omnigraph_lang::query::{Assignment, Statement};
use omnigraph_lang::schema::{DataType, Property, PropertyId, TypeBody};
use omnigraph_lang::value::{self, Value};

use super::overlay::position;
use super::rows::Row;
use super::statement::Runner;
use crate::embed::{self, Embedder, Embedding};
use crate::error::{Error, Result};
use crate::exec::expr::evaluate_constant;

/// Texts that are given to the embedder at once: what was got stays known if the next fails.
pub(super) const TEXTS_AT_ONCE: usize = 256;

/// What a mutation knows of the vectors of its texts, over all its runs.
#[derive(Debug)]
pub(crate) struct Texts {
    /// `None`: vectors come with the data.
    embedder: Option<Arc<dyn Embedder>>,
    /// By text and width.
    known: HashMap<(String, u32), Vec<f32>>,
    may_ask: bool,
    missed: bool,
}

impl Texts {
    pub(crate) fn new(embedding: Option<&Embedding>) -> Self {
        let embedding = embedding.filter(|embedding| embedding.on_write);
        Self {
            embedder: embedding.map(|embedding| embedding.embedder.clone()),
            known: HashMap::new(),
            may_ask: true,
            missed: false,
        }
    }

    /// Whether the next run may ask the embedder.
    pub(crate) fn allow(&mut self, may_ask: bool) {
        (self.may_ask, self.missed) = (may_ask, false);
    }

    /// Whether the last run failed because it might not ask.
    pub(crate) fn missed(&self) -> bool {
        self.missed
    }

    /// Makes the vectors of these texts known.
    async fn learn(
        &mut self,
        embedder: &dyn Embedder,
        texts: BTreeSet<&str>,
        width: u32,
    ) -> Result<()> {
        let texts = texts.into_iter().map(|text| (text.to_owned(), width));
        let unknown: Vec<String> = texts
            .filter(|key| !self.known.contains_key(key))
            .map(|(text, _)| text)
            .collect();
        if !unknown.is_empty() && !self.may_ask {
            self.missed = true;
            return Err(Error::internal(
                "a text was not embedded before the branch's turn",
            ));
        }
        for texts in unknown.chunks(TEXTS_AT_ONCE) {
            let vectors = embed::vectors(embedder, texts, width).await?;
            let keys = texts.iter().map(|text| (text.clone(), width));
            self.known.extend(keys.zip(vectors));
        }
        Ok(())
    }

    fn vector(&self, text: &str, width: u32) -> Value {
        let found = self.known.get(&(text.to_owned(), width));
        found.map_or(Value::Null, |vector| Value::Vector(vector.clone()))
    }
}

/// A vector that represents a text.
struct Represented<'a> {
    at: usize,
    source: usize,
    property: &'a Property,
    width: u32,
}

fn represented(body: &TypeBody) -> impl Iterator<Item = Represented<'_>> {
    let properties = body.properties.iter().enumerate();
    properties.filter_map(|(at, property)| {
        let embed = property.embed.as_ref()?;
        let DataType::Vector(width) = property.data_type else {
            return None;
        };
        Some(Represented {
            at,
            source: position(body, embed.source).ok()?,
            property,
            width,
        })
    })
}

/// Whether a text has a vector: of nothing but white space there is none.
pub(super) fn has_words(text: &str) -> bool {
    !text.trim().is_empty()
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) if has_words(text) => Some(text),
        _ => None,
    }
}

impl Runner<'_> {
    /// Gives rows the vectors of texts that were assigned, unless the vectors were assigned too. A
    /// former row with the same text and a vector keeps it. Which properties were set.
    pub(super) async fn embed(
        &mut self,
        body: &TypeBody,
        assigned: &[PropertyId],
        former: &[Row],
        rows: &mut [Row],
    ) -> Result<Vec<usize>> {
        let Some(embedder) = self.texts.embedder.clone() else {
            return Ok(Vec::new());
        };
        let mut set = Vec::new();
        for vector in represented(body) {
            let source = &body.properties[vector.source];
            if assigned.contains(&vector.property.id) || !assigned.contains(&source.id) {
                continue;
            }
            let keeps = |(at, row): &(usize, &mut Row)| {
                former.get(*at).is_some_and(|former| {
                    former.values[vector.source] == row.values[vector.source]
                        && former.values[vector.at] != Value::Null
                })
            };
            let rows = rows.iter_mut().enumerate();
            let mut rows: Vec<_> = rows.filter(|entry| !keeps(entry)).collect();
            let texts = rows.iter();
            let texts: BTreeSet<&str> = texts
                .filter_map(|(_, row)| text(&row.values[vector.source]))
                .collect();
            if !texts.is_empty() {
                embed::check_model(embedder.as_ref(), &body.name, vector.property)?;
                let learnt = self.texts.learn(embedder.as_ref(), texts, vector.width);
                learnt.await?;
            }
            for (_, row) in &mut rows {
                let made = text(&row.values[vector.source])
                    .map(|text| self.texts.vector(text, vector.width));
                row.values[vector.at] = made.unwrap_or(Value::Null);
            }
            set.push(vector.at);
        }
        Ok(set)
    }

    /// Learns the vectors of all inserts at once, which would ask one by one.
    pub(crate) async fn embed_ahead(&mut self, statements: &[Statement]) -> Result<()> {
        let Some(embedder) = self.texts.embedder.clone() else {
            return Ok(());
        };
        let mut texts: HashMap<u32, BTreeSet<String>> = HashMap::new();
        for statement in statements {
            let Statement::Insert {
                target,
                assignments,
                ..
            } = statement
            else {
                continue;
            };
            let body = self.overlay.entity(*target)?.body();
            let assigned = |wanted: PropertyId| assignments.iter().find(|a| a.property == wanted);
            for vector in represented(body) {
                let source = &body.properties[vector.source];
                let given = assigned(vector.property.id).is_some();
                let Some(source) = assigned(source.id).filter(|_| !given) else {
                    continue;
                };
                embed::check_model(embedder.as_ref(), &body.name, vector.property)?;
                let value = self.source_text(source)?;
                let found = text(&value).map(str::to_owned);
                texts.entry(vector.width).or_default().extend(found);
            }
        }
        for (width, texts) in texts {
            let texts = texts.iter().map(String::as_str).collect();
            self.texts.learn(embedder.as_ref(), texts, width).await?;
        }
        Ok(())
    }

    /// Null where it does not fit, which is said when the statement runs.
    fn source_text(&self, assignment: &Assignment) -> Result<Value> {
        let value = evaluate_constant(&assignment.value, &self.context)?;
        let wanted = DataType::Scalar(omnigraph_lang::schema::Scalar::String);
        Ok(value::coerce(value, &wanted).unwrap_or(Value::Null))
    }
}
