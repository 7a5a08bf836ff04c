//! What annotations on types and properties mean.

use super::ast::{self, Argument, ArgumentValue};
use super::declared::{DeclaredEmbed, DeclaredProperty, DeclaredType, TypeKind};
use super::{Annotation, AnnotationValue, Cardinality, DataType, DefaultValue, Scalar};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::syntax::Name;
use crate::value::{Value, coerce, time_literal};

/// Annotations of a type's header.
pub(super) fn of_type(
    owner: &mut DeclaredType,
    annotations: &[ast::Annotation],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let mut card = false;
    for annotation in annotations {
        match annotation.name.as_str() {
            "description" => text_once(&mut owner.description, annotation, diagnostics),
            "instruction" => text_once(&mut owner.instruction, annotation, diagnostics),
            "rename_from" => rename(&mut owner.rename_from, annotation, diagnostics),
            "key" | "unique" | "index" | "embed" | "default" | "range" | "check" => diagnostics
                .push(
                    misplaced(annotation, "on a type").hint("it belongs to a property in the body"),
                ),
            "card" if owner.kind == TypeKind::Edge => {
                let Some((min, max)) = annotation.bounds else {
                    diagnostics.push(
                        Diagnostic::error(Code::P011, "`@card` needs bounds")
                            .at(annotation.span)
                            .hint("the form is `@card(0..1)` or `@card(1..)`"),
                    );
                    continue;
                };
                if card {
                    diagnostics.push(repeated(annotation));
                }
                card = true;
                if max.is_some_and(|max| min > max) {
                    diagnostics.push(
                        Diagnostic::error(Code::S118, "the lower bound is above the upper one")
                            .at(annotation.span),
                    );
                }
                owner.cardinality = Cardinality { min, max };
            }
            "card" => diagnostics.push(misplaced(annotation, "on a node type")),
            _ => owner.annotations.push(metadata(annotation)),
        }
    }
    owner.annotations.sort_by(|a, b| a.name.cmp(&b.name));
}

/// A property with its annotations.
pub(super) fn property(
    written: &ast::Property,
    owner: TypeKind,
    diagnostics: &mut Vec<Diagnostic>,
) -> DeclaredProperty {
    let mut property = DeclaredProperty {
        name: written.name.clone(),
        rename_from: None,
        data_type: written.ty.data_type.clone(),
        nullable: written.ty.nullable,
        default: None,
        embed: None,
        description: None,
        annotations: Vec::new(),
        key: None,
        unique: None,
        index: None,
    };
    let mut default = None;
    for annotation in &written.annotations {
        match annotation.name.as_str() {
            "key" if owner == TypeKind::Edge => diagnostics.push(
                Diagnostic::error(
                    Code::S114,
                    "a property of an edge cannot be annotated with `@key`",
                )
                .at(annotation.span)
                .hint("declare the key of an edge in the body, as `@key(src, dst)`"),
            ),
            "key" => flag(&mut property.key, annotation, diagnostics),
            "unique" => flag(&mut property.unique, annotation, diagnostics),
            "index" => flag(&mut property.index, annotation, diagnostics),
            "description" => text_once(&mut property.description, annotation, diagnostics),
            "rename_from" => rename(&mut property.rename_from, annotation, diagnostics),
            "instruction" | "card" => diagnostics.push(misplaced(annotation, "on a property")),
            "embed" if owner == TypeKind::Edge => diagnostics.push(
                Diagnostic::error(Code::S114, "a property of an edge cannot be an embedding")
                    .at(annotation.span),
            ),
            "embed" => embed(&mut property, annotation, diagnostics),
            "default" if default.is_some() => diagnostics.push(repeated(annotation)),
            "default" => default = Some(annotation),
            _ => property.annotations.push(metadata(annotation)),
        }
    }
    if let Some(annotation) = default {
        self::default(&mut property, annotation, diagnostics);
    }
    property.annotations.sort_by(|a, b| a.name.cmp(&b.name));
    property
}

/// `@key`, `@unique`, `@index` in the property form, which take no value.
fn flag(slot: &mut Option<Span>, annotation: &ast::Annotation, diagnostics: &mut Vec<Diagnostic>) {
    if slot.is_some() {
        diagnostics.push(repeated(annotation));
    }
    *slot = Some(annotation.span);
}

fn text_once(
    slot: &mut Option<String>,
    annotation: &ast::Annotation,
    diagnostics: &mut Vec<Diagnostic>,
) {
    if slot.is_some() {
        diagnostics.push(repeated(annotation));
    }
    match one_text(annotation) {
        Some(text) => *slot = Some(text.to_owned()),
        None => diagnostics.push(
            Diagnostic::error(
                Code::S122,
                format!("`@{}` needs one text that is not blank", annotation.name),
            )
            .at(annotation.span)
            .hint(format!("the form is `@{}(\"…\")`", annotation.name)),
        ),
    }
}

fn rename(
    slot: &mut Option<Name>,
    annotation: &ast::Annotation,
    diagnostics: &mut Vec<Diagnostic>,
) {
    match one_text(annotation) {
        Some(text) if slot.is_none() => {
            *slot = Some(Name {
                text: text.to_owned(),
                span: annotation.span,
            });
        }
        _ => diagnostics.push(
            Diagnostic::error(
                Code::S124,
                "`@rename_from` takes exactly one former name, once",
            )
            .at(annotation.span)
            .hint("the form is `@rename_from(\"Old\")`"),
        ),
    }
}

