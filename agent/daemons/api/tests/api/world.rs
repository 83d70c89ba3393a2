//! A cluster of one in this process: MariaDB, a gateway, the API's router. No worker: what is queued stays queued.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};
use sf_config::{ClusterConfig, NodeConfig};
use sf_daemon::{ClusterConfigHandle, DaemonContext, NodeIdentity};
use sf_daemon_api::api::Api;
use sf_daemon_api::auth::secret;
use sf_daemon_database::testing::LocalTier;
use sf_events::{Drainer, Recorder, Spool, SpoolOptions};
use sf_gateway::{CallClass, Caller, Gateway, GatewayOptions};
use sf_model::{DaemonName, IncarnationId, KeyId, NodeId};
use sf_protos::Rpc;
use sf_protos::namespaces::{CreateNamespaceRequest, NewKey};
use sf_protos::networks::RenewCarrierSessionRequest;
use sf_protos::nodes::{CheckInRequest, NodeMetrics, RegisterNodeRequest};
use sf_protos::scheduler::GetCapacityRequest;
use sf_runtime::{Liveness, Shutdown, StatusLine};
use sf_store::StoreResult;
use sf_store::sql::sql;
use sf_store::testing::TestDatabase;
use tower::ServiceExt;

use crate::answer::Answer;

/// Secrets of the fixtures' keys.
pub(crate) const KEYS: [(&str, &str); 3] =
    [("system", "system-secret-0"), ("t1", "tenant-one-secret"), ("t2", "tenant-two-secret")];

const CLUSTER: [(&str, &str); 4] = [
    ("AUTH_SECRET_SEED", "a seed for tests only"),
    ("CLUSTER_ID", "5f0c7c1e-0000-4000-8000-00000000c1c1"),
    ("API_RATE_PER_KEY", "0"),
    ("API_ASYNC_WAIT", "0"),
];

/// The cluster. Everything ends with it.
pub(crate) struct World {
    pub(crate) api: Api,
    router: Router,
    pub(crate) database: TestDatabase,
    tier: LocalTier,
    spool: Spool,
    /// Where the node keeps everything; its image table would be `images.yaml`.
    pub(crate) directory: tempfile::TempDir,
}

impl World {
    /// `None` where no MariaDB is installed.
    pub(crate) async fn start() -> Option<Self> {
        let database = TestDatabase::start().await?;
        let directory = tempfile::tempdir().unwrap();
        let tier = LocalTier::with(&database, &CLUSTER).await;
        let port = tier.port;
        let node = NodeIdentity { uuid: NodeId::random(), name: "n1".to_owned() };
        let (daemon, spool) = daemon(&directory, &node, port);
        let api = Api::new(daemon).unwrap();
        let router = sf_daemon_api::router::service(&api);
        let world = Self { api, router, database, tier, spool, directory };
        world.furnish(port).await;
        Some(world)
    }

    /// Ends the database tier, and waits until the API's connection to it is gone, too.
    pub(crate) async fn stop_tier(&self) {
        self.tier.abort();
        while self.api.tier(CallClass::Once, GetCapacityRequest::default()).await.is_ok() {}
    }

    /// Waits until what was recorded so far is in the database.
    pub(crate) async fn store_events(&self) {
        let gateway = Arc::new(self.api.daemon.gateway.clone());
        Drainer::new(self.spool.clone(), gateway).drain_until_empty().await.unwrap();
    }

    /// A hypervisor that is also a carrier, and three namespaces with a key each.
    async fn furnish(&self, port: u16) {
        let node = self.api.daemon.node.uuid.to_string();
        let call = Calls { port, node: node.clone() };
        let registered = RegisterNodeRequest {
            node_uuid: node.clone(),
            name: "n1".to_owned(),
            mesh_ip: "127.0.0.1".to_owned(),
            egress_ip: "127.0.0.1".to_owned(),
            release: "0.1.0".to_owned(),
            daemons: ["api", "queues", "net", "transfers", "resources", "cluster", "cleaner"]
                .map(str::to_owned)
                .to_vec(),
            is_hypervisor: true,
            carrier_eligible: true,
            ..RegisterNodeRequest::default()
        };
        call.make("resources", registered).await;
        let check_in = CheckInRequest {
            node_uuid: node.clone(),
            name: "n1".to_owned(),
            release: "0.1.0".to_owned(),
            metrics: Some(metrics()),
            ..CheckInRequest::default()
        };
        call.make("resources", check_in).await;
        let session = RenewCarrierSessionRequest { node_uuid: node, eligible: true, session_epoch: 0 };
        call.make("net", session).await;
        for (namespace, key) in KEYS {
            let key = self.key(key).await;
            let made = CreateNamespaceRequest { context: None, name: namespace.to_owned(), key: Some(key) };
            call.make("api", made).await;
        }
    }

