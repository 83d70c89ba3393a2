//! Figures that are looked up and not counted: sessions of the pools, rows of the event log.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use sf_model::event::EventType;
use sf_runtime::{Liveness, Loop, Pass, Shutdown};
use sf_store::{Deadline, Pool, StoreError, events, session};
use strum::IntoEnumIterator;

use crate::state::Gateway;

const PERIOD: Duration = Duration::from_secs(15);
/// Time for one look at the event log.
const LIMIT: Duration = Duration::from_secs(15);

/// Keeps the gauges until shutdown. What cannot be read keeps its last value.
pub(crate) async fn run(gateway: Arc<Gateway>, shutdown: Shutdown, liveness: Liveness) {
    declare();
    let pass = |_tick| {
        let gateway = gateway.clone();
        async move {
            sessions(&gateway.pools.ordinary, "ordinary");
            sessions(&gateway.pools.lease, "lease");
            let deadline = Deadline::after(LIMIT);
            let rows =
                session(&gateway.pools.ordinary, deadline, |conn| events::sample_rows(conn).boxed()).await?;
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            metrics::gauge!("database_events_rows").set(rows as f64);
            Ok::<_, StoreError>(Pass::Done)
        }
    };
    Loop::every("gauges", PERIOD).jittered().run(shutdown, liveness, pass).await;
}

fn sessions(pool: &Pool, name: &'static str) {
    let state = pool.state();
    let busy = state.connections.saturating_sub(state.idle_connections);
    for (condition, count) in [("idle", state.idle_connections), ("busy", busy)] {
        metrics::gauge!("database_pool_connections", "pool" => name, "state" => condition)
            .set(f64::from(count));
    }
}

/// Series that exist with zero before the first event of their kind.
fn declare() {
    for event_type in EventType::iter() {
        let label: &'static str = event_type.into();
        metrics::counter!("database_events_inserted_total", "event_type" => label).absolute(0);
        metrics::counter!("database_events_pruned_total", "event_type" => label).absolute(0);
    }
    for label in ["api-request", "operation"] {
        metrics::counter!("database_events_pruned_total", "event_type" => label).absolute(0);
    }
    metrics::counter!("database_events_duplicate_total").absolute(0);
    metrics::counter!("database_orphan_events_pruned_total").absolute(0);
    metrics::counter!("database_overload_rejections_total").absolute(0);
}
