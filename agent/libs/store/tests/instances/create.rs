//! Creating: whole or not at all.

use std::collections::BTreeSet;

use futures::future::join_all;
use sf_model::{InstanceId, NodeId};
use sf_protos::common::{Caller, PageRequest};
use sf_protos::instances::interface_spec::Address;
use sf_protos::instances::{
    CreateInstanceRequest, Disk, GetInstanceDefinitionRequest, InstanceFilter, ListInstancesForNodeRequest,
    ListInstancesRequest,
};
use sf_store::capacity::Refusal;
use sf_store::instances::{self, Create};
use sf_store::{TxContext, statements};

use crate::life::{NAMESPACE, id, interface, reason, request, selector, system};
use crate::world::{CLUSTER, World, amounts};

#[tokio::test]
async fn an_instance_is_created_with_everything_it_needs() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(8, 8192, 100)).await;
    let around = world.surroundings().await;
    let asked = request(node, around);
    let reply = world.create(asked.clone()).await.unwrap();
    let seen = reply.instance.unwrap();
    assert_eq!((seen.uuid.as_str(), seen.name.as_str()), (asked.instance_uuid.as_str(), "web"));
    assert_eq!((seen.state.unwrap().state.as_str(), seen.power_state.as_str()), ("initial", "initial"));
    assert_eq!((seen.node_name.as_deref(), seen.placement_seq), (Some("n1"), 1));
    assert_eq!(seen.disk_spec, asked.disk_spec);
    assert_eq!(seen.disks, asked.disks);
    assert_eq!(seen.side_channels, asked.side_channels);
    assert_eq!((seen.user_data, seen.ssh_key), (asked.user_data.clone(), asked.ssh_key.clone()));
    assert_eq!(seen.agent_state, "not ready (no contact)");
    assert_eq!(seen.metadata, asked.metadata);
    let kinds: Vec<&str> = seen.ports.iter().map(|port| port.kind.as_str()).collect();
    assert_eq!(kinds, ["console", "vdi"]);
    assert!(seen.ports.iter().all(|port| (30_000..=50_000).contains(&port.port)));
    let [nic] = seen.interfaces.as_slice() else { panic!("{:?}", seen.interfaces) };
    assert!(nic.ipv4.as_deref().unwrap().starts_with("10.0.0.") && nic.macaddr.starts_with("02:00:00:"));
    assert!(seen.has_pending_operations);
    assert_eq!(seen.last_operation.unwrap().op_type, "instance_create");
    assert_eq!(reply.admitted.unwrap().used.unwrap(), asked.charge.unwrap());

    let operations = "SELECT GROUP_CONCAT(operation_type ORDER BY operation_type) = \
         'instance_create,instance_preflight,net_op' FROM cluster_operations";
    assert_eq!(world.number(operations).await, 1);
    // A network operation is completed by reports and has no row in the queue.
    let queued = "SELECT COUNT(*) FROM work_queue w JOIN cluster_operations o ON o.uuid = w.operation_uuid";
    assert_eq!(world.number(queued).await, 2);
    let ready = "SELECT COUNT(*) FROM work_queue w JOIN cluster_operations o ON o.uuid = w.operation_uuid \
         WHERE o.operation_type = 'instance_preflight' AND w.unmet_dependencies = 0";
    assert_eq!(world.number(ready).await, 1);
    let waits = "SELECT unmet_dependencies FROM work_queue w JOIN cluster_operations o ON o.uuid = w.operation_uuid \
         WHERE o.operation_type = 'instance_create'";
    assert_eq!(world.number(waits).await, 2);
    assert_eq!(world.number("SELECT COUNT(*) FROM network_render_requests").await, 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM events WHERE message = 'instance placed'").await, 1);
    world.assert_ledger_exact().await;
}

