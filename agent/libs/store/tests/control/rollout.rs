//! Rolling restarts: as many at once as there are slots, and a failure anywhere stops the same roll everywhere else.

use std::sync::Arc;

use sf_model::NodeId;
use sf_protos::rollout::{EndRollRequest, TakeRollSlotReply, TakeRollSlotRequest};
use sf_store::rollout;
use sf_store::sql::sql;
use sf_store::testing::TestDatabase;

/// One node that rolls a daemon.
struct Roll<'a> {
    db: &'a TestDatabase,
    node: NodeId,
}

impl Roll<'_> {
    fn of(db: &TestDatabase) -> Roll<'_> {
        Roll { db, node: NodeId::random() }
    }

    async fn take(&self, target: &str, slots: u32, ignore: bool) -> TakeRollSlotReply {
        let request = Arc::new(TakeRollSlotRequest {
            node_uuid: self.node.to_string(),
            daemon: "sf-api".into(),
            target: target.into(),
            slots,
            lease_seconds: 60,
            ignore_failures: ignore,
        });
        let taken = self.db.run(move |conn, _| {
            let request = request.clone();
            Box::pin(async move { rollout::take(conn, &request).await })
        });
        taken.await.unwrap()
    }

    async fn end(&self, target: &str, failure: Option<&str>) {
        let request = Arc::new(EndRollRequest {
            node_uuid: self.node.to_string(),
            daemon: "api".into(),
            target: target.into(),
            failure: failure.map(str::to_owned),
        });
        let ended = self.db.run(move |conn, _| {
            let request = request.clone();
            Box::pin(async move { rollout::end(conn, &request).await })
        });
        ended.await.unwrap();
    }
}

#[tokio::test]
async fn a_slot_is_held_by_one_node_until_it_says_how_it_went() {
    let Some(db) = TestDatabase::start().await else { return };
    let (first, second, third) = (Roll::of(&db), Roll::of(&db), Roll::of(&db));
    assert!(first.take("t", 2, false).await.granted);
    assert!(first.take("t", 2, false).await.granted, "asking again extends");
    assert!(second.take("t", 2, false).await.granted);
    let refused = third.take("t", 2, false).await;
    assert!(!refused.granted && refused.failure.is_none());
    assert_eq!(refused.holders, [first.node.to_string(), second.node.to_string()]);
    first.end("t", None).await;
    assert!(third.take("t", 2, false).await.granted);
}

#[tokio::test]
async fn a_failure_stops_the_others_until_that_node_is_well_or_the_target_is_another() {
    let Some(db) = TestDatabase::start().await else { return };
    let (first, second) = (Roll::of(&db), Roll::of(&db));
    assert!(first.take("t", 1, false).await.granted);
    first.end("t", Some("it did not become ready")).await;
    let refused = second.take("t", 1, false).await;
    let failure = refused.failure.unwrap();
    assert!(!refused.granted);
    assert_eq!((failure.node, failure.reason.as_str()), (first.node.to_string(), "it did not become ready"));
    assert!(second.take("t", 1, true).await.granted, "told to go on");
    second.end("t", None).await;
    assert!(second.take("u", 1, false).await.granted, "another target");
    second.end("u", None).await;
    assert!(first.take("t", 1, false).await.granted, "the node itself tries again");
    first.end("t", None).await;
    assert!(second.take("t", 1, false).await.granted);
    assert!(rollout::list(&mut db.conn().await).await.unwrap().failures.is_empty());
}

#[tokio::test]
async fn a_node_that_never_said_how_it_went_failed() {
    let Some(db) = TestDatabase::start().await else { return };
    let (first, second) = (Roll::of(&db), Roll::of(&db));
    assert!(first.take("t", 1, false).await.granted);
    let lapse = sql("UPDATE roll_slots SET lease_until = UTC_TIMESTAMP(6) - INTERVAL 1 MICROSECOND");
    lapse.run(&mut db.conn().await).await.unwrap();
    let failure = second.take("t", 1, false).await.failure.unwrap();
    assert_eq!(failure.node_uuid, first.node.to_string());
    assert!(second.take("u", 1, false).await.granted, "its slot is free again");
}

#[tokio::test]
async fn many_at_once_get_no_more_than_there_is() {
    let Some(db) = TestDatabase::start().await else { return };
    let rolls: Vec<Roll<'_>> = (0..8).map(|_| Roll::of(&db)).collect();
    let taken = futures::future::join_all(rolls.iter().map(|roll| roll.take("t", 3, false))).await;
    assert_eq!(taken.iter().filter(|reply| reply.granted).count(), 3);
}
