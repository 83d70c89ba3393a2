//! Blobs: references, deduplication, leases, reachability, hashes, what nodes report, reaping.

use sf_model::{BlobId, OperationId};
use sf_protos::blobs::{
    CheckBlobsRequest, FindBlobByHashRequest, GetBlobRequest, Hash, ListReplicasOfNodeRequest,
    RenewLeasesRequest, ReportReplicaScanRequest, RequestHashRequest,
};
use sf_store::blobs::Garbage;
use sf_store::lookup::Viewer;
use sf_store::references::{self, ReferenceKind};
use sf_store::sql::sql;
use sf_store::{StoreError, StoreResult, blobs};
use uuid::Uuid;

use super::world::{World, caller, commit_request};

async fn state(world: &World, blob: BlobId) -> String {
    world.text(&format!("SELECT state FROM blobs WHERE uuid = '{blob}'")).await
}

async fn refer(
    world: &World,
    blob: BlobId,
    kind: ReferenceKind,
    holder: Uuid,
    key: &'static str,
) -> StoreResult<()> {
    world
        .run(move |conn, _| Box::pin(async move { references::add(conn, blob, kind, holder, key).await }))
        .await
}

async fn unpin_all(world: &World) {
    world.execute(sql("DELETE FROM blob_references WHERE kind = 'pin'")).await;
}

#[tokio::test]
async fn the_last_reference_deletes_the_blob_and_what_it_held() {
    let Some(world) = World::start().await else { return };
    let (parent, child) = (world.blob("parent").await, world.blob("child").await);
    unpin_all(&world).await;
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    refer(&world, parent, ReferenceKind::DependsOn, child.as_uuid(), "").await.unwrap();
    refer(&world, child, ReferenceKind::Disk, one, "0").await.unwrap();
    refer(&world, child, ReferenceKind::Disk, one, "0").await.unwrap();
    refer(&world, child, ReferenceKind::ArtifactIndex, two, "000000000001").await.unwrap();
    assert_eq!(
        world.number(&format!("SELECT COUNT(*) FROM blob_references WHERE blob_uuid = '{child}'")).await,
        2
    );
    let remove = |holder: Uuid| {
        world.run(move |conn, _| {
            Box::pin(async move { references::remove_holder(conn, holder, ReferenceKind::Disk).await })
        })
    };
    remove(one).await.unwrap();
    remove(one).await.unwrap();
    assert_eq!(state(&world, child).await, "created");
    world
        .run(move |conn, _| {
            Box::pin(async move {
                references::remove(conn, child, ReferenceKind::ArtifactIndex, two, "000000000001").await
            })
        })
        .await
        .unwrap();
    assert_eq!(
        (state(&world, child).await, state(&world, parent).await),
        ("deleted".into(), "deleted".into())
    );
    let refused = refer(&world, child, ReferenceKind::Disk, one, "0").await;
    assert!(matches!(refused, Err(StoreError::Precondition { reason: "blob_deleted", .. })));
    assert!(matches!(
        refer(&world, BlobId::random(), ReferenceKind::Disk, one, "0").await,
        Err(StoreError::Missing { .. })
    ));
}

#[tokio::test]
async fn a_live_pin_keeps_a_blob_and_a_lapsed_one_does_not() {
    let Some(world) = World::start().await else { return };
    let blob = world.blob("pinned").await;
    let holder = Uuid::new_v4();
    refer(&world, blob, ReferenceKind::Disk, holder, "0").await.unwrap();
    let drop_disk = || {
        world.run(move |conn, _| {
            Box::pin(async move { references::remove_holder(conn, holder, ReferenceKind::Disk).await })
        })
    };
    drop_disk().await.unwrap();
    assert_eq!(state(&world, blob).await, "created");
    refer(&world, blob, ReferenceKind::Disk, holder, "0").await.unwrap();
    world.execute(sql("UPDATE blob_references SET lease_until = UTC_TIMESTAMP(6) WHERE kind = 'pin'")).await;
    drop_disk().await.unwrap();
    assert_eq!(state(&world, blob).await, "deleted");
}

