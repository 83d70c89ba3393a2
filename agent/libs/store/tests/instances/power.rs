//! Power and ports.

use sf_model::state::{PowerAction, PowerState, PowerVerdict};
use sf_model::{InstanceId, NodeId};
use sf_protos::instances::{
    PowerRecord, RecordPowerStatesRequest, RequestPowerReply, RequestPowerRequest, SwapPortRequest,
};
use sf_store::{StoreResult, instances, operations};
use strum::IntoEnumIterator;
use uuid::Uuid;

use crate::life::{id, reason, request, selector, system};
use crate::world::{World, amounts};

/// An instance that runs.
async fn running(world: &World) -> (InstanceId, NodeId, Uuid) {
    let node = world.node("n1", amounts(100, 1 << 20, 10_000)).await;
    let around = world.surroundings().await;
    let asked = request(node, around);
    world.create(asked.clone()).await.unwrap();
    let boot = Uuid::new_v4();
    world
        .execute(&format!("UPDATE instances SET state = 'created', power_state = 'on', boot_id = '{boot}'"))
        .await;
    world.execute("DELETE FROM cluster_operations").await;
    world.execute("DELETE FROM work_queue").await;
    (id(&asked), node, boot)
}

async fn ask(world: &World, instance: InstanceId, action: PowerAction) -> StoreResult<RequestPowerReply> {
    let request = RequestPowerRequest {
        context: None,
        caller: system(),
        selector: selector(&instance.to_string()),
        action: action.to_string(),
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { instances::request_power(conn, ctx, &request).await })
        })
        .await
}

async fn force_power(world: &World, power: PowerState) {
    world.execute("DELETE FROM cluster_operations").await;
    world.execute("DELETE FROM work_queue").await;
    world.execute(&format!("UPDATE instances SET power_state = '{power}', power_desired = 'on'")).await;
}

#[tokio::test]
async fn the_power_table() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, ..) = running(&world).await;
    for action in PowerAction::iter() {
        for power in
            [PowerState::Initial, PowerState::On, PowerState::Off, PowerState::Paused, PowerState::Crashed]
        {
            force_power(&world, power).await;
            let result = ask(&world, instance, action).await;
            let seen = world.view(instance).await;
            match action.from_state(power) {
                PowerVerdict::Allowed => {
                    let operation = result.unwrap().operation.unwrap();
                    assert_eq!(operation.op_type, "instance_power");
                    assert_eq!(seen.power_state, action.transition().as_str(), "{action} from {power}");
                    assert_eq!(seen.power_desired, action.desired().as_str());
                    assert_eq!(seen.last_operation, Some(operation));
                }
                PowerVerdict::AlreadyDone => {
                    assert_eq!(result.unwrap().operation, None, "{action} from {power}");
                    assert_eq!(seen.power_state, power.as_str());
                }
                PowerVerdict::Refused => {
                    assert_eq!(reason(&result), "wrong-power-state", "{action} from {power}");
                    assert_eq!(seen.power_state, power.as_str());
                }
            }
        }
    }
}

#[tokio::test]
async fn only_instances_in_service_have_power() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, ..) = running(&world).await;
    for (state, expected) in [
        ("initial", "not-ready"),
        ("creating", "not-ready"),
        ("error", "bad-state"),
        ("delete-wait", "bad-state"),
        ("deleted", "missing"),
    ] {
        world.force_state(instance, state).await;
        assert_eq!(reason(&ask(&world, instance, PowerAction::Poweroff).await), expected, "{state}");
    }
}

#[tokio::test]
async fn actions_queue_one_behind_the_other_up_to_four() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, ..) = running(&world).await;
    for action in [PowerAction::Poweroff, PowerAction::Poweron, PowerAction::Poweroff, PowerAction::Poweron] {
        ask(&world, instance, action).await.unwrap();
    }
    assert_eq!(reason(&ask(&world, instance, PowerAction::Poweroff).await), "wrong-power-state");
    assert_eq!(
        world.number("SELECT COUNT(*) FROM cluster_operation_dependencies WHERE kind = 'after'").await,
        3
    );
    assert_eq!(world.number("SELECT COUNT(*) FROM work_queue WHERE unmet_dependencies = 0").await, 1);
}

#[tokio::test]
async fn a_failed_action_can_be_asked_for_again() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, ..) = running(&world).await;
    let operation = ask(&world, instance, PowerAction::Poweroff).await.unwrap().operation.unwrap().op_uuid;
    world
        .run(move |conn, ctx| {
            let id = operation.parse().unwrap();
            Box::pin(async move { operations::fail_operation(conn, ctx, id, "broken", "no luck").await })
        })
        .await
        .unwrap();
    let seen = world.view(instance).await;
    assert_eq!((seen.power_state.as_str(), seen.state.unwrap().state.as_str()), ("on", "created"));
    ask(&world, instance, PowerAction::Poweroff).await.unwrap();
}

fn record(instance: InstanceId, boot: Uuid, power: &str) -> PowerRecord {
    PowerRecord {
        instance_uuid: instance.to_string(),
        boot_id: Some(boot.to_string()),
        placement_seq: 1,
        power_state: power.into(),
        power_reason: Some("guest".into()),
        power_desired: None,
        settles_transition: false,
        settled_by: None,
    }
}

async fn observe(world: &World, records: Vec<PowerRecord>) -> StoreResult<u32> {
    let request = RecordPowerStatesRequest { context: None, records };
    world
        .run(move |conn, _| {
            let request = request.clone();
            Box::pin(async move { instances::record_states(conn, &request).await.map(|reply| reply.changed) })
        })
        .await
}

