//! Policy bundles with their sources, as they are declared or applied: for tools.

use std::collections::BTreeMap;

use omnigraph_proto::common::v1::Diagnostic;
use omnigraph_proto::control::v1::{ConfigBundle, PolicyBundle};

use crate::catalog::BlobKind;
use crate::declared::Declared;
use crate::error::{Error, Result};
use crate::ledger::{Content, PolicyContent};
use crate::plane::ControlPlane;

/// The bundles of a directory that have no errors, and the findings about policies and
/// `cluster.yaml`; schemas and queries are not what is asked about.
pub fn declared(bundle: &ConfigBundle) -> (Vec<PolicyBundle>, Vec<Diagnostic>) {
    let declared = Declared::of(bundle);
    let policies = declared.policies.into_values().map(|policy| PolicyBundle {
        name: policy.name,
        format: policy.format.name().to_owned(),
        source: policy.text,
        groups_source: policy.groups.unwrap_or_default(),
        applies_to: policy.applies_to.into_iter().collect(),
    });
    let ours = |found: &Diagnostic| found.code.starts_with('C');
    let findings = declared.findings.into_iter().filter(ours).collect();
    (policies.collect(), findings)
}

impl ControlPlane {
    /// The sources of the policies of a revision.
    pub(crate) async fn policy_sources(&self, content: &Content) -> Result<Vec<PolicyBundle>> {
        let policies: &BTreeMap<String, PolicyContent> = &content.policies;
        let mut found = Vec::with_capacity(policies.len());
        for (name, policy) in policies {
            let groups = match &policy.groups {
                None => String::new(),
                Some(digest) => self.text(digest, BlobKind::Policy).await?,
            };
            found.push(PolicyBundle {
                name: name.clone(),
                format: policy.format.clone(),
                source: self.text(&policy.text, policy.kind()).await?,
                groups_source: groups,
                applies_to: policy.applies_to.iter().flatten().cloned().collect(),
            });
        }
        Ok(found)
    }

    /// Content of the catalog as text.
    pub(crate) async fn text(
        &self,
        digest: &crate::digest::Digest,
        kind: BlobKind,
    ) -> Result<String> {
        let bytes = self.shared().catalog.get(digest, kind).await?;
        String::from_utf8(bytes.into())
            .map_err(|_| Error::corrupt(format!("catalog content {digest} is no text")))
    }
}
