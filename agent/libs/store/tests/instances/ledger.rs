//! Admission, release, leases and the reconciler.

use std::time::Duration;

use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sf_model::{InstanceId, NodeId};
use sf_protos::nodes::NodeMetrics;
use sf_protos::scheduler::{DriftCorrection, GetCapacityRequest};
use sf_store::capacity::{self, Refusal};
use sf_store::sql::sql;

use crate::world::{Wish, World, amounts, is_exists, metrics, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_callers_and_room_for_forty() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(40, 1 << 20, 10_000)).await;
    let tries = (0..100).map(|_| world.admit(Wish::new(node, amounts(1, 64, 1))));
    let results = join_all(tries).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 40);
    assert!(results.iter().filter(|r| r.is_err()).all(|r| refusal(r) == Some(Refusal::Node)), "{results:?}");
    world.assert_ledger_exact().await;
    assert_eq!(world.number("SELECT used_cpus FROM node_capacity").await, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_callers_one_slot() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(1, 4096, 100)).await;
    for round in 0..20 {
        let wishes: Vec<Wish> = (0..8).map(|_| Wish::new(node, amounts(1, 64, 1))).collect();
        let results = join_all(wishes.iter().map(|wish| world.admit(wish.clone()))).await;
        let winners: Vec<InstanceId> =
            results.iter().zip(&wishes).filter(|(r, _)| r.is_ok()).map(|(_, wish)| wish.owner).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        world.assert_ledger_exact().await;
        assert!(world.release(winners[0]).await && !world.release(winners[0]).await);
    }
    assert_eq!(world.number("SELECT used_cpus + used_instances FROM node_capacity").await, 0);
}

#[tokio::test]
async fn a_node_whose_mesh_is_too_small_takes_no_more_instances_with_interfaces() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(40, 1 << 20, 1_000)).await;
    let networked = || Wish { networked: true, ..Wish::new(node, amounts(1, 64, 1)) };
    world.admit(networked()).await.unwrap();

    world.report_conditions(node, Some(&["foreign_forward_drop", "underlay_mtu_too_small"])).await.unwrap();
    let refused = world.admit(networked()).await;
    assert_eq!(refusal(&refused), Some(Refusal::Node), "{refused:?}");
    let seen = world
        .run(move |conn, ctx| {
            Box::pin(
                async move { capacity::observe(conn, ctx, node, Refusal::Node, amounts(1, 64, 1)).await },
            )
        })
        .await
        .unwrap();
    assert_eq!((seen.stage.as_str(), seen.dimension.as_str()), ("node", "network"));
    world.admit(Wish::new(node, amounts(1, 64, 1))).await.unwrap();
    // Neither its figures nor a daemon that starts again make it fit.
    world.publish(node, metrics(amounts(40, 1 << 20, 1_000))).await;
    world.report_conditions(node, None).await.unwrap();
    assert_eq!(refusal(&world.admit(networked()).await), Some(Refusal::Node));

    world.report_conditions(node, Some(&["foreign_forward_drop"])).await.unwrap();
    world.admit(networked()).await.unwrap();
    world.assert_ledger_exact().await;
    let odd = world.report_conditions(node, Some(&["a,b"])).await.unwrap_err();
    assert!(odd.to_string().contains("no name of a condition"), "{odd}");
}

#[tokio::test]
async fn the_binding_dimension_is_named() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(4, 4096, 40)).await;
    for (asked, dimension) in
        [(amounts(5, 1, 1), "cpus"), (amounts(1, 4097, 1), "memory"), (amounts(1, 1, 41), "disk")]
    {
        let result = world.admit(Wish::new(node, asked)).await;
        assert_eq!(refusal(&result), Some(Refusal::Node));
        let seen = world
            .run(move |conn, ctx| {
                Box::pin(async move { capacity::observe(conn, ctx, node, Refusal::Node, asked).await })
            })
            .await
            .unwrap();
        assert_eq!((seen.stage.as_str(), seen.dimension.as_str(), seen.used), ("node", dimension, 0));
        assert!(seen.requested > seen.limit, "{seen:?}");
    }
}