#[tokio::test]
async fn equal_bytes_are_stored_once_when_they_may_be() {
    let Some(world) = World::start().await else { return };
    let first = world.blob("same").await;
    let second = BlobId::random();
    let holder = OperationId::ordered();
    world.reserve(second, holder.to_string()).await;
    let mut request = commit_request(second, world.node, "same");
    request.may_deduplicate = true;
    for _ in 0..2 {
        let reply = world.commit(request.clone()).await.unwrap();
        assert_eq!(
            (reply.blob_uuid.as_str(), reply.deduplicated, reply.present_here),
            (first.to_string().as_str(), true, true)
        );
    }
    assert_eq!(state(&world, second).await, "deleted");
    let moved = format!(
        "SELECT COUNT(*) FROM blob_references WHERE blob_uuid = '{first}' AND holder_uuid = '{holder}'"
    );
    assert_eq!(world.number(&moved).await, 1, "the producer keeps its pin");
    // A snapshot's identity was promised: it is never replaced.
    let third = BlobId::random();
    world.reserve(third, holder.to_string()).await;
    let reply = world.commit(commit_request(third, world.node, "same")).await.unwrap();
    assert_eq!((reply.blob_uuid, reply.deduplicated), (third.to_string(), false));
    // Equal SHA-512 alone is not enough.
    let fourth = BlobId::random();
    world.reserve(fourth, holder.to_string()).await;
    let mut request = commit_request(fourth, world.node, "same");
    request.may_deduplicate = true;
    request.hashes[1] = Hash { algorithm: "blake3".to_owned(), value: "0".repeat(64) };
    assert!(!world.commit(request).await.unwrap().deduplicated);
}

#[tokio::test]
async fn a_blob_that_was_given_up_is_not_committed() {
    let Some(world) = World::start().await else { return };
    let blob = BlobId::random();
    assert!(matches!(
        world.commit(commit_request(blob, world.node, "x")).await,
        Err(StoreError::Missing { .. })
    ));
    world.reserve(blob, OperationId::ordered().to_string()).await;
    world
        .execute(sql("UPDATE blobs SET writer_lease_until = TIMESTAMPADD(MINUTE, -10, UTC_TIMESTAMP(6))"))
        .await;
    assert_eq!(world.reap_storage().await, [(Garbage::Unfinished, 1)]);
    let refused = world.commit(commit_request(blob, world.node, "x")).await;
    assert!(matches!(refused, Err(StoreError::Precondition { reason: "bad-state", .. })));
}

#[tokio::test]
async fn leases_are_renewed_for_their_writer_only() {
    let Some(world) = World::start().await else { return };
    let mine = BlobId::random();
    world.reserve(mine, OperationId::ordered().to_string()).await;
    let stranger = BlobId::random();
    let request = RenewLeasesRequest {
        node_uuid: world.node.to_string(),
        writing: vec![mine.to_string(), stranger.to_string()],
        holders: vec![],
        ..RenewLeasesRequest::default()
    };
    let reply = world
        .run(move |conn, _| {
            let request = request.clone();
            Box::pin(async move { blobs::renew_leases(conn, &request).await })
        })
        .await
        .unwrap();
    assert_eq!(reply.lost, [stranger.to_string()]);
}

#[tokio::test]
async fn blobs_nothing_refers_to_go_after_their_grace() {
    let Some(world) = World::start().await else { return };
    let blob = world.blob("loose").await;
    unpin_all(&world).await;
    assert!(world.reap_storage().await.is_empty());
    world
        .execute(sql("UPDATE blobs SET state_changed_at = TIMESTAMPADD(MINUTE, -6, UTC_TIMESTAMP(6))"))
        .await;
    assert_eq!(world.reap_storage().await, [(Garbage::Loose, 1)]);
    assert_eq!(state(&world, blob).await, "deleted");
    // The row goes only when no node has the bytes any more.
    world.execute(sql("UPDATE blobs SET state_changed_at = TIMESTAMPADD(HOUR, -2, UTC_TIMESTAMP(6))")).await;
    let hard = || world.run(|conn, ctx| Box::pin(async move { blobs::hard_delete(conn, ctx, 100).await }));
    assert_eq!(hard().await.unwrap(), 0);
    let request = ReportReplicaScanRequest {
        node_uuid: world.node.to_string(),
        removed: vec![blob.to_string()],
        ..ReportReplicaScanRequest::default()
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { blobs::report_scan(conn, ctx, &request).await })
        })
        .await
        .unwrap();
    assert_eq!(hard().await.unwrap(), 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM blob_hashes").await, 0);
}

