//! A digest of what a schema says, whatever its order, comments and history.

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::{Catalog, EdgeType, Member, NodeType, Property, PropertyId, TypeBody, TypeId};

impl Catalog {
    /// SHA-256, hexadecimal, of the schema's meaning: equal for two sources that declare the same.
    /// Ids do not enter, so a schema has one digest whatever it was before.
    #[must_use]
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(self.normal_form().to_string()))
    }

    /// Names in place of ids; every list is sorted, and arrays stand for objects, so that the text
    /// does not depend on how a map keeps its members.
    fn normal_form(&self) -> Json {
        let interfaces: Vec<Json> = self
            .interfaces
            .iter()
            .map(|interface| {
                let properties = &interface.properties;
                let flags =
                    |ids: &[PropertyId]| sorted(ids.iter().map(|id| name_of(properties, *id)));
                json!([
                    interface.name,
                    normal_properties(properties),
                    flags(&interface.key),
                    flags(&interface.uniques),
                    flags(&interface.indexes),
                ])
            })
            .collect();
        let nodes: Vec<Json> = self.nodes.iter().map(|n| self.normal_node(n)).collect();
        let edges: Vec<Json> = self.edges.iter().map(|e| self.normal_edge(e)).collect();
        json!(["omnigraph schema 1", interfaces, nodes, edges])
    }

    fn normal_node(&self, node: &NodeType) -> Json {
        let interfaces = node.implements.iter().map(|id| {
            self.interface_by_id(*id)
                .map_or_else(String::new, |i| i.name.clone())
        });
        json!([normal_body(&node.body), sorted(interfaces)])
    }

    fn normal_edge(&self, edge: &EdgeType) -> Json {
        let node = |id: TypeId| self.node_by_id(id).map_or("", |n| n.name.as_str());
        json!([
            normal_body(&edge.body),
            node(edge.from),
            node(edge.to),
            edge.cardinality.min,
            edge.cardinality.max,
        ])
    }
}

fn normal_body(body: &TypeBody) -> Json {
    let properties = &body.properties;
    let tuple = |members: &Vec<Member>| sorted(members.iter().map(|m| member_name(properties, *m)));
    let mut ranges: Vec<Json> = body
        .ranges
        .iter()
        .map(|r| {
            json!([
                name_of(properties, r.property),
                format!("{:?} {:?}", r.low, r.high)
            ])
        })
        .collect();
    ranges.sort_by_key(Json::to_string);
    let mut checks: Vec<Json> = body
        .checks
        .iter()
        .map(|c| json!([name_of(properties, c.property), c.pattern]))
        .collect();
    checks.sort_by_key(Json::to_string);
    let mut uniques: Vec<Vec<String>> = body.uniques.iter().map(tuple).collect();
    uniques.sort();
    json!([
        body.name,
        normal_properties(properties),
        body.key.as_ref().map(tuple),
        uniques,
        sorted(body.indexes.iter().map(|id| name_of(properties, *id))),
        ranges,
        checks,
        body.description,
        body.instruction,
        format!("{:?}", body.annotations),
    ])
}

fn normal_properties(properties: &[Property]) -> Vec<Json> {
    let mut by_name: Vec<&Property> = properties.iter().collect();
    by_name.sort_by(|a, b| a.name.cmp(&b.name));
    by_name
        .into_iter()
        .map(|p| {
            let embed = p
                .embed
                .as_ref()
                .map(|e| (name_of(properties, e.source), e.model.clone()));
            json!([
                p.name,
                p.data_type.to_string(),
                p.nullable,
                p.default.as_ref().map(|d| format!("{d:?}")),
                embed,
                p.description,
                format!("{:?}", p.annotations),
            ])
        })
        .collect()
}

/// The name that a constraint gives the member.
pub(super) fn member_name(properties: &[Property], member: Member) -> String {
    match member {
        Member::Src => "src".to_owned(),
        Member::Dst => "dst".to_owned(),
        Member::Property(id) => name_of(properties, id),
    }
}

pub(super) fn name_of(properties: &[Property], id: PropertyId) -> String {
    properties
        .iter()
        .find(|p| p.id == id)
        .map_or_else(String::new, |p| p.name.clone())
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}
