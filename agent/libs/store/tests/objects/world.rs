//! Namespaces, nodes and instances for the tests of this program, and shorthands for the calls they make.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use sf_model::{ArtifactId, BlobId, InstanceId, InterfaceId, NetworkId, NodeId, OperationId};
use sf_protos::blobs::{CommitBlobReply, CommitBlobRequest, Hash, ImageFacts, ReserveBlobRequest};
use sf_protos::common::{Caller, Selector};
use sf_protos::instances::{InterfaceSpec, interface_spec::Address};
use sf_protos::networks::{CreateNetworkRequest, Interface, Network, ReportRenderRequest};
use sf_store::blobs::Garbage;
use sf_store::networks::interfaces::NewInterfaces;
use sf_store::sql::{Sql, sql};
use sf_store::testing::{TestDatabase, settings};
use sf_store::{
    Conn, Deadline, Settings, StoreResult, TxContext, Wake, artifacts, blobs, namespaces, networks,
    transaction,
};
use strum::IntoEnumIterator;

/// A database with namespaces `a` and `b`, one node that carries networks, and the floating network.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) db: TestDatabase,
    pub(crate) settings: Arc<Settings>,
    pub(crate) node: NodeId,
}

impl World {
    /// None where no MariaDB is installed.
    pub(crate) async fn start() -> Option<Self> {
        Self::with(&[]).await
    }

    /// With some cluster keys set.
    pub(crate) async fn with(keys: &[(&str, &str)]) -> Option<Self> {
        let db = TestDatabase::start().await?;
        let world = Self { db, settings: settings(keys), node: NodeId::random() };
        world
            .run(|conn, ctx| {
                Box::pin(async move {
                    for name in ["system", "a", "b"] {
                        namespaces::ensure(conn, name).await?;
                    }
                    networks::bootstrap_floating(conn, &ctx.settings).await
                })
            })
            .await
            .unwrap();
        world.add_node(world.node, "one", "10.200.0.1").await;
        world.carry(world.node).await;
        Some(world)
    }

    /// Runs `work` as one call does: one transaction, run again on conflicts.
    pub(crate) async fn run<T, F>(&self, work: F) -> StoreResult<T>
    where
        F: for<'c> Fn(&'c mut Conn, &'c TxContext) -> BoxFuture<'c, StoreResult<T>> + Send + Sync + 'static,
        T: Send + 'static,
    {
        Ok(self.run_awake(work).await?.0)
    }

    /// As [`World::run`], with what the transaction wakes.
    pub(crate) async fn run_awake<T, F>(&self, work: F) -> StoreResult<(T, Vec<Wake>)>
    where
        F: for<'c> Fn(&'c mut Conn, &'c TxContext) -> BoxFuture<'c, StoreResult<T>> + Send + Sync + 'static,
        T: Send + 'static,
    {
        let ctx = Arc::new(TxContext::internal(self.settings.clone(), "test"));
        let (work, kept) = (Arc::new(work), ctx.clone());
        let value = transaction(&self.db.pool, Deadline::after(Duration::from_secs(30)), move |conn| {
            let (ctx, work) = (ctx.clone(), work.clone());
            Box::pin(async move {
                ctx.begin_attempt();
                let value = work(conn, &ctx).await?;
                sf_store::events::insert(conn, &ctx.take_events()).await?;
                Ok(value)
            })
        })
        .await?;
        Ok((value, kept.take_wakes()))
    }

    /// What the leader removes, one kind after the other; says how many of each.
    pub(crate) async fn reap_storage(&self) -> Vec<(Garbage, u32)> {
        let mut reaped = Vec::new();
        for kind in Garbage::iter() {
            let rows = self.run(move |conn, ctx| Box::pin(blobs::reap(conn, ctx, kind))).await.unwrap();
            reaped.extend((rows > 0).then_some((kind, rows)));
        }
        reaped
    }

    pub(crate) async fn add_node(&self, node: NodeId, name: &str, mesh_ip: &str) {
        self.execute(
            sql("INSERT INTO nodes (uuid, fqdn, live_fqdn, mesh_ip, is_hypervisor, is_network_node, `release`, last_seen, \
                 state, state_changed_at, created_at, version) VALUES (?, ?, ?, ?, TRUE, TRUE, '0.1', UTC_TIMESTAMP(6), \
                 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 1)")
            .bind(node)
            .bind(name)
            .bind(name)
            .bind(mesh_ip),
        )
        .await;
        for daemon in ["transfers", "queues"] {
            let insert = "INSERT INTO node_daemons (node_uuid, daemon, enabled, state, incarnation, pid, `release`, \
                 started_at, updated_at) VALUES (?, ?, TRUE, 'running', UUID(), 1, '0.1', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))";
            self.execute(sql(insert).bind(node).bind(daemon)).await;
        }
    }

