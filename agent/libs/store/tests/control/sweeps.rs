//! Sweeps: an item that makes no sense stops nobody, what two of them see counts once, and none looks at a whole table.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use sf_model::{ArtifactId, InstanceId, NodeId, OperationId};
use sf_store::operations::{self, EnqueueOperation, Kind};
use sf_store::testing::{TestDatabase, settings};
use sf_store::{TxContext, events};
use uuid::Uuid;

use super::events::{count, leader};
use super::operations::{after, check_invariants, delete, enqueue, fail, fetch, number, reap, state, update};

/// Arguments as a newer release might write them.
async fn of_tomorrow(db: &TestDatabase, id: OperationId) {
    let garble = "UPDATE cluster_operations SET operation_type = 'instance_create', arguments = '{\"shape\": 7}' \
         WHERE uuid = ";
    update(db, &format!("{garble}'{id}'")).await;
}

#[tokio::test]
async fn an_operation_that_cannot_be_read_ends_and_stops_no_other() {
    let Some(db) = TestDatabase::start().await else { return };
    let node = NodeId::random();
    let ops: Vec<EnqueueOperation> = (0..3).map(|_| delete(node, InstanceId::random())).collect();
    let ids: Vec<OperationId> = ops.iter().map(|op| op.uuid).collect();
    enqueue(&db, ops).await.unwrap();
    of_tomorrow(&db, ids[0]).await;
    of_tomorrow(&db, ids[2]).await;
    update(
        &db,
        &format!(
            "UPDATE cluster_operations SET deadline_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND \
             WHERE uuid IN ('{}', '{}')",
            ids[0], ids[1]
        ),
    )
    .await;
    assert_eq!(reap(&db).await.expired, 2);
    assert!(fail(&db, ids[2], "x").await, "its worker can end it too");
    for id in ids {
        assert_eq!(state(&db, id).await, "error");
    }
    check_invariants(&db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_is_met_while_the_reaper_looks_counts_once() {
    let Some(db) = TestDatabase::start().await else { return };
    let node = NodeId::random();
    let (one, other) = (fetch(node, ArtifactId::random()), fetch(node, ArtifactId::random()));
    let dependent = after(delete(node, InstanceId::random()), &one, Kind::After);
    let dependent = after(dependent, &other, Kind::Requires);
    let (first, waiting) = (one.uuid, dependent.uuid);
    enqueue(&db, vec![one, other, dependent]).await.unwrap();
    let overdue = "UPDATE cluster_operation_dependencies SET wait_until = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND \
         WHERE kind = 'after'";
    update(&db, overdue).await;
    // The dependency ends, and has not committed yet when the reaper finds the edge overdue.
    let mut ending = db.conn().await;
    ending.batch_execute("START TRANSACTION").await.unwrap();
    let ctx = TxContext::internal(settings(&[]), "test");
    operations::complete_network_operation(&mut ending, &ctx, first).await.unwrap();
    let reaper = db.clone();
    let reaping = tokio::spawn(async move { reap(&reaper).await });
    db.until_lock_wait().await;
    ending.batch_execute("COMMIT").await.unwrap();
    reaping.await.unwrap();
    let left = format!("SELECT unmet_dependencies FROM work_queue WHERE operation_uuid = '{waiting}'");
    assert_eq!(number(&db, &left).await, 1, "what it requires has not ended");
    check_invariants(&db).await;
}

#[tokio::test]
async fn events_without_references_are_found_range_by_range() {
    let Some(db) = TestDatabase::start().await else { return };
    let fence = leader(&db).await;
    let uuid = "CAST(CONCAT('01900000-0000-7000-8000-', LPAD(HEX(seq), 12, '0')) AS UUID)";
    let long_ago = "UTC_TIMESTAMP(6) - INTERVAL 2 HOUR";
    update(
        &db,
        &format!(
            "INSERT INTO events (event_uuid, event_type, occurred_at, received_at, fqdn, message) \
             SELECT {uuid}, 'audit', {long_ago}, {long_ago}, 'n', 'm' FROM seq_1_to_25000"
        ),
    )
    .await;
    // One in each range has no reference.
    update(
        &db,
        &format!(
            "INSERT INTO event_objects (object_type, object_id, occurred_at, event_uuid, event_type) \
             SELECT 'instance', 'i', {long_ago}, {uuid}, 'audit' FROM seq_1_to_25000 WHERE seq NOT IN (5, 10001, 25000)"
        ),
    )
    .await;
    for (removed, more) in [(1, true), (1, true), (1, false), (0, false)] {
        let swept = events::sweep_range(&db.pool, &fence).await.unwrap();
        assert_eq!((swept.removed, swept.more), (removed, more));
    }
    assert_eq!((count(&db, "events").await, count(&db, "event_objects").await), (24_997, 24_997));
    // A week later the walk begins again.
    let stray = Uuid::now_v7();
    update(
        &db,
        &format!(
            "INSERT INTO events (event_uuid, event_type, occurred_at, received_at, fqdn, message) \
             VALUES ('{stray}', 'audit', {long_ago}, {long_ago}, 'n', 'm')"
        ),
    )
    .await;
    update(
        &db,
        "UPDATE samples SET sampled_at = UTC_TIMESTAMP(6) - INTERVAL 8 DAY WHERE name = 'events-swept'",
    )
    .await;
    let budget = events::PruneBudget { rows: 10, time: Duration::from_secs(15) };
    let kept = settings(&[("MAX_AUDIT_EVENT_AGE", "-1")]);
    let reply = events::prune(&db.pool, &kept, &fence, budget).await.unwrap();
    assert_eq!((reply.events_deleted, reply.more), (1, false));
}