#[tokio::test]
async fn a_base_that_is_not_here_is_fetched_first() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(8, 8192, 100)).await;
    let around = world.surroundings().await;
    let mut asked = request(node, around);
    let url = "https://images.example/debian.qcow2";
    for position in [0, 2] {
        let disk = Disk {
            position,
            device: format!("vd{}", if position == 0 { 'a' } else { 'c' }),
            bus: "virtio".into(),
            present_as: "disk".into(),
            size_gb: Some(4),
            base: Some(url.into()),
            format: "qcow2".into(),
            artifact_uuid: Some(sf_model::ArtifactId::random().to_string()),
            fetch_url: Some(url.into()),
            ..Disk::default()
        };
        asked.disks.retain(|old| old.position != position);
        asked.disks.push(disk);
    }
    asked.disk_spec.push(asked.disk_spec[0].clone());
    let seen = world.create(asked).await.unwrap().instance.unwrap();
    let artifacts: BTreeSet<_> = seen.disks.iter().filter_map(|disk| disk.artifact_uuid.clone()).collect();
    assert_eq!(artifacts.len(), 1, "two disks of one base wait for one artifact");
    assert_eq!(world.number("SELECT COUNT(*) FROM artifacts WHERE state = 'initial'").await, 1);
    let fetches = "SELECT COUNT(*) FROM cluster_operations WHERE operation_type = 'artifact_fetch'";
    assert_eq!(world.number(fetches).await, 1);
    let waits = "SELECT unmet_dependencies FROM work_queue w JOIN cluster_operations o ON o.uuid = w.operation_uuid \
         WHERE o.operation_type = 'instance_create'";
    assert_eq!(world.number(waits).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_creates_and_room_for_forty() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(40, 1 << 20, 10_000)).await;
    let around = world.surroundings().await;
    let results = join_all((0..100).map(|_| world.create(request(node, around)))).await;
    let made: Vec<_> = results.iter().filter_map(|r| r.as_ref().ok()?.instance.clone()).collect();
    assert_eq!(made.len(), 40);
    for error in results.iter().filter_map(|r| r.as_ref().err()) {
        assert_eq!(Refusal::of(error), Some(Refusal::Node), "{error}");
    }
    world.assert_ledger_exact().await;
    let addresses: BTreeSet<_> = made.iter().map(|i| i.interfaces[0].ipv4.clone().unwrap()).collect();
    let macs: BTreeSet<_> = made.iter().map(|i| i.interfaces[0].macaddr.clone()).collect();
    let ports: BTreeSet<_> = made.iter().flat_map(|i| i.ports.iter().map(|p| p.port)).collect();
    assert_eq!((addresses.len(), macs.len(), ports.len()), (40, 40, 80));
    assert_eq!(world.number("SELECT COUNT(*) FROM instances").await, 40);
    assert_eq!(world.number("SELECT COUNT(*) FROM network_interfaces").await, 40);
    // A refused create leaves no allocation behind.
    assert_eq!(world.number("SELECT COUNT(*) FROM resource_pool_allocations").await, 160);
}

#[tokio::test]
async fn a_refused_create_leaves_no_row_anywhere() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(4, 8192, 100)).await;
    let around = world.surroundings().await;
    let first = request(node, around);
    world.create(first.clone()).await.unwrap();
    let taken = world.view(id(&first)).await.interfaces[0].ipv4.clone().unwrap();
    let before = world.census().await;

    let spoil = |spoil: fn(&mut CreateInstanceRequest)| {
        let mut asked = request(node, around);
        spoil(&mut asked);
        asked
    };
    let mut address_taken = request(node, around);
    address_taken.interfaces.push(interface("net", Address::Exact(taken)));
    for (asked, expected) in [
        (spoil(|r| r.cpus = 5), "capacity"),
        (spoil(|r| r.affinity.as_mut().unwrap().require_without = vec!["web".into()]), "capacity"),
        (spoil(|r| r.affinity.as_mut().unwrap().require_with = vec!["db".into()]), "capacity"),
        (spoil(|r| r.namespace = "nobody".into()), "missing"),
        (spoil(|r| r.interfaces[0].network_reference = "nowhere".into()), "missing"),
        (spoil(|r| r.interfaces[0].model = "ne2k".into()), "bad-interface"),
        (address_taken, "in-use"),
        (spoil(|r| r.disks[0].blob_uuid = Some(InstanceId::random().to_string())), "missing"),
        (spoil(|r| r.metadata[0].value_json = "1".into()), "bad-metadata"),
        (spoil(|r| r.request_hash = "x".into()), "invalid"),
        (spoil(|r| r.candidate_node_uuids = vec![]), "invalid"),
        (spoil(|r| r.disk_spec.clear()), "invalid"),
        (spoil(|r| r.cpus = 0), "invalid"),
    ] {
        let result = world.create(asked).await;
        assert_eq!(reason(&result), expected, "{result:?}");
        assert_eq!(world.census().await, before, "{expected}");
        world.assert_ledger_exact().await;
    }
    world.execute("UPDATE cluster_capacity SET claimed_cpus = total_cpus").await;
    let result = world.create(request(node, around)).await;
    assert_eq!(result.as_ref().err().and_then(Refusal::of), Some(Refusal::Cluster));
    assert_eq!(world.census().await, before);
}

