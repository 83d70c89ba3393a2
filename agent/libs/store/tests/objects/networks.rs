//! The life of networks: create, delete contract, bulk delete, floating network.

use std::collections::BTreeMap;

use sf_model::{InstanceId, NetworkId, NodeId};
use sf_protos::common::{PageInfo, PageRequest};
use sf_protos::networks::{
    CreateNetworkRequest, DeleteAllNetworksReply, DeleteAllNetworksRequest, DeleteNetworkReply,
    DeleteNetworkRequest, ListAddressesRequest,
};
use sf_store::networks::{self, Floating};
use sf_store::sql::sql;
use sf_store::{StoreError, StoreResult, Wake};

use super::world::{World, caller, selector, spec};

async fn delete(world: &World, namespace: &str, reference: impl ToString) -> StoreResult<DeleteNetworkReply> {
    let request = DeleteNetworkRequest {
        caller: caller(namespace),
        selector: selector(reference),
        ..DeleteNetworkRequest::default()
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { networks::delete(conn, ctx, &request).await })
        })
        .await
}

async fn state(world: &World, network: &str) -> String {
    world.text(&format!("SELECT state FROM networks WHERE uuid = '{network}'")).await
}

async fn operation_state(world: &World, operation: &str) -> String {
    world.text(&format!("SELECT state FROM cluster_operations WHERE uuid = '{operation}'")).await
}

#[tokio::test]
async fn a_network_is_created_rendered_and_deleted() {
    let Some(world) = World::start().await else { return };
    let network = world.network("a", "web", "10.0.0.0/24").await.unwrap();
    assert!(network.vxid >= 16 && network.has_pending_operations);
    assert_eq!(network.state.as_ref().unwrap().state, "initial");
    assert!(network.floating_gateway.as_deref().is_some_and(|a| a.starts_with("192.168.20.")));
    assert_eq!((network.mtu, network.carrier_node_name.as_deref()), (1450, Some("one")));
    let create = network.last_operation.clone().unwrap();

    world.report(&network.uuid, world.node, network.generation, "present").await;
    assert_eq!(state(&world, &network.uuid).await, "created");
    assert_eq!(operation_state(&world, &create.op_uuid).await, "complete");

    let first = delete(&world, "a", "web").await.unwrap().operation.unwrap();
    assert_eq!(state(&world, &network.uuid).await, "delete-wait");
    let second = delete(&world, "a", &network.uuid).await.unwrap().operation.unwrap();
    assert_eq!(first, second, "a second delete answers the handle of the first");

    world.report(&network.uuid, world.node, network.generation + 1, "absent").await;
    assert_eq!(state(&world, &network.uuid).await, "deleted");
    assert_eq!(operation_state(&world, &first.op_uuid).await, "complete");
    assert!(matches!(delete(&world, "a", &network.uuid).await, Err(StoreError::Missing { .. })));
    let own = format!("SELECT COUNT(*) FROM resource_pool_allocations WHERE owner_uuid = '{}'", network.uuid);
    assert_eq!(world.number(&own).await, 0);
    let pool = format!("SELECT COUNT(*) FROM resource_pool_allocations WHERE pool = 'ipv4:{}'", network.uuid);
    assert_eq!(world.number(&pool).await, 0);
    let resting = format!(
        "SELECT COUNT(*) FROM resource_pool_allocations WHERE pool = 'vxid' AND state = 'halo' AND value = {} \
         AND expires_at IS NOT NULL",
        network.vxid
    );
    assert_eq!(world.number(&resting).await, 1, "the id rests once no node has the network");
}

