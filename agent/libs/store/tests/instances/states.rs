//! The state table, milestones of workers, failure and delete.

use sf_model::state::InstanceState;
use sf_model::{InstanceId, NodeId, OperationId};
use sf_protos::instances::{
    CheckInstancesReply, ClearTombstoneRequest, DeleteAllInstancesRequest, EnsureDeleteQueuedRequest,
    ListInstancesForNodeRequest, RecordBootRequest, RecordCreatedRequest, SettleErrorRequest,
};
use sf_store::{StoreResult, instances, operations};
use strum::IntoEnumIterator;
use uuid::Uuid;

use crate::life::{NAMESPACE, Surroundings, id, reason, request};
use crate::world::{World, amounts};

/// One instance in `initial` on one node.
pub(crate) async fn one(world: &World) -> (InstanceId, NodeId, Surroundings) {
    let node = world.node("n1", amounts(100, 1 << 20, 10_000)).await;
    let around = world.surroundings().await;
    let asked = request(node, around);
    world.create(asked.clone()).await.unwrap();
    (id(&asked), node, around)
}

#[tokio::test]
async fn every_edge_and_no_other() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, ..) = one(&world).await;
    for from in InstanceState::iter() {
        for to in InstanceState::iter() {
            world.force_state(instance, from.as_str()).await;
            let result = world.transition(instance, from.as_str(), to.as_str()).await;
            let own_call =
                matches!(to, InstanceState::Created | InstanceState::DeleteWait | InstanceState::Deleted);
            let expected = from.may_become(to) && from != to && !own_call;
            assert_eq!(result.is_ok(), expected, "{from} -> {to}: {result:?}");
            let seen = world.state(instance).await;
            assert_eq!(seen, if expected { to.as_str() } else { from.as_str() }, "{from} -> {to}");
        }
    }
}

#[tokio::test]
async fn a_lost_race_changes_nothing_and_says_why() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, ..) = one(&world).await;
    assert_eq!(reason(&world.transition(instance, "preflight", "creating").await), "bad-state");
    assert_eq!(world.state(instance).await, "initial");
    world.execute("UPDATE instances SET placement_seq = 2").await;
    assert_eq!(reason(&world.transition(instance, "initial", "preflight").await), "stale-placement");
    assert_eq!(reason(&world.transition(InstanceId::random(), "initial", "preflight").await), "missing");
}

async fn record_created(world: &World, instance: InstanceId, boot: Uuid) -> StoreResult<()> {
    let request = RecordCreatedRequest {
        context: None,
        instance_uuid: instance.to_string(),
        placement_seq: 1,
        boot_id: boot.to_string(),
        power_state: "on".into(),
        machine_version: Some("pc-i440fx-9.2".into()),
        pid: Some(4242),
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { instances::record_created(conn, ctx, &request).await.map(|_| ()) })
        })
        .await
}

#[tokio::test]
async fn the_milestones_of_a_create() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, ..) = one(&world).await;
    let boot = Uuid::new_v4();
    world.transition(instance, "initial", "preflight").await.unwrap();
    assert_eq!(reason(&record_created(&world, instance, boot).await), "bad-state");
    world.transition(instance, "preflight", "creating").await.unwrap();
    let request = RecordBootRequest {
        context: None,
        instance_uuid: instance.to_string(),
        placement_seq: 1,
        boot_id: boot.to_string(),
        machine_version: None,
    };
    let mut conn = world.db.conn().await;
    instances::record_boot(&mut conn, &request).await.unwrap();
    let stale = RecordBootRequest { placement_seq: 9, ..request };
    assert_eq!(reason(&instances::record_boot(&mut conn, &stale).await), "stale-placement");
    record_created(&world, instance, boot).await.unwrap();
    record_created(&world, instance, boot).await.unwrap();
    assert_eq!(reason(&record_created(&world, instance, Uuid::new_v4()).await), "bad-state");
    let seen = world.view(instance).await;
    assert_eq!((seen.state.unwrap().state.as_str(), seen.power_state.as_str()), ("created", "on"));
    assert_eq!(
        (seen.boot_id, seen.machine_version.as_deref()),
        (Some(boot.to_string()), Some("pc-i440fx-9.2"))
    );
}