#[tokio::test]
async fn observations_of_this_boot_count_once() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, _, boot) = running(&world).await;
    let off = PowerRecord { power_desired: Some("off".into()), ..record(instance, boot, "off") };
    assert_eq!(observe(&world, vec![off.clone()]).await.unwrap(), 1);
    assert_eq!(observe(&world, vec![off.clone()]).await.unwrap(), 0, "unchanged");
    let seen = world.view(instance).await;
    assert_eq!(
        (seen.power_state.as_str(), seen.power_desired.as_str(), seen.power_reason.as_deref()),
        ("off", "off", Some("guest"))
    );
    for ignored in [
        record(instance, Uuid::new_v4(), "on"),
        PowerRecord { placement_seq: 2, ..record(instance, boot, "on") },
        record(InstanceId::random(), boot, "on"),
    ] {
        assert_eq!(observe(&world, vec![ignored]).await.unwrap(), 0);
    }
    assert_eq!(reason(&observe(&world, vec![record(instance, boot, "sideways")]).await), "invalid");
    assert_eq!(reason(&observe(&world, vec![off; 501]).await), "invalid");
}

#[tokio::test]
async fn a_queued_action_is_settled_by_its_worker_only() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, _, boot) = running(&world).await;
    let operation = asked(&world, instance, PowerAction::Poweroff).await;
    assert_eq!(observe(&world, vec![record(instance, boot, "on")]).await.unwrap(), 0);
    assert_eq!(world.view(instance).await.power_state, "transition-to-off");
    let settled = PowerRecord { settles_transition: true, ..record(instance, boot, "off") };
    assert_eq!(observe(&world, vec![settled.clone()]).await.unwrap(), 0, "no action has ended");
    let settled = PowerRecord { settled_by: Some(operation), ..settled };
    assert_eq!(observe(&world, vec![settled]).await.unwrap(), 1);
    assert_eq!(world.view(instance).await.power_state, "off");
}

/// Power off is being carried out when power on, and then power off again, are asked for.
#[tokio::test]
async fn the_last_action_asked_for_is_the_one_that_counts() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, _, boot) = running(&world).await;
    let off = asked(&world, instance, PowerAction::Poweroff).await;
    let on = asked(&world, instance, PowerAction::Poweron).await;
    assert_ne!(on, off);
    assert_eq!(asked(&world, instance, PowerAction::Poweron).await, on, "it is not on yet: the same wait");

    let settles = |power, operation: &str| PowerRecord {
        settles_transition: true,
        settled_by: Some(operation.to_owned()),
        ..record(instance, boot, power)
    };
    assert_eq!(observe(&world, vec![settles("off", &off)]).await.unwrap(), 0);
    assert_eq!(world.view(instance).await.power_state, "transition-to-on", "power on is still to come");
    complete(&world, &off).await;
    let again = asked(&world, instance, PowerAction::Poweroff).await;
    assert_ne!(again, off, "the guest will be on: it has to be taken down again");

    assert_eq!(observe(&world, vec![settles("on", &on)]).await.unwrap(), 0);
    complete(&world, &on).await;
    assert_eq!(observe(&world, vec![settles("off", &again)]).await.unwrap(), 1);
    complete(&world, &again).await;
    assert_eq!(world.view(instance).await.power_state, "off");
    assert_eq!(ask(&world, instance, PowerAction::Poweroff).await.unwrap().operation, None);
}

async fn asked(world: &World, instance: InstanceId, action: PowerAction) -> String {
    ask(world, instance, action).await.unwrap().operation.unwrap().op_uuid
}

async fn complete(world: &World, operation: &str) {
    world.execute(&format!("DELETE FROM work_queue WHERE operation_uuid = '{operation}'")).await;
    world
        .execute(&format!("UPDATE cluster_operations SET state = 'complete' WHERE uuid = '{operation}'"))
        .await;
}

#[tokio::test]
async fn a_port_is_swapped_once() {
    let Some(world) = World::start(&[]).await else { return };
    let (instance, node, _) = running(&world).await;
    let old = world.view(instance).await.ports[0].port;
    let request = SwapPortRequest {
        context: None,
        instance_uuid: instance.to_string(),
        placement_seq: 1,
        kind: "console".into(),
        old_port: old,
    };
    let swap = |request: SwapPortRequest| {
        world.run(move |conn, _| {
            let request = request.clone();
            Box::pin(async move { instances::swap_port(conn, &request).await.map(|reply| reply.port) })
        })
    };
    let new = swap(request.clone()).await.unwrap();
    assert_ne!(new, old);
    assert_eq!(swap(request.clone()).await.unwrap(), new, "a repeated call finds it done");
    assert_eq!(world.view(instance).await.ports[0].port, new);
    let pool = |state: &str, port: u32| {
        format!(
            "SELECT COUNT(*) FROM resource_pool_allocations WHERE pool = 'nodeport:{node}' AND state = '{state}' AND value = {port}"
        )
    };
    assert_eq!(world.number(&pool("halo", old)).await, 1);
    assert_eq!(world.number(&pool("held", new)).await, 1);
    let stale = SwapPortRequest { placement_seq: 7, ..request.clone() };
    assert_eq!(reason(&swap(stale).await), "stale-placement");
    assert_eq!(reason(&swap(SwapPortRequest { kind: "x".into(), ..request }).await), "missing");
}