#[tokio::test]
async fn a_node_that_is_closed_stale_or_full_on_disk_admits_nothing() {
    let Some(world) = World::start(&[]).await else { return };
    let room = amounts(4, 4096, 40);
    for (spoil, why) in [
        ("UPDATE node_capacity SET open = FALSE", "closed"),
        ("UPDATE node_capacity SET metrics_at = UTC_TIMESTAMP(6) - INTERVAL 91 SECOND", "stale"),
        ("UPDATE node_capacity SET metrics_at = NULL", "stale"),
        ("UPDATE node_capacity SET disk_headroom_gb = 0", "headroom"),
    ] {
        world.execute("DELETE FROM node_capacity").await;
        world.execute("UPDATE nodes SET live_fqdn = NULL, state = 'deleted'").await;
        let node = world.node("n1", room).await;
        world.execute(spoil).await;
        let result = world.admit(Wish::new(node, amounts(1, 1, 1))).await;
        assert_eq!(refusal(&result), Some(Refusal::Node), "{spoil}");
        let seen = world
            .run(move |conn, ctx| {
                Box::pin(
                    async move { capacity::observe(conn, ctx, node, Refusal::Node, amounts(1, 1, 1)).await },
                )
            })
            .await
            .unwrap();
        assert_eq!(seen.dimension, why, "{spoil}");
        world.publish(node, metrics(room)).await;
    }
}

#[tokio::test]
async fn one_reservation_per_owner() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(8, 8192, 80)).await;
    let wish = Wish::new(node, amounts(1, 1, 1));
    world.admit(wish.clone()).await.unwrap();
    assert!(is_exists(&world.admit(wish).await));
    world.assert_ledger_exact().await;
    assert_eq!(world.number("SELECT used_cpus FROM node_capacity").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn hard_affinity_is_exact_under_concurrency() {
    let Some(world) = World::start(&[]).await else { return };
    let mut nodes = Vec::new();
    for number in 0..5 {
        nodes.push(world.node(&format!("n{number}"), amounts(100, 1 << 20, 10_000)).await);
    }
    let tries = (0..40).map(|number: usize| {
        let mut wish = Wish::new(nodes[number % nodes.len()], amounts(1, 1, 1));
        wish.tags = vec!["web".into()];
        wish.affinity.require_without = vec!["web".into()];
        world.admit(wish)
    });
    let results = join_all(tries).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 5);
    assert!(results.iter().filter(|r| r.is_err()).all(|r| refusal(r) == Some(Refusal::Affinity)));
    let shared = "SELECT COUNT(*) FROM (SELECT r.node_uuid FROM reservation_tags t JOIN placement_reservations r \
         ON r.owner_uuid = t.owner_uuid GROUP BY r.node_uuid HAVING COUNT(*) > 1) x";
    assert_eq!(world.number(shared).await, 0);
    world.assert_ledger_exact().await;
}

#[tokio::test]
async fn required_neighbours_are_looked_for_in_the_same_namespace() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(100, 1 << 20, 10_000)).await;
    let mut member = Wish::new(node, amounts(1, 1, 1));
    member.affinity.require_with = vec!["db".into()];
    assert_eq!(refusal(&world.admit(member.clone()).await), Some(Refusal::Affinity));
    let mut seed = Wish::new(node, amounts(1, 1, 1));
    seed.tags = vec!["db".into()];
    world.admit(seed.clone()).await.unwrap();
    world.admit(member).await.unwrap();

    let owner = seed.owner;
    world
        .run(move |conn, _| Box::pin(async move { capacity::set_tags(conn, owner, &["other".into()]).await }))
        .await
        .unwrap();
    let mut late = Wish::new(node, amounts(1, 1, 1));
    late.affinity.require_with = vec!["db".into()];
    assert_eq!(refusal(&world.admit(late).await), Some(Refusal::Affinity));
}

