//! Connections to MariaDB: where it is, how every session is set up, and the pool.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use diesel::connection::TransactionManagerStatus;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AnsiTransactionManager, AsyncMysqlConnection, SimpleAsyncConnection, TransactionManager};
use futures::FutureExt;
use mysql_async::OptsBuilder;
use sf_config::DatabaseConfig;
use sf_model::Secret;

use crate::error::{StoreError, StoreResult};
use crate::sql::sql;
use crate::tls::Tls;

/// One session with MariaDB.
pub type Conn = AsyncMysqlConnection;
/// The sessions of one process.
pub type Pool = diesel_async::pooled_connection::bb8::Pool<Conn>;
/// A session lent by the pool.
pub type PooledConn<'a> = diesel_async::pooled_connection::bb8::PooledConnection<'a, Conn>;

/// Statement limit of a session in seconds; a call with a shorter deadline lowers it for itself.
pub const MAX_STATEMENT_SECONDS: u64 = 30;
/// Time to obtain a session before the database counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Milliseconds of silence after which the kernel asks whether the server's machine is still there.
const KEEPALIVE_MS: u32 = 10_000;

/// What every session starts with. READ COMMITTED, because under REPEATABLE READ with `innodb_snapshot_isolation` a
/// plain SELECT before a guarded UPDATE fails with error 1020. English messages, because the driver passes on the
/// text of an error and not its number: see `error.rs`.
const SESSION: [&str; 3] = [
    "SET NAMES utf8mb4",
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION time_zone = '+00:00', lc_messages = 'en_US', \
     sql_mode = 'STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY', \
     innodb_lock_wait_timeout = 5, max_statement_time = 30, idle_transaction_timeout = 15",
];

/// Where MariaDB listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Socket(PathBuf),
    /// A host and a port.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
}

/// How to open a session.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Where.
    pub endpoint: Endpoint,
    /// As whom.
    pub user: String,
    /// The user's password, if it has one.
    pub password: Option<Arc<Secret<String>>>,
    /// The schema; none only for tools that create it.
    pub database: Option<String>,
    /// How the way there is encrypted; `None` is not at all.
    pub tls: Option<Tls>,
}

impl ConnectOptions {
    /// For the user that runs transactions.
    ///
    /// # Errors
    /// The password cannot be read, or neither host nor socket is configured.
    pub fn runtime(config: &DatabaseConfig) -> StoreResult<Self> {
        let password = config.password().map_err(|e| StoreError::Setup(e.to_string()))?;
        Self::new(config, config.mariadb_user.clone(), password)
    }

    /// For the user that changes the schema.
    ///
    /// # Errors
    /// As [`ConnectOptions::runtime`].
    pub fn schema(config: &DatabaseConfig) -> StoreResult<Self> {
        let (user, password) = config.schema_credentials().map_err(|e| StoreError::Setup(e.to_string()))?;
        Self::new(config, user, password)
    }

    fn new(config: &DatabaseConfig, user: String, password: Option<Secret<String>>) -> StoreResult<Self> {
        let endpoint = match (&config.mariadb_socket, &config.mariadb_host) {
            (Some(socket), _) => Endpoint::Socket(socket.clone()),
            (None, Some(host)) => Endpoint::Tcp { host: host.clone(), port: config.mariadb_port },
            (None, None) => {
                let text = "set mariadb_host or mariadb_socket in database.yaml";
                return Err(StoreError::Setup(text.to_owned()));
            }
        };
        let database = Some(config.mariadb_database.clone());
        Ok(Self { endpoint, user, password: password.map(Arc::new), database, tls: Tls::of(config) })
    }

    /// The same server and user with another schema.
    pub fn with_database(&self, database: Option<&str>) -> Self {
        Self { database: database.map(str::to_owned), ..self.clone() }
    }

    fn driver_options(&self) -> OptsBuilder {
        let options = OptsBuilder::default()
            .user(Some(self.user.clone()))
            .pass(self.password.as_ref().map(|p| p.expose().clone()))
            .db_name(self.database.clone())
            // diesel caches statements itself.
            .stmt_cache_size(0)
            // Rows that a guard matched, whether or not their values changed.
            .client_found_rows(true)
            .prefer_socket(false)
            .init(SESSION.to_vec());
        match &self.endpoint {
            Endpoint::Socket(path) => options.socket(Some(path.display().to_string())),
            Endpoint::Tcp { host, port } => {
                let options = options.ip_or_hostname(host.clone()).tcp_port(*port).tcp_nodelay(true);
                options.tcp_keepalive(Some(KEEPALIVE_MS)).ssl_opts(self.tls.as_ref().map(Tls::driver_options))
            }
        }
    }
}

/// Opens one session.
///
/// # Errors
/// [`StoreError::Unreachable`] when nothing listens or it does not answer in time; [`StoreError::Setup`] when it refuses.
pub async fn connect(options: &ConnectOptions) -> StoreResult<Conn> {
    in_time(establish(options.clone())).await.map_err(StoreError::from_connection)
}

/// The pools of a gateway, and which of their sessions are still good.
#[derive(Debug, Clone)]
pub struct Pools {
    /// Sessions for ordinary calls.
    pub ordinary: Pool,
    /// Sessions kept for health, lock refresh and claim renewal, so that overload cannot cost leases.
    pub lease: Pool,
    generation: Arc<AtomicU64>,
}

