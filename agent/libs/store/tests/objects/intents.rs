//! Intents of two nodes, render claims and carriers.

use sf_model::{ClaimToken, IncarnationId, InstanceId, NodeId};
use sf_protos::net_privexec::{NetworkIntent, Presence};
use sf_protos::networks::{
    ClaimRendersReply, ClaimRendersRequest, GetHostIntentRequest, GetNetworkIntentRequest,
    ListNodeIntentsRequest, Network, RenewCarrierSessionReply, RenewCarrierSessionRequest, ReportRenderReply,
    ReportRenderRequest,
};
use sf_protos::nodes::RegisterNodeRequest;
use sf_store::sql::sql;
use sf_store::{StoreError, StoreResult};
use sf_store::{networks, nodes};

use super::world::{World, spec};

async fn intent(world: &World, network: &str, node: NodeId) -> NetworkIntent {
    let request = GetNetworkIntentRequest { network_uuid: network.to_owned(), node_uuid: node.to_string() };
    let reply = world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { networks::intent_of(conn, &ctx.settings, &request).await })
        })
        .await
        .unwrap();
    reply.intent.unwrap()
}

async fn claim(
    world: &World,
    node: NodeId,
    incarnation: IncarnationId,
    token: ClaimToken,
) -> ClaimRendersReply {
    let request = ClaimRendersRequest {
        node_uuid: node.to_string(),
        incarnation: incarnation.to_string(),
        claim_token: token.to_string(),
        limit: 10,
        wait_ms: 0,
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { networks::claim_renders(conn, &ctx.settings, &request).await })
        })
        .await
        .unwrap()
}

async fn report(
    world: &World,
    network: &str,
    token: ClaimToken,
    generation: u64,
    outcome: &str,
) -> StoreResult<ReportRenderReply> {
    let request = ReportRenderRequest {
        network_uuid: network.to_owned(),
        node_uuid: world.node.to_string(),
        claim_token: token.to_string(),
        generation,
        outcome: outcome.to_owned(),
        error_code: Some("network.render_failed".to_owned()),
        error_message: Some("the kernel said no".to_owned()),
        ..ReportRenderRequest::default()
    };
    world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { networks::report_render(conn, ctx, &request).await })
        })
        .await
}

/// A network that is rendered on its carrier, and an instance of it on another node.
async fn with_neighbour(world: &World) -> (Network, NodeId, InstanceId) {
    let network = world.ready_network("a", "web", "10.0.0.0/24").await;
    let other = NodeId::random();
    world.add_node(other, "two", "10.200.0.2").await;
    let there = world.instance_on("a", "there", other).await;
    world.attach(there, "a", vec![spec("web")]).await.unwrap();
    (network, other, there)
}

