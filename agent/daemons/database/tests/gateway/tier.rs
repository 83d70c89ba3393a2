//! What the tests share: a tier, its clients, a node, a leader.

use sf_daemon_database::testing::{self, LocalTier};
use sf_gateway::{CallClass, DbError, Gateway};
use sf_model::{IncarnationId, NodeId};
use sf_protos::Rpc;
use sf_protos::common::{LockFence, MutationContext};
use sf_protos::locks::{AcquireLockRequest, LockHolder};
use sf_protos::nodes::RegisterNodeRequest;
use sf_store::sql::sql;
use sf_store::testing::TestDatabase;

/// A tier of one with a registered node.
pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) gateway: LocalTier,
    pub(crate) node: NodeId,
}

impl World {
    /// `None` where no MariaDB is installed.
    pub(crate) async fn start() -> Option<Self> {
        Some(Self::over(TestDatabase::start().await?).await)
    }

    /// Over a database of the caller's choice.
    pub(crate) async fn over(database: TestDatabase) -> Self {
        let gateway = LocalTier::start(&database).await;
        let world = Self { database, gateway, node: NodeId::random() };
        world.call("resources", registration(world.node, "n1.test")).await.unwrap();
        world
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
        self.try_to_lead().await.unwrap()
    }

    /// `None` while another incarnation leads, or nobody can be asked.
    pub(crate) async fn try_to_lead(&self) -> Option<LockFence> {
        let holder = LockHolder {
            node: "n1.test".into(),
            daemon: "sf-cluster".into(),
            pid: 1,
            incarnation: IncarnationId::random().to_string(),
            operation: None,
        };
        let request = AcquireLockRequest { lock_name: "cluster".into(), holder: Some(holder) };
        let fence = self.call("cluster", request).await.ok()?.fence?;
        Some(LockFence { lock_name: "cluster".into(), fence })
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
    testing::registration(node, name, &["api", "queues", "net", "resources"])
}
