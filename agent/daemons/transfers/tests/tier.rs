//! The storage service against a real tier: what becomes of bytes, and of their rows, when uploads end well and when they
//! do not.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::indexing_slicing,
    reason = "helpers of tests may fail loudly"
)]

use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use futures::{TryStreamExt, stream};
use http::StatusCode;
use prost::Message;
use sf_blobs::ByteRange;
use sf_blobs::client::{DataPlane, Peer, PeerError};
use sf_blobs::token::{TokenPurpose, TransferKeys};
use sf_blobs::uploads::AppendOptions;
use sf_daemon::DaemonContext;
use sf_daemon_database::testing::{LocalTier, registration, until};
use sf_gateway::CallClass;
use sf_model::{ArtifactId, BlobId, DaemonName, UploadId};
use sf_protos::Rpc;
use sf_protos::artifacts::Artifact;
use sf_protos::blobs::{CreateUploadRequest, UploadTarget};
use sf_protos::common::Caller;
use sf_protos::namespaces::CreateNamespaceRequest;
use sf_store::sql::sql;
use sf_store::testing::TestDatabase;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const NAMESPACE: &str = "tenant";
const CLUSTER: [(&str, &str); 1] = [("TRANSFER_SECRET", "a secret of tests, long enough to be one")];
const TABLES: [&str; 4] = ["blobs WHERE state <> 'deleted'", "blob_replicas", "blob_references", "uploads"];

/// A node with its storage service.
struct Node {
    database: TestDatabase,
    tier: LocalTier,
    context: DaemonContext,
    plane: DataPlane,
    peer: Peer,
    running: JoinHandle<()>,
    directory: tempfile::TempDir,
}

impl Node {
    /// `None` where no MariaDB is installed.
    async fn start() -> Option<Self> {
        let database = TestDatabase::start().await?;
        let tier = LocalTier::with(&database, &CLUSTER).await;
        let directory = tempfile::tempdir().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let port = free.port().to_string();
        let keys = [("transfers_port", port.as_str()), ("node_disk_reservation_gb", "0")];
        let context = tier.context(DaemonName::Transfers, directory.path(), &keys);
        let register = registration(context.node.uuid, &context.node.name, &["transfers"]);
        context.gateway.call(CallClass::Interactive, register).await.unwrap();
        let daemon = context.clone();
        let running = tokio::spawn(async move { sf_daemon_transfers::run(daemon).await.unwrap() });
        let keys = TransferKeys::from_secrets(&context.cluster.current().transfer_secrets(Utc::now()));
        let plane = DataPlane::new(Arc::new(keys), context.node.uuid).unwrap();
        let peer = Peer { node: context.node.uuid, address: free };
        let node = Self { database, tier, context, plane, peer, running, directory };
        node.ask(CreateNamespaceRequest { context: None, name: NAMESPACE.into(), key: None }).await;
        until("the service listens", async || tokio::net::TcpStream::connect(free).await.is_ok()).await;
        Some(node)
    }

    /// A call as the API of the node.
    async fn ask<R: Rpc>(&self, request: R) -> R::Reply {
        let api = self.tier.client("api", self.context.node.uuid);
        api.call(CallClass::Interactive, request).await.unwrap()
    }

    async fn count(&self, rows: &str) -> u64 {
        let query = sql(format!("SELECT CAST(COUNT(*) AS UNSIGNED) AS value FROM {rows}"));
        query.value(&mut self.database.conn().await).await.unwrap().unwrap()
    }

    async fn census(&self) -> Vec<u64> {
        let mut counts = Vec::new();
        for rows in TABLES {
            counts.push(self.count(rows).await);
        }
        counts
    }

    async fn upload(&self, bytes: &'static [u8]) -> UploadId {
        let upload = UploadId::random();
        let create = CreateUploadRequest {
            upload_uuid: upload.to_string(),
            namespace: NAMESPACE.into(),
            node_uuid: self.context.node.uuid.to_string(),
            ..CreateUploadRequest::default()
        };
        self.ask(create).await;
        self.plane.create_upload(self.peer, upload).await.unwrap();
        self.append(upload, bytes).await;
        upload
    }

