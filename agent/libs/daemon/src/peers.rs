//! Which mesh address belongs to which node, so that a caller can be held to the node it names (`security.md` §11.2).
//!
//! Without certificates a name is a claim. The address it comes from is the least that has to fit it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sf_gateway::{CallClass, DbError, Gateway};
use sf_model::NodeId;
use sf_protos::nodes::{GetNodeRequest, ListNodesRequest, Node};
use sf_runtime::{Liveness, Loop, Pass, Shutdown};

const REFRESH: Duration = Duration::from_secs(60);

/// The nodes of the cluster by address: the last complete list. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    table: Arc<ArcSwap<HashMap<NodeId, Addresses>>>,
    gateway: Gateway,
    own: NodeId,
    own_address: IpAddr,
}

/// Where a node is.
#[derive(Debug, Clone, Copy)]
struct Addresses {
    mesh: IpAddr,
    egress: Option<IpAddr>,
}

impl Addresses {
    fn of(node: &Node) -> Option<Self> {
        Some(Self { mesh: node.mesh_ip.parse().ok()?, egress: node.egress_ip.parse().ok() })
    }
}

impl Peers {
    /// A table that knows nobody yet but the node itself.
    pub fn new(gateway: Gateway, own: NodeId, own_address: IpAddr) -> Self {
        Self { table: Arc::default(), gateway, own, own_address }
    }

    /// Every address of a node, in the mesh and towards the outside. Empty until the list was read once.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.table.load().values().flat_map(|node| [Some(node.mesh), node.egress]).flatten().collect()
    }

    /// Whether a connection from `peer` may speak for `node`. One from this host itself may: several nodes can share a
    /// host. A node that is not known there is asked for: it may have come, or moved, since the list was read.
    pub async fn speaks_for(&self, peer: IpAddr, node: NodeId) -> bool {
        if self.is_known(peer, node) {
            return true;
        }
        self.learn(node).await;
        self.is_known(peer, node)
    }

    fn is_known(&self, peer: IpAddr, node: NodeId) -> bool {
        let peer = peer.to_canonical();
        peer == self.own_address
            || (peer.is_loopback() && node == self.own)
            || self.table.load().get(&node).is_some_and(|known| known.mesh == peer)
    }

    /// Asks the database where one node is. The table stays as it is when nobody answers.
    async fn learn(&self, node: NodeId) {
        let request = GetNodeRequest { reference: node.to_string() };
        match self.gateway.call(CallClass::Lease, request).await {
            Ok(reply) => {
                if let Some(addresses) = Addresses::of(&reply.node.unwrap_or_default()) {
                    self.table.rcu(|known| {
                        let mut table = HashMap::clone(known);
                        table.insert(node, addresses);
                        table
                    });
                }
            }
            Err(error) => tracing::info!(%node, %error, "the address of a node cannot be learned"),
        }
    }

    /// Keeps the table fresh until shutdown.
    pub async fn refresh(self, shutdown: Shutdown, liveness: Liveness) {
        let pass = move |_| {
            let peers = self.clone();
            async move {
                let list = |page| ListNodesRequest { page: Some(page), include_deleted: false };
                let nodes = peers
                    .gateway
                    .collect_all(CallClass::Background, list, |reply| (reply.nodes, reply.page))
                    .await?;
                let known = nodes
                    .into_vec()
                    .into_iter()
                    .filter_map(|node| Some((node.uuid.parse().ok()?, Addresses::of(&node)?)));
                peers.table.store(Arc::new(known.collect()));
                Ok::<_, DbError>(Pass::Done)
            }
        };
        Loop::every("peer-table", REFRESH).run(shutdown, liveness, pass).await;
    }
}
