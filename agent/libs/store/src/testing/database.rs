//! A database per test, cloned from one that the migrations made.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use diesel_async::SimpleAsyncConnection;
use futures::future::BoxFuture;
use sf_config::ClusterConfig;
use tokio::sync::Mutex;

use super::server::{Server, ServerError};
use crate::conn::{Conn, ConnectOptions, Pool, connect, pool, pool_of};
use crate::context::{Settings, TxContext};
use crate::error::{StoreError, StoreResult};
use crate::migrate::ensure_schema;
use crate::sql::{rows, sql};
use crate::transaction::{Deadline, transaction};

/// The schema that others are cloned from.
const TEMPLATE: &str = "template";

/// Sessions of one test.
const SESSIONS: u32 = 24;
/// What a test waits for a session and for a transaction, on a machine that is busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server of this test process.
static SHARED: OnceLock<Result<Shared, String>> = OnceLock::new();
static NEXT: AtomicU32 = AtomicU32::new(1);
/// Held by the test that looks at `innodb_trx`.
static LOOKING: Mutex<()> = Mutex::const_new(());
/// The rest that `innodb_trx` needs: InnoDB answers from a buffer, and fills it anew only when nobody has read it for 0.1 s.
const TRX_REST: Duration = Duration::from_millis(120);
/// Longer than any wait for a lock takes to begin. The wait itself ends after `innodb_lock_wait_timeout`.
const LOCK_WAIT_LIMIT: Duration = Duration::from_secs(30);

struct Shared {
    server: Server,
    /// Statements that make the tables, and fill those that migrations fill.
    script: String,
}

/// A database of its own for one test.
#[derive(Debug, Clone)]
pub struct TestDatabase {
    /// Sessions with it.
    pub pool: Pool,
    /// How to open more.
    pub options: ConnectOptions,
}

impl TestDatabase {
    /// A database with the schema of this build. `None`, with the reason on stderr, where no MariaDB is installed.
    ///
    /// # Panics
    /// MariaDB is installed and does not work.
    pub async fn start() -> Option<Self> {
        let shared = shared()?;
        let database =
            Self::create(shared).await.unwrap_or_else(|e| panic!("a test database cannot be made: {e}"));
        let script = async {
            let mut conn = connect(&database.options).await?;
            Ok::<_, StoreError>(conn.batch_execute(&shared.script).await?)
        };
        script.await.unwrap_or_else(|e| panic!("the schema cannot be cloned: {e}"));
        Some(database)
    }

    /// A database without tables.
    ///
    /// # Panics
    /// As [`TestDatabase::start`].
    pub async fn empty() -> Option<Self> {
        let created = Self::create(shared()?).await;
        Some(created.unwrap_or_else(|e| panic!("a test database cannot be made: {e}")))
    }

    /// A database with the schema on a server of the test's own, for tests that stop it.
    ///
    /// # Panics
    /// The schema cannot be made.
    pub async fn on(server: &Server) -> Self {
        let making = async {
            let options = make(server, "own").await?;
            ensure_schema(&options, &mut |_| {}).await?;
            Ok::<_, Box<dyn std::error::Error>>(Self { pool: pool(&options, SESSIONS), options })
        };
        making.await.unwrap_or_else(|e| panic!("a test database cannot be made: {e}"))
    }

