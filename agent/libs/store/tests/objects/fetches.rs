//! Fetches: one at a time, validators, failures, and the disks that wait.

use sf_model::event::EventType;
use sf_model::{ArtifactId, BlobId, ObjectRef, ObjectType, OperationId};
use sf_protos::artifacts::begin_fetch_reply::Verdict;
use sf_protos::artifacts::complete_fetch_request::Outcome;
use sf_protos::artifacts::{
    BeginFetchReply, BeginFetchRequest, CompleteFetchReply, CompleteFetchRequest, FetchFailure, FetchedBlob,
    RequestFetchReply, RequestFetchRequest,
};
use sf_store::sql::sql;
use sf_store::{StoreError, StoreResult, artifacts};

use super::world::{World, at_once, caller};

const URL: &str = "https://images.example/debian.qcow2";

async fn request(world: &World, namespace: &str, url: &str) -> StoreResult<RequestFetchReply> {
    let request = RequestFetchRequest {
        caller: caller(namespace),
        artifact_uuid: ArtifactId::random().to_string(),
        namespace: namespace.to_owned(),
        url: url.to_owned(),
        operation_uuid: OperationId::ordered().to_string(),
        ..RequestFetchRequest::default()
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { artifacts::request_fetch(conn, ctx, &request).await })
        })
        .await
}

async fn begin(world: &World, artifact: &str, operation: &str) -> BeginFetchReply {
    let request = BeginFetchRequest {
        artifact_uuid: artifact.to_owned(),
        operation_uuid: operation.to_owned(),
        node_uuid: world.node.to_string(),
        resolved_url: URL.to_owned(),
        ..BeginFetchRequest::default()
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { artifacts::begin_fetch(conn, ctx, &request).await })
        })
        .await
        .unwrap()
}

async fn complete(
    world: &World,
    artifact: &str,
    operation: &str,
    outcome: Outcome,
) -> StoreResult<CompleteFetchReply> {
    let request = CompleteFetchRequest {
        artifact_uuid: artifact.to_owned(),
        operation_uuid: operation.to_owned(),
        resolved_url: URL.to_owned(),
        outcome: Some(outcome),
        ..CompleteFetchRequest::default()
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { artifacts::complete_fetch(conn, ctx, &request).await })
        })
        .await
}

