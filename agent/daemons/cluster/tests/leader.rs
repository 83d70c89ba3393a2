//! Two candidates, one leader: it works, hands over when it ends, and is replaced when its lease is taken.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may fail loudly"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use sf_config::{ClusterConfig, NodeConfig};
use sf_daemon::{ClusterConfigHandle, DaemonContext, NodeIdentity};
use sf_daemon_database::{Gateway as Tier, GatewayParts, Server};
use sf_events::{Recorder, Spool, SpoolOptions};
use sf_gateway::{Caller, Gateway, GatewayOptions};
use sf_model::{DaemonName, IncarnationId, NodeId};
use sf_runtime::{Liveness, Shutdown, StatusLine};
use sf_store::Settings;
use sf_store::conn::Pools;
use sf_store::sql::sql;
use sf_store::testing::TestDatabase;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Standbys look every five seconds; tasks are spread over their periods.
const SOON: Duration = Duration::from_secs(60);

struct Candidate {
    context: DaemonContext,
    running: Option<JoinHandle<()>>,
    _directory: TempDir,
}

impl Candidate {
    fn start(port: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        let config = NodeConfig::from_pairs(&[
            ("node_name", "n1"),
            ("node_mesh_ip", "127.0.0.1"),
            ("mariadb_gateway_hosts", "127.0.0.1"),
            ("storage_path", path),
            ("run_path", path),
        ]);
        let config = Arc::new(config.unwrap());
        let node = NodeIdentity { uuid: NodeId::random(), name: format!("n-{}", NodeId::random()) };
        let caller =
            Caller { daemon: "cluster".into(), node: node.uuid.to_string(), version: "0.1.0".into() };
        let endpoints = vec![("127.0.0.1".to_owned(), port)];
        let spool = Spool::open(SpoolOptions::for_daemon(&config, "cluster")).unwrap();
        let (cluster, _) = ClusterConfig::from_texts([]).unwrap();
        let context = DaemonContext {
            name: DaemonName::Cluster,
            events: Recorder::new(spool, &node.name, "sf-cluster"),
            node,
            config,
            cluster: ClusterConfigHandle::new(cluster),
            gateway: Gateway::new(GatewayOptions { endpoints, caller }).unwrap(),
            shutdown: Shutdown::new(Duration::from_secs(5)),
            liveness: Liveness::new(),
            status: StatusLine::new("sf-cluster"),
            incarnation: IncarnationId::random(),
        };
        let daemon = context.clone();
        let running = tokio::spawn(async move {
            let Ok(()) = sf_daemon_cluster::run(daemon).await;
        });
        Self { context, running: Some(running), _directory: directory }
    }

    async fn end(&mut self) {
        self.context.shutdown.request();
        self.running.take().unwrap().await.unwrap();
    }
}

async fn tier(database: &TestDatabase) -> (u16, Shutdown) {
    let (cluster, _) = ClusterConfig::from_texts([]).unwrap();
    let tier = Tier::new(GatewayParts {
        pools: Pools::new(&database.options, 8, 2),
        concurrency: 16,
        settings: Settings { cluster, fqdn: "gateway.test".into() },
    });
    let address = "127.0.0.1:0".parse().unwrap();
    let server = Server::bind(tier, address, "gateway.test", Duration::from_millis(100)).await.unwrap();
    let port = server.address().unwrap().port();
    let shutdown = Shutdown::new(Duration::ZERO);
    let serving = server.serve(shutdown.clone(), Liveness::new(), StatusLine::new("sf-database"));
    tokio::spawn(async move { serving.await.unwrap() });
    (port, shutdown)
}

async fn holder(database: &TestDatabase) -> Option<String> {
    let query =
        "SELECT CAST(incarnation AS CHAR) AS value FROM cluster_locks WHERE expires_at > UTC_TIMESTAMP(6)";
    sql(query).value(&mut database.conn().await).await.unwrap()
}

async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !look().await {
        assert!(began.elapsed() < SOON, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_works_and_hands_over() {
    let Some(database) = TestDatabase::start().await else { return };
    let (port, tier_shutdown) = tier(&database).await;
    let mut candidates = [Candidate::start(port), Candidate::start(port)];
    until("somebody leads", async || holder(&database).await.is_some()).await;
    let first = holder(&database).await.unwrap();
    let leads = |candidate: &Candidate, who: &str| candidate.context.incarnation.to_string() == who;
    assert!(candidates.iter().any(|candidate| leads(candidate, &first)));
    until("maintenance runs", async || {
        let done =
            "SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM maintenance_runs WHERE last_success IS NOT NULL";
        sql(done).value::<u64>(&mut database.conn().await).await.unwrap().unwrap() > 0
    })
    .await;

    let ending = usize::from(!leads(&candidates[0], &first));
    candidates[ending].end().await;
    until("the other one leads", async || holder(&database).await.is_some_and(|who| who != first)).await;
    let second = holder(&database).await.unwrap();
    assert!(leads(&candidates[1 - ending], &second));

    // Somebody took the lock over while the leader was paused: it finds out by its fence and steps down.
    sql("UPDATE cluster_locks SET incarnation = ?, fence = fence + 100, expires_at = UTC_TIMESTAMP(6) + INTERVAL 1 DAY")
        .bind(IncarnationId::random())
        .run(&mut database.conn().await)
        .await
        .unwrap();
    let status = &candidates[1 - ending].context.status;
    until("the leader steps down", async || status.text().contains("standing by")).await;
    let failed =
        "SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM maintenance_runs WHERE consecutive_failures > 0";
    let failed: Option<u64> = sql(failed).value(&mut database.conn().await).await.unwrap();
    assert_eq!(failed, Some(0), "no task failed");
    candidates[1 - ending].end().await;
    tier_shutdown.request();
}
