//! The plan as it travels, with the cluster that it is for.

use omnigraph_proto::control::v1 as pb;

use crate::error::Result;
use crate::plane::ControlPlane;

impl ControlPlane {
    /// Plans, and says for which cluster and who leads it.
    pub(crate) async fn describe_plan(&self, request: pb::PlanRequest) -> Result<pb::PlanResponse> {
        let bundle = request.bundle.unwrap_or_default();
        let refresh = !request.no_refresh;
        let planned = self.plan_part(&bundle, &request.targets, refresh).await?;
        let state = self.shared().ledger.state().await?;
        let lease = match &state.leader {
            Some(leader) => Some(self.lease_of(leader).await),
            None => None,
        };
        let base = planned.base.as_ref();
        Ok(pb::PlanResponse {
            cluster_name: base
                .map(|base| base.content.cluster_name.clone())
                .unwrap_or_default(),
            storage_root: self.store().root_uri().to_owned(),
            lease,
            plan: Some(planned.plan),
        })
    }
}