    /// Gives a node a carrier session that outlives the test.
    pub(crate) async fn carry(&self, node: NodeId) {
        self.execute(
            sql("INSERT INTO carrier_sessions (node_uuid, session_epoch, expires_at, eligible) \
                 VALUES (?, 1, TIMESTAMPADD(HOUR, 1, UTC_TIMESTAMP(6)), TRUE)")
            .bind(node),
        )
        .await;
    }

    /// A placed instance in state `created`.
    pub(crate) async fn instance(&self, namespace: &str, name: &str) -> InstanceId {
        self.instance_on(namespace, name, self.node).await
    }

    pub(crate) async fn instance_on(&self, namespace: &str, name: &str, node: NodeId) -> InstanceId {
        let id = InstanceId::random();
        self.execute(
            sql("INSERT INTO instances (uuid, namespace, name, cpus, memory_mb, video_model, video_memory_kib, vdi, uefi, \
                 secure_boot, configdrive, machine_type, node_uuid, placement_seq, power_desired, power_state, state, \
                 state_changed_at, created_at, version) VALUES (?, ?, ?, 1, 1024, 'cirrus', 16384, 'spice', FALSE, FALSE, \
                 'none', 'pc', ?, 1, 'on', 'on', 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 1)")
            .bind(id)
            .bind(namespace)
            .bind(name)
            .bind(node),
        )
        .await;
        id
    }

    pub(crate) async fn set_state(&self, table: &str, id: uuid::Uuid, state: &str) {
        self.execute(
            sql(format!("UPDATE {table} SET state = ?, state_changed_at = UTC_TIMESTAMP(6) WHERE uuid = ?"))
                .bind(state)
                .bind(id),
        )
        .await;
    }

    /// A network of a namespace as its create answers it.
    pub(crate) async fn network(&self, namespace: &str, name: &str, netblock: &str) -> StoreResult<Network> {
        let request = CreateNetworkRequest {
            caller: caller(namespace),
            network_uuid: NetworkId::random().to_string(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            netblock: netblock.to_owned(),
            provide_dhcp: true,
            provide_nat: true,
            provide_dns: true,
            ..CreateNetworkRequest::default()
        };
        self.create_network(request).await
    }

    pub(crate) async fn create_network(&self, request: CreateNetworkRequest) -> StoreResult<Network> {
        let reply = self
            .run(move |conn, ctx| {
                let request = request.clone();
                Box::pin(async move { networks::create(conn, ctx, &request).await })
            })
            .await?;
        Ok(reply.network.unwrap())
    }

    /// A network that its carrier has rendered.
    pub(crate) async fn ready_network(&self, namespace: &str, name: &str, netblock: &str) -> Network {
        let network = self.network(namespace, name, netblock).await.unwrap();
        self.report(&network.uuid, self.node, network.generation, "present").await;
        network
    }

    /// Reports a render that no claim asked for.
    pub(crate) async fn report(&self, network: &str, node: NodeId, generation: u64, outcome: &str) {
        let request = ReportRenderRequest {
            network_uuid: network.to_owned(),
            node_uuid: node.to_string(),
            generation,
            outcome: outcome.to_owned(),
            ..ReportRenderRequest::default()
        };
        self.run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { networks::report_render(conn, ctx, &request).await })
        })
        .await
        .unwrap();
    }

    /// Makes the interfaces of an instance.
    pub(crate) async fn attach(
        &self,
        instance: InstanceId,
        namespace: &str,
        specs: Vec<InterfaceSpec>,
    ) -> StoreResult<Vec<Interface>> {
        let (namespace, node) = (namespace.to_owned(), self.node);
        self.run(move |conn, ctx| {
            let (namespace, specs) = (namespace.clone(), specs.clone());
            Box::pin(async move {
                let new = NewInterfaces { instance, namespace: &namespace, node, specs: &specs };
                networks::interfaces::create(conn, ctx, &new).await
            })
        })
        .await
    }

    pub(crate) async fn detach(&self, instance: InstanceId) {
        self.run(move |conn, ctx| {
            Box::pin(async move { networks::interfaces::delete_of_instance(conn, ctx, instance).await })
        })
        .await
        .unwrap();
    }

    /// A committed blob with the given content, which its producer still pins.
    pub(crate) async fn blob(&self, content: &str) -> BlobId {
        let blob = BlobId::random();
        self.reserve(blob, OperationId::ordered().to_string()).await;
        self.commit(commit_request(blob, self.node, content)).await.unwrap();
        blob
    }

    pub(crate) async fn reserve(&self, blob: BlobId, holder: String) {
        let request = ReserveBlobRequest {
            blob_uuid: blob.to_string(),
            node_uuid: self.node.to_string(),
            holder_uuid: holder,
            purpose: "test".to_owned(),
            ..ReserveBlobRequest::default()
        };
        self.run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { blobs::reserve(conn, ctx, &request).await })
        })
        .await
        .unwrap();
    }

    pub(crate) async fn commit(&self, request: CommitBlobRequest) -> StoreResult<CommitBlobReply> {
        self.run(move |conn, ctx| {
            let request = request.clone();
            Box::pin(async move { blobs::commit(conn, ctx, &request).await })
        })
        .await
    }

    /// An artifact of a namespace with one version.
    pub(crate) async fn artifact(&self, namespace: &str, name: &str, blob: BlobId) -> ArtifactId {
        let source = format!("sf://upload/{namespace}/{name}");
        self.version(namespace, "image", &source, name, blob).await.unwrap()
    }

    /// Adds a version and answers the artifact; the administrator does it, so every blob may be named.
    pub(crate) async fn version(
        &self,
        namespace: &str,
        artifact_type: &str,
        source_url: &str,
        name: &str,
        blob: BlobId,
    ) -> StoreResult<ArtifactId> {
        let request = sf_protos::artifacts::AddArtifactVersionRequest {
            caller: caller("system"),
            artifact_uuid: ArtifactId::random().to_string(),
            namespace: namespace.to_owned(),
            artifact_type: artifact_type.to_owned(),
            source_url: source_url.to_owned(),
            name: name.to_owned(),
            blob_uuid: blob.to_string(),
            ..Default::default()
        };
        let reply = self
            .run(move |conn, ctx| {
                let request = request.clone();
                Box::pin(async move { artifacts::add_version_call(conn, ctx, &request).await })
            })
            .await?;
        Ok(reply.artifact.unwrap().uuid.parse().unwrap())
    }

    /// Artifacts without versions.
    pub(crate) async fn many_artifacts(&self, namespace: &str, count: u32) {
        let insert = "INSERT INTO artifacts (uuid, artifact_type, source_url, name, namespace, max_versions, live_key, state, \
             state_changed_at, created_at, version) SELECT UUID(), 'image', CONCAT('sf://upload/', seq), seq, ?, 3, \
             UNHEX(SHA2(CONCAT(?, seq), 256)), 'created', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), 1 FROM seq_1_to_";
        self.execute(sql(format!("{insert}{count}")).bind(namespace).bind(namespace)).await;
    }

    /// Lets `namespace` trust `trusted`.
    pub(crate) async fn trust(&self, namespace: &str, trusted: &str) {
        self.execute(
            sql("INSERT INTO namespace_trusts (namespace, trusted, created_at) VALUES (?, ?, UTC_TIMESTAMP(6))")
                .bind(namespace)
                .bind(trusted),
        )
        .await;
    }

    /// A statement without interest in its result.
    pub(crate) async fn execute(&self, statement: Sql) {
        let mut conn = self.db.conn().await;
        statement.run(&mut conn).await.unwrap();
    }

    /// One number.
    pub(crate) async fn number(&self, statement: &str) -> i64 {
        let mut conn = self.db.conn().await;
        let query = sql(format!("SELECT CAST(({statement}) AS SIGNED) AS value"));
        query.value(&mut conn).await.unwrap().unwrap_or(-1)
    }

    /// One text.
    pub(crate) async fn text(&self, statement: &str) -> String {
        let mut conn = self.db.conn().await;
        let query = sql(format!("SELECT CAST(({statement}) AS CHAR) AS value"));
        query.value::<Option<String>>(&mut conn).await.unwrap().flatten().unwrap_or_default()
    }
}

