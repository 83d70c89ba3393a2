//! The event log: exactly once, partial rejection, pages, pruning reference by reference.

use std::collections::BTreeSet;
use std::time::Duration;

use prost_types::Timestamp;
use sf_model::IncarnationId;
use sf_protos::events::{Event, EventObject, GetObjectEventsRequest, Outcome};
use sf_store::events::{PruneBudget, object_events, prune, purge_object, record_batch};
use sf_store::locks::{self, Holder};
use sf_store::sql::sql;
use sf_store::testing::{TestDatabase, settings};
use sf_store::{Deadline, Fence};
use uuid::Uuid;

const DAY: i64 = 86_400;

fn event(objects: &[(&str, &str)], event_type: &str, age_seconds: i64) -> Event {
    Event {
        event_uuid: Uuid::now_v7().to_string(),
        event_type: event_type.into(),
        timestamp: Some(Timestamp {
            seconds: chrono::Utc::now().timestamp() - age_seconds,
            nanos: 123_456_000,
        }),
        fqdn: "n1".into(),
        daemon: "sf-test".into(),
        duration: Some(0.0),
        message: "something happened ✓".into(),
        extra_json: Some(r#"{"a":[1,{"b":null}]}"#.into()),
        objects: objects
            .iter()
            .map(|(kind, id)| EventObject { object_type: (*kind).into(), object_id: (*id).into() })
            .collect(),
        ..Event::default()
    }
}

async fn record(db: &TestDatabase, events: Vec<Event>) -> Vec<Outcome> {
    let reply = record_batch(&db.pool, Deadline::default(), events).await.unwrap();
    reply.results.iter().map(|result| result.outcome()).collect()
}

pub(super) async fn count(db: &TestDatabase, table: &str) -> u64 {
    let query = sql(format!("SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM {table}"));
    query.value(&mut db.conn().await).await.unwrap().unwrap()
}

pub(super) async fn leader(db: &TestDatabase) -> Fence {
    let holder = Holder {
        node: "n".into(),
        daemon: "sf-cluster".into(),
        pid: 1,
        incarnation: IncarnationId::random(),
        operation: None,
    };
    let reply = locks::acquire(&mut db.conn().await, locks::LEADER, &holder).await.unwrap();
    Fence { lock_name: locks::LEADER.into(), fence: reply.fence.unwrap() }
}

#[tokio::test]
async fn a_batch_is_stored_once_and_bad_events_do_not_spoil_it() {
    let Some(db) = TestDatabase::start().await else { return };
    let good = event(&[("instance", "i1"), ("api-request", "r1"), ("instance", "i1")], "audit", 0);
    let mut bad = event(&[("instance", "i1")], "status", 0);
    bad.event_uuid = "not a uuid".into();
    let batch = vec![good.clone(), bad, good.clone()];
    assert_eq!(record(&db, batch.clone()).await, [Outcome::Stored, Outcome::Rejected, Outcome::Duplicate]);
    assert_eq!(record(&db, batch).await, [Outcome::Duplicate, Outcome::Rejected, Outcome::Duplicate]);
    assert_eq!((count(&db, "events").await, count(&db, "event_objects").await), (1, 2));
    let request = GetObjectEventsRequest {
        object_type: "instance".into(),
        object_id: "i1".into(),
        limit: 10,
        ..GetObjectEventsRequest::default()
    };
    let reply = object_events(&mut db.conn().await, &request).await.unwrap();
    let read = reply.events[0].event.as_ref().unwrap();
    assert_eq!((read.duration, read.message.as_str()), (Some(0.0), good.message.as_str()));
    assert_eq!((&read.extra_json, &read.timestamp), (&good.extra_json, &good.timestamp));
}

#[tokio::test]
async fn an_event_that_the_database_refuses_is_the_only_one_lost() {
    let Some(db) = TestDatabase::start().await else { return };
    let narrow = "ALTER TABLE events MODIFY message VARCHAR(20) NOT NULL";
    diesel_async::SimpleAsyncConnection::batch_execute(&mut db.conn().await, narrow).await.unwrap();
    let mut long = event(&[("instance", "i")], "audit", 0);
    long.message = "x".repeat(21);
    let mut short = event(&[("instance", "i")], "audit", 0);
    short.message = "short".into();
    assert_eq!(record(&db, vec![long, short]).await, [Outcome::Rejected, Outcome::Stored]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_batch_from_many_sides_is_stored_once() {
    let Some(db) = TestDatabase::start().await else { return };
    let batch: Vec<Event> =
        (0..100).map(|n| event(&[("instance", &format!("i{}", n % 7))], "status", n)).collect();
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let (db, batch) = (db.clone(), batch.clone());
            tokio::spawn(async move { record(&db, batch).await })
        })
        .collect();
    let mut stored = 0;
    for sender in senders {
        stored += sender.await.unwrap().iter().filter(|o| **o == Outcome::Stored).count();
    }
    assert_eq!(stored, 100, "counted as new exactly once");
    assert_eq!((count(&db, "events").await, count(&db, "event_objects").await), (100, 100));
}

#[tokio::test]
async fn pages_show_every_event_once_newest_first() {
    let Some(db) = TestDatabase::start().await else { return };
    // Many share a microsecond, so the order needs the tie-break.
    let batch: Vec<Event> = (0..95).map(|n| event(&[("network", "n")], "status", n / 10)).collect();
    record(&db, batch.clone()).await;
    let mut request = GetObjectEventsRequest {
        object_type: "network".into(),
        object_id: "n".into(),
        limit: 10,
        ..GetObjectEventsRequest::default()
    };
    let mut conn = db.conn().await;
    let mut seen = Vec::new();
    loop {
        let reply = object_events(&mut conn, &request).await.unwrap();
        seen.extend(reply.events.into_iter().map(|row| row.event.unwrap()));
        assert_eq!(reply.more, reply.next.is_some());
        let Some(next) = reply.next else { break };
        request.before = Some(next);
    }
    let unique: BTreeSet<&str> = seen.iter().map(|e| e.event_uuid.as_str()).collect();
    assert_eq!((seen.len(), unique.len()), (95, 95));
    let times: Vec<i64> = seen.iter().map(|e| e.timestamp.as_ref().unwrap().seconds).collect();
    assert!(times.windows(2).all(|pair| pair[0] >= pair[1]));
    request.before = None;
    request.event_type = Some("audit".into());
    assert!(object_events(&mut conn, &request).await.unwrap().events.is_empty());
}

#[tokio::test]
async fn an_event_lives_until_its_last_reference_is_gone() {
    let Some(db) = TestDatabase::start().await else { return };
    let fence = leader(&db).await;
    let budget = PruneBudget { rows: 10_000, time: Duration::from_secs(15) };
    let shared = event(&[("api-request", "r"), ("instance", "i")], "audit", 2 * DAY);
    record(
        &db,
        vec![
            shared.clone(),
            event(&[("instance", "i")], "status", 8 * DAY),
            event(&[("instance", "i")], "status", 6 * DAY),
            event(&[("clusteroperation", "o")], "audit", 8 * DAY),
            event(&[("instance", "i")], "audit", 91 * DAY),
            event(&[("instance", "i")], "unheard-of", 91 * DAY),
        ],
    )
    .await;
    let kept = settings(&[("MAX_AUDIT_EVENT_AGE", "-1")]);
    let reply = prune(&db.pool, &kept, &fence, budget).await.unwrap();
    let labels: Vec<(&str, u64)> = reply.pruned.iter().map(|p| (p.label.as_str(), p.rows)).collect();
    assert_eq!(labels, [("status", 1), ("other", 1), ("api-request", 1), ("operation", 1)]);
    assert!(!reply.more);
    // The event of the request and the instance is still the instance's.
    assert_eq!((count(&db, "events").await, count(&db, "event_objects").await), (3, 3));
    let reply = prune(&db.pool, &settings(&[]), &fence, budget).await.unwrap();
    assert_eq!((reply.pruned.len(), reply.events_deleted), (1, 1));
    assert_eq!(purge_object(&db.pool, "instance", "i").await.unwrap().events_deleted, 2);
    assert_eq!((count(&db, "events").await, count(&db, "event_objects").await), (0, 0));
}

#[tokio::test]
async fn only_the_leader_prunes() {
    let Some(db) = TestDatabase::start().await else { return };
    let fence = leader(&db).await;
    record(&db, vec![event(&[("instance", "i")], "status", 100 * DAY)]).await;
    let stale = Fence { fence: fence.fence + 1, ..fence };
    let budget = PruneBudget { rows: 10, time: Duration::from_secs(5) };
    assert!(prune(&db.pool, &settings(&[]), &stale, budget).await.is_err());
    assert_eq!(count(&db, "events").await, 1);
}

#[tokio::test]
async fn the_newest_events_are_found_through_the_index() {
    let Some(db) = TestDatabase::start().await else { return };
    let mut conn = db.conn().await;
    let plan = "EXPLAIN SELECT event_uuid, occurred_at FROM event_objects FORCE INDEX (PRIMARY) \
         WHERE object_type = 'instance' AND object_id = 'i' ORDER BY occurred_at DESC, event_uuid DESC LIMIT 101";
    #[derive(diesel::QueryableByName)]
    struct Step {
        #[diesel(sql_type = diesel::sql_types::Text)]
        key: String,
        #[diesel(sql_type = diesel::sql_types::Text, column_name = "Extra")]
        extra: String,
    }
    let steps: Vec<Step> = diesel_async::RunQueryDsl::load(diesel::sql_query(plan), &mut conn).await.unwrap();
    assert_eq!(steps.len(), 1);
    assert!(
        steps[0].key == "PRIMARY" && !steps[0].extra.contains("filesort"),
        "{} {}",
        steps[0].key,
        steps[0].extra
    );
}
