//! What the storage service does by itself, each in its own loop.

mod cache;
mod quarantine;
mod replicas;
mod space;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use sf_runtime::{Liveness, Loop, Pass, Shutdown};

use crate::error::WorkError;
use crate::service::Service;

/// Starts a loop over the service.
async fn repeat<F: Future<Output = Result<(), WorkError>>>(
    service: Arc<Service>,
    name: &'static str,
    interval: Duration,
    work: impl Fn(Arc<Service>) -> F,
) {
    let (shutdown, liveness): (Shutdown, Liveness) =
        (service.ctx.shutdown.clone(), service.ctx.liveness.clone());
    let pass = |_| {
        let work = work(Arc::clone(&service));
        async move { work.await.map(|()| Pass::Done) }
    };
    // A pass may read whole replicas from a slow disk.
    Loop::every(name, interval)
        .jittered()
        .max_silence(Duration::from_secs(3600))
        .run(shutdown, liveness, pass)
        .await;
}

/// Runs all of them until shutdown.
pub(crate) async fn run(service: Arc<Service>) {
    let clone = || Arc::clone(&service);
    tokio::join!(
        repeat(clone(), "space", space::INTERVAL, |service| async move { service.measure_space().await }),
        repeat(clone(), "replica-sweep", replicas::INTERVAL, |service| async move {
            service.sweep_replicas().await
        }),
        repeat(clone(), "cache-sweep", cache::INTERVAL, |service| async move { service.sweep_cache().await }),
        repeat(clone(), "upload-touch", uploads::TOUCH_EVERY, |service| async move {
            service.touch_uploads().await
        }),
        repeat(clone(), "upload-sweep", uploads::SWEEP_EVERY, |service| async move {
            service.sweep_uploads().await
        }),
        repeat(clone(), "quarantine-sweep", quarantine::INTERVAL, |service| async move {
            service.sweep_quarantine().await
        }),
    );
}

/// Counts something the sweeps removed.
fn count_removed(what: &'static str, bytes: u64) {
    metrics::counter!("storage_gc_removed_total", "what" => what).increment(1);
    metrics::counter!("storage_gc_removed_bytes_total", "what" => what).increment(bytes);
}
