//! The ends of edges in a data file: ids, or objects of all members of the key.

use std::borrow::Cow;

use omnigraph_lang::Code;
use omnigraph_lang::value;

use super::json::Reader;
use super::parse::Fault;
use super::plan::Plan;

/// The id that `text`, the JSON of `from` or `to`, stands for at an end of this type.
pub(super) fn endpoint<'a>(
    plan: &Plan,
    type_at: usize,
    member: &str,
    text: &'a str,
) -> Result<Cow<'a, str>, Fault> {
    let mut reader = Reader::new(text);
    match reader.peek() {
        Some(b'"') => Ok(reader.string()?),
        Some(b'{') => key_of(plan, type_at, member, text).map(Cow::Owned),
        _ => Err(Fault::new(
            Code::R402,
            format!("`{member}` has to be an id, or an object of all members of the key"),
        )),
    }
}

fn key_of(plan: &Plan, type_at: usize, member: &str, text: &str) -> Result<String, Fault> {
    let json = value::parse_json_strict(text).map_err(|_| Fault::Form)?;
    let (Some(given), Some(node)) = (json.as_object(), plan.types.get(type_at)) else {
        return Err(Fault::Form);
    };
    if node.key_len.is_none() {
        return Err(Fault::new(
            Code::R402,
            format!(
                "`{member}` has to be an id, because {} has no key",
                node.name
            ),
        ));
    }
    let mut spelled = Vec::new();
    for property in node.key_properties() {
        let Some(json) = given.get(&property.name) else {
            return Err(Fault::new(
                Code::R402,
                format!(
                    "`{member}` lacks the member `{}` of the key of {}",
                    property.name, node.name
                ),
            ));
        };
        let spelling = value::from_json(json, &property.data_type)
            .and_then(|value| value::spell(&value))
            .map_err(|e| Fault::of(member, e))?;
        spelled.push(spelling);
    }
    if spelled.len() < given.len() {
        return Err(Fault::new(
            Code::R402,
            format!(
                "`{member}` has members that are not in the key of {}",
                node.name
            ),
        ));
    }
    Ok(value::derive_id(&spelled))
}
