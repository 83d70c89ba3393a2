//! Which mesh address belongs to which node, so that a token works only from where it was meant to be used.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sf_gateway::{CallClass, DbError};
use sf_model::NodeId;
use sf_protos::nodes::ListNodesRequest;
use sf_runtime::{Loop, Pass};

use crate::service::Service;

const REFRESH: Duration = Duration::from_secs(60);

/// Mesh addresses by node; the last complete list.
#[derive(Default)]
pub(crate) struct PeerTable(ArcSwap<HashMap<NodeId, IpAddr>>);

impl PeerTable {
    /// The mesh address of a node.
    pub(crate) fn address(&self, node: NodeId) -> Option<IpAddr> {
        self.0.load().get(&node).copied()
    }

    /// Every mesh address.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.0.load().values().copied().collect()
    }

    fn replace(&self, table: HashMap<NodeId, IpAddr>) {
        self.0.store(Arc::new(table));
    }
}

impl Service {
    /// Whether a connection from `peer` may speak for `node`. Connections from this host itself may: several nodes can
    /// share a host.
    pub(super) fn speaks_for(&self, peer: IpAddr, node: NodeId) -> bool {
        let peer = peer.to_canonical();
        let own = self.ctx.config.node_mesh_ip;
        peer == own || (peer.is_loopback() && node == self.node()) || self.peers.address(node) == Some(peer)
    }
}

/// Keeps the table fresh until shutdown.
pub(crate) async fn refresh(service: Arc<Service>) {
    let (shutdown, liveness) = (service.ctx.shutdown.clone(), service.ctx.liveness.clone());
    let pass = move |_| {
        let service = Arc::clone(&service);
        async move {
            let list = |page| ListNodesRequest { page: Some(page), include_deleted: false };
            let nodes = service
                .ctx
                .gateway
                .collect_all(CallClass::Background, list, |reply| (reply.nodes, reply.page))
                .await?;
            let known = nodes
                .into_vec()
                .into_iter()
                .filter_map(|node| Some((node.uuid.parse().ok()?, node.mesh_ip.parse().ok()?)));
            service.peers.replace(known.collect());
            Ok::<_, DbError>(Pass::Done)
        }
    };
    Loop::every("peer-table", REFRESH).run(shutdown, liveness, pass).await;
}
