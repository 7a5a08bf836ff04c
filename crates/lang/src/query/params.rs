//! Values for the parameters of a query.

use serde_json::Value as Json;

use super::Param;
use crate::diagnostic::{Code, Diagnostic};
use crate::value::{Value, ValueError, from_json_param};

/// What a caller gave, checked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BoundParams {
    /// By [`super::ParamId`].
    pub values: Vec<Value>,
    /// W503 for what the query does not declare.
    pub warnings: Vec<Diagnostic>,
}

/// Checks the parameters that a caller gave; `None` and null count as `{}`.
///
/// # Errors
/// R430 for a missing one, R431 for a null, R432 for a value that does not fit, R433 if they are
/// no object.
pub fn bind_params(params: &[Param], given: Option<&Json>) -> Result<BoundParams, Vec<Diagnostic>> {
    let empty = serde_json::Map::new();
    let given = match given {
        None | Some(Json::Null) => &empty,
        Some(Json::Object(object)) => object,
        Some(_) => {
            return Err(vec![Diagnostic::error(
                Code::R433,
                "parameters must be a JSON object",
            )]);
        }
    };
    let mut bound = BoundParams::default();
    let mut errors = Vec::new();
    for param in params {
        match bind(param, given.get(&param.name)) {
            Ok(value) => bound.values.push(value),
            Err(e) => errors.push(Diagnostic::from(e).param(&param.name)),
        }
    }
    for name in given.keys() {
        if !params.iter().any(|p| p.name == *name) {
            let message = format!("the query has no parameter `{name}`: it is ignored");
            bound
                .warnings
                .push(Diagnostic::warning(Code::W503, message).param(name));
        }
    }
    if errors.is_empty() {
        Ok(bound)
    } else {
        Err(errors)
    }
}

fn bind(param: &Param, given: Option<&Json>) -> Result<Value, ValueError> {
    match (given, &param.default) {
        (None, Some(default)) => Ok(default.clone()),
        (None | Some(Json::Null), _) if param.nullable => Ok(Value::Null),
        (None, None) => Err(ValueError::new(
            Code::R430,
            format!("the parameter `{}` is missing", param.name),
        )),
        (Some(Json::Null), _) => Err(ValueError::new(
            Code::R431,
            format!("the parameter `{}` cannot be null", param.name),
        )),
        (Some(json), _) => from_json_param(json, &param.data_type).map_err(|e| {
            ValueError::new(
                e.code,
                format!("the parameter `{}`: {}", param.name, e.message),
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::{DataType, Scalar};

    fn param(name: &str, scalar: Scalar, nullable: bool, default: Option<Value>) -> Param {
        Param {
            name: name.into(),
            data_type: DataType::Scalar(scalar),
            nullable,
            default,
        }
    }

    fn codes(params: &[Param], given: Json) -> Vec<&'static str> {
        match bind_params(params, Some(&given)) {
            Ok(bound) => bound.warnings.iter().map(|d| d.code.as_str()).collect(),
            Err(errors) => errors.iter().map(|d| d.code.as_str()).collect(),
        }
    }

    #[test]
    fn parameters_are_bound_by_the_rules() {
        let required = [param("n", Scalar::I64, false, None)];
        assert_eq!(codes(&required, json!({})), ["R430"]);
        assert_eq!(codes(&required, json!({"n": null})), ["R431"]);
        assert_eq!(codes(&required, json!({"n": "x"})), ["R432"]);
        assert_eq!(codes(&required, json!([])), ["R433"]);
        assert_eq!(codes(&required, json!({"n": 1, "m": 2})), ["W503"]);
        let optional = [param("n", Scalar::I64, true, None)];
        assert_eq!(bind_params(&optional, None).unwrap().values, [Value::Null]);
        let defaulted = [param("n", Scalar::I64, false, Some(Value::Int(2)))];
        assert_eq!(
            bind_params(&defaulted, None).unwrap().values,
            [Value::Int(2)]
        );
        assert_eq!(codes(&defaulted, json!({"n": null})), ["R431"]);
        let both = [param("n", Scalar::I64, true, Some(Value::Int(2)))];
        let null = bind_params(&both, Some(&json!({"n": null}))).unwrap();
        assert_eq!(null.values, [Value::Null]);
    }
}
