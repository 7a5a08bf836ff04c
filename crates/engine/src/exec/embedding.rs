//! What `nearest` measures from: the vector of the query, or that of its text.

use omnigraph_lang::query::{Expr, PropertyRef, VarId};
use omnigraph_lang::schema::DataType;
use omnigraph_lang::value::Value;

use super::execution::Execution;
use crate::embed;
use crate::error::{Error, Result};

impl Execution<'_> {
    /// The numbers to measure from.
    ///
    /// # Errors
    /// R444 to R446 for a text, and R450 if the embedder takes longer than the query may.
    pub(super) async fn target(
        &mut self,
        var: VarId,
        property: &PropertyRef,
        query: &Expr,
    ) -> Result<Vec<f64>> {
        let number = |value: &Value| match value {
            Value::F64(x) => *x,
            Value::F32(x) => (*x).into(),
            Value::Int(i) => *i as f64,
            Value::UInt(u) => *u as f64,
            _ => f64::NAN,
        };
        match self.constant(query)? {
            Value::Vector(items) => Ok(items.iter().map(|&x| x.into()).collect()),
            Value::List(items) => Ok(items.iter().map(number).collect()),
            Value::String(text) => self.embedded(var, property, text).await,
            _ => Ok(Vec::new()),
        }
    }

    /// The vector of a text. Each is asked for once in a query, however often it is used.
    async fn embedded(
        &mut self,
        var: VarId,
        property: &PropertyRef,
        text: String,
    ) -> Result<Vec<f64>> {
        let Some(embedder) = self.ctx.embedder else {
            return Err(embed::not_configured());
        };
        let mut width = 0;
        for ty in &self.variable(var)?.types {
            let Some(id) = property.of(*ty) else {
                continue;
            };
            let body = self.body(*ty)?;
            let property = body.property_by_id(id);
            let property =
                property.ok_or_else(|| Error::internal("a property is not in the catalog"))?;
            embed::check_model(embedder, &body.name, property)?;
            if let DataType::Vector(found) = property.data_type {
                width = found;
            }
        }
        let key = (text, width);
        if let Some(vector) = self.embedded.get(&key) {
            return Ok(vector.clone());
        }
        let asked = embed::vectors(embedder, std::slice::from_ref(&key.0), width);
        let vectors = self.guard.within(asked).await??;
        let vector = vectors.iter().flatten().map(|&x| x.into());
        let vector: Vec<f64> = vector.collect();
        self.embedded.insert(key, vector.clone());
        Ok(vector)
    }
}
