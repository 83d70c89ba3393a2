//! What every part of the daemon shares.

use std::path::PathBuf;
use std::time::Duration;

use sf_config::ClusterConfig;
use sf_daemon::{DaemonContext, Peers};
use sf_events::Event;
use sf_hypervisor::disks::StorageLayout;
use sf_hypervisor::lock::{InstanceLock, Locks};
use sf_model::InstanceId;
use sf_privileged::PrivexecClient;
use sf_protos::storage_local::storage_local_client::StorageLocalClient;
use tokio::sync::{Notify, Semaphore};
use tonic::transport::Channel;

use crate::acting::Acting;
use crate::error::{QueuesError, Stop};
use crate::facts::Facts;
use crate::host::Host;
use crate::power::PowerWriter;
use crate::queue::Claims;
use crate::recovery::Recovery;

/// How long an operation waits for another one that holds the instance.
const LOCK_WAIT: Duration = Duration::from_secs(30);

/// The worker of this node.
pub(crate) struct Worker {
    pub(crate) context: DaemonContext,
    /// Absent on a node that runs no guests.
    pub(crate) host: Option<Host>,
    pub(crate) privexec: PrivexecClient,
    pub(crate) storage: StorageLocalClient<Channel>,
    pub(crate) layout: StorageLayout,
    pub(crate) acting: Acting,
    pub(crate) facts: Facts,
    pub(crate) power: PowerWriter,
    pub(crate) claims: Claims,
    pub(crate) starts: Semaphore,
    pub(crate) recovery: Recovery,
    pub(crate) reconcile_soon: Notify,
    pub(crate) peers: Peers,
    locks: Locks,
}

impl Worker {
    pub(crate) async fn start(context: DaemonContext) -> Result<Self, QueuesError> {
        let config = &context.config;
        let host = if config.node_is_hypervisor { Some(Host::start(config).await?) } else { None };
        let socket: PathBuf = config.run_path.join("transfers/storage.sock");
        Ok(Self {
            host,
            privexec: PrivexecClient::new(&config.privexec_socket),
            storage: crate::storage::connect(socket),
            layout: StorageLayout::new(&config.storage_path),
            acting: Acting::default(),
            facts: Facts::default(),
            power: PowerWriter::default(),
            claims: Claims::default(),
            starts: Semaphore::new(usize::try_from(config.instance_start_concurrency).unwrap_or(1)),
            recovery: Recovery::new(config.restore_concurrency),
            reconcile_soon: Notify::new(),
            peers: context.peers(),
            locks: Locks::new(&config.run_path),
            context,
        })
    }

    /// The hypervisor, for operations that need one.
    pub(crate) fn host(&self) -> Result<&Host, Stop> {
        let missing = || Stop::Placement("this node is not a hypervisor".into());
        self.host.as_ref().ok_or_else(missing)
    }

    /// The helper, naming the present request in its log.
    pub(crate) fn helper(&self) -> PrivexecClient {
        let request = sf_runtime::context::current().request_id.unwrap_or_default();
        self.privexec.for_request(&request)
    }

    pub(crate) fn cluster(&self) -> std::sync::Arc<ClusterConfig> {
        self.context.cluster.current()
    }

    /// Takes the instance's lock, or asks to come back later.
    pub(crate) async fn lock(&self, instance: InstanceId) -> Result<InstanceLock, Stop> {
        match self.locks.take(instance, LOCK_WAIT).await {
            Ok(Some(lock)) => Ok(lock),
            Ok(None) => Err(Stop::defer("another operation works on the instance")),
            Err(error) => Err(Stop::defer(format!("the instance lock cannot be taken: {error}"))),
        }
    }

    /// Takes the instance's lock if it is free.
    pub(crate) fn try_lock(&self, instance: InstanceId) -> Option<InstanceLock> {
        match self.locks.try_take(instance) {
            Ok(lock) => lock,
            Err(error) => {
                tracing::warn!(%instance, %error, "the instance lock cannot be taken");
                None
            }
        }
    }

    /// Records an event; what recording meets is counted by the recorder.
    pub(crate) async fn record(&self, event: Event) {
        let _ = self.context.events.record(event).await;
    }

    /// The cluster this node belongs to, as far as it is known.
    pub(crate) fn cluster_id(&self) -> Option<sf_model::ClusterId> {
        self.cluster().cluster_id.map(sf_model::ClusterId::from_uuid)
    }
}