fn fetched(blob: BlobId) -> Outcome {
    Outcome::Fetched(FetchedBlob {
        blob_uuid: blob.to_string(),
        etag: Some("\"v1\"".to_owned()),
        last_modified: None,
        content_length: Some(3),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_one_address_make_one_artifact_and_one_fetch() {
    let Some(world) = World::start().await else { return };
    let requests = (0..10).map(|_| {
        let world = world.clone();
        async move { request(&world, "a", URL).await.unwrap() }
    });
    let replies = at_once(requests).await;
    let first = &replies[0];
    assert!(
        replies.iter().all(|r| r.artifact.as_ref().unwrap().uuid == first.artifact.as_ref().unwrap().uuid)
    );
    assert!(replies.iter().all(|r| r.operation == first.operation));
    assert_eq!(world.number("SELECT COUNT(*) FROM work_queue").await, 1);
    let artifact = first.artifact.as_ref().unwrap();
    assert_eq!(
        (artifact.name.as_str(), artifact.state.as_ref().unwrap().state.as_str()),
        ("debian.qcow2", "initial")
    );
    assert_ne!(request(&world, "b", URL).await.unwrap().artifact.unwrap().uuid, artifact.uuid);
}

#[tokio::test]
async fn one_address_is_fetched_by_one_at_a_time() {
    let Some(world) = World::start().await else { return };
    let one = request(&world, "a", URL).await.unwrap();
    let two = request(&world, "b", URL).await.unwrap();
    let (a, b) = (one.artifact.unwrap().uuid, two.artifact.unwrap().uuid);
    let (first, second) = (OperationId::ordered().to_string(), OperationId::ordered().to_string());
    assert_eq!(begin(&world, &a, &first).await.verdict(), Verdict::Fetch);
    assert_eq!(begin(&world, &a, &first).await.verdict(), Verdict::Fetch, "its own lease again");
    assert_eq!(begin(&world, &b, &second).await.verdict(), Verdict::Busy);
    let blob = world.blob("one").await;
    let reply = complete(&world, &a, &first, fetched(blob)).await.unwrap();
    assert_eq!((reply.index, reply.blob_uuid), (Some(1), Some(blob.to_string())));
    // The second asks by validators and gets the same bytes without a download.
    let begun = begin(&world, &b, &second).await;
    assert_eq!((begun.verdict(), begun.etag.as_deref()), (Verdict::Fetch, Some("\"v1\"")));
    let reply = complete(&world, &b, &second, Outcome::NotModified(true)).await.unwrap();
    assert_eq!(reply.blob_uuid, Some(blob.to_string()));
    assert_eq!(world.number("SELECT COUNT(*) FROM artifact_fetches").await, 0);
    // A lease that lapsed may be taken over; an artifact that is gone says so.
    begin(&world, &a, &first).await;
    world.execute(sql("UPDATE artifact_fetches SET lease_until = UTC_TIMESTAMP(6)")).await;
    assert_eq!(begin(&world, &b, &second).await.verdict(), Verdict::Fetch);
    assert_eq!(begin(&world, &ArtifactId::random().to_string(), &first).await.verdict(), Verdict::Gone);
}

#[tokio::test]
async fn a_failed_first_fetch_is_an_error_and_a_failed_refresh_is_not() {
    let Some(world) = World::start().await else { return };
    let reply = request(&world, "a", URL).await.unwrap();
    let artifact = reply.artifact.unwrap().uuid;
    let operation = OperationId::ordered().to_string();
    let failure =
        || Outcome::Failed(FetchFailure { message: "images.example says 404".to_owned(), permanent: true });
    assert!(complete(&world, &artifact, &operation, failure()).await.unwrap().errored);
    let state = || world.text("SELECT CONCAT(state, ' ', COALESCE(error_message, '')) FROM artifacts");
    assert_eq!(state().await, "error images.example says 404");
    assert_eq!(
        request(&world, "a", URL).await.unwrap().artifact.unwrap().uuid,
        artifact,
        "the same one again"
    );
    assert_eq!(state().await, "initial ");
    let blob = world.blob("one").await;
    complete(&world, &artifact, &operation, fetched(blob)).await.unwrap();
    let reply = complete(&world, &artifact, &operation, failure()).await.unwrap();
    assert_eq!((reply.errored, reply.blob_uuid), (false, Some(blob.to_string())));
    assert_eq!(state().await, "created ");
}

#[tokio::test]
async fn an_origin_that_says_too_much_ends_the_fetch_like_any_other() {
    let Some(world) = World::start().await else { return };
    let artifact = request(&world, "a", URL).await.unwrap().artifact.unwrap().uuid;
    let operation = OperationId::ordered().to_string();
    let message = format!("https://images.example/{} is forbidden", "é".repeat(50_000));
    let failure = Outcome::Failed(FetchFailure { message, permanent: true });
    assert!(complete(&world, &artifact, &operation, failure).await.unwrap().errored);
    let state = world.text("SELECT CONCAT(state, ' ', LENGTH(error_message) <= 4096) FROM artifacts").await;
    assert_eq!(state, "error 1");
    let told = "SELECT COUNT(*) FROM events WHERE message LIKE 'fetch failed: https://images.example/%…'";
    assert_eq!(world.number(told).await, 1);
}

#[tokio::test]
async fn the_tier_tells_no_secrets_and_nothing_too_large() {
    let Some(world) = World::start().await else { return };
    world
        .run(|_, ctx| {
            let object = [ObjectRef::new(ObjectType::Node, "n")];
            let secret = serde_json::json!({ "password": "hush", "user": "u" });
            ctx.event_with(EventType::Audit, "one", &object, Some(&secret));
            let large = serde_json::json!({ "text": "x".repeat(100_000) });
            ctx.event_with(EventType::Audit, "", &object, Some(&large));
            Box::pin(std::future::ready(Ok(())))
        })
        .await
        .unwrap();
    let extra = world.text("SELECT extra FROM events WHERE message = 'one'").await;
    assert_eq!(extra, r#"{"password":"<redacted>","user":"u"}"#);
    let extra = world.text("SELECT extra FROM events WHERE message = '(no message)'").await;
    assert!(extra.contains("truncated"), "{extra}");
}

#[tokio::test]
async fn disks_that_waited_get_the_blob_and_keep_it() {
    let Some(world) = World::start().await else { return };
    let artifact = request(&world, "a", URL).await.unwrap().artifact.unwrap().uuid;
    let instance = world.instance("a", "one").await;
    world.set_state("instances", instance.as_uuid(), "preflight").await;
    world
        .execute(
            sql("INSERT INTO instance_disks (instance_uuid, position, bus, present_as, device, artifact_uuid, format) \
                 VALUES (?, 0, 'virtio', 'disk', 'vda', ?, 'qcow2')")
            .bind(instance)
            .bind(&artifact),
        )
        .await;
    let blob = world.blob("one").await;
    complete(&world, &artifact, &OperationId::ordered().to_string(), fetched(blob)).await.unwrap();
    assert_eq!(world.text("SELECT blob_uuid FROM instance_disks").await, blob.to_string());
    let kept = format!(
        "SELECT COUNT(*) FROM blob_references WHERE blob_uuid = '{blob}' AND kind = 'disk' AND holder_uuid = '{instance}' AND holder_key = '0'"
    );
    assert_eq!(world.number(&kept).await, 1);
}

#[tokio::test]
async fn a_fetch_needs_a_node_with_a_store_that_takes_work() {
    let Some(world) = World::start().await else { return };
    // First a host of the API alone is left, then none at all.
    for daemon in ["queues", "transfers"] {
        world.execute(sql("DELETE FROM node_daemons WHERE daemon = ?").bind(daemon)).await;
        let refused = request(&world, "a", URL).await;
        assert!(matches!(refused, Err(StoreError::Precondition { reason: "no-store", .. })));
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM artifacts").await, 0);
}