    async fn append(&self, upload: UploadId, bytes: &'static [u8]) {
        let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(bytes))]);
        self.plane.append(self.peer, upload, AppendOptions::default(), body).await.unwrap();
    }

    async fn commit(&self, upload: UploadId) -> Result<Artifact, PeerError> {
        let target = UploadTarget {
            upload_uuid: upload.to_string(),
            caller: Some(Caller { namespace: NAMESPACE.into() }),
            artifact_uuid: ArtifactId::random().to_string(),
            namespace: NAMESPACE.into(),
            artifact_type: "image".into(),
            source_url: format!("sf://upload/{NAMESPACE}/web"),
            name: "web".into(),
            shared: false,
        };
        let answer = self.plane.commit_upload(self.peer, upload, target.encode_to_vec()).await?;
        Ok(Artifact::decode(answer).unwrap())
    }

    async fn read(&self, blob: BlobId, length: usize) -> Vec<u8> {
        let range = ByteRange { start: 0, length: length as u64 };
        let remote = self.plane.read_blob(self.peer, blob, range, TokenPurpose::Read).await.unwrap();
        remote.bytes.try_collect::<Vec<Bytes>>().await.unwrap().concat()
    }

    /// Files of producers that are at work or left something.
    fn partials(&self) -> Vec<String> {
        let staging = self.directory.path().join("blobs/.staging");
        let entries = std::fs::read_dir(staging).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    async fn end(self) {
        self.context.shutdown.request();
        self.running.await.unwrap();
    }
}

/// A QCOW2 header that names another file as the one below it.
const BACKED: [u8; 116] = {
    let mut header = [0; 116];
    let fields: [(usize, u8); 12] = [
        (0, b'Q'),
        (1, b'F'),
        (2, b'I'),
        (3, 0xfb),
        (7, 3),
        (15, 112),
        (19, 4),
        (23, 16),
        (30, 1),
        (99, 4),
        (103, 104),
        (112, b'/'),
    ];
    let mut at = 0;
    while at < fields.len() {
        header[fields[at].0] = fields[at].1;
        at += 1;
    }
    header
};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_becomes_a_version_and_asking_again_changes_nothing() {
    let Some(node) = Node::start().await else { return };
    let upload = node.upload(b"bytes of an image").await;
    let artifact = node.commit(upload).await.unwrap();
    let blob = artifact.versions[0].blob_uuid.parse().unwrap();
    assert_eq!(node.read(blob, 17).await, b"bytes of an image");
    assert_eq!(node.count("blobs WHERE state = 'created'").await, 1);
    assert_eq!(node.count("blob_replicas WHERE state = 'present'").await, 1);
    assert!(node.partials().is_empty(), "{:?}", node.partials());
    let after = node.census().await;
    // The answer was lost.
    assert_eq!(node.commit(upload).await.unwrap().uuid, artifact.uuid);
    assert_eq!(node.census().await, after);
    node.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_leaves_nothing_and_can_be_gone_on_with() {
    let Some(node) = Node::start().await else { return };
    let upload = node.upload(&BACKED).await;
    let before = node.census().await;
    let refused = node.commit(upload).await.unwrap_err();
    let PeerError::Refused { status, refusal, .. } = refused else { panic!("{refused}") };
    assert_eq!((status, refusal.code.as_str()), (StatusCode::BAD_REQUEST, "unsafe_image"));
    assert_eq!(node.census().await, before, "the blob that was reserved is given up");
    assert!(node.partials().is_empty(), "{:?}", node.partials());

    node.plane.truncate(node.peer, upload, 0).await.unwrap();
    node.append(upload, b"better bytes").await;
    let artifact = node.commit(upload).await.unwrap();
    assert_eq!(node.read(artifact.versions[0].blob_uuid.parse().unwrap(), 12).await, b"better bytes");
    node.end().await;
}
