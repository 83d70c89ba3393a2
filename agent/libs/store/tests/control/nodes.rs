//! Nodes: registration, pulse, storage failures, and what they leave behind.

use std::sync::Arc;

use sf_model::{IncarnationId, NodeId};
use sf_protos::nodes::{
    CheckInReply, CheckInRequest, ClearNodeErrorRequest, DaemonUnit, DeleteNodeRequest,
    GetNodeRemainsRequest, ListNodesRequest, Node, NodeMetrics, RegisterNodeRequest,
    ReportDaemonStateRequest, SetNodeErrorRequest, SetNodeSchedulableRequest, StorageHealth,
};
use sf_store::nodes;
use sf_store::sql::sql;
use sf_store::testing::{self, TestDatabase};
use sf_store::{StoreError, StoreResult};

fn registration(node: NodeId, name: &str) -> RegisterNodeRequest {
    testing::registration(node, name, &["api", "queues", "resources"])
}

async fn register(db: &TestDatabase, request: RegisterNodeRequest) -> StoreResult<Node> {
    let request = Arc::new(request);
    let reply = db.run(move |conn, ctx| {
        let request = request.clone();
        Box::pin(async move { nodes::register(conn, ctx, &request).await })
    });
    Ok(reply.await?.node.unwrap())
}

fn metrics() -> NodeMetrics {
    NodeMetrics { extra_json: r#"{"cpu_cores": 4}"#.into(), ..testing::metrics() }
}

async fn check_in(
    db: &TestDatabase,
    node: NodeId,
    metrics: Option<NodeMetrics>,
    unit: &str,
) -> StoreResult<CheckInReply> {
    let request = Arc::new(CheckInRequest {
        node_uuid: node.to_string(),
        name: "n".into(),
        release: "0.1.1".into(),
        units: vec![DaemonUnit { daemon: "sf-queues".into(), state: unit.into() }],
        storage_health: Vec::new(),
        metrics,
        processes: Vec::new(),
        sent_at: None,
    });
    db.run(move |conn, ctx| {
        let request = request.clone();
        Box::pin(async move { nodes::check_in(conn, ctx, &request).await })
    })
    .await
}

async fn is_open(db: &TestDatabase, node: NodeId) -> Option<bool> {
    let query = sql("SELECT open AND metrics_at IS NOT NULL AS value FROM node_capacity WHERE node_uuid = ?");
    query.bind(node).value(&mut db.conn().await).await.unwrap()
}

async fn get(db: &TestDatabase, reference: &str) -> StoreResult<Node> {
    let request = sf_protos::nodes::GetNodeRequest { reference: reference.into() };
    nodes::get(&mut db.conn().await, &request).await
}

async fn update(db: &TestDatabase, statement: &str) {
    sql(statement).run(&mut db.conn().await).await.unwrap();
}

async fn cascade(db: &TestDatabase) {
    while db.run(|conn, ctx| Box::pin(nodes::cascade(conn, ctx))).await.unwrap().more {}
}

#[tokio::test]
async fn a_node_is_registered_once_under_one_name() {
    let Some(db) = TestDatabase::start().await else { return };
    let (node, other) = (NodeId::random(), NodeId::random());
    let seen = register(&db, registration(node, "a.test")).await.unwrap();
    assert!(seen.is_hypervisor && seen.is_network_node && !seen.is_database_node);
    let again = register(&db, registration(node, "a.test")).await.unwrap();
    assert_eq!((again.uuid, again.created_at), (seen.uuid.clone(), seen.created_at));
    let taken = register(&db, registration(other, "a.test")).await;
    assert!(matches!(taken, Err(StoreError::Exists { .. })), "{taken:?}");
    assert_eq!(get(&db, "a.test").await.unwrap().uuid, seen.uuid);
    let renamed = register(&db, registration(node, "b.test")).await.unwrap();
    assert_eq!(renamed.name, "b.test");
    register(&db, registration(other, "a.test")).await.unwrap();
    let clash = register(&db, registration(node, "a.test")).await;
    assert!(matches!(clash, Err(StoreError::Exists { .. })), "{clash:?}");
    let listed = nodes::list(&mut db.conn().await, &ListNodesRequest::default()).await.unwrap();
    assert_eq!(listed.nodes.len(), 2);
}

#[tokio::test]
async fn a_silent_node_is_missing_and_takes_placements_only_after_fresh_figures() {
    let Some(db) = TestDatabase::start().await else { return };
    let node = NodeId::random();
    register(&db, registration(node, "a.test")).await.unwrap();
    check_in(&db, node, Some(metrics()), "active").await.unwrap();
    assert_eq!(is_open(&db, node).await, Some(true));
    update(&db, "UPDATE nodes SET last_seen = UTC_TIMESTAMP(6) - INTERVAL 121 SECOND").await;
    let marked = db.run(|conn, ctx| Box::pin(nodes::mark_missing(conn, ctx))).await.unwrap();
    assert_eq!(marked.missing, [node.to_string()]);
    assert_eq!(is_open(&db, node).await, Some(false));
    let reply = check_in(&db, node, None, "active").await.unwrap();
    assert_eq!(reply.state, "created");
    assert_eq!(is_open(&db, node).await, Some(false), "its figures are from before it vanished");
    check_in(&db, node, Some(metrics()), "active").await.unwrap();
    assert_eq!(is_open(&db, node).await, Some(true));
    update(&db, "UPDATE nodes SET last_seen = UTC_TIMESTAMP(6) - INTERVAL 2 DAY").await;
    let marked = db.run(|conn, ctx| Box::pin(nodes::mark_missing(conn, ctx))).await.unwrap();
    assert_eq!((marked.missing.len(), marked.errored.len()), (1, 1));
    assert_eq!(get(&db, "a.test").await.unwrap().state.unwrap().state, "error");
}

#[tokio::test]
async fn a_daemon_that_is_down_degrades_and_cordon_closes() {
    let Some(db) = TestDatabase::start().await else { return };
    let node = NodeId::random();
    register(&db, registration(node, "a.test")).await.unwrap();
    check_in(&db, node, Some(metrics()), "failed").await.unwrap();
    assert_eq!(is_open(&db, node).await, Some(true), "patience first");
    update(&db, "UPDATE node_daemons SET unit_since = UTC_TIMESTAMP(6) - INTERVAL 61 SECOND").await;
    check_in(&db, node, Some(metrics()), "failed").await.unwrap();
    assert_eq!(is_open(&db, node).await, Some(false));
    assert_eq!(get(&db, "a.test").await.unwrap().degraded_daemons, ["queues"]);
    check_in(&db, node, Some(metrics()), "active").await.unwrap();
    assert_eq!(is_open(&db, node).await, Some(true));
    for schedulable in [false, true] {
        let request = SetNodeSchedulableRequest {
            context: None,
            reference: "a.test".into(),
            schedulable,
            draining: Some(!schedulable),
        };
        let request = Arc::new(request);
        let reply = db.run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { nodes::set_schedulable(conn, ctx, &request).await })
        });
        let seen = reply.await.unwrap().node.unwrap();
        assert_eq!((seen.schedulable, seen.draining), (schedulable, !schedulable));
        assert_eq!(is_open(&db, node).await, Some(schedulable));
    }
}