#[tokio::test]
async fn the_cluster_bounds_what_has_no_claim() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(10, 8192, 80)).await;
    world.execute("UPDATE cluster_capacity SET claimed_cpus = 8").await;
    world.admit(Wish::new(node, amounts(2, 1, 1))).await.unwrap();
    let result = world.admit(Wish::new(node, amounts(1, 1, 1))).await;
    assert_eq!(refusal(&result), Some(Refusal::Cluster));
    assert!(Refusal::Cluster.is_final() && !Refusal::Node.is_final());
    world.assert_ledger_exact().await;
}

#[tokio::test]
async fn a_claim_is_a_ceiling_and_is_charged_instead_of_the_cluster() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(10, 8192, 80)).await;
    world
        .execute(
            "INSERT INTO namespace_claims (uuid, namespace, limit_cpus, limit_memory_mb, limit_disk_gb, coverage_state, \
             expires_at, created_at, updated_at) VALUES (UUID(), 'tenant', 2, 4096, 40, 'active', \
             UTC_TIMESTAMP(6) + INTERVAL 1 HOUR, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
        )
        .await;
    let wish = Wish::new(node, amounts(2, 1, 1));
    world.admit(wish.clone()).await.unwrap();
    let over = world.admit(Wish::new(node, amounts(1, 1, 1))).await;
    assert!(matches!(over, Err(sf_store::StoreError::Refused { reason: "claim-ceiling", .. })), "{over:?}");
    assert_eq!(world.number("SELECT used_cpus FROM namespace_claims").await, 2);
    assert_eq!(world.number("SELECT unclaimed_used_cpus FROM cluster_capacity").await, 0);
    world.release(wish.owner).await;
    assert_eq!(world.number("SELECT used_cpus FROM namespace_claims").await, 0);

    world.admit(wish).await.unwrap();
    world.execute("UPDATE namespace_claims SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND").await;
    world.run(|conn, ctx| Box::pin(async move { capacity::expire_claims(conn, ctx).await })).await.unwrap();
    assert_eq!(world.number("SELECT unclaimed_used_cpus FROM cluster_capacity").await, 2);
    world.assert_ledger_exact().await;
}

#[tokio::test]
async fn only_leases_are_released_by_the_clock() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(10, 8192, 80)).await;
    let mut leased = Wish::new(node, amounts(1, 1, 1));
    leased.lease = Some(Duration::from_secs(120));
    let lasting = Wish::new(node, amounts(1, 1, 1));
    world.admit(leased.clone()).await.unwrap();
    world.admit(lasting).await.unwrap();
    let reap = || world.run(|conn, ctx| Box::pin(async move { capacity::reap(conn, ctx).await }));
    assert_eq!(reap().await.unwrap().released, 0);
    world
        .execute("UPDATE placement_reservations SET expires_at = UTC_TIMESTAMP(6) - INTERVAL 1 SECOND WHERE state = 'reserved'")
        .await;
    assert_eq!(reap().await.unwrap().released, 1);
    assert_eq!(world.number("SELECT used_cpus FROM node_capacity").await, 1);
    world.assert_ledger_exact().await;
    assert_eq!(world.number("SELECT COUNT(*) FROM events WHERE message = 'reservation expired'").await, 1);
}

#[tokio::test]
async fn adjusting_a_charge_moves_every_counter() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(10, 8192, 80)).await;
    let wish = Wish::new(node, amounts(1, 1, 10));
    world.admit(wish.clone()).await.unwrap();
    for disk in [3, 3, 200] {
        world
            .run(move |conn, _| Box::pin(async move { capacity::adjust_disk(conn, wish.owner, disk).await }))
            .await
            .unwrap();
        assert_eq!(world.number("SELECT used_disk_gb FROM node_capacity").await, disk);
        assert_eq!(world.number("SELECT unclaimed_used_disk_gb FROM cluster_capacity").await, disk);
    }
}

async fn reconcile(world: &World) -> Vec<DriftCorrection> {
    let nodes =
        world.run(|conn, _| Box::pin(async move { capacity::sized_nodes(conn).await })).await.unwrap();
    let mut drift = Vec::new();
    for node in nodes {
        let found = world
            .run(move |conn, ctx| Box::pin(async move { capacity::reconcile_node(conn, ctx, node).await }))
            .await;
        drift.extend(found.unwrap());
    }
    for found in [
        world.run(|conn, ctx| Box::pin(async move { capacity::reconcile_claims(conn, ctx).await })).await,
        world.run(|conn, ctx| Box::pin(async move { capacity::reconcile_cluster(conn, ctx).await })).await,
    ] {
        drift.extend(found.unwrap());
    }
    drift
}

