//! Turns, as the database tier gives them.

use std::time::Duration;

use async_trait::async_trait;
use sf_daemon::NodeIdentity;
use sf_gateway::{CallClass, DbError, Gateway};
use sf_model::DaemonName;
use sf_protos::rollout::{EndRollRequest, TakeRollSlotRequest};
use sf_rollout::slots::{Slots, Turn};

/// The slots of the cluster.
pub(super) struct ClusterSlots {
    pub(super) gateway: Gateway,
    pub(super) identity: Option<NodeIdentity>,
    pub(super) slots: u32,
    pub(super) ignore_failures: bool,
}

impl ClusterSlots {
    fn node_uuid(&self) -> String {
        self.identity.as_ref().map(|identity| identity.uuid.to_string()).unwrap_or_default()
    }
}

#[async_trait]
impl Slots for ClusterSlots {
    async fn take(&self, daemon: DaemonName, target: &str, lease: Duration) -> Turn {
        let request = TakeRollSlotRequest {
            node_uuid: self.node_uuid(),
            daemon: daemon.to_string(),
            target: target.to_owned(),
            slots: self.slots,
            lease_seconds: u32::try_from(lease.as_secs()).unwrap_or(u32::MAX),
            ignore_failures: self.ignore_failures,
        };
        match self.gateway.call(CallClass::Interactive, request).await {
            Ok(reply) if reply.granted => Turn::Granted,
            Ok(reply) => match reply.failure {
                Some(failure) => Turn::Failed { node: failure.node, reason: failure.reason },
                None => Turn::Busy(reply.holders),
            },
            // A tier of an older release knows no turns; the first gateway has to be restarted by somebody.
            Err(DbError::GatewayTooOld { .. }) => Turn::Granted,
            Err(error) => Turn::Unreachable(error.to_string()),
        }
    }

    async fn end(&self, daemon: DaemonName, target: &str, failure: Option<&str>) -> Result<(), String> {
        let request = EndRollRequest {
            node_uuid: self.node_uuid(),
            daemon: daemon.to_string(),
            target: target.to_owned(),
            failure: failure.map(str::to_owned),
        };
        let told = self.gateway.call(CallClass::Interactive, request).await;
        told.map(|_| ()).map_err(|error| error.to_string())
    }
}