#[tokio::test]
async fn a_network_in_use_stays_and_drains_when_its_instances_go() {
    let Some(world) = World::start().await else { return };
    let network = world.ready_network("a", "web", "10.0.0.0/24").await;
    let one = world.instance("a", "one").await;
    let two = world.instance("a", "two").await;
    for instance in [one, two] {
        world.attach(instance, "a", vec![spec("web")]).await.unwrap();
    }
    let refusal = delete(&world, "a", "web").await.unwrap_err();
    let StoreError::Precondition { reason, message, .. } = &refusal else { panic!("{refusal}") };
    assert_eq!((*reason, message.as_str()), ("in-use", "network is in use by 2 instances"));

    for instance in [one, two] {
        world.set_state("instances", instance.as_uuid(), "delete-wait").await;
    }
    let operation = delete(&world, "a", "web").await.unwrap().operation.unwrap();
    let three = world.instance("a", "three").await;
    let late = world.attach(three, "a", vec![spec(&network.uuid)]).await;
    assert!(matches!(late, Err(StoreError::Precondition { reason: "bad-state", .. })), "{late:?}");
    let held_back = format!(
        "SELECT COUNT(*) FROM network_render_requests WHERE network_uuid = '{}' AND min_generation >= \
         (SELECT generation FROM networks WHERE uuid = '{}')",
        network.uuid, network.uuid
    );
    assert_eq!(world.number(&held_back).await, 0, "renders are held back while interfaces exist");

    world.detach(one).await;
    assert_eq!(state(&world, &network.uuid).await, "delete-wait");
    world.detach(two).await;
    assert_eq!(world.number(&held_back).await, 1, "the last interface releases them");
    let generation =
        world.number(&format!("SELECT generation FROM networks WHERE uuid = '{}'", network.uuid)).await;
    world.report(&network.uuid, world.node, generation as u64, "absent").await;
    assert_eq!(state(&world, &network.uuid).await, "deleted");
    assert_eq!(operation_state(&world, &operation.op_uuid).await, "complete");
}

#[tokio::test]
async fn a_node_that_is_down_delays_the_id_and_not_the_delete() {
    let Some(world) = World::start().await else { return };
    let network = world.ready_network("a", "web", "10.0.0.0/24").await;
    let away = NodeId::random();
    world.add_node(away, "away", "10.200.0.2").await;
    world.report(&network.uuid, away, network.generation, "present").await;
    world
        .execute(
            sql("UPDATE nodes SET last_seen = TIMESTAMPADD(HOUR, -1, UTC_TIMESTAMP(6)) WHERE uuid = ?")
                .bind(away),
        )
        .await;
    delete(&world, "a", "web").await.unwrap();
    world.report(&network.uuid, world.node, network.generation + 1, "absent").await;
    assert_eq!(state(&world, &network.uuid).await, "deleted");
    let endless = "SELECT COUNT(*) FROM resource_pool_allocations WHERE pool = 'vxid' AND state = 'halo' AND expires_at IS NULL";
    assert_eq!(world.number(endless).await, 1);
    world.report(&network.uuid, away, network.generation + 1, "absent").await;
    world.run(|conn, _| Box::pin(async move { networks::sweep_pools(conn).await })).await.unwrap();
    assert_eq!(world.number(endless).await, 0, "its rest begins when the node has reported");
}

