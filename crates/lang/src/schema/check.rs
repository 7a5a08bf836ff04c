//! The syntax tree to declarations that make sense.

use std::collections::BTreeMap;

use super::annotations;
use super::ast;
use super::constraints;
use super::declared::{Declared, DeclaredProperty, DeclaredType, TypeKind};
use crate::diagnostic::{Code, Diagnostic};
use crate::schema::Cardinality;
use crate::syntax::{Name, closest};

/// Declarations with everything resolved that can be resolved without the accepted schema. Errors
/// and warnings are added to `diagnostics`; with errors among them the result is not to be used.
pub(super) fn check(schema: &ast::Schema, diagnostics: &mut Vec<Diagnostic>) -> Declared {
    Checker {
        schema,
        diagnostics,
        inherited: 0,
        patterns: 0,
    }
    .check()
}

struct Checker<'a> {
    schema: &'a ast::Schema,
    diagnostics: &'a mut Vec<Diagnostic>,
    /// About how many bytes interfaces have handed down.
    inherited: usize,
    /// What patterns have cost.
    patterns: usize,
}

/// What interfaces may hand down in one schema. Each implementer has its own copy of a property, so
/// it may be more than any multiple of the text.
const MOST_INHERITED: usize = 32 << 20;

type Interfaces = BTreeMap<String, DeclaredType>;

