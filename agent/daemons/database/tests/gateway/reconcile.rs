//! A comparison of the ledger whose caller goes away in the middle.

use std::time::Duration;

use sf_daemon_database::testing::until;
use sf_gateway::CallClass;
use sf_protos::scheduler::ReconcileCapacityRequest;
use sf_store::sql::sql;

use crate::tier::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_does_not_cut_a_transaction() {
    let Some(world) = World::start().await else { return };
    let fence = world.lead().await;
    world
        .execute(
            "INSERT INTO namespace_claims (uuid, namespace, limit_cpus, limit_memory_mb, limit_disk_gb, \
             coverage_state, expires_at, created_at, updated_at) VALUES (UUID(), 'n', 1, 1, 1, 'active', \
             UTC_TIMESTAMP(6) - INTERVAL 1 HOUR, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
        )
        .await;
    // The first transaction of the pass expires the claim, and waits for it.
    let mut holder = world.database.conn().await;
    for statement in ["START TRANSACTION", "SELECT 1 AS value FROM namespace_claims FOR UPDATE"] {
        sql(statement).run(&mut holder).await.unwrap();
    }
    let client = world.client("cluster");
    let request = ReconcileCapacityRequest { context: world.signed(&fence) };
    let call = tokio::spawn(async move { client.call(CallClass::Bulk, request).await });
    world.database.until_lock_wait().await;
    call.abort();
    assert!(call.await.is_err_and(|end| end.is_cancelled()));
    // Time for the end of the call to reach the gateway, which would drop what it has not put on a task of its own.
    tokio::time::sleep(Duration::from_secs(1)).await;
    sql("COMMIT").run(&mut holder).await.unwrap();
    until("the claim has expired", async || {
        world.count("namespace_claims WHERE coverage_state = 'expired'").await == 1
    })
    .await;
}
