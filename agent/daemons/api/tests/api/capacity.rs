//! One reading of capacity serves everybody who needs it at the moment, whatever becomes of it.

use std::sync::Arc;
use std::task::Poll;

use futures::future::BoxFuture;
use futures::{FutureExt, poll};
use sf_daemon_api::error::ApiError;
use sf_daemon_api::placement::{Age, Reading};
use sf_protos::scheduler::GetCapacityRequest;
use sf_store::sql::sql;

use crate::world::World;

/// Callers at a time.
const CALLERS: usize = 8;
/// Sessions of the gateway that wait for a table.
const WAITING: &str = "SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM information_schema.processlist \
                       WHERE state = 'Waiting for table metadata lock' AND db = DATABASE()";

type Asked = BoxFuture<'static, Result<(Reading, Age), ApiError>>;

impl World {
    /// A decision that needs figures.
    fn ask_for_capacity(&self) -> Asked {
        let api = self.api.clone();
        async move { api.capacity.snapshot(&api, GetCapacityRequest::default()).await }.boxed()
    }

    /// Several that have begun to wait.
    async fn all_waiting(&self) -> Vec<Asked> {
        let mut asked: Vec<_> = (0..CALLERS).map(|_| self.ask_for_capacity()).collect();
        for one in &mut asked {
            assert!(poll!(one).is_pending());
        }
        asked
    }
}

#[tokio::test]
async fn a_slow_database_is_asked_once_for_all() {
    let Some(world) = World::start().await else { return };
    let (mut lock, mut look) = (world.database.conn().await, world.database.conn().await);
    sql("LOCK TABLES nodes WRITE").run(&mut lock).await.unwrap();
    let mut asked = world.all_waiting().await;
    let first = asked.swap_remove(0);
    let first = tokio::spawn(first);
    loop {
        let waiting: Option<u64> = sql(WAITING).value(&mut look).await.unwrap();
        match waiting {
            Some(0) | None => tokio::task::yield_now().await,
            Some(count) => break assert_eq!(count, 1, "one call for {CALLERS} callers"),
        }
    }
    // Whoever asked first goes away; the others do not begin anew.
    first.abort();
    // One that begins to wait now joins them. It has to before the reading ends, or what it gets is kept and not fresh.
    let mut late = world.ask_for_capacity();
    assert!(poll!(&mut late).is_pending());
    asked.push(late);
    sql("UNLOCK TABLES").run(&mut lock).await.unwrap();
    let readings: Vec<_> = futures::future::join_all(asked).await.into_iter().map(Result::unwrap).collect();
    let (one, _) = &readings[0];
    assert_eq!(one.figures.nodes.len(), 1);
    assert!(
        readings.iter().all(|(other, age)| Arc::ptr_eq(&other.figures, &one.figures) && *age == Age::Fresh)
    );

    let (kept, age) = world.ask_for_capacity().await.unwrap();
    assert!(Arc::ptr_eq(&kept.figures, &one.figures) && age == Age::Kept);
    // All of them found the figures wrong: that is one new reading, too.
    world.api.capacity.expire(one);
    let (newer, age) = world.ask_for_capacity().await.unwrap();
    assert!(newer.began > one.began && age == Age::Fresh);
    world.api.capacity.expire(one);
    let (kept, age) = world.ask_for_capacity().await.unwrap();
    assert!(Arc::ptr_eq(&kept.figures, &newer.figures) && age == Age::Kept);
}

#[tokio::test]
async fn a_failure_is_everybodys_and_not_the_next_ones() {
    let Some(world) = World::start().await else { return };
    world.stop_tier().await;
    let mut asked = world.all_waiting().await;
    let failure = asked.remove(0).await.unwrap_err();
    assert_eq!(failure.status().as_u16(), 503);
    for other in &mut asked {
        let Poll::Ready(Err(shared)) = poll!(other) else { panic!("one waits for itself") };
        assert_eq!(shared, failure);
    }
    assert!(poll!(world.ask_for_capacity()).is_pending(), "an old failure is no answer");
}
