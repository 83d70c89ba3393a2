//! Exact capacity under contention, rest and takeover.

use std::collections::BTreeSet;
use std::time::Duration;

use sf_model::{InstanceId, NodeId};
use sf_store::StoreError;
use sf_store::allocator::{self, Owner, Pool, Strategy};
use sf_store::sql::sql;

use super::world::{World, at_once};

/// Nobody may wait for an hour-long rest to end in these tests.
const LONG: Duration = Duration::from_secs(3600);

async fn claim(world: &World, pool: &Pool, strategy: Strategy) -> Result<u64, StoreError> {
    let pool = pool.clone();
    let owner = Owner::from(InstanceId::random());
    world
        .run(move |conn, _| {
            let pool = pool.clone();
            Box::pin(async move { allocator::claim(conn, &pool, strategy, owner, "test", "").await })
        })
        .await
}

async fn release(world: &World, pool: &Pool, value: u64) -> bool {
    let pool = pool.clone();
    world
        .run(move |conn, _| {
            let pool = pool.clone();
            Box::pin(async move { allocator::release(conn, &pool, value).await })
        })
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_as_many_are_given_as_there_are() {
    let Some(world) = World::start().await else { return };
    for (name, strategy) in [("random", Strategy::Random), ("lowest", Strategy::Lowest)] {
        let pool = Pool::for_test(name, 100, 139, LONG, LONG);
        let claims = (0..50).map(|_| {
            let (world, pool) = (world.clone(), pool.clone());
            async move { claim(&world, &pool, strategy).await }
        });
        let results = at_once(claims).await;
        let given: Vec<u64> = results.iter().filter_map(|r| r.as_ref().ok().copied()).collect();
        let distinct: BTreeSet<u64> = given.iter().copied().collect();
        assert_eq!((given.len(), distinct.len()), (40, 40), "{name}: {results:?}");
        assert!(distinct.iter().all(|value| (100..140).contains(value)));
        for refusal in results.iter().filter_map(|r| r.as_ref().err()) {
            let StoreError::Capacity { reason, detail, .. } = refusal else { panic!("{refusal}") };
            assert_eq!(
                (*reason, detail["held"].as_str(), detail["halo"].as_str()),
                ("pool-empty", "40", "0")
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_gets_an_exact_value() {
    let Some(world) = World::start().await else { return };
    let pool = Pool::for_test("exact", 1, 10, LONG, LONG);
    let claims = (0..20).map(|_| {
        let (world, pool) = (world.clone(), pool.clone());
        async move { claim(&world, &pool, Strategy::Exact(7)).await }
    });
    let results = at_once(claims).await;
    assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
    assert!(
        results
            .iter()
            .filter_map(|r| r.as_ref().err())
            .all(|e| matches!(e, StoreError::Precondition { reason: "in-use", .. }))
    );
}

#[tokio::test]
async fn a_released_value_rests_until_its_time_or_congestion() {
    let Some(world) = World::start().await else { return };
    let resting = Pool::for_test("resting", 1, 2, LONG, LONG);
    let first = claim(&world, &resting, Strategy::Lowest).await.unwrap();
    assert_eq!(first, 1);
    assert!(release(&world, &resting, 1).await);
    assert!(!release(&world, &resting, 1).await, "a second release is a no-op");
    assert_eq!(claim(&world, &resting, Strategy::Lowest).await.unwrap(), 2, "1 rests");
    let refusal = claim(&world, &resting, Strategy::Random).await.unwrap_err();
    let StoreError::Capacity { detail, .. } = refusal else { panic!("{refusal}") };
    assert_eq!(
        (detail["capacity"].as_str(), detail["held"].as_str(), detail["halo"].as_str()),
        ("2", "1", "1")
    );
    // The same pool where no rest at all is enough when nothing else is left.
    let hurried = Pool::for_test("resting", 1, 2, LONG, Duration::ZERO);
    assert_eq!(claim(&world, &hurried, Strategy::Random).await.unwrap(), 1);
}

#[tokio::test]
async fn an_expired_rest_is_taken_over_in_place_or_swept() {
    let Some(world) = World::start().await else { return };
    let pool = Pool::for_test("expired", 1, 3, Duration::ZERO, Duration::ZERO);
    for expected in 1..=3 {
        assert_eq!(claim(&world, &pool, Strategy::Lowest).await.unwrap(), expected);
    }
    release(&world, &pool, 2).await;
    assert_eq!(claim(&world, &pool, Strategy::Random).await.unwrap(), 2);
    assert_eq!(
        world.number("SELECT COUNT(*) FROM resource_pool_allocations WHERE pool = 'expired'").await,
        3
    );
    release(&world, &pool, 3).await;
    let (removed, more) =
        world.run(|conn, _| Box::pin(async move { allocator::sweep(conn).await })).await.unwrap();
    assert_eq!((removed, more), (1, false));
}

#[tokio::test]
async fn an_address_that_rests_is_given_to_who_names_it() {
    let Some(world) = World::start().await else { return };
    let block = "10.1.0.0/29".parse().unwrap();
    let pool = Pool::ipv4(sf_model::NetworkId::random(), block, &world.settings);
    let value = allocator::value_of("10.1.0.3".parse().unwrap());
    claim(&world, &pool, Strategy::Exact(value)).await.unwrap();
    assert!(matches!(
        claim(&world, &pool, Strategy::Exact(value)).await,
        Err(StoreError::Precondition { .. })
    ));
    release(&world, &pool, value).await;
    assert_eq!(claim(&world, &pool, Strategy::Exact(value)).await.unwrap(), value);
}

#[tokio::test]
async fn the_ports_of_an_owner_are_released_together() {
    let Some(world) = World::start().await else { return };
    let instance = InstanceId::random();
    let node = NodeId::random();
    world
        .run(move |conn, _| {
            Box::pin(async move {
                let owner = Owner::from(instance);
                for _ in 0..3 {
                    allocator::claim(conn, &Pool::node_port(node), Strategy::Random, owner, "console", "")
                        .await?;
                }
                allocator::claim(conn, &Pool::vsock_cid(), Strategy::Random, owner, "vsock", "").await?;
                allocator::release_all(conn, owner).await
            })
        })
        .await
        .unwrap();
    assert_eq!(
        world
            .number(
                "SELECT COUNT(*) FROM resource_pool_allocations WHERE state = 'halo' AND owner_uuid IS NULL"
            )
            .await,
        4
    );
    assert_eq!(
        world.number("SELECT COUNT(*) FROM resource_pool_allocations WHERE state = 'halo' AND TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(6), expires_at) NOT BETWEEN 30 AND 60").await,
        0
    );
}

#[tokio::test]
async fn a_value_without_an_end_of_its_rest_is_never_taken() {
    let Some(world) = World::start().await else { return };
    let pool = Pool::for_test("endless", 1, 1, LONG, Duration::ZERO);
    claim(&world, &pool, Strategy::Lowest).await.unwrap();
    release(&world, &pool, 1).await;
    world.execute(sql("UPDATE resource_pool_allocations SET expires_at = NULL WHERE pool = 'endless'")).await;
    assert!(matches!(claim(&world, &pool, Strategy::Random).await, Err(StoreError::Capacity { .. })));
}
