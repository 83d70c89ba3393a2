//! The HTTP/1.1 data plane on the mesh: replicas are read, uploads are written. Every request carries a token of the
//! cluster; no request costs a call to the database, except a commit.

mod blobs;
mod commit;
mod delivery;
mod gate;
mod refusal;
mod uploads;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post, put};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use crate::error::TransfersError;
use crate::service::Service;

/// Every route of the data plane.
pub(crate) fn router(service: Arc<Service>) -> Router {
    let upload = put(uploads::create).post(uploads::append).get(uploads::size).delete(uploads::discard);
    Router::new()
        // A HEAD request is answered by the same handler without its body.
        .route("/v1/blobs/{blob}", get(blobs::read))
        .route("/v1/uploads/{upload}", upload)
        .route("/v1/uploads/{upload}/truncate/{length}", post(uploads::truncate))
        .route("/v1/uploads/{upload}/commit", post(commit::commit))
        .with_state(service)
}

/// Serves until shutdown, then lets streams end within the drain time.
///
/// # Errors
/// The port cannot be listened on.
pub(crate) async fn serve(service: Arc<Service>) -> Result<(), TransfersError> {
    let address = SocketAddr::new(service.ctx.config.node_mesh_ip, service.ctx.config.transfers_port);
    let failed = |source| TransfersError::Serve { what: address.to_string(), source };
    // An answer to a chunk is two small writes; the second must not wait for the first to be acknowledged.
    let listener = TcpListener::bind(address).await.map_err(failed)?.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delays");
        }
    });
    let shutdown = service.ctx.shutdown.clone();
    let stopping = shutdown.clone();
    let app = router(service).into_make_service_with_connect_info::<SocketAddr>();
    let serving =
        axum::serve(listener, app).with_graceful_shutdown(async move { stopping.requested().await });
    let drained = async {
        shutdown.requested().await;
        tokio::select! {
            () = tokio::time::sleep(shutdown.drain_left()) => {}
            () = shutdown.hurried() => {}
        }
    };
    tokio::select! {
        served = async { serving.await } => served.map_err(failed),
        () = drained => Ok(()),
    }
}

#[cfg(test)]
mod tests;