    async fn create(shared: &Shared) -> StoreResult<Self> {
        let name = format!("test{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let options = make(&shared.server, &name).await?;
        // Hundreds of callers at once stand in a queue here that a gateway has before its pool. A machine that is busy
        // with something else does not make the server unreachable.
        Ok(Self { pool: pool_of(&options, SESSIONS, &Arc::default(), PATIENCE), options })
    }

    /// One more session.
    ///
    /// # Panics
    /// It cannot be opened.
    pub async fn conn(&self) -> Conn {
        connect(&self.options).await.unwrap_or_else(|e| panic!("no session: {e}"))
    }

    /// Returns when a session with this database waits for a lock of a row.
    ///
    /// # Panics
    /// None does within [`LOCK_WAIT_LIMIT`].
    pub async fn until_lock_wait(&self) {
        let waiting = "SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM information_schema.innodb_trx t \
             JOIN information_schema.processlist p ON p.id = t.trx_mysql_thread_id \
             WHERE p.db = DATABASE() AND t.trx_state = 'LOCK WAIT'";
        let mut conn = self.conn().await;
        let began = Instant::now();
        loop {
            let looking = LOOKING.lock().await;
            tokio::time::sleep(TRX_REST).await;
            let found: StoreResult<Option<u64>> = sql(waiting).value(&mut conn).await;
            drop(looking);
            match found {
                Ok(Some(1..)) => return,
                Ok(_) => assert!(began.elapsed() < LOCK_WAIT_LIMIT, "nobody waits for a lock"),
                Err(e) => panic!("innodb_trx cannot be read: {e}"),
            }
        }
    }

    /// Runs `work` in a transaction with a context that has default settings.
    ///
    /// # Errors
    /// What `work` answers.
    pub async fn run<T, F>(&self, work: F) -> StoreResult<T>
    where
        F: for<'c> Fn(&'c mut Conn, &'c TxContext) -> BoxFuture<'c, StoreResult<T>> + Send + Sync + 'static,
        T: Send + 'static,
    {
        let ctx = Arc::new(TxContext::internal(settings(&[]), "test"));
        let work = Arc::new(work);
        transaction(&self.pool, Deadline::after(PATIENCE), move |conn| {
            let (ctx, work) = (ctx.clone(), work.clone());
            Box::pin(async move {
                ctx.begin_attempt();
                let value = work(conn, &ctx).await?;
                crate::events::insert(conn, &ctx.take_events()).await?;
                Ok(value)
            })
        })
        .await
    }
}

/// Default cluster configuration with some keys set, by capital or small name.
///
/// # Panics
/// A value is refused.
pub fn settings(keys: &[(&str, &str)]) -> Arc<Settings> {
    let (cluster, _) = ClusterConfig::from_texts(keys.iter().copied()).unwrap_or_else(|e| panic!("{e}"));
    Arc::new(Settings { cluster, fqdn: "gateway.test".to_owned() })
}

/// Starts the server at the first call. It ends with the process.
fn shared() -> Option<&'static Shared> {
    let made = SHARED.get_or_init(|| {
        // Not on a thread of the caller's runtime: the template is made by a runtime of its own.
        let making = std::thread::spawn(|| {
            let server = match Server::start(&[]) {
                Ok(server) => server,
                Err(missing @ ServerError::NotInstalled(_)) => return Err(missing.to_string()),
                Err(e) => panic!("{e}"),
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.unwrap_or_else(|e| panic!("no runtime: {e}"));
            let script = runtime.block_on(template(&server)).unwrap_or_else(|e| panic!("no template: {e}"));
            Ok(Shared { server, script })
        });
        making.join().unwrap_or_else(|_| panic!("the template database could not be made"))
    });
    match made {
        Ok(shared) => Some(shared),
        Err(why) => {
            #[expect(clippy::print_stderr, reason = "a skipped test says why")]
            {
                eprintln!("skipped: {why}");
            }
            None
        }
    }
}

async fn make(server: &Server, name: &str) -> StoreResult<ConnectOptions> {
    let mut root = connect(&server.options(None)).await?;
    root.batch_execute(&format!("CREATE DATABASE {name} CHARACTER SET utf8mb4")).await?;
    Ok(server.options(Some(name)))
}

rows! {
    struct Table {
        name: String,
    }
}

/// Makes the template and writes down how to repeat it.
async fn template(server: &Server) -> Result<String, Box<dyn std::error::Error>> {
    let options = make(server, TEMPLATE).await?;
    ensure_schema(&options, &mut |_| {}).await?;
    let mut conn = connect(&options).await?;
    let list = "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE()";
    let tables: Vec<Table> = sql(list).all(&mut conn).await?;
    let mut script = String::from("SET SESSION foreign_key_checks = 0;\n");
    for Table { name } in &tables {
        script.push_str(&definition(&mut conn, name).await?);
        script.push_str(";\n");
    }
    for Table { name } in &tables {
        let rows: Option<u64> =
            sql(format!("SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM {name}")).value(&mut conn).await?;
        if rows.unwrap_or(0) > 0 {
            script.push_str(&format!("INSERT INTO {name} SELECT * FROM {TEMPLATE}.{name};\n"));
        }
    }
    Ok(script)
}

async fn definition(conn: &mut Conn, table: &str) -> StoreResult<String> {
    use diesel_async::RunQueryDsl;
    struct Definition(String);
    impl diesel::deserialize::QueryableByName<diesel::mysql::Mysql> for Definition {
        fn build<'a>(
            row: &impl diesel::row::NamedRow<'a, diesel::mysql::Mysql>,
        ) -> diesel::deserialize::Result<Self> {
            Ok(Self(diesel::row::NamedRow::get::<diesel::sql_types::Text, String>(row, "Create Table")?))
        }
    }
    let found: Vec<Definition> = diesel::sql_query(format!("SHOW CREATE TABLE {table}")).load(conn).await?;
    found.into_iter().next().map(|d| d.0).ok_or_else(|| StoreError::Corrupt(format!("no table {table}")))
}