#[tokio::test]
async fn an_intent_is_complete_on_the_carrier_and_bare_elsewhere() {
    let Some(world) = World::start().await else { return };
    let network = world.ready_network("a", "web", "10.0.0.0/24").await;
    let other = NodeId::random();
    world.add_node(other, "two", "10.200.0.2").await;
    let here = world.instance("a", "Here").await;
    let there = world.instance_on("a", "there", other).await;
    let mut floating = spec("web");
    floating.float = true;
    let local = world.attach(here, "a", vec![floating]).await.unwrap().remove(0);
    let remote = world.attach(there, "a", vec![spec("web")]).await.unwrap().remove(0);

    let carrier = intent(&world, &network.uuid, world.node).await;
    assert_eq!(carrier.presence(), Presence::Present);
    assert_eq!((carrier.vxid, carrier.mtu, carrier.learning), (network.vxid, 1450, false));
    assert_eq!(carrier.peers.iter().map(|p| p.mesh_ip.as_str()).collect::<Vec<_>>(), ["10.200.0.2"]);
    assert_eq!(carrier.local_ports.len(), 1);
    assert_eq!(carrier.local_ports[0].allowed_addresses, [local.ipv4.clone().unwrap()]);
    assert_eq!(carrier.remote_ports.len(), 1);
    assert_eq!(carrier.remote_ports[0].macaddr, remote.macaddr);
    let part = carrier.carrier.unwrap();
    assert_eq!((part.epoch, part.session_epoch, part.egress_live), (1, 1, true));
    assert_eq!((part.netblock.as_str(), part.gateway.as_str()), ("10.0.0.0/24", "10.0.0.1"));
    assert_eq!(Some(part.egress_address), network.floating_gateway);
    assert_eq!(part.floats.len(), 1);
    assert_eq!(Some(&part.floats[0].floating_address), local.floating.as_ref());
    let dhcp = part.dhcp.unwrap();
    assert_eq!((dhcp.domain.as_str(), dhcp.dns_servers), ("a.shakenfist", vec!["10.0.0.1".to_owned()]));
    let mut names: Vec<_> = dhcp.reservations.iter().map(|r| r.hostname.clone()).collect();
    names.sort();
    assert_eq!(names, ["here", "there"]);
    let dns = part.dns.unwrap();
    assert_eq!((dns.records.len(), dns.forwarders), (2, vec!["8.8.8.8".to_owned()]));

    let bare = intent(&world, &network.uuid, other).await;
    assert_eq!((bare.presence(), bare.carrier.is_none()), (Presence::Present, true));
    assert_eq!(bare.peers.iter().map(|p| p.mesh_ip.as_str()).collect::<Vec<_>>(), ["10.200.0.1"]);
    let macs: Vec<_> = bare.remote_ports.iter().map(|p| p.macaddr.clone()).collect();
    let [_, a, b, c] = network.vxid.to_be_bytes();
    assert!(
        macs.contains(&local.macaddr) && macs.contains(&format!("02:53:46:{a:02x}:{b:02x}:{c:02x}")),
        "{macs:?}"
    );

    let stranger = NodeId::random();
    world.add_node(stranger, "three", "10.200.0.3").await;
    assert_eq!(intent(&world, &network.uuid, stranger).await.presence(), Presence::Absent);
}

#[tokio::test]
async fn a_node_that_moves_on_the_mesh_is_rendered_anew_by_everybody() {
    let Some(world) = World::start().await else { return };
    let (network, other, _) = with_neighbour(&world).await;
    let before = intent(&world, &network.uuid, world.node).await;
    for _ in 0..2 {
        let request = RegisterNodeRequest {
            node_uuid: other.to_string(),
            name: "two".to_owned(),
            mesh_ip: "10.200.0.22".to_owned(),
            release: "0.1".to_owned(),
            is_hypervisor: true,
            ..RegisterNodeRequest::default()
        };
        world
            .run(move |conn, ctx| {
                let request = request.clone();
                Box::pin(async move { nodes::register(conn, ctx, &request).await })
            })
            .await
            .unwrap();
    }
    let after = intent(&world, &network.uuid, world.node).await;
    assert_eq!(after.peers[0].mesh_ip, "10.200.0.22");
    assert_eq!(after.generation, before.generation + 1, "once, however often it registers");
    for node in [world.node, other] {
        let claims = claim(&world, node, IncarnationId::random(), ClaimToken::random()).await.claims;
        assert_eq!(claims[0].min_generation, after.generation);
    }
}

#[tokio::test]
async fn a_node_is_told_to_remove_what_it_no_longer_has_a_part_in() {
    let Some(world) = World::start().await else { return };
    let (network, other, there) = with_neighbour(&world).await;
    world.report(&network.uuid, other, 2, "present").await;
    world.detach(there).await;
    assert_eq!(intent(&world, &network.uuid, other).await.presence(), Presence::Absent);
    let request = ListNodeIntentsRequest { node_uuid: other.to_string(), page: None };
    let mut conn = world.db.conn().await;
    let listed = networks::node_intents(&mut conn, &request).await.unwrap().intents;
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].wanted.as_str(), listed[0].rendered_state.as_str()), ("absent", "present"));
    assert!(listed[0].settling && listed[0].generation > listed[0].rendered_generation);
    assert_eq!(claim(&world, other, IncarnationId::random(), ClaimToken::random()).await.claims.len(), 1);
    world.report(&network.uuid, other, listed[0].generation, "absent").await;
    assert!(networks::node_intents(&mut conn, &request).await.unwrap().intents.is_empty());
}