impl Pools {
    /// Pools of at most so many sessions. They are opened when they are needed, so an unreachable server is no error.
    pub fn new(options: &ConnectOptions, ordinary: u32, lease: u32) -> Self {
        let generation = Arc::new(AtomicU64::new(0));
        Self {
            ordinary: pool_of(options, ordinary, &generation, CONNECT_TIMEOUT),
            lease: pool_of(options, lease, &generation, CONNECT_TIMEOUT),
            generation,
        }
    }

    /// Has every session that exists now replaced at its next use.
    pub fn renew(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }
}

/// One pool of at most `size` sessions.
pub fn pool(options: &ConnectOptions, size: u32) -> Pool {
    pool_of(options, size, &Arc::default(), CONNECT_TIMEOUT)
}

/// A pool whose callers wait at most `patience` for one of its sessions.
pub(crate) fn pool_of(
    options: &ConnectOptions,
    size: u32,
    generation: &Arc<AtomicU64>,
    patience: Duration,
) -> Pool {
    let (options, opened, used) = (options.clone(), generation.clone(), generation.clone());
    let mut config = ManagerConfig::<Conn>::default();
    config.custom_setup =
        Box::new(move |_| in_time(open(options.clone(), opened.load(Ordering::Acquire))).boxed());
    // A session that died while it was idle is found out here and not by a mutation.
    config.recycling_method = RecyclingMethod::CustomFunction(Box::new(move |conn| {
        let generation = used.load(Ordering::Acquire);
        prove(conn, generation).boxed()
    }));
    let manager = AsyncDieselConnectionManager::new_with_config("", config);
    Pool::builder().max_size(size).connection_timeout(patience).build_unchecked(manager)
}

/// The end of every attempt to get a session. The pool has none of its own: a server that takes connections and then says
/// nothing would occupy its places for good.
async fn in_time(
    opening: impl Future<Output = diesel::ConnectionResult<Conn>>,
) -> diesel::ConnectionResult<Conn> {
    let silent = || Err(diesel::ConnectionError::BadConnection("MariaDB does not answer".to_owned()));
    tokio::time::timeout(CONNECT_TIMEOUT, opening).await.unwrap_or_else(|_| silent())
}

async fn open(options: ConnectOptions, generation: u64) -> diesel::ConnectionResult<Conn> {
    let mut conn = establish(options).await?;
    let marked = conn.batch_execute(&format!("SET @sf_generation = {generation}")).await;
    marked.map_err(|e| diesel::ConnectionError::BadConnection(e.to_string()))?;
    Ok(conn)
}

/// A session in use outside a transaction. Unless it is said to be done with, the pool does not use it again: a caller who
/// went away in the middle left an answer on its way, and the next user would take it for the answer to his own question.
pub(crate) struct InUse<'c>(&'c mut Conn);

impl<'c> InUse<'c> {
    /// Begins.
    pub(crate) fn of(conn: &'c mut Conn) -> Self {
        *transactions(conn) = TransactionManagerStatus::InError;
        Self(conn)
    }

    /// Every answer has arrived.
    pub(crate) fn done(self) {
        *transactions(self.0) = TransactionManagerStatus::default();
    }
}

impl Deref for InUse<'_> {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.0
    }
}

impl DerefMut for InUse<'_> {
    fn deref_mut(&mut self) -> &mut Conn {
        self.0
    }
}

/// What the pool goes by when it asks whether a session is broken.
fn transactions(conn: &mut Conn) -> &mut TransactionManagerStatus {
    <AnsiTransactionManager as TransactionManager<Conn>>::transaction_manager_status_mut(conn)
}

/// Whether a session answers and is of this generation.
async fn prove(conn: &mut Conn, generation: u64) -> diesel::QueryResult<()> {
    let mut session = InUse::of(conn);
    let mark: StoreResult<Option<u64>> =
        sql("SELECT CAST(@sf_generation AS UNSIGNED) AS value").value(&mut session).await;
    session.done();
    match mark {
        Ok(Some(mark)) if mark == generation => Ok(()),
        Err(StoreError::Db(error)) => Err(error),
        Ok(_) | Err(_) => Err(diesel::result::Error::BrokenTransactionManager),
    }
}

/// Takes a session from the pool, for [`session`](crate::session()) and [`transaction`](crate::transaction()) alone: they
/// see to it that its use ends.
pub(crate) async fn checkout(pool: &Pool) -> StoreResult<PooledConn<'_>> {
    let began = Instant::now();
    let session = pool.get().await.map_err(StoreError::from_pool);
    metrics::histogram!("database_pool_wait_seconds").record(began.elapsed().as_secs_f64());
    session
}

async fn establish(options: ConnectOptions) -> diesel::ConnectionResult<Conn> {
    let connecting = mysql_async::Conn::new(options.driver_options()).await;
    let session = connecting.map_err(|e| diesel::ConnectionError::BadConnection(e.to_string()))?;
    let mut conn = Conn::try_from(session).await?;
    crate::statements::observe(&mut conn);
    // Galera only: read what other gateways have committed. The variable does not exist in builds without it.
    let _unknown_variable = conn.batch_execute("SET SESSION wsrep_sync_wait = 1").await;
    Ok(conn)
}
