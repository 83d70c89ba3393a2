//! Uploads: commit under a guard, the version in the blob's transaction, giving back, expiry.

use sf_model::{ArtifactId, BlobId, UploadId};
use sf_protos::blobs::{
    AbortUploadCommitRequest, BeginUploadCommitReply, BeginUploadCommitRequest, CreateUploadRequest,
    GetUploadRequest, TouchUploadsRequest, UploadTarget,
};
use sf_store::blobs::Garbage;
use sf_store::sql::sql;
use sf_store::{StoreError, StoreResult, uploads};

use super::world::{World, caller, commit_request};

async fn create(world: &World, namespace: &str) -> UploadId {
    let upload = UploadId::random();
    let request = CreateUploadRequest {
        upload_uuid: upload.to_string(),
        namespace: namespace.to_owned(),
        node_uuid: world.node.to_string(),
        ..CreateUploadRequest::default()
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { uploads::create(conn, ctx, &request).await })
        })
        .await
        .unwrap();
    upload
}

async fn begin(world: &World, upload: UploadId, blob: BlobId) -> StoreResult<BeginUploadCommitReply> {
    let request = BeginUploadCommitRequest {
        upload_uuid: upload.to_string(),
        node_uuid: world.node.to_string(),
        blob_uuid: blob.to_string(),
        ..BeginUploadCommitRequest::default()
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { uploads::begin_commit(conn, ctx, &request).await })
        })
        .await
}

fn target(upload: UploadId, namespace: &str, owner: &str) -> UploadTarget {
    UploadTarget {
        upload_uuid: upload.to_string(),
        caller: caller(namespace),
        artifact_uuid: ArtifactId::random().to_string(),
        namespace: owner.to_owned(),
        artifact_type: "image".to_owned(),
        source_url: format!("sf://upload/{owner}/disk"),
        name: "disk".to_owned(),
        shared: false,
    }
}

#[tokio::test]
async fn an_upload_becomes_a_version_once() {
    let Some(world) = World::start().await else { return };
    let upload = create(&world, "a").await;
    let blob = BlobId::random();
    assert!(begin(&world, upload, blob).await.unwrap().already.is_none());
    assert!(begin(&world, upload, blob).await.unwrap().already.is_none(), "the same attempt again");
    let loser = begin(&world, upload, BlobId::random()).await;
    assert!(matches!(loser, Err(StoreError::Precondition { reason: "bad-state", .. })));
    let mut request = commit_request(blob, world.node, "bytes");
    request.may_deduplicate = true;
    request.upload = Some(target(upload, "a", "a"));
    let artifact = world.commit(request).await.unwrap().artifact.unwrap();
    assert_eq!((artifact.name.as_str(), artifact.versions.len()), ("disk", 1));
    assert_eq!(artifact.versions[0].blob_uuid, blob.to_string());
    let again = begin(&world, upload, BlobId::random()).await.unwrap().already.unwrap();
    assert_eq!(again.uuid, artifact.uuid, "a repeated commit answers the recorded result");
    assert_eq!(world.number("SELECT COUNT(*) FROM blob_references WHERE kind = 'pin'").await, 0);
    assert_eq!(
        world.number("SELECT COUNT(*) FROM uploads WHERE state = 'deleted' AND result_index = 1").await,
        1
    );
}

#[tokio::test]
async fn a_failed_commit_gives_the_upload_back() {
    let Some(world) = World::start().await else { return };
    let upload = create(&world, "a").await;
    let blob = BlobId::random();
    begin(&world, upload, blob).await.unwrap();
    let request = AbortUploadCommitRequest {
        upload_uuid: upload.to_string(),
        blob_uuid: blob.to_string(),
        ..AbortUploadCommitRequest::default()
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { uploads::abort_commit(conn, ctx, &request).await })
        })
        .await
        .unwrap();
    assert_eq!(world.text(&format!("SELECT state FROM blobs WHERE uuid = '{blob}'")).await, "deleted");
    assert!(begin(&world, upload, BlobId::random()).await.unwrap().already.is_none());
}

#[tokio::test]
async fn trust_adds_artifacts_and_never_versions() {
    let Some(world) = World::start().await else { return };
    world.trust("b", "a").await;
    let gift = |content: &'static str| {
        let world = world.clone();
        async move {
            let upload = create(&world, "a").await;
            let blob = BlobId::random();
            begin(&world, upload, blob).await.unwrap();
            let mut request = commit_request(blob, world.node, content);
            request.upload = Some(target(upload, "a", "b"));
            world.commit(request).await
        }
    };
    assert_eq!(gift("one").await.unwrap().artifact.unwrap().namespace, "b");
    assert!(matches!(gift("two").await, Err(StoreError::Missing { .. })));
    world.execute(sql("DELETE FROM namespace_trusts")).await;
    world.execute(sql("UPDATE artifacts SET live_key = NULL, state = 'deleted'")).await;
    assert!(
        matches!(gift("three").await, Err(StoreError::Missing { .. })),
        "without trust the namespace is hidden"
    );
}

#[tokio::test]
async fn uploads_are_their_owners_and_expire() {
    let Some(world) = World::start().await else { return };
    let upload = create(&world, "a").await;
    let mut conn = world.db.conn().await;
    for (namespace, seen) in [("a", true), ("b", false), ("system", true)] {
        let request = GetUploadRequest { caller: caller(namespace), upload_uuid: upload.to_string() };
        assert_eq!(uploads::get(&mut conn, &request).await.is_ok(), seen, "{namespace}");
    }
    world.execute(sql("UPDATE uploads SET last_active = TIMESTAMPADD(DAY, -2, UTC_TIMESTAMP(6))")).await;
    let unknown = UploadId::random();
    let touch = TouchUploadsRequest {
        node_uuid: world.node.to_string(),
        upload_uuids: vec![upload.to_string(), unknown.to_string()],
    };
    let reply = world
        .run(move |conn, _| {
            let touch = touch.clone();
            Box::pin(async move { uploads::touch(conn, &touch).await })
        })
        .await
        .unwrap();
    assert_eq!(reply.gone, [unknown.to_string()]);
    assert!(world.reap_storage().await.is_empty());
    world.execute(sql("UPDATE uploads SET last_active = TIMESTAMPADD(DAY, -2, UTC_TIMESTAMP(6))")).await;
    assert_eq!(world.reap_storage().await, [(Garbage::Uploads, 1)]);
}