#[tokio::test]
async fn broken_storage_stays_an_error_until_an_operator_clears_it() {
    let Some(db) = TestDatabase::start().await else { return };
    let node = NodeId::random();
    register(&db, registration(node, "a.test")).await.unwrap();
    check_in(&db, node, Some(metrics()), "active").await.unwrap();
    let broken = Arc::new(SetNodeErrorRequest {
        context: None,
        node_uuid: node.to_string(),
        message: "instances is read-only".into(),
        storage_health: vec![StorageHealth {
            path: "instances".into(),
            object_types: vec!["instance".into()],
            healthy: false,
            detail: Some("EROFS".into()),
        }],
    });
    db.run(move |conn, ctx| {
        let broken = broken.clone();
        Box::pin(async move { nodes::set_error(conn, ctx, &broken).await })
    })
    .await
    .unwrap();
    assert_eq!(is_open(&db, node).await, Some(false));
    assert_eq!(check_in(&db, node, Some(metrics()), "active").await.unwrap().state, "error");
    assert_eq!(is_open(&db, node).await, Some(false));
    cascade(&db).await;
    assert!(!get(&db, "a.test").await.unwrap().storage_health[0].healthy);
    db.run(|conn, ctx| {
        Box::pin(async move {
            let request = ClearNodeErrorRequest { context: None, reference: "a.test".into() };
            nodes::clear_error(conn, ctx, &request).await
        })
    })
    .await
    .unwrap();
    check_in(&db, node, Some(metrics()), "active").await.unwrap();
    assert_eq!(is_open(&db, node).await, Some(true));
    let health: Vec<String> = sql("SELECT message AS value FROM events WHERE event_type = 'health'")
        .values(&mut db.conn().await)
        .await
        .unwrap();
    assert_eq!(health, ["instances is read-only"]);
}

#[tokio::test]
async fn a_deleted_node_is_gone_for_its_daemons_and_leaves_nothing() {
    let Some(db) = TestDatabase::start().await else { return };
    let node = NodeId::random();
    register(&db, registration(node, "a.test")).await.unwrap();
    check_in(&db, node, Some(metrics()), "active").await.unwrap();
    let report = Arc::new(ReportDaemonStateRequest {
        node_uuid: node.to_string(),
        daemon: "sf-queues".into(),
        state: "running".into(),
        incarnation: IncarnationId::random().to_string(),
        pid: 7,
        release: "0.1.0".into(),
        conditions: None,
    });
    let say = || {
        let report = report.clone();
        db.run(move |conn, _| {
            let report = report.clone();
            Box::pin(async move { nodes::report_daemon(conn, &report).await.map(|_| ()) })
        })
    };
    say().await.unwrap();
    db.run(|conn, ctx| {
        Box::pin(async move {
            let request =
                DeleteNodeRequest { context: None, reference: "a.test".into(), force: false, planned: false };
            nodes::delete(conn, ctx, &request).await
        })
    })
    .await
    .unwrap();
    for outcome in [
        say().await,
        check_in(&db, node, Some(metrics()), "active").await.map(|_| ()),
        register(&db, registration(node, "a.test")).await.map(|_| ()),
    ] {
        assert!(matches!(outcome, Err(StoreError::Missing { .. })), "{outcome:?}");
    }
    cascade(&db).await;
    for table in ["node_capacity", "node_metrics", "node_daemons", "node_storage_health"] {
        let query = sql(format!("SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM {table}"));
        let rows: Option<u64> = query.value(&mut db.conn().await).await.unwrap();
        assert_eq!(rows, Some(0), "{table}");
    }
    register(&db, registration(NodeId::random(), "a.test")).await.unwrap();
}