#[tokio::test]
async fn a_disk_without_size_is_charged_what_its_image_is() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(100, 1 << 20, 10_000)).await;
    let around = world.surroundings().await;
    let mut asked = request(node, around);
    asked.disks[0].size_gb = None;
    asked.disk_spec[0].size_gb = None;
    asked.charge.as_mut().unwrap().disk_gb = 11;
    world.create(asked.clone()).await.unwrap();
    world.transition(id(&asked), "initial", "preflight").await.unwrap();
    assert_eq!(world.number("SELECT used_disk_gb FROM node_capacity").await, 11);
    world.transition(id(&asked), "preflight", "creating").await.unwrap();
    // Three GiB of image and one for the config drive.
    assert_eq!(world.number("SELECT used_disk_gb FROM node_capacity").await, 4);
    world.assert_ledger_exact().await;
}

async fn operation(world: &World, kind: &str) -> OperationId {
    let mut conn = world.db.conn().await;
    let found: Option<OperationId> =
        sf_store::sql::sql("SELECT uuid AS value FROM cluster_operations WHERE operation_type = ?")
            .bind(kind)
            .value(&mut conn)
            .await
            .unwrap();
    found.unwrap()
}

#[tokio::test]
async fn a_failed_requirement_fails_the_instance_with_its_sentence() {
    for kind in ["instance_preflight", "net_op", "instance_create"] {
        let Some(world) = World::start(&[]).await else { return };
        let (instance, ..) = one(&world).await;
        world.transition(instance, "initial", "preflight").await.unwrap();
        let failing = operation(&world, kind).await;
        world
            .run(move |conn, ctx| {
                Box::pin(async move {
                    operations::fail_operation(conn, ctx, failing, "broken", "the cable is cut").await
                })
            })
            .await
            .unwrap();
        let state = world.view(instance).await.state.unwrap();
        assert_eq!(
            (state.state.as_str(), state.message.as_deref()),
            ("preflight-error", Some("the cable is cut")),
            "{kind}"
        );
        assert_eq!(world.number("SELECT COUNT(*) FROM work_queue w JOIN cluster_operations o ON o.uuid = w.operation_uuid \
             WHERE o.operation_type = 'instance_create'").await, 0);
        world.assert_ledger_exact().await;
        assert_eq!(
            world.number("SELECT used_cpus FROM node_capacity").await,
            1,
            "a failed instance keeps its charge"
        );
    }
}

pub(crate) async fn check(world: &World) -> CheckInstancesReply {
    world.run(|conn, ctx| Box::pin(async move { instances::check(conn, ctx).await })).await.unwrap()
}

#[tokio::test]
async fn the_leader_fails_creates_that_nobody_works_on() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, ..) = one(&world).await;
    assert_eq!(check(&world).await.failed, 0);
    world.execute("UPDATE instances SET created_at = UTC_TIMESTAMP(6) - INTERVAL 2 HOUR").await;
    assert_eq!(check(&world).await.failed, 1);
    let state = world.view(instance).await.state.unwrap();
    assert_eq!(state.state, "initial-error");
    assert_eq!(state.message.as_deref(), Some("create did not finish within 3600 s"));
    assert_eq!(check(&world).await.failed, 0);
    // Its node is fine, so its node cleans up; a node that is gone is not waited for.
    assert_eq!(world.state(instance).await, "initial-error");
    world.execute("UPDATE nodes SET state = 'error'").await;
    assert_eq!(check(&world).await.settled, 1);
    let state = world.view(instance).await.state.unwrap();
    assert_eq!((state.state.as_str(), state.message.is_some()), ("error", true), "the message stays");
}

#[tokio::test]
async fn errors_settle_once() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, ..) = one(&world).await;
    let settle = || {
        let request =
            SettleErrorRequest { context: None, instance_uuid: instance.to_string(), placement_seq: 1 };
        world.run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { instances::settle_error(conn, ctx, &request).await })
        })
    };
    assert_eq!(reason(&settle().await), "bad-state");
    world.transition(instance, "initial", "initial-error").await.unwrap();
    settle().await.unwrap();
    settle().await.unwrap();
    let state = world.view(instance).await.state.unwrap();
    assert_eq!((state.state.as_str(), state.message.as_deref()), ("error", Some("because")));
}

