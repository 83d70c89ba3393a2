//! Is MariaDB there and writable? Asked every five seconds, answered through `grpc.health.v1`.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use sf_protos::CALLS;
use sf_runtime::{Liveness, Loop, Pass, Shutdown, StatusLine};
use sf_store::{Deadline, Pool, clock, session};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::state::Gateway;

const PERIOD: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(2);

/// What one look found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finding {
    Writable,
    ReadOnly,
    Unreachable,
}

/// Looks until shutdown is asked for; then reports not serving and leaves.
pub(crate) async fn watch(
    gateway: Arc<Gateway>,
    reporter: HealthReporter,
    shutdown: Shutdown,
    liveness: Liveness,
    status: StatusLine,
) {
    let last = Arc::new(Mutex::new(None));
    let pass = |_tick| {
        let (gateway, reporter, status, last) =
            (gateway.clone(), reporter.clone(), status.clone(), last.clone());
        async move {
            let finding = look(&gateway.pools.lease).await;
            let before = last.lock().replace(finding);
            announce(&gateway, &reporter, &status, before, finding).await;
            Ok::<_, std::convert::Infallible>(Pass::Done)
        }
    };
    Loop::every("database-health", PERIOD).run(shutdown, liveness, pass).await;
    say(&reporter, ServingStatus::NotServing).await;
}

async fn look(pool: &Pool) -> Finding {
    let ask = session(pool, Deadline::after(LIMIT), |conn| clock::is_read_only(conn).boxed());
    match tokio::time::timeout(LIMIT, ask).await {
        Ok(Ok(false)) => Finding::Writable,
        Ok(Ok(true)) => Finding::ReadOnly,
        Ok(Err(error)) => {
            tracing::debug!(%error, "MariaDB did not answer the health question");
            Finding::Unreachable
        }
        Err(_) => Finding::Unreachable,
    }
}

async fn announce(
    gateway: &Gateway,
    reporter: &HealthReporter,
    status: &StatusLine,
    before: Option<Finding>,
    now: Finding,
) {
    gateway.set_read_only(now == Finding::ReadOnly);
    metrics::gauge!("database_mariadb_reachable").set(f64::from(u8::from(now != Finding::Unreachable)));
    if before == Some(now) {
        return;
    }
    let (text, serving) = match now {
        Finding::Writable => ("serving", ServingStatus::Serving),
        Finding::ReadOnly => ("not serving: MariaDB is read-only", ServingStatus::NotServing),
        Finding::Unreachable => ("not serving: MariaDB does not answer", ServingStatus::NotServing),
    };
    status.set(text);
    say(reporter, serving).await;
}

/// The overall status and that of each service.
async fn say(reporter: &HealthReporter, serving: ServingStatus) {
    let mut services: Vec<&str> = CALLS.iter().map(|call| call.service).collect();
    services.dedup();
    for service in services.into_iter().chain([""]) {
        reporter.set_service_status(service, serving).await;
    }
}
