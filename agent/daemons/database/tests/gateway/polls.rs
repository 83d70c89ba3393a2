//! Long polls: woken at once by this gateway, soon by another one, sent home by a drain.

use std::time::Duration;

use sf_gateway::{CallClass, Gateway};
use sf_model::operation::OperationArgs;
use sf_model::{ClaimToken, IncarnationId, InstanceId, NodeId, OperationId};
use sf_protos::operations::{
    CompleteOperationRequest, DequeueWorkReply, DequeueWorkRequest, EnqueueOperationsRequest, NewOperation,
    WaitOperationsRequest,
};
use tokio::task::JoinHandle;

use sf_daemon_database::testing::LocalTier;

use crate::tier::World;

/// Longer than any test should need; a poll that ends by its own patience answers empty and fails the test.
const PATIENCE_MS: u32 = 20_000;

fn poll(client: &Gateway, node: NodeId, token: ClaimToken) -> JoinHandle<DequeueWorkReply> {
    let request = DequeueWorkRequest {
        node_uuid: node.to_string(),
        daemon: "queues".into(),
        incarnation: IncarnationId::random().to_string(),
        claim_token: token.to_string(),
        limit: 4,
        wait_ms: PATIENCE_MS,
    };
    let client = client.clone();
    tokio::spawn(async move { client.call(CallClass::Wait, request).await.unwrap() })
}

async fn enqueue(client: &Gateway, node: NodeId) -> OperationId {
    let id = OperationId::ordered();
    let args = OperationArgs::InstanceDelete { instance: InstanceId::random() };
    let operation = NewOperation {
        uuid: id.to_string(),
        node_uuid: node.to_string(),
        arguments_json: serde_json::to_string(&args).unwrap(),
        ..NewOperation::default()
    };
    let request = EnqueueOperationsRequest { context: None, operations: vec![operation] };
    client.call(CallClass::Interactive, request).await.unwrap();
    id
}

/// Until the gateway has a waiter: its work query runs only then.
async fn settle() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_reaches_a_waiting_worker_through_either_gateway() {
    let Some(world) = World::start().await else { return };
    let second = LocalTier::start(&world.database).await;
    let here = world.client("queues");
    for through in [here.clone(), second.client("queues", world.node)] {
        let waiting = poll(&here, world.node, ClaimToken::random());
        settle().await;
        let id = enqueue(&through, world.node).await;
        let work = waiting.await.unwrap().work;
        assert_eq!(work.iter().map(|w| w.operation_uuid.clone()).collect::<Vec<_>>(), [id.to_string()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_workers_share_what_comes() {
    let Some(world) = World::start().await else { return };
    let client = world.client("queues");
    let waiting: Vec<_> = (0..6).map(|_| poll(&client, world.node, ClaimToken::random())).collect();
    settle().await;
    let mut wanted = Vec::new();
    for _ in 0..6 {
        wanted.push(enqueue(&client, world.node).await.to_string());
    }
    let mut got: Vec<String> = Vec::new();
    let mut open = waiting;
    // Whoever took several leaves others waiting; they are given something more.
    while let Some(poll) = open.pop() {
        if got.len() >= wanted.len() && !poll.is_finished() {
            wanted.push(enqueue(&client, world.node).await.to_string());
        }
        got.extend(poll.await.unwrap().work.into_iter().map(|work| work.operation_uuid));
    }
    got.sort();
    assert!(got.windows(2).all(|pair| pair[0] != pair[1]), "nothing was handed out twice");
    assert!(got.iter().all(|id| wanted.contains(id)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_with_its_operation() {
    let Some(world) = World::start().await else { return };
    let client = world.client("queues");
    let id = enqueue(&client, world.node).await;
    let request = WaitOperationsRequest { operation_uuids: vec![id.to_string()], timeout_ms: 0 };
    let reply = world.call("api", request.clone()).await.unwrap();
    assert!(!reply.done && reply.outcomes[0].state == "queued");
    let api = world.client("api");
    let request = WaitOperationsRequest { timeout_ms: PATIENCE_MS, ..request };
    let waiting = tokio::spawn(async move { api.call(CallClass::Wait, request).await.unwrap() });
    let token = ClaimToken::random();
    poll(&client, world.node, token).await.unwrap();
    let complete = CompleteOperationRequest {
        context: None,
        operation_uuid: id.to_string(),
        claim_token: token.to_string(),
        follow_ups: Vec::new(),
    };
    world.call("queues", complete).await.unwrap();
    let reply = waiting.await.unwrap();
    assert!(reply.done);
    assert_eq!(reply.outcomes[0].state, "complete");
    let unknown =
        WaitOperationsRequest { operation_uuids: vec![OperationId::random().to_string()], timeout_ms: 5000 };
    assert!(world.call("api", unknown).await.unwrap().done, "what is gone has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_gateway_sends_waiters_home_and_ends() {
    let Some(mut world) = World::start().await else { return };
    let waiting = poll(&world.client("queues"), world.node, ClaimToken::random());
    settle().await;
    world.gateway.request_end();
    assert!(waiting.await.unwrap().work.is_empty());
    // Still serving while clients learn of it.
    enqueue(&world.client("queues"), world.node).await;
    world.gateway.ended().await;
    assert_eq!(world.count("work_queue").await, 1);
    let after = tokio::net::TcpStream::connect(("127.0.0.1", world.gateway.port)).await;
    assert!(after.is_err(), "nothing listens any more");
}