#[tokio::test]
async fn claims_are_leases_of_one_process() {
    let Some(world) = World::start().await else { return };
    let network = world.network("a", "web", "10.0.0.0/24").await.unwrap();
    let (first, second) = (IncarnationId::random(), IncarnationId::random());
    let token = ClaimToken::random();
    let claims = claim(&world, world.node, first, token).await.claims;
    assert_eq!((claims.len(), claims[0].network_uuid.as_str()), (1, network.uuid.as_str()));
    assert_eq!(claim(&world, world.node, first, token).await.claims.len(), 1, "a lost reply strands nothing");
    assert!(claim(&world, world.node, first, ClaimToken::random()).await.claims.is_empty());
    let later = ClaimToken::random();
    assert_eq!(
        claim(&world, world.node, second, later).await.claims.len(),
        1,
        "a restarted daemon has its work at once"
    );
    let refused = report(&world, &network.uuid, token, 1, "present").await;
    assert!(matches!(refused, Err(StoreError::Precondition { reason: "claim-lost", .. })));
    assert!(!report(&world, &network.uuid, later, 1, "present").await.unwrap().behind);
    assert_eq!(world.number("SELECT COUNT(*) FROM network_render_requests").await, 0);
}

#[tokio::test]
async fn what_changes_during_a_render_is_rendered_again() {
    let Some(world) = World::start().await else { return };
    let network = world.ready_network("a", "web", "10.0.0.0/24").await;
    let one = world.instance("a", "one").await;
    world.attach(one, "a", vec![spec("web")]).await.unwrap();
    let incarnation = IncarnationId::random();
    let token = ClaimToken::random();
    let claims = claim(&world, world.node, incarnation, token).await.claims;
    assert_eq!(claims[0].min_generation, 2);
    let two = world.instance("a", "two").await;
    world.attach(two, "a", vec![spec("web")]).await.unwrap();
    assert!(report(&world, &network.uuid, token, 2, "present").await.unwrap().behind);
    let again = claim(&world, world.node, incarnation, ClaimToken::random()).await.claims;
    assert_eq!((again.len(), again[0].min_generation), (1, 3));
}

#[tokio::test]
async fn failures_back_off_and_end_in_error() {
    let Some(world) = World::start().await else { return };
    let network = world.network("a", "web", "10.0.0.0/24").await.unwrap();
    let incarnation = IncarnationId::random();
    let mut pauses = Vec::new();
    for attempt in 1..=10 {
        world.execute(sql("UPDATE network_render_requests SET not_before = UTC_TIMESTAMP(6)")).await;
        let token = ClaimToken::random();
        let claims = claim(&world, world.node, incarnation, token).await.claims;
        assert_eq!(claims.len(), 1, "attempt {attempt}");
        pauses.push(report(&world, &network.uuid, token, 1, "error").await.unwrap().retry_after_ms);
    }
    assert!(pauses[0] < pauses[4] && pauses[9].is_none(), "{pauses:?}");
    let state = world.text(&format!("SELECT state FROM networks WHERE uuid = '{}'", network.uuid)).await;
    assert_eq!(state, "error");
    let operation = network.last_operation.unwrap().op_uuid;
    assert_eq!(
        world.text(&format!("SELECT state FROM cluster_operations WHERE uuid = '{operation}'")).await,
        "error"
    );
}

