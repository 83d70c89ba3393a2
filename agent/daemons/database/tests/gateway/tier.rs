//! What the tests share: a tier, its clients, a node, a leader.

use std::time::Duration;

use sf_daemon_database::{Gateway as Tier, GatewayParts, Server};
use sf_gateway::{CallClass, Caller, DbError, Gateway, GatewayOptions};
use sf_model::{IncarnationId, NodeId};
use sf_protos::Rpc;
use sf_protos::common::{LockFence, MutationContext};
use sf_protos::locks::{AcquireLockRequest, LockHolder};
use sf_protos::nodes::{NodeMetrics, RegisterNodeRequest};
use sf_runtime::{Liveness, Shutdown, StatusLine};
use sf_store::sql::sql;
use sf_store::testing::{TestDatabase, settings};
use sf_store::{Settings, conn};
use tokio::task::JoinHandle;

/// One gateway of a tier.
pub(crate) struct OneGateway {
    pub(crate) port: u16,
    pub(crate) shutdown: Shutdown,
    pub(crate) serving: Option<JoinHandle<()>>,
}

impl OneGateway {
    pub(crate) async fn start(database: &TestDatabase) -> Self {
        let cluster = settings(&[]).cluster.clone();
        let tier = Tier::new(GatewayParts {
            pools: conn::Pools::new(&database.options, 8, 2),
            concurrency: 8,
            settings: Settings { cluster, fqdn: "gateway.test".to_owned() },
        });
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(tier, address, "gateway.test", Duration::from_secs(10)).await.unwrap();
        let port = server.address().unwrap().port();
        let shutdown = Shutdown::new(Duration::from_secs(10));
        let serving = server.serve(shutdown.clone(), Liveness::new(), StatusLine::new("sf-database"));
        let serving = Some(tokio::spawn(async move { serving.await.unwrap() }));
        Self { port, shutdown, serving }
    }

    pub(crate) fn client(&self, daemon: &str, node: NodeId) -> Gateway {
        client(&[self.port], daemon, node)
    }
}

impl Drop for OneGateway {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

/// A client of several gateways.
pub(crate) fn client(ports: &[u16], daemon: &str, node: NodeId) -> Gateway {
    let caller = Caller { daemon: daemon.to_owned(), node: node.to_string(), version: "0.1.0".to_owned() };
    let endpoints = ports.iter().map(|port| ("127.0.0.1".to_owned(), *port)).collect();
    Gateway::new(GatewayOptions { endpoints, caller }).unwrap()
}

/// A tier of one with a registered node.
pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) gateway: OneGateway,
    pub(crate) node: NodeId,
}

impl World {
    /// `None` where no MariaDB is installed.
    pub(crate) async fn start() -> Option<Self> {
        let database = TestDatabase::start().await?;
        let gateway = OneGateway::start(&database).await;
        let world = Self { database, gateway, node: NodeId::random() };
        world.call("resources", registration(world.node, "n1.test")).await.unwrap();
        Some(world)
    }

    pub(crate) fn client(&self, daemon: &str) -> Gateway {
        self.gateway.client(daemon, self.node)
    }

    /// One call as a daemon of the node.
    pub(crate) async fn call<R: Rpc>(&self, daemon: &str, request: R) -> Result<R::Reply, DbError> {
        self.call_as(self.node, daemon, request).await
    }

    /// The same as a daemon of some node.
    pub(crate) async fn call_as<R: Rpc>(
        &self,
        node: NodeId,
        daemon: &str,
        request: R,
    ) -> Result<R::Reply, DbError> {
        self.gateway.client(daemon, node).call(CallClass::Interactive, request).await
    }

    /// Takes the leader's lock.
    pub(crate) async fn lead(&self) -> LockFence {
        let holder = LockHolder {
            node: "n1.test".into(),
            daemon: "sf-cluster".into(),
            pid: 1,
            incarnation: IncarnationId::random().to_string(),
            operation: None,
        };
        let request = AcquireLockRequest { lock_name: "cluster".into(), holder: Some(holder) };
        let fence = self.call("cluster", request).await.unwrap().fence.unwrap();
        LockFence { lock_name: "cluster".into(), fence }
    }

    pub(crate) async fn count(&self, table: &str) -> u64 {
        let query = sql(format!("SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM {table}"));
        query.value(&mut self.database.conn().await).await.unwrap().unwrap()
    }

    pub(crate) async fn execute(&self, statement: &str) {
        sql(statement).run(&mut self.database.conn().await).await.unwrap();
    }

    /// A mutation context under the leader's fence.
    pub(crate) fn signed(&self, fence: &LockFence) -> Option<MutationContext> {
        Some(MutationContext { fence: Some(fence.clone()), ..self.client("cluster").mutation() })
    }
}

pub(crate) fn registration(node: NodeId, name: &str) -> RegisterNodeRequest {
    RegisterNodeRequest {
        context: None,
        node_uuid: node.to_string(),
        name: name.into(),
        mesh_ip: "10.0.0.1".into(),
        egress_ip: "10.0.0.1".into(),
        release: "0.1.0".into(),
        daemons: vec!["api".into(), "queues".into(), "net".into(), "resources".into()],
        is_hypervisor: true,
        carrier_eligible: true,
    }
}

pub(crate) fn metrics() -> NodeMetrics {
    NodeMetrics {
        cpu_threads: 8,
        cpu_schedulable: 6,
        cpu_max_per_instance: 8,
        memory_max_mb: 16_000,
        memory_available_mb: 12_000,
        memory_reserved_mb: 2_000,
        disk_free_instances: 200 << 30,
        disk_reservation_gb: 20.0,
        ..NodeMetrics::default()
    }
}
