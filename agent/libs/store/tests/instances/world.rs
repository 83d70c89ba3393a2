//! Nodes and requests for the tests of this program.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use sf_model::affinity::Affinity;
use sf_model::{IncarnationId, InstanceId, NodeId};
use sf_protos::nodes::{DaemonConditions, NodeMetrics, ReportDaemonStateRequest};
use sf_scheduler::Amounts;
use sf_store::capacity::{self, Admission, Refusal};
use sf_store::sql::sql;
use sf_store::testing::{TestDatabase, settings};
use sf_store::{Conn, Deadline, Settings, StoreError, StoreResult, TxContext, transaction};
use tokio::sync::Semaphore;

/// A database with a few nodes.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) db: TestDatabase,
    pub(crate) settings: Arc<Settings>,
    /// As the gateway's admission: callers wait here and not for a session, which has a limit.
    places: Arc<Semaphore>,
}

pub(crate) const CLUSTER: &str = "5f0c7c1e-0000-4000-8000-00000000c1c1";

impl World {
    /// None where no MariaDB is installed.
    pub(crate) async fn start(keys: &[(&str, &str)]) -> Option<Self> {
        let db = TestDatabase::start().await?;
        let mut all = vec![
            ("cluster_id", CLUSTER),
            ("cpu_overcommit_ratio", "1.0"),
            ("scheduler_disk_overcommit", "1.0"),
        ];
        all.extend(keys);
        Some(Self { db, settings: settings(&all), places: Arc::new(Semaphore::new(16)) })
    }

    /// Runs `work` as one call does: one transaction with its events, retried on conflicts.
    pub(crate) async fn run<T, F>(&self, work: F) -> StoreResult<T>
    where
        F: for<'c> Fn(&'c mut Conn, &'c TxContext) -> BoxFuture<'c, StoreResult<T>> + Send + Sync + 'static,
        T: Send + 'static,
    {
        let _place = self.places.acquire().await.unwrap();
        let ctx = Arc::new(TxContext::internal(self.settings.clone(), "test"));
        let work = Arc::new(work);
        transaction(&self.db.pool, Deadline::after(Duration::from_secs(30)), move |conn| {
            let (ctx, work) = (ctx.clone(), work.clone());
            Box::pin(async move {
                ctx.begin_attempt();
                let value = work(conn, &ctx).await?;
                sf_store::events::insert(conn, &ctx.take_events()).await?;
                Ok(value)
            })
        })
        .await
    }

    /// A healthy hypervisor that can be promised `limit`.
    pub(crate) async fn node(&self, name: &str, limit: Amounts) -> NodeId {
        let node = NodeId::random();
        let name = name.to_owned();
        self.run(move |conn, ctx| {
            let name = name.clone();
            Box::pin(async move {
                sql("INSERT INTO nodes (uuid, fqdn, live_fqdn, mesh_ip, is_hypervisor, `release`, state, \
                     state_changed_at, created_at, version) VALUES (?, ?, ?, '127.0.0.1', TRUE, '0.1', 'created', \
                     UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 1)")
                .bind(node)
                .bind(&name)
                .bind(&name)
                .run(conn)
                .await?;
                capacity::publish_limits(conn, node, &metrics(limit), &ctx.settings.cluster).await
            })
        })
        .await
        .unwrap();
        node
    }

    /// Publishes again, with other figures.
    pub(crate) async fn publish(&self, node: NodeId, metrics: NodeMetrics) {
        self.run(move |conn, ctx| {
            let metrics = metrics.clone();
            Box::pin(
                async move { capacity::publish_limits(conn, node, &metrics, &ctx.settings.cluster).await },
            )
        })
        .await
        .unwrap();
    }

