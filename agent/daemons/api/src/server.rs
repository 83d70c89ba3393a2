//! Connections: listening, limits of the protocol, and the orderly end (`database-tier.md` §15.2).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::api::Api;
use crate::edge::Peer;

/// Bytes of request line and headers.
const MAX_HEAD: usize = 40 * 1024;
const MAX_HEADERS: usize = 64;
/// Time for requests in flight after no more are accepted.
const FINISH: Duration = Duration::from_secs(30);
/// Pause after a failed accept: usually there are no descriptors left, and a busy loop would not help.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Opens every configured address.
///
/// # Errors
/// An address that cannot be used.
pub async fn listen(
    addresses: impl IntoIterator<Item = SocketAddr>,
) -> Result<Vec<TcpListener>, (SocketAddr, io::Error)> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.push(TcpListener::bind(address).await.map_err(|error| (address, error))?);
    }
    Ok(listeners)
}

/// Serves until shutdown, and then in order: load balancers are told, requests go on for the grace period, no more are
/// accepted, those in flight finish. A second request to end skips the grace period.
pub async fn serve(api: Api, router: Router, listeners: Vec<TcpListener>) {
    let closed = CancellationToken::new();
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(api.clone(), router.clone(), listener, closed.clone()));
    }
    let shutdown = api.daemon.shutdown.clone();
    shutdown.requested().await;
    api.readiness.drain();
    api.daemon.status.set("draining");
    tokio::select! {
        () = tokio::time::sleep(api.daemon.config.api_drain_grace) => {}
        () = shutdown.hurried() => {}
    }
    closed.cancel();
    let finished = async {
        while let Some(connections) = accepting.join_next().await {
            if let Ok(connections) = connections {
                connections.shutdown().await;
            }
        }
    };
    if tokio::time::timeout(FINISH, finished).await.is_err() {
        tracing::warn!("requests did not finish in time and are cut");
    }
}

/// Accepts until closed, and hands over the connections that are still open.
async fn accept(
    api: Api,
    router: Router,
    listener: TcpListener,
    closed: CancellationToken,
) -> GracefulShutdown {
    let connections = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            () = closed.cancelled() => return connections,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                tokio::spawn(connection(api.clone(), router.clone(), stream, peer, connections.watcher()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(api: Api, router: Router, stream: TcpStream, peer: SocketAddr, watcher: Watcher) {
    // Small answers must not wait for more.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.clone().oneshot(request.map(Body::new))
    });
    let mut protocol = hyper::server::conn::http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .keep_alive(true)
        // This time also bounds how long a connection may idle between requests, so it cannot be shorter than what
        // clients that keep connections rely on.
        .header_read_timeout(api.daemon.config.api_keepalive_seconds)
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD)
        .half_close(true);
    let served = watcher.watch(protocol.serve_connection(TokioIo::new(stream), service));
    if let Err(error) = served.await {
        tracing::debug!(%peer, %error, "connection ended");
    }
}