/// The only argument, if it is a text that is not blank.
fn one_text(annotation: &ast::Annotation) -> Option<&str> {
    match &annotation.value {
        Some(Argument {
            value: ArgumentValue::Literal(Value::String(text)),
            ..
        }) if annotation.named.is_empty() && !text.trim().is_empty() => Some(text),
        _ => None,
    }
}

fn embed(
    property: &mut DeclaredProperty,
    annotation: &ast::Annotation,
    diagnostics: &mut Vec<Diagnostic>,
) {
    if property.embed.is_some() {
        diagnostics.push(repeated(annotation));
    }
    if !matches!(property.data_type, DataType::Vector(_)) {
        let message = format!(
            "`@embed` needs a vector, `{}` is {}",
            property.name.text, property.data_type
        );
        diagnostics.push(Diagnostic::error(Code::S119, message).at(annotation.span));
        return;
    }
    let source = match annotation.value.as_ref().map(|a| &a.value) {
        Some(ArgumentValue::Name(name)) => Some(name),
        Some(ArgumentValue::Literal(Value::String(text))) => Some(text),
        _ => None,
    };
    let mut model = None;
    for (name, value) in &annotation.named {
        if name.text != "model" || model.is_some() {
            diagnostics.push(
                Diagnostic::error(
                    Code::S121,
                    format!("unknown or repeated argument `{}`", name.text),
                )
                .at(name.span)
                .hint("`@embed` takes the source property and `model=\"…\"`"),
            );
            continue;
        }
        match &value.value {
            ArgumentValue::Literal(Value::String(text)) if !text.trim().is_empty() => {
                model = Some(text.clone());
            }
            _ => diagnostics.push(
                Diagnostic::error(Code::S122, "`model` needs a text that is not blank")
                    .at(value.span),
            ),
        }
    }
    match source {
        Some(source) => {
            property.embed = Some(DeclaredEmbed {
                source: source.clone(),
                model,
                span: annotation.span,
            });
        }
        None => diagnostics.push(
            Diagnostic::error(
                Code::S120,
                "`@embed` needs the property that the vector represents",
            )
            .at(annotation.span)
            .hint("the form is `@embed(summary)`"),
        ),
    }
}

fn default(
    property: &mut DeclaredProperty,
    annotation: &ast::Annotation,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let possible = matches!(property.data_type, DataType::Scalar(_) | DataType::Enum(_));
    if !possible || property.key.is_some() {
        let what = if possible {
            "a key".to_owned()
        } else {
            property.data_type.to_string()
        };
        let message = format!("{what} cannot have a default");
        diagnostics.push(Diagnostic::error(Code::S126, message).at(annotation.span));
        return;
    }
    let span = annotation
        .value
        .as_ref()
        .map_or(annotation.span, |v| v.span);
    let fitted = match &annotation.value {
        Some(argument) if annotation.named.is_empty() => {
            fit_default(&argument.value, &property.data_type)
        }
        _ => Err("`@default` takes exactly one value".to_owned()),
    };
    match fitted {
        Ok(value) => property.default = Some(value),
        Err(reason) => diagnostics.push(
            Diagnostic::error(Code::S125, format!("the default does not fit: {reason}")).at(span),
        ),
    }
}

fn fit_default(value: &ArgumentValue, data_type: &DataType) -> Result<DefaultValue, String> {
    let value = match (value, data_type) {
        (ArgumentValue::Name(word), DataType::Scalar(Scalar::DateTime)) if word == "now" => {
            return Ok(DefaultValue::Now);
        }
        // The words of an enum may be written without quotes.
        (ArgumentValue::Name(word), DataType::Enum(_)) => Value::String(word.clone()),
        (ArgumentValue::Name(word), DataType::Scalar(Scalar::String)) => {
            return Err(format!("write the text in quotes, `\"{word}\"`"));
        }
        (ArgumentValue::Name(word), _) => return Err(format!("`{word}` is no value")),
        (
            ArgumentValue::Literal(Value::String(text)),
            DataType::Scalar(scalar @ (Scalar::Date | Scalar::DateTime)),
        ) => time_literal(text, *scalar).map_err(|e| e.message)?,
        (ArgumentValue::Literal(value), _) => value.clone(),
    };
    coerce(value, data_type)
        .map(DefaultValue::Value)
        .map_err(|e| e.message)
}

fn metadata(annotation: &ast::Annotation) -> Annotation {
    let value = |argument: &Argument| match &argument.value {
        ArgumentValue::Literal(value) => AnnotationValue::Literal(value.clone()),
        ArgumentValue::Name(name) => AnnotationValue::Name(name.clone()),
    };
    Annotation {
        name: annotation.name.clone(),
        value: annotation.value.as_ref().map(value),
        arguments: annotation
            .named
            .iter()
            .map(|(name, argument)| (name.text.clone(), value(argument)))
            .collect(),
    }
}

fn repeated(annotation: &ast::Annotation) -> Diagnostic {
    Diagnostic::error(Code::P012, format!("`@{}` is repeated", annotation.name)).at(annotation.span)
}

fn misplaced(annotation: &ast::Annotation, place: &str) -> Diagnostic {
    let message = format!("`@{}` is not allowed {place}", annotation.name);
    Diagnostic::error(Code::S123, message).at(annotation.span)
}