#[tokio::test]
async fn bad_blocks_and_foreign_namespaces_leave_nothing_behind() {
    let Some(world) = World::start().await else { return };
    for block in ["10.0.0.0/30", "127.0.0.0/24", "192.168.20.0/25", "10.200.0.0/16", "nonsense"] {
        let refused = world.network("a", "n", block).await;
        assert!(
            matches!(refused, Err(StoreError::Precondition { reason: "bad-netblock", .. })),
            "{block}: {refused:?}"
        );
    }
    let mut foreign = CreateNetworkRequest {
        caller: caller("b"),
        network_uuid: NetworkId::random().to_string(),
        namespace: "a".to_owned(),
        name: "n".to_owned(),
        netblock: "10.0.0.0/24".to_owned(),
        ..CreateNetworkRequest::default()
    };
    assert!(matches!(world.create_network(foreign.clone()).await, Err(StoreError::Missing { .. })));
    foreign.caller = caller("system");
    assert_eq!(world.create_network(foreign).await.unwrap().namespace.as_deref(), Some("a"));
    assert_eq!(world.number("SELECT COUNT(*) FROM networks WHERE kind = 'vxlan'").await, 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM resource_pool_allocations WHERE pool = 'vxid'").await, 1);
}

#[tokio::test]
async fn an_exhausted_floating_block_refuses_and_leaves_nothing() {
    let Some(world) = World::with(&[("floating_network", "192.168.20.0/29")]).await else { return };
    for index in 0..5 {
        world.network("a", &format!("n{index}"), "10.0.0.0/24").await.unwrap();
    }
    let refused = world.network("a", "last", "10.0.0.0/24").await;
    assert!(matches!(refused, Err(StoreError::Capacity { reason: "pool-empty", .. })), "{refused:?}");
    assert_eq!(world.number("SELECT COUNT(*) FROM resource_pool_allocations WHERE pool = 'vxid'").await, 5);
}

#[tokio::test]
async fn bulk_delete_names_what_is_in_use() {
    let Some(world) = World::start().await else { return };
    let used = world.ready_network("a", "used", "10.0.0.0/24").await;
    let free = world.ready_network("a", "free", "10.0.0.0/24").await;
    world.ready_network("b", "foreign", "10.0.0.0/24").await;
    let instance = world.instance("a", "one").await;
    world.attach(instance, "a", vec![spec("used")]).await.unwrap();
    let reply = delete_page(&world, None).await;
    let outcome: BTreeMap<_, _> = reply
        .networks
        .into_iter()
        .map(|network| (network.network_uuid, network.operation.is_some()))
        .collect();
    assert_eq!(outcome, [(used.uuid, false), (free.uuid, true)].into());
}

#[tokio::test]
async fn bulk_delete_goes_on_where_it_ended_and_again_from_the_beginning() {
    const COUNT: usize = 60;
    let Some(world) = World::start().await else { return };
    for index in 0..COUNT {
        // Rendered somewhere, so that their deletion takes its time.
        world.ready_network("a", &format!("n{index}"), "10.0.0.0/24").await;
    }
    let handles = async || {
        let (mut found, mut calls, mut token) = (BTreeMap::new(), 0, None);
        loop {
            let reply = delete_page(&world, token).await;
            assert!(reply.networks.len() <= 25, "{} in one transaction", reply.networks.len());
            calls += 1;
            for network in reply.networks {
                let seen = found.insert(network.network_uuid, network.operation.unwrap().op_uuid);
                assert_eq!(seen, None, "a network twice");
            }
            match reply.page.unwrap() {
                PageInfo { more: true, next_token } => token = Some(next_token),
                _ => break (found, calls),
            }
        }
    };
    let (first, calls) = handles().await;
    assert_eq!((first.len(), calls), (COUNT, 3));
    assert_eq!(handles().await.0, first, "the handles of the operations that run");
}

async fn delete_page(world: &World, token: Option<String>) -> DeleteAllNetworksReply {
    let request = DeleteAllNetworksRequest {
        context: None,
        namespace: "a".to_owned(),
        page: Some(PageRequest { limit: 0, token }),
    };
    let work = world.run(move |conn, ctx| {
        let request = request.clone();
        Box::pin(async move { networks::delete_all(conn, ctx, &request).await })
    });
    work.await.unwrap()
}

#[tokio::test]
async fn two_networks_of_one_name_are_ambiguous() {
    let Some(world) = World::start().await else { return };
    for _ in 0..2 {
        world.network("a", "twin", "10.0.0.0/24").await.unwrap();
    }
    let refused = delete(&world, "a", "twin").await.unwrap_err();
    let StoreError::Precondition { reason, detail, .. } = refused else { panic!() };
    assert_eq!((reason, detail["candidates"].lines().count()), ("ambiguous-reference", 2));
}

#[tokio::test]
async fn the_floating_network_is_made_once_and_moves_only_when_it_may() {
    let Some(world) = World::start().await else { return };
    let again = |keys: &'static [(&'static str, &'static str)]| {
        let settings = sf_store::testing::settings(keys);
        let world = world.clone();
        async move {
            world
                .run(move |conn, _| {
                    let settings = settings.clone();
                    Box::pin(async move { networks::bootstrap_floating(conn, &settings).await })
                })
                .await
        }
    };
    assert_eq!(again(&[]).await.unwrap(), Floating::Present);
    assert_eq!(again(&[("floating_network", "192.168.30.0/24")]).await.unwrap(), Floating::Moved);
    assert_eq!(again(&[]).await.unwrap(), Floating::Moved);
    world.network("a", "web", "10.0.0.0/24").await.unwrap();
    let refused = again(&[("floating_network", "192.168.30.0/24")]).await;
    assert!(matches!(refused, Err(StoreError::Precondition { reason: "in-use", .. })));
    assert!(matches!(delete(&world, "system", "floating").await, Err(StoreError::Refused { .. })));
    assert!(matches!(delete(&world, "a", NetworkId::FLOATING).await, Err(StoreError::Missing { .. })));
}