#[tokio::test]
async fn a_blob_is_reached_through_what_holds_it() {
    let Some(world) = World::start().await else { return };
    let reach = |namespace: &'static str, blob: BlobId| {
        let world = world.clone();
        async move {
            let mut conn = world.db.conn().await;
            blobs::is_reachable(&mut conn, &Viewer::of(namespace), blob).await.unwrap()
        }
    };
    let blob = world.blob("root").await;
    assert!(reach("system", blob).await && !reach("a", blob).await);
    // Through an artifact, own and trusted.
    world.artifact("a", "web", blob).await;
    assert!(reach("a", blob).await && !reach("b", blob).await);
    world.trust("a", "b").await;
    assert!(reach("b", blob).await);
    world.execute(sql("DELETE FROM namespace_trusts")).await;
    assert!(!reach("b", blob).await);
    // Through a child blob that an instance uses: two steps down.
    let (child, grandchild) = (world.blob("child").await, world.blob("grandchild").await);
    refer(&world, blob, ReferenceKind::DependsOn, child.as_uuid(), "").await.unwrap();
    refer(&world, grandchild, ReferenceKind::Transcode, child.as_uuid(), "qcow2").await.unwrap();
    let instance = world.instance("b", "one").await;
    refer(&world, grandchild, ReferenceKind::Disk, instance.as_uuid(), "0").await.unwrap();
    assert!(reach("b", grandchild).await && reach("b", child).await && reach("b", blob).await);
    assert!(!reach("a", grandchild).await, "a reaches the root, not what others made of it");
    assert!(!reach("a", BlobId::random()).await && !reach("system", BlobId::random()).await);
    // A published hash buys nothing.
    let hash = world
        .text(&format!(
            "SELECT value FROM blob_hashes WHERE blob_uuid = '{grandchild}' AND algorithm = 'sha512'"
        ))
        .await;
    let mut conn = world.db.conn().await;
    for (namespace, found) in [("a", false), ("b", true), ("system", true)] {
        let request = FindBlobByHashRequest {
            caller: caller(namespace),
            algorithm: "sha512".to_owned(),
            value: hash.clone(),
        };
        assert_eq!(
            blobs::find_by_hash(&mut conn, &request).await.unwrap().blob.is_some(),
            found,
            "{namespace}"
        );
    }
}

#[tokio::test]
async fn views_name_users_the_caller_may_see() {
    let Some(world) = World::start().await else { return };
    let blob = world.blob("shared").await;
    world.artifact("a", "web", blob).await;
    let (own, foreign) = (world.instance("a", "one").await, world.instance("b", "two").await);
    for instance in [own, foreign] {
        refer(&world, blob, ReferenceKind::Disk, instance.as_uuid(), "0").await.unwrap();
    }
    let mut conn = world.db.conn().await;
    for (namespace, users) in
        [("a", vec![own.to_string()]), ("system", vec![own.to_string(), foreign.to_string()])]
    {
        let request = GetBlobRequest { caller: caller(namespace), blob_uuid: blob.to_string() };
        let view = blobs::get(&mut conn, &request).await.unwrap().blob.unwrap();
        let mut seen = view.instance_uuids.clone();
        seen.sort();
        let mut expected = users;
        expected.sort();
        assert_eq!((seen, view.reference_count), (expected, 3), "{namespace}");
        assert_eq!(view.locations, ["one"]);
        assert_eq!(view.hashes.len(), 2);
    }
}