#[tokio::test(flavor = "multi_thread")]
async fn no_drift_under_random_traffic() {
    let Some(world) = World::start(&[]).await else { return };
    let mut nodes: Vec<NodeId> = Vec::new();
    for number in 0..3 {
        nodes.push(world.node(&format!("n{number}"), amounts(6, 8192, 80)).await);
    }
    let callers = (0..12).map(|seed| {
        let (world, nodes) = (world.clone(), nodes.clone());
        tokio::spawn(async move {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut held: Vec<InstanceId> = Vec::new();
            for _ in 0..25 {
                match rng.random_range(0..4) {
                    0 if !held.is_empty() => {
                        let owner = held.swap_remove(rng.random_range(0..held.len()));
                        assert!(world.release(owner).await);
                    }
                    1 if !held.is_empty() => {
                        let (owner, disk) = (held[0], rng.random_range(0..5));
                        let adjust = world.run(move |conn, _| {
                            Box::pin(async move { capacity::adjust_disk(conn, owner, disk).await })
                        });
                        adjust.await.unwrap();
                    }
                    _ => {
                        let node = nodes[rng.random_range(0..nodes.len())];
                        let wish = Wish::new(node, amounts(rng.random_range(1..3), 64, 2));
                        let result = world.admit(wish.clone()).await;
                        match refusal(&result) {
                            None => {
                                result.unwrap();
                                held.push(wish.owner);
                            }
                            Some(stage) => assert!(stage != Refusal::Affinity),
                        }
                    }
                }
            }
        })
    });
    let traffic = join_all(callers);
    let (passes, _) = tokio::join!(
        async {
            let mut drift = Vec::new();
            for _ in 0..10 {
                drift.extend(reconcile(&world).await);
            }
            drift
        },
        async {
            for caller in traffic.await {
                caller.unwrap();
            }
        }
    );
    assert_eq!(passes, []);
    assert_eq!(reconcile(&world).await, []);
    world.assert_ledger_exact().await;
}

#[tokio::test]
async fn drift_is_corrected_and_said() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(10, 8192, 80)).await;
    world.admit(Wish::new(node, amounts(2, 1, 1))).await.unwrap();
    world.execute("UPDATE node_capacity SET used_cpus = 5").await;
    world.execute("UPDATE cluster_capacity SET unclaimed_used_memory_mb = 9").await;
    let drift = reconcile(&world).await;
    let seen: Vec<_> = drift.iter().map(|d| (d.dimension.as_str(), d.old, d.new)).collect();
    assert_eq!(seen, [("cpus", 5, 2), ("memory", 9, 1)]);
    assert_eq!(reconcile(&world).await, []);
    assert_eq!(world.number("SELECT COUNT(*) FROM events WHERE message = 'ledger drift corrected'").await, 2);
}

#[tokio::test]
async fn reservations_without_instance_are_released() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(10, 8192, 80)).await;
    world.admit(Wish::new(node, amounts(2, 1, 1))).await.unwrap();
    let repair = || world.run(|conn, ctx| Box::pin(async move { capacity::repair_orphans(conn, ctx).await }));
    let counts = repair().await.unwrap();
    assert_eq!((counts.released, counts.inserted), (1, 0));
    world.assert_ledger_exact().await;
    assert_eq!(repair().await.unwrap(), capacity::OrphanCounts::default());
}