#[tokio::test]
async fn a_network_that_is_not_ready_says_so() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(4, 8192, 100)).await;
    let around = world.surroundings().await;
    for (state, expected) in [("initial", "not-ready"), ("delete-wait", "bad-state"), ("created", "success")]
    {
        world.execute(&format!("UPDATE networks SET state = '{state}'")).await;
        assert_eq!(reason(&world.create(request(node, around)).await), expected, "{state}");
    }
}

#[tokio::test]
async fn a_repeated_request_finds_its_instance() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(8, 8192, 100)).await;
    let around = world.surroundings().await;
    let asked = request(node, around);
    world.create(asked.clone()).await.unwrap();
    let before = world.census().await;
    assert_eq!(reason(&world.create(asked.clone()).await), "exists");
    assert_eq!(world.census().await, before);
    let mut conn = world.db.conn().await;
    let again = instances::existing(&mut conn, &Create::parse(asked.clone()).unwrap()).await.unwrap();
    assert_eq!(again.instance.unwrap().uuid, asked.instance_uuid);
    let other = CreateInstanceRequest { request_hash: "cd".repeat(32), ..asked };
    assert_eq!(reason(&instances::existing(&mut conn, &Create::parse(other).unwrap()).await), "exists");
}

#[tokio::test]
async fn an_instance_may_have_no_interfaces_and_no_config_drive() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(8, 8192, 100)).await;
    let around = world.surroundings().await;
    let mut asked = request(node, around);
    asked.interfaces.clear();
    asked.disks.truncate(1);
    asked.configdrive = "none".into();
    asked.side_channels.clear();
    asked.metadata.clear();
    let seen = world.create(asked).await.unwrap().instance.unwrap();
    assert!(seen.interfaces.is_empty() && seen.side_channels.is_empty() && seen.disks.len() == 1);
}

#[tokio::test]
async fn the_definition_says_how_far_the_networks_are() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(8, 8192, 100)).await;
    let around = world.surroundings().await;
    let asked = request(node, around);
    world.create(asked.clone()).await.unwrap();
    let definition = || async {
        let ctx = TxContext::internal(world.settings.clone(), "test");
        let mut conn = world.db.conn().await;
        let request = GetInstanceDefinitionRequest { instance_uuid: asked.instance_uuid.clone() };
        instances::definition(&mut conn, &ctx, &request).await.unwrap()
    };
    let first = definition().await;
    assert_eq!((first.cluster_id.as_str(), first.networks.len()), (CLUSTER, 1));
    let network = &first.networks[0];
    assert_eq!((network.vxid, network.netblock.as_str(), network.mtu), (20, "10.0.0.0/24", 1450));
    assert_eq!((network.generation, network.rendered_here), (2, false));
    // Others raise the generation; what this instance waits for stays what it was.
    world.create(request(node, around)).await.unwrap();
    world
        .execute(&format!(
            "INSERT INTO network_node_renders (network_uuid, node_uuid, generation, state, rendered_at) \
             VALUES ('{}', '{node}', 2, 'present', UTC_TIMESTAMP(6))",
            around.network
        ))
        .await;
    let second = definition().await;
    assert!(second.networks[0].rendered_here && !second.networks[0].rendered_on_carrier);
}

async fn list(world: &World, request: ListInstancesRequest) -> (Vec<String>, bool, String) {
    let mut conn = world.db.conn().await;
    let reply = instances::list(&mut conn, &request).await.unwrap();
    let page = reply.page.unwrap();
    (reply.instances.into_iter().map(|i| i.uuid).collect(), page.more, page.next_token)
}

#[tokio::test]
async fn lists_show_what_is_asked_for_page_by_page() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(100, 1 << 20, 10_000)).await;
    let around = world.surroundings().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        let asked = request(node, around);
        world.create(asked.clone()).await.unwrap();
        made.push(id(&asked));
    }
    world.delete(made[4]).await.unwrap();
    world.finish(made[4]).await.unwrap();
    let of =
        |filter: InstanceFilter| ListInstancesRequest { caller: system(), filter: Some(filter), page: None };
    let expected: Vec<String> = made.iter().map(ToString::to_string).collect();
    assert_eq!(list(&world, of(InstanceFilter::default())).await.0, expected[..4]);
    let all = InstanceFilter { all: true, ..InstanceFilter::default() };
    assert_eq!(list(&world, of(all)).await.0, expected);
    let elsewhere = InstanceFilter { node_uuid: Some(NodeId::random().to_string()), ..Default::default() };
    assert_eq!(list(&world, of(elsewhere)).await.0, Vec::<String>::new());
    let attached = InstanceFilter { network_uuid: Some(around.network.to_string()), ..Default::default() };
    assert_eq!(list(&world, of(attached)).await.0.len(), 4);
    let foreign =
        ListInstancesRequest { caller: Some(Caller { namespace: "other".into() }), ..of(Default::default()) };
    assert_eq!(list(&world, foreign).await.0, Vec::<String>::new());

    let mut paged = Vec::new();
    let mut token = None;
    loop {
        let page = Some(PageRequest { limit: 2, token });
        let (uuids, more, next) =
            list(&world, ListInstancesRequest { page, ..of(InstanceFilter::default()) }).await;
        paged.extend(uuids);
        if !more {
            break;
        }
        token = Some(next);
    }
    assert_eq!(paged, expected[..4]);
}

