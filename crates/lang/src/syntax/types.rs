//! Types, which schemas and query parameters write alike.

use super::{Cursor, Name, Parsed, TokenKind, closest};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::schema::{DataType, Scalar};

/// A type without `?`, and the repeated words of an enum, if any.
pub(crate) fn data_type(cursor: &mut Cursor, source: &str) -> Parsed<(DataType, Vec<Name>)> {
    if cursor.at("[") {
        return list(cursor, source).map(|t| (t, Vec::new()));
    }
    if cursor.at_word("enum") {
        cursor.bump();
        let words = cursor.enum_words(source)?;
        return Ok(enum_type(words));
    }
    let name = type_name(cursor)?;
    match name.text.as_str() {
        "Blob" => Ok((DataType::Blob, Vec::new())),
        "Vector" => vector(cursor).map(|t| (t, Vec::new())),
        _ => scalar(cursor, &name).map(|s| (DataType::Scalar(s), Vec::new())),
    }
}

fn type_name(cursor: &mut Cursor) -> Parsed<Name> {
    match cursor.kind() {
        TokenKind::Type(text) | TokenKind::Ident(text) => {
            let text = text.clone();
            let span = cursor.bump().span;
            Ok(Name { text, span })
        }
        _ => Err(cursor.unexpected("a type")),
    }
}

fn scalar(cursor: &mut Cursor, name: &Name) -> Parsed<Scalar> {
    if let Some(scalar) = Scalar::from_name(&name.text) {
        return Ok(scalar);
    }
    let mut diagnostic =
        Diagnostic::error(Code::P008, format!("unknown type `{}`", name.text)).at(name.span);
    let names = Scalar::ALL.map(Scalar::name);
    let known = match name.text.as_str() {
        "Text" | "Str" | "string" => Some("String"),
        "Int" | "Integer" | "int" => Some("I64"),
        "Float" | "Double" | "float" => Some("F64"),
        "Boolean" => Some("Bool"),
        "Timestamp" => Some("DateTime"),
        "List" | "Array" | "Set" => {
            let hint = "a list is written `[String]`";
            return Err(cursor.fail(diagnostic.hint(hint)));
        }
        other => closest(other, names.into_iter().chain(["Vector", "Blob", "enum"])),
    };
    diagnostic = match known {
        Some(known) => diagnostic.hint(format!("did you mean `{known}`?")),
        None => diagnostic.hint(format!(
            "the types are {}, Blob, Vector(n), enum(…) and lists [T]",
            names.join(", ")
        )),
    };
    Err(cursor.fail(diagnostic))
}

fn list(cursor: &mut Cursor, source: &str) -> Parsed<DataType> {
    let start = cursor.span();
    cursor.expect("[")?;
    let not_allowed = cursor.at("[")
        || cursor.at_word("enum")
        || matches!(cursor.kind(), TokenKind::Type(t) if t == "Vector" || t == "Blob");
    if not_allowed {
        let span = cursor.span();
        cursor.report(
            Diagnostic::error(Code::P010, "lists hold scalars only")
                .at(span)
                .hint("a list of lists, vectors, enums or blobs is not possible"),
        );
        // The rest of the item is read, so that the parser goes on behind the list.
        cursor.enter()?;
        let item = data_type(cursor, source);
        cursor.leave();
        item?;
        cursor.expect("]")?;
        return Ok(DataType::List(Scalar::String));
    }
    let name = type_name(cursor)?;
    let scalar = scalar(cursor, &name)?;
    if !cursor.at("]") {
        let span = cursor.since(start);
        return Err(cursor.fail(
            Diagnostic::error(Code::P001, "expected `]` after the item type of the list")
                .at(span)
                .hint("items are never null: write `[T]` or `[T]?`"),
        ));
    }
    cursor.bump();
    Ok(DataType::List(scalar))
}

fn vector(cursor: &mut Cursor) -> Parsed<DataType> {
    if !cursor.at("(") {
        return Err(cursor.unexpected_with("`(`", "a vector has a width, `Vector(384)`"));
    }
    cursor.expect_tight("(")?;
    let span: Span = cursor.span();
    if !matches!(cursor.kind(), TokenKind::Int(_)) {
        return Err(cursor.unexpected("the width of the vector"));
    }
    let width = match cursor.bump().kind {
        TokenKind::Int(text) => text
            .parse()
            .ok()
            .filter(|w| (1..=2_147_483_647).contains(w)),
        _ => None,
    };
    cursor.expect(")")?;
    let width = width.unwrap_or_else(|| {
        cursor.report(
            Diagnostic::error(Code::P009, "the width of a vector is from 1 to 2147483647").at(span),
        );
        1
    });
    Ok(DataType::Vector(width))
}

/// The set in order, and what is listed more than once.
fn enum_type(words: Vec<Name>) -> (DataType, Vec<Name>) {
    let mut values: Vec<String> = Vec::with_capacity(words.len());
    let mut seen = std::collections::BTreeSet::new();
    let mut repeated = Vec::new();
    for word in words {
        if seen.insert(word.text.clone()) {
            values.push(word.text);
        } else {
            repeated.push(word);
        }
    }
    values.sort_unstable();
    (DataType::Enum(values), repeated)
}