pub(crate) fn caller(namespace: &str) -> Option<Caller> {
    Some(Caller { namespace: namespace.to_owned() })
}

pub(crate) fn selector(reference: impl ToString) -> Option<Selector> {
    Some(Selector { reference: reference.to_string(), namespace: None })
}

/// An interface with an automatic address.
pub(crate) fn spec(network: &str) -> InterfaceSpec {
    InterfaceSpec {
        interface_uuid: InterfaceId::random().to_string(),
        network_reference: network.to_owned(),
        address: Some(Address::Allocate(true)),
        ..InterfaceSpec::default()
    }
}

/// The commit of a blob whose hashes follow from its content.
pub(crate) fn commit_request(blob: BlobId, node: NodeId, content: &str) -> CommitBlobRequest {
    CommitBlobRequest {
        blob_uuid: blob.to_string(),
        node_uuid: node.to_string(),
        size: content.len() as u64,
        hashes: vec![
            Hash { algorithm: "sha512".to_owned(), value: digits(content, 128) },
            Hash { algorithm: "blake3".to_owned(), value: digits(content, 64) },
        ],
        facts: Some(ImageFacts {
            safety: "safe".to_owned(),
            format: Some("raw".to_owned()),
            ..ImageFacts::default()
        }),
        ..CommitBlobRequest::default()
    }
}

/// Runs many futures at once and collects what they answer.
pub(crate) async fn at_once<T, F>(work: impl IntoIterator<Item = F>) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let tasks: Vec<_> = work.into_iter().map(tokio::spawn).collect();
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(task.await.unwrap());
    }
    results
}

fn digits(content: &str, length: usize) -> String {
    use sha2::Digest as _;
    let hash = hex::encode(sha2::Sha512::digest(content.as_bytes()));
    hash.chars().cycle().take(length).collect()
}
