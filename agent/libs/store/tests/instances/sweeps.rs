//! The leader's look at instances: beside rows that make no sense, and after the end of their namespace. The order in which
//! a failure takes its locks.

use diesel_async::SimpleAsyncConnection;
use sf_model::OperationId;
use sf_protos::namespaces::DeleteNamespaceRequest;
use sf_store::sql::sql;
use sf_store::{instances, namespaces, operations};

use crate::life::{NAMESPACE, id, request};
use crate::states::{check, one};
use crate::world::{World, amounts};

#[tokio::test]
async fn an_instance_on_a_node_that_makes_no_sense_stops_no_other() {
    let Some(world) = World::start(&[]).await else { return };
    let (first, node, around) = one(&world).await;
    let other = world.node("n2", amounts(100, 1 << 20, 10_000)).await;
    let asked = request(other, around);
    world.create(asked.clone()).await.unwrap();
    let second = id(&asked);
    for instance in [first, second] {
        world.delete(instance).await.unwrap();
    }
    world.execute("DELETE FROM cluster_operations").await;
    world.execute("UPDATE instances SET state_changed_at = UTC_TIMESTAMP(6) - INTERVAL 1 HOUR").await;
    // Whichever of the two comes first: one of them has a sound one after or before it.
    world.execute(&format!("UPDATE nodes SET state = 'of-tomorrow' WHERE uuid = '{node}'")).await;
    assert_eq!(check(&world).await.requeued, 1);
    let queued = |instance| {
        format!(
            "SELECT COUNT(*) FROM cluster_operations WHERE instance_uuid = '{instance}' AND state = 'queued'"
        )
    };
    assert_eq!((world.number(&queued(first)).await, world.number(&queued(second)).await), (0, 1));
    let told = "SELECT COUNT(*) FROM events WHERE message = 'instance delete queued again'";
    assert_eq!(world.number(told).await, 1, "nothing is told of the one that was left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_locks_the_instance_before_its_operation() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, ..) = one(&world).await;
    let query = format!(
        "SELECT uuid AS value FROM cluster_operations WHERE instance_uuid = '{instance}' ORDER BY uuid LIMIT 1"
    );
    let operation: OperationId = sql(query).value(&mut world.db.conn().await).await.unwrap().unwrap();
    // A delete has taken the instance and comes for its operations next.
    let mut deleting = world.db.conn().await;
    deleting
        .batch_execute(&format!(
            "START TRANSACTION; SELECT uuid FROM instances WHERE uuid = '{instance}' FOR UPDATE"
        ))
        .await
        .unwrap();
    let failing = world.clone();
    let failing = tokio::spawn(async move {
        failing
            .run(move |conn, ctx| Box::pin(operations::fail_operation(conn, ctx, operation, "x", "because")))
            .await
    });
    world.db.until_lock_wait().await;
    let free = format!("SELECT uuid FROM cluster_operations WHERE uuid = '{operation}' FOR UPDATE NOWAIT");
    deleting.batch_execute(&free).await.expect("nobody holds the operation");
    deleting.batch_execute("COMMIT").await.unwrap();
    assert!(failing.await.unwrap().unwrap());
    assert_eq!(world.state(instance).await, "initial-error");
}

#[tokio::test]
async fn failed_instances_follow_their_namespace() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, ..) = one(&world).await;
    world.force_state(instance, "error").await;
    world.execute("UPDATE networks SET namespace = 'elsewhere'").await;
    assert_eq!(check(&world).await.requeued, 0, "its user decides");
    world
        .run(|conn, ctx| {
            let request = DeleteNamespaceRequest { context: None, name: NAMESPACE.into() };
            Box::pin(async move { namespaces::delete(conn, ctx, &request).await })
        })
        .await
        .unwrap();
    assert_eq!(check(&world).await.requeued, 1);
    assert_eq!(world.state(instance).await, "delete-wait");

    // The node could not do it. It is asked again, and not all the time.
    world.force_state(instance, "error").await;
    world.execute("UPDATE instances SET state_changed_at = UTC_TIMESTAMP(6)").await;
    assert_eq!(check(&world).await.requeued, 0);
    world.execute("UPDATE instances SET state_changed_at = UTC_TIMESTAMP(6) - INTERVAL 2 HOUR").await;
    world.execute("UPDATE namespaces SET state_changed_at = UTC_TIMESTAMP(6) - INTERVAL 3 HOUR").await;
    assert_eq!(check(&world).await.requeued, 1);
    world.finish(instance).await.unwrap();
    assert_eq!(world.number("SELECT COUNT(*) FROM placement_reservations").await, 0);

    world.execute("DELETE FROM network_interfaces WHERE state = 'deleted'").await;
    world.execute("UPDATE instances SET state_changed_at = UTC_TIMESTAMP(6) - INTERVAL 9 DAY").await;
    world.run(|conn, ctx| Box::pin(instances::hard_delete(conn, ctx, 10))).await.unwrap();
    world.run(|conn, ctx| Box::pin(namespaces::hard_delete(conn, ctx, 10))).await.unwrap();
    assert_eq!(world.number("SELECT COUNT(*) FROM namespaces").await, 0, "its name is free again");
}