#[tokio::test]
async fn carriers_take_over_when_a_session_ends() {
    let Some(world) = World::with(&[("egress_mode", "routed")]).await else { return };
    let network = world.ready_network("a", "web", "10.0.0.0/24").await;
    let other = NodeId::random();
    world.add_node(other, "two", "10.200.0.2").await;
    let renew = |node: NodeId, epoch: u64| {
        let world = world.clone();
        async move {
            let request = RenewCarrierSessionRequest {
                node_uuid: node.to_string(),
                eligible: true,
                session_epoch: epoch,
            };
            world
                .run(move |conn, ctx| {
                    let request = request.clone();
                    Box::pin(async move { networks::renew_session(conn, &ctx.settings, &request).await })
                })
                .await
        }
    };
    let assign =
        || world.run(|conn, ctx| Box::pin(async move { networks::assign_carriers(conn, ctx).await }));
    let RenewCarrierSessionReply { session_epoch, pool_members, .. } = renew(other, 0).await.unwrap();
    assert_eq!((session_epoch, pool_members), (1, 2));
    assert_eq!(renew(other, 1).await.unwrap().session_epoch, 1);
    assert_eq!(assign().await.unwrap().assigned, 0, "a living carrier keeps its networks");
    world
        .execute(
            sql("UPDATE carrier_sessions SET expires_at = TIMESTAMPADD(SECOND, -10, UTC_TIMESTAMP(6)) WHERE node_uuid = ?")
                .bind(world.node),
        )
        .await;
    assert_eq!(assign().await.unwrap().assigned, 1);
    let taken = intent(&world, &network.uuid, other).await;
    assert_eq!((taken.carrier.unwrap().epoch, taken.generation), (2, 2));
    assert_eq!(intent(&world, &network.uuid, world.node).await.presence(), Presence::Absent);
    assert_eq!(renew(world.node, 1).await.unwrap().session_epoch, 2, "a session that lapsed starts anew");
}

#[tokio::test]
async fn egress_by_translation_has_one_carrier() {
    let Some(world) = World::start().await else { return };
    let other = NodeId::random();
    world.add_node(other, "two", "10.200.0.2").await;
    let request =
        RenewCarrierSessionRequest { node_uuid: other.to_string(), eligible: true, session_epoch: 0 };
    let refused = world
        .run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { networks::renew_session(conn, &ctx.settings, &request).await })
        })
        .await;
    assert!(matches!(refused, Err(StoreError::Precondition { reason: "second-carrier", .. })));
}

#[tokio::test]
async fn a_network_without_a_carrier_gets_one_later() {
    let Some(world) = World::start().await else { return };
    world.execute(sql("UPDATE carrier_sessions SET eligible = FALSE")).await;
    let network = world.network("a", "web", "10.0.0.0/24").await.unwrap();
    assert!(network.carrier_node_uuid.is_none());
    world.execute(sql("UPDATE carrier_sessions SET eligible = TRUE")).await;
    let assigned = world
        .run(|conn, ctx| Box::pin(async move { networks::assign_carriers(conn, ctx).await }))
        .await
        .unwrap();
    assert_eq!(assigned.assigned, 1);
    assert_eq!(
        claim(&world, world.node, IncarnationId::random(), ClaimToken::random()).await.claims.len(),
        1
    );
}

#[tokio::test]
async fn the_host_intent_protects_every_node() {
    let Some(world) = World::with(&[("protected_cidrs", "172.16.0.0/12")]).await else { return };
    world.add_node(NodeId::random(), "two", "10.200.0.2").await;
    let request = GetHostIntentRequest { node_uuid: world.node.to_string() };
    let mut conn = world.db.conn().await;
    let intent = networks::host_intent(&mut conn, &world.settings, &request).await.unwrap().intent.unwrap();
    assert_eq!(intent.protected_cidrs, ["10.200.0.1/32", "10.200.0.2/32", "172.16.0.0/12"]);
    assert_eq!(
        (intent.mesh_ip.as_str(), intent.mesh_peers.len(), intent.underlay_mtu),
        ("10.200.0.1", 2, 1500)
    );
    let egress = intent.egress.unwrap();
    assert_eq!(
        (egress.floating_network.as_str(), egress.floating_router.as_str()),
        ("192.168.20.0/24", "192.168.20.1")
    );
}
