//! The life of the daemon.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use sf_config::DatabaseConfig;
use sf_daemon::{DaemonError, Host};
use sf_model::DaemonName;
use sf_runtime::{StatusLine, notify};
use sf_store::migrate::{self, SchemaError};
use sf_store::{ConnectOptions, StoreError, compat, config, conn};

use crate::serve::Server;
use crate::sink::OwnEvents;
use crate::state::{Gateway, GatewayParts};

/// Sessions kept for leases and health.
const LEASE_SESSIONS: u32 = 2;
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Why the daemon ended.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The server or its schema does not fit.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// MariaDB refuses the session, or its configuration is incomplete.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process cannot be used.
    #[error(transparent)]
    Host(#[from] DaemonError),
    /// The gateway would listen everywhere.
    #[error(
        "database_bind_address {0} is every address of the host: name the mesh address, or set \
         database_allow_wildcard_bind"
    )]
    WildcardBind(IpAddr),
    /// The address cannot be used.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The server failed.
    #[error("the gRPC server failed: {0}")]
    Serve(#[source] tonic::transport::Error),
}

impl DatabaseError {
    /// Whether starting again without a change cannot help (exit code 78).
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::Schema(error) => !matches!(error, SchemaError::Store(inner) if is_transient(inner)),
            Self::Store(error) => !is_transient(error),
            Self::WildcardBind(_) => true,
            Self::Host(error) => error.exit_code() == sf_config::EXIT_CONFIG,
            Self::Bind { .. } | Self::Serve(_) => false,
        }
    }
}

/// Runs the gateway until shutdown is asked for. MariaDB is waited for without limit; one that does not fit is refused.
///
/// # Errors
/// See [`DatabaseError`].
pub async fn run(host: Host, database: Arc<DatabaseConfig>) -> Result<(), DatabaseError> {
    let name = DaemonName::Database;
    let status = host.status.for_daemon(name.program());
    let address = address(&host, &database)?;
    notify::ready();
    let options = ConnectOptions::runtime(&database)?;
    let settings = patiently(&host, &status, || prepare(&host, &database, &options)).await?;
    let Some(settings) = settings else { return Ok(()) };
    let ordinary = database.database_pool_size.saturating_sub(LEASE_SESSIONS).max(1);
    let gateway = Gateway::new(GatewayParts {
        pools: conn::Pools::new(&options, ordinary, LEASE_SESSIONS),
        concurrency: ordinary,
        settings,
    });
    host.start_drainer(name, Arc::new(OwnEvents(gateway.clone())))?;
    let server = Server::bind(gateway, address, &host.node.name, database.database_drain_grace).await?;
    tracing::info!(%address, "the gateway listens");
    server.serve(host.shutdown.clone(), host.liveness.clone(), status).await
}

fn address(host: &Host, database: &DatabaseConfig) -> Result<SocketAddr, DatabaseError> {
    let ip = database.database_bind_address.unwrap_or(host.config.node_mesh_ip);
    if ip.is_unspecified() && !database.database_allow_wildcard_bind {
        return Err(DatabaseError::WildcardBind(ip));
    }
    Ok(SocketAddr::new(ip, host.config.mariadb_gateway_port))
}

/// Checks server and schema, then reads the configuration that transactions need.
async fn prepare(
    host: &Host,
    database: &DatabaseConfig,
    options: &ConnectOptions,
) -> Result<sf_store::Settings, DatabaseError> {
    let purpose = compat::Purpose::Gateway { pool_size: database.database_pool_size };
    let report = compat::check(options, purpose).await?;
    for warning in &report.warnings {
        tracing::warn!(warning, "MariaDB");
    }
    let mut session = conn::connect(options).await?;
    migrate::check_window(&mut session).await?;
    Ok(config::settings(&mut session, &host.node.name).await?)
}

/// Tries until it works or shutdown is asked for (`None`); only a server that is not there is waited for.
async fn patiently<T, F: Future<Output = Result<T, DatabaseError>>>(
    host: &Host,
    status: &StatusLine,
    attempt: impl Fn() -> F,
) -> Result<Option<T>, DatabaseError> {
    let mut pause = FIRST_BACKOFF;
    loop {
        match host.shutdown.unless(attempt()).await {
            None => return Ok(None),
            Some(Ok(value)) => return Ok(Some(value)),
            Some(Err(error)) if error.is_configuration() => return Err(error),
            Some(Err(error)) => {
                status.set("waiting for MariaDB");
                tracing::info!(%error, "waiting for MariaDB");
            }
        }
        if host.shutdown.unless(tokio::time::sleep(pause)).await.is_none() {
            return Ok(None);
        }
        pause = (pause * 2).min(MAX_BACKOFF);
    }
}

fn is_transient(error: &StoreError) -> bool {
    matches!(error, StoreError::Unreachable(_) | StoreError::Deadline(_) | StoreError::Contended { .. })
}
