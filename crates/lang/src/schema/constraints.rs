//! Constraints in the body of a type, with those that annotations of its properties mean.

use std::collections::BTreeSet;

use super::ast::{Constraint, ConstraintKind};
use super::check::suggest;
use super::declared::{DeclaredMember, DeclaredProperty, DeclaredRange, DeclaredType, TypeKind};
use super::{DataType, Scalar};
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::pattern;
use crate::syntax::Name;
use crate::value::{Value, compare};

pub(super) fn check(
    owner: &mut DeclaredType,
    written: &[Constraint],
    diagnostics: &mut Vec<Diagnostic>,
    patterns: &mut usize,
) {
    let mut checker = Checker {
        keys: 0,
        owner,
        diagnostics,
        patterns,
    };
    for property in checker.owner.properties.clone() {
        checker.annotated(&property);
    }
    for constraint in written {
        checker.constraint(constraint);
    }
    let owner = checker.owner;
    // A key is always looked up by.
    for member in owner.key.iter().flatten() {
        if let DeclaredMember::Property(name) = member {
            owner.indexes.insert(name.clone());
        }
    }
    owner
        .ranges
        .sort_by_cached_key(|r| (r.property.clone(), format!("{:?}", (&r.low, &r.high))));
    owner.ranges.dedup();
}

struct Checker<'a> {
    owner: &'a mut DeclaredType,
    diagnostics: &'a mut Vec<Diagnostic>,
    keys: usize,
    /// What patterns have cost so far, in the whole schema.
    patterns: &'a mut usize,
}

/// The annotations of an interface's properties, each for itself: which of them come together, only
/// an implementer can tell. What is wrong here is found there again, at the same place.
pub(super) fn of_interface(owner: &DeclaredType, diagnostics: &mut Vec<Diagnostic>) {
    for property in &owner.properties {
        let mut checker = Checker {
            keys: 0,
            owner: &mut owner.clone(),
            diagnostics,
            patterns: &mut 0,
        };
        checker.annotated(property);
    }
}

