//! Ids that are derived from keys.

use super::{Value, ValueError};
use crate::diagnostic::Code;

/// How a value is spelled in an id (schema language, section 6).
///
/// # Errors
/// R419 for a float that is not finite; R410 for null; R406 for what can be no member of a key.
pub fn spell(value: &Value) -> Result<String, ValueError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(b) => Ok(b.to_string()),
        Value::Int(i) => Ok(i.to_string()),
        Value::UInt(u) => Ok(u.to_string()),
        Value::Date(days) => Ok(days.to_string()),
        Value::DateTime(millis) => Ok(millis.to_string()),
        // `Display` of floats is the shortest text that reads back, positional, without `.0`.
        Value::F32(x) if x.is_finite() => Ok(if *x == 0.0 { "0".into() } else { x.to_string() }),
        Value::F64(x) if x.is_finite() => Ok(if *x == 0.0 { "0".into() } else { x.to_string() }),
        Value::F32(_) | Value::F64(_) => Err(ValueError::new(
            Code::R419,
            "a key cannot be infinite or not a number",
        )),
        Value::Null => Err(ValueError::new(Code::R410, "a key member is missing")),
        Value::List(_) | Value::Vector(_) | Value::Blob(_) => Err(ValueError::new(
            Code::R406,
            format!("{} cannot be part of a key", value.kind_name()),
        )),
    }
}

/// The id of an entity with this key. `members` are the spellings in the order of the key: `src`
/// and `dst` (ids of the endpoints) first, then properties by ascending id.
#[must_use]
pub fn derive_id<S: AsRef<str>>(members: &[S]) -> String {
    if let [only] = members {
        return only.as_ref().to_owned();
    }
    let spelled: Vec<serde_json::Value> = members
        .iter()
        .map(|m| serde_json::Value::from(m.as_ref()))
        .collect();
    serde_json::Value::from(spelled).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_follow_the_table() {
        for (value, expected) in [
            (Value::String("libc".into()), "libc"),
            (Value::Bool(true), "true"),
            (Value::Int(-7), "-7"),
            (Value::UInt(u64::MAX), "18446744073709551615"),
            (Value::Date(19723), "19723"),
            (Value::DateTime(1_704_067_200_000), "1704067200000"),
            (Value::F64(1.5), "1.5"),
            (Value::F64(-0.0), "0"),
            (Value::F32(0.1), "0.1"),
            (Value::F32(2.0), "2"),
            (Value::F64(1e23), "100000000000000000000000"),
        ] {
            assert_eq!(spell(&value).as_deref(), Ok(expected), "{value:?}");
        }
        for value in [f64::NAN, f64::INFINITY] {
            assert_eq!(spell(&Value::F64(value)).unwrap_err().code, Code::R419);
        }
    }

    #[test]
    fn several_members_make_a_json_array() {
        assert_eq!(derive_id(&["7", "acme"]), r#"["7","acme"]"#);
        assert_eq!(derive_id(&["a\"b", "ü\n/"]), r#"["a\"b","ü\n/"]"#);
        assert_eq!(derive_id(&["only"]), "only");
    }
}