/// What users may write into instances is larger than a page, and than a message of the mesh together.
#[tokio::test]
async fn heavy_instances_are_pages_of_their_own() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(100, 1 << 20, 10_000)).await;
    let around = world.surroundings().await;
    let mut made = Vec::new();
    for letter in [Some("a"), Some("b"), Some("c"), None] {
        let user_data = letter.map(|letter| letter.repeat(4 << 20));
        let asked = CreateInstanceRequest { user_data, ..request(node, around) };
        world.create(asked.clone()).await.unwrap();
        made.push((asked.instance_uuid.clone(), asked.user_data));
    }
    let mut conn = world.db.conn().await;
    let mut users = Vec::new();
    let mut page = None;
    loop {
        let asked = ListInstancesRequest { caller: system(), filter: None, page };
        let reply = instances::list(&mut conn, &asked).await.unwrap();
        assert_eq!(reply.instances.len(), 1, "one for each page");
        users.extend(reply.instances.into_iter().map(|instance| (instance.uuid, instance.user_data)));
        page =
            Some(PageRequest { limit: 0, token: reply.page.filter(|info| info.more).map(|p| p.next_token) });
        if page.as_ref().is_some_and(|page| page.token.is_none()) {
            break;
        }
    }
    assert!(users == made, "every instance once, with its own user data");
    let asked = ListInstancesForNodeRequest { node_uuid: node.to_string(), page: None };
    let reply = instances::list_for_node(&mut conn, &asked).await.unwrap();
    assert!(reply.page.unwrap().more && reply.instances.len() <= 2, "{}", reply.instances.len());
}

#[tokio::test]
async fn a_list_costs_the_same_number_of_statements_whatever_its_length() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(1000, 1 << 20, 10_000)).await;
    let around = world.surroundings().await;
    let mut costs = Vec::new();
    let mut made = 0;
    for wanted in [1, 10, 200] {
        let creates = (made..wanted).map(|_| world.create(request(node, around)));
        for created in join_all(creates).await {
            created.unwrap();
        }
        made = wanted;
        let mut conn = world.db.conn().await;
        let request = ListInstancesRequest { caller: system(), filter: None, page: None };
        let (reply, user) = statements::count(instances::list(&mut conn, &request)).await;
        assert_eq!(reply.unwrap().instances.len(), wanted);
        let request = ListInstancesForNodeRequest { node_uuid: node.to_string(), page: None };
        let (reply, worker) = statements::count(instances::list_for_node(&mut conn, &request)).await;
        assert_eq!(reply.unwrap().instances.len(), wanted);
        costs.push((user, worker));
    }
    assert!(costs.iter().all(|cost| *cost == costs[0]), "{costs:?}");
    // One for the rows, and one each for user data, disks, interfaces, both kinds of metadata, and operations.
    assert!(costs[0].0 <= 7, "{costs:?}");
}

#[tokio::test]
async fn references_are_resolved_as_users_write_them() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(100, 1 << 20, 10_000)).await;
    let around = world.surroundings().await;
    let asked = request(node, around);
    world.create(asked.clone()).await.unwrap();
    let get = |namespace: &str, reference: &str| {
        let request = sf_protos::instances::GetInstanceRequest {
            caller: Some(Caller { namespace: namespace.into() }),
            selector: selector(reference),
        };
        let world = world.clone();
        async move {
            let mut conn = world.db.conn().await;
            instances::get(&mut conn, &request).await
        }
    };
    assert!(get(NAMESPACE, "web").await.is_ok() && get(NAMESPACE, &asked.instance_uuid).await.is_ok());
    assert_eq!(reason(&get("other", &asked.instance_uuid).await), "missing");
    world.create(request(node, around)).await.unwrap();
    assert_eq!(reason(&get(NAMESPACE, "web").await), "ambiguous-reference");
    world.delete(id(&asked)).await.unwrap();
    world.finish(id(&asked)).await.unwrap();
    assert!(get(NAMESPACE, "web").await.is_ok(), "a deleted instance has no name");
    assert!(get(NAMESPACE, &asked.instance_uuid).await.is_ok(), "but is still readable by its identity");
}