#[tokio::test]
async fn a_missing_hash_is_queued_once_where_the_bytes_are() {
    let Some(world) = World::start().await else { return };
    let blob = world.blob("hash me").await;
    let ask = |algorithm: &str| {
        let request = RequestHashRequest {
            caller: caller("system"),
            blob_uuid: blob.to_string(),
            algorithm: algorithm.to_owned(),
            ..RequestHashRequest::default()
        };
        let world = world.clone();
        async move {
            world
                .run(move |conn, ctx| {
                    let request = request.clone();
                    Box::pin(async move { blobs::request_hash(conn, ctx, &request).await })
                })
                .await
                .unwrap()
                .value
        }
    };
    assert!(ask("sha512").await.is_some());
    assert!(ask("sha1").await.is_none() && ask("sha1").await.is_none());
    assert_eq!(world.number("SELECT COUNT(*) FROM work_queue").await, 1);
}

#[tokio::test]
async fn a_node_learns_what_its_files_are() {
    let Some(world) = World::start().await else { return };
    let (kept, unknown) = (world.blob("kept").await, BlobId::random());
    let mut conn = world.db.conn().await;
    let request = CheckBlobsRequest {
        node_uuid: world.node.to_string(),
        blob_uuids: vec![kept.to_string(), unknown.to_string()],
    };
    let verdicts = blobs::check_blobs(&mut conn, &request).await.unwrap().verdicts;
    assert_eq!(
        verdicts.iter().map(|v| (v.state.as_str(), v.pinned)).collect::<Vec<_>>(),
        [("created", true), ("", false)]
    );
    let request = ListReplicasOfNodeRequest { node_uuid: world.node.to_string(), page: None };
    let replicas = blobs::list_of_node(&mut conn, &request).await.unwrap().replicas;
    assert_eq!(
        replicas.iter().map(|r| (r.blob_uuid.clone(), r.size, r.in_use)).collect::<Vec<_>>(),
        [(kept.to_string(), 4, true)]
    );
    let report = ReportReplicaScanRequest {
        node_uuid: world.node.to_string(),
        missing: vec![kept.to_string()],
        found: vec![unknown.to_string()],
        ..ReportReplicaScanRequest::default()
    };
    world
        .run(move |conn, ctx| {
            let report = report.clone();
            Box::pin(async move { blobs::report_scan(conn, ctx, &report).await })
        })
        .await
        .unwrap();
    assert_eq!(world.number("SELECT COUNT(*) FROM blob_replicas").await, 0);
    assert_eq!(world.number("SELECT COUNT(*) FROM events WHERE message = 'blob missing from node'").await, 1);
}

#[tokio::test]
async fn garbage_goes_a_few_at_a_time_each_kind_by_itself() {
    let Some(world) = World::start().await else { return };
    let lapsed = "UTC_TIMESTAMP(6) - INTERVAL 1 HOUR";
    for insert in [
        format!(
            "INSERT INTO blob_references (blob_uuid, kind, holder_uuid, created_at, lease_until) \
             SELECT UUID(), 'pin', UUID(), {lapsed}, {lapsed} FROM seq_1_to_250"
        ),
        format!(
            "INSERT INTO blob_transfers (uuid, blob_uuid, dest_node, purpose, bytes_total, lease_until, created_at) \
             SELECT UUID(), UUID(), UUID(), 'copy', 1, {lapsed}, {lapsed} FROM seq_1_to_250"
        ),
        format!(
            "INSERT INTO artifact_fetches (flight_key, operation_uuid, node_uuid, lease_until) \
             SELECT UNHEX(SHA2(seq, 256)), UUID(), UUID(), {lapsed} FROM seq_1_to_250"
        ),
    ] {
        world.execute(sql(insert)).await;
    }
    let leased = |rows| [Garbage::Fetches, Garbage::Transfers, Garbage::References].map(|kind| (kind, rows));
    assert_eq!(world.reap_storage().await, leased(blobs::REAP_BATCH));
    assert_eq!(world.reap_storage().await, leased(50));
    assert!(world.reap_storage().await.is_empty());
}
