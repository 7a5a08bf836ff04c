//! Addresses of resources: `graph.<id>`, `schema.<id>`, `query.<graph>.<name>`, `policy.<name>`,
//! `provider.embedding.<name>`.

/// The graph that a resource belongs to; `None` for those of the whole cluster.
pub(crate) fn graph_of(address: &str) -> Option<&str> {
    let mut parts = address.split('.');
    match parts.next() {
        Some("graph" | "schema" | "query") => parts.next(),
        _ => None,
    }
}

/// `graph`, `schema`, `query`, `policy` or `provider`.
pub(crate) fn kind_of(address: &str) -> &str {
    address.split('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_graphs_and_what_they_have_belong_to_one() {
        assert_eq!(graph_of("graph.a"), Some("a"));
        assert_eq!(graph_of("query.a.b"), Some("a"));
        assert_eq!(graph_of("provider.embedding.a"), None);
        assert_eq!(graph_of("policy.a"), None);
        assert_eq!(kind_of("provider.embedding.a"), "provider");
    }
}
