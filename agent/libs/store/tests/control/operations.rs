//! Work queues: every operation ends once, keys never overlap, identical work is folded, dependents are released or
//! aborted, claims lapse.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use sf_model::operation::{NetworkTask, OperationArgs, Priority};
use sf_model::{
    ArtifactId, ClaimToken, IncarnationId, InstanceId, NetworkId, NodeId, ObjectRef, ObjectType, OperationId,
};
use sf_protos::common::Caller;
use sf_protos::operations::{ClaimedWork, GetOperationRequest, ListOperationsForTargetRequest, Operation};
use sf_store::operations::{self, Dependency, Dequeue, EnqueueOperation, Enqueued, Kind, Worker};
use sf_store::sql::sql;
use sf_store::testing::TestDatabase;
use sf_store::{Conn, StoreError, StoreResult, TxContext, reason};

pub(super) fn delete(node: NodeId, instance: InstanceId) -> EnqueueOperation {
    EnqueueOperation {
        uuid: OperationId::ordered(),
        node,
        namespace: Some("ns".into()),
        priority: Priority::UserFacing,
        args: OperationArgs::InstanceDelete { instance },
        dependencies: Vec::new(),
        deadline_seconds: 0,
        observational: false,
    }
}

pub(super) fn fetch(node: NodeId, artifact: ArtifactId) -> EnqueueOperation {
    let args = OperationArgs::ArtifactFetch { artifact, url: "u".into(), instance: None };
    EnqueueOperation { args, priority: Priority::Background, ..delete(node, InstanceId::random()) }
}

pub(super) fn after(operation: EnqueueOperation, on: &EnqueueOperation, kind: Kind) -> EnqueueOperation {
    let edge = Dependency { operation: on.uuid, kind, wait_seconds: None };
    EnqueueOperation { dependencies: [operation.dependencies.clone(), vec![edge]].concat(), ..operation }
}

pub(super) async fn enqueue(db: &TestDatabase, ops: Vec<EnqueueOperation>) -> StoreResult<Vec<Enqueued>> {
    let ops = Arc::new(ops);
    db.run(move |conn, ctx| {
        let ops = ops.clone();
        Box::pin(async move { operations::enqueue(conn, ctx, &ops).await })
    })
    .await
}

fn worker(node: NodeId) -> Worker {
    Worker { node, daemon: "queues".into(), incarnation: IncarnationId::random() }
}

async fn dequeue(db: &TestDatabase, worker: &Worker, token: ClaimToken, limit: u32) -> Vec<ClaimedWork> {
    let ask = Arc::new(Dequeue { worker: worker.clone(), claim_token: token, limit });
    db.run(move |conn, ctx| {
        let ask = ask.clone();
        Box::pin(async move { operations::dequeue(conn, ctx, &ask).await })
    })
    .await
    .unwrap()
}

async fn one(db: &TestDatabase, worker: &Worker) -> Option<(OperationId, ClaimToken)> {
    let token = ClaimToken::random();
    let work = dequeue(db, worker, token, 1).await;
    work.first().map(|work| (work.operation_uuid.parse().unwrap(), token))
}

/// Runs one of the functions of a worker.
async fn act<T: Send + 'static>(
    db: &TestDatabase,
    work: impl for<'c> Fn(&'c mut Conn, &'c TxContext) -> BoxFuture<'c, StoreResult<T>> + Send + Sync + 'static,
) -> StoreResult<T> {
    db.run(work).await
}

async fn start(db: &TestDatabase, id: OperationId, token: ClaimToken) -> StoreResult<bool> {
    act(db, move |conn, ctx| Box::pin(operations::start(conn, ctx, id, token))).await
}

async fn complete(db: &TestDatabase, id: OperationId, token: ClaimToken) -> StoreResult<()> {
    act(db, move |conn, ctx| Box::pin(operations::complete(conn, ctx, id, token, &[]))).await
}

pub(super) async fn fail(db: &TestDatabase, id: OperationId, code: &'static str) -> bool {
    act(db, move |conn, ctx| Box::pin(operations::fail_operation(conn, ctx, id, code, "because")))
        .await
        .unwrap()
}

pub(super) async fn reap(db: &TestDatabase) -> sf_protos::operations::ReapExpiredClaimsReply {
    act(db, |conn, ctx| Box::pin(operations::reap(conn, ctx))).await.unwrap()
}