async fn delete(db: &TestDatabase, node: NodeId, force: bool) -> StoreResult<()> {
    db.run(move |conn, ctx| {
        Box::pin(async move {
            let reference = node.to_string();
            let request = DeleteNodeRequest { context: None, reference, force, planned: true };
            nodes::delete(conn, ctx, &request).await.map(|_| ())
        })
    })
    .await
}

#[tokio::test]
async fn a_planned_removal_loses_nothing() {
    let Some(db) = TestDatabase::start().await else { return };
    let (tier, spare) = (NodeId::random(), NodeId::random());
    let with = |node, name, daemons: &[&str]| RegisterNodeRequest {
        daemons: daemons.iter().map(|d| (*d).to_owned()).collect(),
        ..registration(node, name)
    };
    register(&db, with(tier, "tier.test", &["database", "resources"])).await.unwrap();
    register(&db, with(spare, "spare.test", &["queues", "transfers"])).await.unwrap();
    let why = |refused: StoreResult<()>| refused.unwrap_err().to_string();
    assert!(why(delete(&db, tier, true).await).contains("database tier"));
    let blob = sf_model::BlobId::random();
    update(
        &db,
        &format!(
            "INSERT INTO blobs (uuid, state, state_changed_at, created_at, version) \
         VALUES ('{blob}', 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 1)"
        ),
    )
    .await;
    let copy = |node| {
        format!(
            "INSERT INTO blob_replicas (blob_uuid, node_uuid, state, last_seen) \
         VALUES ('{blob}', '{node}', 'present', UTC_TIMESTAMP(6))"
        )
    };
    update(&db, &copy(spare)).await;
    let remains = async || {
        let request = GetNodeRemainsRequest { reference: "spare.test".into() };
        nodes::remains(&mut db.conn().await, &request).await.unwrap()
    };
    let before = remains().await;
    assert_eq!((before.blobs_under_replicated, before.last_copies), (1, 1));
    assert!(why(delete(&db, spare, false).await).contains("last copy"));
    update(&db, &copy(tier)).await;
    let after = remains().await;
    assert_eq!((after.blobs_under_replicated, after.last_copies, after.instance_count), (0, 0, 0));
    delete(&db, spare, false).await.unwrap();
}

#[tokio::test]
async fn a_node_shows_the_daemons_it_is_meant_to_run() {
    let Some(db) = TestDatabase::start().await else { return };
    let node = NodeId::random();
    register(&db, registration(node, "a.test")).await.unwrap();
    let names = |node: Node| node.daemons.into_iter().map(|daemon| daemon.daemon).collect::<Vec<_>>();
    assert_eq!(names(get(&db, "a.test").await.unwrap()), ["api", "queues", "resources"]);
    let fewer = RegisterNodeRequest {
        daemons: vec!["queues".into(), "resources".into()],
        ..registration(node, "a.test")
    };
    let node = register(&db, fewer).await.unwrap();
    assert!(node.checkin_age_seconds.is_some_and(|age| age >= 0.0));
    assert_eq!(names(node), ["queues", "resources"]);
}

#[tokio::test]
async fn a_second_node_is_refused_while_the_seed_is_stored_in_the_open() {
    let Some(db) = TestDatabase::start().await else { return };
    let set = |text: &'static str| {
        let key = "INSERT INTO cluster_config (key_name, value_text, is_secret, version, updated_at, updated_by) \
             VALUES ('AUTH_SECRET_SEED', ?, TRUE, 1, UTC_TIMESTAMP(6), 'test') \
             ON DUPLICATE KEY UPDATE value_text = VALUES(value_text)";
        sql(key).bind(text)
    };
    let mut conn = db.conn().await;
    set("in the open").run(&mut conn).await.unwrap();
    let first = NodeId::random();
    register(&db, registration(first, "n1")).await.unwrap();
    register(&db, registration(first, "n1")).await.unwrap();
    let refused = register(&db, registration(NodeId::random(), "n2")).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Precondition { reason: "open-seed", .. }), "{refused}");
    assert!(refused.to_string().contains("bootstrap-cluster"), "{refused}");
    set("kek1:0123:text").run(&mut conn).await.unwrap();
    register(&db, registration(NodeId::random(), "n2")).await.unwrap();
}
