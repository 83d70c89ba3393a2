//! What the broken storage of a node does to what is kept there, one failure after the other.

use diesel_async::SimpleAsyncConnection;
use sf_model::NodeId;
use sf_protos::nodes::{CascadeNodesReply, CheckInRequest, SetNodeErrorRequest, StorageHealth};
use sf_store::nodes;

use crate::states::one;
use crate::world::World;

/// Paths with the types of objects they hold, and whether they work.
type Paths<'a> = &'a [(&'a str, &'a str, bool)];

fn health(paths: Paths) -> Vec<StorageHealth> {
    let health = |(path, types, healthy): &(&str, &str, bool)| StorageHealth {
        path: (*path).to_owned(),
        object_types: types.split(',').map(str::to_owned).collect(),
        healthy: *healthy,
        detail: None,
    };
    paths.iter().map(health).collect()
}

async fn set_error(world: &World, node: NodeId, paths: Paths<'_>) {
    let request = SetNodeErrorRequest {
        node_uuid: node.to_string(),
        message: "a path is broken".into(),
        storage_health: health(paths),
        ..SetNodeErrorRequest::default()
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { nodes::set_error(conn, ctx, &request).await })
        })
        .await
        .unwrap();
}

async fn check_in(world: &World, node: NodeId, paths: Paths<'_>) {
    let request = CheckInRequest {
        node_uuid: node.to_string(),
        storage_health: health(paths),
        ..CheckInRequest::default()
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { nodes::check_in(conn, ctx, &request).await })
        })
        .await
        .unwrap();
}

async fn cascade(world: &World) -> CascadeNodesReply {
    world.run(|conn, ctx| Box::pin(nodes::cascade(conn, ctx))).await.unwrap()
}

async fn replica(world: &World, node: NodeId) {
    let insert = "INSERT INTO blob_replicas (blob_uuid, node_uuid, state, last_seen) SELECT uuid";
    world.execute(&format!("{insert}, '{node}', 'created', UTC_TIMESTAMP(6) FROM blobs")).await;
}

#[tokio::test]
async fn each_failure_beside_another_has_its_own_consequences() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, node, _) = one(&world).await;
    world.force_state(instance, "created").await;
    replica(&world, node).await;
    let replicas = "SELECT COUNT(*) FROM blob_replicas";
    set_error(&world, node, &[("uploads", "upload", false), ("instances", "instance", true)]).await;
    assert!(!cascade(&world).await.more);
    assert_eq!((world.state(instance).await.as_str(), world.number(replicas).await), ("created", 1));

    set_error(&world, node, &[("instances", "instance", false), ("blobs", "blob", true)]).await;
    assert_eq!(cascade(&world).await.instances, 1);
    assert_eq!((world.state(instance).await.as_str(), world.number(replicas).await), ("created-error", 1));

    // The pulse may bring the news first; what is reported after it is none any more, and must be heard all the same.
    let last = [("instances", "instance", true), ("blobs", "blob", false)];
    check_in(&world, node, &last).await;
    set_error(&world, node, &last).await;
    cascade(&world).await;
    assert_eq!(world.number(replicas).await, 0);
    let broken = "SELECT COUNT(*) FROM node_storage_health WHERE NOT healthy";
    assert_eq!(world.number(broken).await, 3, "an operator forgets failures, nobody else");
    set_error(&world, node, &last).await;
    let drawn = "SELECT COUNT(*) FROM nodes WHERE cascaded_at IS NOT NULL";
    assert_eq!(world.number(drawn).await, 1, "what is known has had its consequences");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_moves_on_meanwhile_is_looked_at_again() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, node, _) = one(&world).await;
    world.force_state(instance, "creating").await;
    set_error(&world, node, &[("instances", "instance", false)]).await;
    let mut booting = world.db.conn().await;
    booting.batch_execute("START TRANSACTION; UPDATE instances SET state = 'created'").await.unwrap();
    let cascading = world.clone();
    let cascading = tokio::spawn(async move { cascade(&cascading).await });
    world.db.until_lock_wait().await;
    let mut telling = world.db.conn().await;
    let held = telling.batch_execute("SELECT uuid FROM nodes FOR UPDATE NOWAIT").await;
    assert!(held.is_err(), "what fails now is told after the pass that does not know of it");
    booting.batch_execute("COMMIT").await.unwrap();
    let first = cascading.await.unwrap();
    assert_eq!((first.instances, first.more), (0, true));
    let second = cascade(&world).await;
    assert_eq!((second.instances, second.more), (1, false));
    assert_eq!(world.state(instance).await, "created-error");
}

#[tokio::test]
async fn a_deleted_node_that_waits_for_its_instances_asks_for_no_other_turn_at_once() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, node, _) = one(&world).await;
    world.force_state(instance, "delete-wait").await;
    world.execute("UPDATE nodes SET state = 'deleted', live_fqdn = NULL, cascaded_at = NULL").await;
    let drawn = format!("SELECT COUNT(*) FROM nodes WHERE cascaded_at IS NOT NULL AND uuid = '{node}'");
    assert!(!cascade(&world).await.more, "its reservation goes with its teardown");
    assert_eq!(world.number(&drawn).await, 0);
    world.execute("DELETE FROM placement_reservations").await;
    assert!(!cascade(&world).await.more);
    assert_eq!(world.number(&drawn).await, 1);
}
