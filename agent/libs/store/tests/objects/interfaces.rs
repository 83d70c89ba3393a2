//! Interfaces of instances: addresses without duplicates, all or none, refusals.

use std::collections::BTreeSet;

use sf_protos::instances::interface_spec::Address;
use sf_protos::networks::list_interfaces_request::Of;
use sf_protos::networks::{GetInterfaceRequest, ListInterfacesRequest};
use sf_store::networks::interfaces;
use sf_store::sql::sql;
use sf_store::{StoreError, networks};

use super::world::{World, at_once, caller, selector, spec};

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_creates_never_share_an_address() {
    let Some(world) = World::start().await else { return };
    world.ready_network("a", "web", "10.0.0.0/27").await;
    let mut instances = Vec::new();
    for index in 0..40 {
        instances.push(world.instance("a", &format!("i{index}")).await);
    }
    let creates = instances.into_iter().map(|instance| {
        let world = world.clone();
        async move { world.attach(instance, "a", vec![spec("web")]).await }
    });
    let results = at_once(creates).await;
    let given: Vec<_> = results.iter().filter_map(|r| r.as_ref().ok()).flatten().collect();
    // A /27 has 32 addresses, three of them the network's own.
    assert_eq!(
        given.len(),
        29,
        "{:?}",
        results.iter().filter_map(|r| r.as_ref().err()).map(ToString::to_string).collect::<BTreeSet<_>>()
    );
    let addresses: BTreeSet<_> = given.iter().map(|i| i.ipv4.clone().unwrap()).collect();
    let macs: BTreeSet<_> = given.iter().map(|i| i.macaddr.clone()).collect();
    assert_eq!((addresses.len(), macs.len()), (29, 29));
    for refusal in results.iter().filter_map(|r| r.as_ref().err()) {
        assert!(matches!(refusal, StoreError::Capacity { reason: "pool-empty", .. }), "{refusal}");
    }
    assert_eq!(world.number("SELECT COUNT(*) FROM network_interfaces").await, 29);
    assert_eq!(
        world
            .number("SELECT COUNT(*) FROM resource_pool_allocations WHERE pool = 'mac' AND state = 'held'")
            .await,
        29
    );
}