pub(super) async fn state(db: &TestDatabase, id: OperationId) -> String {
    let query = sql("SELECT state AS value FROM cluster_operations WHERE uuid = ?").bind(id);
    query.value(&mut db.conn().await).await.unwrap().unwrap()
}

pub(super) async fn number(db: &TestDatabase, query: &str) -> u64 {
    let query = format!("SELECT CAST(({query}) AS UNSIGNED) AS value");
    sql(query).value(&mut db.conn().await).await.unwrap().unwrap_or(0)
}

pub(super) async fn update(db: &TestDatabase, statement: &str) {
    sql(statement).run(&mut db.conn().await).await.unwrap();
}

pub(super) async fn check_invariants(db: &TestDatabase) {
    let reply = sf_store::maintenance::check_invariants(&mut db.conn().await).await.unwrap();
    let broken: Vec<_> = reply.checks.into_iter().filter(|check| check.violations > 0).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

fn system() -> Option<Caller> {
    Some(Caller { namespace: "system".into() })
}

fn is_claim_lost<T: std::fmt::Debug>(outcome: &StoreResult<T>) -> bool {
    matches!(outcome, Err(StoreError::Precondition { reason: reason::CLAIM_LOST, .. }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_operations_each_end_once_and_serial_keys_never_overlap() {
    let Some(db) = TestDatabase::start().await else { return };
    let node = NodeId::random();
    let instances: Vec<InstanceId> = (0..60).map(|_| InstanceId::random()).collect();
    let all: Vec<EnqueueOperation> =
        (0..1000).map(|n| delete(node, instances[n % instances.len()])).collect();
    for chunk in all.chunks(operations::MAX_OPERATIONS) {
        enqueue(&db, chunk.to_vec()).await.unwrap();
    }
    let ended = Arc::new(Mutex::new(BTreeMap::<OperationId, u32>::new()));
    let running = Arc::new(Mutex::new(BTreeSet::<String>::new()));
    let left = Arc::new(AtomicUsize::new(all.len()));
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let (db, ended, running, left) = (db.clone(), ended.clone(), running.clone(), left.clone());
            tokio::spawn(async move {
                let worker = worker(node);
                while left.load(Ordering::SeqCst) > 0 {
                    let token = ClaimToken::random();
                    let batch = dequeue(&db, &worker, token, 8).await;
                    let keys: Vec<String> = batch.iter().map(|work| work.arguments_json.clone()).collect();
                    for key in &keys {
                        assert!(running.lock().insert(key.clone()), "two workers hold {key}");
                    }
                    for (work, key) in batch.iter().zip(&keys) {
                        let id = work.operation_uuid.parse().unwrap();
                        assert!(start(&db, id, token).await.unwrap());
                        // Out of the list first: the moment it is complete another worker may have the key.
                        running.lock().remove(key);
                        complete(&db, id, token).await.unwrap();
                        *ended.lock().entry(id).or_default() += 1;
                        left.fetch_sub(1, Ordering::SeqCst);
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let ended = ended.lock().clone();
    assert_eq!(ended.len(), 1000);
    assert!(ended.values().all(|times| *times == 1));
    check_invariants(&db).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_identical_requests_are_one_operation() {
    let Some(db) = TestDatabase::start().await else { return };
    let (node, artifact) = (NodeId::random(), ArtifactId::random());
    // One runs already: it holds no slot, so exactly one more may be queued.
    enqueue(&db, vec![fetch(node, artifact)]).await.unwrap();
    let (running, token) = one(&db, &worker(node)).await.unwrap();
    assert!(start(&db, running, token).await.unwrap());
    let requests: Vec<_> = (0..100)
        .map(|n| {
            let db = db.clone();
            let mut wanted = fetch(node, artifact);
            if n == 50 {
                wanted.priority = Priority::UserWaiting;
            }
            tokio::spawn(async move { enqueue(&db, vec![wanted]).await.unwrap()[0] })
        })
        .collect();
    let mut results = Vec::new();
    for request in requests {
        results.push(request.await.unwrap());
    }
    let ids: BTreeSet<OperationId> = results.iter().map(|enqueued| enqueued.uuid).collect();
    assert_eq!(ids.len(), 1, "all were folded into one");
    assert_eq!(results.iter().filter(|enqueued| !enqueued.coalesced).count(), 1);
    assert_ne!(results[0].uuid, running, "work that runs is not joined");
    let lane: Option<u8> = sql("SELECT priority AS value FROM work_queue WHERE claim_token IS NULL")
        .value(&mut db.conn().await)
        .await
        .unwrap();
    assert_eq!(lane, Some(Priority::UserWaiting as u8), "the most urgent wish counts");
    let elsewhere = enqueue(&db, vec![fetch(NodeId::random(), artifact)]).await.unwrap();
    assert!(!elsewhere[0].coalesced, "another node's work is other work");
    check_invariants(&db).await;
}

#[tokio::test]
async fn dependents_are_released_by_the_end_and_aborted_by_a_bad_one() {
    let Some(db) = TestDatabase::start().await else { return };
    let node = NodeId::random();
    let worker = worker(node);
    let op = || delete(node, InstanceId::random());
    let first = op();
    let (needs, waits) = (after(op(), &first, Kind::Requires), after(op(), &first, Kind::After));
    let chained = after(op(), &needs, Kind::Requires);
    let both = after(after(op(), &needs, Kind::After), &waits, Kind::After);
    let ids: Vec<OperationId> = [&first, &needs, &waits, &chained, &both].map(|o| o.uuid).to_vec();
    enqueue(&db, vec![first, needs, waits, chained, both]).await.unwrap();
    let (id, token) = one(&db, &worker).await.unwrap();
    assert_eq!(id, ids[0]);
    assert_eq!(one(&db, &worker).await, None, "everything else is blocked");
    assert!(start(&db, id, token).await.unwrap());
    complete(&db, id, token).await.unwrap();
    let (second, token) = one(&db, &worker).await.unwrap();
    let (third, third_token) = one(&db, &worker).await.unwrap();
    assert_eq!(BTreeSet::from([second, third]), BTreeSet::from([ids[1], ids[2]]));
    let (needs_token, waits_token) =
        if second == ids[1] { (token, third_token) } else { (third_token, token) };
    assert!(start(&db, ids[1], needs_token).await.unwrap());
    assert!(fail(&db, ids[1], "broken").await);
    assert!(is_claim_lost(&complete(&db, ids[1], needs_token).await), "it has ended");
    assert_eq!(state(&db, ids[3]).await, "abort", "what required it is aborted");
    assert_eq!(state(&db, ids[4]).await, "queued", "what waited for its end still waits for the other");
    complete(&db, ids[2], waits_token).await.unwrap();
    assert_eq!(one(&db, &worker).await.unwrap().0, ids[4]);
    let request =
        GetOperationRequest { caller: system(), operation_uuid: ids[3].to_string(), operation_type: None };
    let aborted = operations::get(&mut db.conn().await, &request).await.unwrap();
    assert_eq!(aborted.error.unwrap().code, "dependency-failed");
    let late = delete(node, InstanceId::random());
    let edge = Dependency { operation: ids[1], kind: Kind::Requires, wait_seconds: None };
    let late = EnqueueOperation { dependencies: vec![edge], ..late };
    let late_id = enqueue(&db, vec![late]).await.unwrap()[0].uuid;
    assert_eq!(state(&db, late_id).await, "abort", "what it requires has failed already");
    check_invariants(&db).await;
}

#[tokio::test]
async fn an_edge_to_something_unknown_is_refused() {
    let Some(db) = TestDatabase::start().await else { return };
    let (one, other) =
        (delete(NodeId::random(), InstanceId::random()), delete(NodeId::random(), InstanceId::random()));
    let outcome = enqueue(&db, vec![after(one.clone(), &other, Kind::After)]).await;
    assert!(matches!(outcome, Err(StoreError::Missing { .. })), "{outcome:?}");
    let outcome = enqueue(&db, vec![after(one.clone(), &other, Kind::After), other]).await;
    assert!(matches!(outcome, Err(StoreError::Invalid(_))), "only earlier ones: {outcome:?}");
    enqueue(&db, vec![one.clone()]).await.unwrap();
    let outcome = enqueue(&db, vec![one]).await;
    assert!(matches!(outcome, Err(StoreError::Exists { .. })), "{outcome:?}");
}

#[tokio::test]
async fn slow_work_is_told_once_and_left_alone() {
    let Some(db) = TestDatabase::start().await else { return };
    let node = NodeId::random();
    enqueue(&db, vec![delete(node, InstanceId::random())]).await.unwrap();
    let (id, token) = one(&db, &worker(node)).await.unwrap();
    assert!(start(&db, id, token).await.unwrap());
    assert_eq!(reap(&db).await.long_running, 0);
    update(&db, "UPDATE cluster_operations SET state_changed_at = UTC_TIMESTAMP(6) - INTERVAL 1801 SECOND")
        .await;
    assert_eq!((reap(&db).await.long_running, reap(&db).await.long_running), (1, 1));
    let told =
        sql("SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM events JOIN event_objects USING (event_uuid) \
         WHERE message LIKE 'still executing%' AND object_type = 'instance'");
    assert_eq!(told.value::<u64>(&mut db.conn().await).await.unwrap(), Some(1));
    complete(&db, id, token).await.unwrap();
    assert_eq!(reap(&db).await.long_running, 0);
}

#[tokio::test]
async fn a_lapsed_claim_goes_to_the_next_and_the_slow_worker_changes_nothing() {
    let Some(db) = TestDatabase::start().await else { return };
    let node = NodeId::random();
    let (slow, next) = (worker(node), worker(node));
    enqueue(&db, vec![delete(node, InstanceId::random())]).await.unwrap();
    let token = ClaimToken::random();
    let claimed = dequeue(&db, &slow, token, 5).await;
    assert_eq!(dequeue(&db, &slow, token, 5).await.len(), 1, "a lost reply is repeated");
    let id: OperationId = claimed[0].operation_uuid.parse().unwrap();
    assert!(start(&db, id, token).await.unwrap());
    assert_eq!(reap(&db).await.requeued, 0);
    update(&db, "UPDATE work_queue SET claim_expires_at = UTC_TIMESTAMP(6)").await;
    assert_eq!(reap(&db).await.requeued, 1);
    let (again, new_token) = one(&db, &next).await.unwrap();
    assert_eq!(again, id);
    assert!(is_claim_lost(&complete(&db, id, token).await));
    assert!(is_claim_lost(&start(&db, id, token).await));
    let lost = {
        let slow = Arc::new(slow);
        act(&db, move |conn, ctx| {
            let slow = slow.clone();
            Box::pin(async move { operations::renew_claims(conn, ctx, &slow, &[id]).await })
        })
        .await
        .unwrap()
    };
    assert_eq!(lost, [id]);
    assert!(start(&db, id, new_token).await.unwrap());
    complete(&db, id, new_token).await.unwrap();
    check_invariants(&db).await;
}

#[tokio::test]
async fn poison_is_rejected_after_five_deliveries_and_a_new_life_gives_back_at_once() {
    let Some(db) = TestDatabase::start().await else { return };
    let node = NodeId::random();
    let id = enqueue(&db, vec![delete(node, InstanceId::random())]).await.unwrap()[0].uuid;
    for delivery in 1..=5 {
        let life = worker(node);
        let (_, token) = one(&db, &life).await.unwrap();
        assert!(start(&db, id, token).await.unwrap());
        let keep = IncarnationId::random();
        let released =
            act(&db, move |conn, ctx| Box::pin(operations::release_claims(conn, ctx, node, "queues", keep)))
                .await
                .unwrap();
        assert_eq!(released, 1, "delivery {delivery}");
    }
    assert_eq!(state(&db, id).await, "error");
    let code: Option<String> =
        sql("SELECT code AS value FROM cluster_operation_errors").value(&mut db.conn().await).await.unwrap();
    assert_eq!(code.as_deref(), Some("too-many-attempts"));
    check_invariants(&db).await;
}

#[tokio::test]
async fn deferring_is_no_failed_delivery_and_climbs_the_ladder() {
    let Some(db) = TestDatabase::start().await else { return };
    let node = NodeId::random();
    let worker = worker(node);
    let id = enqueue(&db, vec![delete(node, InstanceId::random())]).await.unwrap()[0].uuid;
    for expected in [100, 200, 400, 800, 1600, 3200] {
        let (_, token) = one(&db, &worker).await.unwrap();
        assert!(start(&db, id, token).await.unwrap());
        let before: Option<String> =
            sql("SELECT CAST(UTC_TIMESTAMP(6) AS CHAR) AS value").value(&mut db.conn().await).await.unwrap();
        let delay = act(&db, move |conn, _| Box::pin(operations::defer(conn, id, token, None, "busy")))
            .await
            .unwrap();
        assert_eq!(delay.as_millis(), expected);
        let (due, micros) = (before.unwrap(), expected * 1000);
        let late = format!(
            "SELECT COUNT(*) FROM work_queue WHERE available_at >= TIMESTAMP('{due}') + INTERVAL {micros} MICROSECOND"
        );
        assert_eq!(number(&db, &late).await, 1, "its time is {expected} ms away");
        // A busy machine lets that pass before the next line; an hour it does not.
        update(&db, "UPDATE work_queue SET available_at = available_at + INTERVAL 1 HOUR").await;
        assert_eq!(one(&db, &worker).await, None, "not before its time");
        update(&db, "UPDATE work_queue SET available_at = UTC_TIMESTAMP(6)").await;
    }
    let (_, token) = one(&db, &worker).await.unwrap();
    complete(&db, id, token).await.unwrap();
}

#[tokio::test]
async fn time_ends_waits_and_queued_operations() {
    let Some(db) = TestDatabase::start().await else { return };
    let node = NodeId::random();
    let first = delete(node, InstanceId::random());
    let waits = after(delete(node, InstanceId::random()), &first, Kind::After);
    let needs = after(delete(node, InstanceId::random()), &first, Kind::Requires);
    let (first_id, waits_id, needs_id) = (first.uuid, waits.uuid, needs.uuid);
    enqueue(&db, vec![first, waits, needs]).await.unwrap();
    update(
        &db,
        "UPDATE cluster_operation_dependencies SET wait_until = UTC_TIMESTAMP(6) WHERE kind = 'after'",
    )
    .await;
    assert_eq!(reap(&db).await.released_waits, 1);
    let ready: Vec<String> =
        sql("SELECT CAST(operation_uuid AS CHAR) AS value FROM work_queue WHERE unmet_dependencies = 0 ORDER BY 1")
            .values(&mut db.conn().await)
            .await
            .unwrap();
    assert_eq!(BTreeSet::from_iter(ready), BTreeSet::from([first_id.to_string(), waits_id.to_string()]));
    update(
        &db,
        &format!("UPDATE cluster_operations SET deadline_at = UTC_TIMESTAMP(6) WHERE uuid = '{first_id}'"),
    )
    .await;
    assert_eq!(reap(&db).await.expired, 1);
    assert_eq!((state(&db, first_id).await, state(&db, needs_id).await), ("error".into(), "abort".into()));
    check_invariants(&db).await;
}

#[tokio::test]
async fn old_background_work_is_served_beside_a_flood() {
    let Some(db) = TestDatabase::start().await else { return };
    let node = NodeId::random();
    let mut old = fetch(node, ArtifactId::random());
    old.priority = Priority::BackgroundHighIo;
    let old = enqueue(&db, vec![old]).await.unwrap()[0].uuid;
    let flood: Vec<EnqueueOperation> = (0..40).map(|_| delete(node, InstanceId::random())).collect();
    enqueue(&db, flood).await.unwrap();
    let token = ClaimToken::random();
    let taken = dequeue(&db, &worker(node), token, 4).await;
    assert!(taken.iter().all(|work| work.operation_uuid != old.to_string()), "urgent lanes first");
    update(&db, &format!("UPDATE work_queue SET available_at = UTC_TIMESTAMP(6) - INTERVAL 301 SECOND WHERE operation_uuid = '{old}'")).await;
    let taken = dequeue(&db, &worker(node), ClaimToken::random(), 4).await;
    assert_eq!(taken.len(), 4);
    assert_eq!(taken.iter().filter(|work| work.operation_uuid == old.to_string()).count(), 1);
}

#[tokio::test]
async fn what_is_only_about_a_deleted_object_is_aborted() {
    let Some(db) = TestDatabase::start().await else { return };
    let (node, instance, artifact) = (NodeId::random(), InstanceId::random(), ArtifactId::random());
    let own = delete(node, instance);
    let shared = OperationArgs::ArtifactFetch { artifact, url: "u".into(), instance: Some(instance) };
    let shared = EnqueueOperation { args: shared, ..delete(node, instance) };
    let (own_id, shared_id) = (own.uuid, shared.uuid);
    enqueue(&db, vec![own, shared]).await.unwrap();
    let target = ObjectRef::new(ObjectType::Instance, instance);
    let aborted =
        act(&db, move |conn, ctx| Box::pin(operations::abort_for_target(conn, ctx, target.clone())))
            .await
            .unwrap();
    assert_eq!(aborted, [own_id]);
    assert_eq!(state(&db, shared_id).await, "queued", "another instance may wait for the image");
}

#[tokio::test]
async fn network_operations_have_no_queue_row_and_histories_show_their_objects() {
    let Some(db) = TestDatabase::start().await else { return };
    let network = NetworkId::random();
    let args = OperationArgs::NetOp { network, task: NetworkTask::NetworkCreate, generation: 1 };
    let create = EnqueueOperation { args, ..delete(NodeId::random(), InstanceId::random()) };
    let id = create.uuid;
    enqueue(&db, vec![create]).await.unwrap();
    let mut conn = db.conn().await;
    let request = ListOperationsForTargetRequest {
        caller: Some(Caller { namespace: "ns".into() }),
        target_type: "network".into(),
        target_uuid: network.to_string(),
        all: false,
        limit: 0,
    };
    let listed = operations::list_for_target(&mut conn, &request).await.unwrap().operations;
    assert_eq!((listed.len(), listed[0].tasks.clone()), (1, vec!["network_create".to_owned()]));
    let ids = [network.to_string()];
    let pending = operations::of_targets(&mut conn, ObjectType::Network, &ids).await.unwrap();
    assert!(pending[&ids[0]].0);
    let stranger = Some(Caller { namespace: "other".into() });
    let hidden = ListOperationsForTargetRequest { caller: stranger, ..request.clone() };
    assert!(operations::list_for_target(&mut conn, &hidden).await.unwrap().operations.is_empty());
    let ended = act(&db, move |conn, ctx| Box::pin(operations::complete_network_operation(conn, ctx, id)))
        .await
        .unwrap();
    assert!(ended);
    assert!(operations::list_for_target(&mut conn, &request).await.unwrap().operations.is_empty());
    let pending = operations::of_targets(&mut conn, ObjectType::Network, &ids).await.unwrap();
    assert!(!pending[&ids[0]].0 && pending[&ids[0]].1.is_some());
    check_invariants(&db).await;
}

#[tokio::test]
async fn a_list_costs_the_same_for_one_and_for_many() {
    let Some(db) = TestDatabase::start().await else { return };
    let instance = InstanceId::random();
    let mut costs = Vec::new();
    for n in [1, 49] {
        let many: Vec<EnqueueOperation> = (0..n).map(|_| delete(NodeId::random(), instance)).collect();
        enqueue(&db, many).await.unwrap();
        let mut conn = db.conn().await;
        let request = ListOperationsForTargetRequest {
            caller: system(),
            target_type: "instance".into(),
            target_uuid: instance.to_string(),
            all: true,
            limit: 0,
        };
        let (listed, statements) =
            sf_store::statements::count(operations::list_for_target(&mut conn, &request)).await;
        let listed: Vec<Operation> = listed.unwrap().operations;
        costs.push((listed.len(), statements));
    }
    assert_eq!(costs, [(1, 5), (50, 5)]);
}

#[tokio::test]
async fn ended_operations_are_forgotten_after_their_time() {
    let Some(db) = TestDatabase::start().await else { return };
    let node = NodeId::random();
    let first = delete(node, InstanceId::random());
    let second = after(delete(node, InstanceId::random()), &first, Kind::After);
    let (old, waiting) = (first.uuid, second.uuid);
    enqueue(&db, vec![first, second]).await.unwrap();
    assert!(fail(&db, old, "x").await);
    let prune = || act(&db, |conn, ctx| Box::pin(operations::prune(conn, ctx, 0)));
    assert_eq!(prune().await.unwrap().deleted, 0);
    update(&db, "UPDATE cluster_operations SET finished_at = UTC_TIMESTAMP(6) - INTERVAL 8 DAY WHERE finished_at IS NOT NULL")
        .await;
    assert_eq!(prune().await.unwrap().deleted, 1);
    assert_eq!(state(&db, waiting).await, "queued");
    let rest = "SELECT CAST((SELECT COUNT(*) FROM cluster_operation_errors) \
         + (SELECT COUNT(*) FROM cluster_operation_dependencies) AS UNSIGNED) AS value";
    assert_eq!(sql(rest).value::<u64>(&mut db.conn().await).await.unwrap(), Some(0));
}
