//! The leader's schedule and the end of soft-deleted objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use sf_model::{IncarnationId, NodeId};
use sf_protos::maintenance::{ClaimTaskReply, FinishTaskRequest};
use sf_store::locks::{self, Holder};
use sf_store::sql::sql;
use sf_store::testing::{TestDatabase, settings};
use sf_store::{Fence, StoreResult, TxContext, maintenance};

async fn lead(db: &TestDatabase) -> Fence {
    let mut conn = db.conn().await;
    sql("DELETE FROM cluster_locks").run(&mut conn).await.unwrap();
    let incarnation = IncarnationId::random();
    let holder = Holder { node: "n".into(), daemon: "cluster".into(), pid: 1, incarnation, operation: None };
    let reply = locks::acquire(&mut conn, locks::LEADER, &holder).await.unwrap();
    Fence { lock_name: locks::LEADER.into(), fence: reply.fence.unwrap() }
}

fn context(fence: &Fence) -> TxContext {
    let mut ctx = TxContext::internal(settings(&[]), "test");
    ctx.fence = Some(fence.clone());
    ctx
}

async fn claim(db: &TestDatabase, fence: &Fence) -> ClaimTaskReply {
    let known = BTreeMap::from([("daily".to_owned(), 86_400), ("often".to_owned(), 15)]);
    maintenance::claim_task(&mut db.conn().await, &context(fence), &known).await.unwrap()
}

async fn finish(db: &TestDatabase, fence: &Fence, error: Option<&str>, again: bool) -> StoreResult<()> {
    let request = FinishTaskRequest {
        task: "often".into(),
        duration_ms: 7,
        error: error.map(str::to_owned),
        again,
        ..FinishTaskRequest::default()
    };
    maintenance::finish_task(&mut db.conn().await, &context(fence), &request).await
}

async fn update(db: &TestDatabase, statement: &str) {
    sql(statement).run(&mut db.conn().await).await.unwrap();
}

#[tokio::test]
async fn tasks_are_handed_out_when_due_and_never_twice() {
    let Some(db) = TestDatabase::start().await else { return };
    let fence = lead(&db).await;
    let planned = claim(&db, &fence).await;
    update(&db, "UPDATE maintenance_runs SET next_due = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR").await;
    if planned.task.is_some() {
        update(&db, "UPDATE maintenance_runs SET running_fence = NULL").await;
    }
    let idle = claim(&db, &fence).await;
    assert_eq!(idle.task, None);
    assert!((3_590_000..=3_600_000).contains(&idle.next_due_ms), "{idle:?}");

    update(&db, "UPDATE maintenance_runs SET next_due = UTC_TIMESTAMP(6) WHERE task = 'often'").await;
    assert_eq!(claim(&db, &fence).await.task.as_deref(), Some("often"));
    assert_eq!(claim(&db, &fence).await.task, None, "it runs already");
    finish(&db, &fence, None, true).await.unwrap();
    assert_eq!(claim(&db, &fence).await.task.as_deref(), Some("often"), "there was more to do");
    finish(&db, &fence, Some("it broke"), false).await.unwrap();
    let listed = maintenance::list_tasks(&mut db.conn().await).await.unwrap().tasks;
    let often = listed.iter().find(|task| task.task == "often").unwrap();
    assert_eq!((often.last_error.as_deref(), often.consecutive_failures), (Some("it broke"), 1));
    assert!(finish(&db, &fence, None, false).await.is_err(), "nobody runs it");
}

#[tokio::test]
async fn a_new_leader_and_a_lost_word_hand_the_task_out_again() {
    let Some(db) = TestDatabase::start().await else { return };
    let old = lead(&db).await;
    claim(&db, &old).await;
    update(
        &db,
        "UPDATE maintenance_runs SET next_due = UTC_TIMESTAMP(6), running_fence = NULL WHERE task = 'often'",
    )
    .await;
    update(
        &db,
        "UPDATE maintenance_runs SET next_due = UTC_TIMESTAMP(6) + INTERVAL 1 DAY WHERE task = 'daily'",
    )
    .await;
    assert_eq!(claim(&db, &old).await.task.as_deref(), Some("often"));
    update(&db, "UPDATE maintenance_runs SET last_started = UTC_TIMESTAMP(6) - INTERVAL 181 SECOND").await;
    assert_eq!(claim(&db, &old).await.task.as_deref(), Some("often"), "its end was never told");
    let new = lead(&db).await;
    assert_eq!(claim(&db, &new).await.task.as_deref(), Some("often"), "the leader that ran it is gone");
    assert!(finish(&db, &old, None, false).await.is_err(), "the old leader's word does not count");
    finish(&db, &new, None, false).await.unwrap();
}

#[tokio::test]
async fn deleted_nodes_go_after_their_time_and_only_when_cleared() {
    let Some(db) = TestDatabase::start().await else { return };
    let insert = |state: &'static str, age: u32, cleared: bool| {
        let db = db.clone();
        async move {
            let node = NodeId::random();
            sql("INSERT INTO nodes (uuid, fqdn, mesh_ip, `release`, cascaded_at, state, state_changed_at, created_at, \
                 version) VALUES (?, ?, '10.0.0.1', '0.1', IF(?, UTC_TIMESTAMP(6), NULL), ?, \
                 UTC_TIMESTAMP(6) - INTERVAL ? SECOND, UTC_TIMESTAMP(6), 1)")
            .bind(node)
            .bind(node.to_string())
            .bind(cleared)
            .bind(state)
            .bind(age)
            .run(&mut db.conn().await)
            .await
            .unwrap();
            node
        }
    };
    let old = insert("deleted", 3601, true).await;
    for (state, age, cleared) in [("deleted", 3000, true), ("deleted", 9999, false), ("error", 9999, true)] {
        insert(state, age, cleared).await;
    }
    let ctx = Arc::new(context(&lead(&db).await));
    let reply = maintenance::hard_delete(&mut db.conn().await, &ctx, "node", 0).await.unwrap();
    assert_eq!((reply.deleted, reply.more), (1, false));
    let left: Vec<NodeId> =
        sql("SELECT uuid AS value FROM nodes").values(&mut db.conn().await).await.unwrap();
    assert!(left.len() == 3 && !left.contains(&old));
    for object_type in [
        "instance",
        "network",
        "networkinterface",
        "artifact",
        "blob",
        "upload",
        "namespace",
        "namespace_key",
    ] {
        maintenance::hard_delete(&mut db.conn().await, &ctx, object_type, 10).await.unwrap();
    }
    assert!(maintenance::hard_delete(&mut db.conn().await, &ctx, "clusteroperation", 10).await.is_err());
}

#[tokio::test]
async fn an_empty_cluster_breaks_no_rule() {
    let Some(db) = TestDatabase::start().await else { return };
    let reply = maintenance::check_invariants(&mut db.conn().await).await.unwrap();
    assert!(reply.checks.len() > 8 && reply.checks.iter().all(|check| check.violations == 0), "{reply:?}");
}