    /// What `sf-net` of a node says of itself; without conditions as when it starts.
    pub(crate) async fn report_conditions(
        &self,
        node: NodeId,
        conditions: Option<&[&str]>,
    ) -> StoreResult<()> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let request = ReportDaemonStateRequest {
            node_uuid: node.to_string(),
            daemon: "net".into(),
            state: "running".into(),
            incarnation: IncarnationId::random().to_string(),
            conditions: conditions.map(|given| DaemonConditions { names: names(given) }),
            ..ReportDaemonStateRequest::default()
        };
        self.run(move |conn, _| {
            let request = request.clone();
            Box::pin(async move { sf_store::nodes::report_daemon(conn, &request).await.map(drop) })
        })
        .await
    }

    /// A statement without interest in its result.
    pub(crate) async fn execute(&self, text: &str) {
        let mut conn = self.db.conn().await;
        sql(text).run(&mut conn).await.unwrap();
    }

    /// One number.
    pub(crate) async fn number(&self, text: &str) -> i64 {
        let mut conn = self.db.conn().await;
        sql(format!("SELECT CAST(({text}) AS SIGNED) AS value")).value(&mut conn).await.unwrap().unwrap_or(-1)
    }

    /// Admits one placement, with or without a lease.
    pub(crate) async fn admit(&self, wish: Wish) -> StoreResult<()> {
        self.run(move |conn, ctx| {
            let wish = wish.clone();
            Box::pin(async move {
                let admission = Admission {
                    owner: wish.owner,
                    node: wish.node,
                    namespace: "tenant",
                    amounts: wish.amounts,
                    networked: wish.networked,
                    tags: &wish.tags,
                    affinity: &wish.affinity,
                    request_hash: [7; 32],
                    requested_node: false,
                    lease: wish.lease,
                };
                let admitted = capacity::admit(conn, ctx, &admission).await?;
                capacity::charge(conn, ctx, &admitted).await
            })
        })
        .await
    }

    /// Releases a placement; false when there was none.
    pub(crate) async fn release(&self, owner: InstanceId) -> bool {
        self.run(move |conn, _| {
            Box::pin(async move {
                let Some(released) = capacity::release(conn, owner).await? else { return Ok(false) };
                capacity::give_back(conn, &released).await?;
                Ok(true)
            })
        })
        .await
        .unwrap()
    }

    /// Every counter equals the sum of the reservations.
    pub(crate) async fn assert_ledger_exact(&self) {
        for dimension in ["cpus", "memory_mb", "disk_gb"] {
            let wrong = format!(
                "SELECT COUNT(*) FROM node_capacity c WHERE c.used_{dimension} <> (SELECT COALESCE(SUM(r.{dimension}), 0) \
                 FROM placement_reservations r WHERE r.node_uuid = c.node_uuid)"
            );
            assert_eq!(self.number(&wrong).await, 0, "{dimension} of a node");
            let over =
                format!("SELECT COUNT(*) FROM node_capacity WHERE used_{dimension} > limit_{dimension}");
            assert_eq!(self.number(&over).await, 0, "{dimension} over its limit");
            let cluster = format!(
                "SELECT unclaimed_used_{dimension} - (SELECT COALESCE(SUM({dimension}), 0) FROM placement_reservations \
                 WHERE claim_uuid IS NULL) FROM cluster_capacity"
            );
            assert_eq!(self.number(&cluster).await, 0, "{dimension} of the cluster");
        }
        let instances = "SELECT COUNT(*) FROM node_capacity c WHERE c.used_instances <> (SELECT COUNT(*) \
             FROM placement_reservations r WHERE r.node_uuid = c.node_uuid)";
        assert_eq!(self.number(instances).await, 0, "instances of a node");
    }
}

/// One placement that is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) owner: InstanceId,
    pub(crate) node: NodeId,
    pub(crate) amounts: Amounts,
    pub(crate) networked: bool,
    pub(crate) tags: Vec<String>,
    pub(crate) affinity: Affinity,
    pub(crate) lease: Option<Duration>,
}

impl Wish {
    pub(crate) fn new(node: NodeId, amounts: Amounts) -> Self {
        Self {
            owner: InstanceId::random(),
            node,
            amounts,
            networked: false,
            tags: vec![],
            affinity: Affinity::default(),
            lease: None,
        }
    }
}

pub(crate) fn amounts(cpus: i64, memory_mb: i64, disk_gb: i64) -> Amounts {
    Amounts { cpus, memory_mb, disk_gb }
}

/// A publication from which exactly `limit` follows, with ratios of one.
pub(crate) fn metrics(limit: Amounts) -> NodeMetrics {
    let gib = 1_u64 << 30;
    NodeMetrics {
        cpu_threads: u32::try_from(limit.cpus).unwrap(),
        cpu_schedulable: u32::try_from(limit.cpus).unwrap(),
        cpu_max_per_instance: 255,
        memory_max_mb: u64::try_from(limit.memory_mb).unwrap(),
        memory_available_mb: u64::try_from(limit.memory_mb).unwrap(),
        disk_free_instances: u64::try_from(limit.disk_gb).unwrap() * gib,
        extra_json: "{}".into(),
        ..NodeMetrics::default()
    }
}

/// The stage at which an admission was refused.
pub(crate) fn refusal(result: &StoreResult<()>) -> Option<Refusal> {
    result.as_ref().err().and_then(Refusal::of)
}

/// Whether a result is a refusal because somebody holds a reservation of that owner already.
pub(crate) fn is_exists(result: &StoreResult<()>) -> bool {
    matches!(result, Err(StoreError::Exists { .. }))
}