/// Everything that an instance holds is free again.
async fn assert_released(world: &World, instance: InstanceId) {
    assert_eq!(world.state(instance).await, "deleted");
    world.assert_ledger_exact().await;
    for (what, count) in [
        ("capacity", "SELECT used_cpus + used_instances FROM node_capacity"),
        ("reservations", "SELECT COUNT(*) FROM placement_reservations"),
        ("tags", "SELECT COUNT(*) FROM reservation_tags"),
        ("ports", "SELECT COUNT(*) FROM instance_ports"),
        ("pool values", "SELECT COUNT(*) FROM resource_pool_allocations WHERE state = 'held'"),
        ("blob references", "SELECT COUNT(*) FROM blob_references WHERE kind = 'disk'"),
        ("interfaces", "SELECT COUNT(*) FROM network_interfaces WHERE state <> 'deleted'"),
        (
            "queued creates",
            "SELECT COUNT(*) FROM cluster_operations WHERE state = 'queued' \
           AND operation_type IN ('instance_create', 'instance_preflight')",
        ),
    ] {
        assert_eq!(world.number(count).await, 0, "{what}");
    }
}

#[tokio::test]
async fn delete_in_every_state_releases_everything() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(100, 1 << 20, 10_000)).await;
    let around = world.surroundings().await;
    let before = world.number("SELECT generation FROM networks").await;
    let live = InstanceState::iter().filter(|s| !matches!(s, InstanceState::Deleted));
    for (round, state) in live.enumerate() {
        let asked = request(node, around);
        let instance = id(&asked);
        world.create(asked).await.unwrap();
        world.force_state(instance, state.as_str()).await;
        let seen = world.delete(instance).await.unwrap();
        assert_eq!(seen.state.unwrap().state, "delete-wait", "{state}");
        let again = world.delete(instance).await.unwrap();
        assert_eq!(again.state.unwrap().state, "delete-wait", "{state}");
        let queued = format!(
            "SELECT COUNT(*) FROM cluster_operations WHERE instance_uuid = '{instance}' \
             AND operation_type = 'instance_delete' AND state = 'queued'"
        );
        let expected = i64::from(state != InstanceState::DeleteWait);
        assert_eq!(world.number(&queued).await, expected, "{state}");
        if state == InstanceState::DeleteWait {
            // Nobody aborted the create that this test left behind.
            world.execute("DELETE FROM cluster_operations").await;
        }
        assert_eq!(world.finish(instance).await.unwrap(), [around.network.to_string()], "{state}");
        assert_eq!(world.finish(instance).await.unwrap(), Vec::<String>::new(), "{state}");
        assert_released(&world, instance).await;
        assert_eq!(reason(&world.delete(instance).await), "missing");
        let generation = world.number("SELECT generation FROM networks").await;
        assert_eq!(generation, before + 2 * (i64::try_from(round).unwrap() + 1));
    }
}

#[tokio::test]
async fn only_an_instance_that_is_to_be_deleted_is_finished() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, ..) = one(&world).await;
    let before = world.census().await;
    assert_eq!(reason(&world.finish(instance).await), "bad-state");
    assert_eq!(world.census().await, before);
    assert_eq!(reason(&world.finish(InstanceId::random()).await), "missing");
}

#[tokio::test]
async fn a_delete_waits_for_what_is_executing() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, ..) = one(&world).await;
    world
        .execute(
            "UPDATE cluster_operations SET state = 'executing' WHERE operation_type = 'instance_preflight'",
        )
        .await;
    world.delete(instance).await.unwrap();
    let edge = "SELECT COUNT(*) FROM cluster_operation_dependencies d JOIN cluster_operations o ON o.uuid = d.operation_uuid \
         WHERE o.operation_type = 'instance_delete' AND d.kind = 'after'";
    assert_eq!(world.number(edge).await, 1);
    assert_eq!(
        world
            .number(
                "SELECT COUNT(*) FROM cluster_operations WHERE operation_type = 'instance_create' \
         AND state = 'abort'"
            )
            .await,
        1
    );
    assert_eq!(world.state(instance).await, "delete-wait", "the aborted create does not fail the instance");
}