impl Checker<'_> {
    /// The property forms.
    fn annotated(&mut self, property: &DeclaredProperty) {
        let name = |span| Name {
            text: property.name.text.clone(),
            span,
        };
        if let Some(span) = property.key {
            self.key(&[name(span)], span);
        }
        if let Some(span) = property.unique {
            self.unique(&[name(span)]);
        }
        if let Some(span) = property.index {
            self.index(&[name(span)]);
        }
    }

    fn constraint(&mut self, constraint: &Constraint) {
        match &constraint.kind {
            ConstraintKind::Key(members) => self.key(members, constraint.span),
            ConstraintKind::Unique(members) => self.unique(members),
            ConstraintKind::Index(members) => self.index(members),
            ConstraintKind::Range {
                property,
                low,
                high,
            } => self.range(property, low.as_ref(), high.as_ref(), constraint.span),
            ConstraintKind::Check { property, pattern } => {
                self.pattern(property, &pattern.0, pattern.1);
            }
        }
    }

    fn key(&mut self, members: &[Name], span: Span) {
        self.keys += 1;
        if self.keys == 2 {
            let message = format!("`{}` has more than one key", self.owner.name.text);
            self.report(
                Diagnostic::error(Code::S111, message)
                    .at(span)
                    .hint("a key of several members is written `@key(a, b)`"),
            );
        }
        let tuple = self.tuple(members, "key");
        for member in members {
            let nullable = self
                .owner
                .property(&member.text)
                .is_some_and(|p| p.nullable);
            if nullable {
                let message = format!("`{}` may be null and cannot be part of a key", member.text);
                self.report(
                    Diagnostic::error(Code::S112, message)
                        .at(member.span)
                        .hint("remove the `?` of its type"),
                );
            }
            let defaulted = self
                .owner
                .property(&member.text)
                .is_some_and(|p| p.default.is_some());
            if defaulted {
                let message = format!(
                    "`{}` is part of a key and cannot have a default",
                    member.text
                );
                self.report(Diagnostic::error(Code::S126, message).at(member.span));
            }
        }
        self.owner.key.get_or_insert(tuple);
    }

    fn unique(&mut self, members: &[Name]) {
        let tuple = self.tuple(members, "unique");
        self.owner.uniques.insert(tuple);
    }

    fn index(&mut self, members: &[Name]) {
        for member in members {
            // The ends of an edge are always indexed.
            if self.end(&member.text).is_some() {
                continue;
            }
            let Some(data_type) = self.data_type(member) else {
                continue;
            };
            if data_type.index_kinds().is_empty() {
                self.impossible(member, &data_type, "index");
            }
            self.owner.indexes.insert(member.text.clone());
        }
    }

    fn tuple(&mut self, members: &[Name], what: &str) -> BTreeSet<DeclaredMember> {
        let mut tuple = BTreeSet::new();
        for member in members {
            if let Some(end) = self.end(&member.text) {
                tuple.insert(end);
                continue;
            }
            let Some(data_type) = self.data_type(member) else {
                continue;
            };
            if !data_type.is_comparable() {
                self.impossible(member, &data_type, what);
            }
            tuple.insert(DeclaredMember::Property(member.text.clone()));
        }
        tuple
    }

    fn range(&mut self, property: &Name, low: Option<&Value>, high: Option<&Value>, span: Span) {
        let Some(data_type) = self.data_type(property) else {
            return;
        };
        if !matches!(data_type, DataType::Scalar(s) if s.is_number()) {
            let message = format!(
                "`@range` needs a number, `{}` is {data_type}",
                property.text
            );
            self.report(Diagnostic::error(Code::S115, message).at(property.span));
        }
        if let (Some(low), Some(high)) = (low, high)
            && compare(low, high).is_some_and(std::cmp::Ordering::is_gt)
        {
            self.report(
                Diagnostic::error(Code::S118, "the lower bound is above the upper one").at(span),
            );
        }
        self.owner.ranges.push(DeclaredRange {
            property: property.text.clone(),
            low: low.cloned(),
            high: high.cloned(),
        });
    }

    fn pattern(&mut self, property: &Name, written: &str, span: Span) {
        let Some(data_type) = self.data_type(property) else {
            return;
        };
        if data_type != DataType::Scalar(Scalar::String) {
            let message = format!(
                "`@check` needs a String, `{}` is {data_type}",
                property.text
            );
            self.report(Diagnostic::error(Code::S116, message).at(property.span));
            return;
        }
        if *self.patterns > pattern::MOST {
            return;
        }
        let compiled = pattern::compile(written);
        *self.patterns += compiled.cost;
        if *self.patterns > pattern::MOST {
            let message = "the patterns of this schema come to more than a server takes";
            self.report(Diagnostic::error(Code::P020, message).at(span));
        } else if let Some(reason) = compiled.error {
            self.report(
                Diagnostic::error(Code::S117, format!("invalid regular expression: {reason}"))
                    .at(span)
                    .hint("look-around and back-references are not possible"),
            );
        }
        self.owner
            .checks
            .insert((property.text.clone(), written.to_owned()));
    }

    /// `src` and `dst` of an edge.
    fn end(&self, name: &str) -> Option<DeclaredMember> {
        match name {
            "src" if self.owner.kind == TypeKind::Edge => Some(DeclaredMember::Src),
            "dst" if self.owner.kind == TypeKind::Edge => Some(DeclaredMember::Dst),
            _ => None,
        }
    }

    fn data_type(&mut self, name: &Name) -> Option<DataType> {
        if let Some(property) = self.owner.property(&name.text) {
            return Some(property.data_type.clone());
        }
        let message = format!("`{}` has no property `{}`", self.owner.name.text, name.text);
        let known = self.owner.properties.iter().map(|p| p.name.text.as_str());
        let diagnostic = suggest(
            Diagnostic::error(Code::S110, message).at(name.span),
            &name.text,
            known,
        );
        let diagnostic = match name.text.as_str() {
            "from" | "to" if self.owner.kind == TypeKind::Edge => {
                diagnostic.hint("the ends of an edge are called `src` and `dst` here")
            }
            _ => diagnostic,
        };
        self.report(diagnostic);
        None
    }

    fn impossible(&mut self, member: &Name, data_type: &DataType, what: &str) {
        let message = format!(
            "`@{what}` is not possible on `{}`, which is {data_type}",
            member.text
        );
        self.report(Diagnostic::error(Code::S113, message).at(member.span));
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }
}