#[tokio::test]
async fn addresses_are_listed_with_their_users() {
    let Some(world) = World::start().await else { return };
    let network = world.ready_network("a", "web", "10.0.0.0/29").await;
    let instance = world.instance("a", "one").await;
    let interface = world.attach(instance, "a", vec![spec("web")]).await.unwrap().remove(0);
    let other: InstanceId = world.instance("a", "two").await;
    world.attach(other, "a", vec![spec("web")]).await.unwrap();
    world.detach(other).await;
    let request = ListAddressesRequest {
        caller: caller("a"),
        selector: selector(&network.uuid),
        ..ListAddressesRequest::default()
    };
    let mut conn = world.db.conn().await;
    let listed = networks::list_addresses(&mut conn, &request).await.unwrap().addresses;
    let kinds: Vec<&str> = listed.iter().map(|a| a.kind.as_str()).collect();
    let mut sorted = kinds.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ["broadcast", "deletion-halo", "gateway", "instance", "network"]);
    let used = listed.iter().find(|a| a.kind == "instance").unwrap();
    assert_eq!(Some(&used.address), interface.ipv4.as_ref());
    assert_eq!(used.user.as_ref().unwrap().object_id, interface.uuid);
    assert!(listed.iter().find(|a| a.kind == "deletion-halo").unwrap().user.is_none());
}

#[tokio::test]
async fn what_is_to_be_rendered_wakes_the_carrier() {
    let Some(world) = World::start().await else { return };
    let request = CreateNetworkRequest {
        caller: caller("a"),
        network_uuid: NetworkId::random().to_string(),
        namespace: "a".to_owned(),
        name: "web".to_owned(),
        netblock: "10.0.0.0/24".to_owned(),
        ..CreateNetworkRequest::default()
    };
    let (_, wakes) = world
        .run_awake(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { networks::create(conn, ctx, &request).await })
        })
        .await
        .unwrap();
    assert!(wakes.contains(&Wake::Renders(world.node)), "{wakes:?}");
}

#[tokio::test]
async fn networks_that_cannot_go_yet_keep_no_other_from_going() {
    let Some(world) = World::start().await else { return };
    let network = world.ready_network("a", "last", "10.0.0.0/24").await;
    let instance = world.instance("a", "one").await;
    world
        .execute(sql("INSERT INTO networks (uuid, namespace, name, netblock_address, netblock_prefix, provide_dhcp, \
             provide_nat, provide_dns, vxid, port_security, generation, generation_changed_at, state, state_changed_at, \
             created_at, version) SELECT CONCAT('00000000-0000-4000-8000-', LPAD(seq, 12, '0')), 'a', 'in-use', \
             '10.1.0.0', 24, FALSE, FALSE, FALSE, seq, 'strict', 1, UTC_TIMESTAMP(6), 'delete-wait', UTC_TIMESTAMP(6), \
             UTC_TIMESTAMP(6), 1 FROM seq_1_to_120"))
        .await;
    world
        .execute(
            sql("INSERT INTO network_interfaces (uuid, namespace, network_uuid, instance_uuid, macaddr, position, model, \
                 port_security, state, state_changed_at, created_at, version) SELECT UUID(), 'a', uuid, ?, \
                 '02:00:00:00:00:01', 0, 'virtio', 'strict', 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 1 \
                 FROM networks WHERE name = 'in-use'")
            .bind(instance),
        )
        .await;
    world.set_state("networks", network.uuid.parse().unwrap(), "delete-wait").await;
    let audit = || world.run(|conn, ctx| Box::pin(async move { networks::audit(conn, ctx).await }));
    let reply = audit().await.unwrap();
    assert_eq!((reply.deletes_requeued, reply.more), (1, false));
    assert_eq!(audit().await.unwrap().deletes_requeued, 0, "a node still has to report");
}
