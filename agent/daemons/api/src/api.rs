//! What all requests share.

use std::ops::Deref;
use std::sync::Arc;

use sf_blobs::Store;
use sf_daemon::DaemonContext;
use sf_gateway::CallClass;
use sf_protos::Rpc;
use tokio::sync::Semaphore;

use crate::auth::{Buckets, FailedLogins, PasswordError, PasswordPool, Refusals};
use crate::capabilities;
use crate::error::ApiError;
use crate::nodes::Nodes;
use crate::placement::CapacityCache;
use crate::readiness::Readiness;
use crate::uploads::UploadOwners;

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

/// The parts of the service.
pub struct Shared {
    /// The daemon it runs in.
    pub daemon: DaemonContext,
    /// Where secrets of users are hashed.
    pub passwords: PasswordPool,
    /// Failed log-ins.
    pub failed_logins: FailedLogins,
    /// Credentials and acts that were refused.
    pub refusals: Refusals,
    /// Log-in attempts per source.
    pub login_attempts: Buckets<std::net::IpAddr>,
    /// Requests per key: namespace and name.
    pub key_requests: Buckets<(String, String)>,
    /// Whether load balancers should send requests here.
    pub readiness: Readiness,
    /// Requests that may be served at a time.
    pub inflight: Arc<Semaphore>,
    /// Uploads and downloads that may be served at a time.
    pub streams: Arc<Semaphore>,
    /// Daemons of other nodes.
    pub nodes: Nodes,
    /// Capacity of the hypervisors.
    pub capacity: CapacityCache,
    /// Which node has which upload.
    pub upload_owners: UploadOwners,
    /// The blobs of this node, when it has any.
    pub store: Option<Store>,
    /// The root page.
    pub page: String,
}

impl Api {
    /// A service in a started daemon.
    ///
    /// # Errors
    /// Hashing does not work here.
    pub fn new(daemon: DaemonContext) -> Result<Self, PasswordError> {
        let config = daemon.config.clone();
        let permits = |count: u32| usize::try_from(count).unwrap_or(1).max(1);
        Ok(Self(Arc::new(Shared {
            passwords: PasswordPool::new(config.api_auth_concurrency)?,
            failed_logins: FailedLogins::default(),
            refusals: Refusals::default(),
            login_attempts: Buckets::new(),
            key_requests: Buckets::new(),
            readiness: Readiness::default(),
            inflight: Arc::new(Semaphore::new(permits(config.api_max_inflight))),
            streams: Arc::new(Semaphore::new(permits(config.api_max_streams))),
            nodes: Nodes::new(),
            capacity: CapacityCache::default(),
            upload_owners: UploadOwners::default(),
            store: Store::attach(&config.storage_path).ok(),
            page: capabilities::page(),
            daemon,
        })))
    }

    /// Asks the database tier.
    ///
    /// # Errors
    /// What the tier refused, as the client sees it.
    pub async fn tier<R: Rpc>(&self, class: CallClass, request: R) -> Result<R::Reply, ApiError> {
        Ok(self.daemon.gateway.call(class, request).await?)
    }
}

impl Deref for Api {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}