impl Checker<'_> {
    fn check(&mut self) -> Declared {
        let schema = self.schema;
        self.check_names();
        let mut interfaces = Interfaces::new();
        for interface in &schema.interfaces {
            let checked = self.interface(interface);
            interfaces
                .entry(checked.name.text.clone())
                .or_insert(checked);
        }
        let mut types: Vec<DeclaredType> = Vec::new();
        for node in &schema.nodes {
            types.push(self.node(node, &interfaces));
        }
        for edge in &schema.edges {
            types.push(self.edge(edge));
        }
        types.extend(interfaces.into_values());
        types.sort_by(|a, b| (a.kind, &a.name.text).cmp(&(b.kind, &b.name.text)));
        Declared { types }
    }

    /// Names within one namespace, and shadowed interfaces.
    fn check_names(&mut self) {
        let schema = self.schema;
        self.unique(schema.interfaces.iter().map(|i| &i.name), "interface");
        self.unique(schema.nodes.iter().map(|n| &n.name), "node type");
        self.unique(schema.edges.iter().map(|e| &e.name), "edge type");
        let mut folded: BTreeMap<String, &Name> = BTreeMap::new();
        for edge in &schema.edges {
            let first = *folded
                .entry(edge.name.text.to_ascii_lowercase())
                .or_insert(&edge.name);
            if first.text != edge.name.text {
                let message = format!(
                    "the edge names `{}` and `{}` are equal but for case",
                    first.text, edge.name.text
                );
                self.report(Diagnostic::error(Code::S103, message).at(edge.name.span));
            }
        }
        for node in &schema.nodes {
            if schema
                .interfaces
                .iter()
                .any(|i| i.name.text == node.name.text)
            {
                let message = format!(
                    "the node type `{0}` hides the interface `{0}` in queries",
                    node.name.text
                );
                self.report(Diagnostic::warning(Code::W510, message).at(node.name.span));
            }
        }
    }

    fn unique<'n>(&mut self, names: impl Iterator<Item = &'n Name>, what: &str) {
        let mut seen = BTreeMap::new();
        for name in names {
            if let Some(line) = seen.insert(&name.text, name.span.line) {
                let message = format!("the {what} `{}` is declared twice", name.text);
                self.report(
                    Diagnostic::error(Code::S101, message)
                        .at(name.span)
                        .hint(format!("the other declaration is in line {line}")),
                );
            }
        }
    }

    fn interface(&mut self, interface: &ast::Interface) -> DeclaredType {
        let mut checked = blank(TypeKind::Interface, &interface.name);
        checked.properties = self.properties(&interface.properties, TypeKind::Interface);
        for property in &checked.properties {
            self.embed(&checked, property);
        }
        constraints::of_interface(&checked, self.diagnostics);
        checked
    }

    fn node(&mut self, node: &ast::Node, interfaces: &Interfaces) -> DeclaredType {
        let mut checked = blank(TypeKind::Node, &node.name);
        annotations::of_type(&mut checked, &node.annotations, self.diagnostics);
        checked.properties = self.properties(&node.body.properties, TypeKind::Node);
        self.implement(&mut checked, &node.implements, interfaces);
        for property in &checked.properties {
            self.embed(&checked, property);
        }
        let written = &node.body.constraints;
        constraints::check(&mut checked, written, self.diagnostics, &mut self.patterns);
        checked
    }

    fn edge(&mut self, edge: &ast::Edge) -> DeclaredType {
        let mut checked = blank(TypeKind::Edge, &edge.name);
        annotations::of_type(&mut checked, &edge.annotations, self.diagnostics);
        for end in [&edge.from, &edge.to] {
            if !self.schema.nodes.iter().any(|n| n.name.text == end.text) {
                let diagnostic =
                    Diagnostic::error(Code::S104, format!("unknown node type `{}`", end.text))
                        .at(end.span);
                let is_interface = self
                    .schema
                    .interfaces
                    .iter()
                    .any(|i| i.name.text == end.text);
                let nodes = self.schema.nodes.iter().map(|n| n.name.text.as_str());
                let diagnostic = if is_interface {
                    diagnostic.hint("an interface cannot be the end of an edge")
                } else {
                    suggest(diagnostic, &end.text, nodes)
                };
                self.report(diagnostic);
            }
        }
        checked.ends = Some((edge.from.text.clone(), edge.to.text.clone()));
        checked.properties = self.properties(&edge.body.properties, TypeKind::Edge);
        let written = &edge.body.constraints;
        constraints::check(&mut checked, written, self.diagnostics, &mut self.patterns);
        checked
    }

    fn properties(&mut self, written: &[ast::Property], owner: TypeKind) -> Vec<DeclaredProperty> {
        let mut properties: Vec<DeclaredProperty> = Vec::new();
        for property in written {
            let name = &property.name;
            if is_reserved(&name.text, owner) {
                let message = format!("`{}` is a reserved name", name.text);
                self.report(
                    Diagnostic::error(Code::S108, message)
                        .at(name.span)
                        .hint("give the property another name"),
                );
            }
            if properties.iter().any(|p| p.name.text == name.text) {
                let message = format!("the property `{}` is declared twice", name.text);
                self.report(Diagnostic::error(Code::S102, message).at(name.span));
                continue;
            }
            properties.push(annotations::property(property, owner, self.diagnostics));
        }
        properties
    }

    /// Checks declared properties against those of the interfaces and adds the missing ones.
    fn implement(&mut self, node: &mut DeclaredType, implements: &[Name], interfaces: &Interfaces) {
        let declared = node.properties.len();
        for name in implements {
            let Some(interface) = interfaces.get(&name.text) else {
                let diagnostic =
                    Diagnostic::error(Code::S105, format!("unknown interface `{}`", name.text))
                        .at(name.span);
                let known = interfaces.keys().map(String::as_str);
                self.report(suggest(diagnostic, &name.text, known));
                continue;
            };
            if !node.implements.insert(name.text.clone()) {
                continue;
            }
            for shared in &interface.properties {
                let own = node
                    .properties
                    .iter()
                    .position(|p| p.name.text == shared.name.text);
                let Some(own) = own else {
                    if self.inherited > MOST_INHERITED {
                        continue;
                    }
                    self.inherited += weight(shared);
                    if self.inherited > MOST_INHERITED {
                        let message = "the interfaces hand down more than a server takes";
                        self.report(Diagnostic::error(Code::P020, message).at(name.span).hint(
                            "split the schema, or shorten the enums and texts of interfaces",
                        ));
                        continue;
                    }
                    node.properties.push(DeclaredProperty {
                        // Where the node says that it has the property.
                        name: Name {
                            text: shared.name.text.clone(),
                            span: name.span,
                        },
                        ..shared.clone()
                    });
                    continue;
                };
                let own_is_inherited = own >= declared;
                let own = &node.properties[own];
                self.compare(node, own, own_is_inherited, shared, name);
            }
        }
    }

    fn compare(
        &mut self,
        node: &DeclaredType,
        own: &DeclaredProperty,
        own_is_inherited: bool,
        shared: &DeclaredProperty,
        interface: &Name,
    ) {
        let property = &shared.name.text;
        if own.data_type != shared.data_type || own.nullable != shared.nullable {
            let message = format!(
                "`{property}` is {} in the interface `{}`, but {} in `{}`",
                written(shared),
                interface.text,
                written(own),
                node.name.text,
            );
            self.report(Diagnostic::error(Code::S106, message).at(own.name.span));
        } else if own_is_inherited && !same_annotations(own, shared) {
            let message = format!(
                "interfaces of `{}` disagree on the annotations of `{property}`",
                node.name.text
            );
            self.report(
                Diagnostic::error(Code::S107, message)
                    .at(interface.span)
                    .hint(format!(
                        "declare `{property}` in `{}` itself",
                        node.name.text
                    )),
            );
        }
    }

    /// The source of an embedding is a String property of the same type.
    fn embed(&mut self, owner: &DeclaredType, property: &DeclaredProperty) {
        let Some(embed) = &property.embed else {
            return;
        };
        let source = owner.property(&embed.source);
        let is_text =
            source.is_some_and(|p| p.data_type == super::DataType::Scalar(super::Scalar::String));
        if !is_text {
            let message = if source.is_none() {
                format!("`{}` has no property `{}`", owner.name.text, embed.source)
            } else {
                format!("`{}` is not a String", embed.source)
            };
            self.report(
                Diagnostic::error(Code::S120, message)
                    .at(embed.span)
                    .hint("`@embed(p)` names the String property that the vector represents"),
            );
        }
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }
}

