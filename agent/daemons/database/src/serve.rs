//! The gRPC server: keep-alive, limits, and the way out without cutting a call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sf_runtime::{Liveness, Shutdown, StatusLine, Tasks};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;

use crate::calls;
use crate::gauges;
use crate::health;
use crate::refresh;
use crate::run::DatabaseError;
use crate::state::Gateway;
use crate::table::Table;

const PING: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
const STREAMS_PER_CONNECTION: u32 = 256;
/// After it said that it does not serve, the gateway goes on serving for this long: clients stop choosing it meanwhile.
const LAME_DUCK: Duration = Duration::from_secs(2);

/// A gateway that listens. Tests run one in process.
pub struct Server {
    gateway: Arc<Gateway>,
    listener: TcpListener,
    fqdn: String,
    drain: Duration,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// The address cannot be used.
    pub async fn bind(
        gateway: Arc<Gateway>,
        address: SocketAddr,
        fqdn: &str,
        drain: Duration,
    ) -> Result<Self, DatabaseError> {
        let listener =
            TcpListener::bind(address).await.map_err(|source| DatabaseError::Bind { address, source })?;
        Ok(Self { gateway, listener, fqdn: fqdn.to_owned(), drain })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The operating system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until shutdown is asked for, then drains.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(
        self,
        shutdown: Shutdown,
        liveness: Liveness,
        status: StatusLine,
    ) -> Result<(), DatabaseError> {
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let table = calls::bind(Table::new(self.gateway.clone()));
        let unbound = table.unbound();
        if !unbound.is_empty() {
            tracing::warn!(calls = unbound.join(", "), "calls that this gateway does not serve");
        }
        let routes = Routes::from(table.into_router()).add_service(health_service);
        let server = tonic::transport::Server::builder()
            .http2_keepalive_interval(Some(PING))
            .http2_keepalive_timeout(Some(PING_TIMEOUT))
            .max_concurrent_streams(STREAMS_PER_CONNECTION)
            .tcp_nodelay(true)
            .add_routes(routes);
        let mut tasks = Tasks::new(&shutdown);
        let gateway = self.gateway;
        tasks.spawn_loop(
            "health",
            health::watch(gateway.clone(), reporter, shutdown.clone(), liveness.clone(), status.clone()),
        );
        tasks.spawn_loop(
            "settings",
            refresh::settings(gateway.clone(), self.fqdn, shutdown.clone(), liveness.clone()),
        );
        tasks.spawn_loop("gauges", gauges::run(gateway.clone(), shutdown.clone(), liveness.clone()));
        tasks
            .spawn_loop("look-for-work", refresh::look_for_work(gateway.clone(), shutdown.clone(), liveness));
        let ending = {
            let (gateway, shutdown) = (gateway.clone(), shutdown.clone());
            async move {
                shutdown.requested().await;
                status.set("draining");
                gateway.drain();
                tokio::time::sleep(LAME_DUCK).await;
            }
        };
        let incoming = TcpListenerStream::new(self.listener);
        tasks.spawn("server", async move {
            server.serve_with_incoming_shutdown(incoming, ending).await.map_err(DatabaseError::Serve)
        });
        tasks.join(LAME_DUCK + self.drain).await
    }
}
