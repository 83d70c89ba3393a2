//! For tests of other daemons: a tier in this process over a database of the test, and the surroundings of a daemon.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests may fail loudly")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sf_config::{ClusterConfig, NodeConfig};
use sf_daemon::{ClusterConfigHandle, DaemonContext, NodeIdentity};
use sf_events::{Recorder, Spool, SpoolOptions};
use sf_gateway::{Caller, Gateway as Client, GatewayOptions};
use sf_model::{DaemonName, IncarnationId, NodeId};
use sf_runtime::{Liveness, Shutdown, StatusLine};
use sf_store::Settings;
use sf_store::conn::Pools;
use sf_store::testing::TestDatabase;
pub use sf_store::testing::{metrics, registration};
use tokio::task::JoinHandle;

use crate::{Gateway, GatewayParts, Server};

/// How long [`until`] waits: long enough for daemons that look every ten seconds.
const SOON: Duration = Duration::from_secs(60);
/// Sessions for ordinary calls, and as many calls at a time.
const SESSIONS: u32 = 8;
/// Time for calls in flight when a tier ends.
const DRAIN: Duration = Duration::from_secs(10);

/// A database tier of one gateway on loopback. It ends with the value.
pub struct LocalTier {
    /// Where it listens.
    pub port: u16,
    /// Whether its loops go on.
    pub liveness: Liveness,
    cluster: ClusterConfig,
    shutdown: Shutdown,
    serving: JoinHandle<()>,
}

impl LocalTier {
    /// Serves `database` with default cluster keys.
    ///
    /// # Panics
    /// It cannot listen.
    pub async fn start(database: &TestDatabase) -> Self {
        Self::with(database, &[]).await
    }

    /// As [`LocalTier::start`], with some cluster keys set: at the gateway, and in what [`LocalTier::context`] makes. The
    /// gateway goes on to read those of the database.
    ///
    /// # Panics
    /// It cannot listen, or a key is refused.
    pub async fn with(database: &TestDatabase, keys: &[(&str, &str)]) -> Self {
        let (cluster, _) = ClusterConfig::from_texts(keys.iter().copied()).unwrap();
        let tier = Gateway::new(GatewayParts {
            pools: Pools::new(&database.options, SESSIONS, 2),
            concurrency: SESSIONS,
            settings: Settings { cluster: cluster.clone(), fqdn: "gateway.test".to_owned() },
        });
        let address = "127.0.0.1:0".parse().unwrap();
        let server = Server::bind(tier, address, "gateway.test", DRAIN).await.unwrap();
        let port = server.address().unwrap().port();
        let shutdown = Shutdown::new(DRAIN);
        let liveness = Liveness::new();
        let serving = server.serve(shutdown.clone(), liveness.clone(), StatusLine::new("sf-database"));
        let serving = tokio::spawn(async move { serving.await.unwrap() });
        Self { port, liveness, cluster, shutdown, serving }
    }

    /// Asks it to end, as the service manager does.
    pub fn request_end(&self) {
        self.shutdown.request();
    }

    /// Waits until it has ended in an orderly way.
    ///
    /// # Panics
    /// It did not.
    pub async fn ended(&mut self) {
        (&mut self.serving).await.unwrap();
    }

    /// Ends it in the middle of everything.
    pub fn abort(&self) {
        self.serving.abort();
    }

    /// A client, as a daemon of a node or as `ctl`.
    ///
    /// # Panics
    /// Never with a port of this machine.
    pub fn client(&self, daemon: &str, node: NodeId) -> Client {
        let caller = Caller {
            daemon: daemon.to_owned(),
            node: node.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let endpoints = vec![("127.0.0.1".to_owned(), self.port)];
        Client::new(GatewayOptions { endpoints, caller }).unwrap()
    }

    /// What a daemon's `run` is given on a node of its own that keeps everything below `directory`, with some node keys
    /// set besides.
    ///
    /// # Panics
    /// A key is refused.
    pub fn context(&self, name: DaemonName, directory: &Path, keys: &[(&str, &str)]) -> DaemonContext {
        let path = directory.to_str().unwrap();
        let node = NodeIdentity { uuid: NodeId::random(), name: format!("n-{}", NodeId::random()) };
        let fixed = [
            ("node_name", node.name.as_str()),
            ("node_mesh_ip", "127.0.0.1"),
            ("mariadb_gateway_hosts", "127.0.0.1"),
            ("storage_path", path),
            ("run_path", path),
        ];
        let keys: Vec<(&str, &str)> = fixed.into_iter().chain(keys.iter().copied()).collect();
        let config = Arc::new(NodeConfig::from_pairs(&keys).unwrap());
        let spool = Spool::open(SpoolOptions::for_daemon(&config, &name.to_string())).unwrap();
        DaemonContext {
            name,
            events: Recorder::new(spool, &node.name, &name.program()),
            gateway: self.client(&name.to_string(), node.uuid),
            node,
            config,
            cluster: ClusterConfigHandle::new(self.cluster.clone()),
            shutdown: Shutdown::new(Duration::from_secs(5)),
            liveness: Liveness::new(),
            status: StatusLine::new(name.program()),
            incarnation: IncarnationId::random(),
        }
    }
}

impl Drop for LocalTier {
    fn drop(&mut self) {
        self.shutdown.request();
    }
}

/// Looks until it holds.
///
/// # Panics
/// It does not within a minute.
pub async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !look().await {
        assert!(began.elapsed() < SOON, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
