//! Keeps what transactions need of the cluster configuration fresh, and looks for work that other gateways committed.

use std::sync::Arc;
use std::time::Duration;

use sf_runtime::{Liveness, Loop, Pass, Shutdown};
use sf_store::conn::checkout;
use sf_store::{StoreError, config};

use crate::state::Gateway;

const SETTINGS: Duration = Duration::from_secs(20);

/// Reads the cluster configuration until shutdown.
pub(crate) async fn settings(gateway: Arc<Gateway>, fqdn: String, shutdown: Shutdown, liveness: Liveness) {
    let pass = |_tick| {
        let (gateway, fqdn) = (gateway.clone(), fqdn.clone());
        async move {
            let mut conn = checkout(&gateway.lease_pool).await?;
            let fresh = config::settings(&mut conn, &fqdn).await?;
            gateway.settings.store(Arc::new(fresh));
            Ok::<_, StoreError>(Pass::Done)
        }
    };
    Loop::every("settings", SETTINGS).jittered().run(shutdown, liveness, pass).await;
}
