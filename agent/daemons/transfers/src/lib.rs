//! `sf-transfers`, the storage service of a node: the only program that writes blobs, uploads and the image cache.
//!
//! It serves the daemons of its own node on a unix socket (`local`), other nodes and the API over HTTP on the mesh
//! (`dataplane`), and keeps the store in order by itself (`tasks`). What it does to bytes is in `sf-blobs`, what it knows
//! about images in `sf-images`; here is who asks, what the database says, and what is recorded.

mod cache;
mod committer;
mod dataplane;
mod error;
mod facts;
mod flight;
mod hashes;
mod leases;
mod local;
mod pull;
mod recovery;
mod service;
mod streaming;
mod tasks;
#[cfg(test)]
mod testing;

use std::sync::Arc;
use std::time::Duration;

use sf_blobs::Store;
use sf_daemon::DaemonContext;
use sf_runtime::Tasks;

pub use error::TransfersError;
use service::Service;

/// Opens the store, puts right what an earlier life left, and serves until shutdown.
///
/// # Errors
/// The store or a socket cannot be used. [`TransfersError::is_permanent`] tells whether starting again can help.
pub async fn run(ctx: DaemonContext) -> Result<(), TransfersError> {
    let root = ctx.config.storage_path.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let store = Store::open(&root)?;
        let lock = store.lock()?;
        Ok::<_, sf_blobs::StoreError>((store, lock))
    });
    let (store, _lock) = opened.await.map_err(|_| sf_blobs::StoreError::ThreadGone("storage"))??;
    let shutdown = ctx.shutdown.clone();
    let service = Arc::new(Service::new(ctx, store));

    service.ctx.status.set("recovering the store");
    if let Err(error) = service.recover().await {
        tracing::error!(%error, "the store could not be recovered, it will be tried again");
    }
    service.ctx.status.set("running");

    let mut tasks = Tasks::new(&shutdown);
    tasks.spawn("storage-socket", local::serve(Arc::clone(&service)));
    tasks.spawn("data-plane", dataplane::serve(Arc::clone(&service)));
    tasks.spawn_loop("leases", leases::renew(Arc::clone(&service)));
    tasks.spawn_loop("recovery", recovery::watch(Arc::clone(&service)));
    let liveness = service.ctx.liveness.clone();
    tasks.spawn_loop("peers", service.peers.clone().refresh(shutdown.clone(), liveness));
    tasks.spawn_loop("hashes", hashes::compute(Arc::clone(&service)));
    tasks.spawn_loop("sweeps", tasks::run(Arc::clone(&service)));
    tasks.join(shutdown.drain_left() + Duration::from_secs(2)).await
}