#[tokio::test]
async fn an_instance_whose_node_is_gone_is_removed_and_leaves_a_tombstone() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, node, _) = one(&world).await;
    world.execute("UPDATE nodes SET state = 'deleted', live_fqdn = NULL").await;
    let seen = world.delete(instance).await.unwrap();
    assert_eq!(seen.state.unwrap().state, "deleted");
    assert_released(&world, instance).await;
    let mut conn = world.db.conn().await;
    let asked = ListInstancesForNodeRequest { node_uuid: node.to_string(), page: None };
    let reply = instances::list_for_node(&mut conn, &asked).await.unwrap();
    assert_eq!((reply.tombstones, reply.instances.len()), (vec![instance.to_string()], 1));
    let clear = ClearTombstoneRequest {
        context: None,
        node_uuid: node.to_string(),
        instance_uuid: instance.to_string(),
    };
    instances::clear_tombstone(&mut conn, &clear).await.unwrap();
    instances::clear_tombstone(&mut conn, &clear).await.unwrap();
    assert_eq!(instances::list_for_node(&mut conn, &asked).await.unwrap().tombstones, Vec::<String>::new());
}

#[tokio::test]
async fn deletes_go_on_when_their_operation_is_lost() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, ..) = one(&world).await;
    let ensure = || {
        let request = EnsureDeleteQueuedRequest { context: None, instance_uuid: instance.to_string() };
        world.run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { instances::ensure_queued(conn, ctx, &request).await })
        })
    };
    assert!(!ensure().await.unwrap().enqueued, "it is not to be deleted");
    world.delete(instance).await.unwrap();
    assert!(!ensure().await.unwrap().enqueued, "one is queued already");
    world.execute("UPDATE cluster_operations SET state = 'executing'").await;
    assert!(!ensure().await.unwrap().enqueued, "one is being executed");
    world.execute("UPDATE cluster_operations SET operation_type = 'instance_power'").await;
    assert!(ensure().await.unwrap().enqueued, "another kind of work takes nothing down");
    let not_waited_for = "SELECT COUNT(*) FROM cluster_operations o WHERE o.state = 'executing' \
         AND o.instance_uuid IS NOT NULL AND NOT EXISTS (SELECT 1 FROM cluster_operation_dependencies d \
         WHERE d.depends_on_uuid = o.uuid AND d.kind = 'after')";
    assert_eq!(world.number(not_waited_for).await, 0, "but is waited for");
    world.execute("DELETE FROM cluster_operation_dependencies").await;
    world.execute("DELETE FROM cluster_operations").await;
    world.execute("DELETE FROM work_queue").await;
    assert!(ensure().await.unwrap().enqueued && !ensure().await.unwrap().enqueued);

    world.execute("DELETE FROM cluster_operations").await;
    world.execute("DELETE FROM work_queue").await;
    assert_eq!(check(&world).await.requeued, 0, "the node has five minutes");
    world.execute("UPDATE instances SET state_changed_at = UTC_TIMESTAMP(6) - INTERVAL 301 SECOND").await;
    assert_eq!(check(&world).await.requeued, 1);
    world.execute("UPDATE nodes SET state = 'deleted', live_fqdn = NULL").await;
    assert_eq!(check(&world).await.requeued, 1);
    assert_released(&world, instance).await;
}

#[tokio::test]
async fn all_instances_of_a_namespace_are_deleted_in_chunks() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(1000, 1 << 20, 100_000)).await;
    let around = world.surroundings().await;
    for _ in 0..3 {
        world.create(request(node, around)).await.unwrap();
    }
    let delete_all = || {
        let request = DeleteAllInstancesRequest { context: None, namespace: NAMESPACE.into() };
        world.run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { instances::delete_all(conn, ctx, &request).await })
        })
    };
    let reply = delete_all().await.unwrap();
    assert_eq!((reply.instance_uuids.len(), reply.more), (3, false));
    assert_eq!(delete_all().await.unwrap().instance_uuids.len(), 0);
    assert_eq!(world.number("SELECT COUNT(*) FROM instances WHERE state = 'delete-wait'").await, 3);
}
