//! A service over a temporary store whose database does not answer: enough for everything that must work without one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests may fail loudly"
)]

use std::sync::Arc;
use std::time::Duration;

use sf_blobs::Store;
use sf_config::{ClusterConfig, NodeConfig};
use sf_daemon::{ClusterConfigHandle, DaemonContext, NodeIdentity};
use sf_events::{Recorder, Spool, SpoolOptions};
use sf_gateway::{Caller, Gateway, GatewayOptions};
use sf_model::{DaemonName, IncarnationId, NodeId};
use sf_runtime::{Liveness, Shutdown, StatusLine};

use crate::service::Service;

/// The seed that tokens of tests follow from.
pub(crate) const SEED: &str = "a seed of tests, long enough to be one";

/// The service and what it stands on.
pub(crate) struct Rig {
    pub(crate) service: Arc<Service>,
    _root: tempfile::TempDir,
}

/// A service on loopback with these keys of the cluster besides the seed.
pub(crate) fn rig(cluster: &[(&str, &str)]) -> Rig {
    let root = tempfile::tempdir().unwrap();
    let storage = root.path().join("store");
    let config = NodeConfig::from_pairs(&[
        ("node_mesh_ip", "127.0.0.1"),
        ("mariadb_gateway_hosts", "127.0.0.1:1"),
        ("storage_path", storage.to_str().unwrap()),
        ("run_path", root.path().to_str().unwrap()),
        ("node_disk_reservation_gb", "0"),
    ])
    .unwrap();
    let config = Arc::new(config);
    let store = Store::open(&storage).unwrap();
    let keys = cluster.iter().copied().chain([("TRANSFER_SECRET", SEED)]);
    let (cluster, unknown) = ClusterConfig::from_texts(keys).unwrap();
    assert!(unknown.is_empty());
    let caller = Caller { daemon: "transfers".into(), node: "n1".into(), version: "0".into() };
    let spool = Spool::open(SpoolOptions::for_daemon(&config, "transfers")).unwrap();
    let ctx = DaemonContext {
        name: DaemonName::Transfers,
        node: NodeIdentity { uuid: NodeId::random(), name: "n1".into() },
        cluster: ClusterConfigHandle::new(cluster),
        gateway: Gateway::new(GatewayOptions { endpoints: config.gateway_endpoints(), caller }).unwrap(),
        events: Recorder::new(spool, "n1", "sf-transfers"),
        config,
        shutdown: Shutdown::new(Duration::from_secs(1)),
        liveness: Liveness::new(),
        status: StatusLine::new("sf-transfers"),
        incarnation: IncarnationId::random(),
    };
    Rig { service: Arc::new(Service::new(ctx, store)), _root: root }
}
