//! A server that falls silent in the middle of statements: whoever waits for it gives up, and serves again with it.

use std::time::{Duration, Instant};

use sf_daemon_database::testing::until;
use sf_gateway::{CallClass, DbError, Gateway};
use sf_model::{ClaimToken, IncarnationId, NodeId};
use sf_protos::nodes::GetNodeRequest;
use sf_protos::operations::{DequeueWorkReply, DequeueWorkRequest};
use sf_protos::scheduler::ReconcileCapacityRequest;
use sf_runtime::DEFAULT_SILENCE;
use sf_store::sql::sql;
use sf_store::testing::TestDatabase;
use tokio::task::JoinHandle;

use crate::outage::{own_server, signal};
use crate::tier::World;

/// With the reconciliation, as many calls as the gateway has places.
const POLLS: usize = 7;
/// What reads these is met in the middle of a statement when the server stops: polls and the look for work, the reading of
/// the cluster configuration, the reconciliation.
const LOCK: &str = "LOCK TABLES work_queue WRITE, cluster_config WRITE, namespace_claims WRITE";

fn poll(client: &Gateway, node: NodeId, wait_ms: u32) -> JoinHandle<Result<DequeueWorkReply, DbError>> {
    let request = DequeueWorkRequest {
        node_uuid: node.to_string(),
        daemon: "queues".into(),
        incarnation: IncarnationId::random().to_string(),
        claim_token: ClaimToken::random().to_string(),
        limit: 4,
        wait_ms,
    };
    let client = client.clone();
    tokio::spawn(async move { client.call(CallClass::Wait, request).await })
}

/// Statements that wait for one of the locked tables.
async fn stuck(database: &TestDatabase, table: &str) -> u64 {
    let query = "SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM information_schema.processlist \
         WHERE state = 'Waiting for table metadata lock' AND info LIKE ?";
    let count = sql(query).bind(format!("%{table}%")).value(&mut database.conn().await).await;
    count.unwrap().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_ever_for_a_server_that_fell_silent() {
    let Some(server) = own_server().await else { return };
    let world = World::over(TestDatabase::on(&server).await).await;
    let fence = world.lead().await;
    let reconcile = ReconcileCapacityRequest { context: world.signed(&fence) };
    world.call("cluster", reconcile.clone()).await.unwrap();
    let mut lock = world.database.conn().await;
    sql(LOCK).run(&mut lock).await.unwrap();
    let (queues, cluster) = (world.client("queues"), world.client("cluster"));
    until("the settings are being read", async || stuck(&world.database, "cluster_config").await > 0).await;
    let polls: Vec<_> = (0..POLLS).map(|_| poll(&queues, world.node, 20_000)).collect();
    let again = reconcile.clone();
    let reconciling = tokio::spawn(async move { cluster.call(CallClass::Bulk, again).await });
    until("every place is taken", async || {
        let waiting = stuck(&world.database, "work_queue").await;
        waiting > POLLS as u64 && stuck(&world.database, "namespace_claims").await > 0
    })
    .await;

    signal(server.pid().unwrap(), "STOP");
    let frozen = Instant::now();
    // A call that finds a place is told about the database, not about a lack of places.
    until("the places are free again", async || {
        let request = GetNodeRequest { reference: "unknown.test".into() };
        let outcome = world.client("api").call(CallClass::Once, request).await;
        matches!(outcome, Err(error) if error.to_string().contains("MariaDB cannot be reached"))
    })
    .await;
    while frozen.elapsed() < DEFAULT_SILENCE + Duration::from_secs(10) {
        let late = world.gateway.liveness.late();
        assert!(late.is_empty(), "loops that wait for the server: {late:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for poll in polls {
        assert!(matches!(poll.await.unwrap(), Err(DbError::DatabaseUnavailable { .. })));
    }
    assert!(matches!(reconciling.await.unwrap(), Err(DbError::DatabaseUnavailable { .. })));

    signal(server.pid().unwrap(), "CONT");
    drop(lock);
    until("polling again", async || poll(&queues, world.node, 0).await.unwrap().is_ok()).await;
    // The leadership of before lapsed meanwhile, or will.
    until("reconciling again", async || {
        let Some(fence) = world.try_to_lead().await else { return false };
        let reconcile = ReconcileCapacityRequest { context: world.signed(&fence) };
        world.call("cluster", reconcile).await.is_ok()
    })
    .await;
    assert!(world.gateway.liveness.late().is_empty());
}