pub(crate) fn did_you_mean<'a>(
    diagnostic: Diagnostic,
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    match closest(word, known) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None => diagnostic,
    }
}

/// What was probably meant, or, where there is little to choose from, all of it.
pub(crate) fn suggest<'a>(
    diagnostic: Diagnostic,
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    const FEW: usize = 8;
    let known: Vec<&str> = known.into_iter().collect();
    if known.is_empty() || known.len() > FEW || closest(word, known.iter().copied()).is_some() {
        return did_you_mean(diagnostic, word, known);
    }
    let quoted: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    let verb = if known.len() == 1 { "is" } else { "are" };
    diagnostic.hint(format!("there {verb} {}", quoted.join(", ")))
}

fn blank(kind: TypeKind, name: &Name) -> DeclaredType {
    DeclaredType {
        kind,
        name: name.clone(),
        rename_from: None,
        properties: Vec::new(),
        key: None,
        uniques: Default::default(),
        indexes: Default::default(),
        ranges: Vec::new(),
        checks: Default::default(),
        implements: Default::default(),
        ends: None,
        cardinality: Cardinality::default(),
        description: None,
        instruction: None,
        annotations: Vec::new(),
    }
}

fn is_reserved(name: &str, owner: TypeKind) -> bool {
    match name {
        "id"
        | "_rowid"
        | "_rowaddr"
        | "_rowoffset"
        | "_row_created_at_version"
        | "_row_last_updated_at_version" => true,
        "src" | "dst" | "from" | "to" => owner == TypeKind::Edge,
        _ => false,
    }
}

fn written(property: &DeclaredProperty) -> String {
    let mark = if property.nullable { "?" } else { "" };
    format!("{}{mark}", property.data_type)
}

/// About how many bytes a property takes.
fn weight(property: &DeclaredProperty) -> usize {
    let words = match &property.data_type {
        super::DataType::Enum(words) => words.iter().map(|w| w.len() + 32).sum(),
        _ => 0,
    };
    let default = match &property.default {
        Some(super::DefaultValue::Value(crate::Value::String(text))) => text.len(),
        _ => 0,
    };
    let annotations: usize = property
        .annotations
        .iter()
        .map(|a| 64 + a.name.len() + format!("{:?}{:?}", a.value, a.arguments).len())
        .sum();
    let description = property.description.as_ref().map_or(0, String::len);
    256 + property.name.text.len() + words + default + annotations + description
}

fn same_annotations(a: &DeclaredProperty, b: &DeclaredProperty) -> bool {
    let embed = |p: &DeclaredProperty| p.embed.clone().map(|e| (e.source, e.model));
    a.key.is_some() == b.key.is_some()
        && a.unique.is_some() == b.unique.is_some()
        && a.index.is_some() == b.index.is_some()
        && a.default == b.default
        && a.description == b.description
        && embed(a) == embed(b)
        && a.annotations == b.annotations
}