#[tokio::test]
async fn facts_about_a_node_open_and_close_it() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(10, 8192, 80)).await;
    let open = || world.number("SELECT open FROM node_capacity");
    let refresh = || {
        let world = world.clone();
        async move {
            world
                .run(move |conn, _| Box::pin(async move { capacity::refresh_open(conn, node).await }))
                .await
                .unwrap();
        }
    };
    assert_eq!(open().await, 1);
    assert_eq!(world.number("SELECT total_cpus FROM cluster_capacity").await, 10);
    world.admit(Wish::new(node, amounts(4, 1, 1))).await.unwrap();
    for (spoil, repair) in [
        ("UPDATE nodes SET schedulable = FALSE", "UPDATE nodes SET schedulable = TRUE"),
        ("UPDATE nodes SET is_hypervisor = FALSE", "UPDATE nodes SET is_hypervisor = TRUE"),
        (
            "INSERT INTO node_storage_health SELECT uuid, '/i', 'instance', FALSE, NULL, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) FROM nodes",
            "DELETE FROM node_storage_health",
        ),
        (
            "INSERT INTO node_daemons (node_uuid, daemon, state, updated_at) SELECT uuid, 'queues', 'failed', \
             UTC_TIMESTAMP(6) - INTERVAL 61 SECOND FROM nodes",
            "DELETE FROM node_daemons",
        ),
        ("UPDATE nodes SET state = 'missing'", "UPDATE nodes SET state = 'created'"),
    ] {
        world.execute(spoil).await;
        refresh().await;
        assert_eq!(open().await, 0, "{spoil}");
        // A closed node offers nothing, and what is stranded on it cancels out.
        assert_eq!(world.number("SELECT total_cpus FROM cluster_capacity").await, 4, "{spoil}");
        world.execute(repair).await;
        refresh().await;
        assert_eq!(open().await, 1, "{repair}");
    }
    // It was missing: open again, but a candidate only after a fresh publication.
    let result = world.admit(Wish::new(node, amounts(1, 1, 1))).await;
    assert_eq!(refusal(&result), Some(Refusal::Node));
    world.publish(node, metrics(amounts(10, 8192, 80))).await;
    world.admit(Wish::new(node, amounts(1, 1, 1))).await.unwrap();
}

#[tokio::test]
async fn a_publication_without_its_figures_refreshes_nothing() {
    let Some(world) = World::start(&[]).await else { return };
    let node = world.node("n1", amounts(10, 8192, 80)).await;
    world.execute("UPDATE node_capacity SET metrics_at = UTC_TIMESTAMP(6) - INTERVAL 91 SECOND").await;
    world.publish(node, NodeMetrics::default()).await;
    let result = world.admit(Wish::new(node, amounts(1, 1, 1))).await;
    assert_eq!(refusal(&result), Some(Refusal::Node));
}

#[tokio::test]
async fn the_snapshot_shows_everything_in_a_fixed_number_of_statements() {
    let Some(world) = World::start(&[]).await else { return };
    let request = GetCapacityRequest {
        namespace: Some("tenant".into()),
        tags: vec!["web".into()],
        blob_uuids: vec![InstanceId::random().to_string()],
    };
    let mut counts = Vec::new();
    for number in 0..10 {
        let node = world.node(&format!("n{number}"), amounts(10, 8192, 80)).await;
        let mut wish = Wish::new(node, amounts(1, 1, 1));
        wish.tags = vec!["web".into()];
        world.admit(wish).await.unwrap();
        let (ctx, mut conn) =
            (sf_store::TxContext::internal(world.settings.clone(), "test"), world.db.conn().await);
        let (reply, statements) =
            sf_store::statements::count(capacity::snapshot(&mut conn, &ctx, &request)).await;
        let reply = reply.unwrap();
        assert_eq!((reply.nodes.len(), reply.tags.len()), (number + 1, number + 1));
        assert!(reply.nodes.iter().all(|node| node.open && node.sized && node.used.unwrap().cpus == 1));
        assert!(reply.nodes.iter().all(|node| node.expected_demand > 0.5 && node.metrics_age_seconds < 60.0));
        counts.push(statements);
    }
    assert!(counts.iter().all(|count| *count == counts[0] && *count <= 4), "{counts:?}");
    let mut conn = world.db.conn().await;
    let load: Option<f64> =
        sql("SELECT expected_demand AS value FROM node_capacity LIMIT 1").value(&mut conn).await.unwrap();
    assert!(load.unwrap() > 0.59 && load.unwrap() <= 0.6);
}
