//! Copies on their way between nodes: grants, progress, the commit that ends one, the failure that ends one.

use sf_model::{BlobId, NodeId, TransferId};
use sf_protos::blobs::{
    AcquireTransferReply, AcquireTransferRequest, FinishTransferRequest, RenewLeasesRequest, TransferProgress,
};
use sf_store::sql::sql;
use sf_store::{StoreError, StoreResult, blobs};

use super::world::{World, commit_request};

async fn acquire(world: &World, blob: BlobId, node: NodeId) -> StoreResult<AcquireTransferReply> {
    let request = AcquireTransferRequest {
        transfer_uuid: TransferId::random().to_string(),
        blob_uuid: blob.to_string(),
        node_uuid: node.to_string(),
        purpose: "boot".to_owned(),
        ..AcquireTransferRequest::default()
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { blobs::acquire_transfer(conn, ctx, &request).await })
        })
        .await
}

async fn finish(world: &World, transfer: &str, blob: BlobId, node: NodeId, suspects: Vec<String>) {
    let request = FinishTransferRequest {
        transfer_uuid: transfer.to_owned(),
        blob_uuid: blob.to_string(),
        node_uuid: node.to_string(),
        error: "the bytes were others".to_owned(),
        suspect_nodes: suspects,
        ..FinishTransferRequest::default()
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { blobs::finish_transfer(conn, ctx, &request).await })
        })
        .await
        .unwrap();
}

async fn world_of_three() -> Option<(World, NodeId, NodeId)> {
    let world = World::start().await?;
    let (second, third) = (NodeId::random(), NodeId::random());
    world.add_node(second, "second", "10.0.0.2").await;
    world.add_node(third, "third", "10.0.0.3").await;
    Some((world, second, third))
}

#[tokio::test]
async fn a_grant_names_sources_and_hashes_and_its_commit_makes_a_copy() {
    let Some((world, second, _)) = world_of_three().await else { return };
    let blob = world.blob("content").await;
    let granted = acquire(&world, blob, second).await.unwrap();
    assert!(!granted.joined);
    assert_eq!(granted.size, 7);
    assert_eq!(granted.hashes.len(), 2);
    let sources: Vec<_> = granted.sources.iter().map(|s| s.node_uuid.clone()).collect();
    assert_eq!(sources, [world.node.to_string()]);
    // A node that was restarted gets the same transfer.
    let again = acquire(&world, blob, second).await.unwrap();
    assert!(again.joined && again.transfer_uuid == granted.transfer_uuid);

    let request = commit_request(blob, second, "content");
    assert_eq!(world.commit(request).await.unwrap().blob_uuid, blob.to_string());
    assert_eq!(world.number("SELECT COUNT(*) FROM blob_transfers").await, 0);
    let copies =
        format!("SELECT COUNT(*) FROM blob_replicas WHERE blob_uuid = '{blob}' AND state = 'present'");
    assert_eq!(world.number(&copies).await, 2);
    // Whoever asks has looked: its copy is not there any more.
    let lost = acquire(&world, blob, second).await.unwrap();
    assert_eq!(lost.sources.len(), 1);
    assert_eq!(world.number(&copies).await, 1);
}

#[tokio::test]
async fn busy_sources_come_later_and_progress_keeps_a_lease() {
    let Some((world, second, third)) = world_of_three().await else { return };
    let blob = world.blob("content").await;
    world.commit(commit_request(blob, second, "content")).await.unwrap();
    let other = world.blob("other").await;
    let busy = acquire(&world, other, third).await.unwrap();
    let first: NodeId = acquire(&world, blob, third).await.unwrap().sources[0].node_uuid.parse().unwrap();
    world.execute(sql("UPDATE blob_transfers SET lease_until = '2000-01-01'")).await;
    let request = RenewLeasesRequest {
        node_uuid: third.to_string(),
        transfers: vec![TransferProgress {
            transfer_uuid: busy.transfer_uuid,
            source_node_uuid: first.to_string(),
            bytes_done: 3,
        }],
        ..RenewLeasesRequest::default()
    };
    world
        .run(move |conn, _| {
            let request = request.clone();
            Box::pin(async move { blobs::renew_leases(conn, &request).await })
        })
        .await
        .unwrap();
    assert_eq!(
        world.number("SELECT SUM(bytes_done) FROM blob_transfers WHERE lease_until > UTC_TIMESTAMP(6)").await,
        3
    );
    let now = acquire(&world, blob, third).await.unwrap();
    assert_ne!(now.sources[0].node_uuid, first.to_string());
    world.reap_storage().await;
    assert_eq!(world.number("SELECT COUNT(*) FROM blob_transfers").await, 2, "both have a lease now");
}

#[tokio::test]
async fn a_source_of_wrong_bytes_is_suspect_and_comes_last() {
    let Some((world, second, third)) = world_of_three().await else { return };
    let blob = world.blob("content").await;
    world.commit(commit_request(blob, second, "content")).await.unwrap();
    let granted = acquire(&world, blob, third).await.unwrap();
    finish(&world, &granted.transfer_uuid, blob, third, vec![granted.sources[0].node_uuid.clone()]).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM blob_transfers").await, 0);
    let next = acquire(&world, blob, third).await.unwrap();
    assert_eq!(next.sources.last().unwrap().node_uuid, granted.sources[0].node_uuid);
    assert_eq!(next.sources.len(), 2);
}

#[tokio::test]
async fn what_cannot_be_copied_is_refused_with_its_reason() {
    let Some((world, second, _)) = world_of_three().await else { return };
    let unfinished = BlobId::random();
    world.reserve(unfinished, TransferId::random().to_string()).await;
    let refused = acquire(&world, unfinished, second).await.unwrap_err();
    assert!(matches!(refused, StoreError::Precondition { reason: "bad-state", .. }), "{refused}");
    assert!(matches!(acquire(&world, BlobId::random(), second).await, Err(StoreError::Missing { .. })));
    let blob = world.blob("content").await;
    world.set_state("nodes", world.node.as_uuid(), "error").await;
    let refused = acquire(&world, blob, second).await.unwrap_err();
    assert!(matches!(refused, StoreError::Precondition { reason: "no_source", .. }), "{refused}");
}