    /// A key as the API stores it.
    async fn key(&self, key: &str) -> NewKey {
        NewKey {
            key_uuid: KeyId::random().to_string(),
            key_name: "fixture".to_owned(),
            kind: "supplied".to_owned(),
            verifier: self.api.passwords.hash(key.to_owned()).await.unwrap(),
            nonce: secret::nonce(),
            scopes: vec!["*".to_owned()],
            expires_at: None,
        }
    }

    /// A token of one of the fixtures' namespaces.
    pub(crate) async fn token(&self, namespace: &str) -> String {
        let (_, key) = KEYS.iter().find(|(name, _)| *name == namespace).unwrap();
        self.log_in(namespace, key).await.ok("log-in")["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn log_in(&self, namespace: &str, key: &str) -> Answer {
        let body = json!({ "namespace": namespace, "key": key });
        self.ask(Method::POST, "/auth", None, body).await
    }

    /// A request with a JSON body, or none for null.
    pub(crate) async fn ask(&self, method: Method, path: &str, token: Option<&str>, body: Value) -> Answer {
        let bytes = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, token, bytes).await
    }

    /// A request with any body.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let body: Vec<u8> = body.into();
        let mut request = Request::builder().method(method).uri(path).header("content-length", body.len());
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.raw(request.body(Body::from(body)).unwrap()).await
    }

    pub(crate) async fn raw(&self, request: Request<Body>) -> Answer {
        Answer::of(self.router.clone().oneshot(request).await.unwrap()).await
    }

    /// What the database holds, without traces that refused requests may leave.
    pub(crate) async fn fingerprint(&self) -> Vec<(String, u64)> {
        const TRACES: [&str; 9] = [
            "auth_attempts",
            "events",
            "event_objects",
            "mutation_log",
            "node_metrics",
            "maintenance_runs",
            "carrier_sessions",
            "nodes",
            // The gateway's own count of events, taken now and then.
            "samples",
        ];
        let mut conn = self.database.conn().await;
        let tables = "SELECT table_name AS value FROM information_schema.tables WHERE table_schema = DATABASE() \
                      AND table_type = 'BASE TABLE' ORDER BY table_name";
        let tables: StoreResult<Vec<String>> = sql(tables).values(&mut conn).await;
        let mut found = Vec::new();
        for table in tables.unwrap().into_iter().filter(|table| !TRACES.contains(&table.as_str())) {
            let count = format!("SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM `{table}`");
            let rows: StoreResult<Option<u64>> = sql(count).value(&mut conn).await;
            found.push((table, rows.unwrap().unwrap_or(0)));
        }
        found
    }
}

struct Calls {
    port: u16,
    node: String,
}

impl Calls {
    async fn make<R: Rpc>(&self, daemon: &str, request: R) -> R::Reply {
        let gateway = gateway(daemon, &self.node, self.port);
        gateway.call(CallClass::Interactive, request).await.unwrap()
    }
}

fn gateway(daemon: &str, node: &str, port: u16) -> Gateway {
    let caller = Caller { daemon: daemon.to_owned(), node: node.to_owned(), version: "0.1.0".to_owned() };
    Gateway::new(GatewayOptions { endpoints: vec![("127.0.0.1".to_owned(), port)], caller }).unwrap()
}

fn daemon(directory: &tempfile::TempDir, node: &NodeIdentity, port: u16) -> (DaemonContext, Spool) {
    let path = directory.path().to_str().unwrap();
    let port_text = port.to_string();
    let config = NodeConfig::from_pairs(&[
        ("node_name", "n1"),
        ("node_mesh_ip", "127.0.0.1"),
        ("mariadb_gateway_hosts", "127.0.0.1"),
        ("mariadb_gateway_port", &port_text),
        ("storage_path", path),
        ("run_path", path),
        ("image_table", &format!("{path}/images.yaml")),
    ]);
    let config = Arc::new(config.unwrap());
    let (cluster, _) = ClusterConfig::from_texts(CLUSTER).unwrap();
    let spool = Spool::open(SpoolOptions::for_daemon(&config, "api")).unwrap();
    let context = DaemonContext {
        name: DaemonName::Api,
        node: node.clone(),
        cluster: ClusterConfigHandle::new(cluster),
        gateway: gateway("api", &node.uuid.to_string(), port),
        events: Recorder::new(spool.clone(), "n1", "sf-api"),
        shutdown: Shutdown::new(Duration::ZERO),
        liveness: Liveness::new(),
        status: StatusLine::new("sf-api"),
        incarnation: IncarnationId::random(),
        config,
    };
    (context, spool)
}

fn metrics() -> NodeMetrics {
    NodeMetrics {
        cpu_threads: 18,
        cpu_schedulable: 16,
        cpu_max_per_instance: 16,
        memory_max_mb: 34_816,
        memory_available_mb: 32_768,
        memory_reserved_mb: 2048,
        disk_free_instances: 400 << 30,
        ..NodeMetrics::default()
    }
}