#[tokio::test]
async fn all_interfaces_of_an_instance_or_none() {
    let Some(world) = World::start().await else { return };
    let network = world.ready_network("a", "web", "10.0.0.0/24").await;
    let one = world.instance("a", "one").await;
    let mut exact = spec("web");
    exact.address = Some(Address::Exact("10.0.0.50".to_owned()));
    exact.macaddress = Some("02:00:00:aa:bb:cc".to_owned());
    exact.float = true;
    let mut bare = spec(&network.uuid);
    bare.address = Some(Address::None(true));
    let made = world.attach(one, "a", vec![exact.clone(), bare]).await.unwrap();
    assert_eq!(made.iter().map(|i| i.order).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(made[0].ipv4.as_deref(), Some("10.0.0.50"));
    assert_eq!(made[0].macaddr, "02:00:00:aa:bb:cc");
    assert!(made[0].floating.is_some() && made[1].ipv4.is_none() && made[1].floating.is_none());

    let before = world.number("SELECT COUNT(*) FROM resource_pool_allocations").await;
    let two = world.instance("a", "two").await;
    exact.interface_uuid = sf_model::InterfaceId::random().to_string();
    let refused = world.attach(two, "a", vec![spec("web"), exact]).await;
    assert!(matches!(refused, Err(StoreError::Precondition { reason: "in-use", .. })), "{refused:?}");
    assert_eq!(world.number("SELECT COUNT(*) FROM resource_pool_allocations").await, before);
    assert_eq!(world.number("SELECT COUNT(*) FROM network_interfaces").await, 2);
}

#[tokio::test]
async fn descriptions_that_cannot_be_are_refused_by_name() {
    let Some(world) = World::start().await else { return };
    world.network("a", "coming", "10.0.0.0/24").await.unwrap();
    world.ready_network("a", "web", "10.0.0.0/24").await;
    world.ready_network("b", "foreign", "10.0.0.0/24").await;
    let instance = world.instance("a", "one").await;
    let with = |change: fn(&mut sf_protos::instances::InterfaceSpec)| {
        let mut spec = spec("web");
        change(&mut spec);
        spec
    };
    for (spec, expected) in [
        (spec("coming"), "not-ready"),
        (with(|s| s.address = Some(Address::Exact("10.0.0.1".to_owned()))), "bad-interface"),
        (with(|s| s.address = Some(Address::Exact("10.0.1.5".to_owned()))), "bad-interface"),
        (with(|s| s.macaddress = Some("01:00:00:00:00:01".to_owned())), "bad-interface"),
        (with(|s| s.macaddress = Some("02:53:46:00:00:01".to_owned())), "bad-interface"),
        (with(|s| s.model = "ne2000".to_owned()), "bad-interface"),
    ] {
        let refused = world.attach(instance, "a", vec![spec.clone()]).await.unwrap_err();
        let StoreError::Precondition { reason, .. } = &refused else { panic!("{spec:?}: {refused}") };
        assert_eq!(*reason, expected, "{spec:?}");
    }
    let hidden = world.attach(instance, "a", vec![spec("foreign")]).await;
    assert!(matches!(hidden, Err(StoreError::Missing { .. })));
}

#[tokio::test]
async fn an_interface_is_its_owners_alone() {
    let Some(world) = World::start().await else { return };
    let network = world.ready_network("a", "web", "10.0.0.0/24").await;
    let instance = world.instance("a", "one").await;
    let made = world.attach(instance, "a", vec![spec("web")]).await.unwrap().remove(0);
    let mut conn = world.db.conn().await;
    for (namespace, seen) in [("a", true), ("system", true), ("b", false)] {
        let request = GetInterfaceRequest { caller: caller(namespace), interface_uuid: made.uuid.clone() };
        assert_eq!(interfaces::get(&mut conn, &request).await.is_ok(), seen, "{namespace}");
        for of in [Of::Network(selector(&network.uuid).unwrap()), Of::Instance(selector(instance).unwrap())] {
            let request = ListInterfacesRequest { caller: caller(namespace), of: Some(of), page: None };
            let listed = interfaces::list(&mut conn, &request).await;
            assert_eq!(listed.map(|l| l.interfaces.len()).ok(), seen.then_some(1), "{namespace}");
        }
    }
}

#[tokio::test]
async fn the_audit_removes_interfaces_whose_instance_is_gone() {
    let Some(world) = World::start().await else { return };
    world.ready_network("a", "web", "10.0.0.0/24").await;
    let instance = world.instance("a", "one").await;
    world.attach(instance, "a", vec![spec("web")]).await.unwrap();
    world.execute(sql("DELETE FROM instances WHERE uuid = ?").bind(instance)).await;
    let audit = || world.run(|conn, ctx| Box::pin(async move { networks::audit(conn, ctx).await }));
    assert_eq!(audit().await.unwrap().interfaces_deleted, 0, "it may be a create that has not committed");
    world
        .execute(sql("UPDATE network_interfaces SET created_at = TIMESTAMPADD(MINUTE, -5, UTC_TIMESTAMP(6))"))
        .await;
    assert_eq!(audit().await.unwrap().interfaces_deleted, 1);
    assert_eq!(world.number("SELECT COUNT(*) FROM network_interfaces WHERE state <> 'deleted'").await, 0);
    assert_eq!(
        world
            .number("SELECT COUNT(*) FROM resource_pool_allocations WHERE pool = 'mac' AND state = 'held'")
            .await,
        0
    );
}

#[tokio::test]
async fn conflicts_are_told_once_and_keep_nothing_else_from_being_repaired() {
    let Some(world) = World::start().await else { return };
    let network = world.ready_network("a", "web", "10.0.0.0/22").await;
    let instance = world.instance("a", "one").await;
    // More than one call looks at, and behind them in the order of their ids one that can be repaired.
    world
        .execute(
            sql("INSERT INTO network_interfaces (uuid, namespace, network_uuid, instance_uuid, macaddr, ipv4, position, \
                 model, port_security, state, state_changed_at, created_at, version) \
                 SELECT CONCAT(LPAD(HEX(seq), 8, '0'), '-0000-4000-8000-000000000000'), 'a', ?, ?, \
                 CONCAT('02:00:00:00:00:', LPAD(HEX(seq), 2, '0')), INET_NTOA(INET_ATON('10.0.1.0') + seq), seq, \
                 'virtio', 'strict', 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 1 FROM seq_1_to_121")
            .bind(&network.uuid)
            .bind(instance),
        )
        .await;
    world
        .execute(sql("INSERT INTO resource_pool_allocations (allocation_uuid, pool, value, state, owner_type, owner_uuid, \
             purpose, allocated_at) SELECT UUID(), CONCAT('ipv4:', network_uuid), INET_ATON(CAST(ipv4 AS CHAR)), 'held', \
             'network', UUID(), 'test', UTC_TIMESTAMP(6) FROM network_interfaces WHERE position < 121"))
        .await;
    let audit = || world.run(|conn, ctx| Box::pin(async move { networks::audit(conn, ctx).await }));
    let told = |message: &'static str| {
        let world = world.clone();
        async move { world.number(&format!("SELECT COUNT(*) FROM events WHERE message LIKE '{message}%'")).await }
    };
    assert!(audit().await.unwrap().more);
    assert!(!audit().await.unwrap().more);
    assert_eq!(told("address conflict").await, 120);
    assert_eq!(told("address reserved again").await, 1, "the one behind them had its turn");
    audit().await.unwrap();
    assert_eq!(told("address conflict").await, 120, "once per episode");
    for table in ["events", "event_objects"] {
        world.execute(sql(format!("DELETE FROM {table}"))).await;
    }
    audit().await.unwrap();
    assert_eq!(told("address conflict").await, 0, "also when the log no longer knows");

    // The holder of one lets go, and later somebody takes that address again.
    world
        .execute(sql("DELETE FROM resource_pool_allocations WHERE purpose = 'test' ORDER BY value LIMIT 1"))
        .await;
    audit().await.unwrap();
    assert_eq!(told("address reserved again").await, 1);
    world
        .execute(sql("UPDATE resource_pool_allocations SET owner_uuid = UUID() WHERE purpose = 'instance' \
             ORDER BY value LIMIT 1"))
        .await;
    audit().await.unwrap();
    audit().await.unwrap();
    assert_eq!(told("address conflict").await, 1, "a new episode is told");
}
