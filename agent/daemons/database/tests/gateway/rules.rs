//! Who may call what, and what travels with a mutation.

use prost_types::Timestamp;
use sf_daemon_database::testing::metrics;
use sf_gateway::DbError;
use sf_model::{EventId, NodeId};
use sf_protos::common::{LockFence, MutationContext};
use sf_protos::events::{Event, EventObject};
use sf_protos::maintenance::PruneMutationLogRequest;
use sf_protos::namespaces::CreateNamespaceRequest;
use sf_protos::networks::GetNetworkIntentRequest;
use sf_protos::nodes::{CheckInRequest, GetNodeRequest, MarkMissingNodesRequest, SetNodeSchedulableRequest};

use crate::tier::World;

fn event(message: &str) -> Event {
    Event {
        event_uuid: EventId::ordered().to_string(),
        event_type: "audit".into(),
        timestamp: Some(Timestamp { seconds: chrono::Utc::now().timestamp(), nanos: 0 }),
        fqdn: "n".into(),
        daemon: "sf-api".into(),
        message: message.into(),
        objects: vec![EventObject { object_type: "namespace".into(), object_id: "ns".into() }],
        ..Event::default()
    }
}

fn is_refused<T: std::fmt::Debug>(outcome: &Result<T, DbError>) -> bool {
    matches!(outcome, Err(DbError::Refused { .. }))
}

#[tokio::test]
async fn only_those_on_the_list_and_only_about_their_own_node() {
    let Some(world) = World::start().await else { return };
    let create = || CreateNamespaceRequest { context: None, name: "ns".into(), key: None };
    assert!(is_refused(&world.call("net", create()).await));
    assert_eq!(world.count("namespaces").await, 0);
    world.call("api", create()).await.unwrap();
    let check_in = |node: NodeId| CheckInRequest {
        node_uuid: node.to_string(),
        name: "n1.test".into(),
        release: "0.1.0".into(),
        metrics: Some(metrics()),
        ..CheckInRequest::default()
    };
    world.call("resources", check_in(world.node)).await.unwrap();
    let foreign = world.gateway.client("resources", NodeId::random());
    let outcome = foreign.call(sf_gateway::CallClass::Once, check_in(world.node)).await;
    assert!(is_refused(&outcome), "{outcome:?}");
    // A call that is more than one store function.
    let net = world.gateway.client("net", NodeId::random());
    let intent =
        GetNetworkIntentRequest { node_uuid: world.node.to_string(), ..GetNetworkIntentRequest::default() };
    let outcome = net.call(sf_gateway::CallClass::Once, intent).await;
    assert!(is_refused(&outcome), "{outcome:?}");
}

#[tokio::test]
async fn a_leader_without_a_valid_fence_changes_nothing() {
    let Some(world) = World::start().await else { return };
    let old = world.lead().await;
    world.execute("UPDATE nodes SET last_seen = UTC_TIMESTAMP(6) - INTERVAL 1 HOUR").await;
    let bare = MarkMissingNodesRequest { context: Some(world.client("cluster").mutation()) };
    assert!(is_refused(&world.call("cluster", bare).await), "no fence at all");
    world.execute("DELETE FROM cluster_locks").await;
    let new = world.lead().await;
    assert!(new.fence > old.fence);
    let stale = MarkMissingNodesRequest { context: world.signed(&old) };
    let outcome = world.call("cluster", stale).await;
    assert!(
        matches!(&outcome, Err(DbError::Precondition { reason, .. }) if reason == "lock-lost"),
        "{outcome:?}"
    );
    let seen = world.call("api", GetNodeRequest { reference: "n1.test".into() }).await.unwrap();
    assert_eq!(seen.node.unwrap().state.unwrap().state, "created", "the paused leader wrote nothing");
    let other = LockFence { lock_name: "other".into(), fence: new.fence };
    let wrong = PruneMutationLogRequest { context: world.signed(&other) };
    assert!(world.call("cluster", wrong).await.is_err(), "the fence of another lock is none");
    let valid = MarkMissingNodesRequest { context: world.signed(&new) };
    assert_eq!(world.call("cluster", valid).await.unwrap().missing.len(), 1);
}

#[tokio::test]
async fn events_of_a_mutation_share_its_fate() {
    let Some(world) = World::start().await else { return };
    let before = world.count("events").await;
    let context = |events: Vec<Event>| Some(MutationContext { events, ..world.client("api").mutation() });
    let missing = SetNodeSchedulableRequest {
        context: context(vec![event("cordoned")]),
        reference: "unknown.test".into(),
        schedulable: false,
        draining: None,
    };
    let outcome = world.call("api", missing).await;
    assert!(matches!(outcome, Err(DbError::NotFound { .. })), "{outcome:?}");
    assert_eq!(world.count("events").await, before);
    let create =
        CreateNamespaceRequest { context: context(vec![event("asked for")]), name: "ns".into(), key: None };
    world.call("api", create).await.unwrap();
    assert_eq!(world.count("events WHERE message = 'asked for'").await, 1);
    let spoiled = Event { event_uuid: "x".into(), ..event("spoiled") };
    let create = CreateNamespaceRequest { context: context(vec![spoiled]), name: "other".into(), key: None };
    assert!(world.call("api", create).await.is_err());
    assert_eq!(world.count("namespaces").await, 1, "a change is never stored without its record");
}
